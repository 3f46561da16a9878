//! Which accounts each fact moves, on which side, by how much. Knows no pools: the fold has said
//! what everything costs. Invariant: every fact's lines balance.

use std::collections::BTreeMap;

use num_traits::{Signed, Zero};
use shared::fact::Kind;
use shared::fact::statement::{
    Allocation, CashDiscount, CostScope, Direction, InvoiceLine, LandedCost, Movement,
    PurchaseCashDiscount, Role, Statement,
};
use shared::ids::{AccountNo, Capture, PartnerNo, SiteNo};
use shared::time::{Month, Timestamp};

use super::admit::{Entry, Why};
use super::documents::Matched;
use super::figure::{Figure, integer, rounded, share};
use super::fold::Folded;
use super::settings::{Asked, Settings};

/// Which column of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Left.
    Debit,
    /// Right.
    Credit,
}

/// What a fact puts on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The fact.
    pub fact: Capture,
    /// The account's role.
    pub role: Role,
    /// The account.
    pub account: AccountNo,
    /// The site; 0 where none.
    pub site: SiteNo,
    /// The ledger month.
    pub month: Month,
    /// Debit or credit.
    pub side: Side,
    /// Signed, minor units.
    pub amount: i128,
    /// The open item it belongs to, where the role has open items.
    pub item: Capture,
    /// Whose open item.
    pub partner: Option<PartnerNo>,
}

/// The roles a fact needs accounts for, whatever the amounts turn out to be.
fn roles(entry: &Entry, entries: &BTreeMap<Capture, Entry>) -> Vec<Role> {
    let one_pool = entry.company.scope == CostScope::Company;
    match &entry.statement {
        Statement::Movement(_) if entry.sold_to.is_some() => vec![
            Role::InterCompanyReceivable,
            Role::InterCompanyRevenue,
            Role::InterCompanyCost,
            Role::Inventory,
        ],
        Statement::Movement(_) if entry.bought.is_some() => {
            vec![Role::Inventory, Role::InterCompanyPayable, Role::TransferDifference]
        }
        Statement::Movement(movement) => movement_roles(movement, one_pool),
        Statement::SupplierInvoice(line) | Statement::CreditNote(line) => {
            let mut needed = vec![Role::Payable, Role::ReceivedNotInvoiced, Role::BoughtInTransit];
            if line.price.currency != entry.company.currency {
                needed.push(Role::ExchangeDifference);
            }
            needed
        }
        Statement::CustomerInvoice(_) => {
            vec![Role::Receivable, Role::UnbilledReceivable, Role::Revenue]
        }
        Statement::Payment(payment) => vec![Role::Bank, ahead(payment.direction)],
        Statement::Allocation(allocation) => {
            match entries.get(&allocation.payment).map(|payment| &payment.statement) {
                Some(Statement::Payment(payment)) => {
                    vec![ahead(payment.direction), owed(payment.direction)]
                }
                _ => Vec::new(),
            }
        }
        Statement::LandedCost(landed) if landed.partner.is_some() => {
            vec![Role::Payable, Role::LandedCostClearing]
        }
        Statement::CashDiscount(discount) => vec![Role::Payable, against(discount)],
        Statement::Revaluation(_) | Statement::StandardCost(_) => {
            vec![Role::Inventory, Role::Revaluation]
        }
        Statement::WriteDown(_) => vec![Role::WriteDown, Role::Allowance],
        Statement::LandedCost(_)
        | Statement::Reversal { .. }
        | Statement::SameAs { .. }
        | Statement::Retime(_)
        | Statement::PeriodAction(_)
        | Statement::MasterData { .. } => Vec::new(),
    }
}

/// Where a discount goes: through landed cost to the goods, or into the result.
const fn against(discount: &CashDiscount) -> Role {
    match discount.of {
        PurchaseCashDiscount::Cost => Role::LandedCostClearing,
        PurchaseCashDiscount::Finance => Role::CashDiscount,
    }
}

