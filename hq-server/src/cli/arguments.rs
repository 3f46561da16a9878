//! What can be typed. Texts here are the help pages.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use shared::fact::statement::CostScope;
use shared::money::Currency;
use shared::time::OffsetMinutes;

use super::CliError;
use super::call::Client;
use crate::address::encoded;
use crate::chart::{self, CHARTS, Chart};

/// The options that every command has.
const EVERYWHERE: &str = "Everywhere";

const FIRST_STEPS: &str = "\
First steps:
  hq-server init --company ACME --currency CNY      make the folder, here: hq-data
  hq-server run                                     in a terminal of its own, or as a service
  hq-server item add PEN-01 \"Pen 0.5\" --cost 1.20
  hq-server site add SH                             prints what 'edge-node enrol' takes

Commands talk to the server that runs; where none runs they open the folder themselves.

Exit codes: 0 done; 1 failed, or what was asked about does not hold; 2 wrong usage; 3 refused, with
the reason; 4 no installation, or in use; 5 a store is damaged or the disk is full.";

/// Headquarters: takes what the warehouses record, keeps the books, shows stock value live.
#[derive(Debug, Parser)]
#[command(name = "hq-server", version, max_term_width = 100, after_help = FIRST_STEPS)]
pub(super) struct Arguments {
    /// The folder of the installation.
    #[arg(
        long,
        short,
        global = true,
        env = "WAREBOOK_HQ_DATA",
        default_value = "hq-data",
        value_name = "DIR",
        help_heading = EVERYWHERE
    )]
    pub(super) data: PathBuf,
    /// Whose books, by the company's code: the first company's where absent.
    #[arg(long, global = true, value_name = "CODE", help_heading = EVERYWHERE)]
    pub(super) company: Option<String>,
    /// Print JSON instead of text, errors too.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new installation: keys, company, chart of accounts, complete mapping.
    Init(Init),
    /// Serve sites, pages and the API until Ctrl-C.
    Run(Run),
    /// Companies of the group.
    #[command(subcommand)]
    Company(CompanyCommand),
    /// Warehouses.
    #[command(subcommand)]
    Site(SiteCommand),
    /// Files that carry data where a warehouse has no link.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// What sites' people coordinate: transfers, orders, count sheets, notes.
    #[command(subcommand)]
    Document(DocumentCommand),
    /// Items and their units.
    #[command(subcommand)]
    Item(ItemCommand),
    /// Customers and suppliers.
    #[command(subcommand)]
    Partner(PartnerCommand),
    /// Item categories.
    #[command(subcommand)]
    Category(CategoryCommand),
    /// Reasons of adjustments, issues and scraps.
    #[command(subcommand)]
    Reason(ReasonCommand),
    /// Ledger accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Which account takes which role.
    #[command(subcommand)]
    Mapping(MappingCommand),
    /// What the company chose where standards leave a choice, and what sites may do.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What other currencies cost, day by day.
    #[command(subcommand)]
    Rate(RateCommand),
    /// What goods cost that leave.
    #[command(subcommand)]
    Costing(CostingCommand),
    /// Invoices from suppliers and to customers.
    #[command(subcommand)]
    Invoice(InvoiceCommand),
    /// Freight, duty and the like: a bill that belongs to receipts and follows their goods.
    LandedCost(LandedCost),
    /// Add an amount to the value of what is on hand.
    Revalue(Revaluation),
    /// Set a new standard cost and restate what is on hand to it.
    StandardCost(StandardCost),
    /// Write goods down to what they are worth on the market, or take that back.
    WriteDown(WriteDown),
    /// Money in and out.
    #[command(subcommand)]
    Payment(PaymentCommand),
    /// Make a fact one that never happened, or that was told twice: what it posted is taken back. A
    /// void of a void brings back what that named.
    Void {
        /// The fact's capture id, for example 3-1042.
        capture: String,
        /// Why: a reason's code.
        #[arg(long, value_name = "CODE")]
        reason: Option<String>,
    },
    /// Say that two facts are one event that was told twice: the first one has no effect any more.
    SameAs {
        /// The fact without effect, for example 5-12.
        dropped: String,
        /// The fact with effect.
        kept: String,
    },
    /// Say when facts happened that were recorded by a clock in doubt: they have a value from then on.
    /// Said again it holds instead of what was said before. See 'report in-doubt'.
    Retime {
        /// The site's code.
        #[arg(long, value_name = "CODE")]
        site: String,
        /// The first fact, by its place in the site's log.
        #[arg(long, value_name = "PLACE")]
        from: u64,
        /// The last fact; the first alone where absent.
        #[arg(long, value_name = "PLACE")]
        to: Option<u64>,
        /// When they happened, in the company's zone: YEAR-MONTH-DAYTHOUR:MINUTE.
        #[arg(long, value_name = "TIME")]
        at: String,
        /// The installation's number, where more than one of the site has such facts.
        #[arg(long)]
        device: Option<u32>,
        /// Why: a reason's code.
        #[arg(long, value_name = "CODE")]
        reason: Option<String>,
    },
    /// Say that a branch was compared with the log that it leaves: its site is not in doubt any more.
    Rule {
        /// The branch's number, as status names it.
        device: u32,
    },
    /// Closing and reopening months.
    #[command(subcommand)]
    Period(PeriodCommand),
    /// Reports.
    #[command(subcommand)]
    Report(ReportCommand),
    /// How the installation and its sites stand.
    Status,
    /// Prove everything that is stored: chains, seals, documents, sequence, books.
    Verify,
    /// Copy everything to a new folder and read it back.
    Backup {
        /// The folder; it must not exist yet.
        to: PathBuf,
    },
    /// Make an installation in the data directory out of a backup.
    Restore {
        /// The backup's folder.
        from: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The company's code.
    #[arg(long, value_name = "CODE")]
    pub(super) company: String,
    /// The company's name; the code where absent.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The currency of its books, for example CNY.
    #[arg(long, value_name = "CODE")]
    pub(super) currency: Currency,
    /// Its zone, ahead of UTC: decides days and ledger months.
    #[arg(
        long,
        value_parser = offset,
        default_value = "+00:00",
        allow_hyphen_values = true,
        value_name = "+HH:MM"
    )]
    pub(super) utc_offset: OffsetMinutes,
    /// Whether goods of one item share a cost over all sites.
    #[arg(long, value_enum, default_value = "site", value_name = "SCOPE")]
    pub(super) cost_scope: Scope,
    /// The chart of accounts.
    #[arg(long, value_parser = chart_named, default_value = "generic", value_name = "NAME")]
    pub(super) chart: &'static Chart,
    /// Where pages and API are served; kept in hq.toml. 127.0.0.1:7780 where absent.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) api: Option<SocketAddr>,
    /// Where sites connect (UDP); kept in hq.toml. 0.0.0.0:7420 where absent.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) link: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Scope {
    /// Each site has its own cost of an item.
    Site,
    /// One cost of an item in the whole company.
    Company,
}

