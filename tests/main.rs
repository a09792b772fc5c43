//! The integration tests, in one binary.
#![cfg(test)]

mod arrows;
mod support;
mod sync;
