//! The engine on in-memory sides that keep IMAP's and Maildir's semantics, with a fault, a crash or somebody else's
//! edit possible at every call of a store or of the journal.
//!
//! Parts: `server` and `maildir` are the models, `book` is the database; `wire`, `disk` and `book` let the engine at
//! them, each call through the gate in `world`, where the `schedule` may strike; `users` edits both sides and notes in the
//! `ledger` what ought to come of it; `check` compares.
//!
//! A history follows from its seed alone. A failure prints the seed, and the story of a history made as short as could be
//! found: what happened and what was broken. To replay:
//!
//! ```text
//! MAILTIDE_SEED=1234 cargo test --test integration simulator::campaign
//! MAILTIDE_SEEDS=100000 cargo test --test integration simulator::campaign
//! MAILTIDE_SEEDS=5000 MAILTIDE_SURVEY=1 cargo test …
//! ```
//!
//! The first runs one seed and tells its story even if nothing is broken, the second so many seeds until one breaks
//! something, the third lists all seeds that do. `MAILTIDE_FIRST` is the seed to begin with; `MAILTIDE_MINUTES` says how
//! long to go on (`contrib/campaign`).

mod account;
mod book;
mod campaign;
mod check;
mod compare;
mod copies;
mod disk;
mod email_ids;
mod file;
mod flags;
mod folders;
mod history;
mod holds;
mod ledger;
mod let_go;
mod likeness;
mod mail;
mod maildir;
mod mishaps;
mod moves;
mod overtaken;
mod renumbered;
mod restore;
pub(crate) mod rng;
mod saves;
mod scenarios;
mod schedule;
mod server;
mod unseen;
mod unsyncable;
mod users;
mod wire;
mod world;
