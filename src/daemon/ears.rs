//! What was heard from the server and is not acted on yet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::{Notify, watch};

use super::keep::{Keeper, News, Told};
use super::schedule::About;
use crate::imap::Reach;
use crate::model::{MailboxName, ModSeq};

/// What the part that listens to the server shares with the one that syncs.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// The server can be listened to since the last look at this.
    pub(super) connected: Cell<bool>,
    /// The mailboxes that changed, with their HIGHESTMODSEQ as far as it is known; no name for one that is not.
    pub(super) changed: RefCell<BTreeMap<Option<MailboxName>, Option<ModSeq>>>,
    /// Rings when there is something to look at here.
    pub(super) rung: Notify,
    /// How far the first connection hears, if there is one.
    pub(super) reach: watch::Sender<Option<Reach>>,
    /// Something was told, whatever it is about, since the last sync began.
    pub(super) told: Cell<bool>,
    /// Changes of flags are told, too.
    pub(super) hears_flags: Cell<bool>,
    /// The server was found not to tell what it should, and has told nothing since.
    doubted: Cell<bool>,
    /// Rings when the server is found not to tell of all mailboxes though it should.
    pub(super) distrusted: Notify,
}

impl Ears {
    /// The server can be listened to from now on.
    pub(super) fn connect(&self) {
        self.connected.set(true);
        self.rung.notify_one();
    }

    /// The server does tell, of whatever mailbox.
    pub(super) fn trust(&self) {
        self.told.set(true);
        self.doubted.set(false);
    }

    /// The server was found not to tell what it should. Returns true if it gets another chance: what tells something after
    /// that gets one each time.
    pub(super) fn doubt(&self) -> bool {
        !self.doubted.replace(true)
    }

    /// Returns true if a sync brought what should have been told, and nothing was since it began.
    pub(super) fn is_untold(&self, news: News) -> bool {
        let audible = match news {
            News::Nothing => false,
            News::Flags => self.hears_flags.get(),
            News::More => true,
        };
        audible && !self.told.get()
    }

    /// A mailbox changed, or something did.
    pub(super) fn hear(&self, mailbox: Option<MailboxName>, now: Option<ModSeq>) {
        let mut changed = self.changed.borrow_mut();
        // Of one that was told without its state there is more to know than the state told later.
        changed.entry(mailbox).and_modify(|before| *before = before.and(now)).or_insert(now);
        self.rung.notify_one();
    }

    /// Takes what was heard, and returns where.
    pub(super) fn take(&self) -> About {
        self.changed.take().into_keys().collect()
    }

    /// Takes what was heard. Returns where any of it is news: what a sync did on the server is not.
    pub(super) fn news<K: Keeper>(&self, keeper: &K) -> Option<About> {
        let is_known = |(mailbox, now): &(Option<MailboxName>, Option<ModSeq>)| {
            mailbox.as_ref().zip(*now).is_some_and(|(mailbox, now)| keeper.knows(mailbox, now))
        };
        let news = self.changed.take().into_iter().filter(|heard| !is_known(heard)).map(|(mailbox, _)| mailbox);
        let news: Vec<Option<MailboxName>> = news.collect();
        news.iter().for_each(|mailbox| keeper.tell(Told::Server(mailbox.as_ref())));
        (!news.is_empty()).then(|| news.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_tells_of_and_did_not_is_untold() {
        let ears = Ears::default();
        let untold = || [News::Nothing, News::Flags, News::More].map(|news| ears.is_untold(news));
        assert_eq!(untold(), [false, false, true]);
        ears.hears_flags.set(true);
        assert_eq!(untold(), [false, true, true]);
        ears.trust();
        assert_eq!(untold(), [false; 3]);
    }

    #[test]
    fn one_that_tells_nothing_at_all_is_given_up_and_one_that_does_now_and_then_is_not() {
        let ears = Ears::default();
        assert!(ears.doubt());
        ears.trust();
        assert!(ears.doubt());
        assert!(!ears.doubt());
    }
}
