//! The local side: Maildirs.

use std::collections::BTreeSet;
use std::path::PathBuf;

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

use crate::model::{
    FileStat, FlagDelta, FlagSet, Identity, Keyword, KeywordLetters, MailboxName, Marker, Timestamp, UniqueName,
};
use crate::reconcile::snapshot::{LocalEntry, LocalListing, LocalSnapshot};
use crate::store::{BodySource, Edit, LocalError, LocalErrorKind, LocalStore, Root, Staged, Trashed};

/// STUB
#[derive(Debug)]
pub struct Maildir(Settings);

impl Maildir {
    /// STUB
    pub fn new(settings: Settings) -> Self {
        Self(settings)
    }
}

fn stub<T>() -> Result<T, LocalError> {
    Err(LocalError { kind: LocalErrorKind::Item, cause: "stub".into() })
}

impl LocalStore for Maildir {
    fn root(&mut self) -> Result<Root, LocalError> {
        Ok(if self.0.root.exists() { Root::Unmarked { empty: true } } else { Root::Missing })
    }
    fn mark(&mut self, _: &Marker) -> Result<(), LocalError> {
        stub()
    }
    fn list(&mut self) -> Result<LocalListing, LocalError> {
        Ok(LocalListing::default())
    }
    fn observe(&mut self, _: &MailboxName, _: &KeywordLetters) -> Result<LocalSnapshot, LocalError> {
        stub()
    }
    fn identify(
        &mut self,
        _: &MailboxName,
        _: &UniqueName,
        _: &LocalEntry,
    ) -> Result<Edit<(Identity, FileStat)>, LocalError> {
        stub()
    }
    fn read(
        &mut self,
        _: &MailboxName,
        _: &UniqueName,
        _: &LocalEntry,
    ) -> Result<Edit<Box<dyn BodySource>>, LocalError> {
        stub()
    }
    fn create(&mut self, _: &MailboxName) -> Result<(), LocalError> {
        stub()
    }
    fn assign_letters(
        &mut self,
        _: &MailboxName,
        _: &KeywordLetters,
        _: &BTreeSet<Keyword>,
    ) -> Result<KeywordLetters, LocalError> {
        stub()
    }
    fn stage(&mut self, _: &MailboxName) -> Result<(), LocalError> {
        stub()
    }
    fn stage_write(&mut self, _: &[u8]) -> Result<(), LocalError> {
        stub()
    }
    fn stage_finish(&mut self, _: Option<Timestamp>) -> Result<Staged, LocalError> {
        stub()
    }
    fn stage_discard(&mut self) -> Result<(), LocalError> {
        stub()
    }
    fn unstage(&mut self, _: &MailboxName, _: &UniqueName) -> Result<(), LocalError> {
        stub()
    }
    fn sync_staged(&mut self, _: &MailboxName) -> Result<(), LocalError> {
        stub()
    }
    fn publish(
        &mut self,
        _: &MailboxName,
        _: &UniqueName,
        _: &FlagSet,
        _: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        stub()
    }
    fn sync(&mut self, _: &MailboxName) -> Result<(), LocalError> {
        stub()
    }
    fn set_flags(
        &mut self,
        _: &MailboxName,
        _: &UniqueName,
        _: &LocalEntry,
        _: &FlagDelta,
        _: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        stub()
    }
    fn keep(
        &mut self,
        _: &MailboxName,
        _: &UniqueName,
        _: &LocalEntry,
        _: Timestamp,
    ) -> Result<Edit<Trashed>, LocalError> {
        stub()
    }
    fn sync_kept(&mut self) -> Result<(), LocalError> {
        stub()
    }
    fn unlink(&mut self, _: &MailboxName, _: &UniqueName, _: &LocalEntry) -> Result<Edit<()>, LocalError> {
        stub()
    }
    fn drop_kept(&mut self, _: &str) -> Result<(), LocalError> {
        stub()
    }
}
