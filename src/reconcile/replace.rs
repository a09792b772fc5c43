//! Messages saved again: the new version goes up first, the old one leaves the server once the new one is proven there.

use std::collections::{BTreeMap, BTreeSet};

use super::flags::united_flags;
use super::plan::{MailboxPlan, RemoteRemoval, Removal};
use super::snapshot::LocalEntry;
use super::view::{Local, Remote, View};
use crate::model::{FileStat, Flag, FlagSet, MessageHash, MessageId, MessageRow, Role, Tombstone, Uid, UniqueName};

/// What was found out about files that may have been saved again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saves {
    /// Files that hold a new version, as they were when that was seen: their content is not that of their row, or they
    /// wait to take the place of a message.
    pub replaced: BTreeMap<UniqueName, FileStat>,
    /// Files known to the baseline that could not be read or are being written to, and files gone that may have a new
    /// version under another name: nothing is decided about them.
    pub unsettled: BTreeSet<UniqueName>,
    /// New files that are the new versions of messages whose files are gone.
    pub successors: BTreeMap<MessageId, UniqueName>,
    /// Files that hold no new version, as they were when that was seen: they are still what their row says, or empty. Only
    /// of those that were asked about.
    pub unchanged: BTreeMap<UniqueName, FileStat>,
}

/// A file about to take the place of messages on the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replacement {
    /// The messages it takes the place of, in order of UID.
    pub outdated: Vec<Outdated>,
    /// The flags it is sent with: those of both sides united.
    pub flags: FlagSet,
    /// The file as it was when its content was seen to be new.
    pub stat: Option<FileStat>,
}

/// A message on the server whose new version lies in the Maildir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated {
    /// The row.
    pub row: MessageId,
    /// The message.
    pub uid: Uid,
    /// The baseline knows already which file takes its place.
    pub recorded: bool,
    /// How it leaves the server once that is there; `None` if it can't.
    pub leaves: Option<Removal>,
}

/// Returns which rows may have a new version under a name that appeared: those whose files are gone, by the name that
/// is missing, with the Message-ID to look for.
pub fn orphans<'r>(
    rows: &'r [MessageRow],
    is_gone: impl Fn(&UniqueName) -> bool,
) -> Vec<(&'r MessageRow, &'r UniqueName, MessageHash)> {
    let pending = |row: &MessageRow| row.tombstone == Some(Tombstone::Replaced);
    let missing = |row: &'r MessageRow| match &row.unique {
        Some(unique) => Some(unique),
        None => row.replaced_by.as_ref().filter(|_| pending(row)),
    };
    let known: BTreeSet<&UniqueName> = rows.iter().filter_map(|row| row.unique.as_ref()).collect();
    let orphan = |row: &'r MessageRow| {
        let name = missing(row)?;
        // What was sent under that name already is no longer waited for.
        let sent = row.unique.is_none() && known.contains(name);
        Some((row, name, row.message_id?)).filter(|_| !sent && is_gone(name))
    };
    rows.iter().filter_map(orphan).collect()
}

/// Pairs rows whose files are gone with files that appeared: the same Message-ID, one file for each name gone. Of several of
/// one Message-ID, those that are alike go together.
pub fn pair_saves(
    orphans: &[(&MessageRow, &UniqueName, MessageHash)],
    appeared: &BTreeMap<UniqueName, MessageHash>,
    are_alike: impl Fn(&MessageRow, &UniqueName) -> bool,
) -> BTreeMap<MessageId, UniqueName> {
    let mut free: BTreeMap<MessageHash, BTreeSet<&UniqueName>> = BTreeMap::new();
    for (unique, id) in appeared {
        free.entry(*id).or_default().insert(unique);
    }
    let mut taken: BTreeMap<&UniqueName, &UniqueName> = BTreeMap::new();
    for any in [false, true] {
        for (row, gone, id) in orphans {
            let Some(left) = free.get_mut(id).filter(|_| !taken.contains_key(*gone)) else { continue };
            if let Some(successor) = left.iter().copied().find(|unique| any || are_alike(row, unique)) {
                left.remove(successor);
                taken.insert(gone, successor);
            }
        }
    }
    orphans.iter().filter_map(|(row, gone, _)| Some((row.id, (*taken.get(gone)?).clone()))).collect()
}

