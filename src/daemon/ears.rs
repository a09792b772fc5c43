//! What was heard from the server and is not acted on yet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::{Notify, watch};

use super::keep::{Keeper, Told};
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
    /// Rings when the server is found not to tell of all mailboxes though it should.
    pub(super) distrusted: Notify,
}

impl Ears {
    /// The server can be listened to from now on.
    pub(super) fn connect(&self) {
        self.connected.set(true);
        self.rung.notify_one();
    }

    /// A mailbox changed, or something did.
    pub(super) fn hear(&self, mailbox: Option<MailboxName>, now: Option<ModSeq>) {
        let mut changed = self.changed.borrow_mut();
        // Of one that was told without its state there is more to know than the state told later.
        changed.entry(mailbox).and_modify(|before| *before = before.and(now)).or_insert(now);
        self.rung.notify_one();
    }

    /// Takes what was heard. Returns true if any of it is news: what a sync did on the server is not.
    pub(super) fn has_news<K: Keeper>(&self, keeper: &K) -> bool {
        let mut news = false;
        for (mailbox, now) in self.changed.take() {
            let known = mailbox.as_ref().zip(now).is_some_and(|(mailbox, now)| keeper.knows(mailbox, now));
            if !known {
                keeper.tell(Told::Server(mailbox.as_ref()));
                news = true;
            }
        }
        news
    }
}
