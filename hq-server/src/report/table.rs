//! Reports as text tables for the terminal. Knows no terminal: it makes strings.
//!
//! Invariant: a table says the same as the page of the same report.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cost::{CostLine, CostPart, CostReport};
use super::dashboard::{Dashboard, Freshness};
use super::fact::FactReport;
use super::figure::{Figure, Moment, Named};
use super::group::GroupReport;
use super::ledger::{AccountLedger, Sides, TrialBalance, TrialBalanceSides};
use super::month::MonthReport;
use super::open_items::OpenItems;
use super::set_aside::SetAside;
use super::stock::{Balance, ItemLedger, StockBalance};
use super::voucher::{Summary, VoucherHead, VoucherList, VoucherReport, label};
use super::words::Words;

/// The text of a report as the read API gives it; `name` is the first part of its address after
/// `/api/reports/`. `None` where no such report is known or the value is none.
pub fn text_of(name: &str, report: &Value, words: &Words) -> Option<String> {
    match name {
        "dashboard" => read::<Dashboard>(report).map(|report| dashboard(&report, words)),
        "vouchers" => read::<VoucherReport>(report)
            .map(|report| voucher(&report, words))
            .or_else(|| read::<VoucherList>(report).map(|report| vouchers(&report, words))),
        "facts" => read::<FactReport>(report).map(|report| fact(&report, words)),
        "stock" => read::<StockBalance>(report).map(|report| stock(&report, words)),
        "costs" => read::<CostReport>(report).map(|report| cost(&report, words)),
        "items" => read::<ItemLedger>(report).map(|report| item(&report, words)),
        "trial-balance" => read::<TrialBalance>(report).map(|report| trial_balance(&report, words)),
        "months" => read::<MonthReport>(report).map(|report| month(&report, words)),
        "accounts" => read::<AccountLedger>(report).map(|report| account(&report, words)),
        "open-items" => read::<OpenItems>(report).map(|report| open_items(&report, words)),
        "group" => read::<GroupReport>(report).map(|report| group(&report, words)),
        "set-aside" => read::<SetAside>(report).map(|report| set_aside(&report, words)),
        "in-doubt" => read::<SetAside>(report).map(|report| in_doubt(&report, words)),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(report: &Value) -> Option<T> {
    T::deserialize(report).ok()
}

/// A table that is filled row by row.
struct Rows(Table);

/// What stands in a cell.
enum Text {
    Left(String),
    Right(String),
}

impl Rows {
    fn new(header: &[&str]) -> Self {
        let mut table = Table::new();
        let rule = LineStyle::none().fill('─').junction('─');
        table.load_style(TableStyle::new().header_separator(rule)).set_header(header);
        Self(table)
    }

    fn add(&mut self, cells: impl IntoIterator<Item = Text>) {
        self.0.add_row(cells.into_iter().map(|cell| match cell {
            Text::Left(text) => Cell::new_owned(text),
            Text::Right(text) => Cell::new_owned(text).set_alignment(CellAlignment::Right),
        }));
    }

    fn text(&self) -> String {
        self.0.trim_fmt()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "most callers hand a figure or a fresh text")]
fn left(text: impl ToString) -> Text {
    Text::Left(text.to_string())
}

fn figure(figure: Figure) -> Text {
    Text::Right(figure.grouped())
}

fn figure_or_blank(figure: Figure) -> Text {
    Text::Right(figure.grouped_or_blank())
}

#[expect(clippy::needless_pass_by_value, reason = "most callers hand a figure or a fresh text")]
fn number(number: impl ToString) -> Text {
    Text::Right(number.to_string())
}

fn name(named: &Named) -> Text {
    left(both(named))
}

fn name_or_blank(named: Option<&Named>) -> Text {
    left(named.map(both).unwrap_or_default())
}

fn both(named: &Named) -> String {
    if named.code == named.name {
        named.code.clone()
    } else {
        format!("{} {}", named.code, named.name)
    }
}

fn moment(moment: Option<Moment>) -> Text {
    left(moment.map(Moment::text).unwrap_or_default())
}

/// When a site was last heard, and how, where it was not over a link of its own.
fn heard(freshness: &Freshness, words: &Words) -> Text {
    let heard = freshness.last_heard.map(Moment::text).unwrap_or_default();
    left(freshness.way(words).map_or_else(|| heard.clone(), |way| format!("{heard} {way}")))
}

fn summary(summary: &Summary, words: &Words) -> String {
    let mut text = words.of_family("kind", &summary.kind).to_owned();
    let more = (summary.more_items > 0).then(|| words.with("and-more-items", summary.more_items));
    let parts = [
        summary.item.as_ref().map(|item| item.name.clone()),
        more,
        summary.partner.as_ref().map(|partner| partner.name.clone()),
        summary.document.clone(),
    ];
    for part in parts.into_iter().flatten() {
        text.push(' ');
        text.push_str(&part);
    }
    text
}

fn tie(left: &str, right: &str, difference: Figure, settling: bool, words: &Words) -> String {
    match (difference.is_zero(), settling) {
        (true, _) => format!("✓ {left} = {right}"),
        (false, true) => format!("… {left} = {right}: {}", words.of("settling")),
        (false, false) => {
            format!("✗ {left} = {right}: {} {}", words.of("difference"), difference.grouped())
        }
    }
}

fn of_pages(page: u64, pages: u64) -> String {
    if pages > 1 { format!("\n{page} / {pages}") } else { String::new() }
}

fn dashboard(d: &Dashboard, words: &Words) -> String {
    let heads = ["site", "value", "freshness", "complete-up-to", "last-heard", "waiting"];
    let mut sites = Rows::new(&heads.map(|key| words.of(key)));
    for row in &d.sites {
        sites.add([
            name(&row.site),
            figure(row.value),
            left(match words.of_family("state", row.freshness.state.word()) {
                state if row.freshness.doubtful => format!("{state}, {}", words.of("doubtful")),
                state => state.to_owned(),
            }),
            moment(row.freshness.complete_up_to),
            heard(&row.freshness, words),
            number(row.freshness.waiting.facts),
        ]);
    }
    let sums = [
        ("stock-value", d.stock.total),
        ("in-transit", d.stock.in_transit),
        ("receivable", d.receivable),
        ("payable", d.payable),
        ("received-not-invoiced", d.received_not_invoiced),
    ];
    let mut lines = vec![format!("{} {}", d.company.name, d.made_at.text())];
    lines.extend(
        sums.map(|(key, sum)| format!("{}: {} {}", words.of(key), sum.grouped(), d.currency)),
    );
    lines.push(format!(
        "{}: {}",
        words.of("not-yet-posted"),
        words.with("n-facts", d.waiting.facts)
    ));
    let (subledger, ledger) = (words.of("stock-subledger"), words.of("inventory-accounts"));
    lines.push(tie(subledger, ledger, d.stock.difference, d.stock.settling, words));
    lines.push(sites.text());
    lines.push(voucher_rows(&d.latest, words));
    lines.join("\n")
}

fn voucher_rows(rows: &[VoucherHead], words: &Words) -> String {
    let heads = ["voucher-number", "date", "summary", "site", "cause", "amount"];
    let mut table = Rows::new(&heads.map(|key| words.of(key)));
    for row in rows {
        table.add([
            left(&row.id),
            left(row.day),
            left(summary(&row.summary, words)),
            name_or_blank(row.summary.site.as_ref()),
            left(words.of_family("cause", &row.cause)),
            figure(row.total),
        ]);
    }
    table.text()
}

fn vouchers(r: &VoucherList, words: &Words) -> String {
    let mut lines = vec![voucher_rows(&r.rows, words) + &of_pages(r.page, r.pages)];
    lines.extend(r.lost.iter().flat_map(|lost| lost.sentences(words)));
    lines.join("\n")
}

fn voucher(r: &VoucherReport, words: &Words) -> String {
    let heads = ["account", "item", "site", "partner", "debit", "credit"];
    let mut lines = Rows::new(&heads.map(|key| words.of(key)));
    for line in &r.lines {
        lines.add([
            name(&line.account),
            name_or_blank(line.item.as_ref()),
            name_or_blank(line.site.as_ref()),
            name_or_blank(line.partner.as_ref()),
            figure_or_blank(line.debit),
            figure_or_blank(line.credit),
        ]);
    }
    let heads = ["fact", "kind", "site", "occurred-at", "item", "quantity", "unit", "price"];
    let mut facts = Rows::new(&heads.map(|key| words.of(key)));
    for fact in &r.facts {
        facts.add([
            left(fact.capture),
            left(words.of_family("kind", &fact.kind)),
            name(&fact.site),
            moment(Some(fact.occurred_at)),
            name_or_blank(fact.item.as_ref()),
            number(fact.quantity.clone().unwrap_or_default()),
            left(fact.unit.clone().unwrap_or_default()),
            number(fact.price.clone().unwrap_or_default()),
        ]);
    }
    let head = format!(
        "{} {} · {} · {}",
        label(words, r.head.number),
        r.head.month,
        r.head.day,
        summary(&r.head.summary, words)
    );
    [head, lines.text(), facts.text()].join("\n")
}

fn fact(r: &FactReport, words: &Words) -> String {
    let heads = ["field", "name", "value-as-written", "meaning"];
    let mut fields = Rows::new(&heads.map(|key| words.of(key)));
    for field in &r.fields {
        fields.add([
            number(field.number),
            left(field.name.as_deref().unwrap_or(words.of("unknown-field"))),
            left(&field.value),
            left(field.meaning.as_deref().unwrap_or_default()),
        ]);
    }
    let mut lines = vec![
        format!("{} {} · {}", words.of_family("kind", &r.kind), r.capture, both(&r.site)),
        format!("{}: {}", words.of("occurred-at"), r.occurred_at.text()),
        format!("{}: {}", words.of("recorded-at"), r.recorded_at.text()),
        fields.text(),
        format!("{}: {}", words.of("log"), r.chain.log),
        format!("{}: {}", words.of("place-in-log"), r.chain.seq),
    ];
    lines.extend(r.chain.head.as_ref().map(|head| format!("{}: {head}", words.of("head-after"))));
    lines.push(match &r.chain.seal {
        Some(seal) => {
            let verdict = if seal.verified { "seal-verified" } else { "seal-wrong" };
            let (first, last) = (seal.first, seal.last);
            format!("{}: {first}-{last}, {}", words.of("seal"), words.of(verdict))
        }
        None => format!("{}: {}", words.of("seal"), words.of("seal-none")),
    });
    let placed = r.placed_at.map(|at| format!("{}: {}", words.of("placed-at"), at.text()));
    lines.extend(placed);
    lines.extend(r.set_aside.as_ref().map(|why| format!("{}: {why}", words.of("set-aside"))));
    lines.push(voucher_rows(&r.vouchers, words));
    lines.join("\n")
}

fn stock(r: &StockBalance, words: &Words) -> String {
    let mut heads = vec!["item", "site", "quantity", "unit", "unit-cost", "value"];
    if r.variance.is_some() {
        heads.push("variance");
    }
    if r.allowance.is_some() {
        heads.push("allowance");
    }
    if r.carrying.is_some() {
        heads.push("carrying-value");
    }
    if r.any_without_value {
        heads.push("without-value");
    }
    let heads: Vec<_> = heads.into_iter().map(|key| words.of(key)).collect();
    let mut rows = Rows::new(&heads);
    for row in &r.rows {
        let mut cells = vec![
            left([both(&row.item), row.lot.clone().unwrap_or_default()].join(" ").trim_end()),
            name(&row.site),
            figure(row.quantity),
            left(&row.unit),
            number(row.unit_cost.map(Figure::grouped).unwrap_or_default()),
            figure(row.value),
        ];
        let beside =
            [(r.variance, row.variance), (r.allowance, row.allowance), (r.carrying, row.carrying)];
        let shown = beside.into_iter().filter(|(column, _)| column.is_some());
        cells.extend(shown.map(|(_, each)| number(each.map(Figure::grouped).unwrap_or_default())));
        let part = row.without_value.map(Figure::grouped).unwrap_or_default();
        cells.extend(r.any_without_value.then(|| number(part)));
        rows.add(cells);
    }
    let beside =
        [("variance", r.variance), ("allowance", r.allowance), ("carrying-value", r.carrying)];
    let beside = beside.into_iter().filter_map(|(key, figure)| {
        figure.map(|figure| format!("{} {}", words.of(key), figure.grouped()))
    });
    let beside = beside.collect::<Vec<_>>().join(", ");
    let beside = if beside.is_empty() { beside } else { format!("; {beside}") };
    let (sum, value) = (words.of("sum-of-filter"), r.value.grouped());
    let sum = format!("{sum}: {value} {}{beside}", r.currency);
    let (subledger, ledger) = (words.of("stock-subledger"), words.of("inventory-accounts"));
    let mut lines = vec![rows.text(), sum];
    lines.extend(r.tie.map(|held| tie(subledger, ledger, held.difference, held.settling, words)));
    lines.join("\n") + &of_pages(r.page, r.pages)
}

/// Heads of a running balance: its quantity and its value.
fn balance_heads(words: &Words) -> [String; 2] {
    ["quantity", "value"].map(|key| format!("{} {}", words.of("balance"), words.of(key)))
}

fn closing(balance: Balance, unit: &str, currency: &str, words: &Words) -> String {
    let (quantity, value) = (balance.quantity.grouped(), balance.value.grouped());
    format!("{}: {quantity} {unit}, {value} {currency}", words.of("closing-balance"))
}

fn item(r: &ItemLedger, words: &Words) -> String {
    let (quantity, value) = (words.of("quantity"), words.of("value"));
    let [balance_quantity, balance_value] = balance_heads(words);
    let mut rows = Rows::new(&[
        words.of("occurred-at"),
        words.of("kind"),
        words.of("site"),
        words.of("fact"),
        quantity,
        value,
        &balance_quantity,
        &balance_value,
    ]);
    for line in &r.lines {
        rows.add([
            moment(Some(line.at)),
            left(words.of_family("kind", &line.kind)),
            name(&line.site),
            left(line.capture),
            figure(line.quantity),
            figure(line.value),
            figure(line.balance.quantity),
            figure(line.balance.value),
        ]);
    }
    let last = closing(r.closing, &r.unit, &r.currency, words);
    [both(&r.item), rows.text(), last].join("\n") + &of_pages(r.page, r.pages)
}

fn cost(r: &CostReport, words: &Words) -> String {
    let (quantity, value) = (words.of("quantity"), words.of("value"));
    let [balance_quantity, balance_value] = balance_heads(words);
    let mut rows = Rows::new(&[
        words.of("occurred-at"),
        words.of("kind"),
        words.of("fact"),
        words.of("voucher-number"),
        quantity,
        value,
        &balance_quantity,
        &balance_value,
        words.of("unit-cost"),
        words.of("explanation"),
    ]);
    for line in &r.lines {
        rows.add([
            moment(Some(line.at)),
            left(words.of_family("kind", &line.kind)),
            left(line.capture),
            left(line.voucher.clone().unwrap_or_default()),
            figure(line.quantity),
            figure(line.value),
            figure(line.balance.quantity),
            figure(line.balance.value),
            number(line.balance.unit_cost().map(Figure::grouped).unwrap_or_default()),
            left(explanation(line, words)),
        ]);
    }
    let place = r.site.as_ref().map(both).unwrap_or_default();
    let lot = r.lot.clone().unwrap_or_default();
    let method = words.of_family("method", &r.method);
    let head = [both(&r.item), place, lot, method.to_owned()].join(" ");
    let mut lines = vec![head, rows.text()];
    if !r.layers.is_empty() {
        let mut layers = Rows::new(&[words.of("layer"), quantity, value, words.of("unit-cost")]);
        for layer in &r.layers {
            let cost = Figure::unit_cost(layer.value, layer.quantity);
            layers.add([
                left(layer.capture),
                figure(layer.quantity),
                figure(layer.value),
                number(cost.map(Figure::grouped).unwrap_or_default()),
            ]);
        }
        lines.push(layers.text());
    }
    lines.push(closing(r.closing, &r.unit, &r.currency, words));
    lines.extend(r.variance.map(|left| format!("{}: {}", words.of("variance"), left.grouped())));
    lines.join("\n") + &of_pages(r.page, r.pages)
}

/// What a step took, re-priced, and became: each on a line of its own.
fn explanation(line: &CostLine, words: &Words) -> String {
    let part = |part: &CostPart| {
        format!("{} × {} = {}", part.capture, part.quantity.grouped(), part.value.grouped())
    };
    let mut lines: Vec<String> = line.taken.iter().map(part).collect();
    if let Some(variance) = &line.variance {
        let (amount, balance) = (variance.amount.grouped(), variance.balance.grouped());
        let rate = variance
            .shared
            .zip(variance.over)
            .map(|(shared, over)| format!(" ({} / {})", shared.grouped(), over.grouped()));
        let (name, rate) = (words.of("variance"), rate.unwrap_or_default());
        lines.push(format!("{name}: {amount}{rate} → {balance}"));
    }
    for change in &line.repriced {
        let text = words.of("cause-negative-stock");
        lines.push(format!("{text}: {} {}", change.capture, change.change.grouped()));
    }
    if let Some(first) = &line.first {
        lines.push(format!(
            "{}: {} → {} ({})",
            words.of("first-posted"),
            first.value.grouped(),
            first.now.grouped(),
            first.difference.grouped()
        ));
        for cause in &first.causes {
            let kind = words.of_family("kind", &cause.kind);
            lines.push(format!("{} {kind} {}", words.of("because-of"), cause.capture));
        }
    }
    lines.join("\n")
}

fn trial_balance(r: &TrialBalance, words: &Words) -> String {
    let mut heads = vec![words.of("account").to_owned()];
    for part in ["opening-balance", "turnover", "closing-balance"] {
        for side in ["debit", "credit"] {
            heads.push(format!("{} {}", words.of(part), words.of(side)));
        }
    }
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut rows = Rows::new(&heads);
    let cells = |first: Text, sides: &TrialBalanceSides| {
        let pairs = [sides.opening, sides.turnover, sides.closing];
        let figures = pairs.into_iter().flat_map(|Sides { debit, credit }| [debit, credit]);
        std::iter::once(first).chain(figures.map(figure_or_blank)).collect::<Vec<_>>()
    };
    for row in &r.rows {
        rows.add(cells(name(&row.account), &row.sides));
    }
    rows.add(cells(left(words.of("sum")), &r.total));
    let even = if r.is_even() { "✓" } else { "✗" };
    let head = format!("{} {} – {} · {}", words.of("trial-balance"), r.from, r.to, r.currency);
    [head, rows.text(), format!("{even} {}", words.of("debits-equal-credits"))].join("\n")
}

fn month(r: &MonthReport, words: &Words) -> String {
    let mut heads = vec![words.of("account").to_owned()];
    for part in ["as-posted", "as-it-would-be"] {
        for side in ["debit", "credit"] {
            heads.push(format!("{} {}", words.of(part), words.of(side)));
        }
    }
    heads.push(words.of("in-other-months").to_owned());
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut rows = Rows::new(&heads);
    for row in &r.rows {
        let pairs = [row.posted, row.happened].into_iter();
        let figures = pairs.flat_map(|Sides { debit, credit }| [debit, credit]);
        let figures = figures.chain(std::iter::once(row.elsewhere)).map(figure_or_blank);
        rows.add(std::iter::once(name(&row.account)).chain(figures).collect::<Vec<_>>());
    }
    let closed = r.closed.as_deref().unwrap_or("none");
    let state = words.of_family("closed", closed);
    let head = format!("{} {} · {state} · {}", words.of("month-report"), r.month, r.currency);
    [head, rows.text()].join("\n")
}

fn group(r: &GroupReport, words: &Words) -> String {
    let heads = ["company", "currency", "value", "group-cost", "unrealised"];
    let mut companies = Rows::new(&heads.map(|key| words.of(key)));
    for row in &r.companies {
        let figures = [row.value, row.group_cost, row.unrealised].map(figure);
        companies.add([name(&row.company), left(&row.currency)].into_iter().chain(figures));
    }
    let mut lines = vec![companies.text()];
    if !r.sales.is_empty() {
        let heads = [
            "seller",
            "buyer",
            "currency",
            "inter-company-revenue",
            "inter-company-cost",
            "inter-company-receivable",
            "inter-company-payable",
            "on-the-way-between",
            "group-cost",
        ];
        let mut sales = Rows::new(&heads.map(|key| words.of(key)));
        for row in &r.sales {
            let payable = format!("{} {}", row.payable.grouped(), row.payable_currency);
            sales.add([
                name(&row.from),
                name(&row.to),
                left(&row.currency),
                figure(row.revenue),
                figure(row.cost),
                figure(row.receivable),
                number(payable),
                figure(row.on_the_way),
                figure(row.on_the_way_cost),
            ]);
        }
        lines.extend([format!("\n{}", words.of("sold-between-companies")), sales.text()]);
    }
    if !r.rows.is_empty() {
        let heads = [
            "company",
            "site",
            "item",
            "lot",
            "quantity",
            "unit",
            "value",
            "group-cost",
            "unrealised",
        ];
        let mut rows = Rows::new(&heads.map(|key| words.of(key)));
        for row in &r.rows {
            rows.add([
                name(&row.company),
                name_or_blank(row.site.as_ref()),
                name(&row.item),
                left(row.lot.as_deref().unwrap_or_default()),
                figure(row.quantity),
                left(&row.unit),
                figure(row.value),
                figure(row.group_cost),
                figure(row.unrealised),
            ]);
        }
        lines.extend([format!("\n{}", words.of("goods-of-other-companies")), rows.text()]);
    }
    lines.join("\n") + &of_pages(r.page, r.pages)
}

fn account(r: &AccountLedger, words: &Words) -> String {
    let heads = ["voucher-number", "date", "summary", "fact", "debit", "credit", "balance"];
    let mut rows = Rows::new(&heads.map(|key| words.of(key)));
    for line in &r.lines {
        rows.add([
            left(&line.voucher),
            left(line.day),
            left(summary(&line.summary, words)),
            left(line.capture.map(|capture| capture.to_string()).unwrap_or_default()),
            figure_or_blank(line.sides.debit),
            figure_or_blank(line.sides.credit),
            figure(line.balance),
        ]);
    }
    let opening = format!("{}: {}", words.of("opening-balance"), r.opening.grouped());
    let closing = format!("{}: {}", words.of("closing-balance"), r.closing.grouped());
    [both(&r.account), opening, rows.text(), closing].join("\n") + &of_pages(r.page, r.pages)
}

fn open_items(r: &OpenItems, words: &Words) -> String {
    let mut parts = Vec::new();
    for side in &r.sides {
        let heads = ["fact", "document", "partner", "date", "due", "age-days", "amount", "open"];
        let mut rows = Rows::new(&heads.map(|key| words.of(key)));
        for row in &side.rows {
            rows.add([
                left(row.capture),
                left(row.document.as_deref().unwrap_or_default()),
                name(&row.partner),
                left(row.day),
                left(row.due.map(|due| due.to_string()).unwrap_or_default()),
                number(row.age),
                figure(row.amount),
                figure(row.open),
            ]);
        }
        let title = words.of_family("role", &side.role);
        parts.push(format!("{title}: {} {}", side.total.grouped(), r.currency));
        let (items, control) = (words.of("open-items-sum"), words.of("control-account"));
        parts.push(tie(items, control, side.difference, r.settling, words));
        parts.push(rows.text());
    }
    let receipts = &r.received_not_invoiced;
    let heads =
        ["fact", "partner", "date", "site", "item", "age-days", "quantity", "unit", "value"];
    let mut rows = Rows::new(&heads.map(|key| words.of(key)));
    for row in &receipts.rows {
        rows.add([
            left(row.capture),
            name_or_blank(row.partner.as_ref()),
            left(row.day),
            name(&row.site),
            name(&row.item),
            number(row.age),
            figure(row.quantity),
            left(&row.unit),
            figure(row.value),
        ]);
    }
    let title = words.of("received-not-invoiced");
    parts.push(format!("{title}: {} {}", receipts.total.grouped(), r.currency));
    let (items, control) = (words.of("open-receipts-sum"), words.of("control-account"));
    parts.push(tie(items, control, receipts.difference, r.settling, words));
    parts.push(rows.text());
    parts.join("\n") + &of_pages(r.page, r.pages)
}

fn set_aside(r: &SetAside, words: &Words) -> String {
    let heads = ["fact", "kind", "site", "received-at", "facts", "why-it-waits"];
    let mut rows = Rows::new(&heads.map(|key| words.of(key)));
    for row in &r.rows {
        rows.add([
            left(row.capture.map_or_else(|| row.seq.to_string(), |capture| capture.to_string())),
            left(words.of_family("kind", &row.kind)),
            name(&row.site),
            moment(Some(row.received_at)),
            number(row.facts),
            left(&row.why),
        ]);
    }
    rows.text() + &of_pages(r.page, r.pages)
}

fn in_doubt(r: &SetAside, words: &Words) -> String {
    let heads =
        ["site", "place-in-log", "facts", "fact", "kind", "recorded-between", "received-at"];
    let mut rows = Rows::new(&heads.map(|key| words.of(key)));
    for row in &r.rows {
        rows.add([
            name(&row.site),
            number(row.seq),
            number(row.facts),
            left(row.capture.map_or_else(String::new, |capture| capture.to_string())),
            left(words.of_family("kind", &row.kind)),
            left(row.between.map(|between| between.text()).unwrap_or_default()),
            moment(Some(row.received_at)),
        ]);
    }
    rows.text() + &of_pages(r.page, r.pages)
}
