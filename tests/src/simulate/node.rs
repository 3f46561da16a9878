//! An edge node in the simulation: the real journal and the real shared documents on disks that lose
//! their power together, a clock that can be wrong, a keeper. Knows no connection. Invariant: what the
//! journal once showed as recorded, and what people wrote into documents, is there whenever it opens
//! again.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use edge_node::bundle::{Bundles, ExportError, ImportError, Imported, Keys, Since};
use edge_node::documents::{Documents, Owner};
use edge_node::journal::{Journal, Options, RecordError, Recorded, StateError, StoreError, Turns};
use edge_node::link::Wall;
use edge_node::neighbour::{Depot, Post};
use edge_node::record::Arrivals;
use shared::fact::Fact;
use shared::ids::{DeviceNo, Head, ItemNo, Seq, SiteNo};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::sync::bundle::BundleHead;
use shared::sync::{
    Position, PostingsKnown, SignedAcknowledgement, SignedPostings, SignedStateBatch, StateCursor,
    StockLevel, Versions,
};
use tempfile::TempDir;

use super::Wrong;
use super::asked::Asked;
use super::clock::MachineClock;
use super::keeper::{Keeper, Sight};
use super::link::LinkNo;
use super::writing::Written;
use crate::power_cut::{Disk, Power, Sync};
use crate::random::Random;

/// What the journal is asked for.
#[derive(Debug)]
pub(super) enum Answer {
    /// Groups, by the keeper's numbers.
    Recorded(Vec<u64>, Vec<Result<Recorded, RecordError>>),
    Sealed(Result<(), StoreError>),
    Noted(LinkNo),
    PostingsNoted(LinkNo, PostingsKnown),
    Applied(LinkNo, Result<StateCursor, StateError>),
}

/// What stands outside a bundle, and all of it.
type Exported = Result<(BundleHead, Vec<u8>), ExportError>;

/// What a node keeps for neighbours at most.
const CARRIED_BYTES_MAX: u64 = 1 << 20;

/// What runs while there is power.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) journal: Journal,
    pub(super) documents: Documents,
    turns: Turns,
    asked: Asked<Answer>,
    pub(super) power: Power,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) site: SiteNo,
    pub(super) device: DeviceNo,
    pub(super) key: SigningKey,
    pub(super) genesis: Genesis,
    pub(super) clock: Arc<MachineClock>,
    pub(super) keeper: Keeper,
    /// What it says it speaks.
    pub(super) versions: Versions,
    disk: Disk,
    /// The file was made to the end once.
    is_made: bool,
    /// Of the shared documents, with the same power.
    documents: Disk,
    has_documents: bool,
    pub(super) written: Written,
    /// What the journal showed as recorded.
    pub(super) facts: Vec<Fact>,
    /// The head after each of them; the first is that of the genesis.
    heads: Vec<Head>,
    chain: Chain,
    sealed: Seq,
    /// Keyed state that was confirmed.
    state: StateCursor,
    /// What it began with on hand.
    levels: Option<Vec<StockLevel>>,
    /// What lies there for neighbours.
    carried: Option<TempDir>,
    pub(super) running: Option<Running>,
}

/// How an installation begins.
pub(super) struct Installation {
    pub(super) site: SiteNo,
    pub(super) device: DeviceNo,
    pub(super) key: SigningKey,
    pub(super) random: [u8; 32],
    /// What it begins with on hand, where it takes the place of a machine that is lost.
    pub(super) levels: Option<Vec<StockLevel>>,
}

