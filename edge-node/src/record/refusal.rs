//! Why a movement is not recorded, in the keeper's words, with what to do next. Variants stand in
//! order of precedence: of several faults of a line the first is named.

use shared::catalogue::UnitError;
use shared::decimal::DecimalError;
use shared::fact::kind::Kind;
use shared::fact::statement::Unreadable;
use shared::ids::{Capture, NotACapture};
use shared::money::Currency;
use shared::quantity::ScaleError;
use shared::time::{Day, NotADate};

use crate::journal::{RecordError, StoreError};

/// What is wrong with a line or a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such kind.
    #[error("there is no movement kind '{0}': see 'edge-node record --help' for the kinds")]
    UnknownKind(String),
    /// A repack with one side.
    #[error("a repack states both sides in one group: what goes out and what comes of it")]
    OneSidedRepack,
    /// A field that the kind needs.
    #[error("{} {kind} needs {field}: state it", article(*.kind))]
    Missing {
        /// The kind.
        kind: Kind,
        /// The field.
        field: &'static str,
    },
    /// No such item.
    #[error(
        "there is no item '{0}': see 'edge-node items', or create it at HQ and wait for the link"
    )]
    UnknownItem(String),
    /// A service in a movement of goods.
    #[error(
        "item '{item}' is a service and never on stock: record a service_sale, not {} {kind}",
        article(*.kind)
    )]
    ServiceMoved {
        /// The item's code.
        item: String,
        /// The kind.
        kind: Kind,
    },
    /// Goods in a service sale.
    #[error("item '{0}' is on stock and no service: record a sale_issue")]
    GoodsAsService(String),
    /// No such partner.
    #[error("there is no partner '{0}': create it at HQ and wait for the link, or check the code")]
    UnknownPartner(String),
    /// A customer where a supplier belongs, or the other way.
    #[error("partner '{partner}' is no {role}: name another, or have HQ make it one")]
    PartnerRole {
        /// The partner's code.
        partner: String,
        /// What it would have to be.
        role: &'static str,
    },
    /// No such reason.
    #[error("there is no reason '{0}': create it at HQ and wait for the link, or check the code")]
    UnknownReason(String),
    /// The reason is for another kind.
    #[error(
        "reason '{reason}' is for {} {belongs}, not for {} {kind}: name another reason",
        article(*.belongs), article(*.kind)
    )]
    ReasonKind {
        /// The reason's code.
        reason: String,
        /// The kind it is for.
        belongs: Kind,
        /// The kind recorded.
        kind: Kind,
    },
    /// No such site.
    #[error("there is no site '{0}': check the code with HQ")]
    UnknownSite(String),
    /// A transfer to itself.
    #[error("site '{0}' is this site: a transfer goes to another one")]
    OwnSite(String),
    /// A quantity that is none.
    #[error("the quantity {why}{}", advice_on_figure(.0), why = .0)]
    Quantity(DecimalError),
    /// A unit that is none.
    #[error("'{0}' is no unit: 1 to 16 bytes of text without blanks")]
    NotAUnit(String),
    /// Unknown unit, too many decimals, no whole number.
    #[error("{why}{}", advice_on_unit(.0), why = .0)]
    Unit(Box<UnitError>),
    /// A price or cost that is none.
    #[error("the {field} {why}{}", advice_on_figure(.why))]
    Price {
        /// Price or cost.
        field: &'static str,
        /// Why.
        why: DecimalError,
    },
    /// More decimals than a price may have.
    #[error("the {field} {text} {why}: round it where it comes from")]
    PriceDecimals {
        /// Price or cost.
        field: &'static str,
        /// As written.
        text: String,
        /// Why.
        why: ScaleError,
    },
    /// Quantity times price is beyond what books hold.
    #[error(
        "quantity x {field} is too large: the limit is about 9 x 10^15 of the currency's smallest \
         units; check both figures"
    )]
    AmountTooLarge {
        /// Price or cost.
        field: &'static str,
    },
    /// A currency that is none.
    #[error("'{0}' is no currency: three capital letters, for example CNY")]
    Currency(String),
    /// A price, and neither line nor company says in what currency.
    #[error("state the currency: the company's own is not known here yet")]
    NoCurrency,
    /// Goods go to another company without a price.
    #[error("site '{0}' is of another company: state the price that it pays (price)")]
    NoPriceBetween(String),
    /// Goods go within the company at a price.
    #[error("site '{0}' is of the same company, where goods go at what they cost: state no price")]
    PriceWithin(String),
    /// What another company pays is stated in the currency of the sender's books.
    #[error("what another company pays is in the currency of this company's books: {0}")]
    TransferCurrency(Currency),
    /// A reference that is none.
    #[error(transparent)]
    NotACapture(NotACapture),
    /// A receive with nothing on its way.
    #[error(
        "no transfer of item '{0}' is on its way to this site: state the ship movement's capture \
         id (refers_to); it stands on the delivery note"
    )]
    NoOpenTransfer(String),
    /// Several transfers it could be.
    #[error(
        "several transfers of item '{item}' are on their way: state which (refers_to): {which}"
    )]
    WhichTransfer {
        /// The item's code.
        item: String,
        /// Their capture ids, as a list to read.
        which: String,
    },
    /// The transfer is of another item.
    #[error("transfer {transfer} is of item '{belongs}', not '{item}': check the capture id")]
    TransferItem {
        /// The ship movement.
        transfer: Capture,
        /// What is on its way.
        belongs: String,
        /// What was stated.
        item: String,
    },
    /// A return that says neither where the goods came from nor their cost.
    #[error("a {kind} needs {field}, for the goods' cost: state it")]
    MissingReference {
        /// The kind.
        kind: Kind,
        /// What would do.
        field: &'static str,
    },
    /// A date that is none.
    #[error(transparent)]
    NotADate(NotADate),
    /// A status that is none.
    #[error("'{0}' is no status: in_use, held or blocked")]
    UnknownStatus(String),
    /// A tax code that is none.
    #[error("'{0}' is no tax code: it is a number that HQ gives")]
    TaxCode(String),
    /// A text that does not fit.
    #[error("the {field} is longer than {max} bytes: shorten it")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// The kind's own rules.
    #[error(transparent)]
    Form(Unreadable),
    /// It is said to happen later than now.
    #[error("{date} lies ahead of this node's clock ({now}): check the date, then the clock")]
    FutureDate {
        /// As stated.
        date: Day,
        /// By the node's clock.
        now: Day,
    },
    /// It is further back than the site may go.
    #[error(
        "{date} is more than {days_max} days back ({policy}): record it with a later date, or ask \
         HQ to change the policy"
    )]
    TooFarBack {
        /// As stated.
        date: Day,
        /// How far back is allowed.
        days_max: i64,
        /// The policy that says so.
        policy: &'static str,
    },
}

