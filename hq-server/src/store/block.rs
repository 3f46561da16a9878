//! Blocks as bytes: the entries in one section, what they led to in another, each as packed
//! columns, so that a replay reads entries without their vouchers. Knows no file.
//!
//! Invariant: a block that was written reads back equal.

use std::collections::BTreeMap;

use shared::ids::{AccountNo, Capture, CompanyNo, DeviceNo, Head, ItemNo, PartnerNo, Seq, SiteNo};
use shared::money::Amount;
use shared::time::{Day, Month, Timestamp};

use super::entry::{Record, RunEntry, SequenceEntry};
use super::packing::{
    Packer, Unpackable, read_bytes, read_number, read_signed, unpack, write_number, write_signed,
};
use crate::books::{Cause, Line, Side, Voucher};
use crate::gateway::intake::LogNo;

/// The version of a block's layout.
const LAYOUT: u64 = 1;

const ENTRY_COLUMNS: usize = 7;
const EFFECT_COLUMNS: usize = 18;

/// Writes blocks.
#[derive(Debug)]
pub(super) struct BlockWriter {
    packer: Packer,
}

impl BlockWriter {
    pub(super) fn new() -> Self {
        Self { packer: Packer::new() }
    }

    /// The bytes of a block.
    pub(super) fn write(&mut self, records: &[Record]) -> Vec<u8> {
        let mut entries = Vec::new();
        let columns = entry_columns(records.iter().map(|record| &record.entry));
        self.packer.pack(&columns, &mut entries);
        let mut out = Vec::new();
        write_number(&mut out, LAYOUT);
        write_number(&mut out, records.len() as u64);
        write_number(&mut out, entries.len() as u64);
        out.extend_from_slice(&entries);
        self.packer.pack(&effect_columns(records), &mut out);
        out
    }
}

/// The entries of a block alone.
pub(super) fn read_entries(mut bytes: &[u8]) -> Result<Vec<SequenceEntry>, Unpackable> {
    let (count, mut section) = sections(&mut bytes)?;
    entries_of(count, &unpack(&mut section)?)
}

/// A whole block's records.
pub(super) fn read_records(mut bytes: &[u8]) -> Result<Vec<Record>, Unpackable> {
    let (count, mut section) = sections(&mut bytes)?;
    let entries = entries_of(count, &unpack(&mut section)?)?;
    let columns = unpack::<EFFECT_COLUMNS>(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(Unpackable);
    }
    EffectReader::new(&columns).records(entries)
}

fn sections<'a>(bytes: &mut &'a [u8]) -> Result<(usize, &'a [u8]), Unpackable> {
    if read_number(bytes)? != LAYOUT {
        return Err(Unpackable);
    }
    let count = usize::try_from(read_number(bytes)?).map_err(|_| Unpackable)?;
    let length = usize::try_from(read_number(bytes)?).map_err(|_| Unpackable)?;
    Ok((count, read_bytes(bytes, length)?))
}

fn entry_columns<'a>(entries: impl Iterator<Item = &'a SequenceEntry>) -> [Vec<u8>; ENTRY_COLUMNS] {
    let mut columns = [const { Vec::new() }; ENTRY_COLUMNS];
    let [kinds, logs, firsts, counts, times, heads, reasons] = &mut columns;
    let (mut ends, mut time) = (BTreeMap::new(), 0i64);
    for entry in entries {
        let run = match entry {
            SequenceEntry::Settle => {
                kinds.push(2);
                continue;
            }
            SequenceEntry::Run(run) => {
                kinds.push(1);
                run
            }
            SequenceEntry::Held { run, reason } => {
                kinds.push(3);
                write_number(reasons, reason.len() as u64);
                reasons.extend_from_slice(reason.as_bytes());
                run
            }
        };
        write_number(logs, run.log.0.into());
        // 0 where the run follows the log's last one in this block, as nearly all do.
        let expected = ends.insert(run.log, run.last.0 + 1).unwrap_or(0);
        write_number(firsts, run.first.0.wrapping_sub(expected));
        write_number(counts, run.last.0 - run.first.0);
        write_signed(times, run.received_at.0.wrapping_sub(time));
        time = run.received_at.0;
        heads.extend_from_slice(&run.head.0);
    }
    columns
}

