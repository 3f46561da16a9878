//! What happened, line by line, in virtual time: its hash proves that a seed repeats itself, its last
//! lines are told where a seed fails. Knows nothing of what the lines mean.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// How many lines a failure tells.
const LINES_TOLD: usize = 40;

const YEAR_MS: u64 = 365 * 86_400_000;

/// What a history was made of, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events of the world.
    pub events: u64,
    /// Virtual milliseconds, all sites together.
    pub site_ms: u64,
    /// Facts of sites in HQ's books at the end.
    pub facts: u64,
    /// Crashes of edge nodes and of HQ, power cuts and kills.
    pub crashes: u64,
    /// Edge nodes put back to an earlier image, or copied.
    pub restores: u64,
    /// Machines that were lost with their disks, and set up again from HQ.
    pub lost: u64,
    /// Times that HQ was put back to a backup.
    pub hq_restores: u64,
    /// Batches of keyed state that nodes gave back to an HQ that was put back.
    pub given_back: u64,
    /// Connections.
    pub connections: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Hostile peers, on either side.
    pub hostile: u64,
    /// Bundles that were made of logs.
    pub bundles: u64,
    /// Facts that came to HQ in bundles first.
    pub carried: u64,
    /// Answers of HQ that came home in bundles.
    pub answers: u64,
    /// Times that a metered link had said everything.
    pub rests: u64,
    /// Groups that were entered again by hand.
    pub again: u64,
    /// Times that HQ's people ruled on logs that were continued twice.
    pub ruled: u64,
    /// Times that sites took up items.
    pub taken_up: u64,
    /// Times that people wrote into documents.
    pub edits: u64,
    /// Changes of documents that are in at the end.
    pub changes: u64,
    /// Times that neighbours met.
    pub meetings: u64,
    /// Facts that came to HQ by way of a neighbour first.
    pub relayed: u64,
    /// Installations that were refused as restored or forked, and enrolled anew.
    pub noticed: u64,
}

impl Figures {
    /// In words, for so many histories that took so long.
    pub fn told(&self, seeds: u64, took: std::time::Duration) -> String {
        let ms = took.as_millis().max(1);
        let years_x10 = u128::from(self.site_ms) * 10_000 / u128::from(YEAR_MS) / ms;
        format!(
            "{seeds} seeds in {} s: {}.{} site-years a second, {} events, {} facts, {} crashes, \
             {} nodes and {} times HQ put back, {} machines lost, {} batches given back to it, {} of {} connections broken, {} hostile peers, \
             {} bundles that brought {} facts first, {} answers, {} meetings \
             that brought {} facts, {} forks noticed, \
             metered links rested {} times, {} groups entered again, \
             {} rulings, items were taken up {} times, \
             people wrote {} times into documents, {} changes of documents",
            ms / 1_000,
            years_x10 / 10,
            years_x10 % 10,
            self.events,
            self.facts,
            self.crashes,
            self.restores,
            self.hq_restores,
            self.lost,
            self.given_back,
            self.broken,
            self.connections,
            self.hostile,
            self.bundles,
            self.carried,
            self.answers,
            self.meetings,
            self.relayed,
            self.noticed,
            self.rests,
            self.again,
            self.ruled,
            self.taken_up,
            self.edits,
            self.changes,
        )
    }

    /// Adds another history's.
    pub const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.site_ms += other.site_ms;
        self.facts += other.facts;
        self.crashes += other.crashes;
        self.restores += other.restores;
        self.hq_restores += other.hq_restores;
        self.lost += other.lost;
        self.given_back += other.given_back;
        self.connections += other.connections;
        self.broken += other.broken;
        self.hostile += other.hostile;
        self.bundles += other.bundles;
        self.carried += other.carried;
        self.answers += other.answers;
        self.meetings += other.meetings;
        self.relayed += other.relayed;
        self.noticed += other.noticed;
        self.rests += other.rests;
        self.again += other.again;
        self.ruled += other.ruled;
        self.taken_up += other.taken_up;
        self.edits += other.edits;
        self.changes += other.changes;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    /// Added up as it happens.
    pub figures: Figures,
    now: i64,
}

impl Trace {
    /// It is so many milliseconds since the beginning.
    pub const fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// How long after the beginning.
    pub const fn now(&self) -> Span {
        Span(self.now)
    }

    /// Something happened.
    pub fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let mut line = if self.last.len() == LINES_TOLD { self.last.pop_front() } else { None }
            .unwrap_or_default();
        line.clear();
        write!(line, "{} {what}", Span(self.now)).expect("a text takes all");
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.last.push_back(line);
    }

    /// Stands for everything that happened so far.
    pub fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// The last lines.
    pub fn told(&self) -> String {
        let lines = self.last.iter().flat_map(|line| [line.as_str(), "\n"]);
        lines.collect()
    }
}

/// Milliseconds as days and time.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub i64);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (day, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        write!(f, "{day}d {hour:02}:{minute:02}:{:02}.{:03}", ms / 1_000 % 60, ms % 1_000)
    }
}

/// Adds a line to a trace: `note!(trace, "site {} starts", site)`.
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
pub(super) use note;
