//! Two neighbours, or a neighbour and HQ, hand bundles over: a pure state machine, the same on both
//! sides. Knows no transport, no store, no clock and no key: what a bundle is worth its store
//! decides. Invariants: a bundle is called carried only when the store says that it is durable; at
//! most one bundle comes in at a time, within its size; what comes is what was offered.
//!
//! Driven like [`super::edge`]: `handle_*` for whatever happens, then `poll_request` and, as often
//! as the transport takes one, `poll_frame`. Requests are done one after the other.

mod offer;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use super::acknowledgement::SignedAcknowledgement;
use super::bundle::{BundleDigest, BundleError, BundleScan};
use super::frame::{Code, Frame, Refusal, VERSIONS};
use super::moment::{Moment, Now};
use super::wire::FrameError;

pub use offer::{CARRIED_BYTES_MAX, Declined, Meet, Offer, PIECE_BYTES};

/// How long the other side may say nothing while something is awaited of it.
const STALL_MS: u64 = 120_000;

/// The most acknowledgements that wait for the store before no more frames are read.
const REQUESTS_MAX: usize = 64;

/// A bundle to hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gift {
    /// What it is.
    pub offer: Offer,
    /// All of it.
    pub bytes: Arc<[u8]>,
}

impl Gift {
    /// A whole bundle; fails on bytes that are none, or more than neighbours take.
    pub fn of(bytes: Vec<u8>) -> Result<Self, BundleError> {
        let mut scan = BundleScan::new();
        scan.push(&bytes)?;
        let scanned = scan.finish()?;
        if scanned.bytes() > CARRIED_BYTES_MAX {
            let text = format!("{} bytes are more than neighbours take", scanned.bytes());
            return Err(BundleError::Inside(text));
        }
        let offer =
            Offer { head: *scanned.head(), bytes: scanned.bytes(), digest: scanned.digest() };
        Ok(Self { offer, bytes: bytes.into() })
    }
}

/// What happens at this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarryEvent {
    /// There may be something to give or to say.
    News,
    /// Reply to [`CarryRequest::Next`]: what to say first, and what to give; `None` for nothing.
    Next(Vec<SignedAcknowledgement>, Option<Gift>),
    /// Reply to [`CarryRequest::Judge`]: the beginning that is here from an earlier connection,
    /// mostly nothing; or why the bundle is not taken.
    Judged(Result<Vec<u8>, Declined>),
    /// Reply to [`CarryRequest::Keep`]: durable, or why not.
    Kept(Result<(), Declined>),
    /// Reply to [`CarryRequest::Note`]; an error names what was forged.
    Noted(Result<(), Refusal>),
    /// This side stops.
    Leave,
}

/// What the session wants of its store, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarryRequest {
    /// What should go to the other side now?
    Next,
    /// Is this wanted?
    Judge(Offer),
    /// Prove it and make it durable.
    Keep(Offer, Vec<u8>),
    /// HQ's word on a log; its signature was not checked.
    Note(SignedAcknowledgement),
    /// The other side has it, durably. Needs no reply.
    Given(Offer),
    /// The other side does not take it. Needs no reply.
    Refused(Offer, Declined),
}

/// Why a meeting ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarryEnd {
    /// This side stopped.
    #[error("this side is stopping")]
    Left,
    /// The other side said good-bye.
    #[error("the other side closed the connection: {0}")]
    PeerLeft(Code),
    /// The other side refuses.
    #[error("the other side refuses: {}", .0.text)]
    Refused(Refusal),
    /// The other side does not keep to the protocol, or brought something forged.
    #[error("{}", .0.text)]
    Broken(Refusal),
    /// No progress.
    #[error("the other side did not answer in time")]
    Stalled,
}

/// One connection's meeting, either side.
#[derive(Debug)]
pub struct CarrySession {
    program: String,
    met: bool,
    has_met: Option<Meet>,
    end: Option<CarryEnd>,
    farewell: Option<Frame>,
    said: VecDeque<SignedAcknowledgement>,
    replies: VecDeque<Frame>,
    giving: Giving,
    taking: Taking,
    requests: VecDeque<CarryRequest>,
    /// When something came last, or a piece left: that takes as long as the link is thin.
    moved: Moment,
}

#[derive(Debug)]
enum Giving {
    Nothing {
        /// The store may have something that it was not asked for.
        news: bool,
    },
    Asking {
        news: bool,
    },
    /// Offered, once `said`; the other side has not answered.
    Offered {
        gift: Gift,
        said: bool,
    },
    /// The other side has, or gets, the bytes before `sent`.
    Sending {
        gift: Gift,
        sent: usize,
    },
}

#[derive(Debug)]
enum Taking {
    Nothing,
    Judging(Offer),
    Coming(Offer, Vec<u8>),
    Keeping(Offer),
}

