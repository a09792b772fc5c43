//! Listening to the Maildir.

use super::keep::{Keeper, Plan, Told};
use super::schedule::About;
use crate::maildir::{self, Diary, WatchError};

/// The Maildir's watch, as far as there is one.
pub(super) struct Local {
    settings: maildir::Settings,
    diary: Diary,
    watch: Option<maildir::Watch>,
    /// Directories came or went, or could not be watched.
    outdated: bool,
    /// It has been told that not everything is watched.
    told: bool,
}

impl Local {
    /// Watches nothing yet.
    pub(super) fn new(plan: &Plan) -> Self {
        Self { settings: plan.maildir.clone(), diary: plan.diary.clone(), watch: None, outdated: true, told: false }
    }

    /// Before a look: what was heard is seen then, where it was, and directories that came are watched from now on.
    /// Returns what to look at for that.
    pub(super) fn prepare<K: Keeper>(&mut self, keeper: &K) -> About {
        let heard = self.take();
        self.diary.forget();
        if !self.outdated && self.watch.as_ref().is_some_and(maildir::Watch::has_root) {
            return heard;
        }
        let renewed = self.renew();
        self.outdated = renewed.is_err();
        match renewed {
            Ok(()) => self.told = false,
            Err(error) if !std::mem::replace(&mut self.told, true) => keeper.tell(Told::Unwatched(&error)),
            Err(_) => {}
        }
        About::Everything
    }

    fn renew(&mut self) -> Result<(), WatchError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => maildir::Watch::new(self.settings.clone(), self.diary.clone())?,
        };
        self.watch.insert(watch).renew()
    }

    /// Watches a root that a sync has made. Returns true if it did, so that what came before has to be looked for.
    pub(super) fn is_late<K: Keeper>(&mut self, keeper: &K) -> bool {
        let had_root = self.watch.as_ref().is_none_or(maildir::Watch::has_root);
        if had_root {
            return false;
        }
        self.prepare(keeper);
        self.watch.as_ref().is_some_and(maildir::Watch::has_root)
    }

    fn take(&mut self) -> About {
        let heard = self.watch.as_ref().map(maildir::Watch::take).unwrap_or_default();
        self.outdated |= heard.structure;
        if heard.structure { About::Everything } else { heard.mail.into_iter().collect() }
    }

    /// Waits until something was heard, and takes it. Without a watch nothing ever is.
    pub(super) async fn changed(&mut self) -> About {
        match &self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
        self.take()
    }
}
