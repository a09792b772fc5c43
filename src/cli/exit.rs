//! Exit codes (DESIGN.md section 8).

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// How a run, or an account's part of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Exit {
    /// In step.
    InStep,
    /// Some items failed, the rest is in step; or accounts ended differently.
    Partial,
    /// Usage or configuration.
    Config,
    /// Log-in refused.
    Login,
    /// Network, TLS or server unavailable.
    Network,
    /// Held back for safety.
    Held,
    /// Another mailtide holds the account.
    Busy,
    /// Disk full, Maildir or database unusable.
    Machine,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// Returns the number given to the shell.
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::InStep => 0,
            Exit::Partial => 1,
            Exit::Config => 2,
            Exit::Login => 3,
            Exit::Network => 4,
            Exit::Held => 5,
            Exit::Busy => 6,
            Exit::Machine => 7,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// Returns the word for an account's `status` in JSON.
    pub(super) fn status(self) -> &'static str {
        match self {
            Exit::InStep => "ok",
            Exit::Partial => "partial",
            Exit::Config | Exit::Login | Exit::Network | Exit::Machine => "failed",
            Exit::Held => "held",
            Exit::Busy => "busy",
            Exit::Interrupted | Exit::Terminated => "interrupted",
        }
    }

    /// Returns true if a signal ended it.
    pub(super) fn by_signal(self) -> bool {
        matches!(self, Exit::Interrupted | Exit::Terminated)
    }

    /// Returns true if something ended it before it was done.
    pub(super) fn is_early(self) -> bool {
        !matches!(self, Exit::InStep | Exit::Partial | Exit::Held)
    }

    /// Returns how a run ended whose accounts ended so: a signal ends the run, else the code that all accounts in
    /// trouble share, else 1.
    pub(super) fn of_all(exits: impl IntoIterator<Item = Exit>) -> Exit {
        let combine = |one: Exit, other: Exit| match (one, other) {
            (one, other) if one == other || one.by_signal() || other == Exit::InStep => one,
            (Exit::InStep, other) => other,
            (_, other) if other.by_signal() => other,
            _ => Exit::Partial,
        };
        exits.into_iter().fold(Exit::InStep, combine)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_in_trouble_share_their_code_or_give_1() {
        use Exit::{Config, Held, InStep, Interrupted, Login, Network, Partial};
        for (exits, expected) in [
            (&[][..], InStep),
            (&[InStep, InStep], InStep),
            (&[InStep, Network, InStep, Network], Network),
            (&[Network, Login], Partial),
            (&[Held, InStep], Held),
            (&[Network, Login, Login], Partial),
            (&[Config, Interrupted], Interrupted),
            (&[Interrupted, Config, InStep], Interrupted),
            (&[Partial, Held], Partial),
        ] {
            assert_eq!(Exit::of_all(exits.iter().copied()), expected, "{exits:?}");
        }
    }
}
