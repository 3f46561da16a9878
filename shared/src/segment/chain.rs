//! The chain of a log: its genesis and the head after every fact. Knows no field of a fact.
//! Invariant: heads depend on the genesis and the facts alone, never on how they were packed.

use super::context;
use crate::fact::Fact;
use crate::ids::{DeviceNo, Head, LogId, Seq, SiteNo};
use crate::varint::{self, VarintError};

/// A head covers the facts since the last multiple of this.
pub const WINDOW: u64 = 1024;

/// The version of facts and chain that a genesis states.
pub const FORMAT: u64 = 1;

/// What a log starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The version of facts and chain; [`FORMAT`].
    pub format: u64,
    /// The site that writes the log.
    pub site: SiteNo,
    /// The installation that writes the log.
    pub device: DeviceNo,
    /// Makes the log's id its own.
    pub random: [u8; 32],
    /// The Ed25519 key that signs its seals.
    pub public_key: [u8; 32],
    /// The log it continues: its id and the last fact taken over with the head after it.
    pub predecessor: Option<(LogId, Seq, Head)>,
}

/// Bytes that are no genesis record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The bytes end inside the record.
    #[error("the bytes end inside the genesis record")]
    Truncated,
    /// Bytes follow the record.
    #[error("{0} bytes follow the genesis record")]
    Trailing(usize),
    /// A number has no legal form or is over 32 bits.
    #[error("a number of the genesis record is out of range: {0}")]
    Number(#[from] VarintError),
    /// A version that this program does not know.
    #[error("genesis format {0} is not known: update the program")]
    UnknownFormat(u64),
    /// Neither 0 nor 1 where the record says whether a predecessor follows.
    #[error("the genesis record says neither that a predecessor follows nor that none does")]
    BadPredecessor,
}

impl Genesis {
    /// The bytes that are hashed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        varint::write_unsigned(&mut out, self.format);
        varint::write_unsigned(&mut out, self.site.into());
        varint::write_unsigned(&mut out, self.device.into());
        out.extend_from_slice(&self.random);
        out.extend_from_slice(&self.public_key);
        out.push(u8::from(self.predecessor.is_some()));
        if let Some((log, seq, head)) = &self.predecessor {
            out.extend_from_slice(&log.0);
            varint::write_unsigned(&mut out, seq.0);
            out.extend_from_slice(&head.0);
        }
        out
    }

    /// Reads a record in its one legal form.
    pub fn decode(mut input: &[u8]) -> Result<Self, GenesisError> {
        let input = &mut input;
        let format = varint::read_unsigned(input)?;
        if format != FORMAT {
            return Err(GenesisError::UnknownFormat(format));
        }
        let genesis = Self {
            format,
            site: SiteNo(read_u32(input)?),
            device: DeviceNo(read_u32(input)?),
            random: read_32(input)?,
            public_key: read_32(input)?,
            predecessor: match varint::read_unsigned(input)? {
                0 => None,
                1 => {
                    let log = LogId(read_32(input)?);
                    let seq = Seq(varint::read_unsigned(input)?);
                    Some((log, seq, Head(read_32(input)?)))
                }
                _ => return Err(GenesisError::BadPredecessor),
            },
        };
        if input.is_empty() { Ok(genesis) } else { Err(GenesisError::Trailing(input.len())) }
    }

    /// The id of the log that starts with this record; also the head before its first fact.
    pub fn log_id(&self) -> LogId {
        LogId(context::hash(context::GENESIS, &self.encode()))
    }
}

fn read_u32(input: &mut &[u8]) -> Result<u32, GenesisError> {
    u32::try_from(varint::read_unsigned(input)?)
        .map_err(|_| GenesisError::Number(VarintError::TooLarge))
}

fn read_32(input: &mut &[u8]) -> Result<[u8; 32], GenesisError> {
    let (bytes, rest) = input.split_first_chunk().ok_or(GenesisError::Truncated)?;
    *input = rest;
    Ok(*bytes)
}

/// Follows a log and knows the head after every fact.
#[derive(Clone, Debug)]
pub struct Chain {
    log: LogId,
    seq: Seq,
    window_head: Head,
    /// Has taken in the window's head and the facts since.
    hasher: blake3::Hasher,
}

impl Chain {
    /// At the start of a log, before its first fact.
    pub fn start(log: LogId) -> Self {
        Self::resume(log, Seq::ZERO, Head(log.0))
    }

    /// At the start of a window, as [`Chain::window`] gave it. The facts since come by
    /// [`Chain::append`].
    ///
    /// `window_start` is a multiple of [`WINDOW`]; `window_head` is taken as true.
    pub fn resume(log: LogId, window_start: Seq, window_head: Head) -> Self {
        assert!(window_start.0.is_multiple_of(WINDOW), "a window starts at a multiple of {WINDOW}");
        Self { log, seq: window_start, window_head, hasher: window_hasher(&window_head) }
    }