impl View<'_> {
    /// Plans for a message that was saved again, under its name or a new one; returns false if it was not.
    pub(super) fn plan_saved_again(&self, row: &MessageRow, unique: &UniqueName, plan: &mut MailboxPlan) -> bool {
        if self.saves.unsettled.contains(unique) {
            plan.unknown = true;
            return true;
        }
        let same_name = Some(unique).filter(|unique| self.saves.replaced.contains_key(*unique));
        let Some(by) = same_name.or_else(|| self.saves.successors.get(&row.id)) else { return false };
        let Some(entry) = self.scan.entries.get(by) else { return false };
        match self.remote_state(row.uid) {
            Remote::Absent => plan.forget.push(row.id),
            Remote::Same => self.outdate(row, by, entry, None, plan),
            Remote::Seen(message) => self.outdate(row, by, entry, Some(&message.flags), plan),
        }
        true
    }

    /// Plans for a message that an earlier pass found to be saved again.
    pub(super) fn plan_replaced(&self, row: &MessageRow, remote: Option<&FlagSet>, plan: &mut MailboxPlan) {
        let Some(by) = self.saves.successors.get(&row.id).or(row.replaced_by.as_ref()) else { return };
        let removal = |how| RemoteRemoval { row: row.id, uid: row.uid, how, moved_to: None };
        match self.local_state(by) {
            _ if self.saves.unsettled.contains(by) => plan.unknown = true,
            _ if self.is_sent(by) => plan.remove_remote.extend(self.outdated(row, by).map(removal)),
            Local::Present(entry) => self.outdate(row, by, entry, remote, plan),
            // The new version was removed, and with it the message.
            Local::Absent => plan.remove_remote.extend(self.removal().map(removal)),
            Local::Unknown => plan.unknown = true,
        }
    }

    /// Returns true if the server has the file as it is.
    fn is_sent(&self, unique: &UniqueName) -> bool {
        !self.saves.replaced.contains_key(unique) && self.knows(unique)
    }

    fn outdate(
        &self,
        row: &MessageRow,
        by: &UniqueName,
        entry: &LocalEntry,
        remote: Option<&FlagSet>,
        plan: &mut MailboxPlan,
    ) {
        let recorded = row.replaced_by.as_ref() == Some(by);
        let replacement = plan.replace.entry(by.clone()).or_default();
        replacement.outdated.push(Outdated { row: row.id, uid: row.uid, recorded, leaves: self.outdated(row, by) });
        // Of several the youngest counts: it bears what the older ones did.
        replacement.flags = united_flags(&row.flags, entry, remote, self.scan, &self.rules, &self.memory.letters);
        replacement.stat = self.saves.replaced.get(by).copied();
    }

    /// Plans the removal of messages whose new versions are on their way, once it is known which are.
    pub(super) fn plan_outdated(&self, plan: &mut MailboxPlan) {
        let sent: BTreeSet<UniqueName> = plan.upload.iter().map(|upload| upload.unique.clone()).collect();
        let found: BTreeSet<UniqueName> = plan.adopt.iter().map(|found| found.unique.clone()).collect();
        let arrives = |by: &UniqueName| sent.contains(by) || found.contains(by);
        plan.replace.retain(|by, replacement| arrives(by) || replacement.outdated.iter().any(|old| !old.recorded));
        for (by, replacement) in plan.replace.iter().filter(|(by, _)| arrives(by)) {
            let moved_to = sent.contains(by).then(|| (self.mailbox, by.clone()));
            let removal = |old: &Outdated| {
                let (row, uid, moved_to) = (old.row, old.uid, moved_to.clone());
                old.leaves.map(|how| RemoteRemoval { row, uid, how, moved_to })
            };
            plan.remove_remote.extend(replacement.outdated.iter().filter_map(removal));
        }
    }

    /// Returns how a message leaves the server that has a new version there. Drafts are saved again as a matter of course.
    /// Any other file that changed may be a damaged one: then the server's copy is the good one, and it leaves like what
    /// was removed.
    fn outdated(&self, row: &MessageRow, by: &UniqueName) -> Option<Removal> {
        let flagged = self.scan.entries.get(by).is_some_and(|entry| entry.flags.has(Flag::Draft));
        let is_draft = self.role == Some(Role::Drafts) || flagged || row.flags.has(Flag::Draft);
        self.removal().map(|how| match how {
            Removal::Trash | Removal::Expunge if is_draft => Removal::Moved,
            other => other,
        })
    }
}

