//! Decisions. Pure: what was seen goes in, what to do comes out.

pub mod policy;
pub mod report;
pub mod scope;
pub mod snapshot;
