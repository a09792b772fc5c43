//! Reading the configuration file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::checked::{self, Config};
use super::error::{ConfigError, Flaw, Position};
use super::paths::Places;
use super::raw;

/// How to begin, for those who have no configuration yet.
pub(super) const EXAMPLE: &str = "an account takes these five lines:\n\
    [accounts.work]\n\
    host = \"imap.example.org\"\n\
    user = \"me@example.org\"\n\
    password_command = \"pass show mail/work\"\n\
    maildir.path = \"~/Mail/work\"";

impl Config {
    /// Reads and checks a configuration file. Nothing is touched.
    pub fn load(file: &Path, places: &Places) -> Result<Config, ConfigError> {
        let (text, private) = read(file).map_err(|error| unreadable(file, &error))?;
        let flawed = |flaw: Flaw| ConfigError {
            file: file.to_owned(),
            at: Some(Position::of(&text, flaw.span.start)),
            message: flaw.message,
            hint: flaw.hint,
            missing: false,
        };
        let raw: raw::File = toml::from_str(&text).map_err(|error| flawed(syntax(&error)))?;
        check_private(&raw, private).map_err(flawed)?;
        checked::check(raw, file.to_owned(), places, 0..text.len()).map_err(flawed)
    }
}

/// Returns the text, and whether only its owner can read it; both of the same open file.
fn read(path: &Path) -> io::Result<(Zeroizing<String>, bool)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.read_to_string(&mut text)?;
    Ok((text, metadata.permissions().mode() & 0o077 == 0))
}

fn unreadable(file: &Path, error: &io::Error) -> ConfigError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let (message, hint) = match missing {
        true => ("there is no such configuration file".to_owned(), format!("write it; {EXAMPLE}")),
        false => {
            (format!("the configuration can't be read: {error}"), "make it a UTF-8 text that you can read".to_owned())
        }
    };
    ConfigError { file: file.to_owned(), at: None, message, hint, missing }
}

/// The library's own Display would repeat the line, which may hold a password.
fn syntax(error: &toml::de::Error) -> Flaw {
    let message = error.message();
    let span = error.span().unwrap_or_default();
    match message.strip_prefix("unknown field ").map(|rest| rest.split_once(", ").map_or(rest, |(key, _)| key)) {
        Some(key) => Flaw::new(span, format!("unknown key {key}"), "correct its spelling or remove it"),
        None => Flaw::new(span, message.replace('\n', ": "), "correct the file"),
    }
}

fn check_private(raw: &raw::File, private: bool) -> Result<(), Flaw> {
    let all = raw.accounts.values().map(toml::Spanned::get_ref).chain([&raw.defaults]);
    let password: Option<Range<usize>> =
        all.filter_map(|account| account.password.as_ref()).map(toml::Spanned::span).min_by_key(|span| span.start);
    match password {
        Some(span) if !private => Err(Flaw::new(
            span,
            "others can read this file, and it holds a password",
            "chmod 600 the file, or use password_command",
        )),
        _ => Ok(()),
    }
}
