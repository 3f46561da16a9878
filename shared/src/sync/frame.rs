//! The frames: what edge and HQ say to each other, each with one legal form (`PROTOCOL.md`). Knows
//! no session: which frame may come when is decided there. Invariant: `decode(encode(f)) == f`, and
//! no other bytes decode to `f`.

use super::acknowledgement::{ACKNOWLEDGEMENT_BYTES_MAX, SignedAcknowledgement};
use super::bundle::BundleDigest;
use super::carry::{Declined, Meet, Offer, PIECE_BYTES};
use super::document::{DocumentChange, GivenDocuments, Lives, SignedDocumentBatch};
use super::enrol::{EnrolRequest, Grant, Introduction};
use super::limits;
use super::look_up::{
    FOUND_BYTES_MAX, Found, HANDLED_MAX, SEARCH_BYTES_MAX, read_items, write_items,
};
use super::payload::{self, PayloadError};
use super::place::{NotARun, Position, Run, StateCursor};
use super::postings::{POSTINGS_BYTES_MAX, PostingsAsked, SignedPostings};
use super::state::SignedStateBatch;
use super::stock::SignedSiteStock;
use super::wire::{self, FrameBuffer, FrameError, Reader, Writer};
use crate::document::limits::CHANGE_BYTES_MAX;
use crate::fact::Fact;
use crate::ids::{Capture, ChangeHash, DeviceNo, Head, HistoryId, ItemNo, LogId, Seq};
use crate::segment::seal::SignedSeal;
use crate::time::Timestamp;

/// The version of the protocol that this program speaks best. From 2 on a bundle from HQ may tell
/// postings, from 3 on an HQ that was restored asks back documents; everything else is as in 1.
pub const VERSION: u32 = 3;

/// Every version that this program speaks.
pub const VERSIONS: Versions = Versions { lowest: 1, highest: VERSION };

/// A range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub lowest: u32,
    /// The newest.
    pub highest: u32,
}

impl Versions {
    /// The newest version that both speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    /// Whether a bundle from HQ may tell postings to whoever speaks these.
    pub const fn read_postings_in_bundles(self) -> bool {
        self.highest >= 2
    }

    /// Whether documents are asked back from whoever speaks this version.
    pub(super) const fn gives_documents_back(version: u32) -> bool {
        version >= 3
    }

    pub(super) fn write(self, out: &mut Writer) {
        out.unsigned(self.lowest);
        out.unsigned(self.highest);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let versions =
            Self { lowest: input.small("a version")?, highest: input.small("a version")? };
        let possible = versions.lowest <= versions.highest;
        if possible { Ok(versions) } else { Err(FrameError::BadValue("a range of versions")) }
    }

    /// What follows a range of versions is read only where one is common: another version may
    /// write it in another way.
    pub(super) fn read_common(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let versions = Self::read(input)?;
        if VERSIONS.common(versions).is_some() {
            Ok(versions)
        } else {
            Err(FrameError::OtherVersion(versions))
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{} to {}", self.lowest, self.highest)
        }
    }
}

/// What an edge opens with, in the form of the lowest version it speaks. The range of versions
/// comes first in every version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions it speaks.
    pub versions: Versions,
    /// The log it brings: the hash of its genesis.
    pub log: LogId,
    /// How far the log goes.
    pub position: Position,
    /// How far it knows keyed state.
    pub state: StateCursor,
    /// The newest acknowledgement it holds, a witness of what HQ once had.
    pub witness: Option<SignedAcknowledgement>,
    /// The node's own clock.
    pub time: Timestamp,
    /// Program and version, for people.
    pub program: String,
}

/// HQ takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version spoken from here on.
    pub version: u32,
    /// The life of HQ's store.
    pub history: HistoryId,
    /// How far HQ has the log; facts go on after it.
    pub cursor: Position,
    /// The last fact under the seals that HQ has; seals go on after it.
    pub sealed: Seq,
    /// HQ's time.
    pub time: Timestamp,
    /// Program and version, for people.
    pub program: String,
}

/// Why HQ refuses, or why a side leaves; also QUIC's application error code. Numbers stay for ever;
/// one that this program does not know is passed on with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $number:literal $name:ident $word:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every code that this program knows, with its word.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $word)),*];
        }
    };
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::ALL.iter().find(|(code, _)| code == self) {
            Some((_, word)) => f.write_str(word),
            None => write!(f, "code {}", self.0),
        }
    }
}

