//! HQ in the simulation: the real intake, sequencer, books, own log and shared documents on disks that
//! lose power together. Knows no connection. Invariant: what HQ acknowledged is there whenever it opens again,
//! unless it was put back to a backup on purpose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ed25519_dalek::SigningKey;
use edge_node::bundle::Keys;
use hq_server::books::{Books, Effects, Entry};
use hq_server::chart::GENERIC;
use hq_server::clock::Clock;
use hq_server::gateway::answers::{refusal, storage};
use hq_server::gateway::branches::{BranchError, Branches, Place};
use hq_server::gateway::bundle::{BundleRefused, Known, Taken};
use hq_server::gateway::documents::{Documents, Sender};
use hq_server::gateway::intake::{self, Intake, IntakeError, IntakeOptions, LogNo};
use hq_server::headquarters::losses::Recovery;
use hq_server::headquarters::postings;
use hq_server::own_log::{self, Draft, DraftError, HQ_DEVICE, ItemDraft, OwnLog, PartnerDraft};
use hq_server::sequencer::{self, Published, Sequencer};
use hq_server::store::{FileError, RedbStore};
use shared::fact::statement::{CostScope, PolicyKind};
use shared::ids::{ChangeHash, DeviceNo, HistoryId, ItemNo, LogId, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::bundle::Seed;
use shared::sync::hq::{HqEvent, OpenedLog};
use shared::sync::{Acknowledgement, Code, Position, PostingsAsked, Refusal, Run, StateCursor};
use shared::time::OffsetMinutes;

use super::Wrong;
use super::asked::{Asked, answered};
use super::clock::MachineClock;
use super::gate::Gate;
use super::keeper::is_unbearable;
use super::link::LinkNo;
use super::node::Node;
use super::world::NodeNo;
use crate::power_cut::{Disk, Power, Sync};
use crate::random::Random;

/// What the intake is asked for by a session.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) link: LinkNo,
    pub(super) event: HqEvent,
    /// Where facts of a log that differs went.
    pub(super) place: Option<Place>,
}

/// Why HQ's people do not state something.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unstated(String);

/// A site takes up items, over a connection.
#[derive(Debug)]
struct Errand {
    link: LinkNo,
    site: SiteNo,
    items: Vec<ItemNo>,
}

/// How many numbers a restored HQ leaves out: more than it ever gives here.
const SKIPPED: u32 = 1_000;

/// What HQ's people are about to state.
type Statement = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// What runs while there is power.
pub(super) struct Running {
    pub(super) intake: Intake,
    intake_turns: intake::Turns,
    pub(super) sequencer: Sequencer,
    sequencer_turns: sequencer::Turns,
    pub(super) own_log: OwnLog,
    pub(super) documents: Documents,
    branches: Arc<Branches>,
    pub(super) asked: Asked<Answer>,
    desk: Option<Statement>,
    /// Whom the desk's statement is for, if it is for somebody.
    desk_for: Option<LinkNo>,
    pub(super) power: Power,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// How far HQ said to have a log, in this history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) received: Seq,
    pub(super) safe: Seq,
    pub(super) posted: Seq,
}

/// Everything that HQ promised.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    received: BTreeMap<LogId, Position>,
    levels: BTreeMap<NodeNo, Levels>,
    /// Entries of the sequence.
    entries: u64,
    /// Decisions on changes of documents.
    decisions: u64,
    /// Changes of documents that are in.
    pub(super) taken: BTreeSet<ChangeHash>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hq {
    pub(super) key: SigningKey,
    pub(super) history: HistoryId,
    clock: Arc<MachineClock>,
    intake: Disk,
    books: Disk,
    documents: Disk,
    pub(super) promises: Promises,
    /// Tells what this history says of documents from what others did; `None` before the first start.
    pub(super) documents_handle: Option<u64>,
    /// How many orders its people opened documents of.
    pub(super) orders: u64,
    /// Sites that are told only what they handle, or were once.
    pub(super) handled_only: BTreeSet<SiteNo>,
    /// What sites take up, in the order in which they asked.
    errands: VecDeque<Errand>,
    /// How many items its people want to have stated.
    items: u32,
    /// Which of them were, in any life.
    stated_items: BTreeSet<u32>,
    /// Logs that were stated, in any life.
    stated_logs: BTreeSet<LogId>,
    /// How many numbers are left out after a restore.
    skipped: u32,
    /// The last installation number that was given.
    devices: Arc<AtomicU32>,
    scope: CostScope,
    /// Up to where HQ called logs safe, in any life.
    safe: BTreeMap<LogId, Seq>,
    /// Logs of sites, which HQ states for whoever carries for them.
    logs: Vec<Genesis>,
    pub(super) running: Option<Running>,
}

