//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod cli;
mod simulator;
mod support;
mod sync;