codes! {
    /// Nothing is wrong; the side stops or has nothing more to say.
    1 LEAVING "leaving";
    /// No version in common.
    2 WRONG_VERSION "wrong version";
    /// Bytes or order that the protocol does not allow.
    3 PROTOCOL "protocol error";
    /// HQ does not know the log, or it is another installation's.
    4 UNKNOWN_LOG "unknown log";
    /// HQ knows no site or device of that name.
    5 UNKNOWN_SITE "unknown site";
    /// The certificate was revoked.
    6 REVOKED "revoked";
    /// The certificate has expired: it may only be renewed.
    7 CERTIFICATE_EXPIRED "certificate expired";
    /// Two heads at one place: the log was continued twice.
    8 FORK "fork";
    /// HQ holds more of the log than its writer: the writer was restored from an older copy.
    9 RESTORED "restored";
    /// The facts are not what a log may hold.
    10 BAD_FACTS "bad facts";
    /// The other side can't store anything now.
    11 STORAGE "storage";
    /// Too much to do; come back later.
    12 BUSY "busy";
    /// A newer connection of the same installation took over.
    13 REPLACED "replaced";
    /// No progress for too long.
    14 STALLED "stalled";
    /// No client certificate, or one of another authority.
    15 NO_CERTIFICATE "no certificate";
    /// HQ let this installation in, and lost that when it was restored from a backup.
    16 FORGOTTEN "forgotten";
    /// The one-time code's secret is not the one HQ gave.
    20 WRONG_CODE "wrong code";
    /// The one-time code was used by another installation.
    21 CODE_USED "code used";
    /// The one-time code is too old.
    22 CODE_EXPIRED "code expired";
    /// The certificate request is no good.
    23 BAD_REQUEST "bad request";
    /// These keys are another installation's already.
    24 KEYS_TAKEN "keys taken";
    /// The bundle is here already, or what is in it.
    30 HELD "held already";
    /// HQ does not let the one carry for the other.
    31 NOT_ALLOWED "not allowed";
    /// A bundle or an acknowledgement is not what its sender signed.
    32 FORGED "forged or damaged";
    /// Facts before those in the bundle are missing.
    33 GAP "a gap";
}

/// HQ does not take part, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub code: Code,
    /// Why and what to do next, for people.
    pub text: String,
    /// The versions that the refusing side speaks.
    pub versions: Versions,
}

impl Refusal {
    /// A refusal in this program's versions. A text that is too long is cut.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        let mut text = text.into();
        limits::cut(&mut text, limits::TEXT_BYTES_MAX);
        Self { code, text, versions: VERSIONS }
    }
}

/// A run of facts on its way to HQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsFrame {
    /// The place of the first fact.
    pub first: Seq,
    /// How many there are.
    pub count: u64,
    /// The chain's head after the last.
    pub head: Head,
    /// The facts, packed.
    pub packed: Vec<u8>,
}

