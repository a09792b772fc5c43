//! What the engine is told when a side or the database fails.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::model::MailboxName;

/// The cause under an error, for the words shown to the user.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What a remote error means to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// The server doesn't accept the user or the secret. Ends the account's run, exit 3.
    Login,
    /// The connection could not be made or was lost, or the server is unavailable. Ends the account's run, exit 4.
    Unreachable,
    /// The server answered NO or BAD, or something that can't be understood: this request alone failed.
    Refused,
    /// As `Refused`, but only for now: the mailbox is in use, the server is overloaded or asks for less.
    Busy,
    /// As `Refused`, and the server says that the mailbox does not exist (`[NONEXISTENT]`, `[TRYCREATE]`).
    NoSuchMailbox,
    /// As `Refused`, because the mailbox's UIDVALIDITY is not the one asked about. Nothing was done.
    UidValidityChanged,
    /// As `Refused`, because this message is too large for the server, or the user is over quota.
    TooLarge,
    /// As `Refused`, because the server can't take these bytes (a NUL where there is no BINARY).
    Unrepresentable,
    /// This machine could not read or write its part. Ends the account's run, exit 7.
    Local,
}

/// An error of the remote side.
#[derive(Debug)]
pub struct RemoteError {
    /// What it means to the engine.
    pub kind: RemoteErrorKind,
    /// What was being done, and the server's own words or the system's: for people.
    pub cause: Cause,
    /// How long the server asks to be left alone, if it says.
    pub wait: Option<Duration>,
}

impl RemoteError {
    /// Returns an error with which the server asked for nothing.
    pub fn new(kind: RemoteErrorKind, cause: impl Into<Cause>) -> Self {
        Self { kind, cause: cause.into(), wait: None }
    }

    /// Returns true if it is not about one mailbox or message alone.
    pub fn concerns_account(&self) -> bool {
        match self.kind {
            RemoteErrorKind::Login | RemoteErrorKind::Unreachable | RemoteErrorKind::Local => true,
            RemoteErrorKind::Refused
            | RemoteErrorKind::Busy
            | RemoteErrorKind::NoSuchMailbox
            | RemoteErrorKind::UidValidityChanged
            | RemoteErrorKind::TooLarge
            | RemoteErrorKind::Unrepresentable => false,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl From<LocalError> for RemoteError {
    fn from(error: LocalError) -> Self {
        Self::new(RemoteErrorKind::Local, error)
    }
}

/// What a local error means to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalErrorKind {
    /// The disk is full or over quota. Ends the account's run, exit 7.
    Full,
    /// The Maildir can't be used: permissions, I/O errors, read-only. Ends the account's run, exit 7.
    Unusable,
    /// This one message or folder can't be read or written; the rest can.
    Item,
    /// This file turned out to be no message: it is empty. Left alone without a word.
    NoMessage,
}

/// An error of the local side.
#[derive(Debug)]
pub struct LocalError {
    /// What it means to the engine.
    pub kind: LocalErrorKind,
    /// What was being done to which path, and the system's words.
    pub cause: Cause,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for LocalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// An error of the database. All of them end the account's run, exit 7.
#[derive(Debug)]
pub struct StateError {
    /// True if the file is damaged or no database, false if it could not be used (full disk, permissions, locked).
    pub corrupt: bool,
    /// What was being done, and SQLite's words.
    pub cause: Cause,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// What ended an account's run before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server side.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The Maildir.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// Two server folders would have the same local name. Nothing was touched.
    #[error("{0} and {1} would have the same local name")]
    NameClash(MailboxName, MailboxName),
}
