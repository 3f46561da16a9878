//! One warehouse's node: records stock movements, alone for weeks if it must, and sends them to HQ.
//!
//! Data flows one way: keeper (`api`, `cli`, `import`), `record` (checks), `journal` (durable,
//! chained, sealed), `link` (to HQ), or `bundle` (a file to HQ). What people coordinate lies in
//! `documents`. Only `runtime` and the two adapters `api` and `link` touch sockets; only `journal` and
//! `documents` touch stores.

pub mod api;
pub mod bundle;
pub mod cli;
pub mod config;
pub mod counting;
pub mod data_dir;
pub mod documents;
pub mod import;
pub mod journal;
pub mod journal_link;
pub mod link;
pub mod neighbour;
pub mod record;
pub mod runtime;
pub mod web;