/// A frame of facts that holds no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFacts {
    /// The bytes are no facts.
    #[error("{0}")]
    Payload(#[from] PayloadError),
    /// The facts are no run.
    #[error("{0}")]
    NotARun(#[from] NotARun),
}

impl FactsFrame {
    /// Packs a run.
    pub fn pack(run: &Run) -> Self {
        Self::pack_after(run, None)
    }

    /// As [`Self::pack`], for a reader that has the fact before.
    pub fn pack_after(run: &Run, before: Option<&Fact>) -> Self {
        Self {
            first: run.first,
            count: run.facts.len() as u64,
            head: run.head,
            packed: payload::pack_after(before, &run.facts),
        }
    }

    /// The place of the last fact; `None` where there is no such place.
    pub fn last(&self) -> Option<Seq> {
        self.first.0.checked_add(self.count.checked_sub(1)?).map(Seq)
    }

    /// Unpacks the run: whole groups, the announced number.
    pub fn unpack(&self) -> Result<Run, BadFacts> {
        self.unpack_after(None)
    }

    /// As [`Self::unpack`], for a reader that has the fact before.
    pub fn unpack_after(&self, before: Option<&Fact>) -> Result<Run, BadFacts> {
        let facts = payload::unpack_after(before, &self.packed, self.count)?;
        Ok(Run::new(self.first, facts, self.head)?)
    }
}

/// Whatever one side says to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Edge: here I am.
    Hello(Hello),
    /// HQ: welcome, go on from there.
    Welcome(Welcome),
    /// HQ: no, or no longer.
    Refuse(Refusal),
    /// Edge: facts.
    Facts(FactsFrame),
    /// Edge: facts before HQ's welcome, for an HQ whose cursor is just before them, with this head.
    Early(Head, FactsFrame),
    /// Edge: a range of facts sent before is sealed.
    Seal(SignedSeal),
    /// HQ: so far I have your log.
    Acknowledgement(SignedAcknowledgement),
    /// HQ: keyed state.
    State(SignedStateBatch),
    /// Edge: state is durable up to there.
    StateTaken(StateCursor),
    /// Either: are you there?
    Ping(u64),
    /// Either: I am, and this is my time.
    Pong(u64, Timestamp),
    /// Either: I leave. The last frame of a stream.
    Bye(Code),
    /// Edge: my log is not the one that HQ has up to its cursor; up to here HQ once had mine.
    Branch(Position),
    /// Edge: documents are durable up to there; the first one asks for what follows.
    DocumentsTaken(StateCursor),
    /// Edge: a change of a shared document, made here.
    DocumentChange(DocumentChange),
    /// HQ: changes of shared documents, and what became of the edge's own.
    Documents(SignedDocumentBatch),
    /// HQ: this change builds on others that I do not have; nothing is decided.
    DocumentWaits(ChangeHash),
    /// Edge: what became of these facts?
    AskPostings(PostingsAsked),
    /// HQ: this did.
    Postings(SignedPostings),
    /// Edge: which items are like this?
    LookUp(String),
    /// HQ: these are.
    Found(Found),
    /// Edge: this site handles these from now on.
    Handle(Vec<ItemNo>),
    /// Edge: a certificate request (DER) for a device that has a certificate.
    Renew(Vec<u8>),
    /// HQ: the new chain, the device's own certificate first (DER), and how long it is valid.
    Renewed(Vec<Vec<u8>>, Timestamp),
    /// A box that has no certificate: let me in, here is my code.
    Enrol(EnrolRequest),
    /// HQ: you are in.
    Enrolled(Grant),
    /// A box that HQ let in and does not know any more: this is what my log begins with.
    Introduce(Introduction),
    /// HQ: I was restored. Give back keyed state that says more than what I have of my own logs.
    AskBack(Vec<Capture>),
    /// Edge: keyed state that HQ asks back, as HQ once signed it.
    GivenBack(SignedStateBatch),
    /// Edge: that was all of it.
    AllGiven,
    /// HQ: I was restored. Give back what I told you of documents in lives that are over.
    AskDocuments(Lives),
    /// Edge: some of it.
    GivenDocuments(Box<GivenDocuments>),
    /// HQ: I have what I told up to there in a life that is over, or lack what some of it builds on.
    DocumentsBack(StateCursor, bool),
    /// Edge: what is on hand at my site?
    AskStock,
    /// HQ: this is.
    Stock(SignedSiteStock),
    /// Either neighbour: here I am.
    Meet(Meet),
    /// Either neighbour: I have this bundle.
    Offer(Offer),
    /// Either neighbour: send it, from this byte on.
    Want(BundleDigest, u64),
    /// Either neighbour: the bundle's bytes from this one on.
    Piece(u64, Vec<u8>),
    /// Either neighbour: I have it, durably.
    Carried(BundleDigest),
    /// Either neighbour: I do not take it.
    Declined(Declined),
    /// In a dispatch note: so many facts, packed.
    Dispatch(u64, Vec<u8>),
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSE: u8 = 3;
const FACTS: u8 = 4;
const SEAL: u8 = 5;
const ACKNOWLEDGEMENT: u8 = 6;
const STATE: u8 = 7;
const STATE_TAKEN: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const BYE: u8 = 11;
const BRANCH: u8 = 12;
const ASK_POSTINGS: u8 = 13;
const POSTINGS: u8 = 14;
const LOOK_UP: u8 = 20;
const FOUND: u8 = 21;
const HANDLE: u8 = 22;
const EARLY: u8 = 15;
const RENEW: u8 = 16;
const RENEWED: u8 = 17;
const ENROL: u8 = 18;
const ENROLLED: u8 = 19;
const INTRODUCE: u8 = 24;
const ASK_BACK: u8 = 25;
const GIVEN_BACK: u8 = 26;
const ALL_GIVEN: u8 = 27;
const ASK_STOCK: u8 = 28;
const STOCK: u8 = 29;
const MEET: u8 = 32;
const OFFER: u8 = 33;
const WANT: u8 = 34;
const PIECE: u8 = 35;
const CARRIED: u8 = 36;
const DECLINED: u8 = 37;
const DISPATCH: u8 = 38;
const DOCUMENTS_TAKEN: u8 = 48;
const DOCUMENT_CHANGE: u8 = 49;
const DOCUMENTS: u8 = 50;
const DOCUMENT_WAITS: u8 = 51;
const ASK_DOCUMENTS: u8 = 52;
const GIVEN_DOCUMENTS: u8 = 53;
const DOCUMENTS_BACK: u8 = 54;

/// The largest body of each type; `None` for what is no type.
pub const fn body_max(kind: u8) -> Option<usize> {
    Some(match kind {
        HELLO | WELCOME => 1024,
        REFUSE => limits::TEXT_BYTES_MAX + 32,
        FACTS => limits::FACTS_BYTES_MAX + 64,
        SEAL => 228,
        ACKNOWLEDGEMENT => ACKNOWLEDGEMENT_BYTES_MAX,
        STATE | GIVEN_BACK => limits::STATE_BYTES_MAX + 256,
        ASK_BACK => 2 + limits::HQ_LOGS_MAX * 13,
        ALL_GIVEN | ASK_STOCK => 0,
        STOCK => limits::STOCK_BYTES_MAX,
        STATE_TAKEN | DOCUMENTS_TAKEN | DOCUMENTS_BACK | ASK_POSTINGS | PING | PONG | BYE => 24,
        DOCUMENT_CHANGE => CHANGE_BYTES_MAX + 128,
        DOCUMENTS => limits::DOCUMENTS_BYTES_MAX + 256,
        DOCUMENT_WAITS => 32,
        ASK_DOCUMENTS => 16 + limits::HQ_LOGS_MAX * 16,
        GIVEN_DOCUMENTS => 2 * limits::DOCUMENTS_BYTES_MAX + 2_048,
        POSTINGS => POSTINGS_BYTES_MAX,
        LOOK_UP => SEARCH_BYTES_MAX,
        FOUND => FOUND_BYTES_MAX + 32,
        HANDLE => 8 + HANDLED_MAX * 8,
        EARLY => limits::FACTS_BYTES_MAX + 96,
        RENEW => limits::CERTIFICATE_BYTES_MAX,
        ENROL | INTRODUCE => limits::CERTIFICATE_BYTES_MAX + 512,
        MEET => 128,
        OFFER => 192,
        BRANCH | WANT | CARRIED => 48,
        PIECE => PIECE_BYTES + 16,
        DECLINED => limits::TEXT_BYTES_MAX + 64,
        DISPATCH => limits::STATE_BYTES_MAX + 16,
        RENEWED | ENROLLED => (limits::CHAIN_MAX + 1) * limits::CERTIFICATE_BYTES_MAX + 2048,
        _ => return None,
    })
}

fn read_known(input: &mut Reader<'_>) -> Result<Vec<Capture>, FrameError> {
    let count =
        usize::try_from(input.unsigned()?).ok().filter(|count| *count <= limits::HQ_LOGS_MAX);
    let count = count.ok_or(FrameError::BadValue("how many logs HQ has"))?;
    let mut known = Vec::with_capacity(count);
    for _ in 0..count {
        let device = DeviceNo(input.small("an installation")?);
        known.push(Capture { device, counter: input.unsigned()? });
    }
    Ok(known)
}

impl Frame {
    /// The type byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Welcome(_) => WELCOME,
            Self::Refuse(_) => REFUSE,
            Self::Facts(_) => FACTS,
            Self::Seal(_) => SEAL,
            Self::Acknowledgement(_) => ACKNOWLEDGEMENT,
            Self::State(_) => STATE,
            Self::StateTaken(_) => STATE_TAKEN,
            Self::Ping(_) => PING,
            Self::Pong(..) => PONG,
            Self::Bye(_) => BYE,
            Self::Branch(_) => BRANCH,
            Self::DocumentsTaken(_) => DOCUMENTS_TAKEN,
            Self::DocumentChange(_) => DOCUMENT_CHANGE,
            Self::Documents(_) => DOCUMENTS,
            Self::DocumentWaits(_) => DOCUMENT_WAITS,
            Self::AskDocuments(_) => ASK_DOCUMENTS,
            Self::GivenDocuments(_) => GIVEN_DOCUMENTS,
            Self::DocumentsBack(..) => DOCUMENTS_BACK,
            Self::AskPostings(_) => ASK_POSTINGS,
            Self::Postings(_) => POSTINGS,
            Self::LookUp(_) => LOOK_UP,
            Self::Found(_) => FOUND,
            Self::Handle(_) => HANDLE,
            Self::Early(..) => EARLY,
            Self::Renew(_) => RENEW,
            Self::Renewed(..) => RENEWED,
            Self::Enrol(_) => ENROL,
            Self::Enrolled(_) => ENROLLED,
            Self::Introduce(_) => INTRODUCE,
            Self::AskBack(_) => ASK_BACK,
            Self::GivenBack(_) => GIVEN_BACK,
            Self::AllGiven => ALL_GIVEN,
            Self::AskStock => ASK_STOCK,
            Self::Stock(_) => STOCK,
            Self::Meet(_) => MEET,
            Self::Offer(_) => OFFER,
            Self::Want(..) => WANT,
            Self::Piece(..) => PIECE,
            Self::Carried(_) => CARRIED,
            Self::Declined(_) => DECLINED,
            Self::Dispatch(..) => DISPATCH,
        }
    }

    /// The frame's name in messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Welcome(_) => "welcome",
            Self::Refuse(_) => "refuse",
            Self::Facts(_) => "facts",
            Self::Seal(_) => "seal",
            Self::Acknowledgement(_) => "acknowledgement",
            Self::State(_) => "state",
            Self::StateTaken(_) => "state taken",
            Self::Ping(_) => "ping",
            Self::Pong(..) => "pong",
            Self::Bye(_) => "bye",
            Self::Branch(_) => "branch",
            Self::DocumentsTaken(_) => "documents taken",
            Self::DocumentChange(_) => "document change",
            Self::Documents(_) => "documents",
            Self::DocumentWaits(_) => "document waits",
            Self::AskDocuments(_) => "ask documents",
            Self::GivenDocuments(_) => "given documents",
            Self::DocumentsBack(..) => "documents back",
            Self::AskPostings(_) => "question about postings",
            Self::Postings(_) => "postings",
            Self::LookUp(_) => "look-up",
            Self::Found(_) => "found",
            Self::Handle(_) => "handle",
            Self::Early(..) => "early facts",
            Self::Renew(_) => "renew",
            Self::Renewed(..) => "renewed",
            Self::Enrol(_) => "enrol",
            Self::Enrolled(_) => "enrolled",
            Self::Introduce(_) => "introduce",
            Self::AskBack(_) => "ask back",
            Self::GivenBack(_) => "given back",
            Self::AllGiven => "all given",
            Self::AskStock => "ask stock",
            Self::Stock(_) => "stock",
            Self::Meet(_) => "meet",
            Self::Offer(_) => "offer",
            Self::Want(..) => "want",
            Self::Piece(..) => "piece",
            Self::Carried(_) => "carried",
            Self::Declined(_) => "declined",
            Self::Dispatch(..) => "dispatch",
        }
    }

    /// Length, type, body.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::new();
        self.write_body(&mut body);
        let body = body.into_bytes();
        assert!(
            Some(body.len()) <= body_max(self.kind()),
            "a {} frame is over its limit",
            self.name()
        );
        wire::frame_bytes(self.kind(), &body)
    }

    /// A frame from its type and body.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        let max = body_max(kind).ok_or(FrameError::UnknownType(kind))?;
        if body.len() > max {
            return Err(FrameError::TooLarge { kind, length: body.len(), max });
        }
        let mut input = Reader::new(body);
        let frame = Self::read_body(kind, &mut input)?;
        input.finish()?;
        Ok(frame)
    }

    fn write_body(&self, out: &mut Writer) {
        match self {
            Self::Hello(hello) => hello.write(out),
            Self::Welcome(welcome) => welcome.write(out),
            Self::Refuse(refusal) => refusal.write(out),
            Self::Facts(facts) => facts.write(out),
            Self::Seal(seal) => out.raw(&seal.encode()),
            Self::Acknowledgement(signed) => signed.write(out),
            Self::State(signed) | Self::GivenBack(signed) => signed.write(out),
            Self::StateTaken(cursor) | Self::DocumentsTaken(cursor) => cursor.write(out),
            Self::DocumentsBack(cursor, is_whole) => {
                cursor.write(out);
                out.unsigned(u64::from(*is_whole));
            }
            Self::Ping(nonce) => out.unsigned(*nonce),
            Self::Pong(nonce, time) => {
                out.unsigned(*nonce);
                out.signed(time.0);
            }
            Self::Bye(code) => out.unsigned(code.0),
            Self::Branch(position) => position.write(out),
            Self::DocumentChange(change) => change.write(out),
            Self::Documents(signed) => signed.write(out),
            Self::DocumentWaits(hash) => out.raw(&hash.0),
            Self::AskDocuments(lives) => lives.write(out),
            Self::GivenDocuments(given) => given.write(out),
            Self::AskPostings(asked) => asked.write(out),
            Self::Postings(signed) => signed.write(out),
            Self::LookUp(text) => out.raw(text.as_bytes()),
            Self::Found(found) => found.write(out),
            Self::Handle(items) => write_items(out, items),
            Self::Early(before, facts) => {
                out.raw(&before.0);
                facts.write(out);
            }
            Self::Renew(request) => out.raw(request),
            Self::Renewed(chain, valid_until) => {
                write_chain(out, chain);
                out.signed(valid_until.0);
            }
            Self::Enrol(request) => request.write(out),
            Self::Enrolled(grant) => grant.write(out),
            Self::Introduce(introduction) => introduction.write(out),
            Self::AskBack(known) => {
                out.unsigned(known.len() as u64);
                for Capture { device, counter } in known {
                    out.unsigned(*device);
                    out.unsigned(*counter);
                }
            }
            Self::AllGiven | Self::AskStock => {}
            Self::Stock(signed) => signed.write(out),
            Self::Meet(meet) => meet.write(out),
            Self::Offer(offer) => offer.write(out),
            Self::Want(digest, from) => {
                out.raw(&digest.0);
                out.unsigned(*from);
            }
            Self::Piece(number, bytes) | Self::Dispatch(number, bytes) => {
                out.unsigned(*number);
                out.raw(bytes);
            }
            Self::Carried(digest) => out.raw(&digest.0),
            Self::Declined(declined) => declined.write(out),
        }
    }

    fn read_body(kind: u8, input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match kind {
            HELLO => Self::Hello(Hello::read(input)?),
            WELCOME => Self::Welcome(Welcome::read(input)?),
            REFUSE => Self::Refuse(Refusal::read(input)?),
            FACTS => Self::Facts(FactsFrame::read(input)?),
            SEAL => Self::Seal(
                SignedSeal::decode(input.rest()).map_err(|_| FrameError::BadValue("a seal"))?,
            ),
            ACKNOWLEDGEMENT => Self::Acknowledgement(SignedAcknowledgement::read(input)?),
            STATE => Self::State(SignedStateBatch::read(input)?),
            STATE_TAKEN => Self::StateTaken(StateCursor::read(input)?),
            PING => Self::Ping(input.unsigned()?),
            PONG => Self::Pong(input.unsigned()?, Timestamp(input.signed()?)),
            BYE => Self::Bye(read_code(input)?),
            BRANCH => Self::Branch(Position::read(input)?),
            DOCUMENTS_TAKEN => Self::DocumentsTaken(StateCursor::read(input)?),
            DOCUMENT_CHANGE => Self::DocumentChange(DocumentChange::read(input)?),
            DOCUMENTS => Self::Documents(SignedDocumentBatch::read(input)?),
            DOCUMENT_WAITS => Self::DocumentWaits(ChangeHash(input.array()?)),
            ASK_DOCUMENTS => Self::AskDocuments(Lives::read(input)?),
            GIVEN_DOCUMENTS => Self::GivenDocuments(Box::new(GivenDocuments::read(input)?)),
            DOCUMENTS_BACK => {
                Self::DocumentsBack(StateCursor::read(input)?, input.flag("whether it is whole")?)
            }
            ASK_POSTINGS => Self::AskPostings(PostingsAsked::read(input)?),
            POSTINGS => Self::Postings(SignedPostings::read(input)?),
            LOOK_UP => Self::LookUp(
                String::from_utf8(input.rest().to_vec())
                    .map_err(|_| FrameError::BadValue("what is looked up"))?,
            ),
            FOUND => Self::Found(Found::read(input)?),
            HANDLE => Self::Handle(read_items(input)?),
            EARLY => Self::Early(Head(input.array()?), FactsFrame::read(input)?),
            RENEW => Self::Renew(input.rest().to_vec()),
            RENEWED => Self::Renewed(read_chain(input)?, Timestamp(input.signed()?)),
            ENROL => Self::Enrol(EnrolRequest::read(input)?),
            ENROLLED => Self::Enrolled(Grant::read(input)?),
            INTRODUCE => Self::Introduce(Introduction::read(input)?),
            ASK_BACK => Self::AskBack(read_known(input)?),
            GIVEN_BACK => Self::GivenBack(SignedStateBatch::read(input)?),
            ALL_GIVEN => Self::AllGiven,
            ASK_STOCK => Self::AskStock,
            STOCK => Self::Stock(SignedSiteStock::read(input)?),
            MEET => Self::Meet(Meet::read(input)?),
            OFFER => Self::Offer(Offer::read(input)?),
            WANT => Self::Want(BundleDigest(input.array()?), input.unsigned()?),
            PIECE => Self::Piece(input.unsigned()?, input.rest().to_vec()),
            CARRIED => Self::Carried(BundleDigest(input.array()?)),
            DECLINED => Self::Declined(Declined::read(input)?),
            DISPATCH => Self::Dispatch(input.unsigned()?, input.rest().to_vec()),
            _ => return Err(FrameError::UnknownType(kind)),
        })
    }
}