impl Refusal {
    /// A word for programs; never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownKind(_) => "unknown_kind",
            Self::OneSidedRepack => "one_sided_repack",
            Self::Missing { .. } => "missing_field",
            Self::UnknownItem(_) => "unknown_item",
            Self::ServiceMoved { .. } => "service_moved",
            Self::GoodsAsService(_) => "goods_as_service",
            Self::UnknownPartner(_) => "unknown_partner",
            Self::PartnerRole { .. } => "partner_role",
            Self::UnknownReason(_) => "unknown_reason",
            Self::ReasonKind { .. } => "reason_kind",
            Self::UnknownSite(_) => "unknown_site",
            Self::OwnSite(_) => "own_site",
            Self::Quantity(_) => "bad_quantity",
            Self::NotAUnit(_) => "bad_unit",
            Self::Unit(why) => unit_code(why),
            Self::Price { .. } => "bad_price",
            Self::PriceDecimals { .. } => "price_decimals",
            Self::AmountTooLarge { .. } => "amount_too_large",
            Self::Currency(_) | Self::NoCurrency => "bad_currency",
            Self::NoPriceBetween(_) => "price_between_companies",
            Self::PriceWithin(_) => "price_within_company",
            Self::TransferCurrency(_) => "transfer_currency",
            Self::NotACapture(_) => "bad_reference",
            Self::NoOpenTransfer(_) => "no_open_transfer",
            Self::WhichTransfer { .. } => "which_transfer",
            Self::TransferItem { .. } => "transfer_item",
            Self::MissingReference { .. } => "missing_reference",
            Self::NotADate(_) => "bad_date",
            Self::UnknownStatus(_) => "unknown_status",
            Self::TaxCode(_) => "bad_tax_code",
            Self::TooLong { .. } => "too_long",
            Self::Form(_) => "bad_form",
            Self::FutureDate { .. } => "future_date",
            Self::TooFarBack { .. } => "too_far_back",
        }
    }
}

