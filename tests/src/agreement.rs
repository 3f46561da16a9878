//! Whether the product's books and the naive model say the same about the same facts.
//! Knows both sides' figures and how neither comes to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

use hq_server::books::{Area, Books, Effects, Entry, PoolId, Run, Turnover};
use shared::fact::statement::Role;
use shared::ids::{AccountNo, Capture, CompanyNo, ItemNo, Seq, SiteNo};
use shared::time::{Month, Timestamp};

use crate::arrival::{self, Arrival};
use crate::model::fold::PoolNo;
use crate::model::{Model, Spot, Why};

/// The roles whose balance is the sum of open items.
const OPEN: [Role; 10] = [
    Role::ReceivedNotInvoiced,
    Role::BoughtInTransit,
    Role::InterSiteTransit,
    Role::Receivable,
    Role::UnbilledReceivable,
    Role::Payable,
    Role::SupplierPrepayment,
    Role::CustomerAdvance,
    Role::InterCompanyReceivable,
    Role::InterCompanyPayable,
];

/// Everything that the set of facts alone decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Signed debit and credit sums.
    pub balances: BTreeMap<(AccountNo, Month, SiteNo), (i128, i128)>,
    /// Quantity and value.
    pub pools: BTreeMap<PoolNo, (i128, i128)>,
    /// What the goods of each pool cost all companies together.
    pub group_costs: BTreeMap<PoolNo, i128>,
    /// What they carry beyond their standard.
    pub carried: BTreeMap<PoolNo, i128>,
    /// Smallest units.
    pub on_hand: BTreeMap<(SiteNo, ItemNo), i128>,
    /// Debits positive.
    pub open_items: BTreeMap<(Role, Capture), i128>,
    /// Units and value of every layer, the oldest first.
    pub layers: BTreeMap<PoolNo, Vec<(i128, i128)>>,
    /// Facts without effect.
    pub left_out: BTreeSet<Spot>,
}

impl Standing {
    /// What the model says.
    pub fn of_model(model: &Model) -> Self {
        let balances = model.balances().into_iter();
        let left_out = model.left_out().iter().filter(|(_, why)| **why != Why::Repeated);
        Self {
            balances: balances.map(|(key, sums)| (key, (sums.debit, sums.credit))).collect(),
            pools: model.pools(),
            group_costs: model.group_costs(),
            carried: model.carried(),
            on_hand: model.on_hand(),
            open_items: OPEN
                .iter()
                .flat_map(|role| {
                    let items = model.open_items(*role).into_iter();
                    items.map(|(capture, amount)| ((*role, capture), amount))
                })
                .collect(),
            layers: model.layers(),
            left_out: left_out.map(|(spot, _)| *spot).collect(),
        }
    }

    /// What the books say.
    pub fn of_books(books: &Books) -> Self {
        let rows = books.ledger().rows();
        let balances = rows
            .map(|(account, month, site, sums)| ((account, month, site), (sums.debit, sums.credit)))
            .filter(|(_, sums)| *sums != (0, 0))
            .collect();
        let (mut pools, mut carried) = (BTreeMap::new(), BTreeMap::new());
        let (mut on_hand, mut layers) = (BTreeMap::new(), BTreeMap::new());
        let (group, mut group_costs) = (books.group(), BTreeMap::new());
        for (id, pool) in (0..).map(PoolId).zip(books.pools()) {
            let stock = &pool.state.stock;
            let site = pool.site.unwrap_or(SiteNo::HQ);
            let number = (pool.company, pool.item, site, pool.lot.clone());
            let stands = (i128::from(stock.quantity()), i128::from(stock.value()));
            if stands != (0, 0) {
                pools.insert(number.clone(), stands);
            }
            let group_cost = i128::from(group.cost(id));
            if group_cost != 0 {
                group_costs.insert(number.clone(), group_cost);
            }
            if stock.beyond() != 0 {
                carried.insert(number.clone(), stock.beyond().into());
            }
            let held = stock.layers().map(|layer| (layer.units.into(), layer.value.into()));
            let held: Vec<_> = held.collect();
            if !held.is_empty() {
                layers.insert(number, held);
            }
            for (site, units) in &pool.state.sites {
                *on_hand.entry((*site, pool.item)).or_insert(0) += i128::from(*units);
            }
        }
        on_hand.retain(|_, units| *units != 0);
        let named = |id| books.facts()[id].capture;
        let open_items = books.open_items().all().filter(|(role, _, _)| OPEN.contains(role));
        let left_out = books.waiting().flat_map(|(_, group)| {
            let seqs = group.first.0..group.first.0 + group.facts.len() as u64;
            seqs.map(|seq| (group.log, Seq(seq)))
        });
        Self {
            balances,
            pools,
            group_costs,
            carried,
            on_hand,
            open_items: open_items.map(|(role, id, sum)| ((role, named(id)), sum)).collect(),
            layers,
            left_out: left_out.collect(),
        }
    }