impl Node {
    pub(super) fn new(
        new: Installation,
        clock: Arc<MachineClock>,
        keeper: Keeper,
        sync: Sync,
    ) -> Self {
        let Installation { site, device, key, random, levels } = new;
        let genesis = Genesis {
            format: FORMAT,
            site,
            device,
            random,
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        Self {
            site,
            device,
            chain: Chain::start(genesis.log_id()),
            heads: vec![Chain::start(genesis.log_id()).head()],
            key,
            genesis,
            clock,
            keeper,
            versions: shared::sync::VERSIONS,
            disk: Disk::new(&Power::steady(), sync),
            is_made: false,
            documents: Disk::new(&Power::steady(), sync),
            has_documents: false,
            written: Written::default(),
            facts: Vec::new(),
            sealed: Seq::ZERO,
            state: StateCursor::START,
            levels,
            carried: None,
            running: None,
        }
    }

    /// A copy of the node as it stands on its disk: also of what it was told is recorded.
    pub(super) fn image(&self) -> Image {
        Image {
            disk: self.disk.moved_to(&Power::steady()),
            is_made: self.is_made,
            documents: self.documents.moved_to(&Power::steady()),
            has_documents: self.has_documents,
            written: self.written.clone(),
            facts: self.facts.len(),
            state: self.state,
            sealed: self.sealed,
        }
    }

    /// Puts an image in the place of the disk. The node is not running.
    pub(super) fn put_back(&mut self, image: &Image) {
        assert!(self.running.is_none(), "a file is replaced while nobody has it open");
        self.disk = image.disk.moved_to(&Power::steady());
        self.is_made = image.is_made;
        self.documents = image.documents.moved_to(&Power::steady());
        self.has_documents = image.has_documents;
        self.written = image.written.clone();
        self.facts.truncate(image.facts);
        self.heads.truncate(image.facts + 1);
        self.chain = Chain::start(self.genesis.log_id());
        self.chain.extend(&self.facts);
        (self.state, self.sealed) = (image.state, image.sealed);
    }

    /// Another machine with a copy of this one's disk.
    pub(super) fn twin(&self, image: &Image, clock: Arc<MachineClock>, keeper: Keeper) -> Self {
        let mut twin = Self {
            site: self.site,
            device: self.device,
            key: self.key.clone(),
            genesis: self.genesis.clone(),
            clock,
            keeper,
            versions: self.versions,
            disk: image.disk.moved_to(&Power::steady()),
            is_made: image.is_made,
            documents: image.documents.moved_to(&Power::steady()),
            has_documents: image.has_documents,
            written: image.written.clone(),
            facts: self.facts.clone(),
            heads: self.heads.clone(),
            chain: self.chain.clone(),
            sealed: image.sealed,
            state: image.state,
            levels: self.levels.clone(),
            carried: None,
            running: None,
        };
        twin.put_back(image);
        twin
    }

    /// What the journal showed last.
    pub(super) fn position(&self) -> Position {
        Position { last: self.chain.seq(), head: self.chain.head() }
    }

    pub(super) fn disk_hash(&self) -> blake3::Hash {
        self.disk.hash()
    }

    /// The box is given to another installation, with what was written on it.
    pub(super) fn take_over(&mut self, old: &Self) {
        self.documents = old.documents.moved_to(&Power::steady());
        self.has_documents = old.has_documents;
        self.written = old.written.clone();
    }

    /// Opens both files; false where the power went while they were opening.
    pub(super) fn start(&mut self, power: &Power) -> Result<bool, Wrong> {
        self.disk = if self.is_made { self.disk.moved_to(power) } else { self.disk.emptied(power) };
        let mut options = Options::new(Some(self.key.clone()));
        options.clock = Arc::clone(&self.clock) as Arc<dyn edge_node::journal::Clock>;
        options.cache_bytes = 1 << 20;
        let opened =
            Journal::by_turns(self.disk.clone(), &self.genesis, self.levels.as_deref(), options);
        let (journal, turns) = match opened {
            Ok(opened) => opened,
            Err(_) if !power.is_on() => return Ok(false),
            Err(error) => return Err(self.wrong(&format!("its journal does not open: {error}"))),
        };
        self.is_made = true;
        // A file that was never whole is set aside, and made anew.
        let documents = &self.documents;
        self.documents =
            if self.has_documents { documents.moved_to(power) } else { documents.emptied(power) };
        let owner = Owner { site: self.site, device: self.device, log: self.genesis.log_id() };
        let documents = match Documents::with_backend(self.documents.clone(), owner) {
            Ok(documents) => documents,
            Err(_) if !power.is_on() => return Ok(false),
            Err(error) => return Err(self.wrong(&format!("its documents do not open: {error}"))),
        };
        self.has_documents = true;
        let asked = Asked::default();
        let power = power.clone();
        self.running = Some(Running { journal, documents, turns, asked, power });
        self.prove()?;
        self.look_at_documents()?;
        Ok(true)
    }

    pub(super) fn wrong(&self, why: &str) -> Wrong {
        Wrong(format!("the node of site {}, device {}: {why}", self.site, self.device))
    }

    /// What was recorded is there as it was.
    fn prove(&mut self) -> Result<(), Wrong> {
        let running = self.running.as_ref().expect("just opened");
        let journal = &running.journal;
        let (told, found) = (self.position(), journal.position());
        if found.last < told.last {
            let why = format!("{} was recorded, the log ends at {}", told.last, found.last);
            return Err(self.wrong(&why));
        }
        if journal.sealed() < self.sealed {
            let why = format!("{} was sealed, now {} is", self.sealed, journal.sealed());
            return Err(self.wrong(&why));
        }
        let mut facts = Vec::new();
        let read = journal.for_each_fact(Seq(1), |_, fact| {
            facts.push(fact.clone());
            std::ops::ControlFlow::Continue(())
        });
        read.map_err(|error| self.wrong(&format!("its log does not read: {error}")))?;
        if facts.len() as u64 != found.last.0 || facts[..self.facts.len()] != self.facts {
            return Err(self.wrong("other facts than were recorded"));
        }
        let state = journal.state_cursor();
        if state.handle == self.state.handle && state.at < self.state.at {
            let why = format!("keyed state was taken up to {:?}, now it is {state:?}", self.state);
            return Err(self.wrong(&why));
        }
        let new = facts.split_off(self.facts.len());
        self.take(new);
        self.state = state;
        if self.chain.head() != found.head {
            return Err(self.wrong("its chain has another head than its facts"));
        }
        Ok(())
    }

    fn take(&mut self, new: Vec<Fact>) {
        for fact in new {
            self.chain.extend(std::slice::from_ref(&fact));
            self.heads.push(self.chain.head());
            self.facts.push(fact);
        }
    }

    /// Whether a place is on this node's log.
    pub(super) fn has(&self, place: Position) -> bool {
        let at = usize::try_from(place.last.0).unwrap_or(usize::MAX);
        self.heads.get(at) == Some(&place.head)
    }

    /// The power stays from here on.
    pub(super) fn steady(&self) {
        if let Some(running) = &self.running {
            running.power.stay();
        }
    }

    pub(super) fn has_power(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.power.is_on())
    }