impl From<Scope> for CostScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Site => Self::Site,
            Scope::Company => Self::Company,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Where pages and API are served this time; port 0 takes a free one.
    #[arg(long, env = "WAREBOOK_HQ_API", value_name = "ADDR:PORT")]
    pub(super) api: Option<SocketAddr>,
    /// Where sites connect this time (UDP); port 0 takes a free one.
    #[arg(long, env = "WAREBOOK_HQ_LINK", value_name = "ADDR:PORT")]
    pub(super) link: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CompanyCommand {
    /// Add a company beside the first, with a chart of accounts of its own. All companies share
    /// items, partners and reasons; what goes from one to another is sold at the price of the ship.
    Add(Company),
    /// Every company.
    List,
}

#[derive(Debug, Args)]
pub(super) struct Company {
    /// Its code.
    pub(super) code: String,
    /// Its name; the code where absent.
    #[arg(long)]
    name: Option<String>,
    /// The currency of its books, for example HKD.
    #[arg(long, value_name = "CODE")]
    currency: Currency,
    /// Its zone, ahead of UTC: decides days and ledger months.
    #[arg(
        long,
        value_parser = offset,
        default_value = "+00:00",
        allow_hyphen_values = true,
        value_name = "+HH:MM"
    )]
    utc_offset: OffsetMinutes,
    /// Whether goods of one item share a cost over all its sites.
    #[arg(long, value_enum, default_value = "site", value_name = "SCOPE")]
    cost_scope: Scope,
    /// The chart of accounts.
    #[arg(long, value_parser = chart_named, default_value = "generic", value_name = "NAME")]
    chart: &'static Chart,
}

