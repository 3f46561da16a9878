//! What HQ told of this log's facts: their vouchers, or why they wait. Knows no link. Invariant: what
//! is stored is HQ's last word on each fact; it may be lost, then HQ is asked again.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use shared::ids::{HistoryId, Seq};
use shared::sync::{Postings, PostingsKnown, Span};

use super::rows::{META, META_POSTINGS, POSTINGS};
use super::store::StoreError;

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} does not read"))
}

fn read_span(bytes: &[u8]) -> Result<Span, StoreError> {
    Span::decode(bytes).map_err(|_| damaged("a row of postings"))
}

/// What is known of the facts, as it is stored.
pub(super) fn load(transaction: &ReadTransaction) -> Result<PostingsKnown, StoreError> {
    let history = transaction.open_table(META)?.get(META_POSTINGS)?;
    let Some(history) = history else { return Ok(nothing()) };
    let history = history.value().try_into().map_err(|_| damaged("postings' history"))?;
    let mut known = PostingsKnown::nothing(HistoryId(history));
    for row in transaction.open_table(POSTINGS)?.iter()? {
        let (first, bytes) = row?;
        known.note(Seq(first.value()), &read_span(bytes.value())?);
    }
    Ok(known)
}

/// HQ told nothing yet.
pub(super) const fn nothing() -> PostingsKnown {
    PostingsKnown::nothing(HistoryId([0; 32]))
}

/// Writes an answer of HQ over what was told before of the same facts. What another life of HQ's store
/// told goes.
pub(super) fn write(transaction: &WriteTransaction, told: &Postings) -> Result<(), StoreError> {
    let Some(last) = told.last() else { return Ok(()) };
    let mut meta = transaction.open_table(META)?;
    let lived_on = meta.get(META_POSTINGS)?.is_some_and(|known| known.value() != told.history.0);
    let mut table = transaction.open_table(POSTINGS)?;
    let end = match table.last()?.filter(|_| !lived_on) {
        Some((first, bytes)) => first.value() + read_span(bytes.value())?.facts() - 1,
        None => 0,
    };
    if told.first.0 > end + 1 {
        // An answer before it was lost: HQ is asked again.
        return Ok(());
    }
    meta.insert(META_POSTINGS, told.history.0.as_slice())?;
    if lived_on {
        table.retain(|_, _| false)?;
    }
    let before = told.first.0 - 1;
    // The row before may reach into the answer, or go on in it.
    let from = table
        .range(..=before)?
        .next_back()
        .transpose()?
        .map_or(told.first.0, |(first, _)| first.value());
    let mut spans = BTreeMap::new();
    for row in table.extract_from_if(from..=last.0, |_, _| true)? {
        let (first, bytes) = row?;
        let (first, span) = (first.value(), read_span(bytes.value())?);
        let end = first + span.facts() - 1;
        if first < told.first.0 {
            spans.extend(span.before(told.first.0 - first).map(|left| (first, left)));
        }
        if end > last.0 {
            let gone = last.0 + 1 - first.min(last.0 + 1);
            spans.extend(span.after(gone).map(|left| (end + 1 - left.facts(), left)));
        }
    }
    spans.extend(told.placed().map(|(first, span)| (first.0, span.clone())));
    let mut joined: Vec<(u64, Span)> = Vec::new();
    for (first, span) in spans {
        let is_next = joined.last().is_some_and(|(start, before)| start + before.facts() == first);
        let taken = is_next && joined.last_mut().is_some_and(|(_, before)| before.takes(&span));
        if !taken {
            joined.push((first, span));
        }
    }
    for (first, span) in joined {
        table.insert(first, span.encode().as_slice())?;
    }
    Ok(())
}

/// What was told of facts from `first` on, at most `rows_max` spans: the places of their first facts.
pub(super) fn read(
    transaction: &ReadTransaction,
    first: Seq,
    rows_max: usize,
) -> Result<Vec<(Seq, Span)>, StoreError> {
    let table = transaction.open_table(POSTINGS)?;
    let from = table.range(..=first.0)?.next_back().transpose()?;
    let from = from.map_or(first.0, |(start, _)| start.value());
    let rows = table.range(from..)?.take(rows_max).map(|row| {
        let (start, bytes) = row?;
        Ok((Seq(start.value()), read_span(bytes.value())?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};
    use shared::ids::LogId;
    use shared::sync::Outcome;
    use shared::time::Month;

    use super::*;

    fn span(groups: u64, facts_each: u64, first: u32) -> Span {
        let outcome = Outcome::Vouchers { month: Month(24_318), first };
        Span { groups, facts_each, outcome }
    }

    fn waits(groups: u64, why: &str) -> Span {
        Span { groups, facts_each: 1, outcome: Outcome::Waits { why: why.to_owned() } }
    }

    fn answer(history: u8, first: u64, spans: &[Span]) -> Postings {
        let mut told = Postings::new(HistoryId([history; 32]), LogId([2; 32]), Seq(first));
        for span in spans {
            assert!(told.push(span.clone()));
        }
        told
    }

    /// What is stored after answers, and what was known in memory, as read again.
    fn stored(answers: &[Postings]) -> Vec<(u64, Span)> {
        let database =
            Database::builder().create_with_backend(InMemoryBackend::new()).expect("memory");
        let transaction = database.begin_write().expect("memory");
        drop((transaction.open_table(META), transaction.open_table(POSTINGS)));
        transaction.commit().expect("memory");
        let mut known = nothing();
        for answer in answers {
            let transaction = database.begin_write().expect("memory");
            write(&transaction, answer).expect("memory");
            transaction.commit().expect("memory");
            known.take(answer);
            let transaction = database.begin_read().expect("memory");
            assert_eq!(load(&transaction).expect("it reads"), known, "{answer:?}");
        }
        let transaction = database.begin_read().expect("memory");
        let rows = read(&transaction, Seq(1), usize::MAX).expect("it reads");
        rows.into_iter().map(|(first, span)| (first.0, span)).collect()
    }

    #[test]
    fn answers_go_on_and_take_the_place_of_what_waited() {
        let first = answer(1, 1, &[span(2, 2, 7), waits(3, "x"), span(1, 1, 9)]);
        let news = answer(1, 9, &[span(2, 1, 10)]);
        let again = answer(1, 6, &[span(1, 1, 12)]);
        assert_eq!(
            stored(&[first, news, again]),
            [
                (1, span(2, 2, 7)),
                (5, waits(1, "x")),
                (6, span(1, 1, 12)),
                (7, waits(1, "x")),
                (8, span(3, 1, 9)),
            ]
        );
    }

    #[test]
    fn another_life_of_hq_begins_anew() {
        let first = answer(1, 1, &[span(10, 1, 7)]);
        let other = answer(2, 1, &[span(2, 1, 20)]);
        assert_eq!(stored(&[first, other]), [(1, span(2, 1, 20))]);
    }
}
