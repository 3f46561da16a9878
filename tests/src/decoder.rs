//! A second reader of everything that is hashed and signed, written from `FORMAT.md` alone: it
//! must not use the project's own codec. Slow and plain. Invariant: it takes exactly what the
//! project's codec takes, and reads the same out of it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the limits of the format are checked before a number is cast"
)]

use blake3::derive_key;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// Refused, with the reason in words of this reader.
pub type Outcome<T> = Result<T, String>;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Wire type 0.
    Unsigned(u64),
    /// Wire type 1.
    Signed(i64),
    /// Wire type 2.
    Bytes(Vec<u8>),
}

/// A kind and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainFact {
    /// The kind's number.
    pub kind: u64,
    /// (number, value), rising.
    pub fields: Vec<(u64, Plain)>,
}

const NUMBER_LIMIT: u64 = 9_007_199_254_740_992;
const FIELD_MAX: u64 = 512;
const FACT_MAX: usize = 1_024;
const FACTS_MAX: u64 = 4_096;
const SEGMENT_MAX: usize = 4_194_304;
const COLUMNS_MAX: usize = 16_777_216;
const WINDOW: usize = 1_024;
const CHUNK: u64 = 65_536;

/// Bytes and how far they are read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn done(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        if self.bytes.len() - self.at < count {
            return Err("ends too early".to_owned());
        }
        self.at += count;
        Ok(&self.bytes[self.at - count..self.at])
    }

    fn byte(&mut self) -> Outcome<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn hash(&mut self) -> Outcome<[u8; 32]> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.take(32)?);
        Ok(hash)
    }

    /// Section 1, without the limit on values.
    fn varint(&mut self) -> Outcome<u64> {
        let mut groups = Vec::new();
        loop {
            let byte = self.byte()?;
            groups.push(u64::from(byte % 128));
            if byte < 128 {
                break;
            }
            if groups.len() == 9 {
                return Err("a number of more than nine bytes".to_owned());
            }
        }
        if groups.len() > 1 && groups[groups.len() - 1] == 0 {
            return Err("a number longer than needed".to_owned());
        }
        Ok(groups.iter().rev().fold(0, |value, group| value * 128 + group))
    }

    fn unsigned(&mut self) -> Outcome<u64> {
        in_limit_unsigned(self.varint()?)
    }

    fn signed(&mut self) -> Outcome<i64> {
        in_limit_signed(from_zigzag(self.varint()?))
    }
}

fn in_limit_unsigned(value: u64) -> Outcome<u64> {
    if value < NUMBER_LIMIT { Ok(value) } else { Err("2^53 or more".to_owned()) }
}

fn in_limit_signed(value: i128) -> Outcome<i64> {
    if value.abs() < i128::from(NUMBER_LIMIT) {
        Ok(value as i64)
    } else {
        Err("2^53 or more".to_owned())
    }
}

fn from_zigzag(mapped: u64) -> i128 {
    let half = i128::from(mapped / 2);
    if mapped.is_multiple_of(2) { half } else { -half - 1 }
}

fn to_zigzag(value: i128) -> u64 {
    (if value >= 0 { 2 * value } else { -2 * value - 1 }) as u64
}

