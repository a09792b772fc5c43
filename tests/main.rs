//! tests

mod cli;
