//! What must be true once nothing is wrong any more: all have the same facts, the books are right and
//! come out the same again. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use edge_node::journal::Journal;
use hq_server::books::Waits;
use hq_server::gateway::intake::{Intake, LogStatus};
use hq_server::headquarters::postings;
use hq_server::sequencer::{Replay, ReplayError};
use hq_server::store::SequenceEntry;
use shared::catalogue::Catalogue;
use shared::fact::effective::LogRank;
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, CompanyNo, DeviceNo, LogId, Seq, SiteNo};
use shared::sync::{Outcome, PostingsAsked, Span, StateCursor};

use super::hq::Running;
use super::keeper::is_unbearable;
use super::world::{NodeNo, World};
use super::{Wrong, check_documents, reentry};
use crate::agreement::{Standing, deliver};
use crate::arrival::Arrival;

fn running(world: &World) -> Result<&Running, Wrong> {
    world.hq.running.as_ref().ok_or_else(|| Wrong("HQ does not run".to_owned()))
}

/// Whether every node and HQ have the same facts, seals, keyed state and documents; why not.
pub(super) fn agreement(world: &World) -> Result<(), Wrong> {
    let hq = running(world)?;
    if world.hq.desk_waits() {
        return Err(Wrong("HQ's desk waits for a statement".to_owned()));
    }
    for site in 1..=world.plan.sites {
        let live = world.live_nodes().into_iter().map(|no| &world.places[no.0]);
        if live.filter(|place| place.node.site == SiteNo(site)).count() == 0 {
            return Err(Wrong(format!("site {site} has no installation")));
        }
    }
    if let Some(newer) = &world.newer {
        let status = hq.intake.log(&newer.genesis.log_id());
        let levels = status.map(|status| (status.received.last, status.posted));
        if levels != Some((newer.last(), newer.last())) {
            return Err(Wrong(format!("a newer program has {}, HQ {levels:?}", newer.last())));
        }
    }
    let nodes = world.live_nodes();
    nodes.iter().try_for_each(|no| node_agrees(world, hq, *no))?;
    nodes.iter().try_for_each(|no| check_documents::agree(world, hq, *no))?;
    for no in nodes {
        if let Some(key) = check_documents::differing(world, hq, no)?.first() {
            let [here, there] = check_documents::both(world, hq, no, *key);
            let why = format!("{key} is not as HQ has it: {here:?}, HQ has {there:?}");
            return Err(Wrong(format!("node {}: {why}", no.0)));
        }
    }
    for (place, owed) in world.lost_logs() {
        let log = place.node.genesis.log_id();
        let has = hq.intake.cursor(&log).map_or(Seq::ZERO, |has| has.last);
        if has < owed {
            let log = log.short();
            return Err(Wrong(format!("{owed} of lost log {log} was carried, HQ has {has}")));
        }
    }
    if world.may_count_twice() { reentry::nothing_in_doubt(hq) } else { Ok(()) }
}

fn node_agrees(world: &World, hq: &Running, no: NodeNo) -> Result<(), Wrong> {
    let node = &world.places[no.0].node;
    let wrong = |why: String| Wrong(format!("node {}: {why}", no.0));
    let Some(edge) = &node.running else { return Err(wrong("it does not run".to_owned())) };
    if !node.keeper.open.is_empty() {
        return Err(wrong("a keeper waits for an answer".to_owned()));
    }
    let status = hq.intake.log(&node.genesis.log_id());
    let status = status.ok_or_else(|| wrong("HQ does not know it".to_owned()))?;
    let own = edge.journal.position();
    if status.received != own {
        return Err(wrong(format!("HQ has {}, it has {}", status.received.last, own.last)));
    }
    if status.sealed != own.last || edge.journal.sealed() != own.last {
        let (there, here) = (status.sealed, edge.journal.sealed());
        return Err(wrong(format!("{} recorded, {here} sealed, {there} at HQ", own.last)));
    }
    let acknowledged = edge.journal.acknowledgement().map(|signed| signed.acknowledgement);
    let levels =
        acknowledged.map_or((Seq::ZERO, Seq::ZERO), |said| (said.received.last, said.posted));
    if levels != (own.last, own.last) {
        return Err(wrong(format!("{} recorded, acknowledged and posted {levels:?}", own.last)));
    }
    let known = edge.journal.postings_known();
    if own.last > Seq::ZERO && (known.history, known.up_to) != (hq.intake.history(), own.last) {
        return Err(wrong(format!("{} recorded, postings told up to {}", own.last, known.up_to)));
    }
    if hq.intake.state_since(node.site, edge.journal.state_cursor(), 1).is_some() {
        return Err(wrong("HQ has keyed state that it does not have".to_owned()));
    }
    Ok(())
}

