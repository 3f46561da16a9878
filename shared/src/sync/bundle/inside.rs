//! The inside of a bundle: frames, encrypted to the receiver, chunk by chunk. Knows no store.
//! Invariant: the frames of a bundle are about the log and the range that stand outside.
//!
//! HPKE (RFC 9180) in base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305. The X25519 keys are the
//! Ed25519 keys that both sides know of each other, in their other form.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};

use super::super::frame::{Code, Frame, next_frame};
use super::super::wire::FrameBuffer;
use super::outside::{Cutter, Encapsulated, Part, Verified, chunk_bytes};
use super::{BundleError, BundleHead, CHUNK_BYTES, CONTENT, Direction, KEY, SIGNATURE};
use crate::ids::Seq;
use crate::segment::context;

type Kem = X25519HkdfSha256;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// Random bytes that no other bundle had: whoever has them can read the bundle.
#[derive(Clone, Copy)]
pub struct Seed(pub [u8; 32]);

/// Binds the keys to what stands outside.
fn info(head: &BundleHead) -> Vec<u8> {
    context::signed_bytes(KEY, &head.encode())
}

/// The additional data of a chunk: a file that ends at a chunk is not whole.
fn additional(is_last: bool) -> [u8; 1] {
    [u8::from(is_last)]
}

/// Makes a bundle: frames in, bytes out.
pub struct BundleWriter {
    cipher: AeadCtxS<ChaCha20Poly1305, HkdfSha256, Kem>,
    sender: SigningKey,
    hasher: blake3::Hasher,
    frames: Vec<u8>,
    out: Vec<u8>,
}

impl BundleWriter {
    /// A bundle from `sender`, the log's key or HQ's, to `receiver`, the other one. The seed must
    /// be fresh: two bundles from one seed would give each other away.
    pub fn new(
        head: &BundleHead,
        receiver: &VerifyingKey,
        sender: SigningKey,
        seed: &Seed,
    ) -> Result<Self, BundleError> {
        let receiver = PublicKey::from_bytes(receiver.to_montgomery().as_bytes())
            .map_err(|_| BundleError::UnusableKey)?;
        let mut random = ChaCha20Rng::from_seed(seed.0);
        let (encapsulated, cipher) =
            hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
                &OpModeS::Base,
                &receiver,
                &info(head),
                &mut random,
            )
            .map_err(|_| BundleError::UnusableKey)?;
        let hasher = blake3::Hasher::new_derive_key(CONTENT);
        let mut writer = Self { cipher, sender, hasher, frames: Vec::new(), out: Vec::new() };
        let mut bytes = head.encode();
        bytes.extend_from_slice(&encapsulated.to_bytes());
        writer.write(&bytes);
        Ok(writer)
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: &Frame) {
        self.frames.extend_from_slice(&frame.encode());
        let mut rest = std::mem::take(&mut self.frames);
        let mut taken = 0;
        // The last chunk is never empty, so a full one waits for what follows.
        while rest.len() - taken > CHUNK_BYTES {
            self.seal(&rest[taken..taken + CHUNK_BYTES], false);
            taken += CHUNK_BYTES;
        }
        rest.drain(..taken);
        self.frames = rest;
    }

    /// The bytes made since the last call: to be written before more frames come.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Says good-bye, and gives the last bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.push(&Frame::Bye(Code::LEAVING));
        let rest = std::mem::take(&mut self.frames);
        self.seal(&rest, true);
        let digest: [u8; 32] = self.hasher.finalize().into();
        let signature = context::sign(&self.sender, SIGNATURE, &digest);
        self.out.extend_from_slice(&signature);
        self.out
    }

    fn seal(&mut self, frames: &[u8], is_last: bool) {
        let sealed = self.cipher.seal(frames, &additional(is_last));
        let sealed = sealed.expect("2^64 chunks do not fit a file");
        self.write(&chunk_bytes(&sealed, is_last));
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.out.extend_from_slice(bytes);
    }
}

/// The second pass over a bundle that was proved: bytes in, frames out.
pub struct BundleReader {
    cipher: AeadCtxR<ChaCha20Poly1305, HkdfSha256, Kem>,
    verified: Verified,
    cutter: Cutter,
    is_first: bool,
    frames: FrameBuffer,
    order: Order,
}

impl BundleReader {
    /// Reads what was encrypted to `receiver`.
    pub fn new(verified: Verified, receiver: &SigningKey) -> Result<Self, BundleError> {
        let receiver = PrivateKey::from_bytes(&receiver.to_scalar_bytes())
            .map_err(|_| BundleError::UnusableKey)?;
        Ok(Self {
            cipher: receiver_cipher(&verified.head, &verified.encapsulated, &receiver)?,
            order: Order::new(&verified.head),
            verified,
            cutter: Cutter::new(),
            is_first: true,
            frames: FrameBuffer::new(),
        })
    }

