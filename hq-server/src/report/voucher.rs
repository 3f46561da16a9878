//! Vouchers: the list and one voucher with its lines and the facts behind it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use shared::fact::Fact;
use shared::fact::statement::{Stamp, Statement};
use shared::ids::{Capture, CompanyNo, SiteNo};
use shared::time::{Day, Month};
use utoipa::ToSchema;

use super::archive::StoredVoucher;
use super::figure::{Figure, Moment, Named, as_text};
use super::ledger::Sides;
use super::lens::Lens;
use super::part::Part;
use super::words::Words;
use crate::books::Voucher;
use crate::books::valuation::FactId;

/// A voucher in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherHead {
    /// Names it in addresses: company, month and number.
    pub id: String,
    /// Its ledger month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub month: Month,
    /// Its number in company and month, without gaps.
    pub number: u64,
    /// The day it takes effect.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// When it was posted.
    #[schema(value_type = String)]
    pub posted_at: Moment,
    /// The place in the sequence that posted it.
    pub position: u64,
    /// Why: `fact`, or the cause of a correction.
    pub cause: String,
    /// What it is about.
    pub summary: Summary,
    /// Sum of its debits, equal to the sum of its credits.
    #[schema(value_type = String)]
    pub total: Figure,
}

impl VoucherHead {
    /// 凭证字号, as printed: the word of the reader's language and the number.
    pub fn label(&self, words: &Words) -> String {
        label(words, self.number)
    }
}

/// 凭证字号 of a number.
pub fn label(words: &Words, number: u64) -> String {
    format!("{}-{number:04}", words.of("voucher-word"))
}

/// 摘要: what a voucher is about, in parts that each language puts together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The word of the first fact's kind.
    pub kind: String,
    /// Where.
    pub site: Option<Named>,
    /// The first item.
    pub item: Option<Named>,
    /// How many more items.
    pub more_items: u64,
    /// Customer or supplier.
    pub partner: Option<Named>,
    /// An outside document's number.
    pub document: Option<String>,
}

/// A page of vouchers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherList {
    /// The currency of every amount here.
    pub currency: String,
    /// Of this month only.
    #[serde(with = "super::figure::as_text_or_none")]
    #[schema(value_type = Option<String>)]
    pub month: Option<Month>,
    /// How many there are in all.
    pub count: u64,
    /// The vouchers, newest first.
    pub rows: Vec<VoucherHead>,
    /// Numbers that are left out, or were given twice, since HQ was restored from a backup.
    pub lost: Vec<LostNumbers>,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// One voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherReport {
    /// The currency of every amount here.
    pub currency: String,
    /// Number, month, summary.
    pub head: VoucherHead,
    /// Its lines.
    pub lines: Vec<VoucherLine>,
    /// The facts it comes from.
    pub facts: Vec<FactHead>,
}

/// A line of a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherLine {
    /// The account.
    pub account: Named,
    /// Debit; negative on a red line.
    #[schema(value_type = String)]
    pub debit: Figure,
    /// Credit; negative on a red line.
    #[schema(value_type = String)]
    pub credit: Figure,
    /// The site it belongs to.
    pub site: Option<Named>,
    /// The item it belongs to.
    pub item: Option<Named>,
    /// The customer or supplier it belongs to.
    pub partner: Option<Named>,
}

/// A fact in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FactHead {
    /// Names it for ever.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The word of its kind.
    pub kind: String,
    /// Where it was recorded.
    pub site: Named,
    /// When it happened.
    #[schema(value_type = String)]
    pub occurred_at: Moment,
    /// What moved.
    pub item: Option<Named>,
    /// How much, as the keeper wrote it.
    pub quantity: Option<String>,
    /// Its unit, as the keeper saw it.
    pub unit: Option<String>,
    /// The price of one unit, as written.
    pub price: Option<String>,
}

/// Voucher numbers that a history of HQ gave which was lost when HQ was restored from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostNumbers {
    /// The ledger month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub month: Month,
    /// The first and the last number that no voucher has.
    pub left_out: Option<(u32, u32)>,
    /// The first and the last number that another voucher had in that history.
    pub given_twice: Option<(u32, u32)>,
    /// The fact that says so.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "1061-2")]
    pub stated: Capture,
    /// When that was.
    #[schema(value_type = String)]
    pub stated_at: Moment,
}

impl LostNumbers {
    /// Those of the company, of one month or of all.
    pub fn of(lens: &Lens<'_>, month: Option<Month>) -> Vec<Self> {
        let ends = |numbers: RangeInclusive<u32>| {
            (!numbers.is_empty()).then(|| (*numbers.start(), *numbers.end()))
        };
        let losses = lens.books.losses().vouchers().iter();
        let wanted = losses.filter(|loss| {
            loss.company == lens.company && month.is_none_or(|only| only == loss.month)
        });
        let shown = wanted.map(|loss| Self {
            month: loss.month,
            left_out: ends(loss.left_out()),
            given_twice: ends(loss.given_twice()),
            stated: loss.stated,
            stated_at: lens.moment(loss.at),
        });
        shown.collect()
    }

    /// What an auditor wants to know, a sentence each.
    pub fn sentences(&self, words: &Words) -> Vec<String> {
        let span = |(first, last): (u32, u32)| {
            let (first, last) = (label(words, first.into()), label(words, last.into()));
            if first == last { first } else { format!("{first} … {last}") }
        };
        let say = |key, numbers: Option<(u32, u32)>| {
            numbers.map(|numbers| {
                let what = words.with(key, span(numbers));
                format!("{} {what} ({}, {})", self.month, self.stated, self.stated_at.text())
            })
        };
        let left_out = say("numbers-left-out", self.left_out);
        let given_twice = say("numbers-given-twice", self.given_twice);
        left_out.into_iter().chain(given_twice).collect()
    }
}

