//! Folders that have another name than they had: recognised on either side by what they are, and followed on the other.
//!
//! A mailbox is known by its mailbox id (RFC 8474), else by its UIDVALIDITY together with its messages: servers give equal
//! UIDVALIDITYs to mailboxes made in the same second. A maildir is known by its directory together with its files, else by
//! its files alone: inodes are given again at once. Whoever looks alike in one way only is another.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use super::snapshot::{
    ListedMailbox, LocalListing, LocalMaildir, LocalSnapshot, RemoteListing, RemoteMessage, RemoteSnapshot,
};
use crate::model::{EmailId, MailboxId, MailboxName, MailboxRow, MessageRow, Role, Timestamp, Uid, UidSet, UniqueName};

/// Begins the names under which folders wait that exchange their names: such is never a folder of its own.
const SWAP: &str = "mailtide-swap-";
/// How old a UIDVALIDITY that is a time must be for no mailbox made lately to have it, in seconds.
const YOUNG: i64 = 24 * 3600;

/// Returns the name under which a folder waits until its new one is free.
pub fn swap_name(mailbox: MailboxId) -> Option<MailboxName> {
    MailboxName::parse(&format!("{SWAP}{}", mailbox.0))
}

/// Returns true for the name of a folder that waits until its new one is free, and of one below it that went along.
pub fn is_swap(name: &MailboxName) -> bool {
    let number = name.as_str().split('/').next().and_then(|top| top.strip_prefix(SWAP));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What became of a folder on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// It has the name it had.
    Stayed,
    /// It has this one.
    Moved(MailboxName),
    /// It is nowhere, as far as can be told.
    Gone,
}

/// Returns true if the mailbox that has a row's name, if any, is hardly the row's.
pub fn is_displaced_there(row: &MailboxRow, listing: &RemoteListing) -> bool {
    let Some(listed) = listing.mailboxes.get(&row.name).filter(|listed| listed.selectable) else { return true };
    if let (Some(before), Some(now)) = (&row.object_id, &listed.object_id) {
        return before != now;
    }
    let Some(status) = listed.status else { return false };
    // A first look cut short leaves rows without a watermark.
    let lacks = row.highest.is_some_and(|uid| status.uid_next <= uid.get());
    let went_back = row.watermark.is_some_and(|mark| {
        status.uid_next < mark.uid_next || (status.mod_seq.is_some() && status.mod_seq < mark.mod_seq)
    });
    row.uid_validity.is_some_and(|validity| validity != status.uid_validity || lacks || went_back)
}

/// Returns true if the mailbox that has a row's name may be the row's under other numbers: it holds at least half as much.
pub fn may_be_renumbered(row: &MailboxRow, listing: &RemoteListing) -> bool {
    let listed = listing.mailboxes.get(&row.name).filter(|listed| listed.selectable);
    listed.is_some_and(|listed| listed.status.is_none_or(|status| u64::from(status.messages) * 2 >= row.with_uid))
}

/// A name under which a mailbox may be listed that has lost its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name.
    pub name: MailboxName,
    /// As far as the listing tells, another known mailbox rightly has it.
    pub owned: bool,
}

