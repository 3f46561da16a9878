//! What readers of the journal share with its writer: the newest facts, the catalogue, what is on
//! hand. Writes nothing. Invariant: a fact is seen here only once it is durable.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, ReadTransaction, ReadableDatabase};
use shared::catalogue::Catalogue;
use shared::fact::Fact;
use shared::ids::{Head, LogId, Seq};
use shared::planted::{self, Fault};
use shared::segment::chain::{Chain, Genesis};
use shared::sync::{Position, Postings, PostingsKnown, Run, SignedAcknowledgement, StateCursor};
use tokio::sync::watch;

use super::on_hand::{OnHand, group_left};
use super::store::{self, Loaded, SharedDatabase, StoreError};

/// How many facts stay in memory for the link, beside those that are not sealed yet.
const RECENT_FACTS_MAX: usize = 8_192;

/// Facts that were committed together.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: Seq,
    pub(super) facts: Vec<Fact>,
    /// The head after the last; `None` only until the commit.
    pub(super) head: Option<Head>,
}

impl Block {
    fn last(&self) -> Seq {
        Seq(self.first.0 + self.facts.len() as u64 - 1)
    }
}

#[derive(Debug, Default)]
struct Recent {
    blocks: VecDeque<Block>,
    facts: usize,
}

impl Recent {
    fn add(&mut self, block: Block, sealed: Seq) {
        self.facts += block.facts.len();
        self.blocks.push_back(block);
        while let Some(oldest) = self.blocks.front()
            && oldest.last() <= sealed
            && self.facts - oldest.facts.len() > RECENT_FACTS_MAX
        {
            self.facts -= oldest.facts.len();
            self.blocks.pop_front();
        }
    }
}

/// See the module.
pub(super) struct View {
    pub(super) genesis: Genesis,
    pub(super) log: LogId,
    pub(super) restored: bool,
    /// The store, or why it is not open.
    database: RwLock<Result<SharedDatabase, StoreError>>,
    catalogue: RwLock<Arc<Catalogue>>,
    on_hand: RwLock<OnHand>,
    recent: RwLock<Recent>,
    position: watch::Sender<Position>,
    sealed: watch::Sender<Seq>,
    acknowledgement: watch::Sender<Option<SignedAcknowledgement>>,
    state_cursor: Mutex<StateCursor>,
    postings: Mutex<PostingsKnown>,
    writer_ended: watch::Sender<bool>,
}

const NO_PANIC: &str = "no holder of this lock panics";

/// Begins to read; commits that follow are not seen.
pub(super) fn read(database: &Database) -> Result<ReadTransaction, StoreError> {
    Ok(database.begin_read()?)
}

impl View {
    pub(super) fn new(database: &SharedDatabase, loaded: &Loaded) -> Self {
        let position = Position { last: loaded.chain.seq(), head: loaded.chain.head() };
        let view = Self {
            genesis: loaded.genesis.clone(),
            log: loaded.log,
            restored: loaded.restored,
            database: RwLock::new(Err(StoreError::Closed)),
            catalogue: RwLock::default(),
            on_hand: RwLock::default(),
            recent: RwLock::default(),
            position: watch::Sender::new(position),
            sealed: watch::Sender::new(loaded.sealed_chain.seq()),
            acknowledgement: watch::Sender::new(loaded.acknowledgement),
            state_cursor: Mutex::new(loaded.state.stored),
            postings: Mutex::new(loaded.postings.clone()),
            writer_ended: watch::Sender::new(false),
        };
        view.reopen(database, loaded);
        view
    }

    /// Takes everything from a store that was opened again.
    pub(super) fn reopen(&self, database: &SharedDatabase, loaded: &Loaded) {
        let mut chain = loaded.sealed_chain.clone();
        let mut recent = Recent::default();
        for (first, row) in &loaded.tail {
            chain.extend(&row.facts);
            let block = Block { first: *first, facts: row.facts.clone(), head: Some(chain.head()) };
            recent.add(block, loaded.sealed_chain.seq());
        }
        *self.recent.write().expect(NO_PANIC) = recent;
        *self.catalogue.write().expect(NO_PANIC) = Arc::new(loaded.catalogue.clone());
        *self.on_hand.write().expect(NO_PANIC) = loaded.on_hand.clone();
        *self.database.write().expect(NO_PANIC) = Ok(Arc::clone(database));
        *self.state_cursor.lock().expect(NO_PANIC) = loaded.state.stored;
        *self.postings.lock().expect(NO_PANIC) = loaded.postings.clone();
        self.acknowledgement.send_replace(loaded.acknowledgement);
        self.sealed.send_replace(loaded.sealed_chain.seq());
        self.position.send_replace(Position { last: chain.seq(), head: chain.head() });
    }

