//! The closing table of the demonstration, and what must hold in it.

use std::fmt::Write as _;

use serde_json::Value;

use super::stage::Stage;
use super::story::WAREHOUSES;
use crate::processes::{ProcessError, get};

/// The table as text, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Closing {
    /// What to print.
    pub text: String,
    /// Nothing, when all is well.
    pub wrong: Vec<String>,
}

/// Figures in minor units; `None` where a text is no figure.
fn fen(value: &Value) -> Option<i128> {
    let text = value.as_str()?.replace([',', ' '], "");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "00"));
    let part = format!("{part:0<2}");
    Some(sign * (whole.parse::<i128>().ok()? * 100 + part.get(..2)?.parse::<i128>().ok()?))
}

fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Reads every figure from the running processes.
pub fn closing(stage: &Stage) -> Result<Closing, ProcessError> {
    let mut closing = Closing::default();
    let api = stage.hq.api.as_str();
    let dashboard = get(api, "/api/reports/dashboard")?;
    let trial = get(api, "/api/reports/trial-balance")?;
    let open = get(api, "/api/reports/open-items")?;
    sites(stage, &dashboard, &mut closing)?;
    headquarters(&dashboard, &trial, &open, &mut closing);
    Ok(closing)
}

fn sites(stage: &Stage, dashboard: &Value, closing: &mut Closing) -> Result<(), ProcessError> {
    let out = &mut closing.text;
    let header = ["site", "movements", "items on hand", "value", "acknowledged", "posted"];
    writeln!(out, "{}", row(&header)).expect("to a string");
    for (warehouse, node) in WAREHOUSES.iter().zip(&stage.nodes) {
        let status = node.status()?;
        let stock = get(&node.api, "/v1/stock")?;
        let rows = stock.as_array().map_or_else(
            || stock["items"].as_array().or(stock["stock"].as_array()).map_or(0, Vec::len),
            Vec::len,
        );
        let sites = dashboard["sites"].as_array();
        let site = sites
            .and_then(|sites| sites.iter().find(|site| site["site"]["code"] == warehouse.code));
        let value = site.map_or("?", |site| shown(&site["value"]));
        let number = |key: &str| status[key].to_string();
        let cells = [
            warehouse.code,
            &number("last"),
            &rows.to_string(),
            value,
            &number("received"),
            &number("posted"),
        ];
        writeln!(out, "{}", row(&cells)).expect("to a string");
        if status["last"] != status["posted"] {
            closing.wrong.push(format!("{} is not posted up to its end", warehouse.code));
        }
    }
    Ok(())
}

fn headquarters(dashboard: &Value, trial: &Value, open: &Value, closing: &mut Closing) {
    let turnover = &trial["total"]["turnover"];
    let stock = &dashboard["stock"];
    let rows = [
        ("vouchers", dashboard["vouchers"].to_string()),
        ("trial balance, debit", shown(&turnover["debit"]).to_owned()),
        ("trial balance, credit", shown(&turnover["credit"]).to_owned()),
        ("inventory accounts", shown(&stock["ledger"]).to_owned()),
        ("stock subledger", shown(&stock["total"]).to_owned()),
        ("open receivables", shown(&dashboard["receivable"]).to_owned()),
        ("open payables", shown(&dashboard["payable"]).to_owned()),
        ("received, not invoiced", shown(&dashboard["received_not_invoiced"]).to_owned()),
        ("facts set aside", dashboard["quarantined"].to_string()),
    ];
    closing.text.push('\n');
    for (name, figure) in rows {
        writeln!(closing.text, "{name:<26}{figure:>16}").expect("to a string");
    }
    let mut must = |holds: bool, what: &str| {
        if !holds {
            closing.wrong.push(what.to_owned());
        }
    };
    let equal = |one: &Value, other: &Value| fen(one).is_some() && fen(one) == fen(other);
    must(equal(&turnover["debit"], &turnover["credit"]), "debits differ from credits");
    must(fen(&turnover["debit"]) > Some(0), "nothing is posted");
    must(equal(&stock["ledger"], &stock["total"]), "the subledger differs from the ledger");
    must(fen(&stock["difference"]) == Some(0), "the stock tie has a difference");
    must(dashboard["quarantined"] == 0, "facts are set aside");
    let sides = open["sides"].as_array().map_or(&[][..], Vec::as_slice);
    must(!sides.is_empty(), "there are no open items");
    for side in sides {
        must(fen(&side["difference"]) == Some(0), "open items differ from their account");
    }
}

fn row(cells: &[&str; 6]) -> String {
    let [site, movements, items, value, received, posted] = cells;
    format!("{site:<6}{movements:>11}{items:>15}{value:>16}{received:>14}{posted:>9}")
}
