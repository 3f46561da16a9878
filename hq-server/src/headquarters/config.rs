//! `hq.toml` and the API's token. Knows no default of its own that is not written down here.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The configuration's name.
pub(super) const FILE: &str = "hq.toml";

/// The token's file.
pub(super) const TOKEN_FILE: &str = "api.token";

/// The version of the file that this program reads.
const VERSION: u32 = 1;

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read or written.
    #[error("can't use {}: {error}; see that there is room and that this user may write it", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// It does not say what it should.
    #[error("{}: {error}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// Another version.
    #[error("{} has version {found}: this program reads version {VERSION}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// Addresses of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file's version.
    pub version: u32,
    /// Where pages and API are served. Beyond this machine callers need the token.
    #[serde(default = "default_api")]
    pub api: SocketAddr,
    /// Where sites connect (QUIC, UDP).
    #[serde(default = "default_link")]
    pub link: SocketAddr,
}

fn default_api() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7780))
}

fn default_link() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7420))
}

impl Default for Config {
    fn default() -> Self {
        Self { version: VERSION, api: default_api(), link: default_link() }
    }
}

impl Config {
    /// Reads the file of an installation.
    pub fn read(directory: &Path) -> Result<Self, ConfigError> {
        let file = directory.join(FILE);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| ConfigError::Io { file: file.clone(), error })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { file: file.clone(), error: Box::new(error) })?;
        if config.version != VERSION {
            return Err(ConfigError::Version { file, found: config.version });
        }
        Ok(config)
    }

    /// Writes the file of a new installation.
    pub(super) fn write(&self, directory: &Path) -> Result<(), ConfigError> {
        let text = format!(
            "# HQ's addresses. Flags of 'hq-server run' win over this file.\n\
             version = {VERSION}\n\n\
             # Pages and API. On another address than 127.0.0.1 callers need the token in {TOKEN_FILE}.\n\
             api = \"{}\"\n\n\
             # Sites connect here (QUIC over UDP).\n\
             link = \"{}\"\n",
            self.api, self.link
        );
        let file = directory.join(FILE);
        std::fs::write(&file, text).map_err(|error| ConfigError::Io { file, error })
    }
}

/// Makes the token of a new installation.
pub(super) fn make_token(directory: &Path, random: [u8; 32]) -> Result<(), ConfigError> {
    let token = HEXLOWER.encode(&random);
    write_private(&directory.join(TOKEN_FILE), token.as_bytes())
}

/// The token that callers from other machines show.
pub fn token(directory: &Path) -> Result<String, ConfigError> {
    let file = directory.join(TOKEN_FILE);
    let text = std::fs::read_to_string(&file);
    text.map(|text| text.trim().to_owned()).map_err(|error| ConfigError::Io { file, error })
}

/// Writes a file that only its owner may read.
pub fn write_private(file: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(bytes)
    };
    write().map_err(|error| ConfigError::Io { file: file.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_mistakes_are_placed() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::default();
        config.write(folder.path()).expect("writes");
        assert_eq!(Config::read(folder.path()).expect("reads"), config);
        std::fs::write(folder.path().join(FILE), "version = 1\napl = \"127.0.0.1:1\"\n")
            .expect("writes");
        let error = Config::read(folder.path()).expect_err("a misspelt key").to_string();
        assert!(error.contains("line 2") && error.contains("apl"), "{error}");
        std::fs::write(folder.path().join(FILE), "version = 2\n").expect("writes");
        let error = Config::read(folder.path()).expect_err("another version").to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