/// A copy of HQ's files.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    intake: Disk,
    books: Disk,
    documents: Disk,
    promises: Promises,
    /// How far it has logs.
    received: BTreeMap<LogId, (LogNo, Seq)>,
}

impl Backup {
    /// How far it has a log.
    pub(super) fn received(&self, log: &LogId) -> Seq {
        self.received.get(log).map_or(Seq::ZERO, |(_, last)| *last)
    }
}

impl Hq {
    pub(super) fn new(random: &mut Random, clock: Arc<MachineClock>, sync: Sync) -> Self {
        let steady = Power::steady();
        Self {
            key: SigningKey::from_bytes(&bytes(random)),
            history: HistoryId(bytes(random)),
            clock,
            intake: Disk::new(&steady, sync),
            books: Disk::new(&steady, sync),
            documents: Disk::new(&steady, sync),
            promises: Promises::default(),
            documents_handle: None,
            orders: 0,
            handled_only: BTreeSet::new(),
            errands: VecDeque::new(),
            items: 3,
            stated_items: BTreeSet::new(),
            stated_logs: BTreeSet::new(),
            skipped: 0,
            devices: Arc::new(AtomicU32::new(HQ_DEVICE.0)),
            safe: BTreeMap::new(),
            logs: Vec::new(),
            scope: if random.chance(1, 3) { CostScope::Company } else { CostScope::Site },
            running: None,
        }
    }

    /// The first start: company, chart, sites, some items. Some sites are told only what they handle.
    pub(super) fn found(&mut self, sites: u32, only: BTreeSet<SiteNo>) -> Result<(), Wrong> {
        self.handled_only.clone_from(&only);
        let opened = self.open_files(&Power::steady()).map_err(Wrong)?;
        let (intake, mut turns) = opened;
        let made = answered(OwnLog::create(&intake, &self.key), || turns.take());
        made.ok_or_else(|| Wrong("HQ's log was not made".to_owned()))?
            .map_err(|error| Wrong(format!("HQ's log: {error}")))?;
        drop((intake, turns));
        if !self.start(&Power::steady())? {
            return Err(Wrong("HQ does not start".to_owned()));
        }
        let scope = self.scope;
        self.state(move |draft| {
            draft.rules(hq_server::books::RULES);
            let currency = "CNY".parse().expect("a currency");
            draft.company("C", "Company", currency, OffsetMinutes(480), scope)?;
            draft.chart(&GENERIC)?;
            for site in 1..=sites {
                draft.site(SiteNo(site), &format!("S{site}"), &format!("Site {site}"))?;
            }
            for site in only {
                draft.policy(PolicyKind::HandledOnly, "1", Some(&format!("S{site}")))?;
            }
            for site in 2..=sites {
                let neighbours = [format!("S{site}"), format!("S{}", site - 1)];
                draft.carrier(&neighbours[0], &neighbours[1], true)?;
                draft.carrier(&neighbours[1], &neighbours[0], true)?;
            }
            for code in ["P1", "P2"] {
                draft.partner(&PartnerDraft {
                    code: code.to_owned(),
                    name: code.to_owned(),
                    customer: true,
                    supplier: true,
                })?;
            }
            Ok(())
        });
        self.work_off()?;
        self.restate(false);
        self.work_off()
    }

    /// Lets the desk's statement be recorded and posted now.
    fn work_off(&mut self) -> Result<(), Wrong> {
        while self.running.as_ref().is_some_and(|running| running.desk.is_some()) {
            self.intake_turn();
            self.sequencer_turn();
            self.desk_turn()?;
        }
        Ok(())
    }

    fn open_files(&mut self, power: &Power) -> Result<(Intake, intake::Turns), String> {
        self.intake = self.intake.moved_to(power);
        self.books = self.books.moved_to(power);
        self.documents = self.documents.moved_to(power);
        let clock = Arc::clone(&self.clock);
        let options = IntakeOptions {
            key: self.key.clone(),
            history: self.history,
            clock: Clock::from_fn(move || clock.wall()),
            cache_bytes: 1 << 20,
        };
        Intake::open_by_turns(self.intake.clone(), options)
            .map_err(|error| format!("HQ's intake does not open: {error}"))
    }

