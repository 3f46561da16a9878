//! Published costing cases, computed by the books: each event becomes a fact, and what is asked
//! for is read from the books of the facts known at that point. Knows the form of the cases and
//! how facts state their events; knows no rule of costing.

mod answer;
mod figures;
mod story;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

pub use story::{Story, Untold};

/// The answer to one case: what was computed, or why it was not.
pub fn answer(case: &Value) -> Value {
    let id = &case["id"];
    let computed = catch_unwind(AssertUnwindSafe(|| {
        let story = Story::read(case)?;
        Ok::<_, Untold>(answer::computed(&story))
    }));
    match computed {
        Ok(Ok(computed)) => json!({ "id": id, "computed": computed }),
        Ok(Err(untold)) => json!({ "id": id, "error": untold.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            json!({ "id": id, "error": text })
        }
    }
}