/// Everything else, once all agree.
pub(super) fn at_the_end(world: &mut World) -> Result<(), Wrong> {
    agreement(world)?;
    // What may wait for a commit gets one; the power stays for that.
    world.hq.steady();
    for no in world.live_nodes() {
        let node = &mut world.places[no.0].node;
        node.running.as_ref().expect("it agrees").power.stay();
        node.seal(true);
        node.turn()?;
    }
    let hq = running(world)?;
    for no in world.live_nodes() {
        let node = &world.places[no.0].node;
        let all = !world.hq.handled_only.contains(&node.site);
        let known = node.running.as_ref().expect("it agrees").journal.catalogue();
        same_state(hq, node.site, &known, all)
            .map_err(|why| Wrong(format!("node {}: {}", no.0, why.0)))?;
        let last = Seq(node.facts.len() as u64);
        if facts_of(&hq.intake, &node.genesis.log_id(), last)? != node.facts {
            return Err(Wrong(format!("node {}: HQ has other facts", no.0)));
        }
        let journal = &node.running.as_ref().expect("it agrees").journal;
        // Nobody has noticed yet that its power went: it can't be asked.
        if !hq.power.is_on() {
            continue;
        }
        same_vouchers(hq, journal).map_err(|why| Wrong(format!("node {}: {}", no.0, why.0)))?;
    }
    for (place, _) in world.lost_logs() {
        let (log, facts) = (place.node.genesis.log_id(), &place.node.facts);
        let last = hq.intake.cursor(&log).map_or(Seq::ZERO, |has| has.last);
        if facts_of(&hq.intake, &log, last)? != facts[..usize::try_from(last.0).unwrap_or(0)] {
            return Err(Wrong(format!("HQ has another lost log {}", log.short())));
        }
    }
    if let Some(newer) = &world.newer
        && facts_of(&hq.intake, &newer.genesis.log_id(), newer.last())? != newer.facts
    {
        return Err(Wrong("HQ has other facts than a newer program recorded".to_owned()));
    }
    let logs = logs(&hq.intake)?;
    let again = world.trace().figures.again > 0;
    each_group_once(&logs, again)?;
    branches(world, &logs)?;
    books(hq, &logs)?;
    if again {
        without_copies(hq, &logs)?;
    }
    stock(world)?;
    let facts: usize = logs
        .iter()
        .filter(|(log, _)| log.record.site != SiteNo::HQ)
        .map(|(_, facts)| facts.len())
        .sum();
    world.trace().figures.facts = facts as u64;
    let changes = check_documents::at_the_end(world, running(world)?)?;
    world.trace().figures.changes = changes;
    Ok(())
}

/// The node's master data are those that HQ tells its site. One that is told less than before keeps
/// what it knows.
fn same_state(hq: &Running, site: SiteNo, known: &Catalogue, all: bool) -> Result<(), Wrong> {
    let mut told = if all { Catalogue::new() } else { known.clone() };
    if let Some(signed) = hq.intake.state_since(site, StateCursor::START, usize::MAX) {
        let facts = signed.batch.facts();
        for fact in facts.map_err(|error| Wrong(format!("keyed state does not read: {error}")))? {
            told.apply(&fact);
        }
    }
    let (told, known) = (format!("{told:#?}"), format!("{known:#?}"));
    if told == known {
        return Ok(());
    }
    let differ = told.lines().zip(known.lines()).find(|(told, known)| told != known);
    Err(Wrong(format!("other keyed state than HQ tells: {differ:?}")))
}

