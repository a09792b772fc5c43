//! What is sent behind the log-in, before the server has said what it can do: what is asked first in any case, in the
//! words of the last time. If they are still the right ones, nothing more has to be waited for than the log-in itself.
//!
//! They hold no secret, and a server that refuses the log-in refuses them, too. Of which servers it is known that they
//! hear them says [`super::quirk::hears_ahead`]; RFC 9051 section 5.5 allows it.

use super::capability::Capabilities;
use super::command::{Burst, Command};

/// Stands among the capabilities of a server that drops what comes behind the log-in, or can't stand it.
pub(super) const NOT_AHEAD: &str = "!AHEAD";

/// Commands that go behind the log-in. They have the first tags of the connection.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What the server could do when it was last asked.
    pub(super) recalled: Capabilities,
    /// What they are.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Ahead {
    /// Returns these commands; `None` if any can't be sent at once.
    pub(super) fn new(recalled: Capabilities, commands: &[Command]) -> Option<Self> {
        Some(Self { recalled, lines: lines(commands)? })
    }

    /// Returns what is to be sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        Burst::new(self.commands(), &mut 0).bytes()
    }

    /// Returns the commands.
    pub(super) fn commands(&self) -> Vec<Command> {
        self.lines.iter().cloned().map(Command::new).collect()
    }
}

/// Returns the texts of commands, if all of them can be sent at once.
pub(super) fn lines(commands: &[Command]) -> Option<Vec<Vec<u8>>> {
    commands.iter().map(|command| command.line().map(<[u8]>::to_vec)).collect()
}
