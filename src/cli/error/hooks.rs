//! The words for hooks.

use super::Trouble;
use crate::cli::exit::Exit;

const BEFORE_SYNC: &str = "before-sync";

impl Trouble {
    /// The hook before a sync did not let it happen.
    pub(in crate::cli) fn forbidden(why: &str) -> Self {
        let message = format!("the hook before_sync {why}; nothing was changed");
        Self::new(Exit::Partial, BEFORE_SYNC, message, "run it by hand, or remove hooks.before_sync")
    }

    /// Returns true if the hook before a sync did not let it happen.
    pub(in crate::cli) fn is_forbidden(&self) -> bool {
        self.code == BEFORE_SYNC
    }

    /// A hook after a sync did not do what it should.
    pub(in crate::cli) fn hook(hook: &str, why: &str) -> Self {
        let message = format!("the hook {hook} {why}; the sync before it is not concerned");
        Self::new(Exit::Partial, "hook-failed", message, format!("run it by hand, or remove hooks.{hook}"))
    }
}
