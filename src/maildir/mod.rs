//! The local side: Maildirs on disk. Only this module knows file names.
//!
//! `layout` gives each folder its directory, `list` finds and creates them, `rename` moves them, `scan` observes one, `ahead`
//! keeps what was listed or scanned before it was asked for, `threads` does many things at once,
//! `stage` and `edit` change message files, `body` reads them, `saved` tells which were saved again, `trash` keeps what
//! leaves, `put_back` brings it back, `keywords` and `name` know what names mean, `watch` tells when something changes.

mod ahead;
mod body;
mod diary;
mod dirs;
mod durable;
mod edit;
mod error;
mod find;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod identified;
mod keywords;
mod layout;
mod lines;
mod list;
mod lock;
mod name;
mod put_back;
mod removal;
mod rename;
mod root;
mod saved;
mod scan;
mod stage;
mod stamp;
mod threads;
mod trash;
mod watch;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::ahead::Ahead;
pub use self::diary::Diary;
use self::dirs::Hand;
use self::error::found;
pub use self::find::{beginning, find};
use self::identified::Identified;
use self::name::UniqueNames;
use self::scan::{Basis, Seen};
use self::stage::Stage;
use self::stamp::FileClock;
use self::trash::Trash;
pub use self::watch::{Heard, Watch, WatchError};
use crate::model::{
    FileStat, Fingerprint, FlagDelta, FlagSet, Identity, Keyword, KeywordLetters, MailboxName, Marker, Stamp,
    Timestamp, UniqueName,
};
use crate::reconcile::snapshot::{LocalEntry, LocalListing, LocalSnapshot};
use crate::store::{BodySource, Edit, FileAt, KeptFile, LocalError, LocalStore, PutBack, Root, Staged, Trashed};

/// Where an account's Maildirs are and how they are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The root.
    pub root: PathBuf,
    /// The layout.
    pub layout: Layout,
    /// The recoverable trash: a directory outside the root.
    pub trash: PathBuf,
}

/// How folders become directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<root>/INBOX`, `<root>/Archive/2025`.
    Fs,
    /// The inbox is the root itself, others are `<root>/.Archive.2025`.
    MaildirPlusPlus,
}

/// An account's Maildir. Nothing is touched before a method is called.
#[derive(Debug)]
pub struct Maildir {
    settings: Settings,
    clock: FileClock,
    names: UniqueNames,
    stage: Stage,
    trash: Trash,
    diary: Diary,
    /// The directories as last listed or scanned, without those whose last scan was not quiet.
    seen: BTreeMap<MailboxName, Stamp>,
    /// What the last scan of each stands on.
    bases: BTreeMap<MailboxName, Basis>,
    /// Maildirs scanned before they were asked for.
    ahead: Ahead,
    /// Files identified before they were asked for.
    identified: Identified,
    /// Where folders are, since they were last listed.
    located: RefCell<BTreeMap<MailboxName, PathBuf>>,
    /// The folder whose files are being changed,
    here: Hand,
    /// and the one that they are moved to.
    there: Hand,
}

impl Maildir {
    /// Returns the Maildir with these settings, which need not exist yet.
    pub fn new(settings: Settings) -> Self {
        let trash = Trash::new(settings.trash.clone());
        let (clock, names, stage) = (FileClock::default(), UniqueNames::new(), Stage::default());
        let (diary, seen, bases, ahead, identified, located, here, there) = Default::default();
        Self { settings, clock, names, stage, trash, diary, seen, bases, ahead, identified, located, here, there }
    }

    /// Returns the Maildir with a diary, in which it notes what it does to message files.
    pub fn with_diary(self, diary: Diary) -> Self {
        Self { diary, ..self }
    }

    /// Reads a kept file's size in bytes, and its content up to `limit` bytes; `None` if it is gone.
    ///
    /// # Errors
    /// It can't be read.
    pub fn kept_beginning(&self, kept_as: &str, limit: u64) -> Result<Option<(u64, Vec<u8>)>, LocalError> {
        put_back::beginning(&self.trash.path(kept_as), kept_as, limit)
    }

