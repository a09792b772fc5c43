//! The command line program.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailtide::cli::main(std::env::args_os())
}
