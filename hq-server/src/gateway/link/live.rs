//! The connections that live now, by installation. Knows no session. Invariant: of two connections of
//! one installation that speak, the newer stays. One that never speaks comes in nobody's way: a node may
//! give up a handshake that is done here already.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};
use shared::ids::DeviceNo;
use shared::sync::{Code, Refusal};

use crate::gateway::store::Peer;

/// A node begins no more handshakes side by side.
const CONNECTIONS_MAX: usize = 4;

/// Every live connection, by installation, oldest first.
#[derive(Debug, Default)]
pub(super) struct LiveLinks {
    by_device: Mutex<HashMap<DeviceNo, Vec<(Peer, Connection)>>>,
}

impl LiveLinks {
    /// Enters a connection. Of too many the oldest closes.
    pub(super) fn enter(&self, peer: Peer, connection: &Connection) {
        let mut links = self.lock();
        let known = links.entry(peer.device).or_default();
        if known.len() >= CONNECTIONS_MAX {
            close_replaced(known.drain(..1));
        }
        known.push((peer, connection.clone()));
    }

    /// It speaks: older ones of the same installation close.
    pub(super) fn take_over(&self, peer: Peer, connection: &Connection) {
        let mut links = self.lock();
        let Some(known) = links.get_mut(&peer.device) else { return };
        if let Some(older) = known.iter().position(|(_, known)| is_one(known, connection)) {
            close_replaced(known.drain(..older));
        }
    }

    /// Takes a connection out.
    pub(super) fn leave(&self, peer: Peer, connection: &Connection) {
        let mut links = self.lock();
        let Some(known) = links.get_mut(&peer.device) else { return };
        known.retain(|(_, known)| !is_one(known, connection));
        if known.is_empty() {
            links.remove(&peer.device);
        }
    }

    /// Who is connected.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.lock().values().filter_map(|known| known.first()).map(|(peer, _)| *peer).collect()
    }

    /// Closes what `why` gives a refusal for.
    pub(super) fn close_where(&self, why: impl Fn(Peer) -> Option<Refusal>) {
        let links: Vec<_> = self.lock().values().flatten().cloned().collect();
        for (peer, connection) in links {
            if let Some(refusal) = why(peer) {
                close(&connection, &refusal);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceNo, Vec<(Peer, Connection)>>> {
        // The map is whole after every operation.
        self.by_device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_one(one: &Connection, other: &Connection) -> bool {
    one.stable_id() == other.stable_id()
}

fn close_replaced(older: impl Iterator<Item = (Peer, Connection)>) {
    let text = "another connection of this installation took over: if two boxes run with the same data directory, stop one";
    for (_, connection) in older {
        close(&connection, &Refusal::new(Code::REPLACED, text));
    }
}

/// Closes a connection at once. The code and the text reach the other side if anything does.
pub(in crate::gateway) fn close(connection: &Connection, refusal: &Refusal) {
    connection.close(VarInt::from_u32(refusal.code.0), refusal.text.as_bytes());
}
