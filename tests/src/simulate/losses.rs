//! An HQ that was put back hears from nodes what it lost: of numbers that it had given, from the
//! acknowledgements that they hold, of its statements, from their keyed state. What it makes of them is the
//! program's own. Invariant: what a node was told and still holds is in force at HQ again before the
//! node forgets it, unless HQ has stated something later.

use std::collections::BTreeMap;

use edge_node::journal::Journal;
use hq_server::gateway::answers::open_log;
use hq_server::gateway::store::Peer;
use shared::catalogue::StateKey;
use shared::fact::statement::{Stamp, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::Capture;
use shared::sync::hq::HqEvent;
use shared::sync::{Hello, SignedStateBatch, StateCursor};

use super::Wrong;
use super::hq::{Answer, Hq};
use super::link::LinkNo;
use super::node::Node;

impl Hq {
    /// What a node is asked back, if anything.
    pub(super) fn asks_back(&self, known: StateCursor) -> Option<Vec<Capture>> {
        let running = self.running.as_ref().expect("sessions live while HQ runs");
        self.recovery(running).asks_back(known)
    }

    /// Opens a log, once what its node is a witness of is stated.
    pub(super) fn open(&mut self, link: LinkNo, peer: Peer, hello: &Hello) {
        let running = self.running.as_ref().expect("sessions live while HQ runs");
        let recovery = self.recovery(running);
        let (log, witness) = (hello.log, hello.witness);
        self.ask(async move {
            if let Some(witness) = witness {
                // As in the program: another node may tell of it.
                drop(recovery.hear(&witness).await);
            }
            let opened = open_log(&recovery.intake, peer, &log);
            let event = opened.map_or_else(HqEvent::Refused, HqEvent::Opened);
            Answer { link, event, place: None }
        });
    }

    /// Takes back what a node gives.
    pub(super) fn take_back(&mut self, link: LinkNo, batch: SignedStateBatch) {
        let running = self.running.as_ref().expect("sessions live while HQ runs");
        let recovery = self.recovery(running);
        self.ask(async move {
            drop(recovery.take_back(&batch).await);
            Answer { link, event: HqEvent::TakenBack, place: None }
        });
    }

    fn ask(&mut self, question: impl Future<Output = Answer> + 'static) {
        self.running.as_mut().expect("sessions live while HQ runs").asked.ask(question);
    }
}

/// A node is about to learn what HQ says in this life, up to a cursor: what it knew of another one HQ has.
pub(super) fn may_forget(hq: &Hq, node: &Node, told: StateCursor) -> Result<(), Wrong> {
    let (Some(edge), Some(hq)) = (&node.running, &hq.running) else { return Ok(()) };
    let goes_on = edge.journal.state_cursor().handle == told.handle;
    // HQ may be another by now than the one that said this.
    if goes_on || !hq.power.is_on() || !hq.intake.tells(told) {
        return Ok(());
    }
    for (key, held) in in_force(&edge.journal)? {
        let newest = hq.intake.newest_state(&key);
        if !newest.as_ref().is_some_and(|newest| holds(newest, &held)) {
            return Err(node.wrong(&format!("HQ lost {held:?} for good: it has {newest:?}")));
        }
    }
    Ok(())
}

/// What HQ stated, as a node has it.
fn in_force(journal: &Journal) -> Result<BTreeMap<StateKey, Fact>, Wrong> {
    let (mut after, mut known) = (StateCursor::START, BTreeMap::new());
    loop {
        let given = journal.given(&[], after);
        let given = given.map_err(|error| Wrong(format!("keyed state: {error}")))?;
        let Some(SignedStateBatch { batch, .. }) = given else { return Ok(known) };
        let facts = batch.facts().map_err(|error| Wrong(format!("keyed state: {error}")))?;
        let stated = facts.into_iter().filter(|fact| fact.kind().is_none_or(Kind::is_master_data));
        known.extend(stated.map(|fact| (StateKey::of(&fact), fact)));
        after = batch.to;
    }
}

/// Whether a statement is what another one said, or was stated later.
fn holds(newest: &Fact, held: &Fact) -> bool {
    let at = |fact| Stamp::parse(fact).ok().map(|stamp| stamp.occurred_at);
    Statement::parse(newest) == Statement::parse(held) || at(newest) > at(held)
}
