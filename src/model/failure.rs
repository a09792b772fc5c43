//! What can be the matter with an item that waits.

use serde::{Deserialize, Serialize};

/// Why a message, a file or a change waits instead of being tried in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// Nothing can be changed in the folder on the server.
    ReadOnly,
    /// The folder can't store these flags on the server.
    FlagUnsupported,
    /// Nothing can be removed from the folder on the server.
    RemovalUnsupported,
    /// The server did not take a change of flags.
    FlagRefused,
    /// The server did not take a removal.
    RemovalRefused,
    /// The server has the message and does not give it.
    MessageUnavailable,
    /// The server does not take the message.
    MessageRefused,
    /// It is larger than the server allows.
    MessageTooLarge,
    /// It holds what the server can't store.
    MessageUnrepresentable,
    /// The server takes it for one that it has, whose file is another one.
    MessageMerged,
}

impl FailureCode {
    /// All of them.
    pub const ALL: [FailureCode; 10] = [
        FailureCode::ReadOnly,
        FailureCode::FlagUnsupported,
        FailureCode::RemovalUnsupported,
        FailureCode::FlagRefused,
        FailureCode::RemovalRefused,
        FailureCode::MessageUnavailable,
        FailureCode::MessageRefused,
        FailureCode::MessageTooLarge,
        FailureCode::MessageUnrepresentable,
        FailureCode::MessageMerged,
    ];

    /// Returns the word used in `--json` and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::ReadOnly => "read-only",
            FailureCode::FlagUnsupported => "flag-unsupported",
            FailureCode::RemovalUnsupported => "removal-unsupported",
            FailureCode::FlagRefused => "flag-refused",
            FailureCode::RemovalRefused => "removal-refused",
            FailureCode::MessageUnavailable => "message-unavailable",
            FailureCode::MessageRefused => "message-refused",
            FailureCode::MessageTooLarge => "message-too-large",
            FailureCode::MessageUnrepresentable => "message-unrepresentable",
            FailureCode::MessageMerged => "message-merged",
        }
    }

    /// Returns the code of such a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Returns true for what every plan finds anew: what is recorded of it is only that it was told.
    pub fn is_found_anew(self) -> bool {
        matches!(self, FailureCode::ReadOnly | FailureCode::FlagUnsupported | FailureCode::RemovalUnsupported)
    }
}
