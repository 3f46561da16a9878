//! The edge node's program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_node::cli::main(std::env::args_os())
}
