//! Folders to which others give other names while a run looks.

use std::collections::BTreeMap;

use super::gone::Presence;
use super::observe::Target;
use super::settle::unfinished;
use super::{Run, Scene};
use crate::model::{MailboxName, MailboxRow, UidValidity};
use crate::reconcile::renames::{Likeness, is_displaced_there, is_known, likeness};
use crate::reconcile::snapshot::RemoteSnapshot;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Leaves to the next run what was seen under a name that a folder got after the listing had shown it under its own.
    /// Taken for another, its messages would be fetched here, and sent as new ones from the maildir that has them, if that
    /// was renamed, too.
    pub(super) async fn leave_overtaken(
        &mut self,
        scene: &Scene,
        targets: &[Target<'_>],
        seen: &mut BTreeMap<MailboxName, RemoteSnapshot>,
    ) -> Result<(), Failure> {
        let came = |target: &&Target<'_>| {
            seen.get(&target.folder.name).is_some_and(|seen| has_come_since(scene, target, seen))
        };
        let names: Vec<&MailboxName> = targets.iter().filter(came).map(|target| &target.folder.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let rows = self.account.journal.mailboxes()?;
        let mut in_place: BTreeMap<UidValidity, Vec<&MailboxRow>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_known(row) && !is_displaced_there(row, &scene.listing)) {
            row.uid_validity.into_iter().for_each(|validity| in_place.entry(validity).or_default().push(row));
        }
        for name in names {
            let Some(snapshot) = seen.get(name) else { continue };
            let alike = in_place.get(&snapshot.uid_validity()).into_iter().flatten();
            for row in alike.filter(|row| row.name != *name) {
                let messages = self.account.journal.messages(row.id)?;
                if likeness(row, &messages, snapshot) >= Likeness::Remains && self.has_left(scene, row).await? {
                    let why = format!("{} got this name on the server while the folders were looked at", row.name);
                    self.report.problem(unfinished(name, &why));
                    seen.remove(name);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns true if a mailbox that was listed is under its name no more. If another is there, the next listing has to
    /// tell that, too: without numbers it does not, and the search that follows a look finds where the one known is.
    async fn has_left(&mut self, scene: &Scene, row: &MailboxRow) -> Result<bool, Failure> {
        let is_told = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.status.is_some());
        Ok(match self.look_for(scene, row).await? {
            Presence::Gone => true,
            Presence::There(validity) => is_told && validity != row.uid_validity,
            Presence::Refused(_) => is_told,
        })
    }
}

/// Returns true if something came to a mailbox after it was listed, or that can't be told.
fn has_come_since(scene: &Scene, target: &Target<'_>, seen: &RemoteSnapshot) -> bool {
    let status = scene.listing.mailboxes.get(&target.folder.name).and_then(|listed| listed.status);
    let before = status.or(target.row.watermark).map(|mark| (mark.uid_validity, mark.uid_next));
    before != Some((seen.uid_validity(), seen.watermark.uid_next))
}
