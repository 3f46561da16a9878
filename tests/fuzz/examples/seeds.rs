//! Writes the inputs to begin with into `corpus`.

fn main() -> std::io::Result<()> {
    for (target, name, bytes) in fuzz::seeds() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
