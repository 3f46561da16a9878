//! The general ledger: trial balance (试算平衡表) and one account's lines (明细账).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::ids::{AccountNo, Capture};
use shared::time::{Day, Month, Timestamp};
use utoipa::ToSchema;

use super::archive::StoredVoucher;
use super::figure::{Figure, Named, as_text, as_text_or_none};
use super::lens::Lens;
use super::part::{Opens, Part};
use super::voucher::{Summary, voucher_id};
use crate::books::{Account, Line, Side, Turnover};

/// Debit and credit, side by side. Both may be negative: red lines stay on their side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sides {
    /// Debit.
    #[schema(value_type = String)]
    pub debit: Figure,
    /// Credit.
    #[schema(value_type = String)]
    pub credit: Figure,
}

impl Sides {
    /// A balance on the side it stands on.
    pub fn of_balance(balance: Figure) -> Self {
        let zero = Figure::new(0, balance.decimals());
        if balance.is_negative() {
            Self { debit: zero, credit: balance.negated() }
        } else {
            Self { debit: balance, credit: zero }
        }
    }

    /// Debit less credit.
    pub fn balance(&self) -> Figure {
        let net = self.debit.units().saturating_sub(self.credit.units());
        Figure::new(net, self.debit.decimals())
    }
}

/// Every account over a range of months.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrialBalance {
    /// Whose books.
    pub company: Named,
    /// The currency of every amount here.
    pub currency: String,
    /// The first month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub from: Month,
    /// The last month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub to: Month,
    /// Accounts with a balance or turnover, by code.
    pub rows: Vec<TrialBalanceRow>,
    /// Sums of all rows: debits equal credits in each pair.
    pub total: TrialBalanceSides,
}

impl TrialBalance {
    /// Debits equal credits in opening, turnover and closing.
    pub fn is_even(&self) -> bool {
        let TrialBalanceSides { opening, turnover, closing } = self.total;
        [opening, turnover, closing].iter().all(|sides| sides.debit == sides.credit)
    }
}

/// One account's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrialBalanceRow {
    /// The account.
    pub account: Named,
    /// The word of its type.
    pub account_type: String,
    /// Its figures.
    pub sides: TrialBalanceSides,
}

/// Opening balance, turnover and closing balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrialBalanceSides {
    /// Before the first month.
    pub opening: Sides,
    /// In the months.
    pub turnover: Sides,
    /// After the last month.
    pub closing: Sides,
}

/// One account's lines over a range of months.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountLedger {
    /// The currency of every amount here.
    pub currency: String,
    /// The account.
    pub account: Named,
    /// The word of its type.
    pub account_type: String,
    /// The first month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub from: Month,
    /// The last month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub to: Month,
    /// Balance before the first line shown; credit is negative.
    #[schema(value_type = String)]
    pub opening: Figure,
    /// The lines in posting order.
    pub lines: Vec<AccountLine>,
    /// Balance after the last line shown; credit is negative.
    #[schema(value_type = String)]
    pub closing: Figure,
    /// How many lines there are in all.
    pub count: u64,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// One line of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountLine {
    /// The voucher's name in addresses.
    pub voucher: String,
    /// The voucher's number in its month.
    pub voucher_number: u64,
    /// The day it takes effect.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// The fact it comes from; none where a voucher gathers the differences of many.
    #[serde(with = "as_text_or_none")]
    #[schema(value_type = Option<String>, example = "3-1042")]
    pub capture: Option<Capture>,
    /// What it is about.
    pub summary: Summary,
    /// Debit or credit.
    pub sides: Sides,
    /// Balance after it; credit is negative.
    #[schema(value_type = String)]
    pub balance: Figure,
}

/// A range of months; where an end is absent, the first or last month that has postings, and where
/// none has, the present one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Months {
    /// The first month.
    pub from: Option<Month>,
    /// The last month.
    pub to: Option<Month>,
}

impl Months {
    /// The range with both ends.
    pub fn within(self, lens: &Lens<'_>, now: Timestamp) -> (Month, Month) {
        let counts = lens.books.voucher_counts().filter(|(company, ..)| *company == lens.company);
        let posted: Vec<Month> = counts.map(|(_, month, _)| month).collect();
        let present = || lens.month_of(now);
        let first = posted.iter().min().copied().unwrap_or_else(present);
        let last = posted.iter().max().copied().unwrap_or_else(present);
        let from = self.from.unwrap_or_else(|| self.to.map_or(first, |to| first.min(to)));
        (from, self.to.unwrap_or_else(|| last.max(from)))
    }
}

/// Sums of one account.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    opening: i128,
    turnover: Turnover,
}

impl TrialBalance {
    /// Every account with a balance or turnover.
    pub fn of(lens: &Lens<'_>, months: Months, now: Timestamp) -> Self {
        let (from, to) = months.within(lens, now);
        let mut sums: BTreeMap<AccountNo, Sums> = BTreeMap::new();
        for (account, month, _, turnover) in lens.books.ledger().rows() {
            let sum = sums.entry(account).or_default();
            if month < from {
                sum.opening += turnover.net();
            } else if month <= to {
                sum.turnover.debit += turnover.debit;
                sum.turnover.credit += turnover.credit;
            }
        }
        let settings = lens.books.settings();
        let own = settings.accounts().filter(|(_, account)| account.company == lens.company);
        let mut rows: Vec<TrialBalanceRow> = own
            .filter_map(|(no, account)| {
                let sides = TrialBalanceSides::of(lens, *sums.get(&no)?);
                Some(TrialBalanceRow {
                    account: Named {
                        no: no.0,
                        code: account.code.clone(),
                        name: account.name.clone(),
                    },
                    account_type: account.account_type.word().to_owned(),
                    sides,
                })
            })
            .filter(|row| !row.sides.is_blank())
            .collect();
        rows.sort_by(|a, b| a.account.code.cmp(&b.account.code));
        Self {
            company: lens.company_name(),
            currency: lens.currency(),
            from,
            to,
            total: TrialBalanceSides::total(lens, &rows),
            rows,
        }
    }
}

