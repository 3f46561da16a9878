//! Transfers' documents follow the node's own facts: a ship opens one, a receive is named in it.
//! Knows no file. Invariant: a fact is looked at once, and named at most once; where the document
//! is not here yet, the receive waits for it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use shared::document::field::LINE;
use shared::document::{DocumentId, DocumentKey, transfer};
use shared::fact::statement::{Movement, Statement, parse_fact};
use shared::fact::{Fact, Kind};
use shared::ids::{Capture, Seq};
use shared::time::Timestamp;

use super::file::{Batch, Standing};
use super::{Documents, Inner, Open, newest};
use crate::journal::{Journal, StoreError};

/// How many facts are looked at before what they mean is made durable.
const FACTS_MAX: usize = 2_048;

/// Puts of one change, well below what a change may have.
const PUTS_MAX: usize = 64;

/// What the facts of a part of the log say to documents.
#[derive(Default)]
struct Found {
    last: Seq,
    /// Ships by the document that they open.
    ships: BTreeMap<DocumentId, Vec<(String, String)>>,
    /// Receives, by ship movement.
    receives: Vec<(Capture, (String, String))>,
    /// When the last of them was recorded.
    at: Timestamp,
    /// The first ship of the group to each site.
    group: BTreeMap<u32, Capture>,
}

pub(super) fn ship_key(ship: Capture) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&ship.device.0.to_be_bytes());
    key[4..].copy_from_slice(&ship.counter.to_be_bytes());
    key
}

/// Keys and texts have no zero byte.
fn write_puts(puts: &[(String, String)]) -> Vec<u8> {
    puts.iter().flat_map(|(key, text)| format!("{key}\0{text}\0").into_bytes()).collect()
}

pub(super) fn read_puts(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0').map(str::to_owned);
    std::iter::from_fn(|| Some((parts.next().filter(|key| !key.is_empty())?, parts.next()?)))
        .collect()
}

impl Found {
    fn note(&mut self, site: shared::ids::SiteNo, seq: Seq, fact: &Fact) {
        self.last = seq;
        let (Ok(stamp), Ok(Statement::Movement(movement))) = parse_fact(fact) else { return };
        let Movement { kind, refers_to, other_site, .. } = &movement;
        let put = transfer::put_of(stamp.capture, &movement);
        match (kind, put, other_site, refers_to) {
            (Kind::TransferShip, Some(put), Some(to), _) if *to != site => {
                let ship = *self.group.entry(to.0).or_insert(stamp.capture);
                let id = DocumentId::Transfer { from: site, to: *to, ship };
                self.ships.entry(id).or_default().push(put);
                self.at = stamp.recorded_at;
            }
            (Kind::TransferReceive, Some(put), _, Some(ship)) => {
                self.receives.push((*ship, put));
                self.at = stamp.recorded_at;
            }
            _ => {}
        }
        if stamp.group_left == 0 {
            self.group.clear();
        }
    }
}

impl Documents {
    /// Looks at the facts that were recorded since it last did. A log that was there before
    /// documents were is followed from its end.
    pub fn follow(&self, journal: &Journal) -> Result<(), StoreError> {
        loop {
            let followed = self.inner.file.meta()?.followed;
            let end = journal.position().last;
            let Some(followed) = followed else {
                let mut batch = self.inner.file.batch()?;
                batch.meta.followed = Some(end);
                return batch.commit();
            };
            if followed >= end {
                return Ok(());
            }
            let mut found = Found { last: followed, ..Found::default() };
            let mut count = 0;
            journal.for_each_fact(followed.next(), |seq, fact| {
                found.note(self.inner.owner.site, seq, fact);
                count += 1;
                // A group's lines open one document.
                if count >= FACTS_MAX && found.group.is_empty() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if found.last == followed {
                return Ok(());
            }
            self.write(found)?;
        }
    }

    fn write(&self, found: Found) -> Result<(), StoreError> {
        let mut names = self.inner.names();
        let mut batch = self.inner.file.batch()?;
        batch.meta.followed = Some(found.last);
        let mut by_document = found.ships;
        for (ship, put) in found.receives {
            if let Some(id) = self.inner.transfer_of(&batch, &names, ship)? {
                by_document.entry(id).or_default().push(put);
                continue;
            }
            let key = ship_key(ship);
            let known = batch.take_unplaced(&key)?;
            let mut puts = known.map_or_else(Vec::new, |known| read_puts(&known));
            puts.push(put);
            batch.put_unplaced(&key, &write_puts(&puts))?;
        }
        let mut counts = Vec::new();
        for (id, puts) in &by_document {
            let key = newest(&names, *id).unwrap_or_else(|| DocumentKey::first(*id));
            let mut replica = Open::read(key, batch.rows(key)?)?.replica()?;
            let puts: Vec<_> =
                puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect();
            for puts in puts.chunks(PUTS_MAX) {
                self.inner.put_quietly(&mut batch, &mut replica, found.at, puts)?;
            }
            counts.push((key, replica.len() - 1));
        }
        batch.commit()?;
        names.extend(counts.into_iter().filter(|(_, count)| *count > 0));
        self.inner.tell(names);
        Ok(())
    }
}

impl Inner {
    /// The document, among those that are here, that names a ship movement to this site: named by
    /// the first of its group, which is not after it.
    fn transfer_of(
        &self,
        batch: &Batch,
        names: &BTreeMap<DocumentKey, usize>,
        wanted: Capture,
    ) -> Result<Option<DocumentId>, StoreError> {
        let candidate = |key: &DocumentKey| match key.id {
            DocumentId::Transfer { to, ship, .. } if to == self.owner.site => {
                let may_be = ship.device == wanted.device && ship.counter <= wanted.counter;
                may_be.then_some((ship.counter, *key))
            }
            _ => None,
        };
        let Some((_, key)) = names.keys().filter_map(candidate).max() else { return Ok(None) };
        let line = format!("{LINE}{wanted}");
        let rows = Open::read(key, batch.rows(key)?)?;
        let names_it = |standing| {
            rows.of(standing).any(|change| change.puts.iter().any(|put| put.key == line))
        };
        Ok((names_it(Standing::Accepted) || names_it(Standing::Waiting)).then_some(key.id))
    }
}