impl CarrySession {
    /// A meeting on a fresh connection; both sides speak at once.
    pub fn new(program: impl Into<String>, now: Moment) -> Self {
        Self {
            program: program.into(),
            met: false,
            has_met: None,
            end: None,
            farewell: None,
            said: VecDeque::new(),
            replies: VecDeque::new(),
            giving: Giving::Nothing { news: true },
            taking: Taking::Nothing,
            requests: VecDeque::new(),
            moved: now,
        }
    }

    /// Why it ended, once it has. A last frame may still be polled.
    pub const fn end(&self) -> Option<&CarryEnd> {
        self.end.as_ref()
    }

    /// What the other side opened with, once it has.
    pub const fn peer(&self) -> Option<&Meet> {
        self.has_met.as_ref()
    }

    /// Whether the driver should go on reading frames.
    pub fn wants_frames(&self) -> bool {
        let busy = matches!(self.taking, Taking::Judging(_) | Taking::Keeping(_));
        !busy && self.requests.len() < REQUESTS_MAX
    }

    /// What came of a bundle whose rest may come over the next connection.
    pub fn into_unfinished(self) -> Option<(Offer, Vec<u8>)> {
        match self.taking {
            Taking::Coming(offer, bytes) if !bytes.is_empty() => Some((offer, bytes)),
            _ => None,
        }
    }

    /// Takes a frame from the other side.
    pub fn handle_frame(&mut self, frame: Frame, now: Moment) {
        if self.end.is_some() {
            return;
        }
        self.moved = now;
        match frame {
            Frame::Bye(code) => self.end = Some(CarryEnd::PeerLeft(code)),
            Frame::Refuse(refusal) => self.end = Some(CarryEnd::Refused(refusal)),
            Frame::Meet(meet) if self.has_met.is_none() => self.has_met = Some(meet),
            frame if self.has_met.is_none() => self.unexpected(&frame),
            Frame::Acknowledgement(signed) => self.requests.push_back(CarryRequest::Note(signed)),
            Frame::Offer(offer) if matches!(self.taking, Taking::Nothing) => {
                self.taking = Taking::Judging(offer);
                self.requests.push_back(CarryRequest::Judge(offer));
            }
            Frame::Piece(from, bytes) => self.handle_piece(from, &bytes),
            Frame::Want(digest, from) => self.handle_want(digest, from),
            Frame::Carried(digest) => self.handle_carried(digest),
            Frame::Declined(declined) => self.handle_declined(declined),
            frame => self.unexpected(&frame),
        }
    }

    /// Takes what was no frame.
    pub fn handle_broken(&mut self, error: &FrameError) {
        match error {
            FrameError::OtherVersion(theirs) => {
                let text = format!(
                    "one side speaks protocol version {VERSIONS}, the other {theirs}: update the older program; nothing is lost meanwhile"
                );
                self.break_off(Refusal::new(Code::WRONG_VERSION, text));
            }
            error => {
                self.break_off(Refusal::new(Code::PROTOCOL, format!("no frame: {error}")));
            }
        }
    }

    /// Takes what happened at this side.
    pub fn handle_event(&mut self, event: CarryEvent, now: Moment) {
        if self.end.is_some() {
            return;
        }
        match event {
            CarryEvent::News => match &mut self.giving {
                Giving::Nothing { news } | Giving::Asking { news } => *news = true,
                // It is asked for more anyway.
                Giving::Offered { .. } | Giving::Sending { .. } => {}
            },
            CarryEvent::Next(said, gift) => self.handle_next(said, gift, now),
            CarryEvent::Judged(judged) => self.handle_judged(judged, now),
            CarryEvent::Kept(kept) => self.handle_kept(kept),
            CarryEvent::Noted(Ok(())) => {}
            CarryEvent::Noted(Err(refusal)) => self.break_off(refusal),
            CarryEvent::Leave => {
                self.farewell = Some(Frame::Bye(Code::LEAVING));
                self.end = Some(CarryEnd::Left);
            }
        }
    }

