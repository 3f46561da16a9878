//! From a count sheet to facts: what people agreed or settled on is recorded as counts, by the same
//! way as a keeper's. Joins `documents` and `record`, which know nothing of each other.
//!
//! Invariant: a line is recorded once, also where this is cut or asked again: its idempotency key is
//! the sheet's name and the line's.

use shared::document::count_sheet::{self, Bucket, SheetLine, Standing};
use shared::document::{DocumentId, DocumentKind};
use shared::ids::Capture;
use shared::time::Timestamp;

use crate::documents::{ChangeError, Documents};
use crate::record::{GroupInput, LineInput, Moment, Origin, Recorder, Refused};

/// Why a sheet is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// There is no such sheet.
    #[error("there is no count sheet {0}: see 'edge-node count-sheet list'")]
    Unknown(DocumentId),
    /// People differ.
    #[error(
        "{count} lines wait for a person, the first is {first}: settle them with 'edge-node \
         count-sheet settle'"
    )]
    Differs {
        /// How many lines.
        count: usize,
        /// The first.
        first: String,
    },
    /// Nothing is counted, or all is recorded.
    #[error("there is nothing to record: count first, or see what was recorded")]
    Nothing,
    /// A line was refused; those before it are recorded.
    #[error("{line}: {refused}")]
    Refused {
        /// The line.
        line: String,
        /// Why.
        refused: Refused,
    },
    /// The sheet's own file.
    #[error("{0}")]
    Document(#[from] ChangeError),
}

/// A line's name for people.
fn name(recorder: &Recorder, bucket: &Bucket) -> String {
    let catalogue = recorder.journal().catalogue();
    let code = catalogue.item(bucket.item).map(|item| item.code.clone());
    let code = code.unwrap_or_else(|| bucket.item.to_string());
    match &bucket.lot {
        Some(lot) => format!("item '{code}', lot '{lot}'"),
        None => format!("item '{code}'"),
    }
}

/// When a line was counted: the newest figure's time; not after now.
fn counted_at(line: &SheetLine, now: Timestamp) -> Timestamp {
    let counts = line.counts.iter().map(|(_, value)| value.time);
    let newest = counts.max().or_else(|| line.settled.iter().map(|value| value.time).max());
    newest.map_or(now, |seconds| Timestamp(seconds.saturating_mul(1_000))).min(now)
}

/// Records every line that people agree on, and names the facts in the sheet.
pub fn record_blocking(
    recorder: &Recorder,
    documents: &Documents,
    id: DocumentId,
) -> Result<Vec<Capture>, SheetError> {
    let found = documents.get(id).map_err(ChangeError::from)?;
    let known = found.filter(|_| id.kind() == DocumentKind::CountSheet);
    let sheet = known.ok_or(SheetError::Unknown(id))?;
    let lines = count_sheet::lines(&sheet.replica);
    let differs = |line: &&SheetLine| line.standing() == Some(Standing::Differs);
    let mut waiting = lines.iter().filter(|(_, line)| differs(line));
    if let Some((first, _)) = waiting.next() {
        let first = name(recorder, first);
        return Err(SheetError::Differs { count: waiting.count() + 1, first });
    }
    let now = recorder.now();
    let mut wanted = Vec::new();
    for (bucket, line) in &lines {
        let Some(Standing::Agreed(figure) | Standing::Settled(figure)) = line.standing() else {
            continue;
        };
        let at = counted_at(line, now);
        let catalogue = recorder.journal().catalogue();
        let code = catalogue.item(bucket.item).map(|item| item.code.clone());
        wanted.push((
            bucket,
            GroupInput {
                key: Some(format!("{id} {}", bucket.settled_key())),
                person: None,
                occurred_at: Some(Moment { at, offset: recorder.offset(at) }),
                lines: vec![LineInput {
                    kind: "count".to_owned(),
                    item: Some(code.unwrap_or_else(|| bucket.item.to_string())),
                    quantity: Some(figure.to_string()),
                    lot: bucket.lot.clone(),
                    ..LineInput::default()
                }],
            },
        ));
    }
    if wanted.is_empty() {
        return Err(SheetError::Nothing);
    }
    let groups: Vec<_> = wanted.iter().map(|(_, group)| group.clone()).collect();
    let answers = recorder.record_many_blocking(&groups, Origin::Keeper);
    let (mut captures, mut puts, mut refused) = (Vec::new(), Vec::new(), None);
    for ((bucket, _), answer) in wanted.into_iter().zip(answers) {
        match answer {
            Ok(made) => {
                captures.extend(made.captures());
                let first = made.captures().next().map(|capture| capture.to_string());
                puts.push((bucket.recorded_key(), first.unwrap_or_default()));
            }
            Err(why) => {
                let line = name(recorder, bucket);
                refused.get_or_insert(SheetError::Refused { line, refused: why });
            }
        }
    }
    for puts in puts.chunks(64) {
        let puts: Vec<_> = puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect();
        documents.edit(id, now, &puts)?;
    }
    refused.map_or(Ok(captures), Err)
}
