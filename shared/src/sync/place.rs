//! Places that both sides talk about: how far a log is known, a run of its facts, how far keyed
//! state is known. Knows nothing of who stores them.

use super::wire::{FrameError, Reader, Writer};
use crate::fact::field;
use crate::fact::record::Fact;
use crate::ids::{Head, Seq};

/// How far a log is known: its last fact and the chain's head after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last fact; 0 where there is none yet.
    pub last: Seq,
    /// The head after it; after the genesis where there is none yet.
    pub head: Head,
}

impl Position {
    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(self.last);
        out.raw(&self.head.0);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self { last: Seq(input.unsigned()?), head: Head(input.array()?) })
    }
}

/// Consecutive facts of one log. Never empty, never cuts a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of the first fact.
    pub first: Seq,
    /// The facts.
    pub facts: Vec<Fact>,
    /// The place of the last fact.
    pub last: Seq,
    /// The chain's head after it.
    pub head: Head,
}

/// Facts that are no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARun {
    /// No fact.
    #[error("a run has no facts")]
    Empty,
    /// The place is 0 or the last one would be over the limit.
    #[error("a run begins at an impossible place")]
    BadPlace,
    /// The last fact says that more of its group follow.
    #[error("a run ends inside a group")]
    CutGroup,
}

impl Run {
    /// A run of `facts` from `first` on.
    pub fn new(first: Seq, facts: Vec<Fact>, head: Head) -> Result<Self, NotARun> {
        let end = facts.last().ok_or(NotARun::Empty)?;
        if field::GROUP_LEFT.of(end).unwrap_or(0) != 0 {
            return Err(NotARun::CutGroup);
        }
        let last = first.0.checked_add(facts.len() as u64 - 1).filter(|_| first != Seq::ZERO);
        let last = last.filter(|last| *last < crate::varint::LIMIT).ok_or(NotARun::BadPlace)?;
        Ok(Self { first, facts, last: Seq(last), head })
    }

    /// How far the log is known once the run is stored.
    pub const fn position(&self) -> Position {
        Position { last: self.last, head: self.head }
    }

    /// The part after `known`; `None` where nothing is left.
    ///
    /// Places that were stored end where a group ends, so the rest has whole groups again.
    #[must_use]
    pub fn after(mut self, known: Seq) -> Option<Self> {
        if known >= self.last {
            return None;
        }
        if known >= self.first {
            let skipped = usize::try_from(known.0 - self.first.0 + 1).ok()?;
            self.facts.drain(..skipped);
            self.first = known.next();
        }
        Some(self)
    }

    /// Appends the run that follows directly.
    ///
    /// # Panics
    /// Where `next` does not follow directly: the caller has checked the order.
    pub fn extend(&mut self, next: Self) {
        assert_eq!(next.first, self.last.next(), "runs are joined in order");
        self.facts.extend(next.facts);
        self.last = next.last;
        self.head = next.head;
    }
}

/// A step from one cursor to another of what HQ numbers for a site.
pub(super) trait Step {
    /// Where it starts.
    fn from(&self) -> StateCursor;

    /// Where it ends.
    fn to(&self) -> StateCursor;
}

/// How far a site's keyed state, or its documents, are known. HQ gives the numbers; a site only returns them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateCursor {
    /// Names the selection that the site receives; another selection has another handle.
    pub handle: u64,
    /// How far, within that handle.
    pub at: u64,
}

impl StateCursor {
    /// Nothing is known.
    pub const START: Self = Self { handle: 0, at: 0 };

    pub(super) fn write(self, out: &mut Writer) {
        out.unsigned(self.handle);
        out.unsigned(self.at);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self { handle: input.unsigned()?, at: input.unsigned()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::kind::Kind;

    fn fact(group_left: u64) -> Fact {
        let mut fact = Fact::new(Kind::Receipt);
        field::GROUP_LEFT
            .put(&mut fact, (group_left > 0).then_some(group_left))
            .expect("a legal field");
        fact
    }

    #[test]
    fn runs_are_whole() {
        let head = Head([1; 32]);
        let cases = [
            (Seq(1), vec![], Some(NotARun::Empty)),
            (Seq(0), vec![fact(0)], Some(NotARun::BadPlace)),
            (Seq(crate::varint::LIMIT - 1), vec![fact(0), fact(0)], Some(NotARun::BadPlace)),
            (Seq(1), vec![fact(0), fact(1)], Some(NotARun::CutGroup)),
            (Seq(1), vec![fact(1), fact(0)], None),
        ];
        for (first, facts, expected) in cases {
            assert_eq!(Run::new(first, facts, head).err(), expected);
        }
    }

    #[test]
    fn what_is_known_is_left_out() {
        let run = Run::new(Seq(5), vec![fact(0); 4], Head([1; 32])).expect("a run");
        for (known, first) in
            [(3, Some(5)), (4, Some(5)), (5, Some(6)), (7, Some(8)), (8, None), (90, None)]
        {
            let rest = run.clone().after(Seq(known));
            assert_eq!(rest.as_ref().map(|run| run.first.0), first, "after {known}");
            assert!(rest.is_none_or(|run| run.last.0 - run.first.0 + 1 == run.facts.len() as u64));
        }
    }
}
