//! Sites that are told only what they handle: a keeper looks for an item at HQ, and takes one up that it
//! names. Search, statement and what a site is told are the real ones.

use std::collections::BTreeSet;

use shared::fact::field;
use shared::ids::ItemNo;
use shared::sync::Found;
use shared::sync::edge::EdgeEvent;

use super::Wrong;
use super::link::LinkNo;
use super::trace::note;
use super::world::{Event, NodeNo, World};

impl World {
    /// A keeper looks for an item that his site may not handle yet.
    pub(super) fn look_up(&mut self, no: NodeNo) -> Result<(), Wrong> {
        if self.places[no.0].is_retired || self.is_healed {
            return Ok(());
        }
        let wait = self.random.between(1_000, self.plan.duration_ms / 4);
        self.after(wait, Event::LookUp(no));
        let Some(link) = self.places[no.0].link else { return Ok(()) };
        self.edge_event(link, EdgeEvent::LookUp("I".to_owned()))
    }

    /// He takes up one of those that HQ names, or two.
    pub(super) fn found(&mut self, link: LinkNo, no: NodeNo, found: &Found) -> Result<(), Wrong> {
        let Some(running) = &self.places[no.0].node.running else { return Ok(()) };
        let known = running.journal.catalogue();
        let facts = found.facts();
        let facts = facts.map_err(|error| Wrong(format!("what HQ found: {error}")))?;
        let named: BTreeSet<_> = facts.iter().filter_map(|fact| field::ITEM.of(fact)).collect();
        let named = named.into_iter().filter_map(|item| u32::try_from(item).ok()).map(ItemNo);
        let new: Vec<_> = named.filter(|item| known.item(*item).is_none()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let wanted = vec![*self.random.pick(&new), *self.random.pick(&new)];
        note!(self.trace(), "node {}: takes up {wanted:?}", no.0);
        self.trace().figures.taken_up += 1;
        let wait = self.random.between(0, 2_000);
        self.after(wait, Event::EdgeReply(link, Box::new(EdgeEvent::Handle(wanted))));
        Ok(())
    }
}
