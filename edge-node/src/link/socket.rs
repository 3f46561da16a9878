//! The node's UDP socket where many packets get lost: the first datagrams of a connection leave twice. A
//! lost packet of a handshake costs seconds, and there is nothing yet to notice the loss by; the same
//! packets again cost a few kilobytes. The other side drops what it has. Knows no QUIC. Invariant: each
//! datagram leaves once at least, in order.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, TokioRuntime, UdpPoller};

/// So many sends are doubled: handshake, hello and a first run of facts.
const DOUBLED: u32 = 12;

/// An endpoint whose first datagrams leave twice.
pub(super) fn doubling_endpoint(local: SocketAddr) -> io::Result<Endpoint> {
    let runtime = Arc::new(TokioRuntime);
    let inner = runtime.wrap_udp_socket(UdpSocket::bind(local)?)?;
    let socket = Arc::new(Doubling { inner, left: AtomicU32::new(DOUBLED) });
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, runtime)
}

#[derive(Debug)]
struct Doubling {
    inner: Arc<dyn AsyncUdpSocket>,
    left: AtomicU32,
}

impl AsyncUdpSocket for Doubling {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        let takes = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
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
