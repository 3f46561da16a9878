//! Vouchers and their lines: what is posted, for ever. A line is never changed; a correction is
//! another line on the same account and side, with its sign. Invariant: every voucher balances.

use shared::ids::{AccountNo, Capture, CompanyNo, ItemNo, PartnerNo, SiteNo};
use shared::money::Amount;
use shared::sync::VouchersGiven;
use shared::time::{Day, Month};

/// Debit or credit. Amounts keep their sign: a negative one is a red entry (红字).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// 借
    Debit,
    /// 贷
    Credit,
}

/// Why a voucher exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The fact itself.
    Fact = 1,
    /// Goods that were missing came in and re-priced what had left.
    NegativeStock = 2,
    /// A fact arrived that had happened earlier.
    LateFact = 3,
    /// An invoice priced its receipt.
    Invoice = 4,
    /// A fact was reversed, or its reversal was.
    Reversal = 5,
    /// The cost followed another movement's: a ship, a sale, a receipt.
    Followed = 6,
    /// Master data valid from earlier became known.
    Settings = 7,
    /// Landed cost was added to a receipt.
    LandedCost = 8,
    /// The averages of a month were taken.
    MonthEnd = 9,
    /// A supplier granted a discount on the bill of a receipt.
    CashDiscount = 10,
}

impl Cause {
    /// The cause with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Fact),
            2 => Some(Self::NegativeStock),
            3 => Some(Self::LateFact),
            4 => Some(Self::Invoice),
            5 => Some(Self::Reversal),
            6 => Some(Self::Followed),
            7 => Some(Self::Settings),
            8 => Some(Self::LandedCost),
            9 => Some(Self::MonthEnd),
            10 => Some(Self::CashDiscount),
            _ => None,
        }
    }

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::NegativeStock => "negative_stock",
            Self::LateFact => "late_fact",
            Self::Invoice => "invoice",
            Self::Reversal => "reversal",
            Self::Followed => "followed",
            Self::Settings => "settings",
            Self::LandedCost => "landed_cost",
            Self::MonthEnd => "month_end",
            Self::CashDiscount => "cash_discount",
        }
    }
}

/// One posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The account.
    pub account: AccountNo,
    /// Debit or credit.
    pub side: Side,
    /// Signed, in the company's minor units; never zero.
    pub amount: Amount,
    /// The site it concerns; 0 where none.
    pub site: SiteNo,
    /// The item it concerns.
    pub item: Option<ItemNo>,
    /// The customer or supplier it concerns.
    pub partner: Option<PartnerNo>,
    /// The fact it comes from; none where differences of many facts are summed.
    pub fact: Option<Capture>,
}

impl Line {
    /// The amount with debits positive.
    pub const fn signed(&self) -> i64 {
        match self.side {
            Side::Debit => self.amount.0,
            Side::Credit => -self.amount.0,
        }
    }
}

/// A balanced set of postings of one company and month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The company.
    pub company: CompanyNo,
    /// The ledger month.
    pub month: Month,
    /// 凭证号: counts per company and month from 1, without gaps.
    pub number: u32,
    /// The effective day of the first fact, in the company's zone.
    pub day: Day,
    /// Why it exists.
    pub cause: Cause,
    /// The first fact of the group it posts; none for differences of many.
    pub fact: Option<Capture>,
    /// The postings.
    pub lines: Vec<Line>,
}

impl Voucher {
    /// Total of the debit side.
    pub fn debit(&self) -> i128 {
        self.side(Side::Debit)
    }

    /// Total of the credit side.
    pub fn credit(&self) -> i128 {
        self.side(Side::Credit)
    }

    /// Its number, as acknowledgements tell of it.
    pub const fn given(&self) -> VouchersGiven {
        VouchersGiven { company: self.company, month: self.month, last: self.number }
    }

    fn side(&self, side: Side) -> i128 {
        let lines = self.lines.iter().filter(|line| line.side == side);
        lines.map(|line| i128::from(line.amount.0)).sum()
    }
}
