//! A look at a store's file before it is opened for writing: a store that is damaged is refused
//! with its bytes untouched. Knows redb's pages and no table. Invariant: nothing here writes to the
//! file.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, Once};

use redb::{Database, DatabaseError, StorageBackend, StorageError};

use super::FileError;

/// How much of the file a look keeps in memory.
const CACHE_BYTES: usize = 16 << 20;

const PAGE: usize = 4096;
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Opens a file for writing, once every page of it has proved to be whole.
pub(crate) fn open(
    path: &Path,
    file: &'static str,
    cache_bytes: usize,
) -> Result<Database, FileError> {
    let unreadable = |why: &str| FileError::Unreadable { file, why: why.to_owned() };
    let opened = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unreadable("it is missing"));
        }
        opened => opened?,
    };
    // What another process writes must not be looked at. The store itself takes this lock too.
    match opened.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FileError::InUse),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    if !looks_like_a_store(path)? {
        return Err(unreadable("its beginning is not that of a store"));
    }
    let overlay = Overlay::over(opened)?;
    let look = || {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        builder.create_with_backend(overlay).map(drop)
    };
    // redb states that a file altered by others may panic where a page is trusted.
    match quietly(look) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(seen(error, file)),
        Err(_) => return Err(unreadable("a page does not read")),
    }
    Ok(Database::builder().set_cache_size(cache_bytes).open(path)?)
}

fn seen(error: DatabaseError, file: &'static str) -> FileError {
    let unreadable = |why: String| FileError::Unreadable { file, why };
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => {
            unreadable("a page's checksum does not hold".to_owned())
        }
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            unreadable(error.to_string())
        }
        other => other.into(),
    }
}

thread_local! {
    static IS_LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// Looks at bytes that may be anything; a panic over them is an answer and not a message.
fn quietly<T>(look: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_LOOKING.get() {
                usual(panic);
            }
        }));
    });
    IS_LOOKING.set(true);
    let seen = catch_unwind(AssertUnwindSafe(look));
    IS_LOOKING.set(false);
    seen
}

/// Whether the file begins as redb's files do; an error where it can't be read.
fn looks_like_a_store(path: &Path) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    match File::open(path)?.read_exact(&mut magic) {
        Ok(()) => Ok(magic == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The file as it is, with whatever recovery would write kept in memory.
#[derive(Debug)]
struct Overlay {
    file: File,
    state: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// Over a file that was opened for reading.
    fn over(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(Written { length, pages: BTreeMap::new() }) })
    }

    fn page(&self, written: &Written, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(page) = written.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE].into_boxed_slice();
        let mut filled = 0;
        while filled < page.len() {
            let offset = number * PAGE as u64 + filled as u64;
            match self.file.read_at(&mut page[filled..], offset)? {
                0 => break, // beyond the file's end everything is zero
                read => filled += read,
            }
        }
        Ok(page)
    }

    fn each_page(
        offset: u64,
        length: usize,
        mut visit: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = usize::try_from(at % PAGE as u64).expect("below a page");
            let now = (PAGE - within).min(length - done);
            visit(at / PAGE as u64, within..within + now, done..done + now)?;
            done += now;
        }
        Ok(())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect("no holder panics").length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.state.lock().expect("no holder panics");
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let length = out.len();
        Self::each_page(offset, length, |number, within, to| {
            out[to].copy_from_slice(&self.page(&written, number)?[within]);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state.lock().expect("no holder panics").length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.state.lock().expect("no holder panics");
        Self::each_page(offset, data.len(), |number, within, from| {
            let mut page = self.page(&written, number)?;
            page[within].copy_from_slice(&data[from]);
            written.pages.insert(number, page);
            Ok(())
        })
    }
}
