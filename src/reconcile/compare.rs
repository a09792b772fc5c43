//! Are both sides of a folder and the baseline equal, message by message? What is not is told; nothing is decided.

mod content;
mod difference;
mod flags;
mod pair;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use content::{Contents, Singles};
pub use difference::{Difference, Kind, Next};

use super::flags::FlagRules;
use super::renames::is_another;
use super::renumber::{Numbers, numbers};
use super::snapshot::{LocalSnapshot, RemoteMessage, RemoteSnapshot};
use crate::model::{
    Flag, FlagDelta, Identity, MailboxName, MailboxRow, MessageId, MessageRow, Tombstone, Uid, UidSet, UniqueName,
};

/// What reading a file brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Its content.
    Content(Identity),
    /// It is empty, which is no message.
    Empty,
    /// Why it could not be read.
    Failed(String),
}

impl Reading {
    fn identity(&self) -> Option<&Identity> {
        match self {
            Reading::Content(identity) => Some(identity),
            Reading::Empty | Reading::Failed(_) => None,
        }
    }
}

/// What earlier syncs were refused, with what was said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Files.
    pub files: BTreeMap<UniqueName, String>,
    /// Messages on the server.
    pub messages: BTreeMap<Uid, String>,
    /// Changes of flags that wait, by file.
    pub flags: BTreeMap<UniqueName, (FlagDelta, String)>,
}

/// Everything seen of one folder.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its server name.
    pub folder: &'a MailboxName,
    /// Its row, if the baseline knows it.
    pub row: Option<&'a MailboxRow>,
    /// The baseline's messages.
    pub rows: &'a [MessageRow],
    /// The maildir.
    pub scan: &'a LocalSnapshot,
    /// The server's side, looked at in full.
    pub remote: &'a RemoteSnapshot,
    /// What decides about flags.
    pub rules: FlagRules,
    /// Every file of the scan, read.
    pub files: BTreeMap<UniqueName, Reading>,
    /// The messages of rows by their headers.
    pub headers: BTreeMap<Uid, Identity>,
    /// Those that are in doubt as a whole.
    pub bodies: BTreeMap<Uid, Identity>,
    /// What earlier syncs were refused.
    pub refused: Refused,
}

/// How a folder compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Messages that are equal on both sides and in the baseline.
    pub equal: u64,
    /// Messages that the server keeps and the Maildir must not get back.
    pub tombstones: u64,
    /// Equal messages with flags that the other side can't have.
    pub confined: u64,
    /// Equal messages that had another date on each side when they were matched; no sync changes that.
    pub dates: u64,
    /// What differs.
    pub differences: Vec<Difference>,
}

const PENDING: &str = "the next sync carries this over";

