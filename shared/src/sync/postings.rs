//! What HQ's books made of facts: which voucher each group has, or why it waits. Knows no ledger.
//! Invariant: the spans of an answer cover its facts without a gap, whole groups each.

use std::collections::VecDeque;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::moment::Moment;
use super::wire::{self, FrameError, Reader, Writer};
use crate::ids::{HistoryId, LogId, Seq};
use crate::planted::{self, Fault};
use crate::segment::context::{self, BadSignature};
use crate::time::Month;

/// The most spans of one answer.
const SPANS_MAX: usize = 1_024;

/// The most facts that one question may be about.
pub const FACTS_ASKED_MAX: u64 = 65_536;

/// The most bytes of what a group waits for.
pub const WHY_BYTES_MAX: usize = 200;

/// The most bytes of an answer: places, counts and one voucher a span, or few reasons.
pub(super) const POSTINGS_BYTES_MAX: usize = 64 * 1024;

/// What became of the groups of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the books, which have no voucher for it: no amount moved.
    NoVoucher,
    /// Each group has a voucher of this month; the numbers count up by one a group.
    Vouchers {
        /// The ledger month.
        month: Month,
        /// The first group's number in company and month.
        first: u32,
    },
    /// HQ set them aside until something comes that they need.
    Waits {
        /// Why, for people.
        why: String,
    },
}

/// Consecutive groups of one size that fared alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many groups; never 0.
    pub groups: u64,
    /// How many facts each has; never 0.
    pub facts_each: u64,
    /// What became of them.
    pub outcome: Outcome,
}

impl Span {
    /// How many facts it covers.
    pub const fn facts(&self) -> u64 {
        self.groups * self.facts_each
    }

    /// What is left of it after its first `facts`; cut between groups, so a part of a group goes with
    /// what was before. `None` where nothing is left.
    #[must_use]
    pub fn after(&self, facts: u64) -> Option<Self> {
        let gone = facts.div_ceil(self.facts_each);
        let groups = self.groups.checked_sub(gone).filter(|groups| *groups > 0)?;
        let outcome = match &self.outcome {
            Outcome::Vouchers { month, first } => {
                let first = first.checked_add(u32::try_from(gone).ok()?)?;
                Outcome::Vouchers { month: *month, first }
            }
            same => same.clone(),
        };
        Some(Self { groups, outcome, ..*self })
    }

    /// Takes `next`, which follows, in where it goes on as this one does.
    pub fn takes(&mut self, next: &Self) -> bool {
        let goes_on = self.facts_each == next.facts_each
            && match (&self.outcome, &next.outcome) {
                (
                    Outcome::Vouchers { month, first },
                    Outcome::Vouchers { month: next_month, first: next_first },
                ) => {
                    month == next_month
                        && u64::from(*first).checked_add(self.groups)
                            == Some(u64::from(*next_first))
                }
                (one, other) => one == other,
            };
        if goes_on {
            self.groups += next.groups;
        }
        goes_on
    }

    /// The first of its groups, as many as fit `facts`; `None` where none does.
    #[must_use]
    pub fn before(&self, facts: u64) -> Option<Self> {
        let groups = (facts / self.facts_each).min(self.groups);
        (groups > 0).then(|| Self { groups, ..self.clone() })
    }

    /// Its bytes, for stores.
    pub fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        wire::read_whole(bytes, Self::read)
    }

    fn write(&self, out: &mut Writer) {
        out.unsigned(self.groups);
        out.unsigned(self.facts_each);
        match &self.outcome {
            Outcome::NoVoucher => out.unsigned(0_u64),
            Outcome::Vouchers { month, first } => {
                out.unsigned(1_u64);
                out.signed(i64::from(month.0));
                out.unsigned(*first);
            }
            Outcome::Waits { why } => {
                out.unsigned(2_u64);
                out.bytes(why.as_bytes());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (groups, facts_each) = (input.unsigned()?, input.unsigned()?);
        let outcome = match input.unsigned()? {
            0 => Outcome::NoVoucher,
            1 => {
                let month = i32::try_from(input.signed()?)
                    .map_err(|_| FrameError::BadValue("the month of a voucher"))?;
                Outcome::Vouchers { month: Month(month), first: input.small("a voucher")? }
            }
            2 => Outcome::Waits { why: input.text(WHY_BYTES_MAX, "what facts wait for")? },
            _ => return Err(FrameError::BadValue("what became of facts")),
        };
        let facts = groups.checked_mul(facts_each);
        facts.filter(|facts| *facts > 0).ok_or(FrameError::BadValue("a span of facts"))?;
        Ok(Self { groups, facts_each, outcome })
    }
}

/// What became of consecutive facts of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postings {
    /// The life of HQ's store that says so.
    pub history: HistoryId,
    /// The log.
    pub log: LogId,
    /// The first fact.
    pub first: Seq,
    /// In the order of the facts.
    spans: Vec<Span>,
}

