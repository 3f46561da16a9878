//! HQ: puts the sites' facts in one order, values and posts them, and shows the result.
//!
//! Data flows one way: `gateway` (verified, durable) -> `sequencer` (one order) -> `books` (a pure
//! fold) -> `store` (effects beside their place) -> `api` and `web` (readers). What HQ itself
//! states (master data, invoices, payments) enters by `own_log` through the same gateway.

mod address;
pub mod api;
pub mod authority;
mod beside;
pub mod books;
pub mod chart;
pub mod cli;
pub mod clock;
pub mod gateway;
pub mod headquarters;
pub mod own_log;
pub mod report;
pub mod runtime;
pub mod sequencer;
pub mod store;
pub mod web;