/// Where money waits until it is allocated.
const fn ahead(direction: Direction) -> Role {
    match direction {
        Direction::In => Role::CustomerAdvance,
        Direction::Out => Role::SupplierPrepayment,
    }
}

/// What money settles.
const fn owed(direction: Direction) -> Role {
    match direction {
        Direction::In => Role::Receivable,
        Direction::Out => Role::Payable,
    }
}

fn movement_roles(movement: &Movement, one_pool: bool) -> Vec<Role> {
    let owed = if movement.invoice_later { Role::UnbilledReceivable } else { Role::Receivable };
    let priced = |roles: [Role; 2]| if movement.price.is_some() { roles.to_vec() } else { vec![] };
    let mut needed = match movement.kind {
        Kind::Receipt => {
            vec![Role::ReceivedNotInvoiced, Role::LandedCostClearing, Role::PriceVariance]
        }
        Kind::SaleIssue => [vec![Role::CostOfSales], priced([owed, Role::Revenue])].concat(),
        Kind::CustomerReturn => {
            [vec![Role::CostOfSales], priced([Role::Receivable, Role::SalesReturns])].concat()
        }
        Kind::SupplierReturn => {
            vec![Role::ReceivedNotInvoiced, Role::ReturnDifference, Role::PriceVariance]
        }
        Kind::Issue => vec![Role::OwnUse],
        Kind::Scrap => vec![Role::Scrap],
        Kind::Count | Kind::Adjustment => vec![Role::StockAdjustment],
        Kind::ProductionIn | Kind::ProductionOut => vec![Role::WorkInProgress],
        Kind::TransferShip if one_pool => return Vec::new(),
        Kind::TransferReceive if one_pool => vec![Role::TransferDifference],
        Kind::TransferShip => vec![Role::InterSiteTransit],
        Kind::TransferReceive => vec![Role::InterSiteTransit, Role::TransferDifference],
        Kind::RepackOut | Kind::RepackIn => vec![Role::PriceVariance],
        Kind::ServiceSale => return vec![Role::Receivable, Role::Revenue],
        _ => return Vec::new(),
    };
    needed.push(Role::Inventory);
    needed
}

/// The accounts of all roles a fact needs.
pub fn accounts(
    entry: &Entry,
    entries: &BTreeMap<Capture, Entry>,
    settings: &Settings,
) -> Result<BTreeMap<Role, AccountNo>, Why> {
    let mut found = BTreeMap::new();
    for role in roles(entry, entries) {
        found.insert(role, account(entry, role, settings).ok_or(Why::NoAccount(role))?);
    }
    Ok(found)
}

fn account(entry: &Entry, role: Role, settings: &Settings) -> Option<AccountNo> {
    if let (Role::Bank, Statement::Payment(payment)) = (role, &entry.statement)
        && payment.account.is_some()
    {
        return payment.account;
    }
    let asked = Asked {
        company: entry.company_no,
        role,
        category: entry.category().filter(|_| role != Role::Payable),
        site: line_site(entry, role),
        movement: entry.statement.kind(),
        reason: entry.reason(),
    };
    settings.account(&asked, entry.time())
}

/// Under one pool for all sites the inventory account can't depend on the site. What is owed to
/// suppliers has none: an invoice may come before anyone knows where the goods go.
fn line_site(entry: &Entry, role: Role) -> SiteNo {
    match role {
        Role::Inventory | Role::StockVariance if entry.company.scope == CostScope::Company => {
            SiteNo::HQ
        }
        Role::Payable => SiteNo::HQ,
        _ => entry.line_site,
    }
}

/// Everything that posting one fact reads.
pub struct Posted<'a> {
    /// What the fold found.
    pub folded: &'a Folded,
    /// Every fact that happened.
    pub by_capture: &'a BTreeMap<Capture, &'a Entry>,
    /// Also those that were reversed: an account stays the one where an item was opened.
    pub all: &'a BTreeMap<Capture, &'a Entry>,
    /// Master data.
    pub settings: &'a Settings,
}

