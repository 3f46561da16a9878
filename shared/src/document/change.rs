//! A change of a shared document: written, and read from bytes that may be anything. Reads every
//! column itself, within limits, so that the library is never given what it does not expect: puts
//! of texts at keys of the root map, in the shortest form. Writes them too, for the library puts no
//! text where it stands already, though the put would settle what differs there. Knows no document.
//! Invariants: whatever the bytes, time and memory are bounded by [`limits::CHANGE_BYTES_MAX`]; a
//! change that is read hashes to its own name; what is written is what the library would write.
//!
//! Source: Automerge binary format, "Change chunks". No other chunk is read: documents, compressed
//! changes and bundles inflate, and nothing here needs them.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::id::Actor;
use super::journal::{change_chunk, put_bytes};
use super::limits;
use crate::ids::ChangeHash;
use crate::varint;

/// A value's name: the counter of the put that made it, and who did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId {
    /// Counts operations along the document's history.
    pub counter: u64,
    /// Who put it.
    pub actor: Actor,
}

/// A text at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// The text.
    pub text: String,
    /// The values that its author saw there, and that it replaces, in order.
    pub replaces: Vec<ValueId>,
}

/// A change, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub hash: ChangeHash,
    /// Who made it.
    pub actor: Actor,
    /// Counts its author's changes of the document from 1.
    pub seq: u64,
    /// The counter of its first put.
    pub start_op: u64,
    /// When it was made, by its author's clock, in seconds since 1970.
    pub time: i64,
    /// The changes that it builds on directly, in order.
    pub dependencies: Vec<ChangeHash>,
    /// What it puts.
    pub puts: Vec<Put>,
    bytes: Vec<u8>,
}

/// Bytes that are no change of a shared document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAChange {
    /// Too many bytes.
    #[error("it has {0} bytes; a change has at most 16384")]
    TooLarge(usize),
    /// Another chunk, or none.
    #[error("it is no plain change chunk")]
    OtherChunk,
    /// The checksum is of other bytes.
    #[error("its checksum does not hold")]
    Checksum,
    /// The bytes end inside a value, or go on after the last one.
    #[error("it ends inside a value, or goes on after the last one")]
    Length,
    /// A number not in its shortest form, or out of range.
    #[error("a number is not in its shortest form, or out of range")]
    Number,
    /// More of something than a change may have.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    /// An actor of another length.
    #[error("an actor has other than 16 bytes")]
    Actor,
    /// A message or bytes at the end, which nothing here writes.
    #[error("it has a message, or bytes after its columns")]
    Extras,
    /// A column that puts of texts at the root do not have, or twice, or out of order.
    #[error("it has column {0:#x}, which no put of a text has there")]
    Column(u64),
    /// Columns of different lengths.
    #[error("its columns do not fit together")]
    Columns,
    /// An operation that is no put of a text at a key of the root.
    #[error("it does something else than to put texts at keys")]
    OtherOperation,
    /// A key that may not be.
    #[error("a key is empty, too long, twice there, or has a control character")]
    Key,
    /// A text that may not be.
    #[error("a text is too long, no UTF-8, or has a control character")]
    Text,
    /// Values that a put may not replace.
    #[error("the values that it replaces are out of order or not older than it")]
    Replaced,
    /// Dependencies or actors out of order.
    #[error("its dependencies or actors are out of order")]
    Order,
}

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The type of a plain change chunk.
const CHANGE: u8 = 1;
/// Magic, checksum, type.
const HEAD_BYTES: usize = 9;

const KEY: u64 = 0x15;
const INSERT: u64 = 0x34;
const ACTION: u64 = 0x42;
const VALUE_META: u64 = 0x56;
const VALUE: u64 = 0x57;
const REPLACED: u64 = 0x70;
const REPLACED_ACTOR: u64 = 0x71;
const REPLACED_COUNTER: u64 = 0x73;

const ACTION_PUT: u64 = 1;
/// The library's number for a text, in the low four bits beside its length.
const VALUE_TEXT: u64 = 6;