    /// Takes note that time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.timeout().is_some_and(|due| due <= now) {
            self.farewell = Some(Frame::Bye(Code::STALLED));
            self.end = Some(CarryEnd::Stalled);
        }
    }

    /// When `handle_timeout` should be called next; `None` while nothing is awaited.
    pub fn timeout(&self) -> Option<Moment> {
        let awaits = self.has_met.is_none()
            || matches!(self.giving, Giving::Offered { .. } | Giving::Sending { .. })
            || matches!(self.taking, Taking::Coming(..));
        (self.end.is_none() && awaits).then(|| self.moved.after_ms(STALL_MS))
    }

    /// The frame that should leave now, most urgent first.
    pub fn poll_frame(&mut self, now: Now) -> Option<Frame> {
        if let Some(farewell) = self.farewell.take() {
            return Some(farewell);
        }
        if self.end.is_some() {
            return None;
        }
        if !std::mem::replace(&mut self.met, true) {
            let program = self.program.clone();
            return Some(Frame::Meet(Meet { versions: VERSIONS, time: now.wall, program }));
        }
        if let Some(signed) = self.said.pop_front() {
            return Some(Frame::Acknowledgement(signed));
        }
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        let next = self.giving.poll();
        if matches!(next, Some(Frame::Piece(..))) {
            self.moved = now.moment;
        }
        next
    }

    /// What the store should do next.
    pub fn poll_request(&mut self) -> Option<CarryRequest> {
        let next = self.requests.pop_front();
        if next.is_some() || self.end.is_some() || self.has_met.is_none() {
            return next;
        }
        match self.giving {
            Giving::Nothing { news: true } => {
                self.giving = Giving::Asking { news: false };
                Some(CarryRequest::Next)
            }
            _ => None,
        }
    }

    fn handle_next(&mut self, said: Vec<SignedAcknowledgement>, gift: Option<Gift>, now: Moment) {
        let Giving::Asking { news } = self.giving else { return };
        self.said.extend(said);
        self.giving = match gift {
            Some(gift) => {
                assert_eq!(gift.offer.bytes, gift.bytes.len() as u64, "a store offers what it has");
                self.moved = now;
                Giving::Offered { gift, said: false }
            }
            None => Giving::Nothing { news },
        };
    }

    fn handle_judged(&mut self, judged: Result<Vec<u8>, Declined>, now: Moment) {
        let Taking::Judging(offer) = self.taking else { return };
        self.moved = now;
        match judged {
            Ok(there) => {
                let from = there.len() as u64;
                assert!(from < offer.bytes, "a store keeps what is whole");
                self.replies.push_back(Frame::Want(offer.digest, from));
                self.taking = Taking::Coming(offer, there);
            }
            Err(declined) => self.decline(declined),
        }
    }

    fn handle_piece(&mut self, from: u64, bytes: &[u8]) {
        let Taking::Coming(offer, there) = &mut self.taking else {
            return self.broken("a piece came of nothing that was wanted");
        };
        let fits = from == there.len() as u64 && from + bytes.len() as u64 <= offer.bytes;
        if !fits || bytes.is_empty() {
            return self.broken("a piece came that does not go on from the last one");
        }
        there.extend_from_slice(bytes);
        if there.len() as u64 == offer.bytes {
            let (offer, whole) = (*offer, std::mem::take(there));
            self.taking = Taking::Keeping(offer);
            self.requests.push_back(CarryRequest::Keep(offer, whole));
        }
    }

    fn handle_kept(&mut self, kept: Result<(), Declined>) {
        let Taking::Keeping(offer) = self.taking else { return };
        match kept {
            Ok(()) => {
                self.replies.push_back(Frame::Carried(offer.digest));
                self.taking = Taking::Nothing;
            }
            Err(declined) => self.decline(declined),
        }
    }

    fn decline(&mut self, declined: Declined) {
        self.replies.push_back(Frame::Declined(declined));
        self.taking = Taking::Nothing;
    }

    fn handle_want(&mut self, digest: BundleDigest, from: u64) {
        match std::mem::replace(&mut self.giving, Giving::Nothing { news: false }) {
            Giving::Offered { gift, said: true }
                if gift.offer.digest == digest && from < gift.offer.bytes =>
            {
                let sent = usize::try_from(from).expect("below the size of what is in memory");
                self.giving = Giving::Sending { gift, sent };
            }
            _ => self.broken("something is wanted that was not offered"),
        }
    }

    fn handle_carried(&mut self, digest: BundleDigest) {
        match std::mem::replace(&mut self.giving, Giving::Nothing { news: true }) {
            Giving::Sending { gift, sent }
                if gift.offer.digest == digest && sent == gift.bytes.len() =>
            {
                self.requests.push_back(CarryRequest::Given(gift.offer));
            }
            _ => self.broken("something is carried that was not sent"),
        }
    }

    fn handle_declined(&mut self, declined: Declined) {
        match std::mem::replace(&mut self.giving, Giving::Nothing { news: true }) {
            Giving::Offered { gift, said: true } | Giving::Sending { gift, .. }
                if gift.offer.digest == declined.digest =>
            {
                self.requests.push_back(CarryRequest::Refused(gift.offer, declined));
            }
            _ => self.broken("something is declined that was not offered"),
        }
    }

    fn unexpected(&mut self, frame: &Frame) {
        self.broken(&format!("a {} frame came where none may be", frame.name()));
    }

    fn broken(&mut self, text: &str) {
        self.break_off(Refusal::new(Code::PROTOCOL, text));
    }

    fn break_off(&mut self, refusal: Refusal) {
        self.farewell = Some(Frame::Refuse(refusal.clone()));
        self.end = Some(CarryEnd::Broken(refusal));
    }
}

impl Giving {
    fn poll(&mut self) -> Option<Frame> {
        match self {
            Self::Offered { gift, said: said @ false } => {
                *said = true;
                Some(Frame::Offer(gift.offer))
            }
            Self::Sending { gift, sent } if *sent < gift.bytes.len() => {
                let from = *sent;
                *sent = gift.bytes.len().min(from + PIECE_BYTES);
                Some(Frame::Piece(from as u64, gift.bytes[from..*sent].to_vec()))
            }
            _ => None,
        }
    }
}
