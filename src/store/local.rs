//! The interface of the Maildir side.

use std::collections::{BTreeMap, BTreeSet};

use super::error::LocalError;
use super::remote::BodySource;
use crate::model::{
    FileStat, Fingerprint, FlagDelta, FlagSet, Identity, Keyword, KeywordLetters, Keywords, MailboxName, Marker,
    MessageHash, Stamp, Timestamp, UniqueName,
};
use crate::reconcile::snapshot::{LocalEntry, LocalListing, LocalSnapshot};

/// What the root of a Maildir looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// There is no such directory.
    Missing,
    /// A directory without a marker.
    Unmarked {
        /// Nothing at all is in it.
        empty: bool,
    },
    /// A directory with a marker.
    Marked(Marker),
}

/// A message written to `tmp`, complete, not yet visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// The name it has in `tmp`, and will have as a message.
    pub unique: UniqueName,
    /// The file.
    pub stat: FileStat,
    /// Its content.
    pub content: Fingerprint,
    /// Its Message-ID.
    pub message_id: Option<MessageHash>,
    /// Its size with CRLF line ends.
    pub wire_size: u64,
}

/// How a change of one message file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<T> {
    /// Done.
    Done(T),
    /// The file is no longer as it was observed: nothing was done, look again.
    Changed,
}

/// Where a file that left the Maildir can be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// The folder it lay in.
    pub mailbox: MailboxName,
    /// The name it had, with its flags.
    pub file: String,
    /// The name it has in the recoverable trash.
    pub kept_as: String,
    /// When it was removed.
    pub at: Timestamp,
    /// The keywords it had, which the letters in its name may mean no more; `None` if only they tell.
    pub keywords: Option<Keywords>,
}

/// A file found in the recoverable trash, whether the index knows it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The name it has there.
    pub kept_as: String,
    /// Since when it has been there at the longest: when its names last changed.
    pub since: Timestamp,
}

/// What came of putting a message back from the recoverable trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// It is a message of its folder again, under this name.
    Done(UniqueName),
    /// It was one already, under this name.
    Already(UniqueName),
    /// It is not in the trash any more.
    Gone,
}

/// A message file where it was observed.
pub type FileAt<'a> = (&'a MailboxName, &'a UniqueName, &'a LocalEntry);

/// The Maildir side of an account. All calls block, on the disk only.
pub trait LocalStore {
    /// Looks at the root and its marker.
    fn root(&mut self) -> Result<Root, LocalError>;

    /// Creates the root if it is missing, and writes its marker durably.
    fn mark(&mut self, marker: &Marker) -> Result<(), LocalError>;

    /// Lists all maildirs.
    fn list(&mut self) -> Result<LocalListing, LocalError>;

    /// Lists all maildirs shortly before they are listed, and while nothing is changed here: that is the listing then.
    fn list_ahead(&mut self) -> Result<LocalListing, LocalError> {
        self.list()
    }

    /// Scans a maildir until a scan was quiet, at most five times. `letters` are the meanings last known.
    fn observe(&mut self, mailbox: &MailboxName, letters: &KeywordLetters) -> Result<LocalSnapshot, LocalError>;

    /// Returns the files of a maildir that have the names that files of these messages have as a rule, with the inodes that
    /// they have. One whose name is another is left out, and more may be once one is.
    fn named(
        &mut self,
        _mailbox: &MailboxName,
        _messages: &[(&UniqueName, &FlagSet)],
        _letters: &KeywordLetters,
    ) -> Result<Vec<(UniqueName, LocalEntry)>, LocalError> {
        Ok(Vec::new())
    }

    /// Returns what an observation would show but for the files, if the maildir is as it was when it had this stamp: its files
    /// are those that it had then, under the same names. `None` if it is not, or may not be.
    fn unchanged(
        &mut self,
        _mailbox: &MailboxName,
        _stamp: &Stamp,
        _letters: &KeywordLetters,
    ) -> Result<Option<LocalSnapshot>, LocalError> {
        Ok(None)
    }

    /// Scans a maildir that is going to be observed, if that can be done at once: as long as it stays as it is, that is the
    /// observation. Returns false if no more of them should be.
    fn read_ahead(&mut self, _mailbox: &MailboxName, _letters: &KeywordLetters) -> Result<bool, LocalError> {
        Ok(false)
    }

    /// Returns a scan that was made ahead and is not asked for yet.
    fn scanned_ahead(&self, _mailbox: &MailboxName) -> Option<&LocalSnapshot> {
        None
    }

    /// Takes an observation back, as it is going to be asked for again: as long as the maildir stays as it is, it is the next
    /// one, too. Nothing depends on it but time.
    fn take_back(&mut self, _mailbox: &MailboxName, _scan: LocalSnapshot) {}

    /// Reads files that are going to be identified, several at once. Nothing depends on it but time.
    fn identify_ahead(&mut self, _mailbox: &MailboxName, _files: &[(&UniqueName, &LocalEntry)]) {}

    /// Returns the maildirs that changed since they were last listed or scanned, or appeared or vanished since, or whose last
    /// scan was not quiet. As long as there are none, a file missing from one is in no other.
    fn stirred(&mut self) -> Result<BTreeSet<MailboxName>, LocalError>;

