//! Reads one JSON array of costing cases on standard input and writes one JSON object a case to
//! standard output: what the books make of it. Figures of `expect` are never read, only which are
//! asked for.

use std::io::{Read, Write};

use tests::costing_cases::answer;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    let mut out = std::io::stdout().lock();
    for case in &cases {
        writeln!(out, "{}", answer(case))?;
        out.flush()?;
    }
    Ok(())
}