/// The vouchers that the node was told are those that HQ has. Only what waited then may have one by now.
fn same_vouchers(hq: &Running, journal: &Journal) -> Result<(), Wrong> {
    let published = hq.sequencer.published();
    let (log, last) = (journal.log(), journal.position().last);
    let mut next = Seq(1);
    let mut expected = BTreeMap::new();
    while next <= last {
        let asked = PostingsAsked::up_to(next, last);
        let told = postings::told(&hq.intake, published, &log, asked);
        let told = told.map_err(|error| Wrong(format!("HQ can't tell postings: {error}")))?;
        next = told.last().ok_or_else(|| Wrong(format!("HQ tells nothing of fact {next}")))?.next();
        told.placed().for_each(|(first, span)| expected.extend(groups(first, span)));
    }
    let known = journal.postings(Seq(1), usize::MAX);
    let known = known.map_err(|error| Wrong(format!("postings do not read: {error}")))?;
    let known: BTreeMap<Seq, Outcome> =
        known.iter().flat_map(|(first, span)| groups(*first, span)).collect();
    let differ = |one: &BTreeMap<Seq, Outcome>, other: &BTreeMap<Seq, Outcome>| {
        one.keys().find(|seq| !other.contains_key(seq)).copied()
    };
    if let Some(seq) = differ(&known, &expected).or(differ(&expected, &known)) {
        let (told, has) = (known.get(&seq), expected.get(&seq));
        return Err(Wrong(format!("group {seq} was told as {told:?}, HQ has {has:?}")));
    }
    let differs = |(seq, outcome): &(&Seq, &Outcome)| {
        !matches!(outcome, Outcome::Waits { .. }) && expected[seq] != **outcome
    };
    known.iter().find(differs).map_or(Ok(()), |(seq, outcome)| {
        Err(Wrong(format!("fact {seq} was told {outcome:?}, HQ has {:?}", expected[seq])))
    })
}

/// The first fact of each group, and what became of it.
fn groups(first: Seq, span: &Span) -> Vec<(Seq, Outcome)> {
    let mut left = Some(span.clone());
    let mut groups = Vec::new();
    while let Some(span) = left {
        groups.push((Seq(first.0 + groups.len() as u64 * span.facts_each), span.outcome.clone()));
        left = span.after(span.facts_each);
    }
    groups
}

fn facts_of(intake: &Intake, log: &LogId, last: Seq) -> Result<Vec<Fact>, Wrong> {
    let no = intake.log_no(log).ok_or_else(|| Wrong("HQ lost a log".to_owned()))?;
    let facts = intake.facts(no, Seq(1), last);
    facts.map_err(|error| Wrong(format!("HQ can't read a log: {error}")))
}

type HeldLog = (LogStatus, Vec<Fact>);

fn logs(intake: &Intake) -> Result<Vec<HeldLog>, Wrong> {
    let logs = intake.logs().into_iter();
    logs.map(|log| {
        let facts = facts_of(intake, &log.record.log, log.received.last)?;
        Ok((log, facts))
    })
    .collect()
}

/// A keeper's group stands in one place alone, unless a clerk entered it again.
fn each_group_once(logs: &[HeldLog], again: bool) -> Result<(), Wrong> {
    if again {
        return Ok(());
    }
    let mut known: BTreeMap<Vec<u8>, (LogId, u64)> = BTreeMap::new();
    for (log, facts) in logs.iter().filter(|(log, _)| log.record.site != SiteNo::HQ) {
        for (seq, fact) in (1..).zip(facts) {
            let Some(document) = field::DOCUMENT.of(fact) else { continue };
            let group = seq + field::GROUP_LEFT.of(fact).unwrap_or(0);
            let place = (log.record.log, group);
            let first = *known.entry(document.to_vec()).or_insert(place);
            if first != place {
                let document = String::from_utf8_lossy(document);
                return Err(Wrong(format!("group {document} stands in two places")));
            }
        }
    }
    Ok(())
}

