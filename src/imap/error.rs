//! What can go wrong on the wire, and what it means to the engine.

use std::fmt;
use std::io;
use std::time::Duration;

use super::quirk;
use super::response::{Condition, Status};
use crate::model::{Uid, UidValidity};
use crate::store::{LocalError, RemoteError, RemoteErrorKind};

/// An error of the IMAP side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No connection could be made.
    #[error("no connection to {host} port {port}: {cause}")]
    Connect {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// The system's words.
        cause: io::Error,
    },
    /// TLS could not be set up, or may not be done without.
    #[error("{0}")]
    Protection(String),
    /// The server was silent for too long.
    #[error("the server sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection ended, with the server's last words if it said BYE.
    #[error("the connection was lost{}", said(.0.as_deref()))]
    Lost(Option<String>),
    /// The connection ended while a mailbox was being selected, and was made anew.
    #[error("the server closed the connection when this folder was selected{}", said(.0.as_deref()))]
    HungUp(Option<String>),
    /// The server sent something after which the connection can't be followed any more.
    #[error("the server sent {0}")]
    Garbled(&'static str),
    /// A request was given up half-way, so that the connection can't be followed any more.
    #[error("the connection is out of step after a request that was broken off")]
    BrokenOff,
    /// The server doesn't let the user in.
    #[error("{0}")]
    Login(String),
    /// The server lets nobody in for now, in its words (RFC 9051 section 7.1.5, RFC 5530).
    #[error("the server lets nobody in now: {0}")]
    Unwilling(String),
    /// A tagged NO or BAD.
    #[error("the server said: {0}")]
    Refused(Status),
    /// A tagged NO or BAD to what asked for one message.
    #[error("message {0}: the server said: {1}")]
    Withheld(Uid, Status),
    /// What the server answered does not add up, or can't be used.
    #[error("{0}")]
    Unusable(String),
    /// The mailbox is not the one that the UIDs belong to.
    #[error("its UIDVALIDITY is {now}, not {asked}")]
    UidValidity {
        /// What the caller knows.
        asked: UidValidity,
        /// What the server says.
        now: UidValidity,
    },
    /// The message exceeds what the server announced that it takes.
    #[error("the message has {size} bytes and the server takes {limit}")]
    TooLarge {
        /// The message's size.
        size: u64,
        /// APPENDLIMIT.
        limit: u64,
    },
    /// The message holds a NUL and there is no BINARY.
    #[error("the message holds a NUL, which this server can't store (it has no BINARY)")]
    Nul,
    /// This machine's part failed.
    #[error("{0}")]
    Local(#[from] LocalError),
}

fn said(bye: Option<&str>) -> String {
    bye.map(|text| format!("; the server said: {text}")).unwrap_or_default()
}

impl Error {
    /// Returns what the error means to the engine.
    pub(super) fn kind(&self) -> RemoteErrorKind {
        match self {
            Error::Connect { .. }
            | Error::Protection(_)
            | Error::Silent(_)
            | Error::Lost(_)
            | Error::Garbled(_)
            | Error::BrokenOff => RemoteErrorKind::Unreachable,
            Error::Login(_) => RemoteErrorKind::Login,
            Error::Refused(status) | Error::Withheld(_, status) => refusal_kind(status),
            Error::Unusable(_) => RemoteErrorKind::Refused,
            Error::Unwilling(_) | Error::HungUp(_) => RemoteErrorKind::Busy,
            Error::UidValidity { .. } => RemoteErrorKind::UidValidityChanged,
            Error::TooLarge { .. } => RemoteErrorKind::TooLarge,
            Error::Nul => RemoteErrorKind::Unrepresentable,
            Error::Local(_) => RemoteErrorKind::Local,
        }
    }

    /// Turns the error into the engine's, saying what was being done.
    pub(super) fn doing(self, doing: impl Into<String>) -> RemoteError {
        let (kind, wait) = (self.kind(), self.words().and_then(quirk::wait));
        RemoteError { wait, ..RemoteError::new(kind, Failed { doing: doing.into(), error: self }) }
    }

    /// Returns what the server said, if it did.
    fn words(&self) -> Option<&str> {
        match self {
            Error::Refused(status) | Error::Withheld(_, status) => Some(&status.text),
            Error::Login(text) | Error::Unwilling(text) => Some(text),
            Error::Lost(text) | Error::HungUp(text) => text.as_deref(),
            _ => None,
        }
    }
}

/// Returns the kind of a tagged NO or BAD by its response code (RFC 5530, RFC 3501 section 7.1, RFC 7889).
pub(super) fn refusal_kind(status: &Status) -> RemoteErrorKind {
    match status.code_name() {
        "NONEXISTENT" | "TRYCREATE" => RemoteErrorKind::NoSuchMailbox,
        _ if quirk::says_nonexistent(status) => RemoteErrorKind::NoSuchMailbox,
        // Not LIMIT: that is as often a limit of rate or number (RFC 5530), and room on the server helps nobody then.
        "TOOBIG" | "OVERQUOTA" => RemoteErrorKind::TooLarge,
        "UNAVAILABLE" | "INUSE" | "LIMIT" | "THROTTLED" | "SERVERBUG" => RemoteErrorKind::Busy,
        _ if quirk::wait(&status.text).is_some() || quirk::is_not_connected(status) => RemoteErrorKind::Busy,
        _ if status.condition == Condition::Bye => RemoteErrorKind::Unreachable,
        _ => RemoteErrorKind::Refused,
    }
}

/// An error with what was being done.
#[derive(Debug)]
struct Failed {
    doing: String,
    error: Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

impl std::error::Error for Failed {}
