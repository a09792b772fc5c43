//! What is found on this side, and what is known of it. Of messages that are as they were, the rows are let go of as they
//! are read, and read again if the server speaks of them.

use tokio::task::yield_now;

use super::{Sight, Target};
use crate::cycle::Scene;
use crate::model::{FlagSet, MailboxRow, MessageRow, UidSet, UniqueName};
use crate::reconcile::agreed::{Agreed, Agreement};
use crate::reconcile::mailboxes::{Fate, Folder};
use crate::reconcile::renumber::{Numbers, numbers};
use crate::reconcile::snapshot::{Entries, LocalSnapshot, RemoteMessages, RemoteSnapshot};
use crate::store::{Journal, LocalError, LocalStore, StateError};

/// What a look at a maildir brought.
pub(super) type Scan = Result<LocalSnapshot, LocalError>;

/// What is here of one mailbox.
pub(super) struct Here {
    pub(super) scan: Scan,
    /// The rows that are held, in order of UID.
    pub(super) rows: Vec<MessageRow>,
    /// The files of those that are not.
    pub(super) agreed: Agreed,
}

/// Looks at a maildir, and reads what is known of it. One that is as it was is not scanned: the files that are needed are
/// found by their names, if they have those that they should.
pub(super) async fn look(
    local: &mut impl LocalStore,
    journal: &mut impl Journal,
    terms: (&Scene, bool),
    target: &Target<'_>,
) -> Result<Here, StateError> {
    match unlisted(local, target) {
        Some(here) => Ok(here),
        None => list(local, journal, terms, target).await,
    }
}

fn unlisted(local: &mut impl LocalStore, target: &Target<'_>) -> Option<Here> {
    let Target { row, tombstones, drafts, .. } = target;
    // The new version of a message that was saved again is one of the files.
    let is_needed = tombstones.iter().any(|row| row.replaced_by.is_some());
    let stamp = row.stamp.filter(|_| target.is_still && !is_needed)?;
    // What can't be looked at is met again by the scan.
    let scan = local.unchanged(&row.local, &stamp, &row.letters).ok()??;
    if scan.directory != row.directory {
        return None;
    }
    let agreed = Agreed::unlisted(row.with_uid.saturating_sub(tombstones.len() as u64));
    let mut here = Here { scan: Ok(scan), rows: tombstones.clone(), agreed };
    here.hold(local, row, drafts.clone()).then_some(here)
}

/// Scans a maildir, and reads what is known of it.
pub(super) async fn list(
    local: &mut impl LocalStore,
    journal: &mut impl Journal,
    (scene, dry_run): (&Scene, bool),
    target: &Target<'_>,
) -> Result<Here, StateError> {
    let scan = scan(local, dry_run, scene, target.folder, &target.row);
    yield_now().await;
    let here = match scan {
        Ok(scan) if target.lets_go => {
            let mut agreement = Agreement::new(&target.row, &scan);
            let rows = journal.messages_but(target.row.id, &mut |row| agreement.let_go(row))?;
            let agreed = agreement.finish();
            Here { scan: Ok(scan), rows, agreed }
        }
        scan => Here { scan, rows: journal.messages(target.row.id)?, agreed: Agreed::default() },
    };
    yield_now().await;
    Ok(here)
}

impl Here {
    /// Reads the rows again that were let go of and are not as they were on the server, as far as a look told, or may not be.
    /// Returns false if there are such, no file was listed and theirs are not found: that has to be done first.
    pub(super) fn heed(
        &mut self,
        (local, journal): (&mut impl LocalStore, &mut impl Journal),
        row: &MailboxRow,
        seen: Option<&RemoteSnapshot>,
    ) -> Result<bool, StateError> {
        let Some(seen) = seen.filter(|_| !self.agreed.is_none()) else { return Ok(true) };
        let concerned = concerned(row, seen);
        let mut rows = match &concerned {
            Some(uids) => {
                let held = self.rows.iter().map(|row| row.uid).collect();
                journal.messages_among(row.id, &uids.difference(&held))?
            }
            None if self.agreed.is_listed() => journal.messages(row.id)?,
            None => return Ok(false),
        };
        match &self.scan {
            _ if !self.agreed.is_listed() => return Ok(self.hold(local, row, rows)),
            Ok(scan) if concerned.is_some() => {
                rows.iter().filter_map(|row| row.unique.as_ref()).for_each(|unique| self.agreed.remove(scan, unique));
                rows.append(&mut self.rows);
                rows.sort_unstable_by_key(|row| row.uid);
            }
            Ok(_) | Err(_) => self.agreed.clear(),
        }
        self.rows = rows;
        Ok(true)
    }

    /// Holds rows whose files were not listed, if all of these are found by their names.
    fn hold(&mut self, local: &mut impl LocalStore, row: &MailboxRow, mut rows: Vec<MessageRow>) -> bool {
        if rows.is_empty() {
            return true;
        }
        let Ok(scan) = &mut self.scan else { return false };
        let files: Vec<(&UniqueName, &FlagSet)> =
            rows.iter().filter_map(|row| Some((row.unique.as_ref()?, &row.flags))).collect();
        // To look for most of them takes longer than to list all. What can't be looked at is met again by that.
        let few = files.len() as u64 * 2 <= self.agreed.count();
        let Some(found) = few.then(|| local.named(&row.local, &files, &row.letters).ok()).flatten() else {
            return false;
        };
        if found.len() < files.len() {
            return false;
        }
        self.agreed.hold(found.len() as u64);
        scan.entries.extend(found);
        rows.append(&mut self.rows);
        rows.sort_unstable_by_key(|row| row.uid);
        self.rows = rows;
        true
    }
}

/// Returns the messages that a look told of; `None` if it told of all, or the numbers it told them by may be others.
fn concerned(row: &MailboxRow, seen: &RemoteSnapshot) -> Option<UidSet> {
    match &seen.messages {
        RemoteMessages::Delta { changed, vanished } => {
            let mut concerned: UidSet = changed.keys().copied().collect();
            concerned.union_with(vanished);
            Some(concerned).filter(|_| numbers(row, row.highest, &seen.watermark) == Numbers::Kept)
        }
        RemoteMessages::Full(_) => None,
    }
}

impl Sight {
    /// Reads the rows that were let go of, too.
    pub(in crate::cycle) fn hold_all(&mut self, journal: &mut impl Journal) -> Result<(), StateError> {
        if !self.agreed.is_none() {
            self.rows = journal.messages(self.row.id)?;
            self.agreed.clear();
        }
        Ok(())
    }
}

/// Scans a maildir, or says what one would show that is not there.
pub(super) fn scan(
    local: &mut impl LocalStore,
    dry_run: bool,
    scene: &Scene,
    folder: &Folder,
    row: &MailboxRow,
) -> Scan {
    let unmade = dry_run && matches!(folder.fate, Fate::CreateLocal | Fate::GoneLocal);
    if unmade || scene.is_missing(&folder.name) {
        let letters = Some(row.letters.clone());
        return Ok(LocalSnapshot {
            entries: Entries::new(),
            quiet: true,
            stamp: None,
            directory: None,
            letters,
            dovecot: false,
            duplicates: Vec::new(),
        });
    }
    local.observe(&folder.local, &row.letters)
}