    /// Takes the next bytes, however they are cut.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.cutter.push(bytes);
        // The first pass has read the same bytes: any other fault means that they changed since.
        while let Some(part) = self.cutter.next().map_err(|_| BundleError::Changed)? {
            match part {
                Part::Head(head, encapsulated) => {
                    let known = (self.verified.head, self.verified.encapsulated);
                    if (head, encapsulated) != known {
                        return Err(BundleError::Changed);
                    }
                }
                Part::Chunk(sealed, is_last) => self.open(&sealed, is_last)?,
                Part::Signature(_) => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, sealed: &[u8], is_last: bool) -> Result<(), BundleError> {
        let was_first = std::mem::take(&mut self.is_first);
        let opened = self.cipher.open(sealed, &additional(is_last));
        let frames = opened.map_err(|_| {
            if was_first { BundleError::OtherReceiver } else { BundleError::Changed }
        })?;
        self.frames.push(&frames);
        Ok(())
    }

    /// The next frame that is all there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BundleError> {
        let frame = next_frame(&mut self.frames);
        let frame = frame.map_err(|error| BundleError::Inside(error.to_string()))?;
        if let Some(frame) = &frame {
            self.order.check(frame)?;
        }
        Ok(frame)
    }

    /// No more bytes come, and every frame was taken.
    pub fn finish(self) -> Result<(), BundleError> {
        self.cutter.finish().map_err(|_| BundleError::Changed)?;
        if self.cutter.digest() != self.verified.digest {
            return Err(BundleError::Changed);
        }
        if self.frames.is_between_frames() && self.order.step == Step::Over {
            Ok(())
        } else {
            Err(BundleError::Inside("its frames end too early".to_owned()))
        }
    }
}

fn receiver_cipher(
    head: &BundleHead,
    encapsulated: &Encapsulated,
    receiver: &PrivateKey,
) -> Result<AeadCtxR<ChaCha20Poly1305, HkdfSha256, Kem>, BundleError> {
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| BundleError::OtherReceiver)?;
    hpke::setup_receiver(&OpModeR::Base, receiver, &encapsulated, &info(head))
        .map_err(|_| BundleError::OtherReceiver)
}

/// Which frames may come in a bundle, and that they are about what stands outside.
struct Order {
    head: BundleHead,
    step: Step,
    /// The last fact that came.
    reached: Seq,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Middle,
    Over,
}

impl Order {
    const fn new(head: &BundleHead) -> Self {
        Self { head: *head, step: Step::Greeting, reached: head.after }
    }

    fn check(&mut self, frame: &Frame) -> Result<(), BundleError> {
        let head = &self.head;
        let fits = match (self.step, head.direction, frame) {
            (Step::Greeting, Direction::ToHq, Frame::Hello(hello)) => {
                hello.log == head.log && hello.position.last >= head.last
            }
            (Step::Greeting, Direction::FromHq, Frame::Welcome(welcome)) => {
                welcome.history == head.history && welcome.cursor.last >= head.last
            }
            (Step::Middle, Direction::ToHq, Frame::Facts(facts)) => {
                let first = self.reached.next();
                self.reached = Seq(self.reached.0.saturating_add(facts.count));
                facts.first == first && facts.count > 0 && self.reached <= head.last
            }
            (Step::Middle, Direction::ToHq, Frame::Seal(signed)) => {
                signed.seal.log == head.log && signed.seal.last <= self.reached
            }
            (Step::Middle, Direction::FromHq, Frame::Acknowledgement(signed)) => {
                let said = &signed.acknowledgement;
                self.reached = said.received.last;
                said.log == head.log && said.history == head.history
            }
            (Step::Middle, Direction::FromHq, Frame::Postings(signed)) => {
                let told = &signed.postings;
                let is_received = told.last().is_none_or(|last| last <= self.reached);
                told.log == head.log && told.history == head.history && is_received
            }
            (
                Step::Middle,
                Direction::ToHq,
                Frame::DocumentsTaken(_) | Frame::DocumentChange(_),
            )
            | (Step::Middle, Direction::FromHq, Frame::State(_) | Frame::Documents(_))
            | (
                Step::Greeting | Step::Middle,
                Direction::ToSite(_),
                Frame::Dispatch(..) | Frame::Bye(_),
            ) => true,
            (Step::Middle, _, Frame::Bye(_)) => self.reached == head.last,
            _ => false,
        };
        if !fits {
            let text = format!("a {} frame stands where it can't", frame.name());
            return Err(BundleError::Inside(text));
        }
        self.step = if matches!(frame, Frame::Bye(_)) { Step::Over } else { Step::Middle };
        Ok(())
    }
}
