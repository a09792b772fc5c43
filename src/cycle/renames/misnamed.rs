//! What `local_names` has to do with directories that are there: a maildir that can't get the name it asks for, and one
//! whose name it gives to another folder. Both are left alone, and told.

use super::carry::steps_here;
use crate::cycle::{Run, Scene, role_of};
use crate::model::{KeywordLetters, MailboxName, MailboxRow};
use crate::reconcile::mailboxes::{Folder, server_name};
use crate::reconcile::renames::{Rename, Way, is_known};
use crate::reconcile::report::Problem;
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Leaves alone the maildirs that should have another name by the configuration, and can't: it is taken, or they are
    /// INBOX's. Taken for new folders, they would be sent a second time.
    pub(super) fn leave_misnamed(&mut self, scene: &Scene, rows: &[MailboxRow], renames: &[Rename]) {
        let (_, left) = steps_here(scene, renames);
        for step in left {
            let is_it = |row: &&MailboxRow| row.id == step.mailbox && row.local == step.from;
            let is_named_so =
                |row: &MailboxRow| renames.iter().any(|one| one.mailbox == row.id && one.name == row.name);
            if let Some(row) = rows.iter().find(is_it).filter(|row| is_named_so(row)) {
                self.leave_misnamed_one(row, &step.to);
            }
        }
        let inbox = rows.iter().find(|row| row.name.is_inbox() && is_known(row));
        if let Some(row) = inbox.filter(|row| scene.maildirs.find(&row.local).is_some()) {
            let wanted = self.policy.scope.local_name(&row.name, |name| role_of(scene, name));
            if wanted != row.local {
                self.leave_misnamed_one(row, &wanted);
            }
        }
    }

    /// Leaves alone the folders that were to be renamed on the server and were not, and that `local_names` gives another
    /// local name than they had: without the rename nothing tells that what is under the new name is theirs.
    pub(super) fn leave_refused(&mut self, scene: &Scene, renames: &[Rename]) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        for rename in renames {
            let Way::There(to) = &rename.way else { continue };
            let Some(row) = rows.iter().find(|row| row.id == rename.mailbox && row.name != *to) else { continue };
            let wanted = self.policy.scope.local_name(&row.name, |name| role_of(scene, name));
            if row.local != wanted {
                self.unrenamed.insert(row.id);
                self.stuck.extend([row.local.clone(), rename.local.clone(), wanted]);
            }
        }
        Ok(())
    }

    fn leave_misnamed_one(&mut self, row: &MailboxRow, wanted: &MailboxName) {
        if self.unrenamed.insert(row.id) && self.is_named(&row.name) {
            self.report.problem(misnamed(row, wanted));
        }
        self.stuck.extend([row.local.clone(), wanted.clone()]);
    }

    /// Tells of maildirs with mail whose name is that of a folder which has another one here: what they hold goes nowhere.
    pub(in crate::cycle) fn tell_strangers(&mut self, scene: &Scene, folders: &[Folder]) -> Result<(), Failure> {
        if !self.options.only.is_empty() {
            return Ok(());
        }
        let scope = &self.policy.scope;
        let is_stranger = |local: &MailboxName| {
            server_name(local, &scene.listing, scope).is_none()
                && !self.stuck.contains(local)
                && folders.iter().all(|folder| folder.local != *local)
        };
        let names = scene.maildirs.maildirs.iter().map(|maildir| &maildir.name);
        for local in names.filter(|local| is_stranger(local)).collect::<Vec<_>>() {
            match self.account.local.observe(local, &KeywordLetters::new()) {
                Ok(scan) if scan.entries.is_empty() => {}
                Err(error) if error.kind != LocalErrorKind::Item => return Err(error.into()),
                Ok(_) | Err(_) => {
                    let named = self.policy.scope.local_name(local, |name| role_of(scene, name));
                    self.report.problem(stranger(local, &named));
                }
            }
        }
        Ok(())
    }
}

fn misnamed(row: &MailboxRow, wanted: &MailboxName) -> Problem {
    let local = &row.local;
    let (why, hint) = match row.name.is_inbox() {
        true => ("the maildir of INBOX keeps its name", "put local_names for INBOX back as it was".to_owned()),
        false => (
            "there is another of that name",
            format!("move what is in {wanted} into {local} and remove {wanted}, or change local_names"),
        ),
    };
    Problem {
        code: "folder-name",
        folder: Some(row.name.clone()),
        path: Some(local.to_string()),
        uid: None,
        message: format!("the maildir {local} should be called {wanted}, and {why}; both are left as they are"),
        hint,
        retry_at: None,
    }
}

fn stranger(local: &MailboxName, named: &MailboxName) -> Problem {
    Problem {
        code: "folder-name",
        folder: None,
        path: Some(local.to_string()),
        uid: None,
        message: format!(
            "the maildir {local} is left alone, with the mail in it: the server's folder of that name is {named} here"
        ),
        hint: format!("move its messages into {named} and remove it, give it another name, or change local_names"),
        retry_at: None,
    }
}
