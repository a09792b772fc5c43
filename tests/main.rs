//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod cli;
mod support;
mod sync;
