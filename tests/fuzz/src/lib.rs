//! Hostile bytes for every decoder and for both ends of a session.

mod seeds;
mod targets;

pub use seeds::seeds;
pub use targets::{bundles, documents, edge_session, facts, frames, hq_session, segments};