impl MailboxPlan {
    /// Returns the rows that have a new version on its way.
    pub fn outdated(&self) -> BTreeSet<MessageId> {
        self.replace.values().flat_map(|replacement| &replacement.outdated).map(|old| old.row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MailboxId;

    fn name(text: &str) -> UniqueName {
        UniqueName::new(text).unwrap()
    }

    fn row(id: u32, file: Option<&str>, replaced_by: Option<&str>, message_id: Option<i64>) -> MessageRow {
        MessageRow {
            id: MessageId(i64::from(id)),
            mailbox: MailboxId(1),
            uid: Uid::new(id).unwrap(),
            unique: file.map(name),
            flags: FlagSet::new(),
            tombstone: replaced_by.map(|_| Tombstone::Replaced),
            date: None,
            size: None,
            content: None,
            message_id: message_id.map(MessageHash),
            stat: None,
            email_id: None,
            replaced_by: replaced_by.map(name),
        }
    }

    fn pairs(rows: &[MessageRow], there: &[&str], appeared: &[(&str, i64)]) -> Vec<(i64, String)> {
        let orphans = orphans(rows, |unique| !there.contains(&unique.as_str()));
        let appeared = appeared.iter().map(|(file, id)| (name(file), MessageHash(*id))).collect();
        pair_saves(&orphans, &appeared, |_, _| false).into_iter().map(|(row, by)| (row.0, by.to_string())).collect()
    }

    #[test]
    fn a_file_gone_and_one_that_appeared_with_its_message_id_are_one_draft() {
        let rows = [row(1, Some("a"), None, Some(7)), row(2, Some("b"), None, Some(8)), row(3, Some("c"), None, None)];
        assert_eq!(pairs(&rows, &["b"], &[("new", 7), ("other", 8)]), [(1, "new".to_owned())]);
        assert_eq!(pairs(&rows, &["a", "b", "c"], &[("new", 7)]), []);
        assert_eq!(pairs(&rows, &[], &[("new", 9)]), []);
    }

    #[test]
    fn they_pair_one_to_one() {
        let twins = [row(1, Some("a"), None, Some(7)), row(2, Some("b"), None, Some(7))];
        assert_eq!(pairs(&twins, &[], &[("x", 7)]), [(1, "x".to_owned())]);
        assert_eq!(pairs(&twins, &[], &[("x", 7), ("y", 7)]), [(1, "x".to_owned()), (2, "y".to_owned())]);
    }

    #[test]
    fn all_versions_that_one_file_was_to_replace_are_replaced_by_its_successor() {
        let rows = [row(1, None, Some("n"), Some(7)), row(2, None, Some("n"), Some(7))];
        assert_eq!(pairs(&rows, &[], &[("m", 7)]), [(1, "m".to_owned()), (2, "m".to_owned())]);
        assert_eq!(pairs(&rows, &["n"], &[("m", 7)]), []);
        let sent = [row(1, None, Some("n"), Some(7)), row(2, Some("n"), None, None)];
        assert_eq!(pairs(&sent, &[], &[("m", 7)]), [], "what was sent is waited for no more");
    }
}
