//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A line and a column of a file, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// Returns the position of a byte offset in a text.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let last = before.rsplit_once('\n').map_or(before, |(_, last)| last);
        Self { line: before.matches('\n').count() + 1, column: last.chars().count() + 1 }
    }
}

/// An error in the configuration. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Where in it; `None` if it could not be read at all.
    pub at: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// There is no such file.
    pub missing: bool,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// Something wrong at a byte range of the text: what the checks return, before file and line are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Where.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: String,
}

impl Flaw {
    /// Returns the flaw of a value that can't be used.
    pub(super) fn new(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: hint.into() }
    }

    /// Returns the flaw of a key, or a value of it, that this version does not know yet.
    pub(super) fn not_yet(span: Range<usize>, what: &str) -> Self {
        Self::new(span, format!("{what} is not supported yet"), "remove it; this version can't do what it asks for")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ä=1\n\nöb = 2";
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (4, 1, 4), (5, 2, 1), (6, 3, 1), (9, 3, 3), (99, 3, 7)] {
            assert_eq!(Position::of(text, offset), Position { line, column }, "{offset}");
        }
    }
}