impl Postings {
    /// Nothing said yet of the facts from `first` on.
    pub const fn new(history: HistoryId, log: LogId, first: Seq) -> Self {
        Self { history, log, first, spans: Vec::new() }
    }

    /// Appends what became of the next groups; false where there is no more room.
    #[must_use]
    pub fn push(&mut self, span: Span) -> bool {
        if self.facts().saturating_add(span.facts()) > FACTS_ASKED_MAX {
            return false;
        }
        if self.spans.last_mut().is_some_and(|last| last.takes(&span)) {
            return true;
        }
        let reasons =
            self.spans.iter().filter(|each| matches!(each.outcome, Outcome::Waits { .. }));
        let is_reason = matches!(span.outcome, Outcome::Waits { .. });
        let has_room =
            self.spans.len() < SPANS_MAX && (!is_reason || reasons.count() < SPANS_MAX / 8);
        if has_room {
            self.spans.push(span);
        }
        has_room
    }

    /// In the order of the facts.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many facts it speaks of.
    pub fn facts(&self) -> u64 {
        self.spans.iter().map(Span::facts).sum()
    }

    /// The spans with the places of their first facts.
    pub fn placed(&self) -> impl Iterator<Item = (Seq, &Span)> {
        let mut next = self.first.0;
        self.spans.iter().map(move |span| {
            let first = Seq(next);
            next += span.facts();
            (first, span)
        })
    }

    /// The last fact; `None` where it says nothing.
    pub fn last(&self) -> Option<Seq> {
        let facts = self.facts();
        (facts > 0).then(|| Seq(self.first.0 + facts - 1))
    }

    /// Signs with HQ's log key.
    pub fn sign(self, key: &SigningKey) -> SignedPostings {
        let signature = context::sign(key, context::POSTINGS, &self.encode());
        SignedPostings { postings: self, signature }
    }

    fn write(&self, out: &mut Writer) {
        out.raw(&self.history.0);
        out.raw(&self.log.0);
        out.unsigned(self.first);
        out.unsigned(self.spans.len() as u64);
        for span in &self.spans {
            span.write(out);
        }
    }

    fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }
}

/// What became of facts, with HQ's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPostings {
    /// What HQ says.
    pub postings: Postings,
    /// By HQ's log key.
    pub signature: [u8; 64],
}

impl SignedPostings {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        context::verify(hq_key, context::POSTINGS, &self.postings.encode(), &self.signature)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.postings.write(out);
        out.raw(&self.signature);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (history, log) = (HistoryId(input.array()?), LogId(input.array()?));
        let first = Seq(input.unsigned()?);
        let mut postings = Postings::new(history, log, first);
        let count = input.unsigned()?;
        for _ in 0..count {
            let (known, span) = (postings.spans.len(), Span::read(input)?);
            // Spans that go on alike are one: there is one legal form.
            if !postings.push(span) || postings.spans.len() == known {
                return Err(FrameError::BadValue("the spans of postings"));
            }
        }
        if first == Seq::ZERO {
            return Err(FrameError::BadValue("the first fact of postings"));
        }
        Ok(Self { postings, signature: input.array()? })
    }
}

/// A question to HQ: what became of the facts from `first` to `last`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostingsAsked {
    /// The first fact.
    pub first: Seq,
    /// The last one.
    pub last: Seq,
}

impl PostingsAsked {
    /// A question of facts up to `last`, or of as many of the first of them as may be asked at once.
    pub fn up_to(first: Seq, last: Seq) -> Self {
        Self { first, last: last.min(Seq(first.0 + FACTS_ASKED_MAX - 1)) }
    }

    pub(super) fn write(self, out: &mut Writer) {
        out.unsigned(self.first);
        out.unsigned(self.last);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let asked = Self { first: Seq(input.unsigned()?), last: Seq(input.unsigned()?) };
        let is_possible = asked.first > Seq::ZERO
            && asked.first <= asked.last
            && asked.last.0 - asked.first.0 < FACTS_ASKED_MAX;
        if is_possible { Ok(asked) } else { Err(FrameError::BadValue("the facts asked about")) }
    }
}

