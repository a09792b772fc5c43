//! Whether a mailbox is the one that is searched for: by a look at it, and at some of its messages.

use std::collections::BTreeMap;

use super::find::Search;
use crate::apply::is_fatal;
use crate::cycle::gone::Presence;
use crate::cycle::observe::Sight;
use crate::cycle::{Run, Scene};
use crate::model::{Identity, MailboxName, MailboxRow, MessageRow, Uid, UidSet, UidValidity};
use crate::reconcile::renames::{Candidate, Likeness, counterparts, is_emptied, likeness, may_be_renumbered};
use crate::reconcile::renumber::{Numbers, numbers};
use crate::reconcile::snapshot::{RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{Failure, Journal, LocalStore, RemoteErrorKind, RemoteStore};

/// How many messages' headers tell a mailbox from another that looks like it.
const SAMPLE: usize = 8;
/// How much mail is compared whole where headers might do, in bytes.
const SMALL: u64 = 64 * 1024;

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
    /// that got the name since: only what it holds tells. `None` if it can't be looked at.
    pub(super) async fn keeps_its_name(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
    ) -> Result<Option<bool>, Failure> {
        let scene = search.scene;
        if scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable) {
            return Ok(Some(false));
        }
        match self.look_for(scene, row).await? {
            Presence::Gone => Ok(Some(false)),
            Presence::Refused(_) => Ok(None),
            Presence::There(_) => {
                let own = Candidate { name: row.name.clone(), owned: false };
                let is_it = self.is_it(search, row, messages, &own, true).await?;
                Ok((is_it || !search.unseen.contains(&row.name)).then_some(is_it))
            }
        }
    }

    /// Looks whether a mailbox is the one that a row speaks of.
    pub(super) async fn is_it(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
        candidate: &Candidate,
        ambiguous: bool,
    ) -> Result<bool, Failure> {
        let Candidate { name, owned } = candidate;
        let Some(seen) = self.look_at_name(search, name).await? else { return Ok(false) };
        let (is_own, validity) = (*name == row.name, seen.uid_validity());
        let there = messages.iter().filter(|message| seen.messages.get(message.uid).is_some());
        let there: BTreeMap<Uid, &MessageRow> = there.map(|message| (message.uid, message)).collect();
        let is_comparable = is_comparable(row, messages, &seen, is_own);
        let is_emptied = is_comparable && is_emptied(row, search.rows, &search.scene.listing, name, &seen, self.now);
        let likeness = match is_comparable {
            true if is_emptied => Likeness::Remains,
            true => likeness(row, messages, &seen),
            false => Likeness::None,
        };
        let is_alike = match likeness {
            Likeness::None => false,
            // Under its own name no other has to speak for it.
            Likeness::Blank => is_own || search.goes_along(&row.name, name),
            // What is left of it, in a name that somebody else has, is too little.
            Likeness::Remains if *owned && !is_emptied => false,
            Likeness::Remains => self.hold_the_same(search, &there, (name, validity), true).await?,
            Likeness::Most => self.hold_the_same(search, &there, (name, validity), ambiguous || *owned).await?,
        };
        match is_alike && !is_own {
            true => self.holds_no_copies(search, row, messages, candidate, &there).await,
            false => Ok(is_alike),
        }
    }

    /// Returns true if a mailbox that holds these of a row's messages is the row's, and not one they were copied to: all of
    /// them may have been, by this program on the way to Trash, too. If other messages were known in it under these
    /// numbers, whoever had the name has lost it. Notes what is there whole.
    async fn holds_no_copies(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
        Candidate { name, owned }: &Candidate,
        there: &BTreeMap<Uid, &MessageRow>,
    ) -> Result<bool, Failure> {
        let in_part = there.len() < messages.len();
        let known = if *owned { self.known_under(search, name, there)? } else { Vec::new() };
        let may_be_copies = *owned && !there.is_empty() && !known.iter().any(|owner| is_other(owner, there));
        if in_part || may_be_copies {
            // Numbers in a name that another has are that one's own: of two that hold equally much they tell nothing.
            let elsewhere = there.len().saturating_sub(usize::from(*owned));
            match self.holds_more_under_its_name(search, row, messages, elsewhere).await? {
                Some(false) => {}
                Some(true) => return Ok(false),
                None => {
                    search.unseen.insert(name.clone());
                    return Ok(false);
                }
            }
        }
        self.whole_there.extend((!in_part && known.is_empty()).then_some(row.id));
        Ok(true)
    }

    /// Returns what the baseline knows of a mailbox under these UIDs: what looks like it there are copies.
    fn known_under(
        &mut self,
        search: &Search<'_>,
        name: &MailboxName,
        there: &BTreeMap<Uid, &MessageRow>,
    ) -> Result<Vec<MessageRow>, Failure> {
        let Some(owner) = search.rows.iter().find(|row| row.name == *name) else { return Ok(Vec::new()) };
        let mut known = self.account.journal.messages(owner.id)?;
        known.retain(|message| there.contains_key(&message.uid));
        Ok(known)
    }

    /// Returns all that is in a mailbox, `None` if it can't be looked at. One that is not there is none.
    async fn look_at_name(
        &mut self,
        search: &mut Search<'_>,
        name: &MailboxName,
    ) -> Result<Option<RemoteSnapshot>, Failure> {
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            Some(Ok(seen)) if matches!(seen.messages, RemoteMessages::Full(_)) => return Ok(Some(seen)),
            Some(Err(error)) if is_fatal(&error) => return Err(error.into()),
            Some(Err(error)) if error.kind == RemoteErrorKind::NoSuchMailbox => {}
            Some(Ok(_) | Err(_)) | None => drop(search.unseen.insert(name.clone())),
        }
        Ok(None)
    }

    /// Returns true if the mailbox that has a row's name holds more of what is known than one that has its numbers and this
    /// many: the server numbered it anew, and what the other holds was copied there. Taken for renamed, it would lose here
    /// what only it holds, with all that is pending. Of two that hold equally much the numbers tell, if they are nobody
    /// else's. `None` if it can't be looked at.
    pub(super) async fn holds_more_under_its_name(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
        elsewhere: usize,
    ) -> Result<Option<bool>, Failure> {
        if search.there.contains_key(&row.name) || !may_be_renumbered(row, &search.scene.listing) {
            return Ok(Some(false));
        }
        search.unseen.remove(&row.name);
        let mut holds = false;
        if let Some(seen) = self.look_at_name(search, &row.name).await? {
            let own = counterparts(messages, &seen);
            holds = own.len() > elsewhere
                && self.hold_the_same(search, &own, (&row.name, seen.uid_validity()), true).await?;
        }
        Ok((holds || !search.unseen.contains(&row.name)).then_some(holds))
    }

    /// Looks at the headers of some of the messages that seem to be there: in mailboxes made at once and filled alike,
    /// numbers, sizes and dates may agree. Where no header has a Message-ID, where the whole is small, or if asked to, at
    /// whole messages: a draft saved again keeps its header.
    async fn hold_the_same(
        &mut self,
        search: &mut Search<'_>,
        there: &BTreeMap<Uid, &MessageRow>,
        (name, validity): (&MailboxName, UidValidity),
        thoroughly: bool,
    ) -> Result<bool, Failure> {
        let there = there.iter().map(|(uid, message)| (*uid, *message));
        let (named, nameless): (Vec<_>, Vec<_>) = there.partition(|(_, message)| message.message_id.is_some());
        let some = sample(if named.is_empty() { &nameless } else { &named });
        let whole = thoroughly || named.is_empty() || is_small(&some);
        if some.is_empty() {
            return Ok(true);
        }
        let uids: UidSet = some.keys().copied().collect();
        match self.account.remote.identify(name, validity, &uids, whole).await {
            Ok(found) => Ok(some.iter().all(|(uid, message)| {
                found.get(uid).is_some_and(|identity| match whole {
                    true => message.content.is_none_or(|content| identity.content == Some(content)),
                    false => identity.message_id == message.message_id,
                })
            })),
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(_) => {
                search.unseen.insert(name.clone());
                Ok(false)
            }
        }
    }

    /// Returns true if none of a few of these rows is the message under its UID, by Message-ID or, where another mailbox may
    /// have the name, by content: a server may change both date and content of what it stores. What can't be looked at
    /// proves nothing.
    pub(in crate::cycle) async fn are_others(
        &mut self,
        sight: &Sight,
        rows: &[(Uid, &MessageRow)],
    ) -> Result<bool, Failure> {
        let whole = self.contested.contains(&sight.row.id);
        let told = rows.iter().filter(|(_, row)| whole || row.message_id.is_some()).copied().collect::<Vec<_>>();
        let some = sample(&told);
        let Some(remote) = sight.remote.as_ref().filter(|_| !some.is_empty()) else { return Ok(false) };
        let uids: UidSet = some.keys().copied().collect();
        let is_another = |row: &MessageRow, now: &Identity| {
            row.message_id != now.message_id || row.content.zip(now.content).is_some_and(|(old, new)| old != new)
        };
        match self.account.remote.identify(&sight.row.name, remote.uid_validity(), &uids, whole).await {
            Ok(found) => {
                Ok(some.iter().all(|(uid, row)| found.get(uid).is_some_and(|identity| is_another(row, identity))))
            }
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
}

/// Returns true if a mailbox has the numbers that a row's had. With them it keeps UIDNEXT, which never falls: what has come
/// less far than is known is another, though it holds copies under the same UIDs. Only its own name tells one put back.
fn is_comparable(row: &MailboxRow, messages: &[MessageRow], seen: &RemoteSnapshot, is_own: bool) -> bool {
    let highest = messages.iter().map(|message| message.uid).max();
    Some(seen.uid_validity()) == row.uid_validity
        && (is_own || numbers(row, highest, &seen.watermark) != Numbers::Changed)
}

/// Returns true if the baseline knows another message under the UID of one that seems to be there.
fn is_other(owner: &MessageRow, there: &BTreeMap<Uid, &MessageRow>) -> bool {
    let now = there.get(&owner.uid).and_then(|message| message.content);
    owner.content.zip(now).is_some_and(|(before, now)| before != now)
}

/// Returns true if these messages are known to take little to fetch.
fn is_small(messages: &BTreeMap<Uid, &MessageRow>) -> bool {
    let size: Option<u64> = messages.values().map(|message| message.size).sum();
    size.is_some_and(|size| size <= SMALL)
}

/// Returns a few of these messages, from all parts of a mailbox.
fn sample<'r>(messages: &[(Uid, &'r MessageRow)]) -> BTreeMap<Uid, &'r MessageRow> {
    let step = messages.len().div_ceil(SAMPLE).max(1);
    messages.iter().rev().step_by(step).copied().collect()
}
