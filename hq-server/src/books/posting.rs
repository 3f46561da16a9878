//! From a fact's target to lines: which roles a kind posts to, on which side. Knows no pools.
//!
//! | kind | stock against | document |
//! | --- | --- | --- |
//! | receipt | Dr inventory / Cr received not invoiced, rest price variance | Cr landed cost clearing |
//! | sale issue | Dr cost of sales / Cr inventory | Dr receivable / Cr revenue |
//! | customer return | Dr inventory / Cr cost of sales | Dr sales returns / Cr receivable |
//! | supplier return | Dr received not invoiced / Cr inventory, rest return difference | |
//! | issue, scrap | Dr own use, scrap / Cr inventory | |
//! | count, adjustment | inventory / stock adjustment | |
//! | production in, out | inventory / work in progress | |
//! | transfer ship, receive | inter-site transit / inventory, rest transfer difference | |
//! | transfer ship to another company | Dr inter-company cost / Cr inventory | Dr inter-company receivable / Cr inter-company revenue |
//! | transfer receive from another company | Dr inventory / Cr inter-company payable, rest transfer difference | |
//! | repack out, in | inventory of one item / of the other, rest price variance | |
//! | service sale | | Dr receivable / Cr revenue |
//! | supplier invoice | | Dr received not invoiced (bought in transit) / Cr payable, rest exchange difference |
//! | credit note | | Dr payable / Cr received not invoiced (bought in transit), rest exchange difference |
//! | landed cost | | Dr landed cost clearing / Cr payable |
//! | cash discount | | Dr payable / Cr landed cost clearing, or finance income |
//! | revaluation, standard cost | inventory / revaluation | |
//! | write-down | | Dr write-down / Cr allowance |
//! | customer invoice | | Dr receivable / Cr unbilled receivable, rest revenue |
//! | payment in, out | | Dr bank / Cr customer advance; Dr supplier prepayment / Cr bank |
//! | allocation | | advance or prepayment / receivable or payable |
//!
//! Source: the entries of IAS 2 and of 企业会计准则第1号, as listed in ARCHITECTURE.

use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::{AccountNo, SiteNo};
use shared::money::Amount;
use smallvec::SmallVec;

use super::fact_table::{FactRecord, Target};
use super::valuation::FactId;
use super::voucher::{Line, Side};

/// The roles a fact posts to; the same places as in `Accounts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Inventory.
    pub stock: Option<Role>,
    /// Against inventory.
    pub counter: Option<Role>,
    /// What is left between the two.
    pub difference: Option<Role>,
    /// The residue at zero quantity; of an invoice in another currency the exchange difference.
    pub variance: Option<Role>,
    /// What stock costs beyond its standard, where it carries that.
    pub beyond: Option<Role>,
    /// The document's main account.
    pub main: Option<Role>,
    /// Against it.
    pub against: Option<Role>,
    /// What is left between the two.
    pub rest: Option<Role>,
}

/// What decides the roles of a fact beside its kind.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "seven independent questions about one document")]
pub struct Situation {
    /// The movement states a selling price.
    pub priced: bool,
    /// The customer is invoiced later.
    pub invoice_later: bool,
    /// Goods stay in one pool: the company has one pool for all its sites.
    pub one_pool: bool,
    /// Money comes in, or an allocation is on the customers' side.
    pub inward: bool,
    /// A bill is in another currency than the company's.
    pub foreign: bool,
    /// Goods go from one company to another.
    pub between: bool,
    /// A discount makes goods cost less, and is no income.
    pub of_goods: bool,
}

impl Situation {
    /// A document with a price, in the books' currency, on the suppliers' side.
    pub const PLAIN: Self = Self {
        priced: true,
        invoice_later: false,
        one_pool: false,
        inward: false,
        foreign: false,
        between: false,
        of_goods: false,
    };
}

