//! Key files: made once, readable by their owner alone, replaced whole or not at all. Knows no
//! meaning of a file. Invariant: a file that exists is complete, and no key is ever readable by
//! another user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file of the identity can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("{} is missing: run `edge-node init` for a new node, or restore the data directory", .0.display())]
    Missing(PathBuf),
    /// It is there already.
    #[error("{} exists already: this directory has an identity; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// Its content does not read.
    #[error("{} is damaged ({why}); nothing was changed: restore it from a backup, or enrol a new node", .0.display(), why = .1)]
    Damaged(PathBuf, String),
    /// The operating system says no.
    #[error("{} can't be read or written: {error}", .0.display(), error = .1)]
    Io(PathBuf, #[source] io::Error),
    /// No randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Makes a directory that only its owner can look into.
pub(super) fn create_directory(path: &Path) -> Result<(), KeyFileError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|error| KeyFileError::Io(path.to_owned(), error))
}

/// Writes a file whole or not at all, durably, readable by its owner alone.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    replace(path, bytes).map_err(|error| KeyFileError::Io(path.to_owned(), error))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let next = path.with_extension("next");
    // A file left over from a crash is replaced; its mode must not be kept.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(directory)?.sync_all()
}

/// Reads a file of text.
pub(super) fn read(path: &Path) -> Result<String, KeyFileError> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io(path.to_owned(), error),
    })?;
    String::from_utf8(bytes).map_err(|_| KeyFileError::Damaged(path.to_owned(), "no text".into()))
}

/// Bytes of the operating system's randomness.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(bytes)
}

/// 32 bytes from their hexadecimal text.
pub(super) fn from_hex(path: &Path, text: &str) -> Result<[u8; 32], KeyFileError> {
    let damaged = |why: &str| KeyFileError::Damaged(path.to_owned(), why.to_owned());
    let bytes = data_encoding::HEXLOWER
        .decode(text.trim_ascii().as_bytes())
        .map_err(|_| damaged("not hexadecimal"))?;
    bytes.try_into().map_err(|_| damaged("not 32 bytes"))
}

/// Writes 32 bytes as hexadecimal text.
pub(super) fn write_hex(path: &Path, bytes: &[u8; 32]) -> Result<(), KeyFileError> {
    let mut text = data_encoding::HEXLOWER.encode(bytes);
    text.push('\n');
    write_private(path, text.as_bytes())
}

/// PEM of one DER value.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text + format!("-----END {label}-----\n").as_str()
}
