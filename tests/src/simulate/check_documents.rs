//! What must be true of shared documents once nothing is wrong any more: every site has those that it
//! handles and no others, all show what HQ decided, and nobody's edit is gone without a word. Changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use hq_server::gateway::documents::Documents;
use shared::document::{Actor, Change, DocumentKey, Replica};
use shared::ids::{ChangeHash, LogId, SiteNo};
use shared::sync::{DocumentNews, StateCursor};

use super::Wrong;
use super::hq::Running;
use super::world::{NodeNo, World};
use super::writing::{Shown, at_hq, shown};

/// Whether a node has heard all, and HQ has decided on all of its own; then whether they show the same.
pub(super) fn agree(world: &World, hq: &Running, no: NodeNo) -> Result<(), Wrong> {
    let node = &world.places[no.0].node;
    let wrong = |why: String| Wrong(format!("node {}: {why}", no.0));
    let Some(edge) = &node.running else { return Err(wrong("it does not run".to_owned())) };
    let documents = &edge.documents;
    let waiting = documents.waiting().map_err(|error| wrong(error.to_string()))?;
    if waiting > 0 {
        return Err(wrong(format!("{waiting} edits wait for HQ")));
    }
    let cursor = documents.cursor().map_err(|error| wrong(error.to_string()))?;
    let log = node.genesis.log_id();
    let untold = hq.documents.since(node.site, &log, cursor, &[]);
    if untold.map_err(|error| wrong(error.to_string()))?.is_some() {
        return Err(wrong("HQ decided on documents that it was not told of".to_owned()));
    }
    Ok(())
}

/// The documents that a node does not show as HQ does, or should not have.
pub(super) fn differing(
    world: &World,
    hq: &Running,
    no: NodeNo,
) -> Result<BTreeSet<DocumentKey>, Wrong> {
    let node = &world.places[no.0].node;
    let Some(edge) = &node.running else { return Ok(BTreeSet::new()) };
    let of_site = |key: &DocumentKey| key.id.is_of(node.site);
    let told: BTreeSet<_> = hq.documents.names().into_iter().filter(of_site).collect();
    let held: BTreeSet<_> = edge.documents.names(None).into_iter().collect();
    let mut differing: BTreeSet<_> = told.symmetric_difference(&held).copied().collect();
    for key in told.intersection(&held) {
        let here = edge.documents.get(key.id);
        let here = here.map_err(|error| node.wrong(&error.to_string()))?;
        let there = at_hq(&hq.documents, *key)?;
        if here.is_none_or(|here| shown(&here.replica) != shown(&there.replica)) {
            differing.insert(*key);
        }
    }
    Ok(differing)
}

/// A document as a node and as HQ show it, to be told.
pub(super) fn both(
    world: &World,
    hq: &Running,
    no: NodeNo,
    key: DocumentKey,
) -> [Option<Shown>; 2] {
    let edge = world.places[no.0].node.running.as_ref();
    let here = edge.and_then(|edge| edge.documents.get(key.id).ok().flatten());
    let there = hq.documents.get(key.id).ok();
    [here.map(|here| shown(&here.replica)), there.map(|there| shown(&there.replica))]
}

/// Everything else, once all agree.
pub(super) fn at_the_end(world: &World, hq: &Running) -> Result<u64, Wrong> {
    let taken = taken(&hq.documents, world.plan.sites)?;
    if let Some(lost) = world.hq.promises.taken.iter().find(|hash| !taken.contains(hash)) {
        return Err(Wrong(format!("HQ took a change and does not have it: {lost:?}")));
    }
    for no in world.live_nodes() {
        let node = &world.places[no.0].node;
        let edge = node.running.as_ref().expect("it agrees");
        if let Some(other) = edge.documents.names(None).iter().find(|key| !key.id.is_of(node.site))
        {
            return Err(node.wrong(&format!("it has {other}, which it does not handle")));
        }
        let written = &node.written;
        let is_gone =
            |hash: &&ChangeHash| !taken.contains(hash) && !written.returned.contains(hash);
        if let Some(gone) = written.made.iter().find(is_gone) {
            return Err(node.wrong(&format!("an edit is gone without a word: {gone:?}")));
        }
    }
    for key in hq.documents.names() {
        all_values(&at_hq(&hq.documents, key)?.replica)?;
    }
    Ok(taken.len() as u64)
}

/// Every change that is in, of any generation.
fn taken(documents: &Documents, sites: u32) -> Result<BTreeSet<ChangeHash>, Wrong> {
    let mut taken = BTreeSet::new();
    for site in (1..=sites).map(SiteNo) {
        let mut known = StateCursor::START;
        loop {
            let batch = documents.since(site, &LogId([0; 32]), known, &[]);
            let batch = batch.map_err(|error| Wrong(format!("HQ's documents: {error}")))?;
            let Some(signed) = batch else { break };
            known = signed.batch.to;
            for news in &signed.batch.news {
                let DocumentNews::Change { bytes, .. } = news else { continue };
                let change = Change::read(bytes);
                let change = change.map_err(|flaw| Wrong(format!("HQ took a change: {flaw}")))?;
                taken.insert(change.hash);
            }
        }
    }
    Ok(taken)
}

/// Values that nobody replaced who saw them are shown, all of them, the one that holds first.
fn all_values(replica: &Replica) -> Result<(), Wrong> {
    let mut alive: BTreeMap<&str, Vec<(u64, Actor, &str)>> = BTreeMap::new();
    let mut replaced = BTreeSet::new();
    for change in replica.changes() {
        for (counter, put) in (change.start_op..).zip(&change.puts) {
            alive.entry(&put.key).or_default().push((counter, change.actor, &put.text));
            replaced.extend(put.replaces.iter().map(|id| (id.counter, id.actor)));
        }
    }
    for (key, values) in &mut alive {
        values.retain(|(counter, actor, _)| !replaced.contains(&(*counter, *actor)));
        values.sort_by_key(|(counter, actor, _)| std::cmp::Reverse((*counter, *actor)));
        let expected: Vec<_> = values.iter().map(|(_, _, text)| *text).collect();
        let shown = replica.values(key);
        let shown: Vec<_> = shown.iter().map(|value| value.text.as_str()).collect();
        if shown != expected {
            let document = replica.key();
            return Err(Wrong(format!(
                "{document} shows {shown:?} at {key}, put were {expected:?}"
            )));
        }
    }
    if alive.keys().copied().eq(replica.keys()) {
        return Ok(());
    }
    Err(Wrong(format!("{} shows other keys than were put", replica.key())))
}