impl TrialBalanceSides {
    fn of(lens: &Lens<'_>, sums: Sums) -> Self {
        let closing = sums.opening + sums.turnover.net();
        Self {
            opening: Sides::of_balance(lens.money(sums.opening)),
            turnover: Sides {
                debit: lens.money(sums.turnover.debit),
                credit: lens.money(sums.turnover.credit),
            },
            closing: Sides::of_balance(lens.money(closing)),
        }
    }

    fn is_blank(&self) -> bool {
        let pairs = [self.opening, self.turnover, self.closing];
        pairs.iter().all(|sides| sides.debit.is_zero() && sides.credit.is_zero())
    }

    fn total(lens: &Lens<'_>, rows: &[TrialBalanceRow]) -> Self {
        let sum = |figure: &dyn Fn(&Self) -> Figure| {
            lens.money(rows.iter().map(|row| figure(&row.sides).units()).sum::<i128>())
        };
        let both = |pair: fn(&Self) -> Sides| Sides {
            debit: sum(&|sides| pair(sides).debit),
            credit: sum(&|sides| pair(sides).credit),
        };
        Self {
            opening: both(|sides| sides.opening),
            turnover: both(|sides| sides.turnover),
            closing: both(|sides| sides.closing),
        }
    }
}

impl AccountLedger {
    /// One account's lines; `vouchers` are those of the months, in the order they were posted.
    pub fn of(
        lens: &Lens<'_>,
        account: (AccountNo, &Account),
        (from, to): (Month, Month),
        page: u64,
        vouchers: &[StoredVoucher],
    ) -> Self {
        let (no, account) = account;
        let mut ordered: Vec<&StoredVoucher> = vouchers.iter().collect();
        ordered.sort_by_key(|stored| (stored.voucher.month, stored.voucher.number));
        let lines: Vec<(&StoredVoucher, &Line)> = ordered
            .into_iter()
            .flat_map(|stored| stored.voucher.lines.iter().map(move |line| (stored, line)))
            .filter(|(_, line)| line.account == no)
            .collect();
        let part = Part::of(lines.len() as u64, page, Opens::AtEnd);
        let signed = |(_, line): &(&StoredVoucher, &Line)| i128::from(line.signed());
        let before: i128 = lens
            .books
            .ledger()
            .rows()
            .filter(|(of, month, ..)| *of == no && *month < from)
            .map(|(.., turnover)| turnover.net())
            .sum();
        let opening = before + lines[..part.range().start].iter().map(signed).sum::<i128>();
        let mut balance = opening;
        let shown: Vec<AccountLine> = lines[part.range()]
            .iter()
            .map(|each| {
                balance += signed(each);
                AccountLine::of(lens, each.0, each.1, lens.money(balance))
            })
            .collect();
        Self {
            currency: lens.currency(),
            account: Named { no: no.0, code: account.code.clone(), name: account.name.clone() },
            account_type: account.account_type.word().to_owned(),
            from,
            to,
            opening: lens.money(opening),
            lines: shown,
            closing: lens.money(balance),
            count: lines.len() as u64,
            page: part.page,
            pages: part.pages,
        }
    }
}

impl AccountLine {
    fn of(lens: &Lens<'_>, stored: &StoredVoucher, line: &Line, balance: Figure) -> Self {
        let voucher = &stored.voucher;
        let summary = line.fact.and_then(|capture| lens.books.facts().find(capture));
        Self {
            voucher: voucher_id(voucher),
            voucher_number: voucher.number.into(),
            day: voucher.day,
            capture: line.fact,
            summary: summary.map_or_else(|| lens.line_summary(line), |id| lens.summary(id)),
            sides: Sides::of_line(lens, line),
            balance,
        }
    }
}

impl Sides {
    /// A line's amount on its side.
    pub fn of_line(lens: &Lens<'_>, line: &Line) -> Self {
        let (amount, zero) = (lens.money(line.amount.0), lens.money(0));
        match line.side {
            Side::Debit => Self { debit: amount, credit: zero },
            Side::Credit => Self { debit: zero, credit: amount },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Books;
    use shared::ids::CompanyNo;

    #[test]
    fn where_nothing_is_posted_the_open_ends_are_the_present_month() {
        let books = Books::new();
        let lens = Lens::new(&books, CompanyNo::FIRST);
        // 2026-11-24.
        let now = Timestamp(1_795_521_600_000);
        let within = |from: &str, to: &str| {
            let months = Months { from: from.parse().ok(), to: to.parse().ok() };
            let (from, to) = months.within(&lens, now);
            format!("{from} {to}")
        };
        assert_eq!(within("", ""), "2026-11 2026-11");
        assert_eq!(within("2026-03", ""), "2026-03 2026-11");
        assert_eq!(within("", "2026-03"), "2026-03 2026-03");
    }
}
