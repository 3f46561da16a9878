//! The demonstration: a company with three warehouses and a trading month, played against real
//! processes from a seed. `story` says what happens, `stage` makes it happen, `closing` checks it.

pub mod closing;
pub mod stage;
pub mod story;