fn entries_of(
    count: usize,
    columns: &[Vec<u8>; ENTRY_COLUMNS],
) -> Result<Vec<SequenceEntry>, Unpackable> {
    let [kinds, logs, firsts, counts, times, heads, reasons] =
        columns.each_ref().map(Vec::as_slice);
    let (mut logs, mut firsts, mut counts) = (logs, firsts, counts);
    let (mut times, mut heads, mut reasons) = (times, heads, reasons);
    let (mut ends, mut time) = (BTreeMap::new(), 0i64);
    let mut entries = Vec::new();
    if kinds.len() != count {
        return Err(Unpackable);
    }
    for kind in kinds {
        if *kind == 2 {
            entries.push(SequenceEntry::Settle);
            continue;
        }
        let log = LogNo(small(read_number(&mut logs)?)?);
        let expected = ends.get(&log).copied().unwrap_or(0u64);
        let first = read_number(&mut firsts)?.wrapping_add(expected);
        let last = first.checked_add(read_number(&mut counts)?).ok_or(Unpackable)?;
        ends.insert(log, last.wrapping_add(1));
        time = time.wrapping_add(read_signed(&mut times)?);
        let head = read_bytes(&mut heads, 32)?.try_into().map_err(|_| Unpackable)?;
        let run = RunEntry {
            log,
            first: Seq(first),
            last: Seq(last),
            head: Head(head),
            received_at: Timestamp(time),
        };
        entries.push(match kind {
            1 => SequenceEntry::Run(run),
            3 => {
                let length = usize::try_from(read_number(&mut reasons)?).map_err(|_| Unpackable)?;
                let reason = read_bytes(&mut reasons, length)?;
                let reason = String::from_utf8(reason.to_vec()).map_err(|_| Unpackable)?;
                SequenceEntry::Held { run, reason }
            }
            _ => return Err(Unpackable),
        });
    }
    Ok(entries)
}

fn small(number: u64) -> Result<u32, Unpackable> {
    u32::try_from(number).map_err(|_| Unpackable)
}

/// What lines of a voucher are written relative to.
#[derive(Clone, Copy, Default)]
struct LineBefore {
    amount: i64,
    account: u32,
    site: u32,
    item: u32,
    partner: u32,
    fact: Option<Capture>,
}

/// Wraps: the reader adds what the writer subtracted.
fn write_step(out: &mut Vec<u8>, before: u32, now: u32) {
    write_signed(out, i64::from(now) - i64::from(before));
}

fn read_step(input: &mut &[u8], before: u32) -> Result<u32, Unpackable> {
    let step = read_signed(input)?;
    i64::from(before).checked_add(step).and_then(|now| u32::try_from(now).ok()).ok_or(Unpackable)
}

fn effect_columns(records: &[Record]) -> [Vec<u8>; EFFECT_COLUMNS] {
    let mut columns = [const { Vec::new() }; EFFECT_COLUMNS];
    let [
        vouchers,
        waits,
        companies,
        months,
        numbers,
        days,
        causes,
        facts,
        counters,
        line_counts,
        sides,
        amounts,
        accounts,
        places,
        items,
        partners,
        line_facts,
        line_counters,
    ] = &mut columns;
    let mut last_numbers = BTreeMap::new();
    let mut last_counters = BTreeMap::new();
    let (mut company, mut month, mut day) = (0u32, 0i32, 0i32);
    for record in records {
        write_number(vouchers, record.vouchers.len() as u64);
        write_numbers(waits, &record.waiting);
        write_numbers(waits, &record.released);
        for voucher in &record.vouchers {
            write_step(companies, company, voucher.company.0);
            write_signed(months, i64::from(voucher.month.0) - i64::from(month));
            let series = (voucher.company, voucher.month);
            let expected = last_numbers.insert(series, voucher.number).map_or(0, |last| last + 1);
            write_step(numbers, expected, voucher.number);
            write_signed(days, i64::from(voucher.day.0) - i64::from(day));
            (company, month, day) = (voucher.company.0, voucher.month.0, voucher.day.0);
            causes.push(voucher.cause as u8);
            match voucher.fact {
                None => facts.push(0),
                Some(fact) => {
                    write_number(facts, u64::from(fact.device.0) + 1);
                    let before = last_counters.insert(fact.device, fact.counter).unwrap_or(0);
                    write_signed(counters, fact.counter.wrapping_sub(before).cast_signed());
                }
            }
            write_number(line_counts, voucher.lines.len() as u64);
            let mut before = LineBefore { fact: voucher.fact, ..LineBefore::default() };
            for line in &voucher.lines {
                sides.push(line.side as u8);
                write_signed(amounts, line.amount.0.wrapping_sub(before.amount));
                write_step(accounts, before.account, line.account.0);
                let item = line.item.map_or(0, |item| item.0.wrapping_add(1));
                let partner = line.partner.map_or(0, |partner| partner.0.wrapping_add(1));
                write_step(places, before.site, line.site.0);
                write_step(items, before.item, item);
                write_step(partners, before.partner, partner);
                write_line_fact(line_facts, line_counters, before.fact, line.fact);
                before = LineBefore {
                    amount: line.amount.0,
                    account: line.account.0,
                    site: line.site.0,
                    item,
                    partner,
                    fact: line.fact,
                };
            }
        }
    }
    columns
}

