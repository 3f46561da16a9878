//! Real data from file to closing table, through edge nodes, QUIC and HQ. The data is not part of
//! the project: without its folder there is nothing to do, and that is said.

pub mod adventureworks;

use std::path::PathBuf;

/// The folder of a data set: `WAREBOOK_DATA_SETS`, else beside the project. `None`, with a word on
/// it, where it is absent.
pub fn data_set(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WAREBOOK_DATA_SETS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: the data set '{name}' is not at {}", folder.display());
    None
}