impl Posted<'_> {
    /// The lines of one fact that happened.
    pub fn lines(&self, entry: &Entry) -> Vec<Posting> {
        let mut lines = Lines { entry, settings: self.settings, written: Vec::new() };
        match &entry.statement {
            Statement::Movement(movement) => {
                if self.folded.change.contains_key(&entry.capture) {
                    self.stock(entry, movement, &mut lines);
                }
                sale(entry, movement, &mut lines);
            }
            Statement::SupplierInvoice(line) => {
                self.supplier_invoice(entry, line, &mut lines);
            }
            Statement::CreditNote(line) => self.credit_note(entry, line, &mut lines),
            Statement::LandedCost(landed) => self.landed_cost(entry, landed, &mut lines),
            Statement::CashDiscount(stated) => self.cash_discount(entry, stated, &mut lines),
            Statement::Revaluation(_) | Statement::StandardCost(_) => {
                if self.folded.change.contains_key(&entry.capture) {
                    let goods = self.goods(entry);
                    lines.gained(Role::Revaluation, &goods);
                    lines.debit(Role::StockVariance, &goods.beyond);
                    for ((ship, by), more) in &self.folded.restated {
                        if *by == entry.capture {
                            let left = self.all[ship];
                            let item = Item::new(*ship, None).opened_by(Some(left)).of_site(left);
                            lines.debit_item(Role::InterSiteTransit, more, item);
                            lines.credit(Role::Revaluation, more);
                        }
                    }
                }
            }
            Statement::WriteDown(stated) => {
                let amount = entry.minor(stated.amount);
                if amount.is_negative() {
                    lines.both(Role::Allowance, Role::WriteDown, &-amount);
                } else {
                    lines.both(Role::WriteDown, Role::Allowance, &amount);
                }
            }
            Statement::CustomerInvoice(line) => {
                self.customer_invoice(entry, line, &mut lines);
            }
            Statement::Payment(payment) => {
                let amount = entry.minor(payment.amount);
                let (ahead, item) = (ahead(payment.direction), entry.capture);
                let partner = Some(payment.partner);
                match payment.direction {
                    Direction::In => {
                        lines.debit(Role::Bank, &amount);
                        lines.credit_item(ahead, &amount, Item::new(item, partner));
                    }
                    Direction::Out => {
                        lines.debit_item(ahead, &amount, Item::new(item, partner));
                        lines.credit(Role::Bank, &amount);
                    }
                }
            }
            Statement::Allocation(allocation) => self.allocation(entry, allocation, &mut lines),
            Statement::Reversal { .. }
            | Statement::SameAs { .. }
            | Statement::Retime(_)
            | Statement::PeriodAction(_)
            | Statement::MasterData { .. } => {}
        }
        lines.balanced()
    }

    /// Inventory against what the kind says.
    fn stock(&self, entry: &Entry, movement: &Movement, lines: &mut Lines<'_>) {
        let goods = self.goods(entry);
        let (change, worth) = (&goods.change, goods.worth.clone());
        let one_pool = entry.company.scope == CostScope::Company;
        let (left, cost) = (-change, -&worth);
        lines.debit(Role::StockVariance, &goods.beyond);
        match movement.kind {
            Kind::Receipt => {
                let received = &self.folded.receipts[&entry.capture];
                let item = Item::new(entry.capture, movement.partner);
                let difference = &received.price + &received.landed - &worth;
                lines.debit(Role::Inventory, change);
                lines.debit(Role::PriceVariance, &difference);
                lines.credit_item(Role::ReceivedNotInvoiced, &received.price, item);
                lines.credit(Role::LandedCostClearing, &received.landed);
            }
            Kind::CustomerReturn => lines.came(Role::CostOfSales, &goods),
            Kind::SupplierReturn => self.supplier_return(entry, movement, &goods, lines),
            Kind::SaleIssue => lines.went(Role::CostOfSales, &goods),
            Kind::Issue => lines.went(Role::OwnUse, &goods),
            Kind::Scrap => lines.went(Role::Scrap, &goods),
            Kind::Count | Kind::Adjustment => lines.gained(Role::StockAdjustment, &goods),
            Kind::ProductionIn => lines.came(Role::WorkInProgress, &goods),
            Kind::ProductionOut => lines.went(Role::WorkInProgress, &goods),
            Kind::TransferShip if entry.sold_to.is_some() => {
                lines.went(Role::InterCompanyCost, &goods);
            }
            Kind::TransferReceive if entry.bought.is_some() => {
                let owed = &self.folded.arrived[&entry.capture];
                let ship = Item::new(movement.refers_to.unwrap_or(entry.capture), None);
                lines.debit(Role::Inventory, change);
                lines.credit_item(Role::InterCompanyPayable, owed, ship);
                lines.debit(Role::TransferDifference, &(owed - &worth));
            }
            Kind::TransferShip => {
                lines.debit_item(Role::InterSiteTransit, &cost, Item::new(entry.capture, None));
                lines.credit(Role::Inventory, &left);
            }
            Kind::TransferReceive if one_pool => lines.came(Role::TransferDifference, &goods),
            Kind::TransferReceive => {
                let arrived = &self.folded.arrived[&entry.capture];
                lines.debit(Role::Inventory, change);
                let ship = movement.refers_to.unwrap_or(entry.capture);
                let item = Item::new(ship, None).opened_by(self.find(ship));
                lines.credit_item(Role::InterSiteTransit, arrived, item);
                lines.debit(Role::TransferDifference, &(arrived - &worth));
            }
            Kind::RepackOut => lines.credit(Role::Inventory, &left),
            Kind::RepackIn => {
                lines.debit(Role::Inventory, change);
                if self.is_first_in(entry) {
                    lines.debit(Role::PriceVariance, &self.folded.repack_rest[&entry.group]);
                }
            }
            _ => {}
        }
    }

    /// What a fact does to the accounts of stock. What joins the value under another method leaves
    /// what was carried.
    fn goods(&self, entry: &Entry) -> Goods {
        let of = |figures: &BTreeMap<Capture, Figure>| {
            figures.get(&entry.capture).cloned().unwrap_or_else(Figure::zero)
        };
        let (change, beyond) = (of(&self.folded.change), of(&self.folded.beyond));
        let joined = of(&self.folded.joined);
        let worth = &change + &beyond;
        Goods { change: change + &joined, beyond: beyond - joined, worth }
    }

    /// What a repack leaves over goes with the first goods that came of it.
    fn is_first_in(&self, entry: &Entry) -> bool {
        let members = self.by_capture.values().filter(|each| each.group == entry.group);
        let ins = members.filter(|each| each.statement.kind() == Kind::RepackIn);
        ins.map(|each| each.spot).min() == Some(entry.spot)
    }

    /// At the price its receipt stands at, without one at the value the goods leave with.
    fn supplier_return(
        &self,
        entry: &Entry,
        movement: &Movement,
        goods: &Goods,
        lines: &mut Lines<'_>,
    ) {
        let residue = self.folded.residue.get(&entry.capture).cloned();
        let residue = residue.unwrap_or_else(Figure::zero);
        let unshared = self.folded.unshared.get(&entry.capture).cloned();
        let unshared = unshared.unwrap_or_else(Figure::zero);
        let cost = -&goods.worth - &unshared;
        let item = movement.refers_to.unwrap_or(entry.capture);
        let price = match self.folded.receipts.get(&item) {
            // What covers missing goods re-prices them on the movement's own account.
            Some(worth) => {
                let received = &self.by_capture[&item].goods().quantity;
                let own = share(&worth.price, &entry.goods().quantity, received);
                own - self.folded.repriced(entry.capture)
            }
            None => cost.clone(),
        };
        let item = Item::new(item, movement.partner).opened_by(self.all.get(&item).copied());
        lines.debit_item(Role::ReceivedNotInvoiced, &price, item);
        lines.debit(Role::ReturnDifference, &(cost - &price));
        lines.debit(Role::PriceVariance, &(&residue + unshared));
        lines.credit(Role::Inventory, &(residue - &goods.change));
    }

    /// What of a document found room at its receipt: what the goods bear, and what is owed.
    fn part_of(&self, document: &Entry, receipt: Capture) -> (Figure, Figure) {
        let parts = self.folded.matched.get(&receipt).into_iter().flatten();
        let own: Vec<_> = parts.filter(|part| part.document == document.capture).collect();
        let sum = |price: fn(&Matched) -> &Figure| {
            own.iter().map(|part| rounded(&(&part.quantity * price(part)))).sum()
        };
        (sum(|part| &part.price), sum(|part| &part.owed))
    }

    /// What found room settles the receipt at the invoice's price; the rest is on its way.
    fn supplier_invoice(&self, entry: &Entry, line: &InvoiceLine, lines: &mut Lines<'_>) {
        let total = invoiced(entry, line);
        let (part, owed) = self.part_of(entry, line.refers_to);
        let partner = Some(line.partner);
        let receipt = Item::new(line.refers_to, partner).opened_by(self.find(line.refers_to));
        let own = Item::new(entry.group, partner);
        lines.debit_item(Role::ReceivedNotInvoiced, &part, receipt);
        lines.debit_item(Role::BoughtInTransit, &(&total - &owed), own);
        lines.credit_item(Role::Payable, &total, own);
        lines.lost(Role::ExchangeDifference, &(owed - part));
    }

    /// An invoice the other way round.
    fn credit_note(&self, entry: &Entry, line: &InvoiceLine, lines: &mut Lines<'_>) {
        let total = invoiced(entry, line);
        let (part, owed) = self.part_of(entry, line.refers_to);
        let (part, owed) = (-part, -owed);
        let partner = Some(line.partner);
        let receipt = Item::new(line.refers_to, partner).opened_by(self.find(line.refers_to));
        let own = Item::new(entry.group, partner);
        lines.debit_item(Role::Payable, &total, own);
        lines.credit_item(Role::ReceivedNotInvoiced, &part, receipt);
        lines.credit_item(Role::BoughtInTransit, &(&total - &owed), own);
        lines.lost(Role::ExchangeDifference, &(part - owed));
    }

    /// A bill; what it adds to stock is the receipt's.
    fn landed_cost(&self, entry: &Entry, landed: &LandedCost, lines: &mut Lines<'_>) {
        if landed.partner.is_none() {
            return;
        }
        let amount = entry.minor(landed.amount);
        let receipt = self.all.get(&landed.refers_to).copied();
        let clearing = Item::new(entry.capture, None).opened_by(receipt);
        lines.debit_item(Role::LandedCostClearing, &amount, clearing);
        lines.credit_item(Role::Payable, &amount, Item::new(entry.group, landed.partner));
    }

    /// Less is owed, unless the bill did not happen; what it takes from stock is the receipt's.
    fn cash_discount(&self, entry: &Entry, stated: &CashDiscount, lines: &mut Lines<'_>) {
        let Some(bill) = self.find(stated.refers_to) else { return };
        let amount = entry.minor(stated.amount);
        let owed = Item::new(bill.group, partner(bill)).opened_by(Some(bill)).of_site(bill);
        lines.debit_item(Role::Payable, &amount, owed);
        let receipt = bill.refers_to().filter(|_| entry.goods.is_some());
        let receipt = receipt.and_then(|receipt| self.all.get(&receipt).copied());
        lines.credit_item(
            against(stated),
            &amount,
            Item::new(entry.capture, None).opened_by(receipt),
        );
    }

    /// What found room settles the shipment at its own price, the last takes the rest; what the
    /// invoice asks beyond that is revenue.
    fn customer_invoice(&self, entry: &Entry, line: &InvoiceLine, lines: &mut Lines<'_>) {
        let sale = self.find(line.refers_to);
        let part = sale.map_or_else(Figure::zero, |sale| self.unbilled_part(entry, sale));
        let total = invoiced(entry, line);
        let partner = Some(line.partner);
        lines.debit_item(Role::Receivable, &total, Item::new(entry.group, partner));
        let shipment = Item::new(sale.map_or(entry.capture, |sale| sale.group), partner);
        lines.credit_item(Role::UnbilledReceivable, &part, shipment.opened_by(sale));
        lines.credit(Role::Revenue, &(&total - &part));
    }

    /// An invoice's share of a shipment's own price: each takes its part of what is left.
    fn unbilled_part(&self, invoice: &Entry, sale: &Entry) -> Figure {
        let mut units = sale.goods().quantity.clone();
        let mut price =
            sale.movement().map_or_else(Figure::zero, |movement| selling(sale, movement));
        for each in self.folded.matched.get(&sale.capture).into_iter().flatten() {
            let worth = share(&price, &each.quantity, &units);
            if each.document == invoice.capture {
                return worth;
            }
            units -= &each.quantity;
            price -= worth;
        }
        Figure::zero()
    }

    /// Without effect where the payment or what it settles did not happen.
    fn allocation(&self, entry: &Entry, allocation: &Allocation, lines: &mut Lines<'_>) {
        let payment = self.find(allocation.payment);
        let open_item = self.find(allocation.open_item);
        let (Some(payment), Some(open_item)) = (payment, open_item) else { return };
        let Statement::Payment(paid) = &payment.statement else { return };
        let amount = entry.minor(allocation.amount);
        let partner = partner(open_item);
        let (ahead, owed) = (ahead(paid.direction), owed(paid.direction));
        let money = Item::new(payment.capture, partner).opened_by(Some(payment));
        let item = Item::new(open_item.group, partner).opened_by(Some(open_item));
        let item = item.of_site(open_item);
        match paid.direction {
            Direction::In => {
                lines.debit_item(ahead, &amount, money);
                lines.credit_item(owed, &amount, item);
            }
            Direction::Out => {
                lines.debit_item(owed, &amount, item);
                lines.credit_item(ahead, &amount, money);
            }
        }
    }

    /// A fact that happened.
    fn find(&self, capture: Capture) -> Option<&Entry> {
        self.by_capture.get(&capture).copied()
    }
}

