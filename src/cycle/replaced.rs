//! Messages saved again. An in-place save shows in no directory's times and no name, so files that may have been saved
//! are asked one by one.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::{Run, Scene, role_of};
use crate::apply::local_problem;
use crate::model::{
    FileStat, Fingerprint, Flag, Identity, MailboxId, MailboxName, MailboxRow, MessageHash, MessageRow, Role,
    UniqueName,
};
use crate::reconcile::replace::{Saves, orphans, pair_saves};
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, Failure, Journal, LocalError, LocalErrorKind, LocalStore, Record, RemoteStore};

/// Drafts of the account, by mailbox.
pub(super) type Drafts = BTreeMap<MailboxId, Vec<MessageRow>>;

/// What became of a file that was asked about.
enum Visit {
    /// It is what the baseline says; its content was read if it looked different.
    Read(Option<Identity>, FileStat),
    /// It is empty, which is no new version, as long as it looks so.
    Empty(FileStat),
    /// Nobody can tell now.
    Unsettled,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Reads which messages are looked at even in a maildir that is as it was.
    pub(super) fn drafts(&mut self) -> Result<Drafts, Failure> {
        let mut drafts = Drafts::new();
        for row in self.account.journal.drafts()? {
            drafts.entry(row.mailbox).or_default().push(row);
        }
        Ok(drafts)
    }

