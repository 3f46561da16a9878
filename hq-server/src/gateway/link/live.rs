//! The connections that live now, one per installation. Knows no session. Invariant: of two
//! connections of one installation the newer stays.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};
use shared::ids::DeviceNo;
use shared::sync::{Code, Refusal};

use crate::gateway::store::Peer;

/// Every live connection, by installation.
#[derive(Debug, Default)]
pub(super) struct LiveLinks {
    by_device: Mutex<HashMap<DeviceNo, (Peer, Connection)>>,
}

impl LiveLinks {
    /// Enters a connection; an older one of the same installation closes.
    pub(super) fn enter(&self, peer: Peer, connection: &Connection) {
        let older = self.lock().insert(peer.device, (peer, connection.clone()));
        if let Some((_, older)) = older {
            let text = "another connection of this installation took over: if two boxes run with the same data directory, stop one";
            close(&older, &Refusal::new(Code::REPLACED, text));
        }
    }

    /// Takes a connection out, unless another took its place.
    pub(super) fn leave(&self, peer: Peer, connection: &Connection) {
        let mut links = self.lock();
        let is_this = |known: &Connection| known.stable_id() == connection.stable_id();
        if links.get(&peer.device).is_some_and(|(_, known)| is_this(known)) {
            links.remove(&peer.device);
        }
    }

    /// Who is connected.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.lock().values().map(|(peer, _)| *peer).collect()
    }

    /// Closes what `why` gives a refusal for.
    pub(super) fn close_where(&self, why: impl Fn(Peer) -> Option<Refusal>) {
        let links: Vec<_> = self.lock().values().cloned().collect();
        for (peer, connection) in links {
            if let Some(refusal) = why(peer) {
                close(&connection, &refusal);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceNo, (Peer, Connection)>> {
        // The map is whole after every operation.
        self.by_device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a connection at once. The code and the text reach the other side if anything does.
pub(in crate::gateway) fn close(connection: &Connection, refusal: &Refusal) {
    connection.close(VarInt::from_u32(refusal.code.0), refusal.text.as_bytes());
}
