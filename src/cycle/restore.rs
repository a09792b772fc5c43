//! Brings messages back from the recoverable trash. Both sides see them as new with the next run.
//!
//! Files first, durably; then the trash lets go of them; then the index. So after a crash in between, what is not done
//! can be asked for again, and what is done is recognised.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::local_problem;
use crate::model::{Keyword, KeywordLetters, MailboxName, MailboxRow, UniqueName};
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, PutBack, Record, Trashed};

/// A message that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was asked for.
    pub kept: Trashed,
    /// Its file's unique name.
    pub unique: UniqueName,
}

/// What came of a request to bring messages back.
#[derive(Debug, Default)]
pub struct Restoration {
    /// What is back.
    pub restored: Vec<Restored>,
    /// What is not.
    pub problems: Vec<Problem>,
    /// Why it ended before it was done.
    pub failure: Option<Failure>,
}

/// Brings messages back into their folders. The root must be there and marked.
pub fn bring_back<L: LocalStore, J: Journal>(local: &mut L, journal: &mut J, wanted: &[Trashed]) -> Restoration {
    let mut work = Work { local, journal, done: Restoration::default() };
    work.done.failure = work.all(wanted).err();
    work.done
}

struct Work<'a, L, J> {
    local: &'a mut L,
    journal: &'a mut J,
    done: Restoration,
}

impl<L: LocalStore, J: Journal> Work<'_, L, J> {
    fn all(&mut self, wanted: &[Trashed]) -> Result<(), Failure> {
        let mut folders: BTreeMap<&MailboxName, Vec<&Trashed>> = BTreeMap::new();
        for kept in wanted {
            folders.entry(&kept.mailbox).or_default().push(kept);
        }
        let (rows, maildirs) = (self.journal.mailboxes()?, self.local.list()?.maildirs);
        for (folder, kept) in folders {
            let row = rows.iter().find(|row| row.local == *folder);
            let exists = maildirs.iter().any(|maildir| maildir.name == *folder);
            match self.prepare(folder, row, exists).and_then(|ready| self.folder(folder, row, &kept, ready)) {
                Err(Failure::Local(error)) if error.kind == LocalErrorKind::Item => {
                    self.done.problems.push(local_problem(folder, None, &error));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Creates a maildir that is missing. Returns false if that would be harmful.
    fn prepare(&mut self, folder: &MailboxName, row: Option<&MailboxRow>, exists: bool) -> Result<bool, Failure> {
        if exists {
            return Ok(true);
        }
        if let Some(row) = row
            && self.journal.messages(row.id)?.iter().any(|message| message.unique.is_some())
        {
            self.done.problems.push(vanished(folder));
            return Ok(false);
        }
        self.local.create(folder)?;
        Ok(true)
    }

    fn folder(
        &mut self,
        folder: &MailboxName,
        row: Option<&MailboxRow>,
        wanted: &[&Trashed],
        ready: bool,
    ) -> Result<(), Failure> {
        if !ready {
            return Ok(());
        }
        let letters = row.map(|row| row.letters.clone()).unwrap_or_default();
        let seen = self.local.observe(folder, &letters)?;
        if !seen.quiet {
            self.done.problems.push(unquiet(folder));
            return Ok(());
        }
        let letters = self.letters(folder, seen.letters.unwrap_or(letters), wanted)?;
        // Each that is put back has its place among them.
        let mut here: BTreeMap<UniqueName, LocalEntry> = seen.entries.into_iter().collect();
        let (mut back, mut gone) = (Vec::new(), Vec::new());
        for kept in wanted {
            match self.one(kept, &letters, &mut here)? {
                Some(PutBack::Done(unique) | PutBack::Already(unique)) => {
                    back.push(Restored { kept: (*kept).clone(), unique });
                }
                Some(PutBack::Gone) => gone.push(Record::Dropped(kept.kept_as.clone())),
                None => {}
            }
        }
        self.local.sync(folder)?;
        self.let_go(row, back, gone)
    }

    /// Returns what letters mean in a folder once the keywords of what comes back have theirs.
    fn letters(
        &mut self,
        folder: &MailboxName,
        known: KeywordLetters,
        wanted: &[&Trashed],
    ) -> Result<KeywordLetters, Failure> {
        let keywords: BTreeSet<Keyword> =
            wanted.iter().filter_map(|kept| kept.keywords.as_deref()).flatten().cloned().collect();
        match keywords.is_empty() {
            true => Ok(known),
            false => Ok(self.local.assign_letters(folder, &known, &keywords)?),
        }
    }

    fn one(
        &mut self,
        kept: &Trashed,
        letters: &KeywordLetters,
        here: &mut BTreeMap<UniqueName, LocalEntry>,
    ) -> Result<Option<PutBack>, Failure> {
        match self.local.put_back(kept, letters, here) {
            Ok(PutBack::Gone) => {
                self.done.problems.push(missing(kept));
                Ok(Some(PutBack::Gone))
            }
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.done.problems.push(local_problem(&kept.mailbox, Some(kept.kept_as.clone()), &error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn let_go(
        &mut self,
        row: Option<&MailboxRow>,
        back: Vec<Restored>,
        mut records: Vec<Record>,
    ) -> Result<(), Failure> {
        // Before the trash lets go: a crash must not leave the next run a file that it takes for one removed there.
        self.forget(row, &back)?;
        for restored in &back {
            self.local.drop_kept(&restored.kept.kept_as)?;
            records.push(Record::Dropped(restored.kept.kept_as.clone()));
        }
        self.local.sync_kept()?;
        self.done.restored.extend(back);
        Ok(self.journal.commit(&records)?)
    }

    /// A run that was killed between removing a file and recording it left a row. With it, what is back would count as
    /// removed on the server, and be removed again.
    fn forget(&mut self, row: Option<&MailboxRow>, back: &[Restored]) -> Result<(), Failure> {
        let Some(row) = row else { return Ok(()) };
        let names: BTreeSet<&UniqueName> = back.iter().map(|restored| &restored.unique).collect();
        let messages = self.journal.messages(row.id)?;
        let left = messages.iter().filter(|message| message.unique.as_ref().is_some_and(|name| names.contains(name)));
        let mut records: Vec<Record> = left.map(|message| Record::Forget(message.id)).collect();
        if records.is_empty() {
            return Ok(());
        }
        // Both sides are to be looked at whole: the message may be on the server after all.
        let (permanent, read_only) = (row.permanent.clone(), row.read_only);
        records.push(Record::Looked { mailbox: row.id, watermark: None, permanent, read_only, full_look: None });
        records.push(Record::Scanned(row.id, None));
        Ok(self.journal.commit(&records)?)
    }
}

/// Made anew for a few messages, the maildir would look as if all others had been removed from it.
fn vanished(folder: &MailboxName) -> Problem {
    let message = "its maildir is gone, but not its mail on the server; nothing was brought back into it";
    let hint = "put the maildir back, or have it made again with mailtide sync --undo-held ACCOUNT; then restore again";
    Problem::of(folder, "maildir-vanished", message, hint)
}

fn unquiet(folder: &MailboxName) -> Problem {
    let message = "its maildir kept changing while it was read; nothing was brought back into it";
    Problem::of(folder, "folder-unfinished", message, "restore again")
}

fn missing(kept: &Trashed) -> Problem {
    let message = "it is not in the recoverable trash any more: it was taken out, or brought back by a restore that was cut short";
    Problem {
        path: Some(kept.kept_as.clone()),
        ..Problem::of(&kept.mailbox, "not-kept", message, "look for it in its folder")
    }
}
