#![doc = include_str!("PROTOCOL.md")]

mod acknowledgement;
pub mod bundle;
pub mod carry;
mod document;
pub mod edge;
mod enrol;
mod following;
mod frame;
pub mod hq;
pub mod limits;
mod look_up;
mod moment;
mod payload;
mod place;
mod postings;
mod spare;
mod state;
mod stock;
mod wire;

#[cfg(test)]
mod pair;

pub use acknowledgement::{
    Acknowledgement, Given, MONTHS_TOLD, SignedAcknowledgement, VouchersGiven,
};
pub use document::{
    AcceptedHeads, DocumentBatch, DocumentChange, DocumentNews, GivenDocuments, Lives,
    SignedDocumentBatch,
};
pub use enrol::{
    AuthorityPin, EnrolCode, EnrolRequest, Grant, Introduction, NAME_BYTES_MAX, NotACode,
    SECRET_BYTES, Secret, installation_of, installation_uri,
};
pub use following::BadFollowing;
pub use frame::{
    BadFacts, Code, FactsFrame, Frame, Hello, Refusal, VERSION, VERSIONS, Versions, Welcome,
    body_max, next_frame,
};
pub use look_up::{FOUND_MAX, Found, HANDLED_MAX, SEARCH_BYTES_MAX};
pub use moment::{Moment, Now};
pub use payload::PayloadError;
pub use place::{NotARun, Position, Run, StateCursor};
pub use postings::{
    FACTS_ASKED_MAX, Outcome, Postings, PostingsAsked, PostingsKnown, SignedPostings, Span,
    WHY_BYTES_MAX,
};
pub use spare::Spare;
pub use state::{Following, SignedStateBatch, StateBatch};
pub use stock::{CompleteTo, SignedSiteStock, SiteStock, StockLevel};
pub use wire::{FRAME_BYTES_MAX, FrameBuffer, FrameError};