    /// Its program is killed: what was asked is never answered, and nothing more is written.
    pub(super) fn stop(&mut self) {
        let steady = Power::steady();
        let left = (self.disk.moved_to(&steady), self.documents.moved_to(&steady));
        if let Some(running) = self.running.take() {
            running.power.cut();
        }
        (self.disk, self.documents) = left;
    }

    /// The power is gone: the disk holds what it holds.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        if let Some(running) = &self.running {
            running.power.cut();
        }
        self.running = None;
        self.cut_disks(random);
    }

    /// Both hold what a cut left.
    fn cut_disks(&mut self, random: &mut Random) {
        self.disk = self.disk.after_cut(&Power::steady(), random);
        self.documents = self.documents.after_cut(&Power::steady(), random);
    }

    /// Stops in good order, unless its power goes meanwhile.
    pub(super) fn leave(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let power = running.power.clone();
        let followed = running.documents.follow(&running.journal);
        let closed = super::asked::answered(running.journal.close(), || running.turns.take());
        if power.is_on() {
            self.look_at_documents()?;
        }
        self.running = None;
        if !power.is_on() {
            self.cut_disks(random);
            return Ok(());
        }
        let closed = followed.is_ok() && closed.is_some_and(|closed| closed.is_ok());
        if closed { Ok(()) } else { Err(self.wrong("it does not stop in good order")) }
    }

    /// The keeper records some groups, what is unanswered first.
    pub(super) fn record(&mut self, groups: usize, sites: u32, random: &mut Random) {
        let Some(running) = &mut self.running else { return };
        if self.keeper.open.is_empty() {
            let catalogue = running.journal.catalogue();
            let sight = Sight {
                catalogue: &catalogue,
                site: self.site,
                sites,
                device: self.device,
                facts: &self.facts,
                now: self.clock.wall(),
            };
            self.keeper.think(groups, &sight, random);
        }
        // A node that heard nothing yet knows no item, and takes no movement of one.
        let knows_items = running.journal.catalogue().items().next().is_some();
        if self.keeper.open.is_empty() || !knows_items {
            return;
        }
        let (numbers, submissions): (Vec<u64>, Vec<_>) = self.keeper.open.iter().cloned().unzip();
        let journal = running.journal.clone();
        running.asked.ask(async move {
            let answers = journal.record_many(submissions).await;
            Answer::Recorded(numbers, answers)
        });
    }

    /// Whether something waits for the journal, or for its answer.
    pub(super) fn is_asked(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.asked.is_open())
    }

    /// How far it has recorded and sealed; `None` while it does not run.
    pub(super) fn reached(&self) -> Option<(Position, Seq)> {
        let journal = &self.running.as_ref()?.journal;
        Some((journal.position(), journal.sealed()))
    }

    /// A bundle of its log for HQ. Nothing may wait for the journal before.
    pub(super) fn export(&mut self, keys: Keys, since: Since) -> Result<Exported, Wrong> {
        self.with_bundles(keys, move |bundles| {
            let export = bundles.export(since)?;
            let (head, mut bytes) = (*export.head(), Vec::new());
            export.write(&mut bytes)?;
            Ok((head, bytes))
        })
    }

    /// Takes HQ's answer out of a bundle. Nothing may wait for the journal before.
    pub(super) fn import(
        &mut self,
        keys: Keys,
        bytes: &[u8],
    ) -> Result<Result<Imported, ImportError>, Wrong> {
        self.with_bundles(keys, |bundles| bundles.import(&mut Cursor::new(bytes)))
    }

    /// Does something with this node's bundles.
    fn with_bundles<T: Send>(
        &mut self,
        keys: Keys,
        work: impl FnOnce(Bundles) -> T + Send,
    ) -> Result<T, Wrong> {
        let bundles = self.bundles(keys);
        self.while_served(move || work(bundles))
    }

    fn bundles(&self, keys: Keys) -> Bundles {
        let running = self.running.as_ref().expect("bundles are made while it runs");
        let bundles = Bundles::new(running.journal.clone(), keys, self.wall());
        bundles.with_documents(running.documents.clone())
    }

    fn wall(&self) -> Wall {
        let clock = Arc::clone(&self.clock);
        Wall::from_fn(move || clock.wall())
    }

    /// Does what waits for the journal, as it does in a node, in a thread of its own; only one of the
    /// two threads ever has anything to do.
    pub(super) fn while_served<T: Send>(
        &mut self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Wrong> {
        let running = self.running.as_mut().expect("it is asked while it runs");
        let turns = &mut running.turns;
        let done = std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                if !turns.take() {
                    std::thread::yield_now();
                }
            }
            working.join()
        });
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.turn()?;
        self.look_at_documents()?;
        Ok(done)
    }

    /// What a neighbour meets; `None` while the node does not run. What lies there for others is in a
    /// folder of the machine's, and no power is cut while it is written.
    pub(super) fn post(&mut self, keys: Keys) -> Result<Option<Post>, Wrong> {
        let Some(running) = &self.running else { return Ok(None) };
        let journal = running.journal.clone();
        let folder = self.carried.get_or_insert_with(|| tempfile::tempdir().expect("a folder"));
        let folder = folder.path().join("carried");
        let depot = Depot::open(folder, CARRIED_BYTES_MAX, self.clock.wall());
        let depot = depot.map_err(|error| Wrong(format!("what is carried: {error}")))?;
        let (bundles, wall) = (self.bundles(keys.clone()), self.wall());
        Ok(Some(Post::new(depot, journal, bundles, keys, wall, Arrivals::default())))
    }

    /// Seals what is due, or all of it.
    pub(super) fn seal(&mut self, all: bool) {
        let Some(running) = &mut self.running else { return };
        let journal = running.journal.clone();
        running.asked.ask(async move {
            let sealed = if all { journal.seal_now().await } else { journal.seal_due().await };
            Answer::Sealed(sealed)
        });
    }

    pub(super) fn note(&mut self, link: LinkNo, signed: SignedAcknowledgement) {
        let Some(running) = &mut self.running else { return };
        let journal = running.journal.clone();
        running.asked.ask(async move {
            // As in the link: it need not be kept.
            drop(journal.note_acknowledgement(signed).await);
            Answer::Noted(link)
        });
    }

    pub(super) fn apply(&mut self, link: LinkNo, batch: SignedStateBatch) {
        let Some(running) = &mut self.running else { return };
        let journal = running.journal.clone();
        running.asked.ask(async move { Answer::Applied(link, journal.apply_state(batch).await) });
    }

    pub(super) fn note_postings(&mut self, link: LinkNo, signed: SignedPostings) {
        let Some(running) = &mut self.running else { return };
        let journal = running.journal.clone();
        running.asked.ask(async move {
            // As with acknowledgements: HQ can be asked again.
            drop(journal.note_postings(signed).await);
            Answer::PostingsNoted(link, journal.postings_known())
        });
    }

    /// The journal has its turn: one commit of whatever is queued.
    pub(super) fn turn(&mut self) -> Result<Vec<Answer>, Wrong> {
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        running.turns.take();
        let answers = running.asked.answers();
        if !running.power.is_on() {
            // Nobody hears them any more.
            return Ok(Vec::new());
        }
        let (last, sealed) = (running.journal.position().last, running.journal.sealed());
        let state = running.journal.state_cursor();
        let (mut next, mut new) = (self.chain.seq().next(), Vec::new());
        while next <= last {
            let run = running.journal.run_from(next, 4_096);
            let run =
                run.map_err(|error| Wrong(format!("what was recorded reads not: {error}")))?;
            let run = run.ok_or_else(|| Wrong(format!("fact {next} is recorded and not there")))?;
            next = run.last.next();
            new.extend(run.facts);
        }
        let head = running.journal.position().head;
        self.take(new);
        (self.sealed, self.state) = (sealed, state);
        if self.chain.head() != head {
            return Err(self.wrong("its chain has another head than its facts"));
        }
        Ok(answers)
    }

    /// Groups that were answered, for good or bad, are not asked for again.
    pub(super) fn settle(
        &mut self,
        numbers: &[u64],
        answers: &[Result<Recorded, RecordError>],
    ) -> Result<(), Wrong> {
        for (number, answer) in numbers.iter().zip(answers) {
            match answer {
                Err(RecordError::Store(_)) => {}
                Ok(recorded) if recorded.last > self.chain.seq() => {
                    return Err(self.wrong(&format!("{recorded:?} was answered and is not there")));
                }
                Ok(_) => self.keeper.open.retain(|(open, _)| open != number),
                Err(
                    RecordError::NegativeStock(_)
                    | RecordError::AlreadyReversed { .. }
                    | RecordError::ReversalOfNothing { .. }
                    | RecordError::Unit { .. },
                ) => self.keeper.open.retain(|(open, _)| open != number),
                Err(other) => {
                    return Err(self.wrong(&format!("group {number} is refused: {other}")));
                }
            }
        }
        Ok(())
    }

    /// What is on hand by its own log, lots together.
    pub(super) fn stock(&mut self) -> BTreeMap<ItemNo, i64> {
        let mut stock = BTreeMap::new();
        let Some(running) = &mut self.running else { return stock };
        let lines = super::asked::answered(running.journal.stock(), || running.turns.take());
        for line in lines.and_then(Result::ok).unwrap_or_default() {
            *stock.entry(line.bucket.item).or_default() += line.quantity.0;
        }
        stock
    }

    /// HQ's time, as its welcome said it.
    pub(super) fn hear_time(&self, at: shared::time::Timestamp) {
        if let Some(running) = &self.running {
            running.journal.note_hq_time(at);
        }
    }
}

/// A node's disks at some time, and what its keeper had been told by then.
#[derive(Clone, Debug)]
pub(super) struct Image {
    disk: Disk,
    is_made: bool,
    documents: Disk,
    has_documents: bool,
    written: Written,
    facts: usize,
    state: StateCursor,
    sealed: Seq,
}

impl Image {
    /// How many facts it has.
    pub(super) const fn facts(&self) -> usize {
        self.facts
    }
}
