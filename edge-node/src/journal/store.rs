//! The journal's file: opening it, reading what is stored, and the errors of both. Knows redb and
//! the rows; knows no queue and no clock. Invariant: opening a damaged file changes nothing in it.

use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageBackend, StorageError, TableError,
};
use shared::catalogue::Catalogue;
use shared::document::journal::JournalTip;
use shared::fact::statement::Stamp;
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, LogId, Seq};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::{columns, packing};
use shared::sync::{PostingsKnown, SignedAcknowledgement, SignedStateBatch, StateCursor};
use shared::time::Timestamp;
use shared::varint;

use super::guard::{self, Overlay};
use super::key_book::KeyBook;
use super::on_hand::OnHand;
use super::postings;
use super::rows::{
    self, BadRow, KEYS, META, META_ACKNOWLEDGEMENT, META_GENESIS, META_HQ_TIME, META_ON_HAND,
    META_OPENING, META_RESTORED, META_STATE_CURSOR, META_VERSION, POSTINGS, SEGMENTS, STATE,
    STATE_PENDING, STATE_SIGNED, SegmentRow, TAIL, TailRow,
};

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file.
    #[error("there is no journal at {}: enrol this node first (edge-node enrol CODE)", .0.display())]
    Missing(PathBuf),
    /// There is one already where one was to be made.
    #[error("there is a journal at {} already: it is left as it is", .0.display())]
    Exists(PathBuf),
    /// Another process has it.
    #[error("the journal is in use by another process: stop that one, or let it do the work")]
    InUse,
    /// The file is no store at all.
    #[error(
        "{} is no journal: its beginning is not that of a store. Nothing was changed. Put the right \
         file there, or restore a backup (edge-node restore)", .0.display()
    )]
    NotAStore(PathBuf),
    /// The file is damaged.
    #[error(
        "the journal is damaged: {0}. Nothing was changed. Copy the file away, then restore the \
         newest backup (edge-node restore) and enrol again; HQ has what it acknowledged"
    )]
    Damaged(String),
    /// A later program wrote it.
    #[error("the journal is of version {0}, which this program does not know: update the program")]
    Version(u8),
    /// No room to open it.
    #[error("the disk is full, so the journal can't be opened: free some space and try again")]
    DiskFull,
    /// It can't be read or written.
    #[error("the journal can't be opened: {0}. See that this user may read and write the folder")]
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::DiskFull } else { Self::Io(error) }
    }
}

/// Why something could not be read from or written to the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error(
        "the disk is full: free some space and try again with the same key; what was acknowledged \
         is safe"
    )]
    DiskFull,
    /// The disk says no.
    #[error("the disk does not take or give data: {0}. What was acknowledged is safe; try again")]
    Disk(String),
    /// What is stored does not read.
    #[error("the journal is damaged: {0}. Stop the node, keep the file, run 'edge-node verify'")]
    Damaged(String),
    /// The writer has stopped.
    #[error("the journal is closed: the node is stopping")]
    Closed,
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(why) => Self::Damaged(why),
            other => Self::Disk(other.to_string()),
        }
    }
}

/// No room on the disk, for this user, or for a file of this size.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::DiskFull } else { Self::Disk(error.to_string()) }
    }
}

macro_rules! through_storage {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => error.into(),
                    redb::Error::Corrupted(why) => Self::Damaged(why),
                    other => Self::Disk(other.to_string()),
                }
            }
        }
    )*};
}

through_storage!(
    redb::TransactionError,
    redb::TableError,
    redb::CommitError,
    redb::CompactionError
);

impl From<BadRow> for StoreError {
    fn from(row: BadRow) -> Self {
        Self::Damaged(row.to_string())
    }
}

impl OpenError {
    fn of(error: DatabaseError, path: &Path) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Self::Missing(path.to_owned())
            }
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData
                    || error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Self::Damaged(error.to_string())
            }
            DatabaseError::Storage(StorageError::Io(error)) => error.into(),
            DatabaseError::Storage(StorageError::Corrupted(_)) => {
                Self::Damaged("a page's checksum does not hold".to_owned())
            }
            DatabaseError::UpgradeRequired(version) => Self::Version(version),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(why) => Self::Damaged(why),
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Disk(why) => Self::Io(io::Error::other(why)),
            StoreError::Closed => Self::Io(io::Error::other("closed")),
        }
    }
}

