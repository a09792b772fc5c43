//! Printing: to whom, in which colours, and to readers that may have gone away.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

use super::args::{Color, Globals};
use super::error::Trouble;

/// Where a command's words go.
#[derive(Debug)]
pub(super) struct Output {
    quiet: bool,
    verbose: bool,
    stderr_colored: bool,
}

/// Returns true if colour is wanted on a stream.
pub(super) fn colored(color: Color, stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stream.is_terminal() && !set("NO_COLOR") && !dumb(),
    }
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

impl Output {
    /// Returns the output that the options ask for.
    pub(super) fn new(globals: &Globals) -> Self {
        Self {
            quiet: globals.quiet,
            verbose: globals.verbose > 0,
            stderr_colored: colored(globals.color, &io::stderr()),
        }
    }

    /// Returns true if progress bars can be drawn on stderr without being in the way.
    pub(super) fn draws(&self) -> bool {
        !self.quiet && !self.verbose && io::stderr().is_terminal() && !dumb()
    }

    /// Prints a line to stdout.
    pub(super) fn say(&self, line: impl Display) {
        if !self.quiet {
            // A reader that has gone away has seen enough.
            drop(writeln!(io::stdout().lock(), "{}", printable(&line.to_string())));
        }
    }

    /// Prints all that is wrong with an account to stderr. What to do about several in a row is said once, after them.
    pub(super) fn complain_of(&self, account: &str, troubles: &[Trouble]) {
        for alike in troubles.chunk_by(|one, other| one.hint == other.hint) {
            for trouble in alike {
                self.state(Some(account), trouble);
            }
            if let Some(trouble) = alike.last() {
                self.line("hint", AnsiColor::Cyan, &trouble.hint);
            }
        }
    }

    /// Prints what is wrong, with what to do about it, to stderr.
    pub(super) fn complain(&self, account: Option<&str>, trouble: &Trouble) {
        self.state(account, trouble);
        self.line("hint", AnsiColor::Cyan, &trouble.hint);
    }

    fn state(&self, account: Option<&str>, trouble: &Trouble) {
        let account = account.map(|name| format!("{name}: ")).unwrap_or_default();
        let folder = trouble.place.folder.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let heading = if trouble.is_hold() { "held" } else { "error" };
        self.line(heading, AnsiColor::Red, &format!("{account}{folder}{}", trouble.message));
    }

    fn line(&self, heading: &str, color: AnsiColor, text: &str) {
        let style = if self.stderr_colored { Style::new().fg_color(Some(color.into())).bold() } else { Style::new() };
        let text = printable(text).replace('\n', "\n  ");
        drop(writeln!(io::stderr().lock(), "{style}{heading}:{style:#} {text}"));
    }
}

/// Folders' names and servers' words may hold what a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_printed_commands_the_terminal() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}\u{9b}2J\r\né"), "a\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}\né");
    }
}
