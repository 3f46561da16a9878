//! The command `hq-server`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hq_server::cli::main()
}
