//! How the link to HQ stands, for people and for the API. Knows no connection.

use serde::Serialize;
use shared::time::Timestamp;

use super::profile::{Measured, Profile};

/// What the link does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Waiting before the next attempt.
    #[default]
    Waiting,
    /// Looking for HQ.
    Connecting,
    /// HQ takes part.
    Online,
    /// HQ refuses; a person has to do something.
    Refused,
}

impl LinkState {
    /// The word of command line and reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Refused => "refused",
        }
    }
}

/// How the link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkStatus {
    /// What it does.
    pub state: LinkState,
    /// The last error, and what to do; gone once HQ takes part.
    pub problem: Option<String>,
    /// When HQ was last heard, by the node's clock.
    pub heard_at: Option<Timestamp>,
    /// HQ's program and version.
    pub hq_program: Option<String>,
    /// How far the node's clock is ahead of HQ's, in milliseconds; negative behind.
    pub clock_ahead_ms: Option<i64>,
    /// HQ's time at the last welcome: a floor of the node's clock.
    pub hq_time: Option<Timestamp>,
    /// What HQ lost, if it did, and what became of it.
    pub warning: Option<String>,
    /// How the present or next connection is treated.
    pub profile: Profile,
    /// How the link was when last connected.
    pub measured: Option<Measured>,
}
