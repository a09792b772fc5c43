//! Single values: words, numbers, paths, times.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::error::Flaw;
use super::paths::Places;

/// Returns a text that an account must have.
pub(super) fn required(
    value: Option<&Spanned<String>>,
    key: &str,
    account: &Range<usize>,
    unfit: impl Fn(char) -> bool,
) -> Result<String, Flaw> {
    let Some(value) = value else {
        let message = format!("this account has no {key}");
        return Err(Flaw::new(account.clone(), message, format!("add {key} = \"…\" to it")));
    };
    let text = value.get_ref();
    match text.is_empty() || text.chars().any(|c| c.is_control() || unfit(c)) {
        true => Err(Flaw::new(value.span(), format!("{text:?} can't be a {key}"), format!("correct {key}"))),
        false => Ok(text.clone()),
    }
}

/// Returns a number from 1 on.
pub(super) fn nonzero<T: Copy + PartialEq + From<u8>>(value: &Spanned<T>, key: &str) -> Result<T, Flaw> {
    match *value.get_ref() == T::from(0) {
        true => {
            Err(Flaw::new(value.span(), format!("{key} can't be 0"), "give it a number from 1 on, or leave it out"))
        }
        false => Ok(*value.get_ref()),
    }
}

/// Picks the meaning of a word; words without one belong to later work.
pub(super) fn choice<T: Copy>(
    value: Option<&Spanned<String>>,
    key: &str,
    words: &[(&str, Option<T>)],
    default: T,
) -> Result<T, Flaw> {
    let Some(value) = value else { return Ok(default) };
    match words.iter().find(|(word, _)| word == value.get_ref()) {
        Some((_, Some(meaning))) => Ok(*meaning),
        Some((word, None)) => Err(Flaw::not_yet(value.span(), &format!("{key} = \"{word}\""))),
        None => {
            let known: Vec<String> =
                words.iter().filter(|(_, meaning)| meaning.is_some()).map(|(word, _)| format!("\"{word}\"")).collect();
            let message = format!("{key} can't be {:?}", value.get_ref());
            Err(Flaw::new(value.span(), message, format!("use {}", known.join(" or "))))
        }
    }
}

/// Returns a path.
pub(super) fn expand(path: &Spanned<String>, places: &Places) -> Result<PathBuf, Flaw> {
    let message = || format!("{:?} is neither an absolute path nor one that starts with ~/", path.get_ref());
    places.expand(path.get_ref()).ok_or_else(|| Flaw::new(path.span(), message(), "write the path from / or ~/ on"))
}

/// Returns a length of time.
pub(super) fn duration(value: &Spanned<String>, key: &str, hint: &str) -> Result<Duration, Flaw> {
    let unfit = |_| Flaw::new(value.span(), format!("{key} can't be {:?}", value.get_ref()), hint);
    humantime::Duration::from_str(value.get_ref()).map(Into::into).map_err(unfit)
}