    fn try_start(&mut self, power: &Power) -> Result<Running, String> {
        let (intake, mut intake_turns) = self.open_files(power)?;
        let clock = Arc::clone(&self.clock);
        let clock = Clock::from_fn(move || clock.wall());
        let key = self.key.clone();
        let device = || Ok::<_, own_log::OpenError>(self.give_device());
        let going_on = OwnLog::go_on(&intake, &key, &clock, self.skipped, device);
        let gone_on = answered(going_on, || intake_turns.take());
        gone_on.ok_or("HQ's log does not go on")?.map_err(|error| error.to_string())?;
        let store = RedbStore::open_backend(self.books.clone(), self.history)
            .map_err(|error| format!("HQ's books do not open: {error}"))?;
        if hq_server::store::Store::history(&store) != self.history {
            return Err("HQ's books are of another history".to_owned());
        }
        let (sequencer, mut sequencer_turns) =
            Sequencer::start_by_turns(Arc::new(store), intake.clone(), with_a_fault)
                .map_err(|error| format!("HQ's sequence does not replay: {error}"))?;
        let own_log = OwnLog::open(&intake, sequencer.published(), self.key.clone(), clock)
            .map_err(|error| format!("HQ's own log: {error}"))?;
        // As the program does before it lets anybody in: that it was restored is known by then.
        let posting = own_log.record(|_, _| Ok::<_, DraftError>((Vec::new(), ())));
        answered(posting, || intake_turns.take() || sequencer_turns.take())
            .ok_or("HQ's own log is not posted")?
            .map_err(|error| error.to_string())?;
        let branches = Arc::new(Branches::new(&intake));
        let documents =
            Documents::with_backend(self.documents.clone(), &self.history, self.key.clone())
                .map_err(|error| format!("HQ's documents do not open: {error}"))?;
        // Whoever knows another history hears at once which one this is.
        let other = StateCursor { handle: u64::MAX, at: 1 };
        let told = documents.since(SiteNo::HQ, &LogId([0; 32]), other, &[]);
        let told = told.map_err(|error| error.to_string())?;
        self.documents_handle = told.map(|signed| signed.batch.to.handle);
        Ok(Running {
            intake,
            intake_turns,
            sequencer,
            sequencer_turns,
            own_log,
            documents,
            branches,
            asked: Asked::default(),
            desk: None,
            desk_for: None,
            power: power.clone(),
        })
    }

    /// Opens everything; false where the power went meanwhile.
    pub(super) fn start(&mut self, power: &Power) -> Result<bool, Wrong> {
        // Whoever asked for something asked over a connection that is gone.
        self.errands.clear();
        match self.try_start(power) {
            Ok(running) => self.running = Some(running),
            Err(_) if !power.is_on() => return Ok(false),
            Err(why) => return Err(Wrong(why)),
        }
        self.prove()?;
        Ok(true)
    }

    /// What was acknowledged is there.
    fn prove(&self) -> Result<(), Wrong> {
        let running = self.running.as_ref().expect("just opened");
        let entries = running.sequencer.published().last().borrow().0;
        if entries < self.promises.entries {
            let promised = self.promises.entries;
            return Err(Wrong(format!("HQ had {promised} entries in its sequence, now {entries}")));
        }
        let decisions = *running.documents.watch().borrow();
        if decisions < self.promises.decisions {
            let promised = self.promises.decisions;
            return Err(Wrong(format!(
                "HQ decided on {promised} changes, after its start {decisions}"
            )));
        }
        for (log, safe) in &self.safe {
            let found = running.intake.cursor(log);
            if found.is_none_or(|found| found.last < *safe) {
                let log = log.short();
                return Err(Wrong(format!("HQ called log {log} safe up to {safe}: {found:?}")));
            }
        }
        for (log, promised) in &self.promises.received {
            let found = running.intake.cursor(log);
            if found.is_none_or(|found| found.last < promised.last) {
                let (log, last) = (log.short(), promised.last);
                return Err(Wrong(format!(
                    "HQ acknowledged log {log} up to {last}, after its start it has {found:?}"
                )));
            }
            let head = running.intake.head_at(log, promised.last);
            if head.ok().flatten() != Some(promised.head) {
                let log = log.short();
                return Err(Wrong(format!("HQ acknowledged another log {log} than it has")));
            }
        }
        Ok(())
    }