/// What a fact does to the accounts of stock.
struct Goods {
    /// Inventory.
    change: Figure,
    /// What is carried beyond a standard.
    beyond: Figure,
    /// Both: what stands against them.
    worth: Figure,
}

/// What a movement is sold or taken back for.
fn sale(entry: &Entry, movement: &Movement, lines: &mut Lines<'_>) {
    if movement.price.is_none() {
        return;
    }
    let (amount, partner) = (selling(entry, movement), movement.partner);
    let owed = if movement.invoice_later { Role::UnbilledReceivable } else { Role::Receivable };
    match movement.kind {
        Kind::SaleIssue => {
            lines.debit_item(owed, &amount, Item::new(entry.group, partner));
            lines.credit(Role::Revenue, &amount);
        }
        Kind::ServiceSale => {
            lines.debit_item(Role::Receivable, &amount, Item::new(entry.group, partner));
            lines.credit(Role::Revenue, &amount);
        }
        Kind::TransferShip => {
            let item = Item::new(entry.capture, None);
            lines.debit_item(Role::InterCompanyReceivable, &amount, item);
            lines.credit(Role::InterCompanyRevenue, &amount);
        }
        Kind::CustomerReturn => {
            lines.debit(Role::SalesReturns, &amount);
            lines.credit_item(Role::Receivable, &amount, Item::new(entry.group, partner));
        }
        _ => {}
    }
}

