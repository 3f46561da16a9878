//! Documents that any Automerge program can read. Facts decide money, documents coordinate people:
//! nothing that changes an amount lives only here.
//!
//! [`journal`] documents are views of a log, made here alone. Shared documents ([`DocumentId`]) are
//! edited by several people at several places: a flat map of texts by stable keys ([`field`]), a
//! [`Replica`] at every place that handles it. Bytes of others come in through [`change`], which
//! reads every column within limits, and the gate in [`replica`], and in no other way.

pub mod change;
pub mod count_sheet;
pub mod field;
mod id;
pub mod journal;
pub mod limits;
pub mod replica;
mod to_settle;
pub mod transfer;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod replicas;

pub use change::{Change, Put};
pub use field::{Field, Rule};
pub use id::{Actor, DocumentId, DocumentKey, DocumentKind, NotADocumentId};
pub use replica::{Admission, EditError, Flaw, Outcome, Replica, Value};
pub use to_settle::ToSettle;
