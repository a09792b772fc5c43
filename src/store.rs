//! The interfaces between the engine and the two sides and the database, in model types only.
//!
//! The sides are not symmetrical: the remote one speaks in UIDs and mod-sequences, the local one in unique names. The
//! engine runs alike on IMAP + Maildir + SQLite and on the simulator's in-memory sides.
//!
//! Three rules hold for every implementation. A method that could not look returns an error, never an empty answer. A
//! method that changes something is safe to repeat. A future dropped half-way leaves what a crash would leave.

mod error;
mod journal;
mod local;
mod remote;

pub use error::{Cause, Failure, LocalError, LocalErrorKind, RemoteError, RemoteErrorKind, StateError};
pub use journal::{
    FailureRow, Header, HoldRow, Intent, IntentId, Journal, KeptRow, NewMessage, RETRY_AFTER, Record, Renaming,
    Renumbered, untaken,
};
pub use local::{Edit, FileAt, KeptFile, LocalStore, PutBack, Root, Staged, Trashed};
pub use remote::{
    Append, Appended, BodySink, BodySource, Expunged, FetchedMessage, FlagChanges, Identities, Lane, Messages,
    Observed, RemoteStore, StoredFlags, Traffic, Transfer, Uploads, expunge_one_by_one, move_one_by_one,
    store_one_by_one,
};