/// A voucher's name in addresses.
pub fn voucher_id(voucher: &Voucher) -> String {
    format!("{}-{}-{}", voucher.company, voucher.month, voucher.number)
}

/// A voucher's company, month and number out of its name in addresses.
pub fn parse_voucher_id(id: &str) -> Option<(CompanyNo, Month, u32)> {
    let (company, rest) = id.split_once('-')?;
    let (month, number) = rest.rsplit_once('-')?;
    Some((CompanyNo(company.parse().ok()?), month.parse().ok()?, number.parse().ok()?))
}

/// Vouchers of one month, newest first, that a page of the list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherRange {
    /// The month.
    pub month: Month,
    /// The lowest number.
    pub first: u32,
    /// The highest number.
    pub last: u32,
}

impl VoucherList {
    /// Which vouchers a page shows, and how many there are in all.
    pub fn wanted(
        lens: &Lens<'_>,
        month: Option<Month>,
        page: u64,
    ) -> (Vec<VoucherRange>, u64, Part) {
        let mut counts: Vec<(Month, u32)> = lens
            .books
            .voucher_counts()
            .filter(|(company, of, _)| {
                *company == lens.company && month.is_none_or(|only| only == *of)
            })
            .map(|(_, month, count)| (month, count))
            .collect();
        counts.sort_unstable();
        let count = counts.iter().map(|(_, count)| u64::from(*count)).sum();
        let part = Part::of(count, page, super::part::Opens::AtTop);
        let (mut skip, mut left) = (part.range().start, part.range().len());
        let mut ranges = Vec::new();
        for (month, count) in counts.into_iter().rev() {
            let here = count as usize;
            let skipped = skip.min(here);
            skip -= skipped;
            let taken = left.min(here - skipped);
            left -= taken;
            if taken > 0 {
                let last = u32::try_from(here - skipped).expect("a part of a 32-bit count");
                let first = last + 1 - u32::try_from(taken).expect("a part of a 32-bit count");
                ranges.push(VoucherRange { month, first, last });
            }
        }
        (ranges, count, part)
    }

    /// The page, with the vouchers that [`VoucherList::wanted`] names.
    pub fn of(
        lens: &Lens<'_>,
        month: Option<Month>,
        (count, part): (u64, Part),
        mut vouchers: Vec<StoredVoucher>,
    ) -> Self {
        vouchers
            .sort_by_key(|stored| std::cmp::Reverse((stored.voucher.month, stored.voucher.number)));
        Self {
            currency: lens.currency(),
            month,
            count,
            rows: vouchers.iter().map(|stored| lens.voucher_head(stored)).collect(),
            lost: LostNumbers::of(lens, month),
            page: part.page,
            pages: part.pages,
        }
    }
}

impl VoucherReport {
    /// A voucher with the stored facts it comes from.
    pub fn of(lens: &Lens<'_>, stored: &StoredVoucher, facts: &[(SiteNo, Fact)]) -> Self {
        let line = |line: &crate::books::Line| {
            let Sides { debit, credit } = Sides::of_line(lens, line);
            VoucherLine {
                account: lens.account(line.account),
                debit,
                credit,
                site: lens.warehouse(line.site),
                item: line.item.map(|item| lens.item(item)),
                partner: line.partner.map(|partner| lens.partner(partner)),
            }
        };
        Self {
            currency: lens.currency(),
            head: lens.voucher_head(stored),
            lines: stored.voucher.lines.iter().map(line).collect(),
            facts: facts
                .iter()
                .filter_map(|(site, fact)| FactHead::of(lens, *site, fact))
                .collect(),
        }
    }

    /// The facts behind a voucher: the group of the fact it names.
    pub fn behind(lens: &Lens<'_>, voucher: &Voucher) -> Vec<FactId> {
        let named = voucher.fact.and_then(|capture| lens.books.facts().find(capture));
        let Some(named) = named else { return Vec::new() };
        let record = &lens.books.facts()[named];
        (record.group.0..).take(usize::from(record.group_len)).map(FactId).collect()
    }
}

impl FactHead {
    /// A fact as it was signed; `None` where this version can't read its stamp.
    pub fn of(lens: &Lens<'_>, site: SiteNo, fact: &Fact) -> Option<Self> {
        let stamp = Stamp::parse(fact).ok()?;
        let (measure, price, item) = match Statement::parse(fact) {
            Ok(Statement::Movement(movement)) => {
                (Some(movement.quantity), movement.price, Some(movement.item))
            }
            Ok(
                Statement::SupplierInvoice(line)
                | Statement::CustomerInvoice(line)
                | Statement::CreditNote(line),
            ) => (Some(line.quantity), Some(line.price), None),
            _ => (None, None, None),
        };
        let in_books = lens.books.facts().find(stamp.capture);
        let item = item.or_else(|| in_books.and_then(|id| lens.books.facts()[id].item));
        Some(Self {
            capture: stamp.capture,
            kind: fact.kind()?.word().to_owned(),
            site: lens.site(site),
            occurred_at: lens.moment(stamp.occurred_at),
            item: item.map(|item| lens.item(item)),
            quantity: measure.as_ref().map(|measure| measure.figure.to_string()),
            unit: measure.map(|measure| measure.unit.to_string()),
            price: price.map(|price| format!("{} {}", price.figure, price.currency)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voucher_names_read_back() {
        let month: Month = "2026-11".parse().expect("a month");
        assert_eq!(parse_voucher_id("1-2026-11-7"), Some((CompanyNo(1), month, 7)));
        for wrong in ["", "1", "1-2026-11", "1-2026-7", "x-2026-11-7", "1-2026-11--7"] {
            assert_eq!(parse_voucher_id(wrong), None, "{wrong}");
        }
    }
}
