//! Neighbours that are connected now, whoever dialled. Knows no bundle. Invariant: a connection is
//! listed for exactly as long as its meeting lasts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::Connection;
use shared::ids::{DeviceNo, SiteNo};
use tokio::sync::watch;

/// An installation, by its certificate.
pub(super) type Installation = (SiteNo, DeviceNo);

/// See the module; clones share everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    connections: Arc<Mutex<BTreeMap<(Installation, usize), Connection>>>,
    changes: watch::Sender<()>,
}

/// A connection is listed while this is.
#[derive(Debug)]
pub(super) struct Listed {
    live: Live,
    key: (Installation, usize),
}

impl Live {
    /// Lists a connection.
    pub(super) fn list(&self, with: Installation, connection: &Connection) -> Listed {
        let key = (with, connection.stable_id());
        self.lock().insert(key, connection.clone());
        Listed { live: self.clone(), key }
    }

    /// Whether an installation is connected.
    pub(super) fn has(&self, with: Installation) -> bool {
        self.lock().range((with, 0)..=(with, usize::MAX)).next().is_some()
    }

    /// Waits until an installation is not connected.
    pub(super) async fn without(&self, with: Installation) {
        let mut changes = self.changes.subscribe();
        while self.has(with) && changes.changed().await.is_ok() {}
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Installation, usize), Connection>> {
        // Every change is one insertion or removal.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.live.lock().remove(&self.key);
        self.live.changes.send_replace(());
    }
}