impl Change {
    /// Reads a chunk, all of it.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAChange> {
        let (hash, contents) = open(bytes)?;
        let mut input = Input(contents);
        let dependencies = input.hashes()?;
        let actor = input.actor()?;
        let (seq, start_op) = (input.unsigned()?, input.unsigned()?);
        let time = input.signed()?;
        if seq == 0 || start_op == 0 || seq > u32::MAX.into() || start_op > u32::MAX.into() {
            return Err(NotAChange::Number);
        }
        if input.unsigned()? != 0 {
            return Err(NotAChange::Extras);
        }
        let actors = input.actors(actor)?;
        let columns = Columns::read(&mut input)?;
        if !input.0.is_empty() {
            return Err(NotAChange::Extras);
        }
        let puts = columns.puts(&actors, start_op)?;
        let bytes = bytes.to_vec();
        Ok(Self { hash, actor, seq, start_op, time, dependencies, puts, bytes })
    }

    /// A change of puts, written as the library writes it and read back.
    pub(super) fn make(content: &Content<'_>) -> Result<Self, NotAChange> {
        Self::read(&change_chunk(&content.contents()).1)
    }

    /// The chunk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The counter of its last put.
    pub fn last_op(&self) -> u64 {
        self.start_op + self.puts.len() as u64 - 1
    }
}

/// What a change is made of.
pub(super) struct Content<'a> {
    /// Who makes it.
    pub(super) actor: Actor,
    /// Its author's number.
    pub(super) seq: u64,
    /// The counter of its first put.
    pub(super) start_op: u64,
    /// Seconds since 1970.
    pub(super) time: i64,
    /// What it builds on, in order.
    pub(super) dependencies: &'a [ChangeHash],
    /// At least one.
    pub(super) puts: &'a [Put],
}

impl Content<'_> {
    fn contents(&self) -> Vec<u8> {
        let replaced = || self.puts.iter().flat_map(|put| &put.replaces);
        let others: BTreeSet<_> = replaced().map(|id| id.actor).collect();
        let others: Vec<_> = others.into_iter().filter(|other| *other != self.actor).collect();
        let mut out = Vec::new();
        varint::write_unsigned(&mut out, self.dependencies.len() as u64);
        for hash in self.dependencies {
            out.extend_from_slice(&hash.0);
        }
        put_bytes(&mut out, &self.actor.0);
        varint::write_unsigned(&mut out, self.seq);
        varint::write_unsigned(&mut out, self.start_op);
        write_signed(&mut out, self.time);
        varint::write_unsigned(&mut out, 0); // no message
        varint::write_unsigned(&mut out, others.len() as u64);
        for other in &others {
            put_bytes(&mut out, &other.0);
        }

        let number = |id: &ValueId| others.iter().position(|other| *other == id.actor);
        let number = |id: &ValueId| number(id).map_or(0, |index| index as u64 + 1);
        let keys: Vec<_> = self.puts.iter().map(|put| put.key.as_bytes()).collect();
        let meta = |put: &Put| (put.text.len() as u64) << 4 | VALUE_TEXT;
        let metas: Vec<_> = self.puts.iter().map(meta).collect();
        let counts: Vec<_> = self.puts.iter().map(|put| put.replaces.len() as u64).collect();
        let mut last = 0;
        let steps: Vec<_> = replaced()
            .map(|id| {
                let counter = id.counter.cast_signed();
                counter - std::mem::replace(&mut last, counter)
            })
            .collect();
        let mut falses = Vec::new();
        varint::write_unsigned(&mut falses, self.puts.len() as u64);
        let unsigned = |out: &mut Vec<u8>, value: &u64| varint::write_unsigned(out, *value);
        let columns = [
            (KEY, write_runs(&keys, |out, key| put_bytes(out, key))),
            (INSERT, falses),
            (ACTION, write_runs(&vec![ACTION_PUT; self.puts.len()], unsigned)),
            (VALUE_META, write_runs(&metas, unsigned)),
            (VALUE, self.puts.iter().flat_map(|put| put.text.bytes()).collect()),
            (REPLACED, write_runs(&counts, unsigned)),
            (REPLACED_ACTOR, write_runs(&replaced().map(number).collect::<Vec<_>>(), unsigned)),
            (REPLACED_COUNTER, write_runs(&steps, |out, step| write_signed(out, *step))),
        ];
        let present = || columns.iter().filter(|(_, data)| !data.is_empty());
        varint::write_unsigned(&mut out, present().count() as u64);
        for (specification, data) in present() {
            varint::write_unsigned(&mut out, *specification);
            varint::write_unsigned(&mut out, data.len() as u64);
        }
        for (_, data) in present() {
            out.extend_from_slice(data);
        }
        out
    }
}