fn varint_of(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push((value % 128 + 128) as u8);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

fn bytes_value(length: u64) -> Outcome<usize> {
    match length {
        0 => Err("an empty field".to_owned()),
        1..=FIELD_MAX => Ok(length as usize),
        _ => Err(format!("a field of more than {FIELD_MAX} bytes")),
    }
}

/// Reads one fact from the front; gives it and its count of bytes.
pub fn read_fact(bytes: &[u8]) -> Outcome<(PlainFact, usize)> {
    let mut cursor = Cursor::new(bytes);
    let kind = legal_kind(cursor.unsigned()?)?;
    let count = cursor.unsigned()?;
    let mut fields: Vec<(u64, Plain)> = Vec::new();
    for _ in 0..count {
        let tag = cursor.unsigned()?;
        let number = legal_number(tag / 4)?;
        if fields.last().is_some_and(|(last, _)| *last >= number) {
            return Err("numbers do not rise".to_owned());
        }
        let value = match tag % 4 {
            0 => Plain::Unsigned(cursor.unsigned()?),
            1 => Plain::Signed(cursor.signed()?),
            2 => {
                let length = bytes_value(cursor.unsigned()?)?;
                Plain::Bytes(cursor.take(length)?.to_vec())
            }
            _ => return Err("wire type 3".to_owned()),
        };
        fields.push((number, value));
        if cursor.at > FACT_MAX {
            return Err("a fact over its limit".to_owned());
        }
    }
    Ok((PlainFact { kind, fields }, cursor.at))
}

fn legal_kind(kind: u64) -> Outcome<u64> {
    if (1..=65_535).contains(&kind) { Ok(kind) } else { Err("no legal kind".to_owned()) }
}

fn legal_number(number: u64) -> Outcome<u64> {
    if (1..=65_535).contains(&number) {
        Ok(number)
    } else {
        Err("no legal field number".to_owned())
    }
}

/// Reads facts that stand one after the other, to the end.
pub fn read_facts(mut bytes: &[u8]) -> Outcome<Vec<PlainFact>> {
    let mut facts = Vec::new();
    while !bytes.is_empty() {
        let (fact, length) = read_fact(bytes)?;
        facts.push(fact);
        bytes = &bytes[length..];
    }
    Ok(facts)
}

/// The canonical bytes of a fact.
pub fn fact_bytes(fact: &PlainFact) -> Vec<u8> {
    let mut bytes = varint_of(fact.kind);
    bytes.extend(varint_of(fact.fields.len() as u64));
    for (number, value) in &fact.fields {
        bytes.extend(varint_of(number * 4 + wire_of(value)));
        bytes.extend(value_bytes(value));
    }
    bytes
}

fn wire_of(value: &Plain) -> u64 {
    match value {
        Plain::Unsigned(_) => 0,
        Plain::Signed(_) => 1,
        Plain::Bytes(_) => 2,
    }
}

fn value_bytes(value: &Plain) -> Vec<u8> {
    match value {
        Plain::Unsigned(value) => varint_of(*value),
        Plain::Signed(value) => varint_of(to_zigzag((*value).into())),
        Plain::Bytes(bytes) => [varint_of(bytes.len() as u64), bytes.clone()].concat(),
    }
}

/// A log's genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainGenesis {
    /// 0 is HQ.
    pub site: u64,
    /// The installation.
    pub device: u64,
    /// Of the log's key.
    pub public_key: [u8; 32],
    /// Log, seq and head that it continues.
    pub predecessor: Option<([u8; 32], u64, [u8; 32])>,
}

/// Reads a genesis record.
pub fn read_genesis(bytes: &[u8]) -> Outcome<PlainGenesis> {
    let mut cursor = Cursor::new(bytes);
    if cursor.unsigned()? != 1 {
        return Err("another format".to_owned());
    }
    let (site, device) = (cursor.unsigned()?, cursor.unsigned()?);
    if site >= 1 << 32 || device >= 1 << 32 {
        return Err("a site or device of 2^32 or more".to_owned());
    }
    cursor.hash()?;
    let public_key = cursor.hash()?;
    let predecessor = match cursor.byte()? {
        0 => None,
        1 => Some((cursor.hash()?, cursor.unsigned()?, cursor.hash()?)),
        _ => return Err("neither with nor without predecessor".to_owned()),
    };
    if cursor.done() {
        Ok(PlainGenesis { site, device, public_key, predecessor })
    } else {
        Err("more bytes follow".to_owned())
    }
}

/// The id of the log that starts with this genesis record.
pub fn log_id(genesis: &[u8]) -> [u8; 32] {
    derive_key("warebook 2026-11 genesis", genesis)
}

/// The head after the facts, each given as its canonical bytes.
pub fn head(log_id: [u8; 32], facts: &[Vec<u8>]) -> [u8; 32] {
    let mut head = log_id;
    for window in facts.chunks(WINDOW) {
        let input = [head.to_vec(), window.concat()].concat();
        head = derive_key("warebook 2026-11 chain", &input);
    }
    head
}

/// The hash that stands in a fact for a text.
pub fn text_hash(salt: &[u8], text: &str) -> [u8; 32] {
    derive_key("warebook 2026-11 text", &[salt, text.as_bytes()].concat())
}

