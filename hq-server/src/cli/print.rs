//! Answers on the terminal: JSON as it came, or tables. Knows no answer in particular.

use std::fmt::Display;
use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use super::error::CliError;
use crate::report::table::text_of;
use crate::report::words::Language;

/// Prints a line. Whoever reads may have seen enough and closed the pipe.
pub(super) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints JSON, one line per answer.
pub(super) fn json(value: &Value) {
    line(value);
}

/// Prints why a command failed, to standard error.
pub(super) fn problem(error: &CliError, as_json: bool) {
    let text = if as_json { error.view().to_string() } else { format!("hq-server: {error}") };
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// Prints how the installation stands.
pub(super) fn status(value: &Value, as_json: bool) {
    if as_json {
        return json(value);
    }
    line(format_args!("{}, history {}", plain(&value["program"]), short(&value["history"])));
    line(format_args!("position {}", plain(&value["position"])));
    if let Some(waiting) = value["waiting"].as_u64().filter(|waiting| *waiting > 0) {
        line(format_args!("{waiting} wait for something: see 'hq-server report set-aside'"));
    }
    if let Some(failure) = value["failure"].as_str() {
        line(format_args!("posting has stopped: {failure}"));
    }
    for lost in value["lost"].as_array().into_iter().flatten() {
        let (at, after, skipped) = (plain(&lost["stated_at"]), &lost["after"], &lost["skipped"]);
        let log = short(&lost["log"]);
        line(match lost["lost"].as_str() {
            None => format!(
                "restored from a backup at {at}: what HQ had stated after fact {after} of its log {log} \
                 is lost, and numbers of new things go on {skipped} higher"
            ),
            Some(newest) => format!(
                "known since {at}: HQ had stated facts up to {newest} that are lost; enter again what \
                 is missing. Voucher numbers: 'hq-server report vouchers'"
            ),
        });
    }
    let logs = value["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = |log: &Value| {
        let names = [
            "code",
            "device",
            "announced",
            "received",
            "sealed",
            "posted",
            "safe",
            "behind",
            "set_aside",
        ];
        let mut row: Vec<String> = names.iter().map(|name| plain(&log[*name])).collect();
        row.insert(2, short(&log["log"]));
        // HQ's own log needs no connection.
        let is_site = log["site"] != 0;
        row.push(if is_site { link(log) } else { String::new() });
        row.push(log["clock_ahead_ms"].as_i64().map_or_else(String::new, clock));
        row
    };
    let header = [
        "site",
        "device",
        "log",
        "at site",
        "received",
        "sealed",
        "posted",
        "safe",
        "behind",
        "set aside",
        "link",
        "clock",
    ];
    let mut table = table(&header);
    table.add_rows(logs.iter().map(shown));
    for index in [1, 3, 4, 5, 6, 7, 8, 9] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(table);
    for log in logs {
        told_of_link(log);
        if let (Some(made_at), Some(taken_at)) =
            (log["bundle_made_at"].as_str(), log["bundle_taken_at"].as_str())
        {
            let by = log["bundle_by"].as_str();
            let by = by.map_or_else(|| "in a file".to_owned(), |by| format!("by way of {by}"));
            line(format_args!(
                "{} device {}: last bundle made at {made_at}, came at {taken_at} {by}",
                plain(&log["code"]),
                log["device"]
            ));
        }
        if let Some(forged) = log["forged"].as_str() {
            line(format_args!("{} device {}: {forged}", plain(&log["code"]), log["device"]));
        }
        if let Some(refusal) = log["refusal"].as_str() {
            line(format_args!("{} device {}: {refusal}", plain(&log["code"]), log["device"]));
        }
        if let Some(after) =
            log["branch"]["after"].as_u64().filter(|_| log["branch"]["ruled"] != true)
        {
            let (code, device) = (plain(&log["code"]), &log["device"]);
            line(format_args!(
                "{code} device {device}: a branch, the same log up to fact {after} and another one \
                 after it: the box was copied, or restored from an older image. Both are booked; \
                 stop one, and enrol the other anew ('hq-server site code {code}'). What was told \
                 twice: 'hq-server same-as {device}-NUMBER KEPT', or 'hq-server void \
                 {device}-NUMBER'. Then 'hq-server rule {device}' ends the doubt."
            ));
        }
    }
}

/// How a site's connection is.
fn link(log: &Value) -> String {
    match (log["connected"].as_bool(), log["quality"]["rtt_ms"].as_u64()) {
        (Some(true), Some(rtt)) => {
            let lost = log["quality"]["lost_permille"].as_u64().unwrap_or(0);
            format!("{rtt} ms, {}.{} % lost", lost / 10, lost % 10)
        }
        (Some(true), None) => "connected".to_owned(),
        _ => "off".to_owned(),
    }
}

/// How complete a site that is away is, and why it was last cut off.
fn told_of_link(log: &Value) {
    let name = format!("{} device {}", plain(&log["code"]), log["device"]);
    let is_away = log["site"] != 0 && log["connected"] == false;
    if let Some(complete_to) = log["complete_to"].as_str().filter(|_| is_away) {
        let heard = log["heard_at"].as_str();
        let heard = heard
            .map_or_else(|| "not heard since HQ started".to_owned(), |at| format!("heard at {at}"));
        line(format_args!("{name}: complete up to {complete_to}, {heard}"));
    }
    if let (Some(at), Some(why)) = (log["last_error_at"].as_str(), log["last_error"].as_str()) {
        line(format_args!("{name}: cut off at {at}: {why}"));
    }
}

/// The beginning of an id: enough to tell it from others.
fn short(id: &Value) -> String {
    plain(id).chars().take(16).collect()
}

/// How a site's clock differs, where it matters.
fn clock(ahead_ms: i64) -> String {
    let minutes = ahead_ms.unsigned_abs() / 60_000;
    match (minutes, ahead_ms > 0) {
        (0..5, _) => "ok".to_owned(),
        (_, true) => format!("{minutes} min ahead"),
        (_, false) => format!("{minutes} min behind"),
    }
}

/// Prints an answer.
pub(super) fn answer(value: &Value, as_json: bool) {
    if as_json {
        return json(value);
    }
    match value {
        Value::Object(fields) => object(fields),
        Value::Array(rows) => list(rows),
        other => line(plain(other)),
    }
}

/// Prints a report as its page shows it, in the language of the environment.
pub(super) fn report(path: &str, value: &Value, as_json: bool) {
    let name =
        path.trim_start_matches("/api/reports/").split(['/', '?']).next().unwrap_or_default();
    let set =
        ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| std::env::var(name).ok());
    let language = set.and_then(|tag| Language::from_tag(&tag)).unwrap_or(Language::English);
    match text_of(name, value, language.words()) {
        Some(text) if !as_json => line(text),
        _ => answer(value, as_json),
    }
}

