//! Folders renamed on one side are renamed on the other, with all that is known of them: nothing is transferred.
//!
//! Nothing but the names on both sides says what is still to be done: a folder is recognised by what it is, so a run cut
//! short at any moment is taken up by the next. Only a maildir half moved would not be: it has an intent, which is
//! followed to its end before anything is listed. What can't be followed as a rename is followed message by message.

mod carry;
mod find;
mod misnamed;
mod same;

use super::{PASSES, Run, Scene, role_of};
use crate::model::{MailboxName, MailboxRow, Side};
use crate::reconcile::mailboxes::{Fate, Folder};
use crate::reconcile::renames::{Rename, Way};
use crate::reconcile::report::PlanLine;
use crate::store::{Failure, Intent, Journal, LocalError, LocalErrorKind, LocalStore, Record, RemoteStore, Renaming};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Takes maildirs the rest of the way to their new names that a run cut short left on it.
    pub(in crate::cycle) fn finish_renames(&mut self) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        for (id, intent) in self.account.journal.intents()? {
            let Intent::Rename { mailbox, from, to } = intent else { continue };
            let mut records = vec![Record::Settled(id)];
            match self.account.local.rename(&from, &to) {
                Ok(true) => records.push(Record::LocalName(mailbox, to)),
                // Users did something else with it since.
                Ok(false) => {}
                // It was not begun, or is in a state that only a look can tell.
                Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&from)? => {}
                Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&to)? => {
                    records.push(Record::LocalName(mailbox, to));
                }
                Err(error) => return Err(error.into()),
            }
            self.account.journal.commit(&records)?;
        }
        Ok(())
    }

    pub(super) fn is_whole(&mut self, local: &MailboxName) -> Result<bool, LocalError> {
        Ok(self.account.local.list()?.maildirs.iter().any(|maildir| maildir.name == *local))
    }

    /// Follows renames on both sides, and lists again what has other names then. What others renamed meanwhile has lost its
    /// name in the new listing only, so that is searched, too: taken for gone, and its new name for a new folder, it would
    /// be fetched from there while it is held here. What could not be renamed is not tried again.
    pub(in crate::cycle) async fn follow_renames(&mut self, scene: &mut Scene) -> Result<(), Failure> {
        let mut tried: Vec<Rename> = Vec::new();
        for round in 0..=PASSES {
            // What was found to be elsewhere may have its name back since the listing before.
            for found in [&mut self.elsewhere, &mut self.elsewhere_there, &mut self.whole_there, &mut self.robbed] {
                found.clear();
            }
            let renames = self.find_renames(scene, &tried).await?;
            if renames.is_empty() || round == PASSES {
                break;
            }
            if self.options.dry_run {
                return self.tell_renames(scene, &renames);
            }
            let rows = self.account.journal.mailboxes()?;
            let is_renamed = |row: &&MailboxRow| renames.iter().any(|rename| rename.mailbox == row.id);
            scene.renamed.extend(rows.iter().filter(is_renamed).map(|row| row.name.clone()));
            let done = self.rename_here(scene, &renames)?;
            self.record(&renames, &done)?;
            self.rename_there(scene, &renames).await?;
            self.leave_refused(scene, &renames)?;
            self.list_again(scene).await?;
            tried.extend(renames);
        }
        if tried.is_empty() { Ok(()) } else { self.seek_lost(scene) }
    }

    async fn list_again(&mut self, scene: &mut Scene) -> Result<(), Failure> {
        scene.listing = self.listing().await?;
        scene.maildirs = self.account.local.list()?;
        Ok(())
    }

    /// Says in a dry run what would be renamed; the folders are looked at under the names that they have.
    fn tell_renames(&mut self, scene: &mut Scene, renames: &[Rename]) -> Result<(), Failure> {
        let (mut named, rows) = (Vec::new(), self.account.journal.mailboxes()?);
        let before = |id| rows.iter().find(|row| row.id == id).map(|row| row.name.clone());
        for Rename { mailbox, name, local, way } in renames {
            let (side, counts, to) = match way {
                Way::Here(to) => (Side::Local, &mut self.report.local, to),
                Way::There(to) => (Side::Remote, &mut self.report.remote, to),
                Way::Neither => {
                    named.push(Renaming { mailbox: *mailbox, name: name.clone(), local: local.clone() });
                    continue;
                }
            };
            counts.folders_renamed += 1;
            let folder = before(*mailbox).unwrap_or_else(|| name.clone());
            let (side, detail) = (Some(side), Some(to.to_string()));
            self.report.plan.push(PlanLine { side, op: "rename-folder", folder, uid: None, path: None, detail });
            named.push(Renaming { mailbox: *mailbox, name: name.clone(), local: local.clone() });
            let role = role_of(scene, name);
            let (name, local) = (name.clone(), local.clone());
            scene.to_be_renamed.push(Folder { name, local, role, fate: Fate::Paired });
        }
        self.name(named)
    }
}