impl Evidence<'_> {
    /// Returns the messages whose headers tell what they are: those of rows that have a file.
    pub fn pairs(&self) -> UidSet {
        let held = self.rows.iter().filter_map(|row| self.pair(row));
        held.filter(|pair| self.identity(pair.unique).is_some()).map(|pair| pair.row.uid).collect()
    }

    /// Returns the messages whose bodies decide.
    pub fn doubtful(&self) -> UidSet {
        let all = self.all_contents();
        all.values().filter(|contents| contents.need_body()).map(|contents| contents.row.uid).collect()
    }

    /// Compares.
    pub fn compare(&self) -> Comparison {
        let mut found = Comparison::default();
        let validity = self.row.and_then(|row| row.uid_validity);
        if !self.rows.is_empty() && validity != Some(self.remote.uid_validity()) {
            let message = "the server numbers this folder's messages anew (UIDVALIDITY), so none could be compared; \
                           the next sync matches them by their content";
            found.differences.push(self.differs(Kind::UidValidity, Next::Unknown, message));
            return found;
        }
        self.compare_scan(&mut found);
        let contents = self.all_contents();
        let singles = self.singles(&contents);
        let mut named = BTreeSet::new();
        for row in self.rows {
            if let Some(unique) = row.unique.as_ref().filter(|unique| !named.insert(*unique)) {
                let message = "the database has this file twice, for two messages";
                found.differences.push(self.differs(Kind::DuplicateName, Next::Nothing, message).of_file(unique));
            }
            self.compare_row(row, contents.get(&row.id), &singles, &mut found);
        }
        self.compare_unknown_files(&named, &mut found);
        self.compare_unknown_messages(&mut found);
        self.compare_counts(&mut found);
        let accused = found.differences.iter().any(|difference| difference.kind == Kind::WrongPair);
        if accused && self.is_another_mailbox(&contents) {
            let message = "UIDs of this folder name other messages than the database knows, as if another folder had got \
                           its name or the server had been restored from a backup, so none could be compared; \
                           `mailtide sync --full` matches them by their content";
            return Comparison::only(self.differs(Kind::UidValidity, Next::Unknown, message));
        }
        found
    }

    /// Returns true if these may be another mailbox's UIDs: no row is wrong then, they speak of one that is elsewhere,
    /// and without them it would not be recognised there. Mailboxes made in the same second have one UIDVALIDITY.
    fn is_another_mailbox(&self, contents: &BTreeMap<MessageId, Contents<'_>>) -> bool {
        let highest = self.rows.iter().map(|row| row.uid).max();
        let changed = |row: &MailboxRow| numbers(row, highest, &self.remote.watermark) != Numbers::Kept;
        let is_other = |row: &MessageRow| self.message(row.uid).is_some_and(|message| is_another(row, message));
        self.row.is_some_and(changed)
            || (contents.values().all(|both| !both.is_equal()) && contents.values().any(|both| is_other(both.row)))
    }

    fn differs(&self, kind: Kind, next: Next, message: impl Into<String>) -> Difference {
        Difference::new(kind, next, message).of_folder(self.folder)
    }

    fn message(&self, uid: Uid) -> Option<&RemoteMessage> {
        self.remote.messages.listed().get(&uid)
    }

    fn identity(&self, unique: &UniqueName) -> Option<&Identity> {
        self.files.get(unique).and_then(Reading::identity)
    }

    fn compare_scan(&self, found: &mut Comparison) {
        if !self.scan.quiet {
            let message = "its maildir kept changing while it was read, so what is gone from it is not known";
            found.differences.push(self.differs(Kind::NotCompared, Next::Unknown, message));
        }
        if self.scan.letters.is_none() {
            let message = "its dovecot-keywords is missing or damaged, so its keywords could not be compared";
            found.differences.push(self.differs(Kind::NotCompared, Next::Unknown, message));
        }
        for file in &self.scan.duplicates {
            let message = "a second file of a name that another has already; it is left alone";
            let difference = self.differs(Kind::DuplicateName, Next::Nothing, message);
            found.differences.push(Difference { path: Some(file.clone()), ..difference });
        }
    }

    fn compare_row(
        &self,
        row: &MessageRow,
        contents: Option<&Contents<'_>>,
        singles: &Singles,
        found: &mut Comparison,
    ) {
        let Some(unique) = &row.unique else { return self.compare_tombstone(row, found) };
        let differs = |kind, next, message: &str| self.differs(kind, next, message).of_file(unique).of_message(row.uid);
        let there = self.message(row.uid).is_some();
        found.differences.push(match self.scan.entries.contains_key(unique) {
            true if there => return self.compare_pair(row, contents, singles, found),
            true if self.identity(unique).is_some_and(|file| row.content.is_some() && file.content != row.content) => {
                let message = "gone from the server since the last sync, and edited here; the next uploads it as new";
                differs(Kind::GoneThere, Next::Sync, message)
            }
            true => {
                let message = "gone from the server since the last sync; the next removes the file, unless it is held";
                differs(Kind::GoneThere, Next::Sync, message)
            }
            false if !self.scan.quiet => {
                differs(Kind::NotCompared, Next::Unknown, "not seen while its maildir kept changing")
            }
            false if !there => {
                differs(Kind::GoneBoth, Next::Sync, "gone from both sides since the last sync; the next forgets it")
            }
            false if self.rules.read_only => {
                differs(Kind::GoneHere, Next::Nothing, "removed here; the server allows no change in this folder")
            }
            false => match self.refused.messages.get(&row.uid) {
                Some(why) => differs(Kind::GoneHere, Next::Nothing, &format!("removed here: {why}")),
                None => {
                    let message = "removed here since the last sync; the next carries this over, unless it is held";
                    differs(Kind::GoneHere, Next::Sync, message)
                }
            },
        });
    }

    /// A message buried is no difference, unless it is wanted again.
    fn compare_tombstone(&self, row: &MessageRow, found: &mut Comparison) {
        match self.message(row.uid) {
            Some(message) if row.tombstone == Some(Tombstone::Flagged) && !message.flags.has(Flag::Deleted) => {
                let message = "removed here, and no longer marked as deleted on the server; the next sync fetches it";
                found.differences.push(self.differs(Kind::OnlyThere, Next::Sync, message).of_message(row.uid));
            }
            Some(_) if self.is_outdated(row) => {
                let message = "an older version of a message saved again here; the next sync deals with it";
                found.differences.push(self.differs(Kind::Replaced, Next::Sync, message).of_message(row.uid));
            }
            Some(_) => found.tombstones += 1,
            None => {}
        }
    }

    /// Returns true for an older version that nothing keeps on the server any more. As long as the new one waits here,
    /// that is what there is to tell.
    fn is_outdated(&self, row: &MessageRow) -> bool {
        let kept = self.rules.read_only || !self.rules.permanent.flags.has(Flag::Deleted);
        let is_new = |by: &UniqueName| self.rows.iter().all(|other| other.unique.as_ref() != Some(by));
        let waits = |by: &UniqueName| is_new(by) && self.scan.entries.contains_key(by);
        row.tombstone == Some(Tombstone::Replaced) && !kept && !row.replaced_by.as_ref().is_some_and(waits)
    }

    fn compare_unknown_files(&self, named: &BTreeSet<&UniqueName>, found: &mut Comparison) {
        for unique in self.scan.entries.keys().filter(|unique| !named.contains(unique)) {
            let (kind, next, message) = match (self.files.get(unique), self.refused.files.get(unique)) {
                (Some(Reading::Empty), _) => continue,
                (Some(Reading::Failed(why)), _) => (Kind::NotCompared, Next::Unknown, why.clone()),
                (_, Some(why)) => (Kind::OnlyHere, Next::Nothing, format!("only here: {why}")),
                _ if self.rules.read_only => {
                    let message = "only here; the server allows no change in this folder";
                    (Kind::OnlyHere, Next::Nothing, message.to_owned())
                }
                _ => (Kind::OnlyHere, Next::Sync, format!("new here since the last sync; {PENDING}")),
            };
            found.differences.push(self.differs(kind, next, message).of_file(unique));
        }
    }

    fn compare_unknown_messages(&self, found: &mut Comparison) {
        let known: UidSet = self.rows.iter().map(|row| row.uid).collect();
        for uid in self.remote.messages.listed().keys().filter(|uid| !known.contains(**uid)) {
            let (next, message) = match self.refused.messages.get(uid) {
                Some(why) => (Next::Nothing, format!("only on the server: {why}")),
                None => (Next::Sync, format!("new on the server since the last sync; {PENDING}")),
            };
            found.differences.push(self.differs(Kind::OnlyThere, next, message).of_message(*uid));
        }
    }

    /// What the watermark says is wrong only if every message is as the baseline has it.
    fn compare_counts(&self, found: &mut Comparison) {
        let now = self.remote.watermark;
        let Some(then) = self.row.and_then(|row| row.watermark).filter(|_| found.differences.is_empty()) else {
            return;
        };
        let held = self.remote.messages.listed().len() as u64;
        if then.uid_validity == now.uid_validity && u64::from(then.messages) != held {
            let message = format!(
                "the database counts {} messages at the last look and knows all {held} that there are; \
                 after `mailtide check --repair` the next sync looks at all of them",
                then.messages
            );
            found.differences.push(self.differs(Kind::Count, Next::Repair, message));
        } else if now.uid_next > 0 && then.uid_next > now.uid_next || then.mod_seq > now.mod_seq.or(then.mod_seq) {
            let message = "the database is ahead of the server, which may have been restored from a backup; \
                           after `mailtide check --repair` the next sync looks at everything";
            found.differences.push(self.differs(Kind::Count, Next::Repair, message));
        }
    }
}

impl Comparison {
    /// Returns the comparison of a folder that only this can be said of.
    pub fn only(difference: Difference) -> Self {
        Self { differences: vec![difference], ..Self::default() }
    }

    /// Returns the rows that a repair forgets, and whether the folder is to be looked at as a whole again.
    pub fn repairs(&self) -> (Vec<MessageId>, bool) {
        let wrong = || self.differences.iter().filter(|difference| difference.next == Next::Repair);
        (wrong().filter_map(|difference| difference.row).collect(), wrong().next().is_some())
    }
}