/// Reads columns; refuses all but the one legal form.
pub fn read_columns(bytes: &[u8]) -> Outcome<Vec<PlainFact>> {
    let facts = read_any_columns(bytes)?;
    if columns_of(&facts) == bytes { Ok(facts) } else { Err("not the one legal form".to_owned()) }
}

/// Reads columns in any form that makes sense.
fn read_any_columns(bytes: &[u8]) -> Outcome<Vec<PlainFact>> {
    if bytes.len() > COLUMNS_MAX {
        return Err("more bytes than columns may have".to_owned());
    }
    let mut cursor = Cursor::new(bytes);
    if cursor.byte()? != 1 {
        return Err("another version".to_owned());
    }
    let count = cursor.varint()?;
    if count > FACTS_MAX {
        return Err("too many facts".to_owned());
    }
    let mut facts = vec![PlainFact { kind: 0, fields: Vec::new() }; count as usize];
    let mut before: Option<(u64, u64, Vec<bool>)> = None;
    let mut size = 0;
    while !cursor.done() || (before.is_none() && count > 0) {
        if count == 0 {
            return Err("columns of no facts".to_owned());
        }
        let column = read_column(&mut cursor, &mut facts, before.as_ref())?;
        size += column.size;
        if size > SEGMENT_MAX {
            return Err("facts of more than a segment holds".to_owned());
        }
        before = Some((column.number, column.wire, column.present));
    }
    if facts.iter().any(|fact| fact_bytes(fact).len() > FACT_MAX) {
        return Err("a fact over its limit".to_owned());
    }
    Ok(facts)
}

struct Column {
    number: u64,
    wire: u64,
    present: Vec<bool>,
    /// At least the bytes that the facts take for it.
    size: usize,
}

fn read_column(
    cursor: &mut Cursor<'_>,
    facts: &mut [PlainFact],
    before: Option<&(u64, u64, Vec<bool>)>,
) -> Outcome<Column> {
    let head = cursor.varint()?;
    let (form, presence, wire) = (head % 3, head / 3 % 4, head / 12 % 3);
    let number = before.map_or(0, |before| before.0) + head / 36;
    match before {
        None if (number, wire, presence) != (0, 0, 0) => return Err("no kinds".to_owned()),
        Some((last, last_wire, _)) if (*last, *last_wire) >= (number, wire) => {
            return Err("columns do not rise".to_owned());
        }
        Some(_) => drop(legal_number(number)?),
        None => {}
    }
    let present = read_presence(cursor, presence, facts.len(), before)?;
    let count = present.iter().filter(|present| **present).count();
    if count == 0 {
        return Err("nobody's column".to_owned());
    }
    let values = match wire {
        2 => read_bytes(cursor, form, count)?,
        _ => read_integers(cursor, form, count, wire)?,
    };
    let size = values.iter().map(|value| value_bytes(value).len()).sum();
    if size > SEGMENT_MAX {
        return Err("facts of more than a segment holds".to_owned());
    }
    let having = facts.iter_mut().zip(&present).filter(|(_, present)| **present);
    for ((fact, _), value) in having.zip(values) {
        match (number, value) {
            (0, Plain::Unsigned(kind)) => fact.kind = legal_kind(kind)?,
            (_, value) => {
                if fact.fields.last().is_some_and(|(last, _)| *last == number) {
                    return Err("one fact has a number twice".to_owned());
                }
                fact.fields.push((number, value));
            }
        }
    }
    Ok(Column { number, wire, present, size })
}

fn read_presence(
    cursor: &mut Cursor<'_>,
    form: u64,
    facts: usize,
    before: Option<&(u64, u64, Vec<bool>)>,
) -> Outcome<Vec<bool>> {
    match form {
        0 => Ok(vec![true; facts]),
        1 => Ok(before.map(|before| before.2.clone()).unwrap_or_default()),
        2 => {
            let bytes = cursor.take(facts.div_ceil(8))?;
            let bit = |fact: usize| bytes[fact / 8] / (1 << (fact % 8)) % 2 == 1;
            if (facts..bytes.len() * 8).any(bit) {
                return Err("bits beyond the last fact".to_owned());
            }
            Ok((0..facts).map(bit).collect())
        }
        _ => {
            let mut present = Vec::new();
            let mut run_of = false;
            while present.len() < facts {
                let length = cursor.varint()?;
                if length > (facts - present.len()) as u64 {
                    return Err("runs beyond the last fact".to_owned());
                }
                if length == 0 && (run_of || !present.is_empty()) {
                    return Err("an empty run".to_owned());
                }
                present.extend(vec![run_of; length as usize]);
                run_of = !run_of;
            }
            Ok(present)
        }
    }
}

