//! Frames on a QUIC stream: bytes in and out, nothing else. Knows no session. Invariant: a call
//! that is dropped before it is done has neither lost nor doubled a byte. A stream on which nothing
//! is said holds no buffer: of a thousand sites most are silent.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::task::{Poll, ready};

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use shared::sync::{Frame, FrameBuffer, FrameError, next_frame};
use tokio::io::ReadBuf;

/// How many bytes one read takes from QUIC, by way of the thread's stack.
const READ_BYTES: usize = 16 * 1024;

/// Frames for one write are gathered up to this.
const WRITE_BYTES: usize = 16 * 1024;

/// What a stream brings.
#[derive(Debug)]
pub(in crate::gateway) struct Incoming {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl Incoming {
    pub(in crate::gateway) const fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::new() }
    }

    /// The next frame that is all there.
    pub(in crate::gateway) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        next_frame(&mut self.buffer)
    }

    /// Waits for more bytes; says whether there are any.
    pub(in crate::gateway) async fn read(&mut self) -> Result<bool, ReadError> {
        poll_fn(|context| {
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(self.stream.poll_read_buf(context, &mut read))?;
            self.buffer.push(read.filled());
            Poll::Ready(Ok(!read.filled().is_empty()))
        })
        .await
    }

    /// Waits for a whole frame; `None` where the stream ends instead.
    pub(in crate::gateway) async fn frame(
        &mut self,
    ) -> Result<Result<Option<Frame>, FrameError>, ReadError> {
        loop {
            match self.next() {
                Ok(None) => {}
                found => return Ok(found),
            }
            if !self.read().await? {
                return Ok(Ok(None));
            }
        }
    }
}

/// What leaves on a stream.
#[derive(Debug)]
pub(in crate::gateway) struct Outgoing {
    stream: SendStream,
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    pub(in crate::gateway) const fn new(stream: SendStream) -> Self {
        Self { stream, bytes: Vec::new(), written: 0 }
    }

    /// Whether everything is with QUIC.
    pub(in crate::gateway) const fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Takes frames while nothing is left of earlier ones, so that the most urgent one is chosen
    /// late.
    pub(in crate::gateway) fn fill(&mut self, mut next: impl FnMut() -> Option<Frame>) {
        if !self.is_empty() {
            return;
        }
        (self.bytes, self.written) = (Vec::new(), 0);
        while self.bytes.len() < WRITE_BYTES {
            let Some(frame) = next() else { break };
            self.bytes.extend_from_slice(&frame.encode());
        }
    }

    /// Gives to QUIC as much as it takes.
    pub(in crate::gateway) async fn write(&mut self) -> Result<(), WriteError> {
        self.written += self.stream.write(&self.bytes[self.written..]).await?;
        Ok(())
    }

    /// Sends one last frame and waits until the other side has it.
    pub(in crate::gateway) async fn last(&mut self, frame: Frame) -> Result<(), WriteError> {
        let mut frame = Some(frame);
        self.fill(|| frame.take());
        while !self.is_empty() {
            self.write().await?;
        }
        self.finish().await;
        Ok(())
    }

    /// Ends the stream and waits until the other side has everything.
    pub(in crate::gateway) async fn finish(&mut self) {
        // Both fail only where the stream is gone already.
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
    }
}
