//! What a case asks for, read from the books: same keys, same rows, same order. Knows the form of
//! `expect`; takes no figure from it.

use std::collections::BTreeMap;

use hq_server::books::Books;
use serde_json::{Map, Value, json};
use shared::fact::statement::Role;
use shared::ids::AccountNo;

use super::figures::{MONEY_DECIMALS, QUANTITY_DECIMALS, shown, unit_cost};
use super::story::{Story, number, text};

/// Everything that is asked for.
pub(super) fn computed(story: &Story<'_>) -> Value {
    let expect = story.case["expect"].as_object().cloned().unwrap_or_default();
    let complete = story.books(|_| true);
    let waiting: Vec<_> = complete.waiting().map(|(_, group)| group.why.to_string()).collect();
    assert!(waiting.is_empty(), "facts wait: {waiting:?}");
    let mut computed = Map::new();
    for (key, rows) in &expect {
        let figures = match key.as_str() {
            "after_each" => {
                each(rows, |row| balance(story, &story.known_at(number(&row["n"])), row, false))
            }
            "as_of" => each(rows, |row| {
                let at = story.instant(text(&row["at"]));
                let books = story.books(|event| story.instant(text(&event["at"])) <= at);
                balance(story, &books, row, false)
            }),
            "issue_costs" => each(rows, |row| moved(story, &complete, row, i64::abs)),
            "issue_costs_on_arrival" => {
                each(rows, |row| moved(story, &story.known_at(number(&row["n"])), row, i64::abs))
            }
            "value_changes" => each(rows, |row| moved(story, &complete, row, |change| change)),
            "value_changes_on_arrival" => each(rows, |row| {
                moved(story, &story.known_at(number(&row["n"])), row, |change| change)
            }),
            "adjustments" => each(rows, |row| adjusted(story, &complete, row)),
            "final" => last(story, &complete, rows),
            _ => continue,
        };
        computed.insert(key.clone(), figures);
    }
    computed.insert("rejected".to_owned(), json!(story.refused()));
    Value::Object(computed)
}

/// The same rows with figures put in.
fn each(rows: &Value, figures: impl Fn(&Value) -> Vec<(&'static str, Value)>) -> Value {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    rows.iter()
        .map(|row| {
            let mut row = row.clone();
            for (key, figure) in figures(&row) {
                row[key] = figure;
            }
            row
        })
        .collect()
}

fn moved(
    story: &Story<'_>,
    books: &Books,
    row: &Value,
    sign: impl Fn(i64) -> i64,
) -> Vec<(&'static str, Value)> {
    let change = story.change(books, number(&row["n"]));
    vec![("amount", shown(sign(change).into(), MONEY_DECIMALS))]
}

fn adjusted(story: &Story<'_>, complete: &Books, row: &Value) -> Vec<(&'static str, Value)> {
    let n = number(&row["n"]);
    let first = story.change(&story.known_at(n), n).abs();
    let corrected = i128::from(story.change(complete, n).abs()) - i128::from(first);
    vec![("amount", shown(corrected, MONEY_DECIMALS))]
}

fn balance(
    story: &Story<'_>,
    books: &Books,
    row: &Value,
    with_cost: bool,
) -> Vec<(&'static str, Value)> {
    let (units, value) = story.standing(books, row);
    let mut figures =
        vec![("qty", shown(units, QUANTITY_DECIMALS)), ("value", shown(value, MONEY_DECIMALS))];
    if with_cost {
        figures.push(("unit_cost", unit_cost(value, units)));
    }
    figures
}

fn last(story: &Story<'_>, books: &Books, expect: &Value) -> Value {
    let mut computed = expect.clone();
    for (key, asked) in expect.as_object().into_iter().flatten() {
        computed[key] = match key.as_str() {
            "stock" => each(asked, |row| balance(story, books, row, true)),
            "layers" => layers(books),
            "cogs" => shown(net(books, &[Role::CostOfSales]), MONEY_DECIMALS),
            "gl" => ledger(books, asked, expect["gl_complete"] == true),
            _ => continue,
        };
    }
    computed
}

fn layers(books: &Books) -> Value {
    let layers = books.pools().iter().flat_map(|pool| pool.state.stock.layers());
    layers
        .map(|layer| {
            json!({
                "qty": shown(layer.units.into(), QUANTITY_DECIMALS),
                "value": shown(layer.value.into(), MONEY_DECIMALS),
            })
        })
        .collect()
}

/// What a role of the cases is in the books.
const ROLES: &[(&str, &[Role])] = &[
    ("inventory", &[Role::Inventory, Role::InterSiteTransit]),
    ("grni", &[Role::ReceivedNotInvoiced, Role::BoughtInTransit]),
    ("ap", &[Role::Payable]),
    ("ar", &[Role::Receivable, Role::UnbilledReceivable]),
    ("revenue", &[Role::Revenue]),
    ("cogs", &[Role::CostOfSales]),
    ("price_difference", &[Role::ReturnDifference, Role::PriceVariance]),
    ("freight_accrual", &[Role::LandedCostClearing]),
    ("exchange_difference", &[Role::ExchangeDifference]),
];

fn ledger(books: &Books, asked: &Value, complete: bool) -> Value {
    let mut nets: BTreeMap<&str, i128> = BTreeMap::new();
    for role in Role::ALL {
        let word = ROLES.iter().find(|(_, roles)| roles.contains(role));
        let word = word.map_or(role.word(), |(word, _)| *word);
        *nets.entry(word).or_default() += net(books, &[*role]);
    }
    let mut rows = Vec::new();
    for row in asked.as_array().into_iter().flatten() {
        let word = text(&row["account_role"]);
        // A role in several rows is answered once; the rest of its rows are nothing.
        rows.push(line(word, nets.remove(word).unwrap_or(0)));
    }
    if complete {
        rows.extend(
            nets.into_iter().filter(|(_, net)| *net != 0).map(|(word, net)| line(word, net)),
        );
    }
    Value::Array(rows)
}

fn line(word: &str, net: i128) -> Value {
    json!({
        "account_role": word,
        "debit": shown(net.max(0), MONEY_DECIMALS),
        "credit": shown((-net).max(0), MONEY_DECIMALS),
    })
}

fn net(books: &Books, roles: &[Role]) -> i128 {
    roles.iter().map(|role| books.ledger().balance(AccountNo(*role as u32))).sum()
}