    /// The balances of all months together: what closed months send elsewhere stays in sight.
    #[must_use]
    pub fn without_months(mut self) -> Self {
        let mut sums: BTreeMap<(AccountNo, Month, SiteNo), (i128, i128)> = BTreeMap::new();
        for ((account, _, site), (debit, credit)) in std::mem::take(&mut self.balances) {
            let sum = sums.entry((account, Month(0), site)).or_default();
            *sum = (sum.0 + debit, sum.1 + credit);
        }
        sums.retain(|_, sum| *sum != (0, 0));
        self.balances = sums;
        self
    }

    /// Where two differ, in words; empty where they do not.
    pub fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        differ(&mut text, "balance (account, month, site)", &self.balances, &other.balances);
        differ(&mut text, "pool (company, item, site, lot)", &self.pools, &other.pools);
        differ(&mut text, "group cost of", &self.group_costs, &other.group_costs);
        differ(&mut text, "carried by (company, item, site, lot)", &self.carried, &other.carried);
        differ(&mut text, "on hand (site, item)", &self.on_hand, &other.on_hand);
        differ(&mut text, "layers of (company, item, site, lot)", &self.layers, &other.layers);
        differ(&mut text, "open item", &self.open_items, &other.open_items);
        for spot in self.left_out.symmetric_difference(&other.left_out) {
            let side = if self.left_out.contains(spot) { "first" } else { "second" };
            writeln!(text, "left out only by the {side}: {spot:?}").expect("a text takes all");
        }
        text
    }
}

fn differ<K: Ord + Debug, V: PartialEq + Debug>(
    text: &mut String,
    what: &str,
    left: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let (left, right) = (left.get(key), right.get(key));
        if left != right {
            writeln!(text, "{what} {key:?}: {left:?} and {right:?}").expect("a text takes all");
        }
    }
}

/// Watches that what stands in closed months stays.
#[derive(Debug, Default)]
pub struct ClosedMonths(BTreeMap<(AccountNo, Month, SiteNo), Turnover>);

impl ClosedMonths {
    /// Looks after an arrival and its settle; says what moved that should not have.
    pub fn look(
        &mut self,
        books: &Books,
        arrival: &Arrival,
        effects: &Effects,
    ) -> Result<(), String> {
        let (held, stands) = (std::mem::take(&mut self.0), locked(books));
        // What waited may have been a close, too.
        let closes = arrival::closes(std::slice::from_ref(arrival)) || !effects.released.is_empty();
        self.0 = stands;
        if closes || self.0 == held {
            return Ok(());
        }
        Err(format!("a closed month moved:\n{held:?}\n{:?}", self.0))
    }
}

/// What stands in closed months: everything where the ledger is closed, stock where stock is.
fn locked(books: &Books) -> BTreeMap<(AccountNo, Month, SiteNo), Turnover> {
    let settings = books.settings();
    let accounts: BTreeMap<AccountNo, CompanyNo> =
        settings.accounts().map(|(number, account)| (number, account.company)).collect();
    let rows = books.ledger().rows().filter(|(account, month, ..)| {
        let closed = books.closed(accounts[account]);
        let of_stock = settings.role_of(*account) == Some(Role::Inventory);
        let area = if of_stock { Area::Stock } else { Area::Ledger };
        closed.through(area).is_some_and(|last| last >= *month)
    });
    rows.map(|(account, month, site, sums)| ((account, month, site), sums)).collect()
}

/// Feeds books what arrives.
pub fn take(books: &mut Books, arrival: &Arrival) -> Effects {
    match arrival {
        Arrival::Settle => books.apply(&Entry::Settle),
        Arrival::Run { site, rank, first, facts } => books.apply(&Entry::Run(Run {
            site: *site,
            log: *rank,
            first: *first,
            received_at: Timestamp(0),
            facts,
        })),
    }
}

/// Feeds new books everything, and a settle at the end. They keep states of pools more or less often.
pub fn deliver(arrivals: &[Arrival]) -> Books {
    let mut books = Books::keeping_states_every(1 + arrivals.len() % 4);
    for arrival in arrivals {
        take(&mut books, arrival);
    }
    books.apply(&Entry::Settle);
    books
}
