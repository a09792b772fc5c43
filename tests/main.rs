//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod cli;
mod services;
mod simulator;
mod speed;
mod support;
mod sync;
