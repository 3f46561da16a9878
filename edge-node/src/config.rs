//! `node.toml`: what the operator sets. Unknown keys are errors that name the line and the nearest
//! known key, so that a slip is not silently ignored.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::journal::KEYS_KEPT_DAYS;
use crate::link::{Network, NoProfile};
use crate::neighbour::NeighbourConfig;

/// The version of the file that this program reads.
const VERSION: i64 = 1;

/// Every key, by section.
const KEYS: &[(&str, &[&str])] = &[
    ("", &["version", "hq", "link", "neighbours", "api", "site", "store"]),
    ("hq", &["address"]),
    ("link", &["profile", "rate_kbits", "metered_minutes"]),
    ("neighbours", &["listen", "addresses", "discover", "after_seconds", "carry_mib"]),
    ("api", &["listen", "token_file"]),
    ("site", &["zone"]),
    ("store", &["cache_mib", "keys_kept_days"]),
];

/// What a new node's file says.
pub const TEMPLATE: &str = r#"# What this edge node is told by its operator. Every key is optional but the version.
version = 1

[hq]
# Where HQ listens: host and port.
# address = "hq.example.com:7420"

[link]
# The network to HQ: auto (what the last connections measured), normal, lossy (many packets are
# lost), satellite (long round trips), metered (every byte is paid for: connects on a schedule).
profile = "auto"
# What the network carries, in kbit/s, where you know. A satellite link then sends at that rate,
# whatever is lost.
# rate_kbits = 2000
# How often a metered link connects, in minutes.
metered_minutes = 15

[neighbours]
# Warehouses that carry this node's data, sealed, while it does not reach HQ; HQ allows it with
# 'hq-server site carry'. Host and port of each.
# addresses = ["10.0.3.2:7421"]
# Whether neighbours are also looked for on the local network (multicast DNS), and this node is
# announced there, by its number and port. Whoever is found has to show HQ's certificate, and is met
# where HQ lets the one carry for the other. Without 'listen' a free port is taken.
discover = false
# Where neighbours find this node, to have theirs carried (UDP).
# listen = "0.0.0.0:7421"
# For how many seconds HQ is not reached before a neighbour is asked.
after_seconds = 60
# What this node keeps for its neighbours at most.
carry_mib = 256

[api]
# Where the local API listens. Port 0 takes a free one; the file api.addr says which.
# Bound wider than this machine it needs a token file: one line, shown as a bearer token.
listen = "127.0.0.1:0"
# token_file = "api.token"

[site]
# The time zone of dates that state none; the machine's own where absent.
# zone = "Asia/Shanghai"

[store]
# Memory for the journal's pages.
cache_mib = 32
# For how many days a request's key is remembered once HQ has what was recorded under it: within
# them the same request, or the same import file, records nothing again.
keys_kept_days = 30
"#;

/// What the operator set, with defaults for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where HQ listens.
    pub hq_address: Option<String>,
    /// The network to HQ.
    pub network: Network,
    /// Neighbouring warehouses.
    pub neighbours: NeighbourConfig,
    /// Where the local API listens.
    pub api_listen: SocketAddr,
    /// One line that callers of the API must show.
    pub api_token_file: Option<PathBuf>,
    /// The time zone of dates that state none.
    pub zone: Option<String>,
    /// What redb may keep in memory.
    pub cache_bytes: usize,
    /// For how long idempotency keys are remembered once HQ has their facts.
    pub keys_kept_days: u16,
}

/// Why a configuration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{} can't be read ({why}): run 'edge-node init' first, or name the right folder with --data", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// It is no TOML, or a value has the wrong type.
    #[error("{}: {why}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// With line and column.
        why: String,
    },
    /// A key that is not known.
    #[error("{}:{line}: there is no key '{key}'{}; the comments of a fresh node.toml ('edge-node init') name every key", .file.display(), nearest_text(.nearest.as_deref()))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Where.
        line: usize,
        /// With its section.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
    /// Another version.
    #[error("{}: version {found} is not known to this program, which reads version 1: update edge-node", .file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
    },
    /// A zone that is none.
    #[error("{}: '{zone}' is no time zone: write one like Asia/Shanghai", .file.display())]
    Zone {
        /// The file.
        file: PathBuf,
        /// What it says.
        zone: String,
    },
    /// A profile that is none.
    #[error("{}: {why}", .file.display())]
    Profile {
        /// The file.
        file: PathBuf,
        /// What there is.
        why: NoProfile,
    },
}

