//! `[hooks]`: commands run around a sync.

use toml::Spanned;

use super::error::Flaw;
use super::raw::{self, Command};
use super::secret::runnable;

/// Commands run around a sync. An empty string is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before it; if it fails, nothing is touched.
    pub before_sync: Option<Command>,
    /// After one that brought messages into the Maildir.
    pub on_new_mail: Option<Command>,
    /// After one that changed anything on either side.
    pub on_change: Option<Command>,
}

/// Checks the hooks.
pub(super) fn check(raw: raw::Hooks) -> Result<Hooks, Flaw> {
    Ok(Hooks {
        before_sync: hook(raw.before_sync)?,
        on_new_mail: hook(raw.on_new_mail)?,
        on_change: hook(raw.on_change)?,
    })
}

fn hook(value: Option<Spanned<Command>>) -> Result<Option<Command>, Flaw> {
    match value {
        Some(value) if matches!(value.get_ref(), Command::Shell(line) if line.is_empty()) => Ok(None),
        Some(value) => runnable(value.span(), value.into_inner()).map(Some),
        None => Ok(None),
    }
}
