//! A month as it stands in the ledger beside what it would have been, had everything that is known
//! now been known before it was closed (本月应有数).

use serde::{Deserialize, Serialize};
use shared::time::Month;
use utoipa::ToSchema;

use super::figure::{Figure, Named, as_text};
use super::ledger::Sides;
use super::lens::Lens;
use crate::books::Turnover;

/// One month by account, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonthReport {
    /// Whose books.
    pub company: Named,
    /// The currency of every amount here.
    pub currency: String,
    /// The month.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub month: Month,
    /// How far it is closed: `trade`, `stock`, `open_items` or `ledger`; absent while it is open.
    pub closed: Option<String>,
    /// Accounts with turnover in it, by code.
    pub rows: Vec<MonthRow>,
}

/// One account's turnover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonthRow {
    /// The account.
    pub account: Named,
    /// As it stands in the ledger.
    pub posted: Sides,
    /// What happened in the month, as it is known now.
    pub happened: Sides,
    /// Debits less credits of what happened, less that of what is posted: the part that stands in
    /// another month.
    #[schema(value_type = String)]
    pub elsewhere: Figure,
}

impl MonthReport {
    /// A month of the company.
    pub fn of(lens: &Lens<'_>, month: Month) -> Self {
        let sides = |turnover: Turnover| Sides {
            debit: lens.money(turnover.debit),
            credit: lens.money(turnover.credit),
        };
        let accounts = lens.books.month(lens.company, month);
        let row = |(no, account): (_, &crate::books::Account)| {
            let line = accounts.get(&no)?;
            let (code, name) = (account.code.clone(), account.name.clone());
            Some(MonthRow {
                account: Named { no: no.0, code, name },
                posted: sides(line.posted),
                happened: sides(line.happened),
                elsewhere: lens.money(line.happened.net() - line.posted.net()),
            })
        };
        let mut rows: Vec<MonthRow> = lens.books.settings().accounts().filter_map(row).collect();
        rows.sort_by(|a, b| a.account.code.cmp(&b.account.code));
        let closed = lens.books.closed(lens.company).of_month(month);
        Self {
            company: lens.company_name(),
            currency: lens.currency(),
            month,
            closed: closed.map(|area| area.word().to_owned()),
            rows,
        }
    }
}
