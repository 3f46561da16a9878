//! Bytes of an import file: plain, gzip or zstd by its name, counting how far it is read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file being read.
pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    length: u64,
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = BufReader::with_capacity(1 << 16, Counted { file, read: Arc::clone(&read) });
        let reader: Box<dyn Read + Send> = match path.extension().and_then(|ending| ending.to_str())
        {
            Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
            Some("zst") => Box::new(zstd::Decoder::with_buffer(counted)?),
            _ => Box::new(counted),
        };
        Ok(Self { reader, read, length })
    }

    /// Bytes of the file on disk.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Counts how many of them are read.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