    /// An edge heard this: HQ must keep it, and never say less in this history.
    pub(super) fn told(&mut self, node: NodeNo, said: &Acknowledgement) -> Result<(), Wrong> {
        self.said(said)?;
        if said.history != self.history {
            return Ok(());
        }
        let levels = self.promises.levels.entry(node).or_default();
        let now = Levels { received: said.received.last, safe: said.safe, posted: said.posted };
        let lower =
            now.received < levels.received || now.safe < levels.safe || now.posted < levels.posted;
        if lower {
            return Err(Wrong(format!("HQ said {levels:?} to node {}, then {now:?}", node.0)));
        }
        *levels = now;
        Ok(())
    }

    /// HQ signed this at some time: it must keep it in this history.
    pub(super) fn said(&mut self, said: &Acknowledgement) -> Result<(), Wrong> {
        if said.history != self.history {
            return Ok(());
        }
        let safe = self.safe.entry(said.log).or_default();
        *safe = said.safe.max(*safe);
        self.promised(said.log, said.received);
        self.posts(said)
    }

    /// What HQ calls posted is in the books, durably.
    fn posts(&self, said: &Acknowledgement) -> Result<(), Wrong> {
        let Some(running) = self.running.as_ref().filter(|running| running.power.is_on()) else {
            return Ok(());
        };
        let sequenced = running.sequencer.published().store().sequenced();
        let sequenced = sequenced.map_err(|error| Wrong(format!("the sequence: {error}")))?;
        let log = running.intake.log_no(&said.log);
        let found = sequenced.iter().find(|found| Some(found.log) == log);
        let last = found.map_or(Seq::ZERO, |found| found.position.last);
        if last < said.posted {
            let (log, posted) = (said.log.short(), said.posted);
            return Err(Wrong(format!("HQ called {posted} of log {log} posted, {last} is")));
        }
        Ok(())
    }

    /// The keys of both sides, for bundles of a node.
    pub(super) fn keys_of(&self, node: &Node) -> Keys {
        Keys { own: node.key.clone(), hq: self.key.verifying_key(), history: self.history }
    }

    /// Takes a bundle of a site's log; `None` where HQ does not run, or its power goes.
    pub(super) fn take_bundle(&mut self, bytes: &[u8]) -> Option<Result<Taken, BundleRefused>> {
        let gate = self.gate()?;
        let (desk, mut file) = (gate.desk(), Cursor::new(bytes));
        self.serve(desk.take(&mut file, None))
    }