fn read_integers(
    cursor: &mut Cursor<'_>,
    form: u64,
    count: usize,
    wire: u64,
) -> Outcome<Vec<Plain>> {
    let legal = |value: i128| match wire {
        0 => u64::try_from(value)
            .map_err(|_| "below 0".to_owned())
            .and_then(in_limit_unsigned)
            .map(Plain::Unsigned),
        _ => in_limit_signed(value).map(Plain::Signed),
    };
    let one = |cursor: &mut Cursor<'_>| match wire {
        0 => cursor.unsigned().map(Plain::Unsigned),
        _ => cursor.signed().map(Plain::Signed),
    };
    match form {
        0 => (0..count).map(|_| one(cursor)).collect(),
        1 => Ok(vec![one(cursor)?; count]),
        _ => {
            let mut value = 0;
            let mut next = || {
                value += from_zigzag(cursor.varint()?);
                legal(value)
            };
            (0..count).map(|_| next()).collect()
        }
    }
}

fn read_bytes(cursor: &mut Cursor<'_>, form: u64, count: usize) -> Outcome<Vec<Plain>> {
    fn several(cursor: &mut Cursor<'_>, count: usize) -> Outcome<Vec<Plain>> {
        let lengths: Vec<_> =
            (0..count).map(|_| cursor.varint().and_then(bytes_value)).collect::<Outcome<_>>()?;
        lengths.iter().map(|length| Ok(Plain::Bytes(cursor.take(*length)?.to_vec()))).collect()
    }
    match form {
        0 => several(cursor, count),
        1 => Ok(vec![several(cursor, 1)?.remove(0); count]),
        _ => {
            let distinct = cursor.varint()?;
            if distinct > count as u64 {
                return Err("more distinct values than values".to_owned());
            }
            let entries = several(cursor, distinct as usize)?;
            let mut next = || {
                let place = cursor.varint()? as usize;
                entries.get(place).cloned().ok_or_else(|| "no such entry".to_owned())
            };
            (0..count).map(|_| next()).collect()
        }
    }
}

/// The columns of facts: writes every form and keeps the shortest, the first of equally short ones.
pub fn columns_of(facts: &[PlainFact]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(varint_of(facts.len() as u64));
    if facts.is_empty() {
        return out;
    }
    let kinds = facts.iter().map(|fact| Some(Plain::Unsigned(fact.kind))).collect::<Vec<_>>();
    let mut tags: Vec<_> = facts
        .iter()
        .flat_map(|fact| fact.fields.iter().map(|(number, value)| (*number, wire_of(value))))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    let of_tag = |(number, wire): (u64, u64)| {
        let value = |fact: &PlainFact| {
            let found =
                fact.fields.iter().find(|(at, value)| (*at, wire_of(value)) == (number, wire));
            found.map(|(_, value)| value.clone())
        };
        ((number, wire), facts.iter().map(value).collect::<Vec<_>>())
    };
    let columns = std::iter::once(((0, 0), kinds)).chain(tags.into_iter().map(of_tag));

    let mut before: (u64, Vec<bool>) = (0, Vec::new());
    for ((number, wire), column) in columns {
        let present: Vec<_> = column.iter().map(Option::is_some).collect();
        let values: Vec<_> = column.into_iter().flatten().collect();
        let (presence_form, presence) = shortest(presence_forms(&present, &before.1));
        let (form, values) = shortest(value_forms(&values));
        let head = (((number - before.0) * 3 + wire) * 4 + presence_form) * 3 + form;
        out.extend([varint_of(head), presence, values].concat());
        before = (number, present);
    }
    out
}