fn damaged(why: impl Into<String>) -> StoreError {
    StoreError::Damaged(why.into())
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Opens the journal's file for writing, after a look at it that changes nothing.
pub(super) fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    open_looked_at(path, cache_bytes, |database| load(database).map(drop))
}

/// Opens a file for writing, after a look at it that changes nothing: every page is checked, and
/// `read` reads what it needs.
pub(crate) fn open_looked_at(
    path: &Path,
    cache_bytes: usize,
    read: impl FnOnce(&Database) -> Result<(), OpenError>,
) -> Result<Database, OpenError> {
    match guard::looks_like_a_store(path) {
        Ok(true) => {}
        Ok(false) => return Err(OpenError::NotAStore(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Missing(path.to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    inspect(path, cache_bytes, read)?;
    builder(cache_bytes).open(path).map_err(|error| OpenError::of(error, path))
}

/// A file under this size is never worth a rewrite.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// Rewrites a file more than half of which is free.
pub(super) fn compact_if_loose(mut database: Database, path: &Path) -> Result<(), StoreError> {
    let length =
        std::fs::metadata(path).map_err(|error| StoreError::Disk(error.to_string()))?.len();
    if length < COMPACT_BYTES_MIN {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    transaction.abort()?;
    if used * 2 < length {
        database.compact()?;
    }
    Ok(())
}

/// Opens a copy in memory, with every page checked, and reads what opening needs.
fn inspect(
    path: &Path,
    cache_bytes: usize,
    read: impl FnOnce(&Database) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let overlay = Overlay::over(path)?;
    let look = || -> Result<(), OpenError> {
        let mut builder = builder(cache_bytes);
        builder.set_check_integrity_on_open(true);
        let database =
            builder.create_with_backend(overlay).map_err(|error| OpenError::of(error, path))?;
        read(&database)
    };
    // redb states that a file altered by others may panic where a page is trusted.
    guard::quietly(look)
        .unwrap_or_else(|_| Err(OpenError::Damaged("a page does not read".to_owned())))
}

/// Makes a file with an empty log, whole or not at all.
pub(super) fn create_file(
    path: &Path,
    cache_bytes: usize,
    beginning: &Beginning<'_>,
) -> Result<(), OpenError> {
    if path.exists() {
        return Err(OpenError::Exists(path.to_owned()));
    }
    let part = path.with_extension("part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let database =
        builder(cache_bytes).create(&part).map_err(|error| OpenError::of(error, path))?;
    begin(&database, beginning)?;
    drop(database);
    std::fs::rename(&part, path)?;
    sync_folder(path)?;
    Ok(())
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(folder) if folder != Path::new("") => std::fs::File::open(folder)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

/// Opens a store on any backend; an empty one has no version yet.
pub(super) fn open_backend(
    backend: impl StorageBackend,
    cache_bytes: usize,
) -> Result<Database, OpenError> {
    builder(cache_bytes)
        .create_with_backend(backend)
        .map_err(|error| OpenError::of(error, Path::new("the given storage")))
}

/// What a new log starts with.
pub(super) struct Beginning<'a> {
    pub(super) genesis: &'a Genesis,
    pub(super) opening: Option<&'a OnHand>,
}

/// Writes the beginning of a log into an empty store.
pub(super) fn begin(database: &Database, beginning: &Beginning<'_>) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_VERSION, [rows::VERSION].as_slice())?;
        meta.insert(META_GENESIS, beginning.genesis.encode().as_slice())?;
        if let Some(opening) = beginning.opening.and_then(OnHand::encode) {
            meta.insert(META_OPENING, opening.as_slice())?;
        }
        transaction.open_table(TAIL)?;
        transaction.open_table(SEGMENTS)?;
        transaction.open_table(KEYS)?;
        transaction.open_table(STATE)?;
        transaction.open_table(STATE_PENDING)?;
        transaction.open_table(STATE_SIGNED)?;
        transaction.open_table(POSTINGS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether nothing was ever written: a store made on a fresh backend, cut before its beginning.
pub(super) fn is_empty(database: &Database) -> Result<bool, StoreError> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => Ok(true),
        Ok(_) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What stands in the store when it is opened.
pub(super) struct Loaded {
    pub(super) genesis: Genesis,
    pub(super) log: LogId,
    /// At the last fact.
    pub(super) chain: Chain,
    /// At the last sealed fact.
    pub(super) sealed_chain: Chain,
    pub(super) tip: JournalTip,
    pub(super) tail: Vec<(Seq, TailRow)>,
    pub(super) catalogue: Catalogue,
    pub(super) opening: OnHand,
    pub(super) on_hand: OnHand,
    /// Up to where the stored snapshot of what is on hand goes.
    pub(super) snapshot_at: Seq,
    pub(super) last_recorded_at: Timestamp,
    /// The same, where the clock was not in doubt.
    pub(super) trusted_at: Option<Timestamp>,
    pub(super) keys: KeyBook,
    pub(super) hq_time: Timestamp,
    pub(super) acknowledgement: Option<SignedAcknowledgement>,
    pub(super) state: StateProgress,
    pub(super) postings: PostingsKnown,
    pub(super) restored: bool,
}

/// How far keyed state has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateProgress {
    /// Stored, whole checkpoints or not.
    pub(super) stored: StateCursor,
    /// The handle of the checkpoint in force.
    pub(super) in_force: u64,
}

impl StateProgress {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.stored.handle, self.stored.at, self.in_force] {
            varint::write_unsigned(&mut out, number);
        }
        out
    }

    fn decode(mut input: &[u8]) -> Result<Self, StoreError> {
        let mut next = || varint::read_unsigned(&mut input).map_err(BadRow::from);
        let stored = StateCursor { handle: next()?, at: next()? };
        Ok(Self { stored, in_force: next()? })
    }
}

fn meta(transaction: &ReadTransaction, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(transaction.open_table(META)?.get(name)?.map(|value| value.value().to_vec()))
}

/// Reads everything that the writer needs to go on.
pub(super) fn load(database: &Database) -> Result<Loaded, OpenError> {
    let transaction = database.begin_read().map_err(StoreError::from)?;
    match meta(&transaction, META_VERSION)?.as_deref() {
        Some([rows::VERSION]) => {}
        Some([other]) => return Err(OpenError::Version(*other)),
        _ => return Err(damaged("it states no version").into()),
    }
    let genesis = meta(&transaction, META_GENESIS)?.ok_or_else(|| damaged("it has no genesis"))?;
    let genesis = Genesis::decode(&genesis).map_err(|error| damaged(error.to_string()))?;
    let log = genesis.log_id();
    let (sealed_chain, tip) = load_sealed(&transaction, log)?;
    let tail = load_tail(&transaction, sealed_chain.seq())?;
    let mut chain = sealed_chain.clone();
    for (_, row) in &tail {
        chain.extend(&row.facts);
    }
    let catalogue = load_catalogue(&transaction)?;
    let opening = meta(&transaction, META_OPENING)?;
    let opening = opening.and_then(|bytes| OnHand::decode(&bytes)).unwrap_or_default();
    let (snapshot_at, on_hand) = load_on_hand(&transaction, &genesis, &opening, &catalogue)?;
    let number = |bytes: Vec<u8>| varint::read_signed(&mut bytes.as_slice()).ok();
    let hq_time = meta(&transaction, META_HQ_TIME)?.and_then(number).unwrap_or(0);
    let acknowledgement = meta(&transaction, META_ACKNOWLEDGEMENT)?
        .and_then(|bytes| SignedAcknowledgement::decode(&bytes).ok());
    let state = meta(&transaction, META_STATE_CURSOR)?
        .map_or(Ok(StateProgress::default()), |bytes| StateProgress::decode(&bytes))?;
    let newest = last_stamp(&transaction, log, chain.seq())?;
    let recent = tail.iter().flat_map(|(_, row)| row.keys.iter().copied());
    Ok(Loaded {
        last_recorded_at: newest.map_or(Timestamp(0), |(recorded_at, _)| recorded_at),
        trusted_at: newest.filter(|(_, doubt)| *doubt == 0).map(|(recorded_at, _)| recorded_at),
        keys: KeyBook::load(&transaction, recent)?,
        snapshot_at,
        genesis,
        log,
        chain,
        sealed_chain,
        tip,
        tail,
        catalogue,
        opening,
        on_hand,
        hq_time: Timestamp(hq_time),
        acknowledgement,
        state,
        postings: postings::load(&transaction)?,
        restored: meta(&transaction, META_RESTORED)?.is_some(),
    })
}

/// The chain at the last sealed fact, checked against its seal, and the document's tip there.
fn load_sealed(
    transaction: &ReadTransaction,
    log: LogId,
) -> Result<(Chain, JournalTip), StoreError> {
    let segments = transaction.open_table(SEGMENTS)?;
    let Some((first, bytes)) = segments.last()? else {
        return Ok((Chain::start(log), JournalTip::default()));
    };
    let newest = SegmentRow::decode(log, Seq(first.value()), bytes.value())?;
    let window_start = newest.window_start();
    let mut chain = Chain::resume(log, window_start, newest.window_head);
    for_each_range(transaction, log, window_start.next(), |range| {
        if range.seal.is_none() {
            return Ok(ControlFlow::Break(()));
        }
        chain.extend(range.since(window_start.next()));
        Ok(ControlFlow::Continue(()))
    })?;
    let seal = newest.seal.seal;
    if (chain.seq(), chain.head()) != (seal.last, seal.head) {
        return Err(damaged(format!("the chain breaks before fact {}", seal.last)));
    }
    Ok((chain, newest.tip))
}

fn load_tail(
    transaction: &ReadTransaction,
    sealed: Seq,
) -> Result<Vec<(Seq, TailRow)>, StoreError> {
    let mut rows = Vec::new();
    let mut next = sealed.next();
    for entry in transaction.open_table(TAIL)?.iter()? {
        let (first, bytes) = entry?;
        let first = Seq(first.value());
        if first != next {
            return Err(damaged(format!("fact {next} is missing")));
        }
        let row = TailRow::decode(first, bytes.value())?;
        next = Seq(first.0 + row.facts.len() as u64);
        rows.push((first, row));
    }
    Ok(rows)
}

fn load_catalogue(transaction: &ReadTransaction) -> Result<Catalogue, StoreError> {
    let mut catalogue = Catalogue::new();
    for entry in transaction.open_table(STATE)?.iter()? {
        let fact = Fact::decode(&mut entry?.1.value()).map_err(BadRow::from)?;
        catalogue.apply(&fact);
    }
    Ok(catalogue)
}

fn load_on_hand(
    transaction: &ReadTransaction,
    genesis: &Genesis,
    opening: &OnHand,
    catalogue: &Catalogue,
) -> Result<(Seq, OnHand), StoreError> {
    let log = genesis.log_id();
    let snapshot = meta(transaction, META_ON_HAND)?.and_then(|bytes| OnHand::decode(&bytes));
    let mut on_hand = snapshot.unwrap_or_else(|| opening.clone());
    let snapshot_at = on_hand.at();
    let first = snapshot_at.next();
    let read = |seq| read_fact(transaction, log, seq).ok().flatten();
    for_each_range(transaction, log, first, |range| {
        let mut seq = range.first.max(first);
        for fact in range.since(first) {
            on_hand.apply(seq, fact, genesis.device, catalogue, read);
            seq = seq.next();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((snapshot_at, on_hand))
}

/// See [`super::Journal::given`].
pub(super) fn given(
    transaction: &ReadTransaction,
    known: &[Capture],
    after: StateCursor,
) -> Result<Option<SignedStateBatch>, StoreError> {
    let is_known = |fact: &Fact| {
        Stamp::parse(fact).is_ok_and(|stamp| {
            let Capture { device, counter } = stamp.capture;
            known.iter().any(|end| end.device == device && counter <= end.counter)
        })
    };
    let from = (Bound::Excluded((after.handle, after.at)), Bound::Unbounded);
    for entry in transaction.open_table(STATE_SIGNED)?.range(from)? {
        let signed = read_signed(entry?.1.value())?;
        let facts = signed.batch.facts().map_err(|error| damaged(error.to_string()))?;
        // Open work is in no log: HQ makes it anew.
        let mut stated = facts.iter().filter(|fact| fact.kind().is_none_or(Kind::is_master_data));
        if stated.any(|fact| !is_known(fact)) {
            return Ok(Some(signed));
        }
    }
    Ok(None)
}

pub(super) fn read_signed(bytes: &[u8]) -> Result<SignedStateBatch, StoreError> {
    SignedStateBatch::decode(bytes).map_err(|error| damaged(format!("keyed state: {error}")))
}

/// When the last fact was recorded, and why its clock is in doubt: 0 where it is not.
fn last_stamp(
    transaction: &ReadTransaction,
    log: LogId,
    last: Seq,
) -> Result<Option<(Timestamp, u64)>, StoreError> {
    let fact = if last == Seq::ZERO { None } else { read_fact(transaction, log, last)? };
    Ok(fact.and_then(|fact| {
        let doubt = field::TIME_IN_DOUBT.of(&fact).unwrap_or(0);
        Some((Timestamp(field::RECORDED_AT.of(&fact)?), doubt))
    }))
}

/// Facts that are stored together: a sealed range, or one commit of the tail.
pub(super) struct StoredRange {
    pub(super) first: Seq,
    pub(super) facts: Vec<Fact>,
    pub(super) seal: Option<SegmentRow>,
}

impl StoredRange {
    /// The facts from `first` on.
    pub(super) fn since(&self, first: Seq) -> &[Fact] {
        let skip = usize::try_from(first.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.facts.get(skip..).unwrap_or_default()
    }
}

/// Reads the facts of a sealed range.
pub(super) fn unpack(row: &SegmentRow) -> Result<Vec<Fact>, StoreError> {
    let first = row.seal.seal.first;
    let bad = |why: String| damaged(format!("the segment at fact {first} does not read: {why}"));
    let bytes = packing::unpack(&row.packed).map_err(|error| bad(error.to_string()))?;
    let facts = columns::decode(&bytes).map_err(|error| bad(error.to_string()))?;
    let stated = row.seal.seal.last.0 - first.0 + 1;
    if facts.len() as u64 == stated {
        Ok(facts)
    } else {
        Err(bad(format!("{} facts instead of {stated}", facts.len())))
    }
}

/// Visits every stored range that ends at or after `first`, in order.
pub(super) fn for_each_range(
    transaction: &ReadTransaction,
    log: LogId,
    first: Seq,
    mut visit: impl FnMut(StoredRange) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let segments = transaction.open_table(SEGMENTS)?;
    let from = segments.range(..=first.0)?.next_back().transpose()?;
    let from = from.map_or(0, |(start, _)| start.value());
    for entry in segments.range(from..)? {
        let (start, bytes) = entry?;
        let row = SegmentRow::decode(log, Seq(start.value()), bytes.value())?;
        if row.seal.seal.last < first {
            continue;
        }
        let range =
            StoredRange { first: Seq(start.value()), facts: unpack(&row)?, seal: Some(row) };
        if visit(range)?.is_break() {
            return Ok(());
        }
    }
    for entry in transaction.open_table(TAIL)?.iter()? {
        let (start, bytes) = entry?;
        let start = Seq(start.value());
        let facts = TailRow::decode(start, bytes.value())?.facts;
        if start.0 + facts.len() as u64 > first.0
            && visit(StoredRange { first: start, facts, seal: None })?.is_break()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// The range that holds a place.
pub(super) fn read_range(
    transaction: &ReadTransaction,
    log: LogId,
    seq: Seq,
) -> Result<Option<StoredRange>, StoreError> {
    let mut found = None;
    for_each_range(transaction, log, seq, |range| {
        found = (range.first <= seq).then_some(range);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The fact at a place.
pub(super) fn read_fact(
    transaction: &ReadTransaction,
    log: LogId,
    seq: Seq,
) -> Result<Option<Fact>, StoreError> {
    let range = read_range(transaction, log, seq)?;
    Ok(range.and_then(|range| range.since(seq).first().cloned()))
}

/// The sealed ranges that begin at `first` or later, at most `count_max`.
pub(super) fn segments_from(
    transaction: &ReadTransaction,
    log: LogId,
    first: Seq,
    count_max: usize,
) -> Result<Vec<SegmentRow>, StoreError> {
    let segments = transaction.open_table(SEGMENTS)?;
    let rows = segments.range(first.0..)?.take(count_max).map(|entry| {
        let (start, bytes) = entry?;
        Ok(SegmentRow::decode(log, Seq(start.value()), bytes.value())?)
    });
    rows.collect()
}

/// The newest segment that ends before `seq`.
pub(super) fn segment_ending_before(
    transaction: &ReadTransaction,
    log: LogId,
    seq: Seq,
) -> Result<Option<SegmentRow>, StoreError> {
    let segments = transaction.open_table(SEGMENTS)?;
    for entry in segments.range(..=seq.0)?.rev() {
        let (start, bytes) = entry?;
        let row = SegmentRow::decode(log, Seq(start.value()), bytes.value())?;
        if row.seal.seal.last < seq {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// A database that readers share and the writer may have to give up and open again.
pub(super) type SharedDatabase = Arc<Database>;
