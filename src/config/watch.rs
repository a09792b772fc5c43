//! `[accounts.NAME.watch]`: what to watch for between syncs.

use std::time::Duration;

use super::error::Flaw;
use super::folders::pattern;
use super::raw;
use super::values::duration;
use crate::reconcile::scope::Pattern;

/// A server asked more often than this may take offence.
const OFTENEST: Duration = Duration::from_secs(10);

/// What `mailtide watch` watches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The server's folders whose changes are acted on at once.
    pub folders: Vec<Pattern>,
    /// How often everything is looked at, whatever was heard.
    pub poll: Duration,
}

/// Checks what to watch for.
pub(super) fn check(raw: raw::Watch) -> Result<Watch, Flaw> {
    let folders = match raw.folders {
        Some(texts) => texts.iter().map(pattern).collect::<Result<_, _>>()?,
        None => vec![Pattern::Glob("*".to_owned())],
    };
    let hint = "use a time such as \"5m\" or \"1h\", at least \"10s\"";
    let poll = match &raw.poll {
        Some(value) => duration(value, "watch.poll", hint)?,
        None => Duration::from_secs(5 * 60),
    };
    match (poll < OFTENEST, &raw.poll) {
        (true, Some(value)) => Err(Flaw::new(value.span(), "watch.poll can't be less than 10s", hint)),
        _ => Ok(Watch { folders, poll }),
    }
}
