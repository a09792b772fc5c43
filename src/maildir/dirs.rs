//! A maildir's directories, held open while many of its files are changed: only names are looked up then, not the way to
//! them each time.
//!
//! If the maildir gets another name meanwhile, the files changed are still those that were observed in it.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::{Settings, durable, list, name};
use crate::model::{MailboxName, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::LocalError;

/// The directory that was asked for last. Another program or a rename may put another in its place: what looks at
/// directories anew lets go of it first.
#[derive(Debug, Default)]
pub(super) struct Hand(Option<(MailboxName, Dirs)>);

impl Hand {
    /// Returns the directories of a folder.
    pub(super) fn take(&mut self, settings: &Settings, mailbox: &MailboxName) -> Result<&Dirs, LocalError> {
        let held = match self.0.take() {
            Some(held) if held.0 == *mailbox => held,
            _ => (mailbox.clone(), Dirs::new(list::locate(settings, mailbox)?)),
        };
        Ok(&self.0.insert(held).1)
    }
}

/// A maildir's directories that messages are in or come from, each opened when it is first needed.
#[derive(Debug)]
pub(super) struct Dirs {
    maildir: PathBuf,
    tmp: OnceCell<OwnedFd>,
    new: OnceCell<OwnedFd>,
    cur: OnceCell<OwnedFd>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Where messages come from.
    Tmp,
    /// Where those are that no mail program has seen.
    New,
    /// Where all others are.
    Cur,
}

impl Dirs {
    /// Returns those of a maildir, none of them open yet.
    pub(super) fn new(maildir: PathBuf) -> Self {
        let (tmp, new, cur) = Default::default();
        Self { maildir, tmp, new, cur }
    }

    /// Returns the place of a file, which need not exist.
    pub(super) fn file(&self, part: Part, name: String) -> Place<'_> {
        Place { dirs: self, part, name }
    }

    /// Returns the place of an observed file.
    pub(super) fn observed(&self, unique: &UniqueName, entry: &LocalEntry) -> Place<'_> {
        self.file(if entry.in_new { Part::New } else { Part::Cur }, name::format(unique, &entry.info))
    }

    fn path(&self, part: Part) -> PathBuf {
        self.maildir.join(match part {
            Part::Tmp => "tmp",
            Part::New => "new",
            Part::Cur => "cur",
        })
    }
}

/// Where a file is, or may be.
#[derive(Debug)]
pub(super) struct Place<'d> {
    dirs: &'d Dirs,
    part: Part,
    name: String,
}

impl Place<'_> {
    /// Returns its directory.
    pub(super) fn dir(&self) -> io::Result<BorrowedFd<'_>> {
        let held = match self.part {
            Part::Tmp => &self.dirs.tmp,
            Part::New => &self.dirs.new,
            Part::Cur => &self.dirs.cur,
        };
        if let Some(dir) = held.get() {
            return Ok(dir.as_fd());
        }
        let dir = open(self.dirs.path(self.part), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(held.get_or_init(|| dir).as_fd())
    }

    /// Returns its name in that.
    pub(super) fn name(&self) -> &Path {
        Path::new(&self.name)
    }

    /// Returns its path.
    pub(super) fn path(&self) -> PathBuf {
        self.dirs.path(self.part).join(&self.name)
    }

    /// Returns true if another place is in the same directory, with a name that differs by case only.
    pub(super) fn is_respelled(&self, other: &Self) -> bool {
        std::ptr::eq(self.dirs, other.dirs)
            && self.part == other.part
            && durable::is_respelled(self.name(), other.name())
    }
}