/// Returns the names under which a mailbox may be listed that has lost its own: the one that is certain, or all that are
/// to be looked at, those first that nobody else has. A name that a mailbox rightly has is none, unless nothing but a look
/// can tell the two apart.
pub fn candidates_there(
    row: &MailboxRow,
    rows: &[MailboxRow],
    listing: &RemoteListing,
    scope: &Scope,
) -> (Option<MailboxName>, Vec<Candidate>) {
    let others = || {
        let usable = |(name, listed): &(&MailboxName, &ListedMailbox)| {
            // Not every client takes subscriptions along: the folder is none that has gone.
            let takes_part = is_swap(name) || scope.takes_part(name, listed.role, true);
            listed.selectable && **name != row.name && !name.is_inbox() && takes_part
        };
        listing.mailboxes.iter().filter(usable)
    };
    if row.object_id.is_some()
        && let Some((name, _)) = others().find(|(_, listed)| listed.object_id == row.object_id)
    {
        return (Some(name.clone()), Vec::new());
    }
    let owner = |name: &MailboxName| rows.iter().find(|other| other.name == *name && is_known(other));
    let is_owned = |name: &MailboxName| owner(name).is_some_and(|other| !is_displaced_there(other, listing));
    let same_second = |name: &MailboxName| owner(name).is_some_and(|other| other.uid_validity == row.uid_validity);
    let same_id = |listed: &ListedMailbox| row.object_id.is_none() || listed.object_id.is_none();
    // Many programs delete a folder by copying all of it to Trash, where it may get the numbers that it had. Taken for
    // renamed, what was never sent would go there, too; a folder that did become the Trash is followed message by message.
    let holds_copies = |(name, listed): &(&MailboxName, &ListedMailbox)| {
        listed.role == Some(Role::Trash) && row.role != Some(Role::Trash) && owner(name).is_none()
    };
    let may_be = |(name, listed): &(&MailboxName, &ListedMailbox)| {
        let next = row.watermark.map_or(0, |mark| mark.uid_next);
        let fits =
            listed.status.is_none_or(|status| Some(status.uid_validity) == row.uid_validity && status.uid_next >= next);
        fits && same_id(listed) && (!is_owned(name) || same_second(name))
    };
    let candidate = |name: &MailboxName| Candidate { name: name.clone(), owned: is_owned(name) };
    let possible = others().filter(may_be).filter(|found| !holds_copies(found));
    let mut candidates: Vec<Candidate> = possible.map(|(name, _)| candidate(name)).collect();
    candidates.sort_by_key(|candidate| candidate.owned);
    (None, candidates)
}

/// Returns true for a row that says something about both sides.
pub fn is_known(row: &MailboxRow) -> bool {
    row.watermark.is_some() || row.with_uid > 0
}

/// How much a mailbox looks like the one that a row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// It is another.
    None,
    /// Both are empty, and have held equally many messages: so are any two that are new.
    Blank,
    /// Nothing in it is strange, but most of what is known has gone.
    Remains,
    /// At least half of the messages known are there.
    Most,
}

/// Compares a mailbox of a row's UIDVALIDITY with what is known of the row's, by a look at all of its messages with dates,
/// sizes and email ids. Nothing tells an empty one from another that was made in the same second and has held as many.
pub fn likeness(row: &MailboxRow, messages: &[MessageRow], seen: &RemoteSnapshot) -> Likeness {
    let listed = seen.messages.listed();
    let next = row.watermark.map(|mark| mark.uid_next);
    if messages.is_empty() {
        let empty = listed.is_empty() && next == Some(seen.watermark.uid_next);
        return if empty { Likeness::Blank } else { Likeness::None };
    }
    let mut same = 0;
    for message in messages {
        let Some(now) = listed.get(&message.uid) else { continue };
        if is_another(message, now) {
            return Likeness::None;
        }
        same += usize::from(message.date.is_some() && message.size == now.size);
    }
    let known: UidSet = messages.iter().map(|message| message.uid).collect();
    let is_strange = |uid: &Uid| next.is_none_or(|next| uid.get() < next) && !known.contains(*uid);
    match same * 2 >= messages.len() {
        true => Likeness::Most,
        // Where nothing of it is left, nothing tells it from another that was made in the same second.
        false if same == 0 || listed.keys().any(is_strange) => Likeness::None,
        false => Likeness::Remains,
    }
}

/// Returns true if a mailbox of a row's UIDVALIDITY is all that is left of the row's, though it may hold nothing of what is
/// known: nobody has its name, nobody else has that UIDVALIDITY where others have theirs, and it has counted on. Often that
/// is the second in which a mailbox was made, so a young one may be another's, too.
pub fn is_emptied(
    row: &MailboxRow,
    rows: &[MailboxRow],
    listing: &RemoteListing,
    candidate: &MailboxName,
    seen: &RemoteSnapshot,
    now: Timestamp,
) -> bool {
    let validity = seen.watermark.uid_validity;
    let is_young = i64::try_from(validity.0).is_ok_and(|made| made > now.0 - YOUNG);
    let next = row.watermark.map_or(0, |mark| mark.uid_next);
    let has_counted_on =
        next > 0 && seen.watermark.uid_next >= next && seen.messages.listed().keys().all(|uid| uid.get() >= next);
    // What a run cut short was about to take for a new mailbox says nothing.
    let is_other =
        |other: &&MailboxRow| other.id != row.id && other.uid_validity.is_some() && other.watermark.is_some();
    let mut others = rows.iter().filter(is_other).peekable();
    let tells_apart =
        others.peek().is_some() && others.all(|other| other.name != *candidate && other.uid_validity != Some(validity));
    let mut listed =
        listing.mailboxes.iter().filter(|(name, _)| *name != candidate).filter_map(|(_, listed)| listed.status);
    !is_young && has_counted_on && tells_apart && listed.all(|status| status.uid_validity != validity)
}