/// A kind's article.
fn article(kind: Kind) -> &'static str {
    if kind.word().starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What to do about a figure that is out of range.
const fn advice_on_figure(error: &DecimalError) -> &'static str {
    match error {
        DecimalError::NotADecimal(_) => "",
        DecimalError::OutOfRange { why: ScaleError::TooManyDecimals { .. }, .. } => {
            ": round it where it comes from"
        }
        DecimalError::OutOfRange { why: ScaleError::TooLarge, .. } => "; check the figure",
    }
}

/// What to do about a quantity that its unit does not take.
const fn advice_on_unit(error: &UnitError) -> &'static str {
    match error {
        UnitError::Figure { why: ScaleError::TooManyDecimals { .. }, .. } => {
            ": round it, or state it in a smaller unit"
        }
        UnitError::Figure { why: ScaleError::TooLarge, .. } => "; check the figure",
        UnitError::UnknownUnit { .. } | UnitError::NotWhole { .. } => "",
    }
}

const fn unit_code(why: &UnitError) -> &'static str {
    match why {
        UnitError::UnknownUnit { .. } => "unknown_unit",
        UnitError::Figure { why: ScaleError::TooManyDecimals { .. }, .. } => "too_many_decimals",
        UnitError::Figure { .. } => "bad_quantity",
        UnitError::NotWhole { .. } => "not_whole",
    }
}

/// Why a group was not recorded, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A line does not hold.
    #[error("line {}: {why}", .line + 1)]
    Line {
        /// Counts from 0.
        line: usize,
        /// Why.
        why: Refusal,
    },
    /// The key is none.
    #[error("an idempotency key has 1 to 200 bytes, this one has {0}")]
    Key(usize),
    /// The journal says no.
    #[error(transparent)]
    Journal(RecordError),
}

impl From<RecordError> for Refused {
    fn from(error: RecordError) -> Self {
        Self::Journal(error)
    }
}

impl Refused {
    /// A word for programs; never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Line { why, .. } => why.code(),
            Self::Key(_) => "bad_key",
            Self::Journal(error) => match error {
                RecordError::Restored => "restored",
                RecordError::GroupSize(_) => "group_size",
                RecordError::KeyReused => "key_reused",
                RecordError::ReversalOfOthers { .. } => "reversal_of_others",
                RecordError::ReversalOfNothing { .. } => "reversal_of_nothing",
                RecordError::AlreadyReversed { .. } => "already_reversed",
                RecordError::Unit { .. } => "unknown_unit",
                RecordError::NegativeStock(_) => "negative_stock",
                RecordError::TooLarge { .. } => "too_long",
                RecordError::Store(StoreError::DiskFull) => "disk_full",
                RecordError::Store(_) => "store",
            },
        }
    }

    /// The line it is about, counted from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. }
            | Self::Journal(
                RecordError::ReversalOfOthers { line, .. }
                | RecordError::ReversalOfNothing { line, .. }
                | RecordError::AlreadyReversed { line, .. }
                | RecordError::Unit { line, .. }
                | RecordError::TooLarge { line, .. },
            ) => Some(*line + 1),
            Self::Journal(RecordError::NegativeStock(shortage)) => Some(shortage.line + 1),
            Self::Key(_) | Self::Journal(_) => None,
        }
    }

    /// Whether trying again, with the same key, may help.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Journal(RecordError::Store(_)))
    }
}