    /// Does what waits for the intake; `None` where HQ does not run, or its power goes.
    pub(super) fn serve<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let running = self.running.as_mut()?;
        let turn = || running.intake_turns.take() || running.sequencer_turns.take();
        let done = answered(work, turn);
        done.filter(|_| running.power.is_on())
    }

    /// HQ's answer to an installation, as a bundle; `None` where HQ does not run.
    pub(super) fn bundle_answer(
        &mut self,
        log: &LogId,
        known: Known,
        seed: [u8; 32],
    ) -> Option<Result<Vec<u8>, BundleRefused>> {
        let gate = self.gate()?;
        let mut bytes = Vec::new();
        let desk = gate.desk();
        let answer = desk.answer(log, known, &Seed(seed));
        let written = answer.and_then(|answer| answer.write(&mut bytes, None));
        Some(written.map(|()| bytes))
    }

    /// What a desk or a counter stands on; `None` where HQ does not run.
    pub(super) fn gate(&self) -> Option<Gate> {
        let running = self.running.as_ref().filter(|running| running.power.is_on())?;
        let clock = Arc::clone(&self.clock);
        let clock = Clock::from_fn(move || clock.wall());
        let (recovery, documents) = (self.recovery(running), running.documents.clone());
        Some(Gate { recovery, documents, key: self.key.clone(), clock })
    }

    /// What a restored HQ learns from nodes.
    pub(super) fn recovery(&self, running: &Running) -> Recovery {
        Recovery {
            intake: running.intake.clone(),
            published: Arc::clone(running.sequencer.published()),
            own_log: running.own_log.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// HQ keeps what it took of a bundle.
    pub(super) fn promised_by_bundle(&mut self, log: LogId, last: Seq) -> Result<(), Wrong> {
        let running = self.running.as_ref().expect("it just took it");
        let head = running.intake.head_at(&log, last);
        let head = head.map_err(|error| Wrong(format!("HQ can't read a log: {error}")))?;
        let head = head.ok_or_else(|| Wrong("HQ lost what it took of a bundle".to_owned()))?;
        self.promised(log, Position { last, head });
        Ok(())
    }

    fn promised(&mut self, log: LogId, position: Position) {
        let known = self.promises.received.entry(log).or_insert(position);
        if position.last > known.last {
            *known = position;
        }
    }

    /// A node's file was put back: what HQ says to it begins anew.
    pub(super) fn forget_levels(&mut self, node: NodeNo) {
        self.promises.levels.remove(&node);
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        if let Some(running) = &self.running {
            running.power.cut();
        }
        self.note_entries();
        self.running = None;
        self.intake = self.intake.after_cut(&Power::steady(), random);
        self.books = self.books.after_cut(&Power::steady(), random);
        self.documents = self.documents.after_cut(&Power::steady(), random);
    }

    /// Its program is killed: nothing more is written.
    pub(super) fn stop(&mut self) {
        self.note_entries();
        let steady = Power::steady();
        let disks = [&self.intake, &self.books, &self.documents];
        let left = disks.map(|disk| disk.moved_to(&steady));
        if let Some(running) = self.running.take() {
            running.power.cut();
        }
        [self.intake, self.books, self.documents] = left;
    }

    /// Stops in good order.
    pub(super) fn leave(&mut self) {
        self.note_entries();
        if let Some(running) = self.running.take() {
            running.sequencer_turns.end();
        }
    }

    fn note_entries(&mut self) {
        let Some(running) = &self.running else { return };
        let published = running.sequencer.published();
        self.promises.entries = published.last().borrow().0;
        let known = published.catalogue();
        let is_known = |number: &u32| known.item_by_code(&format!("I{number}")).is_some();
        self.stated_items.extend((1..=self.items).filter(is_known));
        self.stated_logs.extend(known.site_logs().map(|(log, _)| *log));
    }

    /// What was decided on documents while there was power stays decided.
    pub(super) fn note_decisions(&mut self) {
        let running = self.running.as_ref().filter(|running| running.power.is_on());
        if let Some(running) = running {
            self.promises.decisions = *running.documents.watch().borrow();
        }
    }

    /// HQ as it writes in documents.
    pub(super) fn own_sender(&self) -> Option<Sender> {
        let own_log = &self.running.as_ref()?.own_log;
        Some(own_log.sender())
    }

    /// By its clock.
    pub(super) fn now(&self) -> shared::time::Timestamp {
        self.clock.wall()
    }

    /// Of its three files, in short.
    pub(super) fn disk_hashes(&self) -> String {
        let disks = [&self.intake, &self.books, &self.documents];
        let hashes = disks.map(|disk| disk.hash().to_hex()[..16].to_owned());
        hashes.join(" ")
    }

    /// Copies the files; HQ goes on.
    pub(super) fn backup(&mut self) -> Backup {
        self.note_entries();
        self.note_decisions();
        let steady = Power::steady();
        let backup = Backup {
            intake: self.intake.moved_to(&steady),
            books: self.books.moved_to(&steady),
            documents: self.documents.moved_to(&steady),
            promises: self.promises.clone(),
            received: BTreeMap::new(),
        };
        let Some(Running { intake, .. }) = &self.running else { return backup };
        let logs = intake.logs().into_iter();
        let received = logs.map(|log| (log.record.log, (log.record.no, log.received.last)));
        Backup { received: received.collect(), ..backup }
    }

    /// Copies the files, which were just put back to a copy.
    pub(super) fn backup_of(&mut self, backup: &Backup) -> Backup {
        Backup { received: backup.received.clone(), ..self.backup() }
    }

    /// What a copy has is safe.
    pub(super) fn call_safe(&self, copy: &Backup) {
        let Some(Running { intake, power, .. }) = &self.running else { return };
        let safe: Vec<_> = copy.received.values().copied().collect();
        let noted = intake.set_safe(&safe);
        assert!(noted.is_ok() || !power.is_on(), "a backup is not noted: {noted:?}");
    }

    /// Puts a backup in the place of the files: another history begins.
    pub(super) fn put_back(&mut self, backup: &Backup, random: &mut Random) -> Result<(), Wrong> {
        assert!(self.running.is_none(), "files are replaced while nobody has them open");
        let steady = Power::steady();
        let disks = [&backup.intake, &backup.books, &backup.documents];
        [self.intake, self.books, self.documents] = disks.map(|disk| disk.moved_to(&steady));
        self.promises = backup.promises.clone();
        // Nothing is promised in the new history but what is there.
        self.promises.levels.clear();
        let history = HistoryId(bytes(random));
        let mut store = RedbStore::open_backend(self.books.clone(), self.history)
            .map_err(|error| Wrong(format!("a backup of the books does not open: {error}")))?;
        store
            .renew_history(history)
            .map_err(|error| Wrong(format!("a backup does not take a new history: {error}")))?;
        self.history = history;
        self.skipped = SKIPPED;
        Ok(())
    }

    /// Lets an installation in.
    pub(super) fn register(&mut self, genesis: &Genesis) -> Result<(), Wrong> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Running { intake, intake_turns, .. } = running;
        let registering = intake.register(genesis.site, genesis.device, genesis);
        match answered(registering, || intake_turns.take()) {
            Some(Ok(_)) => {
                self.logs.push(genesis.clone());
                Ok(())
            }
            Some(Err(IntakeError::File(_))) if !running.power.is_on() => Ok(()),
            other => Err(Wrong(format!("an installation is not let in: {other:?}"))),
        }
    }

    /// How far HQ has a log.
    pub(super) fn cursor(&self, log: &LogId) -> Option<Position> {
        self.running.as_ref()?.intake.cursor(log)
    }

    /// An installation number; none is given twice, whatever HQ is put back to.
    pub(super) fn give_device(&self) -> DeviceNo {
        next_device(&self.devices)
    }

    /// HQ's people want one more item.
    pub(super) fn want_item(&mut self, with_lost: bool) {
        self.items += 1;
        self.restate(with_lost);
    }

    /// States what is wanted and not known. What was stated and lost only where no node has it any
    /// more: under another number, then.
    pub(super) fn restate(&mut self, with_lost: bool) {
        self.note_entries();
        let is_due = |was_stated: bool| with_lost || !was_stated;
        let wanted = (1..=self.items).filter(|number| is_due(self.stated_items.contains(number)));
        let wanted: Vec<u32> = wanted.collect();
        let logs = self.logs.iter().filter(|of| is_due(self.stated_logs.contains(&of.log_id())));
        let logs: Vec<Genesis> = logs.cloned().collect();
        let is_missing =
            |draft: &Draft, number| draft.known().item_by_code(&format!("I{number}")).is_none();
        self.state(move |draft| {
            for number in wanted {
                if is_missing(draft, number) {
                    draft.item(&item(number))?;
                }
            }
            for genesis in logs {
                let log = genesis.log_id();
                if draft.known().site_log(&log).is_none() {
                    draft.site_log(genesis.site, genesis.device, log, genesis.public_key);
                }
            }
            Ok(())
        });
    }

    /// HQ's people call an item by another name.
    pub(super) fn rename_item(&mut self, random: &mut Random) {
        let (number, mark) = (1 + random.number(self.items), random.number(1_000));
        self.state(move |draft| {
            if draft.known().item_by_code(&format!("I{number}")).is_none() {
                return Ok(());
            }
            draft.item_change(&ItemDraft { name: format!("Item {mark}"), ..item(number) })?;
            Ok(())
        });
    }

    fn state(&mut self, make: impl FnOnce(&mut Draft) -> Result<(), DraftError> + 'static) {
        self.state_groups(move |published| {
            let mut draft = Draft::new(&published.catalogue());
            make(&mut draft).map_err(|error| error.to_string())?;
            Ok(draft.into_groups())
        });
    }

    /// States what is made of the books, unless HQ's people are at something else.
    pub(super) fn state_groups(
        &mut self,
        make: impl FnOnce(&Published) -> Result<Vec<own_log::Group>, String> + 'static,
    ) {
        let Some(running) = self.running.as_mut().filter(|running| running.desk.is_none()) else {
            return;
        };
        let own_log = running.own_log.clone();
        running.desk = Some(Box::pin(async move {
            let recorded = own_log.record(|published, _| {
                make(published).map(|groups| (groups, ())).map_err(Unstated)
            });
            recorded.await.map(drop).map_err(|error| error.to_string())
        }));
        self.look_at_desk();
    }

    fn look_at_desk(&mut self) -> Option<Result<(), String>> {
        let running = self.running.as_mut()?;
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        match running.desk.as_mut()?.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => {
                running.desk = None;
                Some(done)
            }
            std::task::Poll::Pending => None,
        }
    }

    /// Whether a statement is done, and for whom; wrong where it failed with the power on.
    pub(super) fn desk_turn(&mut self) -> Result<Option<LinkNo>, Wrong> {
        let done = self.look_at_desk();
        let running = self.running.as_mut().filter(|running| running.power.is_on());
        let Some(running) = running else { return Ok(None) };
        let told = match done {
            Some(Err(why)) => return Err(Wrong(format!("HQ's desk: {why}"))),
            Some(Ok(())) => running.desk_for.take(),
            None => None,
        };
        if running.desk.is_none()
            && let Some(Errand { link, site, items }) = self.errands.pop_front()
        {
            running.desk_for = Some(link);
            self.state(move |draft| {
                items.into_iter().try_for_each(|item| draft.handled_item(site, item))
            });
        }
        Ok(told)
    }

    /// A site takes up items.
    pub(super) fn handle(&mut self, link: LinkNo, site: SiteNo, items: Vec<ItemNo>) {
        self.errands.push_back(Errand { link, site, items });
    }

    /// HQ's people let a site be told only what it handles, or all again.
    pub(super) fn tell_only_handled(&mut self, site: SiteNo, only: bool) {
        let code = format!("S{site}");
        if only {
            self.handled_only.insert(site);
        }
        self.state(move |draft| {
            let setting = if only { "1" } else { "0" };
            // Where a restore lost the site's statement it is stated first.
            if draft.known().site_by_code(&code).is_some() {
                draft.policy(PolicyKind::HandledOnly, setting, Some(&code))?;
            }
            Ok(())
        });
    }

    /// Whether HQ's desk waits for something.
    pub(super) fn desk_waits(&self) -> bool {
        let works = self.running.as_ref().is_some_and(|running| running.desk.is_some());
        works || (self.running.is_some() && !self.errands.is_empty())
    }

    pub(super) fn postings(&self, log: &LogId, asked: PostingsAsked) -> HqEvent {
        let running = self.running.as_ref().expect("sessions live while HQ runs");
        let published = running.sequencer.published();
        match postings::told(&running.intake, published, log, asked) {
            Ok(told) => HqEvent::PostingsRead(told.sign(&self.key)),
            Err(error) => HqEvent::Refused(storage(&error)),
        }
    }

    pub(super) fn accept(&mut self, link: LinkNo, log: LogId, run: Run) {
        let running = self.running.as_mut().expect("sessions live while HQ runs");
        let intake = running.intake.clone();
        running.asked.ask(async move {
            let Run { first, facts, head, .. } = run;
            let accepted = intake.accept(&log, first, facts, head).await;
            let event =
                accepted.map_or_else(|error| HqEvent::Refused(refusal(&error)), HqEvent::Stored);
            Answer { link, event, place: None }
        });
    }

    /// Where a log that differs from HQ's goes on.
    pub(super) fn open_branch(&mut self, link: LinkNo, log: LogId, places: [Position; 2]) {
        let running = self.running.as_mut().expect("sessions live while HQ runs");
        let (branches, history) = (Arc::clone(&running.branches), self.history);
        running.asked.ask(async move {
            match branches.common(&log, &places).await {
                Ok(place) => {
                    let (cursor, sealed) = (place.position, place.position.last);
                    let event = HqEvent::Opened(OpenedLog { history, cursor, sealed });
                    Answer { link, event, place: Some(place) }
                }
                Err(error) => Answer { link, event: cannot_read(&error), place: None },
            }
        });
    }

    /// Facts of a log that differs from HQ's.
    pub(super) fn accept_branch(&mut self, link: LinkNo, log: LogId, run: Run) {
        let devices = Arc::clone(&self.devices);
        let running = self.running.as_mut().expect("sessions live while HQ runs");
        let branches = Arc::clone(&running.branches);
        running.asked.ask(async move {
            match branches.accept(&log, run, || Ok(next_device(&devices))).await {
                Ok(place) => {
                    let event = HqEvent::Stored(place.position);
                    Answer { link, event, place: Some(place) }
                }
                Err(BranchError::Intake(error)) => {
                    Answer { link, event: HqEvent::Refused(refusal(&error)), place: None }
                }
                Err(error) => {
                    let event = HqEvent::Refused(Refusal::new(Code::FORK, error.to_string()));
                    Answer { link, event, place: None }
                }
            }
        });
    }

    /// Whether something that was asked needs another turn of the intake.
    pub(super) fn is_asked(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.asked.is_open())
    }

    pub(super) fn accept_seal(&mut self, link: LinkNo, seal: SignedSeal) {
        let running = self.running.as_mut().expect("sessions live while HQ runs");
        let intake = running.intake.clone();
        running.asked.ask(async move {
            let accepted = intake.accept_seal(seal).await;
            let event = accepted
                .map_or_else(|error| HqEvent::Refused(refusal(&error)), |()| HqEvent::SealStored);
            Answer { link, event, place: None }
        });
    }

    /// The power stays from here on.
    pub(super) fn steady(&self) {
        if let Some(running) = &self.running {
            running.power.stay();
        }
    }

    /// The intake has its turn: one commit of whatever is queued.
    pub(super) fn intake_turn(&mut self) -> Vec<Answer> {
        let Some(running) = &mut self.running else { return Vec::new() };
        running.intake_turns.take();
        let mut answers = running.asked.answers();
        if !running.power.is_on() {
            // A commit that the power's end cut is answered with an error, which nobody hears. Other
            // answers were given before: they may be on their way.
            answers.retain(|answer| !matches!(answer.event, HqEvent::Refused(_)));
        }
        answers
    }

    /// Does whatever is asked by now; who asked hears of it later.
    pub(super) fn flush(&mut self) {
        for answer in self.intake_turn() {
            if let Some(running) = &mut self.running {
                running.asked.ask(std::future::ready(answer));
            }
        }
    }

    /// The answer to the one question that nobody else waits for; `None` where the power went.
    pub(super) fn answer_to(&mut self, link: LinkNo) -> Option<HqEvent> {
        let mut others = Vec::new();
        let mut found = None;
        for answer in self.intake_turn() {
            if answer.link == link { found = Some(answer.event) } else { others.push(answer) }
        }
        let running = self.running.as_mut()?;
        for answer in others {
            running.asked.ask(std::future::ready(answer));
        }
        found
    }

    /// The sequencer has its turn; whether there was anything.
    pub(super) fn sequencer_turn(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.sequencer_turns.take())
    }

    /// Posting or receiving stopped although there is power.
    pub(super) fn check_running(&self) -> Result<(), Wrong> {
        let Some(running) = self.running.as_ref().filter(|running| running.power.is_on()) else {
            return Ok(());
        };
        let posting = running.sequencer.published().failure().borrow().clone();
        let failure = posting.or_else(|| running.intake.failure().borrow().clone());
        failure.map_or(Ok(()), |why| Err(Wrong(format!("HQ stopped: {why}"))))
    }
}