fn selling(entry: &Entry, movement: &Movement) -> Figure {
    movement.price.map_or_else(Figure::zero, |price| entry.worth(&price, &movement.quantity))
}

fn invoiced(entry: &Entry, line: &InvoiceLine) -> Figure {
    entry.worth(&line.price, &line.quantity)
}

fn partner(entry: &Entry) -> Option<PartnerNo> {
    match &entry.statement {
        Statement::Movement(movement) => movement.partner,
        Statement::SupplierInvoice(line)
        | Statement::CustomerInvoice(line)
        | Statement::CreditNote(line) => Some(line.partner),
        Statement::LandedCost(landed) => landed.partner,
        Statement::Payment(payment) => Some(payment.partner),
        _ => None,
    }
}

/// What a line opens or settles.
#[derive(Clone, Copy)]
struct Item<'a> {
    /// The open item.
    named: Capture,
    /// Whose.
    partner: Option<PartnerNo>,
    /// The fact that opened it, where that is another: the account is the one it opened.
    opener: Option<&'a Entry>,
    /// The fact whose site it is of, where that is another.
    of_site: Option<&'a Entry>,
}

impl<'a> Item<'a> {
    const fn new(named: Capture, partner: Option<PartnerNo>) -> Self {
        Self { named, partner, opener: None, of_site: None }
    }

