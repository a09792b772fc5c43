//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod simulator;
mod support;
mod sync;