fn object(fields: &Map<String, Value>) {
    for (name, value) in fields {
        match value {
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                line(format_args!("{}:", words(name)));
                list(rows);
            }
            Value::Null => {}
            Value::Array(rows) if rows.is_empty() => {}
            other => line(format_args!("{}: {}", words(name), plain(other))),
        }
    }
}

fn list(rows: &[Value]) {
    if rows.is_empty() {
        return line("(none)");
    }
    let Some(Value::Object(first)) = rows.first() else {
        for row in rows {
            line(plain(row));
        }
        return;
    };
    let header: Vec<String> = first.keys().map(|name| words(name)).collect();
    let mut table = table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        table.add_row(first.keys().map(|name| plain(&row[name])));
    }
    for (index, name) in first.keys().enumerate() {
        if rows.iter().any(|row| is_figure(&row[name]))
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(table);
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A value in one line; things with a code and a name as both.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match (&fields.get("code"), &fields.get("name")) {
            (Some(code), Some(name)) if code != name => format!("{} {}", plain(code), plain(name)),
            (Some(code), _) => plain(code),
            _ => {
                let parts = fields.iter().filter(|(_, value)| !value.is_null());
                let parts = parts.map(|(name, value)| format!("{}: {}", words(name), plain(value)));
                parts.collect::<Vec<_>>().join("; ")
            }
        },
        Value::Number(number) => number.to_string(),
    }
}

fn is_figure(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
                && text.bytes().any(|byte| byte == b'.')
        }
        _ => false,
    }
}