/// Returns true if a UID of a row names another message: with its numbers a mailbox keeps dates and email ids.
pub fn is_another(row: &MessageRow, now: &RemoteMessage) -> bool {
    row.email_id.zip(now.email_id).is_some_and(|(before, now)| before != now)
        || row.date.zip(now.date).is_some_and(|(before, now)| before != now)
}

/// Returns what of a mailbox's messages seems to be there under whatever numbers, one for each, as far as dates, sizes and
/// email ids tell.
pub fn counterparts<'m>(messages: &'m [MessageRow], seen: &RemoteSnapshot) -> BTreeMap<Uid, &'m MessageRow> {
    let mut left: BTreeMap<_, Vec<(Uid, Option<EmailId>)>> = BTreeMap::new();
    for (uid, now) in seen.messages.listed() {
        left.entry((now.date, now.size)).or_default().push((*uid, now.email_id));
    }
    let mut found = BTreeMap::new();
    for message in messages.iter().filter(|message| message.date.is_some()) {
        let is_same =
            |(_, now): &(Uid, Option<EmailId>)| message.email_id.zip(*now).is_none_or(|(before, now)| before == now);
        if let Some(alike) = left.get_mut(&(message.date, message.size))
            && let Some(at) = alike.iter().position(is_same)
        {
            found.insert(alike.remove(at).0, message);
        }
    }
    found
}

/// Returns true if the maildir that has a row's local name, if any, may be another than the row's.
pub fn is_displaced_here(row: &MailboxRow, maildirs: &LocalListing) -> bool {
    let found = maildirs.find(&row.local);
    found.is_none_or(|maildir| row.directory.is_some_and(|directory| directory != maildir.directory))
}

/// Returns the maildirs that may be that of a row which has lost its own. One that has a row of its own is none, even if
/// no run has looked into it yet: it was there beside the row's. Only if it is the row's very directory was that row made
/// by a run which did not recognise it.
pub fn candidates_here<'m>(row: &MailboxRow, rows: &[MailboxRow], maildirs: &'m LocalListing) -> Vec<&'m LocalMaildir> {
    let is_free = |maildir: &&LocalMaildir| {
        let name = &maildir.name;
        let is_its_own = row.directory == Some(maildir.directory);
        let lets_go = |other: &MailboxRow| is_displaced_here(other, maildirs) || (is_its_own && !is_known(other));
        *name != row.local && !name.is_inbox() && rows.iter().filter(|other| other.local == *name).all(lets_go)
    };
    maildirs.maildirs.iter().filter(is_free).collect()
}

/// Returns how much speaks for a maildir to be that of a row: the number of its files that are there, if it is enough. A
/// new version that waits to be sent is a file of the folder, though no message has it yet; gone again, it tells nothing.
pub fn resemblance(row: &MailboxRow, messages: &[MessageRow], seen: &LocalSnapshot) -> Option<usize> {
    let is_there = |name: &&UniqueName| seen.entries.contains_key(*name);
    let waiting = messages.iter().filter_map(|message| message.replaced_by.as_ref()).filter(is_there);
    let known = messages.iter().filter_map(|message| message.unique.as_ref());
    let names: BTreeSet<&UniqueName> = known.chain(waiting).collect();
    let there = names.iter().copied().filter(is_there).count();
    let same_directory = row.directory.is_some() && row.directory == seen.directory;
    match names.len() {
        0 => (same_directory && seen.entries.is_empty()).then_some(0),
        all => (there * 2 >= all).then_some(there),
    }
}

/// What is to be done about a folder that has another name on one side, or should have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its server name now,
    pub name: MailboxName,
    /// and its local name now.
    pub local: MailboxName,
    /// What is to be done.
    pub way: Way,
}

/// Which side follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The Maildir: it gets this local name.
    Here(MailboxName),
    /// The server: the mailbox gets this name.
    There(MailboxName),
    /// None: both have the right names already.
    Neither,
}