    /// Lets go of the store; whoever asks for it is told why.
    pub(super) fn close_database(&self, why: StoreError) {
        *self.database.write().expect(NO_PANIC) = Err(why);
    }

    pub(super) fn publish(
        &self,
        blocks: Vec<Block>,
        position: Position,
        sealed: Seq,
        state_cursor: StateCursor,
    ) {
        let count = blocks.len();
        let mut recent = self.recent.write().expect(NO_PANIC);
        for (index, mut block) in blocks.into_iter().enumerate() {
            if index + 1 == count {
                block.head.get_or_insert(position.head);
            }
            assert!(block.head.is_some(), "only the newest block is open");
            recent.add(block, sealed);
        }
        drop(recent);
        *self.state_cursor.lock().expect(NO_PANIC) = state_cursor;
        let changed = |known: &mut Seq| std::mem::replace(known, sealed) != sealed;
        self.sealed.send_if_modified(changed);
        self.position.send_if_modified(|known| std::mem::replace(known, position) != position);
    }

    pub(super) fn transaction(&self) -> Result<ReadTransaction, StoreError> {
        let database = self.database.read().expect(NO_PANIC).clone();
        read(&*database?)
    }

    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().expect(NO_PANIC))
    }

    pub(super) fn set_catalogue(&self, catalogue: Catalogue) {
        *self.catalogue.write().expect(NO_PANIC) = Arc::new(catalogue);
    }

    pub(super) fn on_hand(&self) -> RwLockReadGuard<'_, OnHand> {
        self.on_hand.read().expect(NO_PANIC)
    }

    pub(super) fn on_hand_mut(&self) -> RwLockWriteGuard<'_, OnHand> {
        self.on_hand.write().expect(NO_PANIC)
    }

    pub(super) fn position(&self) -> Position {
        *self.position.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    pub(super) fn sealed(&self) -> Seq {
        *self.sealed.borrow()
    }

    pub(super) fn watch_sealed(&self) -> watch::Receiver<Seq> {
        self.sealed.subscribe()
    }

    pub(super) fn acknowledgement(&self) -> Option<SignedAcknowledgement> {
        *self.acknowledgement.borrow()
    }

    pub(super) fn watch_acknowledgement(&self) -> watch::Receiver<Option<SignedAcknowledgement>> {
        self.acknowledgement.subscribe()
    }

    /// Nothing is written any more.
    pub(super) fn note_writer_ended(&self) {
        self.writer_ended.send_replace(true);
    }

    pub(super) fn watch_writer_ended(&self) -> watch::Receiver<bool> {
        self.writer_ended.subscribe()
    }

    pub(super) fn set_acknowledgement(&self, acknowledgement: SignedAcknowledgement) {
        self.acknowledgement.send_replace(Some(acknowledgement));
    }

    pub(super) fn state_cursor(&self) -> StateCursor {
        *self.state_cursor.lock().expect(NO_PANIC)
    }

    pub(super) fn postings_known(&self) -> PostingsKnown {
        self.postings.lock().expect(NO_PANIC).clone()
    }

    pub(super) fn take_postings(&self, told: &Postings) {
        self.postings.lock().expect(NO_PANIC).take(told);
    }

    /// Facts from `first` on, at most about `facts_max`, ending where a group ends.
    pub(super) fn run_from(&self, first: Seq, facts_max: usize) -> Result<Option<Run>, StoreError> {
        if first == Seq::ZERO || first > self.position().last {
            return Ok(None);
        }
        let mut gathered = Gathered { first, facts: Vec::new(), ends: Vec::new() };
        if !self.gather_recent(&mut gathered, facts_max) {
            self.gather_stored(&mut gathered, facts_max)?;
        }
        let (mut count, mut head) = gathered.end(facts_max);
        if planted::is(Fault::HalfGroup) && count > 1 {
            (count, head) = (count - 1, None);
        }
        let last = Seq(first.0 + count as u64 - 1);
        let head = head.map_or_else(|| self.head_at(last), Ok)?;
        gathered.facts.truncate(count);
        Ok(Some(Run { first, facts: gathered.facts, last, head }))
    }

    /// False where older facts are needed than are in memory.
    fn gather_recent(&self, gathered: &mut Gathered, facts_max: usize) -> bool {
        let recent = self.recent.read().expect(NO_PANIC);
        if recent.blocks.front().is_none_or(|oldest| gathered.next() < oldest.first) {
            return false;
        }
        let from = recent.blocks.partition_point(|block| block.last() < gathered.next());
        for block in recent.blocks.range(from..) {
            let skip = usize::try_from(gathered.next().0 - block.first.0).expect("in memory");
            gathered.add(&block.facts[skip..], block.head);
            if gathered.is_enough(facts_max) {
                break;
            }
        }
        true
    }

    fn gather_stored(&self, gathered: &mut Gathered, facts_max: usize) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        store::for_each_range(&transaction, self.log, gathered.next(), |range| {
            let next = gathered.next();
            if range.first > next {
                return Err(StoreError::Damaged(format!("fact {next} is missing")));
            }
            let head = range.seal.as_ref().map(|row| row.seal.seal.head);
            gathered.add(range.since(next), head);
            Ok(if gathered.is_enough(facts_max) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        if gathered.facts.is_empty() {
            return Err(StoreError::Damaged(format!("fact {} is missing", gathered.first)));
        }
        Ok(())
    }

    /// The head after any fact, from the nearest window that is stored before it.
    pub(super) fn head_at(&self, seq: Seq) -> Result<Head, StoreError> {
        let transaction = self.transaction()?;
        let before = store::segment_ending_before(&transaction, self.log, seq)?;
        let mut chain = before.map_or_else(
            || Chain::start(self.log),
            |row| Chain::resume(self.log, row.window_start(), row.window_head),
        );
        let start = chain.seq().next();
        store::for_each_range(&transaction, self.log, start, |range| {
            let next = chain.seq().next();
            let facts = range.since(next);
            let wanted = usize::try_from(seq.0 - chain.seq().0).unwrap_or(usize::MAX);
            chain.extend(&facts[..wanted.min(facts.len())]);
            Ok(if chain.seq() < seq { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if chain.seq() == seq {
            Ok(chain.head())
        } else {
            Err(StoreError::Damaged(format!("fact {} is missing", chain.seq().next())))
        }
    }
}

/// Consecutive facts, and the places among them where the head is known.
struct Gathered {
    first: Seq,
    facts: Vec<Fact>,
    /// (how many facts, head after them), where a group ends.
    ends: Vec<(usize, Head)>,
}

impl Gathered {
    fn next(&self) -> Seq {
        Seq(self.first.0 + self.facts.len() as u64)
    }

    fn add(&mut self, facts: &[Fact], head: Option<Head>) {
        self.facts.extend_from_slice(facts);
        if let Some(head) = head
            && self.facts.last().is_some_and(|fact| group_left(fact) == 0)
        {
            self.ends.push((self.facts.len(), head));
        }
    }

    /// Enough once as many are there, and the first group among them is whole.
    fn is_enough(&self, facts_max: usize) -> bool {
        self.facts.len() >= facts_max && self.facts.iter().any(|fact| group_left(fact) == 0)
    }

    /// How many facts to give, and the head after them if it is known.
    fn end(&self, facts_max: usize) -> (usize, Option<Head>) {
        let known = self.ends.iter().rev().find(|(count, _)| *count <= facts_max);
        if let Some((count, head)) = known {
            return (*count, Some(*head));
        }
        let ends = |(index, fact)| (group_left(fact) == 0).then_some(index + 1);
        let mut groups = self.facts.iter().enumerate().filter_map(ends);
        let first = groups.next().expect("stored groups are whole");
        let count = groups.take_while(|count| *count <= facts_max).last().unwrap_or(first);
        let head = self.ends.iter().find(|(known, _)| *known == count).map(|(_, head)| *head);
        (count, head)
    }
}
