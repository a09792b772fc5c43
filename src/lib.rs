//! mailtide keeps local Maildirs and IMAP accounts in step, in both directions.

pub mod apply;
pub mod cli;
pub mod config;
pub mod cycle;
pub mod imap;
pub mod maildir;
pub mod model;
pub mod reconcile;
pub mod state;
pub mod store;
