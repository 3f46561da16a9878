//! The known fields of one fact by number, found in one walk: for those who ask for many. Knows
//! which numbers fields have, nothing of their meaning. Invariant: says of every known field what
//! [`Fact::value`](super::Fact::value) says.

use super::body::{Body, LEGAL};
use super::field;
use super::record::WireType;
use crate::varint::unzigzag;

/// One more than the highest number of a known field.
const NUMBERS: usize = field::ALL[field::ALL.len() - 1].0 as usize + 1;

/// The known fields of one fact.
pub(super) struct ByNumber<'a> {
    body: &'a [u8],
    /// By field number: wire type + 1; 0 where the field is absent.
    wires: [u8; NUMBERS],
    /// By field number: an unsigned value; a signed one in zigzag form; for bytes, the first x
    /// 65,536 + their length.
    values: [u64; NUMBERS],
}

impl<'a> ByNumber<'a> {
    #[inline]
    pub(super) fn of(body: &'a Body) -> Self {
        let mut known = Self { body: body.as_slice(), wires: [0; NUMBERS], values: [0; NUMBERS] };
        let mut walk = body.walk();
        while let Some(found) = walk.next() {
            let number = usize::from(found.tag.number);
            if number >= NUMBERS {
                // What follows has higher numbers still.
                break;
            }
            known.wires[number] = found.tag.wire as u8 + 1;
            known.values[number] = match found.tag.wire {
                WireType::Bytes => (found.behind as u64) << 16 | found.number,
                _ => found.number,
            };
        }
        known
    }

    /// The value of a known field of this wire type.
    #[inline]
    pub(super) fn unsigned(&self, number: u16) -> Option<u64> {
        self.value(number, WireType::Unsigned)
    }

    /// The value of a known field of this wire type.
    #[inline]
    pub(super) fn signed(&self, number: u16) -> Option<i64> {
        self.value(number, WireType::Signed).map(unzigzag)
    }

    /// The value of a known field of this wire type.
    #[inline]
    pub(super) fn bytes(&self, number: u16) -> Option<&'a [u8]> {
        let place = self.value(number, WireType::Bytes)?;
        let start = usize::try_from(place >> 16).expect(LEGAL);
        let length = usize::try_from(place & 0xffff).expect(LEGAL);
        Some(&self.body[start..start + length])
    }

    #[inline]
    fn value(&self, number: u16, wire: WireType) -> Option<u64> {
        let number = usize::from(number);
        (self.wires[number] == wire as u8 + 1).then(|| self.values[number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Value, generated};

    #[test]
    fn says_what_single_look_ups_say() {
        let mut present = [0u32; 3];
        for seed in 0..20_000 {
            let fact = generated::fact(seed);
            let known = fact.by_number();
            for number in 0..NUMBERS {
                let number = u16::try_from(number).expect("small");
                // As the fields come, without any look-up.
                let value = fact.fields().find(|(tag, _)| tag.number == number).map(|(_, v)| v);
                assert_eq!(fact.value(number), value, "seed {seed}, field {number}");
                assert_eq!(known.unsigned(number), value.and_then(Value::unsigned));
                assert_eq!(known.signed(number), value.and_then(Value::signed));
                assert_eq!(known.bytes(number), value.and_then(Value::bytes));
                if let Some(value) = value {
                    present[value.wire() as usize] += 1;
                }
            }
        }
        assert!(present.iter().all(|count| *count > 10_000), "{present:?}");
    }

    #[test]
    fn has_room_for_every_known_field() {
        assert!(field::ALL.iter().all(|(number, ..)| usize::from(*number) < NUMBERS));
    }
}