    /// Takes the canonical bytes of the next fact.
    pub fn append(&mut self, fact_bytes: &[u8]) {
        self.hasher.update(fact_bytes);
        self.advance(1);
    }

    /// Takes the next facts. Hashes them in bulk, several times faster than one by one.
    pub fn extend(&mut self, facts: &[Fact]) {
        let mut rest = facts;
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            let room = usize::try_from(WINDOW - self.seq.0 % WINDOW).expect("at most 1024");
            let (now, later) = rest.split_at(room.min(rest.len()));
            bytes.clear();
            bytes.reserve(now.iter().map(Fact::encoded_len).sum());
            for fact in now {
                fact.encode(&mut bytes);
            }
            self.hasher.update(&bytes);
            self.advance(now.len() as u64);
            rest = later;
        }
    }

    fn advance(&mut self, facts: u64) {
        self.seq = Seq(self.seq.0 + facts);
        if self.seq.0.is_multiple_of(WINDOW) {
            self.window_head = Head(self.hasher.finalize().into());
            self.hasher = window_hasher(&self.window_head);
        }
    }

    /// The log.
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// The place of the last fact taken.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// The head after the last fact taken.
    pub fn head(&self) -> Head {
        if self.seq.0.is_multiple_of(WINDOW) {
            self.window_head
        } else {
            Head(self.hasher.finalize().into())
        }
    }

    /// The start of the window that the next fact belongs to, and the head there: what to keep for
    /// [`Chain::resume`]. At a multiple of [`WINDOW`] that is the place itself.
    pub const fn window(&self) -> (Seq, Head) {
        (Seq(self.seq.0 - self.seq.0 % WINDOW), self.window_head)
    }
}

fn window_hasher(head: &Head) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context::CHAIN);
    hasher.update(&head.0);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Kind, Value};

    fn facts(count: u64) -> Vec<Fact> {
        (1..=count)
            .map(|number| {
                let mut fact = Fact::new(Kind::Receipt);
                fact.push(2, Value::Unsigned(number)).expect("a legal field");
                fact
            })
            .collect()
    }

    /// The definition, word by word.
    fn head_by_definition(log: LogId, facts: &[Fact]) -> Head {
        let Some(before) = facts.len().checked_sub(1) else { return Head(log.0) };
        let start = before - before % 1024;
        let mut input = head_by_definition(log, &facts[..start]).0.to_vec();
        facts[start..].iter().for_each(|fact| fact.encode(&mut input));
        Head(blake3::derive_key("warebook 2026-11 chain", &input))
    }

    #[test]
    fn every_head_is_as_defined_however_facts_come_in() {
        let log = LogId([9; 32]);
        let facts = facts(2_100);
        let mut single = Chain::start(log);
        for (index, fact) in facts.iter().enumerate() {
            single.append(&fact.to_bytes());
            let count = index + 1;
            if [1, 2, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 2_100].contains(&count) {
                let expected = head_by_definition(log, &facts[..count]);
                assert_eq!((single.seq(), single.head()), (Seq(count as u64), expected));
                for cut in [0, 1, 1_000, 1_024, 1_025] {
                    let mut bulk = Chain::start(log);
                    let cut = cut.min(count);
                    bulk.extend(&facts[..cut]);
                    bulk.extend(&facts[cut..count]);
                    assert_eq!(bulk.head(), expected, "{count} facts, cut at {cut}");
                }
                let (start, head) = single.window();
                let mut resumed = Chain::resume(log, start, head);
                let start = usize::try_from(start.0).expect("small");
                resumed.extend(&facts[start..count]);
                assert_eq!((resumed.seq(), resumed.head()), (single.seq(), expected));
            }
        }
    }

    #[test]
    fn genesis_has_one_form() {
        let plain = Genesis {
            format: FORMAT,
            site: SiteNo(3),
            device: DeviceNo(300),
            random: [1; 32],
            public_key: [2; 32],
            predecessor: None,
        };
        let after = Genesis {
            predecessor: Some((LogId([3; 32]), Seq(4_000), Head([4; 32]))),
            ..plain.clone()
        };
        for genesis in [&plain, &after] {
            let bytes = genesis.encode();
            assert_eq!(Genesis::decode(&bytes).as_ref(), Ok(genesis));
            for cut in 0..bytes.len() {
                assert!(Genesis::decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Genesis::decode(&longer), Err(GenesisError::Trailing(1)));
        }
        assert_ne!(plain.log_id(), after.log_id());
        let mut later = plain.encode();
        later[0] = 2;
        assert_eq!(Genesis::decode(&later), Err(GenesisError::UnknownFormat(2)));
        let mut neither = plain.encode();
        *neither.last_mut().expect("not empty") = 2;
        assert_eq!(Genesis::decode(&neither), Err(GenesisError::BadPredecessor));
    }
}
