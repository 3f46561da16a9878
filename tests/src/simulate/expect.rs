//! What has to happen where a node's file was put back or copied, or HQ was, in one place: HQ keeps what
//! such a node records as a branch, the node is told, a person enrols another installation in its place
//! once HQ has all of it, and nobody else is disturbed.

use shared::document::{Change, Replica};
use shared::ids::Seq;
use shared::sync::edge::EdgeEnd;
use shared::sync::{Acknowledgement, Code, Position, VERSIONS};

use super::Wrong;
use super::link::LinkNo;
use super::trace::note;
use super::world::{Event, NodeNo, World};

/// An edge goes on from where HQ is: that is a place of its own log, also where it forked.
pub(super) fn welcomed(world: &World, no: NodeNo, cursor: Position) -> Result<(), Wrong> {
    if world.places[no.0].node.has(cursor) {
        return Ok(());
    }
    let last = cursor.last;
    Err(Wrong(format!("node {}: HQ has another fact {last}: the fork was not noticed", no.0)))
}

/// An edge heard what HQ has: it is of facts that the edge has, and never less than before.
pub(super) fn acknowledged(
    world: &mut World,
    no: NodeNo,
    said: &Acknowledgement,
) -> Result<(), Wrong> {
    let place = &world.places[no.0];
    if !place.is_doubtful && !place.node.has(said.received) {
        return Err(Wrong(format!(
            "node {}: HQ acknowledges facts up to {} that this node does not have: the fork was not noticed",
            no.0, said.received.last
        )));
    }
    // What HQ said of another log under this name it said to another machine.
    if place.is_forked { Ok(()) } else { world.hq.told(no, said) }
}

/// HQ found another log under a node's name, and takes this one as a branch.
pub(super) fn forked(world: &mut World, no: NodeNo, common: Seq) -> Result<(), Wrong> {
    if !world.places[no.0].is_doubtful {
        return Err(Wrong(format!("node {} was never put back or copied: it forked", no.0)));
    }
    if !std::mem::replace(&mut world.places[no.0].is_forked, true) {
        note!(world.trace(), "node {}: a branch after {common}", no.0);
        world.trace().figures.noticed += 1;
        let delay = world.random.between(60_000, 200_000);
        world.after(delay, Event::Replace(no));
    }
    Ok(())
}

/// HQ has less than it acknowledged.
pub(super) fn hq_lost(
    world: &World,
    restored: bool,
    acknowledged: Seq,
    has: Seq,
) -> Result<(), Wrong> {
    // The files of a node that was put back say nothing of what HQ once said to it.
    let was_restored = world.hq_restores() > 0;
    if was_restored {
        return Ok(());
    }
    Err(Wrong(format!(
        "HQ acknowledged {acknowledged} and has {has} (another history: {restored}), but nobody restored it"
    )))
}

/// A metered link closes: HQ has every fact of the node, and has decided on its edits, but for those
/// that build on what HQ does not have.
pub(super) fn left(world: &World, link: LinkNo) -> Result<(), Wrong> {
    let (no, is_alive) = (world.links[&link].node, world.links[&link].hq.is_some());
    let (place, hq) = (&world.places[no.0], &world.hq.running);
    let (Some(edge), Some(hq)) = (&place.node.running, hq.as_ref().filter(|_| is_alive)) else {
        return Ok(());
    };
    let wrong = |why: String| Wrong(format!("node {} leaves, and {why}", no.0));
    let (has, recorded) = (world.hq.cursor(&place.node.genesis.log_id()), place.node.position());
    if !place.is_doubtful && has.is_none_or(|has| has.last < recorded.last) {
        return Err(wrong(format!("HQ has {has:?} of {}", recorded.last)));
    }
    let waiting = edge.documents.waiting_changes(0, usize::MAX);
    for (_, offered) in waiting.map_err(|error| wrong(error.to_string()))? {
        let change = Change::read(&offered.bytes).map_err(|flaw| wrong(flaw.to_string()))?;
        let known = hq.documents.get(offered.key.id);
        let known = known.map_or_else(|_| Replica::begin(offered.key), |known| known.replica);
        let missing = change.dependencies.iter().any(|hash| !known.has(hash));
        let refused = hq.documents.refused().unwrap_or_default();
        let is_refused = refused.iter().any(|refused| refused.hash == change.hash);
        if !missing && !is_refused && !known.has(&change.hash) {
            return Err(wrong(format!("HQ has not heard of an edit of {}", offered.key)));
        }
    }
    Ok(())
}

/// A session ended at the edge.
pub(super) fn edge_ended(world: &mut World, link: LinkNo, end: &EdgeEnd) -> Result<(), Wrong> {
    let no = world.links[&link].node;
    note!(world.trace(), "link {}: node {} ends: {end}", link.0, no.0);
    world.places[no.0].link = None;
    let is_forked = match end {
        end if end.is_fork() && !world.places[no.0].is_refused => {
            // It comes again, as a branch: HQ has to have all of it.
            doubted(world, no, end)?;
            world.places[no.0].is_refused = true;
            false
        }
        EdgeEnd::Fork(_) | EdgeEnd::Restored { .. } => true,
        EdgeEnd::Refused(refusal) => match refusal.code {
            Code::FORK | Code::RESTORED => true,
            Code::STORAGE | Code::LEAVING | Code::BUSY | Code::STALLED => false,
            Code::WRONG_VERSION if world.has_other_versions => {
                // Somebody puts the right program there.
                world.places[no.0].node.versions = VERSIONS;
                world.dial_after_failure(no, true);
                return Ok(());
            }
            _ => return Err(Wrong(format!("node {}: {end}", no.0))),
        },
        EdgeEnd::Left | EdgeEnd::Overtaken | EdgeEnd::HqLeft(_) | EdgeEnd::Stalled => false,
        EdgeEnd::LogUnreadable if !world.places[no.0].node.has_power() => false,
        _ => return Err(Wrong(format!("node {}: {end}", no.0))),
    };
    if is_forked {
        return noticed(world, no, end);
    }
    world.dial_after_failure(no, false);
    Ok(())
}

fn doubted(world: &World, no: NodeNo, end: &EdgeEnd) -> Result<(), Wrong> {
    if world.places[no.0].is_doubtful {
        return Ok(());
    }
    Err(Wrong(format!("node {} was never put back or copied: {end}", no.0)))
}

/// A node is refused for good: only one whose file was put back or copied may be.
fn noticed(world: &mut World, no: NodeNo, end: &EdgeEnd) -> Result<(), Wrong> {
    doubted(world, no, end)?;
    world.trace().figures.noticed += 1;
    let place = &mut world.places[no.0];
    place.is_retired = true;
    place.node.stop();
    let site = place.node.site;
    // A copy that goes on is all that the site needs.
    let lives = world.places.iter().any(|place| place.node.site == site && !place.is_retired);
    if !lives {
        let delay = world.random.between(60_000, 200_000);
        world.after(delay, Event::Enrol(no));
    }
    Ok(())
}