/// A signed LEB128 number in its shortest form.
fn write_signed(out: &mut Vec<u8>, value: i64) {
    let mut rest = value;
    loop {
        let byte = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        let sign = byte & 0x40 != 0;
        if rest == 0 && !sign || rest == -1 && sign {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// See [`runs`]: what stands more than once in a row is a run, what stands between runs is listed.
fn write_runs<T: PartialEq>(values: &[T], write: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::new();
    let signed = |length: usize| i64::try_from(length).expect("a change is small");
    let list = |out: &mut Vec<u8>, values: &[T]| {
        if !values.is_empty() {
            write_signed(out, -signed(values.len()));
            for value in values {
                write(out, value);
            }
        }
    };
    let (mut listed, mut at) = (0, 0);
    for run in values.chunk_by(|one, next| one == next) {
        if run.len() > 1 {
            list(&mut out, &values[listed..at]);
            write_signed(&mut out, signed(run.len()));
            write(&mut out, &run[0]);
            listed = at + run.len();
        }
        at += run.len();
    }
    list(&mut out, &values[listed..]);
    out
}

/// The hash that names the chunk, and its contents.
fn open(bytes: &[u8]) -> Result<(ChangeHash, &[u8]), NotAChange> {
    if bytes.len() > limits::CHANGE_BYTES_MAX {
        return Err(NotAChange::TooLarge(bytes.len()));
    }
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(NotAChange::OtherChunk)?;
    if head[..4] != MAGIC || head[8] != CHANGE {
        return Err(NotAChange::OtherChunk);
    }
    let mut contents = Input(rest);
    let length = contents.unsigned()?;
    if contents.0.len() as u64 != length {
        return Err(NotAChange::Length);
    }
    let hash: [u8; 32] = Sha256::digest(&bytes[HEAD_BYTES - 1..]).into();
    if hash[..4] != head[4..8] {
        return Err(NotAChange::Checksum);
    }
    Ok((ChangeHash(hash), contents.0))
}

/// Bytes that are taken off from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn unsigned(&mut self) -> Result<u64, NotAChange> {
        varint::read_unsigned(&mut self.0).map_err(|_| NotAChange::Number)
    }

    /// A signed LEB128 number in its shortest form, of magnitude below 2^53.
    fn signed(&mut self) -> Result<i64, NotAChange> {
        let (mut value, mut shift, mut before) = (0_i64, 0, 0_u8);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(NotAChange::Length)?;
            self.0 = rest;
            if shift > 49 {
                return Err(NotAChange::Number);
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                // The last byte must say something that the sign of the one before does not.
                let is_idle = shift > 7
                    && (*byte == 0 && before & 0x40 == 0 || *byte == 0x7f && before & 0x40 != 0);
                if is_idle {
                    return Err(NotAChange::Number);
                }
                let value = if byte & 0x40 == 0 { value } else { value | -1 << shift };
                return if value.unsigned_abs() < varint::LIMIT {
                    Ok(value)
                } else {
                    Err(NotAChange::Number)
                };
            }
            before = *byte;
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], NotAChange> {
        let length = usize::try_from(length).map_err(|_| NotAChange::Length)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NotAChange::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn count(&mut self, max: usize, what: &'static str) -> Result<usize, NotAChange> {
        let count = usize::try_from(self.unsigned()?).ok().filter(|count| *count <= max);
        count.ok_or(NotAChange::TooMany(what))
    }

    fn hashes(&mut self) -> Result<Vec<ChangeHash>, NotAChange> {
        let count = self.count(limits::CHANGE_DEPENDENCIES_MAX, "dependencies")?;
        let mut hashes = Vec::with_capacity(count);
        for _ in 0..count {
            let hash = self.take(32)?.try_into().map_err(|_| NotAChange::Length)?;
            hashes.push(ChangeHash(hash));
        }
        if hashes.is_sorted_by(|one, next| one < next) {
            Ok(hashes)
        } else {
            Err(NotAChange::Order)
        }
    }

    fn actor(&mut self) -> Result<Actor, NotAChange> {
        if self.unsigned()? != 16 {
            return Err(NotAChange::Actor);
        }
        Ok(Actor(self.take(16)?.try_into().map_err(|_| NotAChange::Length)?))
    }

    /// Actors by number: its own first.
    fn actors(&mut self, own: Actor) -> Result<Vec<Actor>, NotAChange> {
        let count = self.count(limits::CHANGE_ACTORS_MAX, "actors")?;
        let mut actors = vec![own];
        for _ in 0..count {
            actors.push(self.actor()?);
        }
        let in_order = actors[1..].is_sorted_by(|one, next| one < next);
        if in_order && !actors[1..].contains(&own) { Ok(actors) } else { Err(NotAChange::Order) }
    }
}

/// The columns that puts of texts have; those that are absent are empty.
#[derive(Default)]
struct Columns<'a> {
    key: &'a [u8],
    insert: &'a [u8],
    action: &'a [u8],
    value_meta: &'a [u8],
    value: &'a [u8],
    replaced: &'a [u8],
    replaced_actor: &'a [u8],
    replaced_counter: &'a [u8],
}

impl<'a> Columns<'a> {
    fn read(input: &mut Input<'a>) -> Result<Self, NotAChange> {
        let count = input.count(8, "columns")?;
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            headers.push((input.unsigned()?, input.unsigned()?));
        }
        let mut columns = Self::default();
        let mut before = None;
        for (specification, length) in headers {
            let column = match specification {
                KEY => &mut columns.key,
                INSERT => &mut columns.insert,
                ACTION => &mut columns.action,
                VALUE_META => &mut columns.value_meta,
                VALUE => &mut columns.value,
                REPLACED => &mut columns.replaced,
                REPLACED_ACTOR => &mut columns.replaced_actor,
                REPLACED_COUNTER => &mut columns.replaced_counter,
                other => return Err(NotAChange::Column(other)),
            };
            if before >= Some(specification) || length == 0 {
                return Err(NotAChange::Column(specification));
            }
            before = Some(specification);
            *column = input.take(length)?;
        }
        Ok(columns)
    }

    fn puts(&self, actors: &[Actor], start_op: u64) -> Result<Vec<Put>, NotAChange> {
        let texts = |input: &mut Input<'_>| {
            let length = input.unsigned()?;
            let bytes = input.take(length)?;
            String::from_utf8(bytes.to_vec()).map_err(|_| NotAChange::Key)
        };
        let keys = runs(self.key, limits::CHANGE_PUTS_MAX, "puts", texts)?;
        let count = keys.len();
        if count == 0 {
            return Err(NotAChange::Columns);
        }
        all_false(self.insert, count)?;
        let actions = runs(self.action, count, "actions", Input::unsigned)?;
        let metas = runs(self.value_meta, count, "values", Input::unsigned)?;
        let counts = runs(self.replaced, count, "counts of replaced values", Input::unsigned)?;
        if [actions.len(), metas.len(), counts.len()] != [count; 3] {
            return Err(NotAChange::Columns);
        }
        if actions.iter().any(|action| *action != ACTION_PUT) {
            return Err(NotAChange::OtherOperation);
        }
        let mut all_replaced = self.replaced(&counts, actors, start_op)?.into_iter();
        let mut value = Input(self.value);
        let mut puts = Vec::with_capacity(count);
        for ((key, meta), count) in keys.into_iter().zip(metas).zip(counts) {
            if meta & 0xf != VALUE_TEXT {
                return Err(NotAChange::OtherOperation);
            }
            let text = value.take(meta >> 4).map_err(|_| NotAChange::Columns)?;
            let text = String::from_utf8(text.to_vec()).map_err(|_| NotAChange::Text)?;
            check_key(&key)?;
            check_text(&text)?;
            let count = usize::try_from(count).map_err(|_| NotAChange::Columns)?;
            let replaces: Vec<_> = all_replaced.by_ref().take(count).collect();
            if !replaces.is_sorted_by(|one, next| one < next) {
                return Err(NotAChange::Replaced);
            }
            puts.push(Put { key, text, replaces });
        }
        let mut keys: Vec<_> = puts.iter().map(|put| put.key.as_str()).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(NotAChange::Key);
        }
        if value.0.is_empty() { Ok(puts) } else { Err(NotAChange::Columns) }
    }

    /// The values replaced by all puts together.
    fn replaced(
        &self,
        counts: &[u64],
        actors: &[Actor],
        start_op: u64,
    ) -> Result<Vec<ValueId>, NotAChange> {
        let max = limits::CHANGE_REPLACED_MAX;
        let sum = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let sum = sum.and_then(|sum| usize::try_from(sum).ok()).filter(|sum| *sum <= max);
        let sum = sum.ok_or(NotAChange::TooMany("replaced values"))?;
        let numbers = runs(self.replaced_actor, sum, "actors replaced", Input::unsigned)?;
        let steps = runs(self.replaced_counter, sum, "counters replaced", Input::signed)?;
        if [numbers.len(), steps.len()] != [sum; 2] {
            return Err(NotAChange::Columns);
        }
        let mut is_used = vec![false; actors.len()];
        is_used[0] = true;
        let mut last = 0_i64;
        let mut replaced = Vec::with_capacity(sum);
        for (number, step) in numbers.into_iter().zip(steps) {
            last = last.checked_add(step).ok_or(NotAChange::Number)?;
            let counter = u64::try_from(last).ok().filter(|counter| *counter < start_op);
            let number = usize::try_from(number).ok().filter(|number| *number < actors.len());
            let (Some(counter @ 1..), Some(number)) = (counter, number) else {
                return Err(NotAChange::Replaced);
            };
            is_used[number] = true;
            replaced.push(ValueId { counter, actor: actors[number] });
        }
        if is_used.contains(&false) { Err(NotAChange::Order) } else { Ok(replaced) }
    }
}