fn shortest(forms: Vec<(u64, Vec<u8>)>) -> (u64, Vec<u8>) {
    forms.into_iter().min_by_key(|(form, bytes)| (bytes.len(), *form)).expect("there is always one")
}

fn presence_forms(present: &[bool], before: &[bool]) -> Vec<(u64, Vec<u8>)> {
    let bit = |(place, present): (usize, &bool)| u8::from(*present) << place;
    let bitmap = present.chunks(8).map(|eight| eight.iter().enumerate().map(bit).sum()).collect();
    let mut runs: Vec<u64> = vec![0];
    let mut run_of = false;
    for present in present {
        if *present != run_of {
            runs.push(0);
            run_of = *present;
        }
        *runs.last_mut().expect("never empty") += 1;
    }
    let runs = runs.into_iter().flat_map(varint_of).collect();
    let mut forms = vec![(2, bitmap), (3, runs)];
    if present.iter().all(|present| *present) {
        forms.push((0, Vec::new()));
    }
    if present == before {
        forms.push((1, Vec::new()));
    }
    forms
}

fn value_forms(values: &[Plain]) -> Vec<(u64, Vec<u8>)> {
    let of_bytes = matches!(values[0], Plain::Bytes(_));
    let several: fn(&[Plain]) -> Vec<u8> = if of_bytes { texts } else { integers };
    let related = if of_bytes { dictionary(values) } else { differences(values) };
    let mut forms = vec![(0, several(values)), (2, related)];
    if values.len() >= 2 && values.iter().all(|value| *value == values[0]) {
        forms.push((1, several(&values[..1])));
    }
    forms
}

fn integers(values: &[Plain]) -> Vec<u8> {
    values.iter().flat_map(value_bytes).collect()
}

fn differences(values: &[Plain]) -> Vec<u8> {
    let mut before = 0;
    let mut out = Vec::new();
    for value in values {
        let value = match value {
            Plain::Unsigned(value) => i128::from(*value),
            Plain::Signed(value) => i128::from(*value),
            Plain::Bytes(_) => unreachable!("a column has one wire type"),
        };
        out.extend(varint_of(to_zigzag(value - before)));
        before = value;
    }
    out
}

fn texts(values: &[Plain]) -> Vec<u8> {
    let (mut lengths, mut contents) = (Vec::new(), Vec::new());
    for value in values {
        let Plain::Bytes(bytes) = value else { unreachable!("a column has one wire type") };
        lengths.extend(varint_of(bytes.len() as u64));
        contents.extend(bytes);
    }
    [lengths, contents].concat()
}

fn dictionary(values: &[Plain]) -> Vec<u8> {
    let (mut distinct, mut places) = (Vec::new(), Vec::new());
    for value in values {
        let place = distinct.iter().position(|known| known == value);
        places.extend(varint_of(place.unwrap_or(distinct.len()) as u64));
        if place.is_none() {
            distinct.push(value.clone());
        }
    }
    [varint_of(distinct.len() as u64), texts(&distinct), places].concat()
}

/// Undoes packing.
pub fn unpack(packed: &[u8]) -> Outcome<Vec<u8>> {
    let mut cursor = Cursor::new(packed);
    let mut out = Vec::new();
    match cursor.byte()? {
        0 => out = cursor.take(packed.len() - 1)?.to_vec(),
        1 => {
            while !cursor.done() {
                let part = unpack_part(&mut cursor, COLUMNS_MAX - out.len(), true)?;
                out.extend(part);
            }
        }
        _ => return Err("another packing".to_owned()),
    }
    if out.len() > COLUMNS_MAX { Err("too long".to_owned()) } else { Ok(out) }
}