/// What a node knows of its postings, as a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingsKnown {
    /// The life of HQ's store that told it. Another one may have other vouchers for the same facts.
    pub history: HistoryId,
    /// HQ has told what became of the facts up to this one.
    pub up_to: Seq,
    /// What waited when HQ was asked last.
    pub waiting: Vec<PostingsAsked>,
}

impl PostingsKnown {
    /// Nothing yet, of a life of HQ's store.
    pub const fn nothing(history: HistoryId) -> Self {
        Self { history, up_to: Seq::ZERO, waiting: Vec::new() }
    }

    /// Whether an answer of HQ goes on from what is known, or says some of it again: what would
    /// leave a gap is not kept.
    pub fn is_next(&self, told: &Postings) -> bool {
        let known = if told.history == self.history { self.up_to } else { Seq::ZERO };
        told.first <= known.next()
    }

    /// Takes an answer of HQ. One of another life of HQ's store leaves nothing of what was known.
    pub fn take(&mut self, told: &Postings) {
        let Some(last) = told.last().filter(|_| self.is_next(told)) else { return };
        if told.history != self.history {
            *self = Self::nothing(told.history);
        }
        for PostingsAsked { first, last: end } in std::mem::take(&mut self.waiting) {
            if first < told.first {
                self.wait(first, end.min(Seq(told.first.0 - 1)));
            }
            if end > last {
                self.wait(first.max(last.next()), end);
            }
        }
        for (first, span) in told.placed() {
            self.note(first, span);
        }
    }

    /// Takes a span of an answer.
    pub fn note(&mut self, first: Seq, span: &Span) {
        let last = Seq(first.0 + span.facts() - 1);
        if matches!(span.outcome, Outcome::Waits { .. }) {
            self.wait(first, last);
        }
        self.up_to = self.up_to.max(last);
    }

    /// Adds facts that wait; those that are next to each other are asked about together.
    fn wait(&mut self, first: Seq, last: Seq) {
        self.waiting.push(PostingsAsked { first, last });
        self.waiting.sort_unstable_by_key(|waiting| waiting.first);
        self.waiting.dedup_by(|next, before| {
            let is_next = next.first == before.last.next();
            if is_next {
                before.last = next.last;
            }
            is_next
        });
    }
}

/// How often HQ is asked about what waits, at most.
const WAITING_MS: u64 = 60_000;

/// The edge's side: what to ask next, and what came.
#[derive(Debug)]
pub(super) struct Asking {
    known: PostingsKnown,
    /// The books have the log up to here.
    posted: Seq,
    /// What waited: to be asked about again.
    again: VecDeque<PostingsAsked>,
    asked_again: Moment,
    /// On its way to HQ or back.
    open: Option<PostingsAsked>,
    arrived: Option<SignedPostings>,
    noting: bool,
    /// How many answers the store lost.
    losses: u32,
}

/// After so many losses of one session the store is left alone.
const LOSSES_MAX: u32 = 3;

impl Asking {
    pub(super) fn new(known: PostingsKnown, now: Moment) -> Self {
        Self {
            posted: Seq::ZERO,
            again: known.waiting.iter().copied().collect(),
            asked_again: now,
            known,
            open: None,
            arrived: None,
            noting: false,
            losses: 0,
        }
    }

    /// HQ takes part, in this life of its store: in another one than what is known is of, everything
    /// is asked anew.
    pub(super) fn opened(&mut self, history: HistoryId) {
        if history != self.known.history {
            if planted::is(Fault::StaleVouchers) {
                self.known.history = history;
            } else {
                self.known = PostingsKnown::nothing(history);
            }
            self.again.clear();
        }
    }

    /// HQ says how far the books are.
    pub(super) fn posted(&mut self, posted: Seq, now: Moment) {
        self.posted = posted;
        if self.again.is_empty() && now.ms_since(self.asked_again) >= WAITING_MS {
            self.again = self.known.waiting.iter().copied().collect();
            self.asked_again = now;
        }
    }

    /// Whether there is something to ask.
    pub(super) fn has_question(&self) -> bool {
        self.losses < LOSSES_MAX && self.open.is_none() && !self.noting && self.next().is_some()
    }

    fn next(&self) -> Option<PostingsAsked> {
        let news = PostingsAsked::up_to(self.known.up_to.next(), self.posted);
        let news = (self.known.up_to < self.posted).then_some(news);
        let waited = self.again.front();
        news.or_else(|| waited.map(|waited| PostingsAsked::up_to(waited.first, waited.last)))
    }