fn nearest_text(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(", did you mean '{nearest}'?"))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sections {
    hq: Hq,
    link: Link,
    neighbours: Neighbours,
    api: Api,
    site: Site,
    store: Store,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hq {
    address: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    profile: Option<String>,
    rate_kbits: Option<NonZeroU32>,
    metered_minutes: Option<NonZeroU16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Neighbours {
    listen: Option<SocketAddr>,
    addresses: Vec<String>,
    discover: bool,
    after_seconds: Option<u32>,
    carry_mib: Option<u16>,
}

impl From<Neighbours> for NeighbourConfig {
    fn from(set: Neighbours) -> Self {
        let usual = Self::default();
        Self {
            listen: set.listen,
            addresses: set.addresses,
            discover: set.discover,
            after: set.after_seconds.map_or(usual.after, |after| Duration::from_secs(after.into())),
            quota_bytes: set.carry_mib.map_or(usual.quota_bytes, |mib| u64::from(mib) << 20),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Api {
    listen: Option<SocketAddr>,
    token_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Site {
    zone: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Store {
    cache_mib: Option<u16>,
    keys_kept_days: Option<u16>,
}

impl Link {
    fn network(&self) -> Result<Network, NoProfile> {
        let usual = Network::default();
        let minutes = |minutes: NonZeroU16| Duration::from_secs(u64::from(minutes.get()) * 60);
        Ok(Network {
            choice: self.profile.as_deref().map_or(Ok(usual.choice), str::parse)?,
            rate_kbits: self.rate_kbits.map(NonZeroU32::get),
            metered_every: self.metered_minutes.map_or(usual.metered_every, minutes),
        })
    }
}

impl Config {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable {
            file: file.to_owned(),
            why: error.to_string(),
        })?;
        Self::parse(file, &text)
    }

    /// Reads the text of the file.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let malformed = |error: toml::de::Error| ConfigError::Malformed {
            file: file.to_owned(),
            why: error.to_string(),
        };
        let table: toml::Table = text.parse().map_err(malformed)?;
        check_version(file, &table)?;
        check_keys(file, text, &table)?;
        let sections: Sections = toml::from_str(text).map_err(malformed)?;
        if let Some(zone) = &sections.site.zone
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            return Err(ConfigError::Zone { file: file.to_owned(), zone: zone.clone() });
        }
        let network = sections.link.network();
        let network = network.map_err(|why| ConfigError::Profile { file: file.to_owned(), why })?;
        let beside = |path: PathBuf| file.parent().unwrap_or(Path::new(".")).join(path);
        Ok(Self {
            hq_address: sections.hq.address,
            network,
            neighbours: sections.neighbours.into(),
            api_listen: sections.api.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            api_token_file: sections.api.token_file.map(beside),
            zone: sections.site.zone,
            cache_bytes: usize::from(sections.store.cache_mib.unwrap_or(32).max(4)) << 20,
            keys_kept_days: sections.store.keys_kept_days.unwrap_or(KEYS_KEPT_DAYS),
        })
    }

    /// The zone of dates that state none.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        let named = self.zone.as_deref().and_then(|zone| jiff::tz::TimeZone::get(zone).ok());
        named.unwrap_or_else(jiff::tz::TimeZone::system)
    }
}

fn check_version(file: &Path, table: &toml::Table) -> Result<(), ConfigError> {
    match table.get("version") {
        Some(toml::Value::Integer(VERSION)) => Ok(()),
        Some(other) => {
            Err(ConfigError::Version { file: file.to_owned(), found: other.to_string() })
        }
        None => Err(ConfigError::Version { file: file.to_owned(), found: "(none)".to_owned() }),
    }
}

fn check_keys(file: &Path, text: &str, table: &toml::Table) -> Result<(), ConfigError> {
    check_section(file, text, "", table)?;
    for (section, value) in table {
        if let toml::Value::Table(inner) = value {
            check_section(file, text, section, inner)?;
        }
    }
    Ok(())
}

fn check_section(
    file: &Path,
    text: &str,
    section: &str,
    table: &toml::Table,
) -> Result<(), ConfigError> {
    let known = KEYS.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, keys)| keys);
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let full =
        |key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    Err(ConfigError::UnknownKey {
        file: file.to_owned(),
        line: line_of(text, section, unknown),
        key: full(unknown),
        nearest: nearest(unknown, known).map(full),
    })
}

/// The line on which a key of a section stands, or the section itself; 1 where it is written in a
/// way that this does not see.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut within = section.is_empty();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let name = name.trim();
            within = name == section;
            if section.is_empty() && name == key {
                return index + 1;
            }
        }
        let before = line.split(['=', '.']).next().unwrap_or("").trim().trim_matches('"');
        if within && before == key {
            return index + 1;
        }
    }
    1
}

/// The candidate most like `word`, if one is.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let close = candidates.iter().map(|candidate| (distance(word, candidate), *candidate));
    let (distance, candidate) = close.min()?;
    (distance <= word.chars().count().max(3) / 2 + 1).then_some(candidate)
}

/// How many letters must be changed, added or dropped.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, candidate) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("node.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_is_the_default() {
        let config = parse(TEMPLATE).expect("the template reads");
        assert_eq!(Ok(config.clone()), parse("version = 1"));
        assert!(config.api_listen.ip().is_loopback());
        assert_eq!((config.cache_bytes, config.keys_kept_days), (32 << 20, 30));
        assert_eq!(config.neighbours, NeighbourConfig::default());
        assert_eq!(
            parse("version = 1\n[store]\nkeys_kept_days = 7").map(|set| set.keys_kept_days),
            Ok(7)
        );
    }

    #[test]
    fn slips_are_named() {
        for (text, expected) in [
            ("version = 2", "node.toml: version 2 is not known"),
            ("[api]\nlisten = 'x'", "version (none) is not known"),
            (
                "version = 1\n[api]\n\nlisen = '127.0.0.1:0'",
                "node.toml:4: there is no key 'api.lisen', did you mean 'api.listen'?",
            ),
            ("version = 1\n[hqq]\n", "node.toml:2: there is no key 'hqq', did you mean 'hq'?"),
            ("version = 1\n[api]\nlisten = 'here'", "invalid socket address"),
            ("version = 1\n[site]\nzone = 'Mars/Olympus'", "'Mars/Olympus' is no time zone"),
            ("version = 1\nversion = 1", "duplicate key"),
        ] {
            let found = parse(text).expect_err(text);
            assert!(found.contains(expected), "{text:?} gives: {found}");
        }
    }
}
