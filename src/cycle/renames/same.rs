//! Whether a mailbox is the one that is searched for: by a look at it, and at some of its messages.

use std::collections::BTreeMap;

use super::find::Search;
use crate::apply::is_fatal;
use crate::cycle::gone::Presence;
use crate::cycle::{Run, Scene};
use crate::model::{MailboxName, MailboxRow, MessageRow, Uid, UidSet};
use crate::reconcile::renames::{Candidate, Likeness, likeness};
use crate::reconcile::snapshot::{RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

/// How many messages' headers tell a mailbox from another that looks like it.
const SAMPLE: usize = 8;

impl Search<'_> {
    /// Returns true if one above, below or beside it was found under a name that asks for this one.
    fn goes_along(&self, from: &MailboxName, to: &MailboxName) -> bool {
        let carries = |from: &MailboxName, to: &MailboxName, old: &MailboxName, new: &MailboxName| {
            old.rebased(from, to).as_ref() == Some(new)
        };
        self.there.iter().any(|(new, old)| {
            let above = old.parent().zip(new.parent()).filter(|(from, to)| carries(from, to, old, new));
            carries(old, new, from, to)
                || carries(from, to, old, new)
                || above.is_some_and(|(old, new)| carries(&old, &new, from, to))
        })
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// LIST may leave a mailbox out: it has lost its name only if that can't be opened because nothing has it.
    pub(super) async fn is_left_out(&mut self, scene: &Scene, row: &MailboxRow) -> Result<bool, Failure> {
        let is_listed = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
        Ok(!is_listed && !matches!(self.look_for(scene, row).await?, Presence::Gone))
    }

    /// Returns true if a mailbox that LIST leaves out has its name all the same. What can be opened under it may be another
    /// that got the name since: only what it holds tells.
    pub(super) async fn keeps_its_name(
        &mut self,
        search: &Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
    ) -> Result<bool, Failure> {
        let scene = search.scene;
        if scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable) {
            return Ok(false);
        }
        match self.look_for(scene, row).await? {
            Presence::Gone => Ok(false),
            Presence::Refused(_) => Ok(true),
            Presence::Unlisted => {
                let own = Candidate { name: row.name.clone(), owned: false };
                self.is_it(search, row, messages, &own, true).await
            }
        }
    }

    /// Looks whether a mailbox is the one that a row speaks of.
    pub(super) async fn is_it(
        &mut self,
        search: &Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
        candidate: &Candidate,
        ambiguous: bool,
    ) -> Result<bool, Failure> {
        let Candidate { name, owned } = candidate;
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            Some(Ok(seen)) => {
                let whole = matches!(seen.messages, RemoteMessages::Full(_));
                let comparable = whole && Some(seen.uid_validity()) == row.uid_validity;
                match if comparable { likeness(row, messages, &seen) } else { Likeness::None } {
                    Likeness::None => Ok(false),
                    // Under its own name no other has to speak for it.
                    Likeness::Blank => Ok(*name == row.name || search.goes_along(&row.name, name)),
                    // What is left of it, in a name that somebody else has, is too little.
                    Likeness::Remains if *owned => Ok(false),
                    Likeness::Remains => self.hold_the_same(messages, &seen, name, true).await,
                    Likeness::Most => self.hold_the_same(messages, &seen, name, ambiguous || *owned).await,
                }
            }
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Looks at the headers of some of the messages that are there: in mailboxes made at once and filled alike, numbers,
    /// sizes and dates may agree. Where no header has a Message-ID, or if asked to, at whole messages.
    async fn hold_the_same(
        &mut self,
        messages: &[MessageRow],
        seen: &RemoteSnapshot,
        name: &MailboxName,
        thoroughly: bool,
    ) -> Result<bool, Failure> {
        let there = messages.iter().filter(|message| seen.messages.get(message.uid).is_some());
        let (named, nameless): (Vec<_>, Vec<_>) = there.partition(|message| message.message_id.is_some());
        let whole = thoroughly || named.is_empty();
        let some = sample(if named.is_empty() { &nameless } else { &named });
        if some.is_empty() {
            return Ok(true);
        }
        let uids: UidSet = some.keys().copied().collect();
        match self.account.remote.identify(name, seen.uid_validity(), &uids, whole).await {
            Ok(found) => Ok(some.iter().all(|(uid, message)| {
                found.get(uid).is_some_and(|identity| match whole {
                    true => message.content.is_none_or(|content| identity.content == Some(content)),
                    false => identity.message_id == message.message_id,
                })
            })),
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
}

/// Returns a few of these messages, from all parts of a mailbox.
fn sample<'r>(messages: &[&'r MessageRow]) -> BTreeMap<Uid, &'r MessageRow> {
    let step = messages.len().div_ceil(SAMPLE).max(1);
    messages.iter().rev().step_by(step).map(|message| (message.uid, *message)).collect()
}
