//! The published costing cases, where they are at hand: what the books make of them must be what
//! the cases say, to the last digit. Reads figures, never copies them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use shared::quantity::Scaled;
use tests::costing_cases::answer;

/// Why a case may have no answer yet.
const NOT_BUILT: [&str; 2] = ["no fact states a ", "is not built"];

#[test]
fn the_books_agree_with_the_published_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases/costing");
    let folder = std::env::var("WAREBOOK_CASES").map_or(folder, Into::into);
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there is no folder {}", folder.display());
        return;
    };
    let (mut agreed, mut open, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for file in files {
        let path = file.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let cases: Vec<Value> = serde_json::from_str(&text).expect("an array of cases");
        for case in &cases {
            let method = case["method"].as_str().expect("a method").to_owned();
            let answer = answer(case);
            let why = answer["error"].as_str().unwrap_or_default();
            if NOT_BUILT.iter().any(|open| why.contains(open)) {
                *open.entry(method).or_insert(0) += 1;
                continue;
            }
            let differences = differences(&case["expect"], &answer["computed"]);
            if why.is_empty() && differences.is_empty() {
                *agreed.entry(method).or_insert(0) += 1;
            } else {
                wrong.push(format!("{}: {why} {}", case["id"], differences.join("; ")));
            }
        }
    }
    println!("agreed: {agreed:?}, not built: {open:?}");
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!agreed.is_empty(), "the folder holds cases");
}

/// The figures that differ.
fn differences(expect: &Value, computed: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (key, expected) in expect.as_object().expect("an object") {
        match key.as_str() {
            "rejected" => {}
            "final" => {
                for (key, expected) in expected.as_object().expect("an object") {
                    let computed = &computed["final"][key];
                    match key.as_str() {
                        "gl" => ledger(expected, computed, &expect["final"], &mut found),
                        "gl_complete" => {}
                        _ => compare(&format!("final.{key}"), expected, computed, &mut found),
                    }
                }
            }
            _ => compare(key, expected, &computed[key], &mut found),
        }
    }
    let refused = |value: &Value| value["rejected"].as_array().cloned().unwrap_or_default();
    if refused(expect) != refused(computed) {
        found.push(format!("rejected {:?} not {:?}", refused(computed), refused(expect)));
    }
    found
}

fn compare(path: &str, expected: &Value, computed: &Value, found: &mut Vec<String>) {
    match expected {
        Value::Array(rows) => {
            let others = computed.as_array().map_or(&[][..], Vec::as_slice);
            if rows.len() != others.len() {
                found.push(format!("{path}: {} rows not {}", others.len(), rows.len()));
            }
            for (index, (row, other)) in rows.iter().zip(others).enumerate() {
                let place = row["n"].as_u64().map_or(index.to_string(), |n| format!("n={n}"));
                compare(&format!("{path}[{place}]"), row, other, found);
            }
        }
        Value::Object(fields) => {
            let none = fields.get("qty").and_then(Value::as_str).is_some_and(is_zero);
            for (key, figure) in fields {
                let path = format!("{path}.{key}");
                let other = &computed[key];
                match key.as_str() {
                    "qty" | "value" | "amount" => equal(&path, figure, other, found),
                    "unit_cost" if !none => near(&path, figure, other, found),
                    _ => {}
                }
            }
        }
        figure => equal(path, figure, computed, found),
    }
}

fn decimal(value: &Value) -> Option<Scaled> {
    shared::decimal::parse(value.as_str()?).ok().map(Scaled::normalized)
}

fn is_zero(text: &str) -> bool {
    shared::decimal::parse(text).is_ok_and(|figure| figure.mantissa() == 0)
}

fn equal(path: &str, expected: &Value, computed: &Value, found: &mut Vec<String>) {
    if !expected.is_null() && decimal(expected) != decimal(computed) {
        found.push(format!("{path} is {computed} not {expected}"));
    }
}

/// Within one unit of the last decimal shown, 0.005 where none is shown.
fn near(path: &str, expected: &Value, computed: &Value, found: &mut Vec<String>) {
    let Some(text) = expected.as_str() else { return };
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let scaled = |text: &str| {
        let figure = shared::decimal::parse(text).expect("a decimal");
        let shift = u32::try_from(12 + i32::from(figure.exponent())).expect("few decimals");
        i128::from(figure.mantissa()) * 10i128.pow(shift)
    };
    let room = match decimals {
        0 => 5 * 10i128.pow(9),
        some => 10i128.pow(12 - u32::try_from(some).expect("few decimals")),
    };
    let other = computed.as_str().map(scaled);
    if other.is_none_or(|other| (other - scaled(text)).abs() > room) {
        found.push(format!("{path} is {computed} not {expected}"));
    }
}

/// Only the net of each role counts.
fn ledger(expected: &Value, computed: &Value, last: &Value, found: &mut Vec<String>) {
    let nets = |rows: &Value| {
        let mut nets: BTreeMap<String, i128> = BTreeMap::new();
        for row in rows.as_array().into_iter().flatten() {
            let cents = |key: &str| {
                let figure = decimal(&row[key]).expect("a decimal");
                i128::from(figure.units(2).expect("whole cents"))
            };
            let role = row["account_role"].as_str().expect("a role").to_owned();
            *nets.entry(role).or_default() += cents("debit") - cents("credit");
        }
        nets
    };
    let (expected, computed) = (nets(expected), nets(computed));
    for (role, net) in &expected {
        if computed.get(role) != Some(net) {
            found.push(format!("{role} is {:?} not {net}", computed.get(role)));
        }
    }
    if last["gl_complete"] == true {
        for (role, net) in computed.iter().filter(|(role, _)| !expected.contains_key(*role)) {
            if *net != 0 {
                found.push(format!("{role} has {net}, nothing is expected"));
            }
        }
    }
}
