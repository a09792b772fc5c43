//! Printing: to whom, in which colours, and to readers that may have gone away.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use clap::builder::styling::{AnsiColor, Style};

use super::args::{Color, Globals};
use super::error::{Place, Trouble};
use super::exit::Exit;
use super::stream::{Sink, Stream, note};

/// How many troubles of a kind are shown to people.
const SHOWN: usize = 5;

/// Where a command's words go.
#[derive(Debug, Clone)]
pub(super) struct Output {
    quiet: bool,
    verbose: bool,
    stderr_colored: bool,
    out: Sink,
    err: Sink,
    /// Why something could not be said.
    unsaid: Arc<OnceLock<io::Error>>,
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
            out: Sink::Direct(Stream::Out),
            err: Sink::Direct(Stream::Err),
            unsaid: Arc::default(),
        }
    }

    /// Returns one that waits for no reader: for who has more to do than to tell.
    pub(super) fn behind(self) -> Self {
        let sink = |stream| Sink::behind(stream, Arc::clone(&self.unsaid));
        Self { out: sink(Stream::Out), err: sink(Stream::Err), ..self }
    }

    /// Returns where the log goes.
    pub(super) fn log(&self) -> Sink {
        self.err.clone()
    }

    /// Returns true if progress bars can be drawn on stderr without being in the way.
    pub(super) fn draws(&self) -> bool {
        !self.quiet && !self.verbose && io::stderr().is_terminal() && !dumb()
    }

    /// Prints a line to stdout.
    pub(super) fn say(&self, line: impl Display) {
        if self.quiet {
            return;
        }
        let line = format!("{}\n", printable(&line.to_string()));
        note(self.out.clone().write_all(line.as_bytes()), &self.unsaid);
    }

    /// Returns how a command ended. One of which not all could be said has not ended well.
    pub(super) fn ended(&self, exit: Exit) -> Exit {
        self.out.drain();
        let unsaid = self.unsaid.get();
        if let Some(error) = unsaid {
            self.complain(None, &[Trouble::unsaid(error)]);
        }
        self.err.drain();
        match (unsaid, exit) {
            (Some(_), Exit::InStep) => Exit::Machine,
            _ => exit,
        }
    }

    /// Prints what is wrong, with what to do about it, to stderr. What is of the same kind is told together, and of many
    /// only some.
    pub(super) fn complain(&self, account: Option<&str>, troubles: &[Trouble]) {
        let account = account.map(|name| format!("{name}: ")).unwrap_or_default();
        let mut rest: Vec<&Trouble> = troubles.iter().collect();
        while let Some(first) = rest.first().copied() {
            let is_alike = |trouble: &&Trouble| (trouble.code, &trouble.hint) == (first.code, &first.hint);
            let (alike, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_alike);
            let heading = if first.is_hold() { "held" } else { "error" };
            for trouble in alike.iter().take(SHOWN) {
                self.line(heading, AnsiColor::Red, &format!("{account}{}{}", place(trouble), trouble.message));
            }
            if let more @ 1.. = alike.len().saturating_sub(SHOWN) {
                self.line(heading, AnsiColor::Red, &format!("{account}{more} more of this kind, see --json"));
            }
            self.line("hint", AnsiColor::Cyan, &first.hint);
            rest = others;
        }
    }

    fn line(&self, heading: &str, color: AnsiColor, text: &str) {
        let style = if self.stderr_colored { Style::new().fg_color(Some(color.into())).bold() } else { Style::new() };
        let text = printable(text).replace('\n', "\n  ");
        let line = format!("{style}{heading}:{style:#} {text}\n");
        // There is nobody left to tell of an error.
        self.err.clone().write_all(line.as_bytes()).ok();
    }
}

/// Says what a trouble is about, unless its message does.
fn place(trouble: &Trouble) -> String {
    let Place { folder, path, uid, .. } = &*trouble.place;
    let uid = uid.map(|uid| format!("UID {uid}"));
    let path = path.clone().filter(|path| uid.is_none() && !trouble.message.contains(path));
    let words: Vec<String> = folder.iter().map(ToString::to_string).chain(uid).chain(path).collect();
    if words.is_empty() { String::new() } else { format!("{}: ", words.join(", ")) }
}

/// Folders' names and servers' words may hold what a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MailboxName, Uid};
    use crate::reconcile::report::Problem;

    #[test]
    fn a_trouble_names_its_message_or_file_once() {
        let problem = |uid: Option<u32>, path: Option<&str>, message: &str| Problem {
            code: "x",
            folder: MailboxName::parse("Sent"),
            path: path.map(str::to_owned),
            uid: uid.and_then(Uid::new),
            message: message.to_owned(),
            hint: String::new(),
            retry_at: None,
        };
        for (problem, expected) in [
            (problem(None, None, "refused"), "Sent: "),
            (problem(Some(7), Some("1.a"), "refused"), "Sent, UID 7: "),
            (problem(None, Some("1.a"), "too large"), "Sent, 1.a: "),
            (problem(None, Some("1.a"), "reading /m/cur/1.a"), "Sent: "),
        ] {
            assert_eq!(place(&Trouble::problem(&problem)), expected);
        }
    }

    #[test]
    fn nothing_printed_commands_the_terminal() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}\u{9b}2J\r\né"), "a\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}\né");
    }
}