fn write_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    write_number(out, numbers.len() as u64);
    for number in numbers {
        write_number(out, *number);
    }
}

fn read_numbers(input: &mut &[u8]) -> Result<Vec<u64>, Unpackable> {
    (0..read_number(input)?).map(|_| read_number(input)).collect()
}

/// 0: as the line before, 1: none, device + 2: another one.
fn write_line_fact(
    kinds: &mut Vec<u8>,
    counters: &mut Vec<u8>,
    before: Option<Capture>,
    now: Option<Capture>,
) {
    match now {
        _ if now == before => kinds.push(0),
        None => kinds.push(1),
        Some(fact) => {
            write_number(kinds, u64::from(fact.device.0) + 2);
            let from = before.map_or(0, |before| before.counter);
            write_signed(counters, fact.counter.wrapping_sub(from).cast_signed());
        }
    }
}

/// Walks the columns of effects.
struct EffectReader<'a> {
    columns: [&'a [u8]; EFFECT_COLUMNS],
    last_numbers: BTreeMap<(CompanyNo, Month), u32>,
    last_counters: BTreeMap<DeviceNo, u64>,
    company: u32,
    month: i32,
    day: i32,
}

impl<'a> EffectReader<'a> {
    fn new(columns: &'a [Vec<u8>; EFFECT_COLUMNS]) -> Self {
        Self {
            columns: columns.each_ref().map(Vec::as_slice),
            last_numbers: BTreeMap::new(),
            last_counters: BTreeMap::new(),
            company: 0,
            month: 0,
            day: 0,
        }
    }

    fn records(mut self, entries: Vec<SequenceEntry>) -> Result<Vec<Record>, Unpackable> {
        let records = entries.into_iter().map(|entry| self.record(entry));
        let records = records.collect::<Result<_, _>>()?;
        if self.columns.iter().all(|column| column.is_empty()) {
            Ok(records)
        } else {
            Err(Unpackable)
        }
    }

    fn record(&mut self, entry: SequenceEntry) -> Result<Record, Unpackable> {
        let count = read_number(&mut self.columns[0])?;
        let waiting = read_numbers(&mut self.columns[1])?;
        let released = read_numbers(&mut self.columns[1])?;
        let vouchers = (0..count).map(|_| self.voucher()).collect::<Result<_, _>>()?;
        Ok(Record { entry, vouchers, waiting, released })
    }

    fn voucher(&mut self) -> Result<Voucher, Unpackable> {
        let [_, _, companies, months, numbers, days, causes, facts, counters, line_counts, ..] =
            &mut self.columns;
        let add = |before: i32, step: i64| {
            i64::from(before).checked_add(step).and_then(|now| i32::try_from(now).ok())
        };
        self.company = read_step(companies, self.company)?;
        self.month = add(self.month, read_signed(months)?).ok_or(Unpackable)?;
        let series = (CompanyNo(self.company), Month(self.month));
        let expected = self.last_numbers.get(&series).map_or(0, |last| last + 1);
        let number = read_step(numbers, expected)?;
        self.last_numbers.insert(series, number);
        self.day = add(self.day, read_signed(days)?).ok_or(Unpackable)?;
        let cause = read_bytes(causes, 1)?[0];
        let fact = match read_number(facts)? {
            0 => None,
            device => {
                let device = DeviceNo(small(device - 1)?);
                let before = self.last_counters.get(&device).copied().unwrap_or(0);
                let counter = before.wrapping_add_signed(read_signed(counters)?);
                self.last_counters.insert(device, counter);
                Some(Capture { device, counter })
            }
        };
        let count = read_number(line_counts)?;
        let mut before = LineBefore { fact, ..LineBefore::default() };
        let lines = (0..count).map(|_| self.line(&mut before)).collect::<Result<_, _>>()?;
        Ok(Voucher {
            company: series.0,
            month: series.1,
            number,
            day: Day(self.day),
            cause: Cause::from_number(cause).ok_or(Unpackable)?,
            fact,
            lines,
        })
    }