/// What nodes recorded whose log forked is all there.
fn branches(world: &World, logs: &[HeldLog]) -> Result<(), Wrong> {
    let facts = logs.iter().flat_map(|(_, facts)| facts);
    let known: BTreeSet<&[u8]> = facts.filter_map(|fact| field::DOCUMENT.of(fact)).collect();
    let forked = world.places.iter().enumerate().filter(|(_, place)| place.is_forked);
    for (no, place) in forked {
        let lost = place.node.facts.iter().filter_map(|fact| field::DOCUMENT.of(fact));
        if let Some(lost) = lost.into_iter().find(|document| !known.contains(document)) {
            let lost = String::from_utf8_lossy(lost);
            return Err(Wrong(format!("node {no}: HQ does not have group {lost} of its branch")));
        }
    }
    Ok(())
}

/// The books are whole, and come out the same from the sequence and from the facts alone.
fn books(hq: &Running, logs: &[HeldLog]) -> Result<(), Wrong> {
    let published = hq.sequencer.published();
    let ledgers = published.ledgers();
    ledgers.books.check().map_err(|broken| Wrong(format!("the books: {broken}")))?;
    let mut sequenced: BTreeMap<_, Seq> = BTreeMap::new();
    let mut gap = None;
    let replayed = Replay::new(&**published.store(), &hq.intake).run(|step| {
        let (SequenceEntry::Run(run) | SequenceEntry::Held { run, .. }) = step.entry else {
            return Ok(());
        };
        let known = sequenced.entry(run.log).or_default();
        if run.first != known.next() {
            gap = Some(format!("entry {}: facts {} follow {known}", step.no, run.first));
        }
        *known = run.last;
        Ok::<_, ReplayError>(())
    });
    let replayed = replayed.map_err(|error| Wrong(format!("the sequence: {error}")))?;
    if let Some(gap) = gap {
        return Err(Wrong(format!("the sequence has a gap: {gap}")));
    }
    if replayed.last != *published.last().borrow() {
        return Err(Wrong("the sequence ends elsewhere than it is said to".to_owned()));
    }
    if replayed.books.state_hash() != ledgers.books.state_hash() {
        return Err(Wrong("the books come out otherwise from the sequence".to_owned()));
    }
    let arrivals: Vec<Arrival> = logs.iter().flat_map(bearable).collect();
    let expected = Standing::of_books(&deliver(&arrivals));
    let differences = expected.differences(&Standing::of_books(&ledgers.books));
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Wrong(format!("the books depend on how facts arrived: {differences}")))
    }
}

/// What people ruled out is as if it had never been told, and so are their rulings.
fn without_copies(hq: &Running, logs: &[HeldLog]) -> Result<(), Wrong> {
    let out = reentry::ruled_out(logs.iter().flat_map(|(_, facts)| facts));
    let ledgers = hq.sequencer.published().ledgers();
    let is_out = |fact: &Fact| field::capture(fact).is_some_and(|it| out.contains(&it));
    let names_one = |fact: &Fact| reference(fact).is_some_and(|it| out.contains(&it));
    let mut arrivals = Vec::new();
    for arrival in logs.iter().flat_map(bearable) {
        let Arrival::Run { site, rank, first, facts } = arrival else { continue };
        let mut first = first;
        for group in facts.split_inclusive(|fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0) {
            let count = group.iter().filter(|fact| is_out(fact)).count();
            // Somebody had taken back a part of it, or takes it back once more.
            if (count > 0 && count < group.len()) || (count == 0 && group.iter().any(names_one)) {
                return Ok(());
            }
            if count == 0 {
                arrivals.push(Arrival::Run { site, rank, first, facts: group.to_vec() });
            }
            first = Seq(first.0 + group.len() as u64);
        }
    }
    let expected = Standing::of_books(&deliver(&arrivals));
    let differences = expected.differences(&Standing::of_books(&ledgers.books));
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Wrong(format!("what was ruled out is in the books: {differences}")))
    }
}