/// The roles that a fact of this kind posts to.
pub fn roles(kind: Kind, situation: Situation) -> Roles {
    let stock = |counter| Roles {
        stock: Some(Role::Inventory),
        counter: Some(counter),
        beyond: Some(Role::StockVariance),
        ..Roles::default()
    };
    let document =
        |main, against| Roles { main: Some(main), against: Some(against), ..Roles::default() };
    match kind {
        Kind::Receipt => Roles {
            difference: Some(Role::PriceVariance),
            main: Some(Role::LandedCostClearing),
            ..stock(Role::ReceivedNotInvoiced)
        },
        Kind::SaleIssue => {
            let owed =
                if situation.invoice_later { Role::UnbilledReceivable } else { Role::Receivable };
            let sale =
                if situation.priced { document(owed, Role::Revenue) } else { Roles::default() };
            Roles { main: sale.main, against: sale.against, ..stock(Role::CostOfSales) }
        }
        Kind::CustomerReturn => {
            let sale = if situation.priced {
                document(Role::Receivable, Role::SalesReturns)
            } else {
                Roles::default()
            };
            Roles { main: sale.main, against: sale.against, ..stock(Role::CostOfSales) }
        }
        Kind::SupplierReturn => Roles {
            difference: Some(Role::ReturnDifference),
            variance: Some(Role::PriceVariance),
            ..stock(Role::ReceivedNotInvoiced)
        },
        Kind::Issue => stock(Role::OwnUse),
        Kind::Scrap => stock(Role::Scrap),
        Kind::Count | Kind::Adjustment => stock(Role::StockAdjustment),
        Kind::ProductionIn | Kind::ProductionOut => stock(Role::WorkInProgress),
        Kind::TransferShip if situation.between => {
            let sale = document(Role::InterCompanyReceivable, Role::InterCompanyRevenue);
            Roles { main: sale.main, against: sale.against, ..stock(Role::InterCompanyCost) }
        }
        Kind::TransferReceive if situation.between => {
            Roles { difference: Some(Role::TransferDifference), ..stock(Role::InterCompanyPayable) }
        }
        Kind::TransferShip if situation.one_pool => Roles::default(),
        Kind::TransferReceive if situation.one_pool => stock(Role::TransferDifference),
        Kind::TransferShip => stock(Role::InterSiteTransit),
        Kind::TransferReceive => {
            Roles { difference: Some(Role::TransferDifference), ..stock(Role::InterSiteTransit) }
        }
        Kind::RepackOut | Kind::RepackIn => Roles {
            stock: Some(Role::Inventory),
            variance: Some(Role::PriceVariance),
            beyond: Some(Role::StockVariance),
            ..Roles::default()
        },
        Kind::ServiceSale => document(Role::Receivable, Role::Revenue),
        Kind::LandedCost if situation.priced => document(Role::Payable, Role::LandedCostClearing),
        Kind::CashDiscount if situation.of_goods => {
            document(Role::Payable, Role::LandedCostClearing)
        }
        Kind::CashDiscount => document(Role::Payable, Role::CashDiscount),
        Kind::Revaluation | Kind::StandardCost => stock(Role::Revaluation),
        Kind::WriteDown => document(Role::WriteDown, Role::Allowance),
        Kind::SupplierInvoice | Kind::CreditNote => Roles {
            rest: Some(Role::BoughtInTransit),
            variance: situation.foreign.then_some(Role::ExchangeDifference),
            ..document(Role::Payable, Role::ReceivedNotInvoiced)
        },
        Kind::CustomerInvoice => Roles {
            rest: Some(Role::Revenue),
            ..document(Role::Receivable, Role::UnbilledReceivable)
        },
        Kind::Payment if situation.inward => document(Role::Bank, Role::CustomerAdvance),
        Kind::Payment => document(Role::Bank, Role::SupplierPrepayment),
        Kind::Allocation if situation.inward => document(Role::Receivable, Role::CustomerAdvance),
        Kind::Allocation => document(Role::Payable, Role::SupplierPrepayment),
        _ => Roles::default(),
    }
}

/// One account's part of a target: which side it naturally takes, and its amount, debits positive.
#[derive(Clone, Copy)]
struct Part {
    account: AccountNo,
    side: Side,
    amount: i64,
    site: SiteNo,
    of_item: bool,
    of_partner: bool,
    open_item: FactId,
}

impl Part {
    /// Whether it is on an account at all.
    const fn counts(&self) -> bool {
        self.account.0 != 0 && self.amount != 0
    }
}

/// How many amounts and differences of them a target has.
const PARTS: usize = 8;

/// Parts of one target, or of two.
type Parts = SmallVec<[Part; PARTS]>;

/// A line and the open item it belongs to, where its account is a control account.
pub(super) struct Posting {
    /// The line.
    pub line: Line,
    /// The first fact of what it opens or settles.
    pub open_item: FactId,
}

/// Most facts have no more: these take no room of their own.
pub(super) type Postings = SmallVec<[Posting; 4]>;

