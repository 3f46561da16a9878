//! Key files: made once, readable by their owner alone, replaced whole or not at all. Knows no
//! meaning of a file. Invariant: a file that exists is complete, and no key is ever readable by
//! another user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a key file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("{} is missing: restore it from a backup of the data directory", .0.display())]
    Missing(PathBuf),
    /// Its content does not read.
    #[error("{} is damaged ({why}); nothing was changed: restore it from a backup of the data directory", .0.display(), why = .1)]
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

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io(path.to_owned(), error),
    })
}

/// Bytes of the operating system's randomness.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(bytes)
}

/// 32 bytes written as hex in a file.
pub(super) fn read_hex(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let damaged = |why: &str| KeyFileError::Damaged(path.to_owned(), why.to_owned());
    let text = read(path)?;
    let bytes = data_encoding::HEXLOWER
        .decode(text.trim_ascii())
        .map_err(|_| damaged("not hexadecimal"))?;
    bytes.try_into().map_err(|_| damaged("not 32 bytes"))
}

/// Writes 32 bytes as hex.
pub(super) fn write_hex(path: &Path, bytes: &[u8; 32]) -> Result<(), KeyFileError> {
    let mut text = data_encoding::HEXLOWER.encode(bytes);
    text.push('\n');
    write_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_private_and_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.key");
        assert!(matches!(read_hex(&path), Err(KeyFileError::Missing(_))));
        for byte in [1, 2] {
            write_hex(&path, &[byte; 32]).expect("written");
            assert_eq!(read_hex(&path).expect("read"), [byte; 32]);
        }
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "zz").expect("written");
        assert!(matches!(read_hex(&path), Err(KeyFileError::Damaged(..))));
    }
}