/// What a fact names.
fn reference(fact: &Fact) -> Option<Capture> {
    let device = DeviceNo(u32::try_from(field::REF_DEVICE.of(fact)?).ok()?);
    Some(Capture { device, counter: field::REF_COUNTER.of(fact)? })
}

/// The facts of a log that the books can take, in runs.
fn bearable((log, facts): &HeldLog) -> Vec<Arrival> {
    let (site, rank) = (log.record.site, LogRank::of(&log.record.log));
    let mut first = Seq(1);
    let mut runs = Vec::new();
    for facts in facts.chunk_by(|one, next| is_unbearable(one) == is_unbearable(next)) {
        if !is_unbearable(&facts[0]) {
            runs.push(Arrival::Run { site, rank, first, facts: facts.to_vec() });
        }
        first = Seq(first.0 + facts.len() as u64);
    }
    runs
}

/// What the keeper sees on hand is what HQ's books have at his site.
fn stock(world: &mut World) -> Result<(), Wrong> {
    for no in world.live_nodes() {
        let seen = world.places[no.0].node.stock();
        let node = &world.places[no.0].node;
        let hq = running(world)?;
        let ledgers = hq.sequencer.published().ledgers();
        let rank = LogRank::of(&node.genesis.log_id());
        // Another log of the site has moved goods, or something waits for what it names.
        let logs = hq.intake.logs().into_iter().filter(|log| log.record.site == node.site);
        let older: Vec<LogStatus> =
            logs.filter(|log| log.record.log != node.genesis.log_id()).collect();
        let (rebuilt, ruled) = (&world.places[no.0].rebuilt, world.trace().figures.ruled);
        let alone = older.iter().all(|log| {
            let (log, last) = (&log.record.log, log.received.last);
            rebuilt.as_ref().is_some_and(|rebuilt| rebuilt.holds(log, last, ruled))
        });
        // What waits for its time is on hand, without a value.
        let waits = ledgers.books.waiting().filter(|(_, group)| group.log == rank);
        let mut why = waits.map(|(_, group)| ledgers.books.reason(group));
        if !alone || why.any(|why| why != Waits::TimeInDoubt) {
            continue;
        }
        let without_value = ledgers.books.without_value();
        let doubted = node.facts.iter().any(|fact| field::TIME_IN_DOUBT.of(fact).is_some());
        // What is received counts at HQ after it was shipped, whatever the clocks say; a count of
        // the keeper's may stand between. What the books can't take they don't have.
        let mut came: BTreeSet<u64> = (node.facts.iter())
            .filter(|fact| match fact.kind() {
                Some(Kind::TransferReceive | Kind::Reversal) => true,
                // The node takes the newest count by the times that it stated.
                Some(Kind::Count) if doubted => true,
                _ => is_unbearable(fact),
            })
            .filter_map(|fact| field::ITEM.of(fact))
            .collect();
        // What is told late of the time before a count on the lost machine changes nothing there.
        for log in &older {
            let facts = facts_of(&hq.intake, &log.record.log, log.received.last)?;
            let counted = facts.iter().filter(|fact| fact.kind() == Some(Kind::Count));
            came.extend(counted.filter_map(|fact| field::ITEM.of(fact)));
        }
        for (item, seen) in seen.into_iter().filter(|(item, _)| !came.contains(&item.0.into())) {
            let held = ledgers.books.on_hand(CompanyNo::FIRST, node.site, item).0;
            let of_item = without_value.iter().filter(|(held, _)| {
                (held.company, held.site, held.item) == (CompanyNo::FIRST, node.site, item)
            });
            let held = i128::from(held) + of_item.map(|(_, units)| units).sum::<i128>();
            if held != i128::from(seen) {
                let site = node.site;
                return Err(Wrong(format!(
                    "site {site} has {seen} of item {item}, the books {held}"
                )));
            }
        }
    }
    Ok(())
}
