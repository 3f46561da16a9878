//! HQ's UDP socket: what goes to a node that asked for it leaves twice while there is room, for on that
//! way many packets get lost. Knows addresses, and no site. Invariant: each datagram leaves once at least,
//! in order; where nobody asked it costs a look at a counter.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use shared::sync::{Moment, Spare};

/// HQ does not know what a link carries: copies leave while all that leaves is less than this, in bytes
/// a second. Acknowledgements hardly need more, and the thinnest links carry it.
const RATE: u64 = 8_000;

/// Who asked for copies, by address.
#[derive(Debug)]
pub(super) struct Asked {
    /// How many there are, for those who need not look.
    count: AtomicUsize,
    spares: Mutex<HashMap<SocketAddr, Spare>>,
    started: Instant,
}

impl Asked {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            spares: Mutex::default(),
            started: Instant::now(),
        })
    }

    /// What goes to this address leaves twice, as long as the answer lives.
    pub(super) fn ask(self: &Arc<Self>, address: SocketAddr) -> Asker {
        let mut spares = self.spares();
        spares.insert(address, Spare::new(RATE, RATE, RATE, self.now()));
        self.count.store(spares.len(), Ordering::Relaxed);
        Asker { asked: Arc::clone(self), address }
    }

    fn copies(&self, to: SocketAddr, bytes: usize) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let now = self.now();
        self.spares().get_mut(&to).is_some_and(|spare| spare.takes_copy(bytes, now))
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn spares(&self) -> MutexGuard<'_, HashMap<SocketAddr, Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose node asked.
#[derive(Debug)]
pub(super) struct Asker {
    asked: Arc<Asked>,
    address: SocketAddr,
}

impl Asker {
    /// The node is elsewhere now, or where it was.
    pub(super) fn follow(&mut self, address: SocketAddr) {
        if address == self.address {
            return;
        }
        let mut spares = self.asked.spares();
        if let Some(spare) = spares.remove(&self.address) {
            spares.insert(address, spare);
        }
        self.address = address;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut spares = self.asked.spares();
        spares.remove(&self.address);
        self.asked.count.store(spares.len(), Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Copying {
    pub(super) inner: Arc<dyn AsyncUdpSocket>,
    pub(super) asked: Arc<Asked>,
}

impl AsyncUdpSocket for Copying {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        if self.asked.copies(transmit.destination, transmit.contents.len()) {
            // Where there is no room for a second one, one it is.
            drop(self.inner.try_send(transmit));
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_known_until_the_connection_ends_wherever_it_moves() {
        let asked = Asked::new();
        let [here, there] = [1, 2].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        assert!(!asked.copies(here, 100));
        let mut node = asked.ask(here);
        assert_eq!([here, there].map(|to| asked.copies(to, 100)), [true, false]);
        node.follow(there);
        assert_eq!([here, there].map(|to| asked.copies(to, 100)), [false, true]);
        drop(node);
        assert!(!asked.copies(there, 100));
        assert_eq!(asked.count.load(Ordering::Relaxed), 0);
    }
}
