//! Items, partners and rates from CSV files: read whole, checked by HQ, all or nothing.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::CliError;
use super::call::Client;

/// How many rows one request carries.
const ROWS_MAX: usize = 5_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemRow {
    code: String,
    name: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    decimals: Option<u8>,
    #[serde(default)]
    cost: String,
    #[serde(default)]
    service: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartnerRow {
    code: String,
    name: String,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    supplier: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateRow {
    currency: String,
    rate: String,
    from: String,
    #[serde(default)]
    until: String,
}

/// Sets the rates of a file.
pub(super) fn rates(client: &Client<'_>, file: &Path) -> Result<Value, CliError> {
    let body = |row: RateRow| {
        Ok(json!({
            "currency": row.currency,
            "rate": row.rate,
            "from": row.from,
            "until": (!row.until.is_empty()).then_some(row.until),
        }))
    };
    send(client, "/api/rates", &read(file, body)?)
}

/// Adds the items of a file.
pub(super) fn items(client: &Client<'_>, file: &Path) -> Result<Value, CliError> {
    let body = |row: ItemRow| {
        let or =
            |value: String, usual: &str| if value.is_empty() { usual.to_owned() } else { value };
        Ok(json!({
            "code": row.code,
            "name": row.name,
            "category": or(row.category, "goods"),
            "unit": or(row.unit, "EA"),
            "decimals": row.decimals.unwrap_or(0),
            "service": yes(&row.service)?,
            "cost": (!row.cost.is_empty()).then_some(row.cost),
        }))
    };
    send(client, "/api/items", &read(file, body)?)
}

/// Adds the partners of a file.
pub(super) fn partners(client: &Client<'_>, file: &Path) -> Result<Value, CliError> {
    let body = |row: PartnerRow| {
        Ok(json!({
            "code": row.code,
            "name": row.name,
            "customer": yes(&row.customer)?,
            "supplier": yes(&row.supplier)?,
        }))
    };
    send(client, "/api/partners", &read(file, body)?)
}

fn yes(written: &str) -> Result<bool, String> {
    match written.trim().to_ascii_lowercase().as_str() {
        "" | "0" | "no" | "false" => Ok(false),
        "1" | "yes" | "true" | "x" => Ok(true),
        other => Err(format!("'{other}' is neither yes nor no")),
    }
}

fn read<R: for<'de> Deserialize<'de>>(
    file: &Path,
    body: impl Fn(R) -> Result<Value, String>,
) -> Result<Vec<Value>, CliError> {
    let fail = |line: Option<u64>, why: String| {
        let line = line.map_or_else(String::new, |line| format!(" line {line}"));
        CliError::Refused(format!("{}{line}: {why}; nothing was imported", file.display()))
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(file)
        .map_err(|error| fail(None, error.to_string()))?;
    let mut bodies = Vec::new();
    let headers = reader.headers().map_err(|error| match error.kind() {
        csv::ErrorKind::Utf8 { .. } => fail(Some(1), "no UTF-8: save the file as UTF-8".to_owned()),
        _ => fail(Some(1), error.to_string()),
    })?;
    let headers = headers.clone();
    if headers.is_empty() {
        return Err(fail(None, "the file is empty; its first line names the columns".to_owned()));
    }
    for record in reader.records() {
        let record = record
            .map_err(|error| fail(error.position().map(csv::Position::line), error.to_string()))?;
        let line = record.position().map(csv::Position::line);
        let row =
            record.deserialize(Some(&headers)).map_err(|error| fail(line, error.to_string()))?;
        bodies.push(body(row).map_err(|why| fail(line, why))?);
    }
    Ok(bodies)
}

fn send(client: &Client<'_>, path: &str, bodies: &[Value]) -> Result<Value, CliError> {
    let mut added = 0;
    for rows in bodies.chunks(ROWS_MAX) {
        client.post(path, &Value::Array(rows.to_vec())).map_err(|error| match error {
            CliError::Answer { status, text } if added > 0 => {
                let text = format!("{text}; the first {added} rows are imported");
                CliError::Answer { status, text }
            }
            other => other,
        })?;
        added += rows.len();
    }
    Ok(json!({ "added": added }))
}
