//! What is found on this side, and what is known of it. Of messages that are as they were, the rows are let go of as they
//! are read, and read again if the server speaks of them.

use tokio::task::yield_now;

use super::{Sight, Target};
use crate::cycle::Scene;
use crate::model::{MailboxRow, MessageRow, UidSet};
use crate::reconcile::agreed::{Agreed, Agreement};
use crate::reconcile::mailboxes::{Fate, Folder};
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

/// Scans a maildir, and reads what is known of it.
pub(super) async fn look(
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
    pub(super) fn heed(
        &mut self,
        journal: &mut impl Journal,
        row: &MailboxRow,
        seen: Option<&RemoteSnapshot>,
    ) -> Result<(), StateError> {
        let Some(seen) = seen.filter(|_| self.agreed.count() > 0) else { return Ok(()) };
        let concerned = match &seen.messages {
            RemoteMessages::Delta { changed, vanished } if row.uid_validity == Some(seen.uid_validity()) => {
                let mut concerned: UidSet = changed.keys().copied().collect();
                concerned.union_with(vanished);
                concerned
            }
            RemoteMessages::Delta { .. } | RemoteMessages::Full(_) => {
                self.rows = journal.messages(row.id)?;
                self.agreed = Agreed::default();
                return Ok(());
            }
        };
        let Ok(scan) = &self.scan else { return Ok(()) };
        let held: UidSet = self.rows.iter().map(|row| row.uid).collect();
        let again = journal.messages_among(row.id, &concerned.difference(&held))?;
        again.iter().filter_map(|row| row.unique.as_ref()).for_each(|unique| self.agreed.remove(scan, unique));
        self.rows.extend(again);
        self.rows.sort_unstable_by_key(|row| row.uid);
        Ok(())
    }
}

impl Sight {
    /// Reads the rows that were let go of, too.
    pub(in crate::cycle) fn hold_all(&mut self, journal: &mut impl Journal) -> Result<(), StateError> {
        if self.agreed.count() > 0 {
            self.rows = journal.messages(self.row.id)?;
            self.agreed = Agreed::default();
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