    const fn opened_by(self, opener: Option<&'a Entry>) -> Self {
        Self { opener, ..self }
    }

    const fn of_site(self, fact: &'a Entry) -> Self {
        Self { of_site: Some(fact), ..self }
    }
}

/// The lines of one fact as they come together.
struct Lines<'a> {
    entry: &'a Entry,
    settings: &'a Settings,
    written: Vec<Posting>,
}

impl Lines<'_> {
    fn add(&mut self, side: Side, role: Role, amount: &Figure, item: Item<'_>) {
        if amount.is_zero() {
            return;
        }
        let entry = self.entry;
        let day = Timestamp(entry.time()).day(entry.company.zone);
        let opener = item.opener.unwrap_or(entry);
        self.written.push(Posting {
            fact: entry.capture,
            role,
            account: account(opener, role, self.settings).expect("asked for when it was admitted"),
            site: line_site(item.of_site.unwrap_or(entry), role),
            month: day.month(),
            side,
            amount: integer(amount),
            item: item.named,
            partner: item.partner,
        });
    }

    fn debit(&mut self, role: Role, amount: &Figure) {
        self.add(Side::Debit, role, amount, Item::new(self.entry.capture, None));
    }

    fn credit(&mut self, role: Role, amount: &Figure) {
        self.add(Side::Credit, role, amount, Item::new(self.entry.capture, None));
    }

    fn both(&mut self, debit: Role, credit: Role, amount: &Figure) {
        self.debit(debit, amount);
        self.credit(credit, amount);
    }

    fn came(&mut self, against: Role, goods: &Goods) {
        self.debit(Role::Inventory, &goods.change);
        self.credit(against, &goods.worth);
    }

    fn went(&mut self, against: Role, goods: &Goods) {
        self.debit(against, &-&goods.worth);
        self.credit(Role::Inventory, &-&goods.change);
    }

    /// Inventory is worth more, or less.
    fn gained(&mut self, against: Role, goods: &Goods) {
        if goods.change.is_negative() {
            self.went(against, goods);
        } else {
            self.came(against, goods);
        }
    }

    /// A loss is a debit, a gain a credit.
    fn lost(&mut self, role: Role, loss: &Figure) {
        if loss.is_negative() {
            self.credit(role, &-loss);
        } else {
            self.debit(role, loss);
        }
    }

    fn debit_item(&mut self, role: Role, amount: &Figure, item: Item<'_>) {
        self.add(Side::Debit, role, amount, item);
    }

    fn credit_item(&mut self, role: Role, amount: &Figure, item: Item<'_>) {
        self.add(Side::Credit, role, amount, item);
    }

    /// The lines; a repack balances with the other lines of its group only.
    fn balanced(self) -> Vec<Posting> {
        let kind = self.entry.statement.kind();
        let sum: i128 = self.written.iter().map(signed).sum();
        let repack = matches!(kind, Kind::RepackOut | Kind::RepackIn);
        assert!(sum == 0 || repack, "a {kind} does not balance: {:?}", self.written);
        self.written
    }
}

/// The amount with debits positive.
pub fn signed(line: &Posting) -> i128 {
    match line.side {
        Side::Debit => line.amount,
        Side::Credit => -line.amount,
    }
}
