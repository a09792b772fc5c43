//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod cli;
mod simulator;
mod speed;
mod support;
mod sync;
