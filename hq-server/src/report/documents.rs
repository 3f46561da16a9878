//! Shared documents: what people of sites coordinate, with every value that a person has to settle, and
//! the changes that HQ refused. Knows no file and no connection, and nothing here is stock or money.

use serde::{Deserialize, Serialize};
use shared::document::{
    Change, DocumentId, DocumentKey, DocumentKind, ToSettle, Value, field, transfer,
};
use shared::ids::SiteNo;
use shared::time::Timestamp;
use utoipa::ToSchema;

use super::archive::ArchiveError;
use super::part::{Opens, Part};
use crate::gateway::documents::{DocumentState, RefusedChange};

/// How sites and times are written for whoever reads.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// A site's code; `HQ` for HQ itself.
    pub code: &'a dyn Fn(SiteNo) -> String,
    /// A time.
    pub time: &'a dyn Fn(Timestamp) -> String,
}

/// Where the documents are kept.
pub trait Shelf: Send + Sync + 'static {
    /// The newest generation of every document, in order of their names.
    fn names(&self) -> Vec<DocumentKey>;
    /// A document; `None` where there is none of that name.
    fn document(&self, id: DocumentId) -> Result<Option<DocumentState>, ArchiveError>;
    /// Changes that HQ refused, the newest first.
    fn refused(&self) -> Result<Vec<RefusedChange>, ArchiveError>;
}

/// One page of all documents, and everything that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentList {
    /// How many documents there are.
    pub count: u64,
    /// Those of the page.
    pub rows: Vec<DocumentLine>,
    /// Refused changes, the newest first.
    pub refused: Vec<QuarantineLine>,
    /// From 1.
    pub page: u64,
    /// At least 1.
    pub pages: u64,
}

/// A document in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentLine {
    /// Its name.
    pub document: String,
    /// `transfer`, `order`, `count-sheet`, `notes`.
    pub kind: String,
    /// The codes of the sites that handle it.
    pub sites: Vec<String>,
    /// The generation that takes changes.
    pub generation: u32,
    /// What it is called, or how far a transfer has come.
    pub state: Option<String>,
    /// How many changes it has.
    pub changes: usize,
    /// When the last one came.
    pub changed_at: String,
    /// How many things a person has to settle in it.
    pub to_settle: usize,
}

/// A value that somebody put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentValue {
    /// The key.
    pub key: String,
    /// The text.
    pub text: String,
    /// The code of the site that put it; `HQ`.
    pub site: String,
    /// The installation.
    pub device: u32,
    /// When, by its clock.
    pub at: String,
    /// It differs from what others put, who did not know of it or counted too: a person has to settle.
    pub to_settle: bool,
}

/// A document whole: every value that nothing replaces, those that hold first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentShown {
    /// As in lists.
    #[serde(flatten)]
    pub line: DocumentLine,
    /// The changes that nothing builds on.
    pub heads: Vec<String>,
    /// What it says.
    pub values: Vec<DocumentValue>,
}

/// A change that HQ refused, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineLine {
    /// The document that it was for.
    pub document: String,
    /// The code of the site that sent it.
    pub site: String,
    /// The installation.
    pub device: u32,
    /// When it came.
    pub at: String,
    /// Why it was refused.
    pub reason: String,
    /// What it would have put, where it reads.
    pub puts: Vec<String>,
    /// Its size.
    pub bytes: usize,
    /// The name that it was announced with.
    pub hash: String,
}

impl DocumentList {
    /// A page of what is on the shelf.
    pub fn of(shelf: &dyn Shelf, writing: Writing<'_>, page: u64) -> Result<Self, ArchiveError> {
        let names = shelf.names();
        let count = names.len() as u64;
        let part = Part::of(count, page, Opens::AtTop);
        let mut rows = Vec::new();
        for key in &names[part.range()] {
            rows.extend(shelf.document(key.id)?.map(|state| DocumentLine::of(&state, writing)));
        }
        let refused = shelf.refused()?.into_iter();
        let refused = refused.map(|change| QuarantineLine::of(change, writing)).collect();
        Ok(Self { count, rows, refused, page: part.page, pages: part.pages })
    }
}

impl DocumentLine {
    /// A document as lists show it.
    pub fn of(state: &DocumentState, writing: Writing<'_>) -> Self {
        let (replica, key) = (&state.replica, state.replica.key());
        let progress = || transfer::progress(replica).word().to_owned();
        Self {
            document: key.id.to_string(),
            kind: key.id.kind().to_string(),
            sites: key.id.sites().map(writing.code).collect(),
            generation: key.generation,
            state: match key.id.kind() {
                DocumentKind::Transfer => Some(progress()),
                _ => replica.text(field::TITLE),
            },
            changes: replica.len() - 1,
            changed_at: (writing.time)(state.changed_at),
            to_settle: ToSettle::of(replica).things,
        }
    }
}

impl DocumentValue {
    /// What the key is about, and of which thing where there are many.
    pub fn named(&self) -> (&str, &str) {
        self.key.split_once('/').unwrap_or((&self.key, ""))
    }
}

impl DocumentShown {
    /// A document with every value that nothing replaces.
    pub fn of(state: &DocumentState, writing: Writing<'_>) -> Self {
        let value = |key: &String, value: Value, to_settle| DocumentValue {
            key: key.clone(),
            site: (writing.code)(value.actor.site()),
            device: value.actor.device().0,
            at: (writing.time)(value.put_at()),
            text: value.text,
            to_settle,
        };
        let open = ToSettle::of(&state.replica).keys;
        let mut values = Vec::new();
        for key in state.replica.keys() {
            let holds = || state.replica.values(&key).into_iter().take(1).collect();
            let all = state.replica.conflict(&key).unwrap_or_else(holds);
            let to_settle = open.contains(&key);
            values.extend(all.into_iter().map(|one| value(&key, one, to_settle)));
        }
        let heads = state.replica.heads().iter().map(ToString::to_string).collect();
        Self { line: DocumentLine::of(state, writing), heads, values }
    }
}

impl QuarantineLine {
    /// A refused change as people read it.
    pub fn of(refused: RefusedChange, writing: Writing<'_>) -> Self {
        let read = Change::read(&refused.bytes);
        let puts = read.map(|change| change.puts).unwrap_or_default();
        Self {
            document: refused.key.to_string(),
            site: (writing.code)(refused.site),
            device: refused.device.0,
            at: (writing.time)(refused.at),
            reason: refused.reason,
            puts: puts.into_iter().map(|put| format!("{}: {}", put.key, put.text)).collect(),
            bytes: refused.bytes.len(),
            hash: refused.hash.to_string(),
        }
    }
}