    /// Returns true unless every draft of the mailbox is known to be as it was.
    pub(super) fn drafts_changed(
        &mut self,
        scene: &Scene,
        row: &MailboxRow,
        flagged: &[MessageRow],
    ) -> Result<bool, Failure> {
        let all = match role_of(scene, &row.name) {
            Some(Role::Drafts) => Some(self.account.journal.messages(row.id)?),
            _ => None,
        };
        for message in all.as_deref().unwrap_or(flagged) {
            let Some(unique) = &message.unique else { continue };
            match self.account.local.glance(&row.local, unique, &message.flags, &row.letters) {
                Ok(stat) if stat.is_some() && stat == message.stat => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind == LocalErrorKind::Item => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Finds out which messages of a mailbox were saved again.
    pub(super) fn saves(&mut self, sight: &Sight) -> Result<Saves, Failure> {
        let (mut saves, mut records) = (Saves::default(), Vec::new());
        let view = sight.view();
        if view.reset {
            return Ok(saves);
        }
        let named = LazyCell::new(|| sight.rows.iter().filter_map(|row| row.unique.as_ref()).collect::<BTreeSet<_>>());
        let knows = |unique: &UniqueName| named.contains(unique) || sight.agreed.contains(&sight.scan, unique);
        for row in &sight.rows {
            match (&row.unique, &row.replaced_by) {
                (Some(unique), _) => records.extend(self.visit_known(sight, row, unique, &mut saves)?),
                (None, Some(by)) if !knows(by) => self.visit_pending(sight, by, &mut saves)?,
                (None, _) => {}
            }
        }
        if !records.is_empty() {
            self.account.journal.commit(&records)?;
        }
        Ok(saves)
    }

    /// Asks about a file that the baseline knows, if it may have been saved again; returns what there is to record.
    fn visit_known(
        &mut self,
        sight: &Sight,
        row: &MessageRow,
        unique: &UniqueName,
        saves: &mut Saves,
    ) -> Result<Option<Record>, Failure> {
        let Some(entry) = sight.scan.entries.get(unique) else { return Ok(None) };
        let flagged = entry.flags.has(Flag::Draft) || row.flags.has(Flag::Draft);
        let is_draft = flagged || sight.role == Some(Role::Drafts);
        let other_file = row.stat.is_some_and(|stat| stat.inode != entry.inode);
        // What is about to leave the Maildir must be what left the server.
        let leaves = sight.remote.as_ref().is_some_and(|remote| remote.messages.get(row.uid).is_none());
        if !(is_draft || other_file || leaves || self.options.full) {
            return Ok(None);
        }
        match self.visit(sight, unique, entry, row.stat)? {
            Visit::Read(Some(identity), stat) if is_new_version(row, &identity, stat) => {
                saves.replaced.insert(unique.clone(), stat);
            }
            Visit::Read(_, stat) => {
                saves.unchanged.insert(unique.clone(), stat);
                return Ok((row.stat != Some(stat)).then_some(Record::Stat(row.id, stat)));
            }
            Visit::Empty(stat) => drop(saves.unchanged.insert(unique.clone(), stat)),
            Visit::Unsettled => drop(saves.unsettled.insert(unique.clone())),
        }
        Ok(None)
    }

    /// Asks about a file that is to take the place of a message and may have been saved yet again.
    fn visit_pending(&mut self, sight: &Sight, by: &UniqueName, saves: &mut Saves) -> Result<(), Failure> {
        let Some(entry) = sight.scan.entries.get(by) else { return Ok(()) };
        match self.visit(sight, by, entry, None)? {
            Visit::Read(_, stat) => drop(saves.replaced.insert(by.clone(), stat)),
            Visit::Empty(_) => {}
            Visit::Unsettled => drop(saves.unsettled.insert(by.clone())),
        }
        Ok(())
    }

    fn visit(
        &mut self,
        sight: &Sight,
        unique: &UniqueName,
        entry: &LocalEntry,
        known: Option<FileStat>,
    ) -> Result<Visit, Failure> {
        let name = &sight.row.name;
        match self.account.local.revisit(&sight.row.local, unique, entry, known) {
            Ok(Edit::Done((_, stat))) if stat.size == 0 => Ok(Visit::Empty(stat)),
            Ok(Edit::Done((identity, stat))) => Ok(Visit::Read(identity, stat)),
            Ok(Edit::Changed) => {
                self.report.problem(being_written(name, unique));
                Ok(Visit::Unsettled)
            }
            // Emptied while it was looked at.
            Err(error) if error.kind == LocalErrorKind::NoMessage => Ok(Visit::Unsettled),
            Err(error) => self.unreadable(name, unique, error),
        }
    }

    /// A file that can't be read may be any version of any message.
    fn unreadable(&mut self, name: &MailboxName, unique: &UniqueName, error: LocalError) -> Result<Visit, Failure> {
        if error.kind != LocalErrorKind::Item {
            return Err(error.into());
        }
        self.report.problem(local_problem(name, Some(unique.to_string()), &error));
        Ok(Visit::Unsettled)
    }

    /// Finds the new versions of drafts that were saved under other names, once all maildirs were read: what is missing from
    /// one and lies in another now was moved there.
    pub(super) fn follow_saves(&mut self, sights: &mut [Sight]) -> Result<(), Failure> {
        for at in 0..sights.len() {
            let Some(sight) = sights.get(at) else { continue };
            let view = sight.view();
            if view.role != Some(Role::Drafts) || view.reset || !sight.scan.quiet {
                continue;
            }
            let mut saves = sight.saves.clone();
            self.find_successors(sights, sight, &mut saves)?;
            if let Some(sight) = sights.get_mut(at) {
                sight.saves = saves;
            }
        }
        Ok(())
    }

    /// Finds the new versions of drafts whose files are gone among the files that appeared.
    fn find_successors(&mut self, all: &[Sight], sight: &Sight, saves: &mut Saves) -> Result<(), Failure> {
        let mut orphans = orphans(&sight.rows, |name| !sight.scan.entries.contains_key(name));
        orphans.retain(|(_, name, _)| !is_elsewhere(all, sight, name));
        if orphans.is_empty() {
            return Ok(());
        }
        let pending: BTreeSet<&UniqueName> = sight.rows.iter().filter_map(|row| row.replaced_by.as_ref()).collect();
        let view = sight.view();
        // What the folder held before is a copy, or the message itself under another name.
        let contents: BTreeSet<Fingerprint> = sight.rows.iter().filter_map(|row| row.content).collect();
        let is_new = |identity: &Identity| identity.content.is_some_and(|content| !contents.contains(&content));
        let sought: BTreeSet<MessageHash> = orphans.iter().map(|(.., id)| *id).collect();
        let (mut appeared, mut all_read) = (BTreeMap::<UniqueName, MessageHash>::new(), true);
        let is_new_name = |unique: &UniqueName| !pending.contains(unique) && !sight.saves.replaced.contains_key(unique);
        for (unique, entry) in view.new_files().filter(|(unique, _)| is_new_name(unique)) {
            match self.account.local.identify(&sight.row.local, unique, entry) {
                Ok(Edit::Done((identity, _))) => {
                    let id = identity.message_id.filter(|id| is_new(&identity) && sought.contains(id));
                    // One that was moved here, and saved then, is a new version of what it was before.
                    if let Some(id) = id
                        && !self.account.journal.is_known(unique)?
                    {
                        appeared.insert(unique.clone(), id);
                    }
                }
                Ok(Edit::Changed) => all_read = false,
                Err(error) if error.kind == LocalErrorKind::NoMessage => {}
                Err(error) => {
                    self.unreadable(&sight.row.name, unique, error)?;
                    all_read = false;
                }
            }
        }
        let bears = |unique: &UniqueName| sight.scan.entries.get(unique).map(|entry| &entry.flags);
        saves.successors = pair_saves(&orphans, &appeared, |row, unique| bears(unique) == Some(&row.flags));
        let alone = orphans.iter().filter(|(row, ..)| !all_read && !saves.successors.contains_key(&row.id));
        saves.unsettled.extend(alone.map(|(_, gone, _)| (*gone).clone()));
        Ok(())
    }
}

/// Returns true if a file that is missing from a maildir has come to another.
fn is_elsewhere(all: &[Sight], here: &Sight, name: &UniqueName) -> bool {
    let others = all.iter().filter(|sight| sight.row.id != here.row.id);
    let mut holding = others.filter(|sight| sight.scan.entries.contains_key(name));
    holding.any(|sight| !sight.view().knows(name))
}

/// Where the baseline knows no content, only another size shows that it is another; where it knows no stat either,
/// nothing does.
fn is_new_version(row: &MessageRow, identity: &Identity, now: FileStat) -> bool {
    match row.content {
        Some(content) => identity.content != Some(content),
        None => row.stat.is_some_and(|stat| stat.size != now.size),
    }
}

fn being_written(folder: &MailboxName, unique: &UniqueName) -> Problem {
    let message = "this message is being written to; it is left as it is on both sides";
    Problem {
        path: Some(unique.to_string()),
        ..Problem::of(folder, "folder-unfinished", message, "sync again when it is saved")
    }
}