    fn line(&mut self, before: &mut LineBefore) -> Result<Line, Unpackable> {
        let [.., sides, amounts, accounts, places, items, partners, line_facts, line_counters] =
            &mut self.columns;
        let side = match read_bytes(sides, 1)?[0] {
            0 => Side::Debit,
            1 => Side::Credit,
            _ => return Err(Unpackable),
        };
        before.amount = before.amount.wrapping_add(read_signed(amounts)?);
        before.account = read_step(accounts, before.account)?;
        before.site = read_step(places, before.site)?;
        before.item = read_step(items, before.item)?;
        before.partner = read_step(partners, before.partner)?;
        before.fact = match read_number(line_facts)? {
            0 => before.fact,
            1 => None,
            device => {
                let from = before.fact.map_or(0, |fact| fact.counter);
                Some(Capture {
                    device: DeviceNo(small(device - 2)?),
                    counter: from.wrapping_add_signed(read_signed(line_counters)?),
                })
            }
        };
        Ok(Line {
            account: AccountNo(before.account),
            side,
            amount: Amount(before.amount),
            site: SiteNo(before.site),
            item: before.item.checked_sub(1).map(ItemNo),
            partner: before.partner.checked_sub(1).map(PartnerNo),
            fact: before.fact,
        })
    }
}

/// The first voucher number of every company and month in a block.
pub(super) fn first_numbers(records: &[Record]) -> BTreeMap<(CompanyNo, Month), u32> {
    let mut first = BTreeMap::new();
    for voucher in records.iter().flat_map(|record| &record.vouchers) {
        first.entry((voucher.company, voucher.month)).or_insert(voucher.number);
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture() -> impl Strategy<Value = Capture> {
        (1u32..4, prop_oneof![0u64..50, any::<u64>()])
            .prop_map(|(device, counter)| Capture { device: DeviceNo(device), counter })
    }

    fn line() -> impl Strategy<Value = Line> {
        let number = || prop_oneof![0u32..9, 0..u32::MAX - 1];
        let amount = prop_oneof![-500i64..500, any::<i64>()];
        let dimensions = (number(), proptest::option::of(number()), proptest::option::of(number()));
        (number(), any::<bool>(), amount, dimensions, proptest::option::of(capture())).prop_map(
            |(account, debit, amount, (site, item, partner), fact)| Line {
                account: AccountNo(account),
                side: if debit { Side::Debit } else { Side::Credit },
                amount: Amount(amount),
                site: SiteNo(site),
                item: item.map(ItemNo),
                partner: partner.map(PartnerNo),
                fact,
            },
        )
    }

    fn voucher() -> impl Strategy<Value = Voucher> {
        let head = (1u32..3, 24_000i32..24_003, 1u32..900, any::<i32>(), 1u8..=6);
        (head, proptest::option::of(capture()), proptest::collection::vec(line(), 0..5)).prop_map(
            |((company, month, number, day, cause), fact, lines)| Voucher {
                company: CompanyNo(company),
                month: Month(month),
                number,
                day: Day(day),
                cause: Cause::from_number(cause).expect("1 to 6"),
                fact,
                lines,
            },
        )
    }

    fn entry() -> impl Strategy<Value = SequenceEntry> {
        let run = (1u32..4, 1u64..9_000, 0u64..5_000, any::<[u8; 32]>(), any::<i64>()).prop_map(
            |(log, first, more, head, at)| RunEntry {
                log: LogNo(log),
                first: Seq(first),
                last: Seq(first + more),
                head: Head(head),
                received_at: Timestamp(at),
            },
        );
        prop_oneof![
            run.clone().prop_map(SequenceEntry::Run),
            Just(SequenceEntry::Settle),
            (run, ".{0,40}").prop_map(|(run, reason)| SequenceEntry::Held { run, reason }),
        ]
    }

    fn record() -> impl Strategy<Value = Record> {
        let numbers = || proptest::collection::vec(any::<u64>(), 0..3);
        (entry(), proptest::collection::vec(voucher(), 0..6), numbers(), numbers()).prop_map(
            |(entry, vouchers, waiting, released)| Record { entry, vouchers, waiting, released },
        )
    }

    proptest! {
        #[test]
        fn blocks_read_back_equal(records in proptest::collection::vec(record(), 0..8)) {
            let bytes = BlockWriter::new().write(&records);
            prop_assert_eq!(read_records(&bytes).expect("just written"), records.clone());
            let entries = read_entries(&bytes).expect("just written");
            prop_assert!(entries.iter().eq(records.iter().map(|record| &record.entry)));
        }

        #[test]
        fn damaged_blocks_are_refused_or_read_as_something(
            records in proptest::collection::vec(record(), 1..5),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = BlockWriter::new().write(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // Never a panic; the file's checksums are what finds the damage.
            let _ = read_records(&bytes);
            prop_assert!(read_records(&bytes[..bytes.len() - 1]).is_err() || bytes.len() == 1);
        }
    }
}
