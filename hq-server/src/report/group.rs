//! The companies as one group: what their goods cost the group beside what they are worth in each
//! company's books, and what one company sold to another. Each amount is in the currency of the
//! company it stands with: nothing is added up over currencies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::ids::CompanyNo;
use utoipa::ToSchema;

use super::figure::{Figure, Named};
use super::lens::Lens;
use super::part::{Opens, Part};
use crate::books::{Books, Group, Pool, PoolId, Sold};

/// The group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupReport {
    /// Every company with all its stock.
    pub companies: Vec<GroupCompany>,
    /// What one company sold to another: to be eliminated, owed, on the way.
    pub sales: Vec<GroupSales>,
    /// Stock that goods of another company can have come to.
    pub rows: Vec<GroupRow>,
    /// How many rows there are in all.
    pub count: u64,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// A company's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupCompany {
    /// The company.
    pub company: Named,
    /// Its currency.
    pub currency: String,
    /// What its books say.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What the goods cost the group.
    #[schema(value_type = String)]
    pub group_cost: Figure,
    /// Value less group cost: profit of other companies that nobody outside paid yet.
    #[schema(value_type = String)]
    pub unrealised: Figure,
}

/// What one company sold to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSales {
    /// Who sold.
    pub from: Named,
    /// Its currency.
    pub currency: String,
    /// Who bought.
    pub to: Named,
    /// Inter-company revenue, to be eliminated.
    #[schema(value_type = String)]
    pub revenue: Figure,
    /// Inter-company cost of sales, to be eliminated.
    #[schema(value_type = String)]
    pub cost: Figure,
    /// What the seller's books say is owed.
    #[schema(value_type = String)]
    pub receivable: Figure,
    /// What the buyer's books say is owed, in the buyer's currency.
    #[schema(value_type = String)]
    pub payable: Figure,
    /// The buyer's currency.
    pub payable_currency: String,
    /// The price of what left and did not arrive yet: owed by the seller's books alone.
    #[schema(value_type = String)]
    pub on_the_way: Figure,
    /// What that costs the group.
    #[schema(value_type = String)]
    pub on_the_way_cost: Figure,
}

/// One item in one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupRow {
    /// Whose.
    pub company: Named,
    /// The currency of the row.
    pub currency: String,
    /// Where, where each site costs its own goods.
    pub site: Option<Named>,
    /// The item.
    pub item: Named,
    /// The lot, where each is costed by itself.
    pub lot: Option<String>,
    /// Its base unit.
    pub unit: String,
    /// How much.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// What the company's books say.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What the goods cost the group.
    #[schema(value_type = String)]
    pub group_cost: Figure,
    /// Value less group cost.
    #[schema(value_type = String)]
    pub unrealised: Figure,
}

/// Sums of what one company sold to another.
#[derive(Default)]
struct Sums {
    revenue: i128,
    cost: i128,
    receivable: i128,
    payable: i128,
    on_the_way: i128,
    on_the_way_cost: i128,
}

impl GroupReport {
    /// The group as the books stand.
    pub fn of(books: &Books, page: u64) -> Self {
        let group = books.group();
        let mut stock: BTreeMap<CompanyNo, (i128, i128)> = BTreeMap::new();
        let mut reached = Vec::new();
        for (id, pool) in (0..).map(PoolId).zip(books.pools()) {
            let (value, cost) = (pool.state.stock.worth(), group.cost(id));
            let sums = stock.entry(pool.company).or_default();
            sums.0 += i128::from(value);
            sums.1 += i128::from(cost);
            let is_empty = (pool.state.stock.quantity(), value, cost) == (0, 0, 0);
            if group.reached().contains(&id) && !is_empty {
                reached.push((id, pool));
            }
        }
        reached.sort_by_key(|(_, pool)| (pool.company, pool.item, pool.site, pool.lot.clone()));
        let companies = books.settings().companies().map(|(no, _)| {
            let lens = Lens::new(books, no);
            let (value, cost) = stock.get(&no).copied().unwrap_or_default();
            GroupCompany {
                company: lens.company_name(),
                currency: lens.currency(),
                value: lens.money(value),
                group_cost: lens.money(cost),
                unrealised: lens.money(value - cost),
            }
        });
        let part = Part::of(reached.len() as u64, page, Opens::AtTop);
        let rows = reached[part.range()].iter();
        Self {
            companies: companies.collect(),
            sales: GroupSales::all(books, &group),
            rows: rows.map(|(id, pool)| GroupRow::of(books, pool, group.cost(*id))).collect(),
            count: reached.len() as u64,
            page: part.page,
            pages: part.pages,
        }
    }
}

impl GroupSales {
    fn all(books: &Books, group: &Group<'_>) -> Vec<Self> {
        let mut sums: BTreeMap<(CompanyNo, CompanyNo), Sums> = BTreeMap::new();
        for sold in group.sold() {
            sums.entry((sold.from, sold.to)).or_default().add(&sold);
        }
        let pairs = sums.into_iter();
        pairs.map(|((from, to), sums)| Self::of(books, (from, to), &sums)).collect()
    }

    fn of(books: &Books, (from, to): (CompanyNo, CompanyNo), sums: &Sums) -> Self {
        let (seller, buyer) = (Lens::new(books, from), Lens::new(books, to));
        Self {
            from: seller.company_name(),
            currency: seller.currency(),
            to: buyer.company_name(),
            revenue: seller.money(sums.revenue),
            cost: seller.money(sums.cost),
            receivable: seller.money(sums.receivable),
            payable: buyer.money(sums.payable),
            payable_currency: buyer.currency(),
            on_the_way: seller.money(sums.on_the_way),
            on_the_way_cost: seller.money(sums.on_the_way_cost),
        }
    }
}

impl Sums {
    fn add(&mut self, sold: &Sold) {
        self.revenue += i128::from(sold.revenue);
        self.cost += i128::from(sold.cost);
        self.receivable += sold.receivable;
        self.payable += sold.payable;
        if let Some(on_the_way) = sold.on_the_way {
            self.on_the_way += i128::from(on_the_way.price);
            self.on_the_way_cost += i128::from(on_the_way.group_cost);
        }
    }
}

impl GroupRow {
    fn of(books: &Books, pool: &Pool, group_cost: i64) -> Self {
        let lens = Lens::new(books, pool.company);
        let stock = &pool.state.stock;
        let lot = pool.lot.as_ref().map(|lot| String::from_utf8_lossy(lot).into_owned());
        Self {
            company: lens.company_name(),
            currency: lens.currency(),
            site: pool.site.map(|site| lens.site(site)),
            item: lens.item(pool.item),
            lot,
            unit: lens.unit(pool.item).0,
            quantity: lens.quantity(pool.item, stock.quantity()),
            value: lens.money(stock.worth()),
            group_cost: lens.money(group_cost),
            unrealised: lens.money(i128::from(stock.worth()) - i128::from(group_cost)),
        }
    }
}
