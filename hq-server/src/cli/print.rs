//! Answers on the terminal: JSON as it came, or tables. Knows no answer in particular.

use std::fmt::Display;
use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value};

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
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(first.keys().map(|name| words(name)));
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