/// The next whole frame of a stream; `None` while it is not all there.
pub fn next_frame(buffer: &mut FrameBuffer) -> Result<Option<Frame>, FrameError> {
    buffer.next(body_max)?.map(|(kind, body)| Frame::decode(kind, body)).transpose()
}

pub(super) fn write_chain(out: &mut Writer, chain: &[Vec<u8>]) {
    out.unsigned(chain.len() as u64);
    for certificate in chain {
        out.bytes(certificate);
    }
}

pub(super) fn read_chain(input: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, FrameError> {
    let count = input.unsigned()?;
    if count == 0 || count > limits::CHAIN_MAX as u64 {
        return Err(FrameError::BadValue("a certificate chain"));
    }
    (0..count)
        .map(|_| Ok(input.bytes(limits::CERTIFICATE_BYTES_MAX, "a certificate")?.to_vec()))
        .collect()
}

fn read_code(input: &mut Reader<'_>) -> Result<Code, FrameError> {
    Ok(Code(input.small("a code")?))
}

impl Hello {
    fn write(&self, out: &mut Writer) {
        self.versions.write(out);
        out.raw(&self.log.0);
        self.position.write(out);
        self.state.write(out);
        out.unsigned(self.witness.is_some());
        if let Some(witness) = &self.witness {
            witness.write(out);
        }
        out.signed(self.time.0);
        out.bytes(self.program.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            versions: Versions::read_common(input)?,
            log: LogId(input.array()?),
            position: Position::read(input)?,
            state: StateCursor::read(input)?,
            witness: if input.flag("whether a witness follows")? {
                Some(SignedAcknowledgement::read(input)?)
            } else {
                None
            },
            time: Timestamp(input.signed()?),
            program: input.text(PROGRAM_BYTES_MAX, "a program's name")?,
        })
    }
}

