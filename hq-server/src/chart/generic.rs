//! The generic numbered chart, for companies that bring none of their own.
//!
//! Source: `ERPNext`'s numbered standard chart (ARCHITECTURE, "Chart of accounts"); accounts that it
//! does not have are marked with a star and follow its numbering.

use shared::fact::Kind;
use shared::fact::statement::AccountType::{Asset, Equity, Expense, Income, Liability};
use shared::fact::statement::{AccountType, Role};

use super::{Chart, ChartAccount, ChartReason};

const fn account(
    code: &'static str,
    name: &'static str,
    account_type: AccountType,
    roles: &'static [Role],
) -> ChartAccount {
    ChartAccount { code, name, account_type, roles }
}

const fn reason(
    code: &'static str,
    name: &'static str,
    movement: Kind,
    account: Option<&'static str>,
) -> ChartReason {
    ChartReason { code, name, movement: Some(movement), account }
}

/// See the module.
pub const GENERIC: Chart = Chart {
    name: "generic",
    accounts: &[
        account("1110", "Cash", Asset, &[]),
        account("1210", "Bank", Asset, &[Role::Bank]),
        account("1310", "Debtors", Asset, &[Role::Receivable]),
        account("1315", "Unbilled receivables *", Asset, &[Role::UnbilledReceivable]),
        account("1320", "Inter-company receivable *", Asset, &[Role::InterCompanyReceivable]),
        account("1410", "Stock in hand", Asset, &[Role::Inventory]),
        account("1411", "Raw materials *", Asset, &[]),
        account("1412", "Variance of stock from its standard *", Asset, &[Role::StockVariance]),
        account("1415", "Goods in transit *", Asset, &[Role::BoughtInTransit]),
        account("1416", "Inter-site transit *", Asset, &[Role::InterSiteTransit]),
        account("1419", "Allowance for write-down of stock *", Asset, &[Role::Allowance]),
        account("1420", "Stock delivered but not billed", Asset, &[Role::GoodsShipped]),
        account("1430", "Work in progress *", Asset, &[Role::WorkInProgress]),
        account("1510", "Input tax *", Asset, &[Role::InputTax]),
        account("1620", "Prepaid to suppliers *", Asset, &[Role::SupplierPrepayment]),
        account("1910", "Temporary opening", Asset, &[Role::OpeningBalance]),
        account("1920", "Count differences waiting *", Asset, &[Role::CountWaiting]),
        account("2110", "Creditors", Liability, &[Role::Payable]),
        account("2120", "Inter-company payable *", Liability, &[Role::InterCompanyPayable]),
        account("2160", "Customer advances", Liability, &[Role::CustomerAdvance]),
        account("2210", "Stock received but not billed", Liability, &[Role::ReceivedNotInvoiced]),
        account("2215", "Landed cost clearing *", Liability, &[Role::LandedCostClearing]),
        account("2320", "Output tax *", Liability, &[Role::OutputTax]),
        account("3100", "Capital stock", Equity, &[]),
        account("3400", "Retained earnings", Equity, &[]),
        account("4110", "Sales", Income, &[Role::Revenue]),
        account("4115", "Returns *", Income, &[Role::SalesReturns]),
        account("4120", "Inter-company sales *", Income, &[Role::InterCompanyRevenue]),
        account("4210", "Discounts received *", Income, &[Role::CashDiscount]),
        account("5111", "Cost of goods sold", Expense, &[Role::CostOfSales]),
        account("5112", "Cost of inter-company sales *", Expense, &[Role::InterCompanyCost]),
        account("5115", "Price variance *", Expense, &[Role::PriceVariance]),
        account("5116", "Return difference *", Expense, &[Role::ReturnDifference]),
        account("5117", "Transfer difference *", Expense, &[Role::TransferDifference]),
        account("5118", "Revaluation of stock *", Expense, &[Role::Revaluation]),
        account("5119", "Stock adjustment", Expense, &[Role::StockAdjustment]),
        account("5120", "Write-down of stock *", Expense, &[Role::WriteDown]),
        account("5121", "Scrap and own use *", Expense, &[Role::Scrap, Role::OwnUse]),
        account("5212", "Round off", Expense, &[Role::Rounding]),
        account("5219", "Exchange gain/loss", Expense, &[Role::ExchangeDifference]),
    ],
    reasons: &[
        reason("opening", "Opening stock", Kind::Adjustment, Some("1910")),
        reason("correction", "Correction of an earlier mistake", Kind::Adjustment, None),
        reason("found", "Found", Kind::Adjustment, None),
        reason("lost", "Lost", Kind::Adjustment, None),
        reason("damaged", "Damaged", Kind::Scrap, None),
        reason("expired", "Expired", Kind::Scrap, None),
        reason("own-use", "Own use", Kind::Issue, None),
        reason("sample", "Sample", Kind::Issue, None),
    ],
    categories: &[
        ("goods", "Goods for sale"),
        ("materials", "Raw materials"),
        ("services", "Services"),
    ],
    policies: super::policies::GENERIC,
};
