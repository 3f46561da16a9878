//! The node's UDP socket where many packets get lost: datagrams leave twice while the link has room. A
//! lost packet of a handshake, or the last of what was to be said, costs seconds, for nothing comes after
//! it to notice the loss by; the same packets again cost what the link's rate leaves unused. The other
//! side drops what it has. Knows no QUIC. Invariant: each datagram leaves once at least, in order; none
//! leaves twice while packets queue.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, TokioRuntime, UdpPoller};
use shared::sync::{Moment, Spare};

use super::controller::Tally;

/// What datagrams leave twice by.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    /// The link's room, from the socket's beginning on.
    pub(super) spare: Spare,
    /// Knows whether packets queue.
    pub(super) tally: Arc<Tally>,
}

/// An endpoint whose datagrams leave twice while there is room.
pub(super) fn copying_endpoint(local: SocketAddr, copies: &Copies) -> io::Result<Endpoint> {
    let runtime = Arc::new(TokioRuntime);
    let inner = runtime.wrap_udp_socket(UdpSocket::bind(local)?)?;
    let Copies { spare, tally } = copies.clone();
    let socket = Copying { inner, spare: Mutex::new(spare), tally, started: Instant::now() };
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, Arc::new(socket), runtime)
}

#[derive(Debug)]
struct Copying {
    inner: Arc<dyn AsyncUdpSocket>,
    spare: Mutex<Spare>,
    tally: Arc<Tally>,
    started: Instant,
}

impl Copying {
    fn copies(&self, bytes: usize) -> bool {
        let millis = self.started.elapsed().as_millis();
        let now = Moment(u64::try_from(millis).unwrap_or(u64::MAX));
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.takes_copy(bytes, now) && !self.tally.is_jammed()
    }
}

impl AsyncUdpSocket for Copying {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        if self.copies(transmit.contents.len()) {
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