    pub(super) fn take_question(&mut self) -> Option<PostingsAsked> {
        if !self.has_question() {
            return None;
        }
        self.open = self.next();
        self.open
    }

    /// False where nothing was asked, or something else.
    #[must_use]
    pub(super) fn take_answer(&mut self, signed: SignedPostings) -> bool {
        let postings = &signed.postings;
        let Some(asked) = self.open.take() else { return false };
        let last = postings.last();
        if postings.first != asked.first || last.is_some_and(|last| last > asked.last) {
            return false;
        }
        if asked.first > self.known.up_to {
            // Where HQ can't tell now, it is asked when more is posted.
            self.posted = last.map_or(self.known.up_to, |_| self.posted);
        } else if let Some(waited) = self.again.pop_front()
            && let Some(last) = last.filter(|last| *last < waited.last)
        {
            self.again.push_front(PostingsAsked { first: last.next(), ..waited });
        }
        if last.is_some() {
            self.known.take(postings);
            (self.arrived, self.noting) = (Some(signed), true);
        }
        true
    }

    /// What the store is to keep.
    pub(super) const fn take_arrived(&mut self) -> Option<SignedPostings> {
        self.arrived.take()
    }

    /// What the store knows now. Where an answer was lost, HQ is asked again, but not for ever.
    pub(super) fn noted(&mut self, known: PostingsKnown) {
        self.noting = false;
        if known == self.known {
            return;
        }
        self.losses += 1;
        let history = self.known.history;
        let is_ours = known.history == history;
        self.known = if is_ours { known } else { PostingsKnown::nothing(history) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNE: Month = Month(24_318);
    const HISTORY: HistoryId = HistoryId([1; 32]);

    fn vouchers(groups: u64, facts_each: u64, first: u32) -> Span {
        Span { groups, facts_each, outcome: Outcome::Vouchers { month: JUNE, first } }
    }

    fn postings(first: u64, spans: &[Span]) -> Postings {
        let mut made = Postings::new(HISTORY, LogId([2; 32]), Seq(first));
        for span in spans {
            assert!(made.push(span.clone()), "{span:?} has room");
        }
        made
    }

    #[test]
    fn vouchers_in_a_row_are_one_span() {
        let made = postings(
            11,
            &[
                vouchers(1, 2, 7),
                vouchers(1, 2, 8),
                vouchers(3, 2, 9),
                vouchers(1, 2, 13),
                vouchers(1, 1, 14),
                Span { groups: 1, facts_each: 1, outcome: Outcome::NoVoucher },
                Span { groups: 1, facts_each: 1, outcome: Outcome::NoVoucher },
            ],
        );
        let none = Span { groups: 2, facts_each: 1, outcome: Outcome::NoVoucher };
        assert_eq!(made.spans(), [vouchers(5, 2, 7), vouchers(1, 2, 13), vouchers(1, 1, 14), none]);
        assert_eq!((made.facts(), made.last()), (15, Some(Seq(25))));
    }

    #[test]
    fn a_span_is_cut_between_groups() {
        for (facts, left) in
            [(0, Some(vouchers(5, 2, 7))), (1, Some(vouchers(4, 2, 8))), (9, None), (10, None)]
        {
            assert_eq!(vouchers(5, 2, 7).after(facts), left, "after {facts}");
        }
        assert_eq!(vouchers(5, 2, 7).after(8), Some(vouchers(1, 2, 11)));
    }

    #[test]
    fn every_byte_is_signed_and_has_one_form() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let waits = Span { groups: 1, facts_each: 3, outcome: Outcome::Waits { why: "x".into() } };
        let signed = postings(9, &[vouchers(2, 1, 7), waits]).sign(&key);
        let bytes = wire::written(|out| signed.write(out));
        let read = SignedPostings::read(&mut Reader::new(&bytes)).expect("postings");
        assert_eq!((read.verify(&key.verifying_key()), &read), (Ok(()), &signed));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedPostings::read(&mut Reader::new(&changed))
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
        }
        // The same in two spans.
        let mut out = Writer::new();
        out.raw(&[1; 64]);
        out.unsigned(9_u64);
        out.unsigned(2_u64);
        vouchers(1, 1, 7).write(&mut out);
        vouchers(1, 1, 8).write(&mut out);
        out.raw(&[0; 64]);
        let bytes = out.into_bytes();
        let expected = Err(FrameError::BadValue("the spans of postings"));
        assert_eq!(SignedPostings::read(&mut Reader::new(&bytes)), expected);
    }

