//! Facts made from a seed, for tests: known and unknown fields, every wire type and length. Knows
//! what is legal and nothing of what makes sense.

use super::record::{FACT_BYTES_MAX, FIELD_BYTES_MAX, Fact, Malformed, Value};
use super::{KindNo, field};
use crate::varint;

/// Chance that repeats itself for the same seed.
///
/// `SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a limit of its own kind")
    }

    /// The number of a field: mostly a known one.
    pub(crate) fn number(&mut self) -> u16 {
        let known = field::ALL.len() as u64;
        let number = match self.below(8) {
            0 => self.below(1 << 16),
            1 => self.below(4) * 1_000 + 100,
            _ => self.below(known + 3),
        };
        u16::try_from(number).expect("16 bits").max(1)
    }

    /// A value of any wire type; texts out of `text`.
    pub(crate) fn value<'a>(&mut self, text: &'a [u8; FIELD_BYTES_MAX]) -> Value<'a> {
        let bits = self.below(53) + 1;
        let magnitude = self.below(1 << bits).min(varint::LIMIT - 1);
        match self.below(4) {
            0 | 1 => Value::Unsigned(magnitude),
            2 if self.below(2) == 0 => Value::Signed(-magnitude.cast_signed()),
            2 => Value::Signed(magnitude.cast_signed()),
            _ => {
                let longest = [3, 12, 40, FIELD_BYTES_MAX][self.index(4)];
                let (start, length) = (self.index(8), self.index(longest) + 1);
                Value::Bytes(&text[start..(start + length).min(text.len())])
            }
        }
    }
}

/// Bytes of every kind.
pub(crate) fn text() -> [u8; FIELD_BYTES_MAX] {
    std::array::from_fn(|place| (place * 37 % 251).to_le_bytes()[0] ^ 0x80)
}

/// A legal fact.
pub(crate) fn fact(seed: u64) -> Fact {
    let mut chance = Chance::new(seed);
    let kind = chance.below(70) + 1;
    let mut fact = Fact::with_number(KindNo(u16::try_from(kind).expect("small")));
    let text = text();
    for _ in 0..chance.below(24) {
        let (number, value) = (chance.number(), chance.value(&text));
        match fact.set(number, value) {
            Ok(()) | Err(Malformed::TooLarge) => {}
            Err(refusal) => panic!("a legal field is refused: {refusal}"),
        }
    }
    assert!(fact.encoded_len() <= FACT_BYTES_MAX);
    fact
}