    /// Identifies a kept file's content; `None` if it is gone.
    ///
    /// # Errors
    /// It can't be read.
    pub fn kept_content(&self, kept_as: &str) -> Result<Option<Fingerprint>, LocalError> {
        put_back::content(&self.trash.path(kept_as), kept_as)
    }

    /// What is done next may find other directories under the names.
    fn let_go(&mut self) {
        (self.located, self.here, self.there) = Default::default();
    }

    fn locate(&self, mailbox: &MailboxName) -> Result<PathBuf, LocalError> {
        if let Some(path) = self.located.borrow().get(mailbox) {
            return Ok(path.clone());
        }
        let path = list::locate(&self.settings, mailbox)?;
        self.located.borrow_mut().insert(mailbox.clone(), path.clone());
        Ok(path)
    }

    fn locate_file(
        &self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<PathBuf, LocalError> {
        self.locate(mailbox).map(|maildir| name::path(&maildir, unique, entry))
    }
}

impl LocalStore for Maildir {
    fn root(&mut self) -> Result<Root, LocalError> {
        root::look(&self.settings.root)
    }

    fn mark(&mut self, marker: &Marker) -> Result<(), LocalError> {
        let begun = stamp::wall_ns();
        self.clock.learn(begun, &root::mark(&self.settings.root, marker)?);
        Ok(())
    }

    fn list(&mut self) -> Result<LocalListing, LocalError> {
        self.let_go();
        let (listing, seen) = match self.ahead.take_listing(&self.settings.root) {
            Some(listed) => listed,
            None => list::list(&self.settings, self.clock)?,
        };
        self.seen = seen;
        Ok(listing)
    }

    fn list_ahead(&mut self) -> Result<LocalListing, LocalError> {
        let root = ahead::id(&self.settings.root);
        let (listing, stamps) = list::list(&self.settings, self.clock)?;
        self.ahead.put_listing(root, listing.clone(), stamps);
        Ok(listing)
    }

    fn observe(&mut self, mailbox: &MailboxName, letters: &KeywordLetters) -> Result<LocalSnapshot, LocalError> {
        self.let_go();
        let maildir = self.locate(mailbox)?;
        let ahead = self.ahead.take(mailbox).map_or(Ok(None), |seen| seen.again(&maildir, letters))?;
        let Seen { snapshot, basis } = match ahead {
            Some(seen) => seen,
            None => scan::observe(&maildir, self.clock, letters)?,
        };
        // Changes within one tick leave the times as they were: what such a scan missed would not show.
        match snapshot.quiet {
            true => drop(self.seen.insert(mailbox.clone(), basis.before)),
            false => drop(self.seen.remove(mailbox)),
        }
        self.bases.insert(mailbox.clone(), basis);
        Ok(snapshot)
    }

    fn unchanged(
        &mut self,
        mailbox: &MailboxName,
        stamp: &Stamp,
        letters: &KeywordLetters,
    ) -> Result<Option<LocalSnapshot>, LocalError> {
        scan::unchanged(&self.locate(mailbox)?, self.clock, stamp, letters)
    }

    fn named(
        &mut self,
        mailbox: &MailboxName,
        messages: &[(&UniqueName, &FlagSet)],
        letters: &KeywordLetters,
    ) -> Result<Vec<(UniqueName, LocalEntry)>, LocalError> {
        Ok(find::named(&self.locate(mailbox)?, messages, letters))
    }

    fn take_back(&mut self, mailbox: &MailboxName, scan: LocalSnapshot) {
        // Two scans of the same times that could be trusted showed the same.
        let basis = self.bases.remove(mailbox).filter(|basis| scan.stamp == Some(basis.before));
        if let Some(basis) = basis.filter(|_| self.ahead.has_room()) {
            self.ahead.put(mailbox, Seen { snapshot: scan, basis });
        }
    }

    fn read_ahead(&mut self, mailbox: &MailboxName, letters: &KeywordLetters) -> Result<bool, LocalError> {
        let maildir = self.locate(mailbox)?;
        if !scan::waits(&maildir, self.clock)? {
            self.ahead.put(mailbox, scan::observe(&maildir, self.clock, letters)?);
        }
        Ok(self.ahead.has_room())
    }