/// The books, with a fault that shows once they have changed. No hook tells of a panic that is meant.
fn with_a_fault(books: &mut Books, entry: &Entry<'_>) -> Effects {
    let effects = books.apply(entry);
    if let Entry::Run(run) = entry
        && run.facts.iter().any(is_unbearable)
    {
        std::panic::resume_unwind(Box::new("the books can't take this group"));
    }
    effects
}

fn next_device(devices: &AtomicU32) -> DeviceNo {
    DeviceNo(devices.fetch_add(1, Ordering::Relaxed) + 1)
}

fn cannot_read(error: &FileError) -> HqEvent {
    HqEvent::Refused(Refusal::new(Code::STORAGE, error.to_string()))
}

fn item(number: u32) -> ItemDraft {
    let weighed = number.is_multiple_of(3);
    ItemDraft {
        code: format!("I{number}"),
        name: format!("Item {number}"),
        category: GENERIC.categories[0].0.to_owned(),
        unit: if weighed { "KG" } else { "EA" }.to_owned(),
        decimals: if weighed { 3 } else { 0 },
        service: false,
        cost: number.is_multiple_of(2).then(|| "3.50".to_owned()),
    }
}

/// Bytes for keys and ids.
pub(super) fn bytes(random: &mut Random) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.bits().to_le_bytes());
    }
    bytes
}
