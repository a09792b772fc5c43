//! Messages on which the baseline and the Maildir agree. They are most, and those of them that are as they were on the
//! server, too, leave nothing to decide: their rows need not be in memory.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::snapshot::{LocalEntry, LocalSnapshot};
use crate::model::{Fingerprint, Flag, MailboxRow, MessageRow, UniqueName};

/// What is remembered of a message's content: other contents seldom have it, too.
type Tag = NonZeroU32;

fn tag(content: Option<Fingerprint>) -> Tag {
    let [a, b, c, d, ..] = content.map(|content| content.0).unwrap_or_default();
    Tag::MIN | u32::from_le_bytes([a, b, c, d])
}

/// The files of a maildir whose rows are not held because both sides are as the baseline says.
///
/// They are neither new nor gone. Whoever needs a row of theirs reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// By their place among the entries of the scan; beyond the end there are none.
    files: Vec<Option<Tag>>,
    count: u64,
    /// The scan lists none of them.
    unlisted: bool,
}

impl Agreed {
    /// Returns all files of a maildir that is as it was, none of which is listed.
    pub fn unlisted(count: u64) -> Self {
        Self { files: Vec::new(), count, unlisted: true }
    }

    /// Returns true if the scan lists the maildir's files: else one that is not listed is not gone.
    pub fn is_listed(&self) -> bool {
        !self.unlisted
    }

    /// Returns true if no row is missing for them.
    pub fn is_none(&self) -> bool {
        self.count == 0 && self.is_listed()
    }

    /// Returns how many they are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns true if a file of the scan is one of them.
    pub fn contains(&self, scan: &LocalSnapshot, unique: &UniqueName) -> bool {
        self.place(scan, unique).is_some()
    }

    /// Returns the other files of the scan.
    pub fn others<'s>(&'s self, scan: &'s LocalSnapshot) -> impl Iterator<Item = (&'s UniqueName, &'s LocalEntry)> {
        scan.entries.iter().enumerate().filter(|(at, _)| self.tag(*at).is_none()).map(|(_, file)| file)
    }

    /// Returns those of them that may have one of these contents.
    pub fn alike<'s>(
        &'s self,
        scan: &'s LocalSnapshot,
        contents: &BTreeSet<Fingerprint>,
    ) -> impl Iterator<Item = (&'s UniqueName, &'s LocalEntry)> {
        let tags: BTreeSet<Tag> = contents.iter().map(|content| tag(Some(*content))).collect();
        let is_alike = move |at: usize| self.tag(at).is_some_and(|tag| tags.contains(&tag));
        scan.entries.iter().enumerate().filter(move |(at, _)| is_alike(*at)).map(|(_, file)| file)
    }

    /// Takes back what was said of a file: its row is held again.
    pub fn remove(&mut self, scan: &LocalSnapshot, unique: &UniqueName) {
        if let Some(agreed) = self.place(scan, unique).and_then(|at| self.files.get_mut(at)) {
            *agreed = None;
            self.count -= 1;
        }
    }

    /// Takes back what was said of so many files that were not listed: they are listed now, and their rows held.
    pub fn hold(&mut self, files: u64) {
        self.count = self.count.saturating_sub(files);
    }

    /// Takes back what was said of all: their rows are held again.
    pub fn clear(&mut self) {
        *self = Self { unlisted: self.unlisted, ..Self::default() };
    }

    fn tag(&self, at: usize) -> Option<Tag> {
        self.files.get(at).copied().flatten()
    }

    fn place(&self, scan: &LocalSnapshot, unique: &UniqueName) -> Option<usize> {
        let at = scan.entries.find_index(unique).ok()?;
        self.tag(at).map(|_| at)
    }
}

/// Finds out, message by message, which files of a maildir are those of the baseline, with names that say the same.
#[derive(Debug)]
pub struct Agreement<'a> {
    scan: &'a LocalSnapshot,
    /// False if nothing can be said: then none is.
    holds: bool,
    agreed: Agreed,
    /// Where the next message's file is likely to be: names mostly begin with a time, as they were numbered.
    next: usize,
}

impl<'a> Agreement<'a> {
    /// Begins with what the mailbox's row says.
    pub fn new(row: &MailboxRow, scan: &'a LocalSnapshot) -> Self {
        let holds = scan.quiet
            && scan.duplicates.is_empty()
            && scan.directory == row.directory
            && scan.letters.as_ref() == Some(&row.letters);
        let files = if holds { vec![None; scan.entries.len()] } else { Vec::new() };
        Self { scan, holds, agreed: Agreed { files, ..Agreed::default() }, next: 0 }
    }

    /// Takes a message of the baseline. Returns false if its file is not here as it was; one that has none leaves nothing to
    /// compare.
    pub fn stays(&mut self, message: &MessageRow) -> bool {
        message.unique.is_none() || self.take(message)
    }

    fn take(&mut self, message: &MessageRow) -> bool {
        let Some(unique) = message.unique.as_ref().filter(|_| self.holds) else { return false };
        let same_file = |inode| message.stat.is_none_or(|stat| stat.inode == inode);
        let entries = &self.scan.entries;
        let is_next = entries.get_indexed(self.next).is_some_and(|(name, _)| name == unique);
        let Ok(at) = (if is_next { Ok(self.next) } else { entries.find_index(unique) }) else { return false };
        self.next = at + 1;
        let entry = entries.get_indexed(at).map(|(_, entry)| entry);
        if !entry.is_some_and(|entry| entry.flags == message.flags && same_file(entry.inode)) {
            return false;
        }
        if let Some(agreed) = self.agreed.files.get_mut(at) {
            self.agreed.count += u64::from(agreed.is_none());
            *agreed = Some(tag(message.content));
        }
        true
    }

    /// Takes a message of the baseline whose row may be let go of if its file is here as it was, and returns whether that is
    /// so. A draft may have been saved again without its name telling.
    pub fn let_go(&mut self, message: &MessageRow) -> bool {
        !message.flags.has(Flag::Draft) && self.take(message)
    }

    /// Returns whether the maildir is as it was, once every message was taken and stays: whether it holds no other file.
    pub fn is_whole(&self) -> bool {
        self.holds && self.agreed.count == self.scan.entries.len() as u64
    }

    /// Returns what was found.
    pub fn finish(self) -> Agreed {
        self.agreed
    }
}
