//! `[accounts.NAME.watch]`: what to watch for between syncs.

use std::time::Duration;

use super::error::Flaw;
use super::folders::pattern;
use super::raw;
use super::values::duration;
use crate::reconcile::scope::Pattern;

/// A server asked more often than this may take offence.
const OFTENEST: Duration = Duration::from_secs(10);

/// One asked less often than this is not polled at all; and times that no clock shows can't be reckoned with.
const SELDOMEST: Duration = Duration::from_secs(366 * 24 * 3600);

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
    let hint = "use a time such as \"5m\" or \"1h\", at least \"10s\" and at most \"1y\"";
    let poll = match &raw.poll {
        Some(value) => duration(value, "watch.poll", hint)?,
        None => Duration::from_secs(5 * 60),
    };
    let flaw = match poll {
        _ if poll < OFTENEST => "watch.poll can't be less than 10s",
        _ if poll > SELDOMEST => "watch.poll can't be more than a year",
        _ => return Ok(Watch { folders, poll }),
    };
    let place = raw.poll.map(|value| value.span()).unwrap_or_default();
    Err(Flaw::new(place, flaw, hint))
}
