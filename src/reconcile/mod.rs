//! Decisions. Pure: what was seen goes in, what to do comes out.

pub mod adopt;
pub mod agreed;
pub mod changes;
pub mod compare;
pub mod flags;
pub mod guard;
pub mod look;
pub mod mailboxes;
pub mod memory;
pub mod moves;
pub mod plan;
pub mod policy;
pub mod renames;
pub mod renumber;
pub mod replace;
pub mod report;
pub mod scope;
pub mod snapshot;
pub mod view;

#[cfg(test)]
mod properties;
