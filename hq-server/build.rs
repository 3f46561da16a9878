//! Embeds the pages' files into the binary: our own from `assets/`, third-party ones from `dist/`
//! where they have been fetched. Each gets a name that changes with its content, and a gzip copy.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs");
    let own = root.join("assets");
    let fetched = root.join("dist");
    println!("cargo::rerun-if-changed={}", own.display());
    println!("cargo::rerun-if-changed={}", fetched.display());

    let mut files = listed(&own);
    files.extend(listed(&fetched));
    let entries: String = files.iter().map(|file| entry(file, &out)).collect();
    let table = format!("pub(super) static ASSETS: &[Asset] = &[\n{entries}];\n");
    fs::write(out.join("assets.rs"), table).expect("cargo's output directory is writable");
}

/// The files of a folder by name, hidden ones left out.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && !hidden(path))
        .collect();
    files.sort();
    files
}

fn entry(file: &Path, out: &Path) -> String {
    let bytes = fs::read(file).expect("a file of the repository is readable");
    let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let (stem, extension) = name.rsplit_once('.').expect("an asset has an extension");
    let hashed = format!("{stem}.{:016x}.{extension}", fnv1a(&bytes));
    let mime = match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        other => panic!("assets: no media type is known for .{other}"),
    };
    let packed = out.join(format!("{name}.gz"));
    fs::write(&packed, gzip(&bytes)).expect("cargo's output directory is writable");
    let (plain, gzip) = (file.display().to_string(), packed.display().to_string());
    format!(
        "    Asset {{ name: {name:?}, hashed: {hashed:?}, mime: {mime:?}, \
         plain: include_bytes!({plain:?}), gzip: include_bytes!({gzip:?}) }},\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

/// FNV-1a: tells versions of a file apart, nothing more.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
