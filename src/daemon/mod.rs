//! The daemon: keeps accounts in step until it is stopped.
//!
//! `schedule` decides when an account is synced, from events and from the time that it is told; `keep` is the loop
//! around it, one per account, which listens to the server (`ears`; `others` where one connection is not enough) and to
//! the Maildir (`local`); `backoff` says how long to leave a server
//! or a disk alone that fails, `network` tells when the machine may be online again, and `control` is how it is asked.

mod backoff;
pub mod control;
mod ears;
mod keep;
mod local;
mod network;
mod others;
mod schedule;

pub use backoff::{Backoff, Ended};
pub use keep::{Keeper, News, Orders, Plan, Told, keep};
pub use network::Network;
pub use schedule::{About, Schedule, Why};
