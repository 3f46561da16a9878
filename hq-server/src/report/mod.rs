//! Reports: what finance and managers ask of the books, as plain values with a JSON and a text
//! table. Pure: no clock, no I/O; a page or a command renders what is found here.
//!
//! Invariant: every report that shows stock, a subledger or a control account also shows what it
//! must equal, and the difference.

pub mod archive;
pub mod cost;
pub mod dashboard;
pub mod documents;
pub mod fact;
pub mod figure;
pub mod group;
pub mod ledger;
pub mod lens;
pub mod month;
pub mod open_items;
pub mod part;
pub mod set_aside;
pub mod stock;
pub mod table;
pub mod tally;
pub mod voucher;
pub mod words;