/// The lines of a target. Differences between two targets are differences of lines of equal key,
/// so that sums per account and side depend on the target alone.
fn parts(id: FactId, record: &FactRecord, target: &Target) -> [Part; PARTS] {
    let accounts = &record.accounts;
    let by_sign = |amount: i64| if amount >= 0 { Side::Debit } else { Side::Credit };
    let opposite = |side| match side {
        Side::Debit => Side::Credit,
        Side::Credit => Side::Debit,
    };
    // A change of what is there has the side of its sign; every other kind's is fixed.
    let stock_side = match record.kind {
        Kind::Count
        | Kind::Adjustment
        | Kind::Revaluation
        | Kind::StandardCost
        | Kind::SupplierInvoice
        | Kind::CreditNote
        | Kind::LandedCost
        | Kind::CashDiscount => by_sign(target.stock),
        Kind::Receipt
        | Kind::CustomerReturn
        | Kind::ProductionIn
        | Kind::TransferReceive
        | Kind::RepackIn => Side::Debit,
        _ => Side::Credit,
    };
    let main_side = match record.kind {
        Kind::SupplierInvoice | Kind::CustomerReturn | Kind::LandedCost | Kind::Receipt => {
            Side::Credit
        }
        Kind::Payment | Kind::Allocation | Kind::WriteDown => by_sign(target.main),
        _ => Side::Debit,
    };
    let counter_partner = matches!(record.kind, Kind::Receipt | Kind::SupplierReturn);
    let document_item = record.item.is_some();
    let is_receipt = record.kind == Kind::Receipt;
    let loses_value = record.kind == Kind::WriteDown;
    let landed = if is_receipt { target.main } else { 0 };
    let is_bill = matches!(record.kind, Kind::SupplierInvoice | Kind::CreditNote);
    // A bill has no stock: its residue is what the exchange rate moved.
    let exchange = if is_bill { target.residue } else { 0 };
    let worth = target.stock + target.beyond;
    let difference = -(worth + target.counter + target.residue - exchange + landed);
    let rest = -(target.main + target.against + exchange);
    let residue_side = if is_bill { by_sign(exchange) } else { Side::Debit };
    let counter_side = opposite(stock_side);
    let against_side = opposite(main_side);
    let counter_item = record.counter_item(id);
    let (main_item, against_item) = (record.main_item, record.against_item);
    let site = record.site;
    let place = if record.one_pool { SiteNo::HQ } else { site };
    let rows = [
        (accounts.stock, stock_side, target.stock, place, true, false, id),
        (accounts.beyond, Side::Debit, target.beyond, place, true, false, id),
        (accounts.counter, counter_side, target.counter, site, true, counter_partner, counter_item),
        (accounts.variance, residue_side, target.residue, site, true, false, id),
        (accounts.difference, Side::Debit, difference, site, true, false, id),
        (
            accounts.main,
            main_side,
            target.main,
            record.main_site,
            loses_value,
            !is_receipt,
            main_item,
        ),
        (accounts.against, against_side, target.against, site, document_item, true, against_item),
        (accounts.rest, against_side, rest, site, document_item, true, main_item),
    ];
    rows.map(|(account, side, amount, site, of_item, of_partner, open_item)| Part {
        account,
        side,
        amount,
        site,
        of_item,
        of_partner,
        open_item,
    })
}

/// Appends the lines that turn what is posted for a fact into its target.
pub(super) fn difference_lines(
    id: FactId,
    record: &FactRecord,
    with_fact: bool,
    out: &mut Postings,
) {
    lines_between(id, record, (&record.posted, &record.target), with_fact, out);
}

/// Appends the lines that turn one target of a fact into another.
pub(super) fn lines_between(
    id: FactId,
    record: &FactRecord,
    (from, to): (&Target, &Target),
    with_fact: bool,
    out: &mut Postings,
) {
    if to == from {
        return;
    }
    let wanted = parts(id, record, to);
    let differences = if *from == Target::default() {
        wanted.into_iter().filter(Part::counts).collect()
    } else {
        differences(&wanted, &parts(id, record, from))
    };
    for part in differences {
        if part.amount == 0 {
            continue;
        }
        let signed = if part.side == Side::Debit { part.amount } else { -part.amount };
        let line = Line {
            account: part.account,
            side: part.side,
            amount: Amount(signed),
            site: part.site,
            item: record.item.filter(|_| part.of_item),
            partner: record.partner.filter(|_| part.of_partner),
            fact: with_fact.then_some(record.capture),
        };
        out.push(Posting { line, open_item: part.open_item });
    }
}

/// Part by part, unless one changed its side or two are on one account.
fn differences(all_wanted: &[Part; PARTS], all_held: &[Part; PARTS]) -> Parts {
    let mut differences = Parts::new();
    for (wanted, held) in all_wanted.iter().zip(all_held) {
        if !wanted.counts() && !held.counts() {
            continue;
        }
        let meets_another = differences.iter().any(|other| other.account == wanted.account);
        if wanted.side != held.side || meets_another {
            return differences_by_key(all_wanted, all_held);
        }
        differences.push(Part { amount: wanted.amount - held.amount, ..*wanted });
    }
    differences
}

fn differences_by_key(wanted: &[Part; PARTS], held: &[Part; PARTS]) -> Parts {
    let mut differences: Parts = wanted.iter().filter(|part| part.counts()).copied().collect();
    for part in held.iter().filter(|part| part.counts()) {
        let same = |other: &&mut Part| {
            (other.account, other.side, other.site, other.of_item, other.of_partner)
                == (part.account, part.side, part.site, part.of_item, part.of_partner)
                && other.open_item == part.open_item
        };
        match differences.iter_mut().find(same) {
            Some(other) => other.amount -= part.amount,
            None => differences.push(Part { amount: -part.amount, ..*part }),
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICED: Situation = Situation { inward: true, ..Situation::PLAIN };

    #[test]
    fn every_kind_that_moves_stock_posts_against_inventory() {
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_movement()) {
            let expected = !matches!(kind, Kind::ServiceSale | Kind::Reversal | Kind::StatusChange);
            assert_eq!(roles(kind, PRICED).stock.is_some(), expected, "{kind}");
        }
    }
}