impl Company {
    pub(super) fn body(&self) -> Value {
        json!({
            "code": self.code, "name": self.name, "currency": self.currency.to_string(),
            "utc_offset": self.utc_offset.0, "chart": self.chart.name,
            "one_cost": matches!(self.cost_scope, Scope::Company)
        })
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum SiteCommand {
    /// Add a warehouse and print a one-time code for 'edge-node enrol'.
    Add {
        /// Its code, for example shanghai-3.
        name: String,
        /// A longer name; the code where absent.
        #[arg(long)]
        title: Option<String>,
    },
    /// Every warehouse and its installations.
    List,
    /// Print another one-time code: for a new box, or when the first code is lost.
    Code {
        /// Its code.
        name: String,
    },
    /// Let another warehouse carry this one's data to HQ, sealed, and HQ's answers back.
    Carry {
        /// The code of the warehouse whose data it is.
        name: String,
        /// The code of the warehouse that carries it.
        #[arg(long, value_name = "CODE")]
        by: String,
        /// It may no longer.
        #[arg(long)]
        no_more: bool,
    },
    /// Let a warehouse handle items, where a policy has it told only of those that it handles. What
    /// moves there, or is on its way there, it handles without this.
    Handles {
        /// Its code.
        name: String,
        /// Codes of items.
        #[arg(required = true, value_name = "ITEM")]
        items: Vec<String>,
    },
    /// Refuse every installation of a warehouse from now on; live connections close.
    Revoke {
        /// Its code.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DocumentCommand {
    /// Show shared documents, with how many values wait for a person in each.
    List {
        /// Only those of the warehouse with this code.
        #[arg(long, value_name = "CODE")]
        site: Option<String>,
    },
    /// Show one: every value that holds, and those that a person has to settle.
    Show {
        /// Its name; what follows its number may be left out, as in transfer:3-1042.
        id: String,
    },
    /// Put a text at a key in HQ's name; it replaces what HQ has there, and so settles what differs.
    Set {
        /// Its name.
        id: String,
        /// The key, for example remark.
        key: String,
        /// The text.
        text: String,
    },
    /// Begin the next generation of a document that is full, with what it says now.
    Renew {
        /// Its name.
        id: String,
    },
    /// Show changes that HQ refused, with the reason.
    Quarantine,
}

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Take what 'edge-node bundle export' wrote. The same file twice, an older one, or files in
    /// another order do no harm.
    Import {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Write what HQ answers a warehouse: what it has and posted, master data; encrypted to the
    /// warehouse, for 'edge-node bundle import'.
    Export {
        /// The warehouse's code.
        #[arg(long, value_name = "CODE")]
        site: String,
        /// The installation, where the warehouse has several.
        #[arg(long, value_name = "NUMBER")]
        device: Option<u32>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
        /// After a restore of HQ: tell master data from the beginning, although the warehouse may hold
        /// some that HQ lost.
        #[arg(long)]
        anew: bool,
        /// The file to make.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ItemCommand {
    /// Add an item.
    Add(ItemArguments),
    /// Change an item from now on; base unit and decimals stay.
    Change(ItemArguments),
    /// Every item.
    List,
    /// Add items from a CSV file with the columns code,name,category,unit,decimals,cost.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Add another unit of an item.
    Unit {
        /// The item's code.
        item: String,
        /// The unit.
        unit: String,
        /// How many base units one of it is: 12, or 1/3.
        #[arg(value_parser = factor)]
        factor: Factor,
    },
    /// Say what one base unit of an item weighs and takes up: freight is shared by that.
    SetMeasure {
        /// The item's code.
        item: String,
        /// Kilograms; at most 12 decimals, taken exactly.
        #[arg(long, value_name = "KG")]
        weight: Option<String>,
        /// Litres.
        #[arg(long, value_name = "LITRES")]
        volume: Option<String>,
        /// From this day on, YEAR-MONTH-DAY; from the beginning where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        from: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct ItemArguments {
    /// Its code.
    code: String,
    /// Its name.
    name: String,
    /// Its category's code.
    #[arg(long, default_value = "goods", value_name = "CODE")]
    category: String,
    /// Its base unit.
    #[arg(long, default_value = "EA")]
    unit: String,
    /// Decimals of its smallest unit: 3 where an item in kg is weighed to the gram.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    decimals: u8,
    /// It is sold and never stocked.
    #[arg(long)]
    service: bool,
    /// Cost of one unit before anything else is known; at most 12 decimals, taken exactly.
    #[arg(long)]
    cost: Option<String>,
}

impl ItemArguments {
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn body(&self) -> Value {
        json!({
            "code": self.code, "name": self.name, "category": self.category, "unit": self.unit,
            "decimals": self.decimals, "service": self.service, "cost": self.cost
        })
    }
}

/// A unit in base units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) numerator: u64,
    pub(super) denominator: u64,
}

#[derive(Debug, Subcommand)]
pub(super) enum PartnerCommand {
    /// Add a customer, a supplier, or both.
    Add {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// May be sold to.
        #[arg(long)]
        customer: bool,
        /// May be bought from.
        #[arg(long)]
        supplier: bool,
    },
    /// Every partner.
    List,
    /// Add partners from a CSV file with the columns code,name,customer,supplier.
    Import {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CategoryCommand {
    /// Add a category.
    Add {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
    },
    /// Every category.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum ReasonCommand {
    /// Add a reason.
    Add {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// The only movement kind it is for, for example `scrap`.
        #[arg(long, value_name = "KIND")]
        movement: Option<String>,
    },
    /// Every reason.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Add an account.
    Add {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// asset, liability, equity, income or expense.
        #[arg(long = "type")]
        account_type: String,
    },
    /// Every account with its role.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum MappingCommand {
    /// Let an account take a role, everywhere or where the conditions hold.
    Add(Rule),
    /// Whether every posting that can come finds its account.
    Check,
}

#[derive(Debug, Args)]
pub(super) struct Rule {
    /// The role, for example `cost_of_sales`; 'hq-server account list' shows every account's.
    role: String,
    /// The account's code.
    account: String,
    /// Only for this item category.
    #[arg(long, value_name = "CODE")]
    category: Option<String>,
    /// Only at this warehouse.
    #[arg(long, value_name = "CODE")]
    site: Option<String>,
    /// Only for this movement kind, for example `scrap`.
    #[arg(long, value_name = "KIND")]
    movement: Option<String>,
    /// Only for this reason.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
}

impl Rule {
    pub(super) fn body(&self) -> Value {
        json!({
            "role": self.role, "account": self.account, "category": self.category,
            "site": self.site, "movement": self.movement, "reason": self.reason
        })
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Set a policy. Of the company: `receipt_fx` (exchange, cost), `standard_variance` (expense,
    /// allocate), `late_cost` (trace, forward), `lifo` and `write_down_reversal` (allowed, barred),
    /// `doubtful_time` (`within_day`, `by_hand`), `purchase_cash_discount` (cost, finance).
    /// Of sites: `backdating_days`, `import_backdating_days`, `negative_stock` (1 allowed, 0 not).
    Set {
        /// The policy.
        policy: String,
        /// The word of the choice, or the figure.
        setting: String,
        /// Only at this warehouse.
        #[arg(long)]
        site: Option<String>,
        /// From this day on, YEAR-MONTH-DAY; from now on where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        from: Option<String>,
    },
    /// What the company chose, and what it could.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum RateCommand {
    /// Set the rate of a currency for a day or some days. A day that no rate covers has none: what
    /// is stated in that currency then waits for its rate.
    Set {
        /// The currency, for example USD.
        currency: String,
        /// Units of the books' currency for one of it, taken exactly.
        rate: String,
        /// The first day it holds, YEAR-MONTH-DAY.
        #[arg(long, value_parser = day, value_name = "DAY")]
        from: String,
        /// The last day; the first where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        until: Option<String>,
    },
    /// Set rates from a CSV file with the columns currency,rate,from,until.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Every rate that was set.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum CostingCommand {
    /// Set the method from now on: `moving_average` (the default), `month_end_average`, `fifo`,
    /// `standard`, `specific` (each lot by itself), or `lifo` for comparison: IFRS and Chinese
    /// standards bar it.
    Set {
        /// The method.
        method: String,
        /// Only for items of this category.
        #[arg(long, value_name = "CODE")]
        category: Option<String>,
        /// For all goods that ever moved: computes their cost again and posts the differences.
        #[arg(long)]
        from_the_beginning: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum InvoiceCommand {
    /// A supplier's invoice for receipts.
    Supplier(Invoice),
    /// An invoice to a customer for shipments that were to be invoiced later.
    Customer(Invoice),
    /// A supplier's credit note for receipts: takes back what was invoiced, at its own price.
    Credit(Invoice),
}

#[derive(Debug, Args)]
pub(super) struct Invoice {
    /// The partner's code.
    partner: String,
    /// A line, CAPTURE@PRICE or CAPTURE:QUANTITY@PRICE, for example 3-1042:10@105.00. Without a
    /// quantity all of it is invoiced. May be given several times.
    #[arg(long = "line", required = true, value_parser = line, value_name = "LINE")]
    lines: Vec<InvoiceLine>,
    /// The invoice's number.
    #[arg(long)]
    document: Option<String>,
    /// Its date, YEAR-MONTH-DAY; today where absent.
    #[arg(long)]
    date: Option<String>,
    /// When it is due.
    #[arg(long)]
    due: Option<String>,
    /// The currency of a supplier's prices; that of the books where absent.
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct InvoiceLine {
    of: String,
    quantity: Option<String>,
    price: String,
}

impl Invoice {
    pub(super) fn body(&self) -> Value {
        let line = |line: &InvoiceLine| json!({ "of": line.of, "quantity": line.quantity, "price": line.price });
        json!({
            "partner": self.partner, "document": self.document, "date": self.date,
            "due": self.due, "currency": self.currency,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>()
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct LandedCost {
    /// How much, without tax; negative where it is taken back.
    #[arg(allow_negative_numbers = true)]
    amount: String,
    /// A receipt that shares it, CAPTURE, or CAPTURE=FIGURE with the weight or volume of all of it
    /// where that of its item is not to count. May be given several times; the last one takes what
    /// rounding leaves.
    #[arg(long = "on", required = true, value_name = "RECEIPT")]
    receipts: Vec<String>,
    /// How it is shared: quantity, value, weight or volume.
    #[arg(long, default_value = "quantity")]
    by: String,
    /// Whom it is owed to; accrued where absent.
    #[arg(long, value_name = "CODE")]
    partner: Option<String>,
    /// The bill's number.
    #[arg(long)]
    document: Option<String>,
    /// Its date, YEAR-MONTH-DAY; today where absent.
    #[arg(long)]
    date: Option<String>,
    /// When it is due.
    #[arg(long)]
    due: Option<String>,
    /// The currency of the amount; that of the books where absent.
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
}

impl LandedCost {
    pub(super) fn body(&self) -> Value {
        let receipt = |written: &String| match written.split_once('=') {
            Some((of, weight)) => json!({ "of": of, "weight": weight }),
            None => json!({ "of": written }),
        };
        json!({
            "amount": self.amount, "by": self.by, "partner": self.partner,
            "document": self.document, "date": self.date, "due": self.due,
            "currency": self.currency,
            "receipts": self.receipts.iter().map(receipt).collect::<Vec<_>>()
        })
    }
}

/// Which goods are meant.
#[derive(Debug, Args)]
pub(super) struct Pool {
    /// The item's code.
    item: String,
    /// The warehouse, where each costs its own goods.
    #[arg(long, value_name = "CODE")]
    site: Option<String>,
    /// The lot, where each is costed by itself.
    #[arg(long)]
    lot: Option<String>,
    /// Why: a reason's code.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// When, YEAR-MONTH-DAY; now where absent.
    #[arg(long)]
    date: Option<String>,
}

impl Pool {
    pub(super) fn item(&self) -> &str {
        &self.item
    }

    fn body(&self) -> Value {
        json!({
            "item": self.item, "site": self.site, "lot": self.lot, "reason": self.reason,
            "date": self.date
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Revaluation {
    #[command(flatten)]
    pub(super) pool: Pool,
    /// How much; negative where it is taken off.
    #[arg(allow_negative_numbers = true)]
    amount: String,
    /// Only the goods of this receipt, where the method tells goods apart. May be given several
    /// times.
    #[arg(long = "of", value_name = "CAPTURE")]
    receipts: Vec<String>,
}

impl Revaluation {
    pub(super) fn body(&self) -> Value {
        let mut body = self.pool.body();
        body["amount"] = json!(self.amount);
        body["receipts"] = json!(self.receipts);
        body
    }
}

#[derive(Debug, Args)]
pub(super) struct StandardCost {
    #[command(flatten)]
    pub(super) pool: Pool,
    /// The cost of one base unit.
    cost: String,
}

impl StandardCost {
    pub(super) fn body(&self) -> Value {
        let mut body = self.pool.body();
        body["cost"] = json!(self.cost);
        body
    }
}

#[derive(Debug, Args)]
pub(super) struct WriteDown {
    #[command(flatten)]
    pub(super) pool: Pool,
    /// By how much; negative where earlier write-downs are taken back.
    #[arg(allow_negative_numbers = true)]
    amount: String,
}

impl WriteDown {
    pub(super) fn body(&self) -> Value {
        let mut body = self.pool.body();
        body["amount"] = json!(self.amount);
        body
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PeriodCommand {
    /// Show how far months are closed.
    List,
    /// Take the month-end averages of a month and of those before it.
    Average {
        /// The month, YEAR-MONTH.
        #[arg(value_parser = month)]
        month: String,
    },
    /// Close an area of a month, with the areas before it and every earlier month. What becomes
    /// known later is posted in the first open month.
    Close {
        /// The month, YEAR-MONTH.
        #[arg(value_parser = month)]
        month: String,
        /// How far.
        #[arg(long, value_enum, default_value_t = ClosingArea::Ledger)]
        area: ClosingArea,
        /// Even if facts wait for something that HQ does not know yet.
        #[arg(long)]
        despite_waiting: bool,
        /// Even if a box was copied or restored and something may have been told twice.
        #[arg(long)]
        despite_doubt: bool,
    },
    /// Reopen an area of a month, with the areas after it and every later month.
    Reopen {
        /// The month, YEAR-MONTH.
        #[arg(value_parser = month)]
        month: String,
        /// From which area on.
        #[arg(long, value_enum)]
        area: ClosingArea,
        /// Why: a reason's code.
        #[arg(long, value_name = "CODE")]
        reason: String,
    },
}

/// What is closed of a month, in the order of closing.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum ClosingArea {
    /// Receipts, sales and their documents.
    Trade,
    /// Every movement, and what goods cost.
    Stock,
    /// Payments and allocations.
    OpenItems,
    /// Everything.
    Ledger,
}

impl ClosingArea {
    const fn word(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Stock => "stock",
            Self::OpenItems => "open_items",
            Self::Ledger => "ledger",
        }
    }
}

impl PeriodCommand {
    /// What is asked of a month; nothing where months are only shown.
    pub(super) fn body(&self) -> Option<Value> {
        match self {
            Self::List => None,
            Self::Average { month } => Some(json!({ "month": month, "step": "run_averages" })),
            Self::Close { month, area, despite_waiting, despite_doubt } => Some(json!({
                "month": month,
                "step": format!("close_{}", area.word()),
                "despite_waiting": despite_waiting,
                "despite_doubt": despite_doubt,
            })),
            Self::Reopen { month, area, reason } => Some(json!({
                "month": month,
                "step": format!("reopen_{}", area.word()),
                "reason": reason,
            })),
        }
    }

    /// What is done, in words.
    pub(super) fn deed(&self) -> Option<String> {
        match self {
            Self::List => None,
            Self::Average { month } => Some(format!("averages taken through {month}")),
            Self::Close { month, area, .. } => {
                Some(format!("{} closed through {month}", area.word()))
            }
            Self::Reopen { month, area, .. } => {
                Some(format!("{} open again from {month} on", area.word()))
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PaymentCommand {
    /// Money in from a customer.
    In(Payment),
    /// Money out to a supplier.
    Out(Payment),
    /// Settle an open item with a payment that was recorded before.
    Allocate {
        /// The payment's capture id.
        payment: String,
        /// What it settles: CAPTURE=AMOUNT, for example 1-77=1050.00.
        #[arg(value_parser = part, value_name = "CAPTURE=AMOUNT")]
        of: Part,
    },
    /// What a supplier lets the company off for early payment, apart from the payment. By the policy
    /// `purchase_cash_discount` the bill's goods cost less, or it is finance income.
    Discount {
        /// The bill and how much less is owed for it: CAPTURE=AMOUNT.
        #[arg(value_parser = part, value_name = "CAPTURE=AMOUNT")]
        of: Part,
        /// The number of the supplier's note.
        #[arg(long)]
        document: Option<String>,
        /// Its date, YEAR-MONTH-DAY; today where absent.
        #[arg(long)]
        date: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Payment {
    /// The partner's code.
    partner: String,
    /// How much.
    amount: String,
    /// What it settles: CAPTURE=AMOUNT, for example 1-77=1050.00. May be given several times.
    #[arg(long = "for", value_parser = part, value_name = "CAPTURE=AMOUNT")]
    allocations: Vec<Part>,
    /// What the supplier lets the company off of a bill for it: CAPTURE=AMOUNT. Its lines share that
    /// by value. May be given several times.
    #[arg(long = "discount", value_parser = part, value_name = "CAPTURE=AMOUNT")]
    discounts: Vec<Part>,
    /// The bank or cash account's code; the mapping decides where absent.
    #[arg(long)]
    account: Option<String>,
    /// The bank statement's number.
    #[arg(long)]
    document: Option<String>,
    /// The bank's date, YEAR-MONTH-DAY; today where absent.
    #[arg(long)]
    date: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) of: String,
    pub(super) amount: String,
}

impl Payment {
    pub(super) fn body(&self, direction: &str) -> Value {
        let part = |part: &Part| json!({ "of": part.of, "amount": part.amount });
        json!({
            "discounts": self.discounts.iter().map(part).collect::<Vec<_>>(),
            "partner": self.partner, "direction": direction, "amount": self.amount,
            "account": self.account, "document": self.document, "date": self.date,
            "allocations": self.allocations.iter().map(part).collect::<Vec<_>>()
        })
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ReportCommand {
    /// Every account with its turnover and balance.
    TrialBalance {
        /// From this month on, YEAR-MONTH.
        #[arg(long, value_parser = month, value_name = "MONTH")]
        from: Option<String>,
        /// Up to this month.
        #[arg(long, value_parser = month, value_name = "MONTH")]
        to: Option<String>,
    },
    /// What is on hand and what it is worth.
    Stock {
        /// Only at this warehouse.
        #[arg(long)]
        site: Option<String>,
        /// Only items whose code or name has this in it.
        #[arg(long)]
        search: Option<String>,
        /// At the end of this day, YEAR-MONTH-DAY; now where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        at: Option<String>,
        /// As HQ knew it at the end of this day; as it knows it now where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        known_at: Option<String>,
        /// Which page of a long list.
        #[arg(long)]
        page: Option<u64>,
    },
    /// A month as posted, beside what it would have been had everything been known.
    Month {
        /// The month, YEAR-MONTH.
        #[arg(value_parser = month)]
        month: String,
    },
    /// All companies as one: what their goods cost the group beside what they are worth in each
    /// company's books, and what one company sold to another: to eliminate, owed, on the way.
    Group {
        /// Which page of a long list.
        #[arg(long)]
        page: Option<u64>,
    },
    /// The lines of an account.
    Account {
        /// The account's code.
        code: String,
        /// From this month on, YEAR-MONTH.
        #[arg(long, value_parser = month, value_name = "MONTH")]
        from: Option<String>,
        /// Up to this month.
        #[arg(long, value_parser = month, value_name = "MONTH")]
        to: Option<String>,
        /// Which page of a long list; the last one where absent.
        #[arg(long)]
        page: Option<u64>,
    },
    /// The movements of an item.
    Item {
        /// The item's code.
        code: String,
        /// Only at this warehouse.
        #[arg(long)]
        site: Option<String>,
        /// Which page of a long list; the last one where absent.
        #[arg(long)]
        page: Option<u64>,
    },
    /// How the cost of an item came to be: each step with its fact and voucher, and what changed it.
    Cost {
        /// The item's code.
        #[arg(long, value_name = "CODE")]
        item: String,
        /// The warehouse, where each costs its own goods.
        #[arg(long, value_name = "CODE")]
        site: Option<String>,
        /// The lot, where each is costed by itself.
        #[arg(long)]
        lot: Option<String>,
        /// Up to the end of this day, YEAR-MONTH-DAY.
        #[arg(long, value_parser = day, value_name = "DAY")]
        at: Option<String>,
        /// As HQ knew it at the end of this day; as it knows it now where absent.
        #[arg(long, value_parser = day, value_name = "DAY")]
        known_at: Option<String>,
        /// Which page of a long list; the last one where absent.
        #[arg(long)]
        page: Option<u64>,
    },
    /// What customers owe and what is owed to suppliers.
    OpenItems,
    /// Facts that wait because something is missing, and why.
    SetAside,
    /// Facts whose time is in doubt: they have a quantity and no value until 'retime' says when they
    /// happened.
    InDoubt {
        /// Which page of a long list.
        #[arg(long)]
        page: Option<u64>,
    },
    /// Vouchers, newest first.
    Vouchers {
        /// Only of this month, YEAR-MONTH.
        #[arg(long, value_parser = month, value_name = "MONTH")]
        month: Option<String>,
        /// Which page of a long list.
        #[arg(long)]
        page: Option<u64>,
    },
    /// One voucher with its lines and facts.
    Voucher {
        /// Its name, as 'report vouchers' shows it, for example 1-2026-11-4.
        id: String,
    },
    /// One fact with everything that is known of it.
    Fact {
        /// Its capture id, for example 3-1042.
        capture: String,
    },
    /// Stock value by site and its freshness.
    Dashboard,
}

impl ReportCommand {
    /// The report's address; codes become numbers.
    pub(super) fn path(&self, client: &Client<'_>) -> Result<String, CliError> {
        let text = |value: &Option<String>| value.clone();
        let number = |value: &Option<u64>| value.map(|value| value.to_string());
        let (address, query) = match self {
            Self::TrialBalance { from, to } => {
                ("trial-balance".to_owned(), vec![("from", text(from)), ("to", text(to))])
            }
            Self::Stock { site, search, at, known_at, page } => {
                let site = site.as_ref().map(|code| client.number("/api/sites", "site", code));
                let query = vec![
                    ("site", site.transpose()?),
                    ("q", text(search)),
                    ("at", text(at)),
                    ("known_at", text(known_at)),
                    ("page", number(page)),
                ];
                ("stock".to_owned(), query)
            }
            Self::Month { month } => (format!("months/{month}"), vec![]),
            Self::Account { code, from, to, page } => {
                let account = client.number("/api/accounts", "account", code)?;
                let query = vec![("from", text(from)), ("to", text(to)), ("page", number(page))];
                (format!("accounts/{account}"), query)
            }
            Self::Item { code, site, page } => {
                let item = client.number("/api/items", "item", code)?;
                let site = site.as_ref().map(|code| client.number("/api/sites", "site", code));
                (format!("items/{item}"), vec![("site", site.transpose()?), ("page", number(page))])
            }
            Self::Cost { item, site, lot, at, known_at, page } => {
                let item = client.number("/api/items", "item", item)?;
                let site = site.as_ref().map(|code| client.number("/api/sites", "site", code));
                let query = vec![
                    ("site", site.transpose()?),
                    ("lot", text(lot)),
                    ("at", text(at)),
                    ("known_at", text(known_at)),
                    ("page", number(page)),
                ];
                (format!("costs/{item}"), query)
            }
            Self::Group { page } => ("group".to_owned(), vec![("page", number(page))]),
            Self::OpenItems => ("open-items".to_owned(), vec![]),
            Self::SetAside => ("set-aside".to_owned(), vec![]),
            Self::InDoubt { page } => ("in-doubt".to_owned(), vec![("page", number(page))]),
            Self::Vouchers { month, page } => {
                ("vouchers".to_owned(), vec![("month", text(month)), ("page", number(page))])
            }
            Self::Voucher { id } => (format!("vouchers/{}", encoded(id)), vec![]),
            Self::Fact { capture } => (format!("facts/{}", encoded(capture)), vec![]),
            Self::Dashboard => ("dashboard".to_owned(), vec![]),
        };
        let query: Vec<String> = query
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| format!("{name}={}", encoded(&value))))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("/api/reports/{address}{mark}{}", query.join("&")))
    }
}

fn chart_named(name: &str) -> Result<&'static Chart, String> {
    chart::find(name).ok_or_else(|| {
        let names: Vec<_> = CHARTS.iter().map(|chart| chart.name).collect();
        format!("charts are: {}", names.join(", "))
    })
}

fn offset(written: &str) -> Result<OffsetMinutes, String> {
    let fail = || "write +HH:MM or -HH:MM, for example +08:00".to_owned();
    let (sign, rest) = match written.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(fail()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(fail)?;
    let hours: i16 = hours.parse().map_err(|_| fail())?;
    let minutes: i16 = minutes.parse().map_err(|_| fail())?;
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(fail());
    }
    Ok(OffsetMinutes(sign * (hours * 60 + minutes)))
}

/// A month, as it is sent on.
fn month(written: &str) -> Result<String, String> {
    let fail = || "write YEAR-MONTH, for example 2026-11".to_owned();
    let (year, month) = written.split_once('-').ok_or_else(fail)?;
    let is_number =
        |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_year = month.parse::<u8>().is_ok_and(|month| (1..=12).contains(&month));
    if is_number(year, 4) && is_number(month, 2) && of_year {
        Ok(written.to_owned())
    } else {
        Err(fail())
    }
}

/// A day, as it is sent on.
fn day(written: &str) -> Result<String, String> {
    let day = written.parse::<shared::time::Day>();
    day.map(|day| day.to_string())
        .map_err(|_| "write YEAR-MONTH-DAY, for example 2026-11-24".to_owned())
}

fn factor(written: &str) -> Result<Factor, String> {
    let (numerator, denominator) = written.split_once('/').unwrap_or((written, "1"));
    let number = |text: &str| {
        text.parse()
            .map_err(|_| "write a whole number or a fraction, for example 12 or 1/3".to_owned())
    };
    Ok(Factor { numerator: number(numerator)?, denominator: number(denominator)? })
}

fn line(written: &str) -> Result<InvoiceLine, String> {
    let (of, price) = written
        .split_once('@')
        .ok_or("write CAPTURE@PRICE or CAPTURE:QUANTITY@PRICE, for example 3-1042:10@105.00")?;
    let (of, quantity) = match of.split_once(':') {
        Some((of, quantity)) => (of, Some(quantity.to_owned())),
        None => (of, None),
    };
    Ok(InvoiceLine { of: of.to_owned(), quantity, price: price.to_owned() })
}

fn part(written: &str) -> Result<Part, String> {
    let (of, amount) =
        written.split_once('=').ok_or("write CAPTURE=AMOUNT, for example 1-77=1050.00")?;
    Ok(Part { of: of.to_owned(), amount: amount.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn small_languages() {
        assert_eq!(offset("+08:00"), Ok(OffsetMinutes(480)));
        assert_eq!(offset("-03:30"), Ok(OffsetMinutes(-210)));
        for wrong in ["8", "08:00", "+8", "+15:00", "+01:60", "+a:00"] {
            assert!(offset(wrong).is_err(), "{wrong}");
        }
        assert_eq!(month("2026-11"), Ok("2026-11".to_owned()));
        for wrong in ["2026", "2026-13", "26-11", "2026-1", "2026-11-02", "x"] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
        let found = line("3-1042:10@105.00").expect("a line");
        assert_eq!((found.of.as_str(), found.quantity.as_deref()), ("3-1042", Some("10")));
        assert_eq!(line("3-1042@105.00").expect("a line").quantity, None);
        assert!(line("3-1042").is_err() && part("1-77").is_err());
    }
}
