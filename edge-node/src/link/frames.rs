//! Frames on a QUIC stream: bytes in and out, nothing else. Knows no session. Invariant: a call
//! that is dropped before it is done has neither lost nor doubled a byte.

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use shared::sync::{Frame, FrameBuffer, FrameError, next_frame};

/// How many bytes one read takes from QUIC.
const READ_BYTES: usize = 64 * 1024;

/// Frames for one write are gathered up to this.
const WRITE_BYTES: usize = 16 * 1024;

/// What a stream brings.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    buffer: FrameBuffer,
    chunk: Box<[u8]>,
}

impl Incoming {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::new(), chunk: vec![0; READ_BYTES].into() }
    }

    /// The next frame that is all there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        next_frame(&mut self.buffer)
    }

    /// Waits for more bytes; says whether there are any.
    pub(crate) async fn read(&mut self) -> Result<bool, ReadError> {
        let read = self.stream.read(&mut self.chunk).await?;
        if let Some(length) = read {
            self.buffer.push(&self.chunk[..length]);
        }
        Ok(read.is_some())
    }

    /// Waits for a whole frame; `None` where the stream ends instead.
    pub(crate) async fn frame(&mut self) -> Result<Result<Option<Frame>, FrameError>, ReadError> {
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
pub(crate) struct Outgoing {
    stream: SendStream,
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    pub(crate) const fn new(stream: SendStream) -> Self {
        Self { stream, bytes: Vec::new(), written: 0 }
    }

    /// Whether everything is with QUIC.
    pub(crate) const fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Takes frames while nothing is left of earlier ones, so that the most urgent one is chosen
    /// late.
    pub(crate) fn fill(&mut self, mut next: impl FnMut() -> Option<Frame>) {
        if !self.is_empty() {
            return;
        }
        self.bytes.clear();
        self.written = 0;
        while self.bytes.len() < WRITE_BYTES {
            let Some(frame) = next() else { break };
            self.bytes.extend_from_slice(&frame.encode());
        }
    }

    /// Gives to QUIC as much as it takes.
    pub(crate) async fn write(&mut self) -> Result<(), WriteError> {
        self.written += self.stream.write(&self.bytes[self.written..]).await?;
        Ok(())
    }

    /// Sends one frame and ends the stream; the answer comes on the other half.
    pub(crate) async fn only(&mut self, frame: Frame) -> Result<(), WriteError> {
        let mut frame = Some(frame);
        self.fill(|| frame.take());
        while !self.is_empty() {
            self.write().await?;
        }
        // Fails only where the stream is gone already.
        let _ = self.stream.finish();
        Ok(())
    }

    /// Ends the stream and waits until the other side has everything.
    pub(crate) async fn finish(&mut self) {
        // Both fail only where the stream is gone already.
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
    }
}