/// A column of runs: a count above 0 repeats the next value, one below 0 announces as many
/// different ones. Runs of nulls (0) have no place here.
fn runs<'a, T: Clone>(
    column: &'a [u8],
    max: usize,
    what: &'static str,
    read: impl Fn(&mut Input<'a>) -> Result<T, NotAChange>,
) -> Result<Vec<T>, NotAChange> {
    let mut input = Input(column);
    let mut values = Vec::new();
    while !input.0.is_empty() {
        let run = input.signed()?;
        let length = usize::try_from(run.unsigned_abs()).map_err(|_| NotAChange::TooMany(what))?;
        // Before anything is made of that length.
        if length > max - values.len() {
            return Err(NotAChange::TooMany(what));
        }
        match run {
            0 => return Err(NotAChange::OtherOperation),
            1.. => {
                let value = read(&mut input)?;
                values.extend(std::iter::repeat_n(value, length));
            }
            _ => {
                for _ in 0..length {
                    values.push(read(&mut input)?);
                }
            }
        }
    }
    Ok(values)
}

/// A column of booleans: lengths of runs in turn, false first. Nothing is inserted in a map.
fn all_false(column: &[u8], count: usize) -> Result<(), NotAChange> {
    let mut input = Input(column);
    let falses = input.unsigned()?;
    if falses == count as u64 && input.0.is_empty() {
        Ok(())
    } else {
        Err(NotAChange::OtherOperation)
    }
}

/// Whether a key may be.
pub(super) fn check_key(key: &str) -> Result<(), NotAChange> {
    let is_good =
        !key.is_empty() && key.len() <= limits::KEY_BYTES_MAX && !key.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(NotAChange::Key) }
}

/// Whether a text may be.
pub(super) fn check_text(text: &str) -> Result<(), NotAChange> {
    let is_good = text.len() <= limits::VALUE_BYTES_MAX
        && !text.chars().any(|letter| letter.is_control() && letter != '\n');
    if is_good { Ok(()) } else { Err(NotAChange::Text) }
}
