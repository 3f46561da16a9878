//! Cross-crate proof that the product does what it says: golden vectors, the naive model, crashes,
//! real processes, real input. Knows the product's crates; none of them knows this one.

pub mod agreement;
pub mod arrival;
pub mod bench;
pub mod costing_cases;
pub mod decoder;
pub mod demo;
pub mod history;
pub mod memory_edge;
pub mod model;
pub mod namespaces;
pub mod power_cut;
pub mod processes;
pub mod random;
pub mod real_input;
pub mod relay;
pub mod simulate;