    /// Reads a file and identifies its content.
    fn identify(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<(Identity, FileStat)>, LocalError>;

    /// Opens a file for uploading.
    fn read(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<Box<dyn BodySource>>, LocalError>;

    /// Returns what a file is now, and its content if size or time are not those known and it is not empty. One written to
    /// a moment ago is waited for, once; one still being written to is `Changed`.
    fn revisit(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        known: Option<FileStat>,
    ) -> Result<Edit<(Option<Identity>, FileStat)>, LocalError>;

    /// Returns true if two files are there at once, each under the name observed: two files, or two names of one. What is
    /// moved while maildirs are read is seen in two of them and is one. If either is a moment old, that is waited for: it
    /// may be the first half of a move.
    fn are_two(&mut self, one: FileAt<'_>, other: FileAt<'_>) -> Result<bool, LocalError>;

    /// Returns the stat of a file without a scan: of the one that has the name that goes with these flags; `None` if
    /// there is none.
    fn glance(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Option<FileStat>, LocalError>;

    /// Creates a maildir with its parents, durably. One that exists already is no error.
    fn create(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Removes a maildir that holds no message, durably; one that is gone is no error. Returns false if something is left
    /// in it, be it a message that is just being delivered: then it stays a maildir.
    fn remove(&mut self, mailbox: &MailboxName) -> Result<bool, LocalError>;

    /// Gives a maildir another name, durably, with all that lies in its directory; parents of the new name are created.
    /// Folders below it keep their names. One that a crash left half renamed is renamed the rest of the way; one that has
    /// the new name already is no error. Returns false if there is a maildir of neither name. Another maildir of the new name
    /// is an error of this folder alone, and nothing is done.
    fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<bool, LocalError>;

    /// Makes sure that these keywords have letters, durably, before any name bears one, and returns the map. Keywords
    /// beyond the capacity are left out.
    fn assign_letters(
        &mut self,
        mailbox: &MailboxName,
        known: &KeywordLetters,
        keywords: &BTreeSet<Keyword>,
    ) -> Result<KeywordLetters, LocalError>;

    /// How many messages are made durable together at most.
    const BATCH: usize;

    /// Starts writing a message into the maildir's `tmp`.
    fn stage(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Writes a part of the staged message, given with CRLF line ends.
    fn stage_write(&mut self, wire: &[u8]) -> Result<(), LocalError>;

    /// Ends the staged message, sets its date, and returns the name that it has in `tmp`.
    fn stage_finish(&mut self, date: Option<Timestamp>) -> Result<UniqueName, LocalError>;

    /// Removes the message being staged; none being staged is no error.
    fn stage_discard(&mut self) -> Result<(), LocalError>;

    /// Has the messages staged since the last time made durable, data and directory entries, and does not wait for it.
    fn seal(&mut self) -> Result<(), LocalError>;

    /// Waits until the messages are durable that were sealed together first of those not waited for, and returns them in the
    /// order in which they were finished. Tells also of what went wrong while they were written; then none of them is left.
    fn sealed(&mut self) -> Result<Vec<Staged>, LocalError>;

    /// Makes a staged message visible with these flags, in `new` if it has none, never over an existing name. One
    /// that is no longer in `tmp` is `Changed`.
    fn publish(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError>;

    /// Makes the names of a maildir's `cur` and `new` durable.
    fn sync(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Makes the names of many maildirs durable, in no order. As many answers as maildirs.
    fn sync_all(&mut self, mailboxes: &[&MailboxName]) -> Vec<Result<(), LocalError>> {
        mailboxes.iter().map(|mailbox| self.sync(mailbox)).collect()
    }

    /// Changes the flags on a file's name, if it still has the name observed. Letters without a meaning stay.
    fn set_flags(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        delta: &FlagDelta,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError>;

    /// Returns what the name of a file means that came from another folder, with that folder's keyword letters.
    fn meaning(&self, entry: &LocalEntry, letters: &KeywordLetters) -> FlagSet;

    /// Returns the info of a file's name with the letters of these keywords, and no other keyword letter but P.
    fn relabelled(&self, entry: &LocalEntry, flags: &FlagSet, letters: &KeywordLetters) -> String;

    /// Gives a file's name the keyword letters that are in the info `after`, if it still has the name observed and the
    /// letters that are in `before`. One that has others is left alone: somebody gave it the letters of its folder.
    fn relabel(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        before: &str,
        after: &str,
    ) -> Result<Edit<()>, LocalError>;

    /// Moves a file to another maildir under the same name, if it still has the name observed and the size and time seen;
    /// never over another. Durable after [`LocalStore::sync`] of both.
    fn move_to(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: FileStat,
        target: &MailboxName,
    ) -> Result<Edit<()>, LocalError>;

    /// Links or copies a file into the recoverable trash; the message stays where it is.
    fn keep(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        at: Timestamp,
    ) -> Result<Edit<Trashed>, LocalError>;

    /// Makes what was kept durable.
    fn sync_kept(&mut self) -> Result<(), LocalError>;

    /// Removes a file, if it still has the name observed, and the size and time seen if they were asked for.
    fn unlink(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: Option<FileStat>,
    ) -> Result<Edit<()>, LocalError>;

    /// Removes a file from the recoverable trash; one that is gone is no error.
    fn drop_kept(&mut self, kept_as: &str) -> Result<(), LocalError>;

    /// Lists the files in the recoverable trash; none if there is no trash yet.
    fn kept_files(&mut self) -> Result<Vec<KeptFile>, LocalError>;

    /// Links or copies a file from the recoverable trash into its folder's `cur`, under its old name without the flag
    /// that marks it as deleted, and with the letters that its keywords have now; under the name it has in the trash if
    /// another message took the old one. `here`: the folder's messages as just observed; what is put back is added.
    /// Durable after [`LocalStore::sync`].
    fn put_back(
        &mut self,
        kept: &Trashed,
        letters: &KeywordLetters,
        here: &mut BTreeMap<UniqueName, LocalEntry>,
    ) -> Result<PutBack, LocalError>;
}