    fn scanned_ahead(&self, mailbox: &MailboxName) -> Option<&LocalSnapshot> {
        self.ahead.get(mailbox)
    }

    fn identify_ahead(&mut self, mailbox: &MailboxName, files: &[(&UniqueName, &LocalEntry)]) {
        if let Ok(maildir) = self.locate(mailbox) {
            self.identified.read(&maildir, files, self.clock);
        }
    }

    fn stirred(&mut self) -> Result<BTreeSet<MailboxName>, LocalError> {
        let (_, now) = list::list(&self.settings, self.clock)?;
        let is_as_seen = |name: &&MailboxName| now.get(*name) == self.seen.get(*name);
        Ok(now.keys().chain(self.seen.keys()).filter(|name| !is_as_seen(name)).cloned().collect())
    }

    fn identify(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<(Identity, FileStat)>, LocalError> {
        let path = self.locate_file(mailbox, unique, entry)?;
        match self.identified.get(&path, entry)? {
            Some(found) => Ok(Edit::Done(found)),
            None => body::identify(&path, entry),
        }
    }

    fn read(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<Box<dyn BodySource>>, LocalError> {
        body::read(&self.locate_file(mailbox, unique, entry)?, entry)
    }

    fn are_two(&mut self, one: FileAt<'_>, other: FileAt<'_>) -> Result<bool, LocalError> {
        let path = |(mailbox, unique, entry): FileAt<'_>| self.locate_file(mailbox, unique, entry);
        body::are_two((&path(one)?, one.2), (&path(other)?, other.2), self.clock)
    }

    fn revisit(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        known: Option<FileStat>,
    ) -> Result<Edit<(Option<Identity>, FileStat)>, LocalError> {
        saved::revisit(&self.locate_file(mailbox, unique, entry)?, entry, known, self.clock)
    }

    fn glance(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Option<FileStat>, LocalError> {
        saved::glance(&self.locate(mailbox)?, unique, flags, letters)
    }

    fn create(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        self.let_go();
        list::create(&self.settings, mailbox)
    }

    fn remove(&mut self, mailbox: &MailboxName) -> Result<bool, LocalError> {
        self.let_go();
        let removed = removal::remove(&self.settings, mailbox)?;
        if removed {
            self.seen.remove(mailbox);
        }
        Ok(removed)
    }

    fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<bool, LocalError> {
        self.let_go();
        if !rename::rename(&self.settings, from, to)? {
            return Ok(false);
        }
        if let Some(seen) = self.seen.remove(from) {
            let now = stamp::of_maildir(&self.locate(to)?).ok();
            // Others' changes since it was seen stay changes.
            let now = now.filter(|now| stamp::is_same_but_renamed(&seen, now)).unwrap_or(seen);
            self.seen.insert(to.clone(), now);
        }
        Ok(true)
    }

    fn assign_letters(
        &mut self,
        mailbox: &MailboxName,
        known: &KeywordLetters,
        keywords: &BTreeSet<Keyword>,
    ) -> Result<KeywordLetters, LocalError> {
        let maildir = self.locate(mailbox)?;
        let borne = scan::borne_letters(&maildir, self.clock)?;
        // Hidden, so that no other program takes it for a message.
        let temporary = maildir.join(format!(".{}", self.names.next_name()));
        keywords::assign(&maildir, &temporary, known, keywords, &borne)
    }

    const BATCH: usize = 1_000;

    fn stage(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        let maildir = self.locate(mailbox)?;
        let name = self.names.next_name();
        let unique = UniqueName::new(&name).ok_or_else(|| found(Path::new(&name), "can't be a message's name"))?;
        self.stage.begin(&maildir, unique)
    }

    fn stage_write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.stage.write(wire)
    }

    fn stage_finish(&mut self, date: Option<Timestamp>) -> Result<UniqueName, LocalError> {
        self.stage.finish(date)
    }

    fn stage_discard(&mut self) -> Result<(), LocalError> {
        self.stage.discard()
    }

    fn seal(&mut self) -> Result<(), LocalError> {
        self.stage.seal()
    }

    fn sealed(&mut self) -> Result<Vec<Staged>, LocalError> {
        self.stage.sealed()
    }

    fn publish(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        edit::publish(&self.diary, self.here.take(&self.settings, mailbox)?, unique, flags, letters)
    }

    fn sync(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        let maildir = self.locate(mailbox)?;
        ["cur", "new"].iter().try_for_each(|part| durable::sync_dir(&maildir.join(part)))
    }

    fn sync_all(&mut self, mailboxes: &[&MailboxName]) -> Vec<Result<(), LocalError>> {
        let maildirs: Vec<Result<PathBuf, LocalError>> = mailboxes.iter().map(|mailbox| self.locate(mailbox)).collect();
        let parts = |maildir: &PathBuf| ["cur", "new"].map(|part| maildir.join(part));
        let dirs: Vec<PathBuf> = maildirs.iter().flatten().flat_map(parts).collect();
        let mut synced = durable::sync_dirs(&dirs).into_iter();
        let done = |maildir: Result<PathBuf, LocalError>| {
            maildir?;
            let [cur, new] = [synced.next(), synced.next()].map(|part| part.unwrap_or(Ok(())));
            cur.and(new)
        };
        maildirs.into_iter().map(done).collect()
    }

    fn set_flags(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        delta: &FlagDelta,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        edit::set_flags(&self.diary, self.here.take(&self.settings, mailbox)?, unique, entry, delta, letters)
    }

    fn meaning(&self, entry: &LocalEntry, letters: &KeywordLetters) -> FlagSet {
        name::flags(&entry.info, letters)
    }

    fn relabelled(&self, entry: &LocalEntry, flags: &FlagSet, letters: &KeywordLetters) -> String {
        name::relabelled(&entry.info, flags, letters)
    }

    fn relabel(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        before: &str,
        after: &str,
    ) -> Result<Edit<()>, LocalError> {
        edit::relabel(&self.diary, self.here.take(&self.settings, mailbox)?, unique, entry, before, after)
    }

    fn move_to(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: FileStat,
        target: &MailboxName,
    ) -> Result<Edit<()>, LocalError> {
        let from = self.here.take(&self.settings, mailbox)?;
        let to = self.there.take(&self.settings, target)?;
        edit::move_to(&self.diary, from, unique, entry, seen, to)
    }

    fn keep(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        at: Timestamp,
    ) -> Result<Edit<Trashed>, LocalError> {
        let file = self.locate_file(mailbox, unique, entry)?;
        edit::admit_removal(&file)?;
        let kept_as = self.names.next_name();
        Ok(match self.trash.keep(&self.settings.root, &file, entry, &kept_as)? {
            Edit::Changed => Edit::Changed,
            Edit::Done(()) => {
                let file = name::format(unique, &entry.info);
                let keywords = Some(entry.flags.keywords.clone());
                Edit::Done(Trashed { mailbox: mailbox.clone(), file, kept_as, at, keywords })
            }
        })
    }

    fn sync_kept(&mut self) -> Result<(), LocalError> {
        self.trash.sync()
    }

    fn unlink(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: Option<FileStat>,
    ) -> Result<Edit<()>, LocalError> {
        edit::unlink(&self.diary, &self.locate(mailbox)?, unique, entry, seen)
    }

    fn drop_kept(&mut self, kept_as: &str) -> Result<(), LocalError> {
        self.trash.drop_kept(kept_as)
    }

    fn kept_files(&mut self) -> Result<Vec<KeptFile>, LocalError> {
        self.trash.files()
    }

    fn put_back(
        &mut self,
        kept: &Trashed,
        letters: &KeywordLetters,
        here: &mut BTreeMap<UniqueName, LocalEntry>,
    ) -> Result<PutBack, LocalError> {
        if !trash::is_kept_name(&kept.kept_as) {
            return Err(found(Path::new(&kept.kept_as), "is no name that a kept file has"));
        }
        put_back::put_back(&self.locate(&kept.mailbox)?, &self.trash.path(&kept.kept_as), kept, letters, here)
    }
}