/// The most bytes of a program's name.
const PROGRAM_BYTES_MAX: usize = 64;

impl Welcome {
    fn write(&self, out: &mut Writer) {
        out.unsigned(self.version);
        out.raw(&self.history.0);
        self.cursor.write(out);
        out.unsigned(self.sealed);
        out.signed(self.time.0);
        out.bytes(self.program.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            version: input.small("a version")?,
            history: HistoryId(input.array()?),
            cursor: Position::read(input)?,
            sealed: Seq(input.unsigned()?),
            time: Timestamp(input.signed()?),
            program: input.text(PROGRAM_BYTES_MAX, "a program's name")?,
        })
    }
}

impl Refusal {
    fn write(&self, out: &mut Writer) {
        self.versions.write(out);
        out.unsigned(self.code.0);
        out.bytes(self.text.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            versions: Versions::read(input)?,
            code: read_code(input)?,
            text: input.text(limits::TEXT_BYTES_MAX, "a refusal's text")?,
        })
    }
}

impl FactsFrame {
    fn write(&self, out: &mut Writer) {
        out.unsigned(self.first);
        out.unsigned(self.count);
        out.raw(&self.head.0);
        out.raw(&self.packed);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            first: Seq(input.unsigned()?),
            count: input.unsigned()?,
            head: Head(input.array()?),
            packed: input.rest().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DocumentId, DocumentKey};
    use crate::fact::{Kind, Value};
    use crate::ids::{ChangeHash, CompanyNo, ItemNo, SiteNo};
    use crate::quantity::Quantity;
    use crate::segment::chain::{FORMAT, Genesis};
    use crate::segment::seal::Seal;
    use crate::sync::bundle::{BundleHead, Direction};
    use crate::sync::stock::{CompleteTo, SiteStock, StockLevel};
    use crate::sync::{
        AcceptedHeads, Acknowledgement, AuthorityPin, DocumentBatch, DocumentNews, EnrolCode,
        Given, Secret, StateBatch,
    };
    use ed25519_dalek::SigningKey;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[4; 32])
    }

    fn facts() -> Vec<Fact> {
        (1..=300u64)
            .map(|number| {
                let mut fact = Fact::new(Kind::Receipt);
                fact.push(2, Value::Unsigned(number)).expect("a legal field");
                fact
            })
            .collect()
    }

    fn acknowledgement() -> SignedAcknowledgement {
        let received = Position { last: Seq(9), head: Head([3; 32]) };
        let (history, log) = (HistoryId([1; 32]), LogId([2; 32]));
        let (safe, posted, at) = (Seq(7), Seq(8), Timestamp(1_795_519_885_123));
        Acknowledgement { history, log, received, safe, posted, at, given: Given::default() }
            .sign(&key())
    }

    fn hello(witness: Option<&SignedAcknowledgement>) -> Frame {
        Frame::Hello(Hello {
            versions: VERSIONS,
            log: LogId([2; 32]),
            position: Position { last: Seq(300), head: Head([3; 32]) },
            state: StateCursor { handle: 12, at: 900 },
            witness: witness.copied(),
            time: Timestamp(-5),
            program: "edge-node 0.1.0".to_owned(),
        })
    }

    fn stock() -> SignedSiteStock {
        let level = StockLevel { item: ItemNo(7), lot: None, quantity: Quantity(-12) };
        let log = CompleteTo { device: DeviceNo(4), last: Seq(9), recorded_at: Timestamp(5) };
        let (site, at) = (SiteNo(3), Timestamp(6));
        let stock = SiteStock { site, at, logs: vec![log], levels: vec![level] };
        stock.sign(&key()).expect("little")
    }

    fn introduction() -> Introduction {
        let genesis = Genesis {
            format: FORMAT,
            site: SiteNo(3),
            device: DeviceNo(4),
            random: [1; 32],
            public_key: key().verifying_key().to_bytes(),
            predecessor: None,
        };
        let name = "上海 03".to_owned();
        Introduction::new(vec![9; 200], genesis, CompanyNo(1), name, &key())
    }

    fn document() -> DocumentKey {
        DocumentKey::first(DocumentId::SiteNotes { site: SiteNo(3) })
    }

    fn documents() -> SignedDocumentBatch {
        let cursor = |at| StateCursor { handle: 12, at };
        let key = document();
        DocumentBatch {
            site: SiteNo(3),
            from: cursor(1),
            to: cursor(4),
            news: vec![
                // Nothing of it can be packed smaller: a bit that is changed there is lost.
                DocumentNews::Change { key, bytes: vec![1, 2, 3] },
                DocumentNews::Taken { key, hash: ChangeHash([5; 32]) },
            ],
            heads: vec![AcceptedHeads { key, heads: vec![ChangeHash([5; 32])] }],
        }
        .sign(&self::key())
    }

    fn given_documents() -> GivenDocuments {
        let own = |_, _| Ok::<_, std::convert::Infallible>(Some(vec![7, 8, 9]));
        let Ok(given) = GivenDocuments::new(documents(), own);
        given
    }

    /// One of every type, all values told apart.
    fn samples() -> Vec<Frame> {
        let run = Run::new(Seq(5), facts(), Head([8; 32])).expect("a run");
        let cursor = |at| StateCursor { handle: 12, at };
        let seal = Seal {
            log: LogId([2; 32]),
            first: Seq(1),
            last: Seq(300),
            head: Head([3; 32]),
            document_head: ChangeHash([5; 32]),
        };
        let code =
            EnrolCode { pin: AuthorityPin::of(b"key"), site: SiteNo(3), secret: Secret([6; 16]) };
        vec![
            hello(None),
            hello(Some(&acknowledgement())),
            Frame::Welcome(Welcome {
                version: 1,
                history: HistoryId([1; 32]),
                cursor: Position { last: Seq(200), head: Head([3; 32]) },
                sealed: Seq(100),
                time: Timestamp(1_795_519_885_123),
                program: "hq-server 0.1.0".to_owned(),
            }),
            Frame::Refuse(Refusal::new(Code::FORK, "叉")),
            Frame::Facts(FactsFrame::pack(&run)),
            Frame::Seal(seal.sign(&key())),
            Frame::Acknowledgement(acknowledgement()),
            Frame::State(
                StateBatch::new(SiteNo(3), cursor(1), cursor(301), 400, &facts()).sign(&key()),
            ),
            Frame::StateTaken(cursor(301)),
            Frame::Ping(77),
            Frame::Pong(77, Timestamp(1_795_519_885_123)),
            Frame::Bye(Code::LEAVING),
            Frame::Branch(Position { last: Seq(200), head: Head([3; 32]) }),
            Frame::DocumentsTaken(cursor(301)),
            Frame::DocumentChange(DocumentChange {
                key: document(),
                hash: ChangeHash([9; 32]),
                bytes: vec![8; 200],
            }),
            Frame::Documents(documents()),
            Frame::DocumentWaits(ChangeHash([9; 32])),
            Frame::Early(Head([9; 32]), FactsFrame::pack(&run)),
            Frame::Renew(vec![1, 2, 3]),
            Frame::Renewed(vec![vec![1; 300], vec![2; 300]], Timestamp(5)),
            Frame::Enrol(EnrolRequest::new(VERSIONS, &code, vec![9; 200], [1; 32], &key())),
            Frame::Enrolled(Grant {
                site: SiteNo(3),
                device: DeviceNo(4),
                company: CompanyNo(1),
                site_name: "上海 03".to_owned(),
                chain: vec![vec![1; 300]],
                valid_until: Timestamp(6),
                authority: vec![2; 300],
                hq_key: [3; 32],
                history: HistoryId([1; 32]),
                time: Timestamp(7),
            }),
            Frame::Introduce(introduction()),
            Frame::AskBack(vec![Capture { device: DeviceNo(1), counter: 812 }; 3]),
            Frame::GivenBack(
                StateBatch::new(SiteNo(3), cursor(1), cursor(301), 400, &facts()).sign(&key()),
            ),
            Frame::AllGiven,
            Frame::AskDocuments(Lives { now: 12, before: vec![cursor(1), cursor(301)] }),
            Frame::GivenDocuments(Box::new(given_documents())),
            Frame::DocumentsBack(cursor(3), true),
            Frame::AskStock,
            Frame::Stock(stock()),
            Frame::Meet(Meet {
                versions: VERSIONS,
                time: Timestamp(-5),
                program: "edge-node 0.1.0".to_owned(),
            }),
            Frame::Offer(offer()),
            Frame::Want(offer().digest, 65_536),
            Frame::Piece(65_536, vec![7; 300]),
            Frame::Carried(offer().digest),
            Frame::Declined(Declined::new(&offer(), Seq(900), Code::HELD, "有了")),
            Frame::Offer(Offer {
                head: BundleHead { direction: Direction::ToSite(LogId([4; 32])), ..offer().head },
                ..offer()
            }),
            Frame::Dispatch(300, vec![7; 300]),
        ]
    }

    fn offer() -> Offer {
        let head = BundleHead {
            direction: Direction::ToHq,
            history: HistoryId([1; 32]),
            log: LogId([2; 32]),
            after: Seq(400),
            last: Seq(900),
        };
        Offer { head, bytes: 70_000, digest: BundleDigest([3; 32]) }
    }

    #[test]
    fn every_frame_has_one_form() {
        for frame in samples() {
            let bytes = frame.encode();
            let mut buffer = FrameBuffer::new();
            buffer.push(&bytes);
            let read = next_frame(&mut buffer).expect("a good frame").expect("whole");
            assert_eq!(read, frame);
            assert!(buffer.is_between_frames());
        }
    }

    #[test]
    fn whatever_else_decodes_has_its_own_form() {
        for frame in samples() {
            let bytes = frame.encode();
            // Length and type come first: 2 or 3 bytes.
            for index in 0..bytes.len() {
                for change in [1, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[index] ^= change;
                    let mut buffer = FrameBuffer::new();
                    buffer.push(&changed);
                    if let Ok(Some(read)) = next_frame(&mut buffer) {
                        assert!(
                            changed.starts_with(&read.encode()),
                            "byte {index} of {}",
                            frame.name()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_cut_body_is_no_frame() {
        for frame in samples() {
            let mut body = Writer::new();
            frame.write_body(&mut body);
            let body = body.into_bytes();
            let free_end = matches!(
                frame,
                Frame::Facts(_)
                    | Frame::Early(..)
                    | Frame::Renew(_)
                    | Frame::Piece(..)
                    | Frame::Dispatch(..)
                    | Frame::DocumentChange(_)
            );
            for cut in 0..body.len() {
                let read = Frame::decode(frame.kind(), &body[..cut]);
                assert!(free_end || read.is_err(), "{} cut at {cut}", frame.name());
            }
        }
    }

    #[test]
    fn hostile_counts_take_no_memory() {
        // A count of certificates, facts or bytes that is not there.
        for (kind, body) in [
            (RENEWED, &[0xff, 0xff, 0xff, 0x7f][..]),
            (STATE, &[3, 12, 1, 12, 2, 9, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0x7f]),
            (REFUSE, &[1, 1, 8, 0xff, 0xff, 0x7f]),
        ] {
            assert!(Frame::decode(kind, body).is_err(), "type {kind}");
        }
        let facts =
            FactsFrame { first: Seq(1), count: 1 << 50, head: Head([0; 32]), packed: vec![0] };
        assert!(facts.unpack().is_err());
    }

    #[test]
    fn versions_meet_at_the_newest_common_one() {
        let range = |lowest, highest| Versions { lowest, highest };
        for (ours, theirs, common) in [
            (range(1, 1), range(1, 1), Some(1)),
            (range(1, 3), range(2, 5), Some(3)),
            (range(2, 5), range(1, 3), Some(3)),
            (range(1, 1), range(2, 2), None),
            (range(4, 5), range(1, 3), None),
        ] {
            assert_eq!(ours.common(theirs), common);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let refusal = Refusal::new(Code::STORAGE, "仓".repeat(1_000));
        assert!(refusal.text.len() <= limits::TEXT_BYTES_MAX);
        assert!(Frame::Refuse(refusal).encode().len() <= limits::TEXT_BYTES_MAX + 32);
    }
}
