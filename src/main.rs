//! The command line program: parse, dispatch, exit code.
fn main() {}