fn unpack_part(cursor: &mut Cursor<'_>, room: usize, planes_allowed: bool) -> Outcome<Vec<u8>> {
    let head = cursor.unsigned()?;
    if head / 4 > room as u64 {
        return Err("too long".to_owned());
    }
    let length = (head / 4) as usize;
    match head % 4 {
        0 => Ok(cursor.take(length)?.to_vec()),
        1 => {
            let frame_length = cursor.unsigned()?.min(1 << 40) as usize;
            let frame = [&[0x28, 0xb5, 0x2f, 0xfd], cursor.take(frame_length)?].concat();
            let part = zstd::bulk::decompress(&frame, length).map_err(|error| error.to_string())?;
            if part.len() == length { Ok(part) } else { Err("another length".to_owned()) }
        }
        2 if planes_allowed => {
            let mut planes = Vec::new();
            let mut room = length;
            for _ in 0..10 {
                let mut plane = unpack_part(cursor, room, false)?;
                room -= plane.len();
                plane.reverse();
                planes.push(plane);
            }
            let mut part: Vec<u8> = Vec::new();
            let mut plane = 0;
            while part.len() < length {
                let byte = planes[plane].pop().ok_or("a plane ends too early")?;
                part.push(byte);
                plane = if byte < 0x80 { 0 } else { (plane + 1).min(9) };
            }
            if room == 0 { Ok(part) } else { Err("planes shorter than their part".to_owned()) }
        }
        _ => Err("no such part".to_owned()),
    }
}

/// A signed range of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainSeal {
    /// The log.
    pub log: [u8; 32],
    /// Its first fact.
    pub first: u64,
    /// Its last fact.
    pub last: u64,
    /// The head after it.
    pub head: [u8; 32],
    /// The hash of its change in the journal document.
    pub document_head: [u8; 32],
}

/// Reads a signed seal and checks its signature.
pub fn read_signed_seal(bytes: &[u8], public_key: &[u8; 32]) -> Outcome<PlainSeal> {
    let mut cursor = Cursor::new(bytes);
    let seal = PlainSeal {
        log: cursor.hash()?,
        first: cursor.unsigned()?,
        last: cursor.unsigned()?,
        head: cursor.hash()?,
        document_head: cursor.hash()?,
    };
    let body = &bytes[..cursor.at];
    let mut signature = [0; 64];
    signature.copy_from_slice(cursor.take(64)?);
    if !cursor.done() {
        return Err("more bytes follow".to_owned());
    }
    let PlainSeal { first, last, .. } = seal;
    if first == 0
        || last < first
        || last - first >= FACTS_MAX
        || (first - 1) / CHUNK != (last - 1) / CHUNK
    {
        return Err("no legal range".to_owned());
    }
    let context = b"warebook 2026-11 seal";
    let signed = [&[context.len() as u8][..], context, body].concat();
    let key = VerifyingKey::from_bytes(public_key).map_err(|error| error.to_string())?;
    key.verify_strict(&signed, &Signature::from_bytes(&signature))
        .map_err(|error| error.to_string())?;
    Ok(seal)
}

/// The change that holds the columns of the range from `first`, and its hash. `before` is the hash
/// of the chunk's change before and `ordinal` counts the chunk's seals from 1.
pub fn journal_change(
    log: &[u8; 32],
    first: u64,
    ordinal: u64,
    before: Option<[u8; 32]>,
    columns: &[u8],
) -> (Vec<u8>, [u8; 32]) {
    let chunk = (first - 1) / CHUNK;
    let actor_input = [&log[..], &chunk.to_be_bytes()].concat();
    let actor = derive_key("warebook 2026-11 journal actor", &actor_input);
    let key_column = format!("\u{7f}\u{10}{first:016}").into_bytes();
    let value_column = [vec![0x7f], varint_of(columns.len() as u64 * 16 + 7)].concat();
    let six: [(u8, &[u8]); 6] = [
        (0x15, &key_column),
        (0x34, &[1]),
        (0x42, &[0x7f, 1]),
        (0x56, &value_column),
        (0x57, columns),
        (0x70, &[0x7f, 0]),
    ];
    let mut contents = match before {
        None => vec![0],
        Some(hash) => [&[1], &hash[..]].concat(),
    };
    contents.push(16);
    contents.extend(&actor[..16]);
    contents.extend(varint_of(ordinal));
    contents.extend(varint_of(ordinal));
    contents.extend([0, 0, 0, 6]);
    for (number, data) in six {
        contents.push(number);
        contents.extend(varint_of(data.len() as u64));
    }
    for (_, data) in six {
        contents.extend(data);
    }
    let hashed = [vec![1], varint_of(contents.len() as u64), contents].concat();
    let hash: [u8; 32] = Sha256::digest(&hashed).into();
    ([&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat(), hash)
}
