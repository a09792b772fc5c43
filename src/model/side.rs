//! The two sides of an account.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two sides that are kept in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The Maildir on this machine.
    Local,
    /// The mail server.
    Remote,
}

impl Side {
    /// Returns the word used in `--json` and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Local => "local",
            Side::Remote => "remote",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