/// Decides about a folder. Where both sides renamed it the server's name counts; one that waits under a swap name on a
/// side, or below one, has no name of its own there. `None` if there is nothing to do, or nothing that can be done as a
/// rename.
pub fn decide(
    row: &MailboxRow,
    there: &Whereabouts,
    here: &Whereabouts,
    local_name: impl Fn(&MailboxName) -> MailboxName,
    server_name: impl Fn(&MailboxName) -> Option<MailboxName>,
) -> Option<Rename> {
    let name = match there {
        Whereabouts::Stayed => &row.name,
        Whereabouts::Moved(name) => name,
        Whereabouts::Gone => return None,
    };
    let rename = |local: &MailboxName, way| Rename { mailbox: row.id, name: name.clone(), local: local.clone(), way };
    let local = match here {
        Whereabouts::Stayed => &row.local,
        Whereabouts::Moved(local) => local,
        // It is missed under its new name.
        Whereabouts::Gone => return (*name != row.name).then(|| rename(&local_name(name), Way::Neither)),
    };
    let follows_there = is_swap(name) || (*name == row.name && *local != row.local && !is_swap(local));
    if follows_there {
        let wanted = server_name(local)?;
        return Some(rename(local, if wanted == *name { Way::Neither } else { Way::There(wanted) }));
    }
    let wanted = local_name(name);
    match (wanted == *local, *name == row.name && *local == row.local) {
        (true, true) => None,
        (true, false) => Some(rename(local, Way::Neither)),
        (false, _) => Some(rename(local, Way::Here(wanted))),
    }
}

/// One rename on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its name on that side,
    pub from: MailboxName,
    /// and the one it gets.
    pub to: MailboxName,
}

/// Puts renames of one side in an order in which every name is free when it is given, and none is given below a folder
/// that is about to be renamed and would take it along. Folders that wait for each other in a circle are led apart by way
/// of a swap name. Returns also those whose new name somebody else has.
pub fn order(wanted: Vec<Step>, taken: &BTreeSet<MailboxName>) -> (Vec<Step>, Vec<Step>) {
    let mut taken = taken.clone();
    let mut left: Vec<Step> = wanted;
    left.sort_by(|one, other| one.from.cmp(&other.from));
    let mut steps = Vec::new();
    loop {
        let calm = ready(&left, &taken, true);
        // Led apart before anything is put below a folder of theirs.
        if calm.is_none()
            && let Some(step) = lead_apart(&mut left, &mut taken)
        {
            steps.push(step);
            continue;
        }
        let Some(at) = calm.or_else(|| ready(&left, &taken, false)) else { return (steps, left) };
        let step = left.remove(at);
        taken.remove(&step.from);
        taken.insert(step.to.clone());
        steps.push(step);
    }
}

/// Returns a rename whose new name is free, and, if `calmly`, not below a folder that is about to be renamed.
fn ready(left: &[Step], taken: &BTreeSet<MailboxName>, calmly: bool) -> Option<usize> {
    let free = |step: &Step| !taken.contains(&step.to);
    let calm = |step: &Step| !left.iter().any(|other| step.to.is_below(&other.from) && other != step);
    left.iter().position(|step| free(step) && (!calmly || calm(step)))
}

/// Takes one folder of a circle out of the way of the others.
fn lead_apart(left: &mut [Step], taken: &mut BTreeSet<MailboxName>) -> Option<Step> {
    let at = circle(left)?;
    let step = left.get_mut(at)?;
    let swap = swap_name(step.mailbox).filter(|name| !taken.contains(name))?;
    taken.remove(&step.from);
    taken.insert(swap.clone());
    let aside = Step { to: swap.clone(), ..step.clone() };
    step.from = swap;
    Some(aside)
}

/// Returns one of the renames that wait for each other in a circle.
fn circle(left: &[Step]) -> Option<usize> {
    let from: BTreeMap<&MailboxName, usize> = left.iter().enumerate().map(|(at, step)| (&step.from, at)).collect();
    (0..left.len()).find(|start| {
        let next = |at: &usize| left.get(*at).and_then(|step| from.get(&step.to).copied());
        std::iter::successors(next(start), next).take(left.len()).any(|at| at == *start)
    })
}

/// Returns where a folder is after others above it were renamed with all that lies below them.
pub fn carried(name: &MailboxName, done: &[Step]) -> MailboxName {
    done.iter().fold(name.clone(), |name, step| name.rebased(&step.from, &step.to).unwrap_or(name))
}

#[cfg(test)]
mod tests;