    #[test]
    fn news_are_asked_first_then_what_waited_once_a_minute() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let waiting = vec![PostingsAsked { first: Seq(3), last: Seq(4) }];
        let known = PostingsKnown { history: HISTORY, up_to: Seq(10), waiting: waiting.clone() };
        let mut asking = Asking::new(known, Moment(0));
        asking.posted(Seq(12), Moment(1));
        let news = PostingsAsked { first: Seq(11), last: Seq(12) };
        assert_eq!(asking.take_question(), Some(news));
        assert_eq!(asking.take_question(), None);
        assert!(asking.take_answer(postings(11, &[vouchers(2, 1, 7)]).sign(&key)));
        assert!(!asking.has_question(), "the answer is kept first");
        assert!(asking.take_arrived().is_some());
        asking.noted(asking.known.clone());
        assert_eq!(asking.take_question(), Some(waiting[0]));
        let still = Span { groups: 2, facts_each: 1, outcome: Outcome::Waits { why: "y".into() } };
        assert!(asking.take_answer(postings(3, &[still]).sign(&key)));
        asking.noted(asking.known.clone());
        for (moment, expected) in [(59_999, None), (60_000, Some(waiting[0]))] {
            asking.posted(Seq(12), Moment(moment));
            assert_eq!(asking.take_question(), expected, "at {moment}");
        }
    }

    #[test]
    fn what_is_known_follows_the_answers() {
        let waits = |groups, why: &str| Span {
            groups,
            facts_each: 1,
            outcome: Outcome::Waits { why: why.into() },
        };
        let known = |up_to, waiting: &[(u64, u64)]| PostingsKnown {
            history: HISTORY,
            up_to: Seq(up_to),
            waiting: waiting
                .iter()
                .map(|(first, last)| PostingsAsked { first: Seq(*first), last: Seq(*last) })
                .collect(),
        };
        let mut now = PostingsKnown::nothing(HISTORY);
        let first =
            postings(1, &[vouchers(3, 1, 7), waits(4, "x"), waits(2, "y"), vouchers(1, 1, 9)]);
        now.take(&first);
        assert_eq!(now, known(10, &[(4, 9)]));
        now.take(&postings(4, &[waits(1, "x"), vouchers(2, 1, 10)]));
        assert_eq!(now, known(10, &[(4, 4), (7, 9)]));
        let mut of_another_life = postings(1, &[vouchers(2, 1, 12)]);
        of_another_life.history = HistoryId([2; 32]);
        now.take(&of_another_life);
        let history = of_another_life.history;
        assert_eq!(now, PostingsKnown { history, ..known(2, &[]) });
    }

    #[test]
    fn answers_to_no_question_and_beyond_it_are_refused() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let answer = |first, groups| postings(first, &[vouchers(groups, 1, 7)]).sign(&key);
        for (first, groups) in [(2, 1), (1, 3)] {
            let mut asking = Asking::new(PostingsKnown::nothing(HISTORY), Moment(0));
            assert!(!asking.take_answer(answer(1, 1)), "nothing was asked");
            asking.posted(Seq(2), Moment(1));
            assert!(asking.take_question().is_some());
            assert!(!asking.take_answer(answer(first, groups)), "{first}, {groups} groups");
        }
    }

    #[test]
    fn what_the_store_lost_is_asked_again_a_few_times() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let mut asking = Asking::new(PostingsKnown::nothing(HISTORY), Moment(0));
        asking.posted(Seq(2), Moment(1));
        for _ in 0..LOSSES_MAX {
            assert!(asking.take_question().is_some());
            assert!(asking.take_answer(postings(1, &[vouchers(2, 1, 7)]).sign(&key)));
            asking.noted(PostingsKnown::nothing(HISTORY));
        }
        assert_eq!(asking.take_question(), None);
        let mut known = PostingsKnown::nothing(HISTORY);
        known.take(&postings(2, &[vouchers(1, 1, 8)]));
        assert_eq!(known, PostingsKnown::nothing(HISTORY), "it would leave a gap");
    }

    #[test]
    fn a_restored_hq_is_asked_everything_again() {
        let waiting = vec![PostingsAsked { first: Seq(8), last: Seq(8) }];
        let known = PostingsKnown { history: HISTORY, up_to: Seq(10), waiting };
        let mut asking = Asking::new(known, Moment(0));
        asking.opened(HistoryId([2; 32]));
        assert_eq!(asking.take_question(), None, "not even what waited");
        asking.posted(Seq(6), Moment(1));
        let all = PostingsAsked { first: Seq(1), last: Seq(6) };
        assert_eq!(asking.take_question(), Some(all));
    }
}
