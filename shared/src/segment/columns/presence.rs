//! Which facts of a segment have a field: one bit a fact, and the four ways to write that.

use super::{ColumnsError, PresenceForm, take};
use crate::varint;

/// One bit a fact, lowest first; bits beyond the last fact are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Presence {
    words: Vec<u64>,
}

impl Presence {
    /// Nobody of `facts`.
    pub(super) fn none(facts: usize) -> Self {
        Self { words: vec![0; facts.div_ceil(64)] }
    }

    /// All of `facts`.
    pub(super) fn all(facts: usize) -> Self {
        let mut presence = Self { words: vec![u64::MAX; facts.div_ceil(64)] };
        if let (Some(last), rest @ 1..) = (presence.words.last_mut(), facts % 64) {
            *last = (1 << rest) - 1;
        }
        presence
    }

    pub(super) fn set(&mut self, fact: usize) {
        self.words[fact / 64] |= 1 << (fact % 64);
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The one legal form.
    pub(super) fn form(&self, facts: usize, before: &Self) -> PresenceForm {
        if self.count() == facts {
            return PresenceForm::All;
        }
        if self == before {
            return PresenceForm::AsBefore;
        }
        let runs_are_shorter = self.runs_len(facts) < facts.div_ceil(8);
        if runs_are_shorter { PresenceForm::Runs } else { PresenceForm::Bitmap }
    }

    pub(super) fn write(&self, form: PresenceForm, facts: usize, out: &mut Vec<u8>) {
        match form {
            PresenceForm::All | PresenceForm::AsBefore => {}
            PresenceForm::Bitmap => {
                let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
                out.extend(bytes.take(facts.div_ceil(8)));
            }
            PresenceForm::Runs => {
                self.each_run(facts, |length| varint::write_unsigned(out, length as u64));
            }
        }
    }

    /// Takes the place of `self`, which is the presence of the column before.
    pub(super) fn read(
        &mut self,
        form: PresenceForm,
        facts: usize,
        input: &mut &[u8],
    ) -> Result<(), ColumnsError> {
        match form {
            PresenceForm::All => *self = Self::all(facts),
            PresenceForm::AsBefore => {
                // Where the column before is for all, so is this one, and `All` comes first.
                return if self.count() == facts { Err(ColumnsError::NotShortest) } else { Ok(()) };
            }
            PresenceForm::Bitmap | PresenceForm::Runs => {
                let before = std::mem::replace(self, Self::none(facts));
                if form == PresenceForm::Bitmap {
                    self.read_bitmap(facts, input)?;
                } else {
                    self.read_runs(facts, input)?;
                }
                if self.form(facts, &before) != form {
                    return Err(ColumnsError::NotShortest);
                }
            }
        }
        if self.count() == 0 { Err(ColumnsError::EmptyColumn) } else { Ok(()) }
    }

    fn read_bitmap(&mut self, facts: usize, input: &mut &[u8]) -> Result<(), ColumnsError> {
        let bytes = take(input, facts.div_ceil(8))?;
        for (word, bytes) in self.words.iter_mut().zip(bytes.chunks(8)) {
            let mut full = [0; 8];
            full[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(full);
        }
        let beyond = self
            .words
            .last()
            .is_some_and(|last| !facts.is_multiple_of(64) && last >> (facts % 64) > 0);
        if beyond { Err(ColumnsError::BadPresence) } else { Ok(()) }
    }

    fn read_runs(&mut self, facts: usize, input: &mut &[u8]) -> Result<(), ColumnsError> {
        let (mut at, mut present) = (0, false);
        while at < facts {
            let length = usize::try_from(varint::read_raw(input)?).unwrap_or(usize::MAX);
            // Only the first run, of absent ones, may be empty.
            if length > facts - at || (length == 0 && (at > 0 || present)) {
                return Err(ColumnsError::BadPresence);
            }
            let end = at + length;
            if present {
                (at..end).for_each(|fact| self.set(fact));
            }
            (at, present) = (end, !present);
        }
        Ok(())
    }

    fn runs_len(&self, facts: usize) -> usize {
        let mut bytes = 0;
        self.each_run(facts, |length| bytes += varint::encoded_len(length as u64));
        bytes
    }

    /// The lengths of runs, absent first; the first may be 0.
    fn each_run(&self, facts: usize, mut run: impl FnMut(usize)) {
        let (mut start, mut present) = (0, false);
        while start < facts || (start == 0 && !present) {
            let end = self.run_end(start, present, facts);
            run(end - start);
            (start, present) = (end, !present);
        }
    }

    /// The first place from `start` whose bit is not `present`.
    fn run_end(&self, start: usize, present: bool, facts: usize) -> usize {
        let flip = if present { u64::MAX } else { 0 };
        let mut index = start / 64;
        let mut word = (self.words.get(index).unwrap_or(&0) ^ flip) & (u64::MAX << (start % 64));
        while word == 0 {
            index += 1;
            match self.words.get(index) {
                Some(next) => word = next ^ flip,
                None => return facts,
            }
        }
        (index * 64 + word.trailing_zeros() as usize).min(facts)
    }
}
