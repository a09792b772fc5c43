//! Folders that have gone from one side: followed on the other, or held while that looks like an accident.
//!
//! A folder leaves the other side last, once a look finds it empty there: its messages go before, one by one like other
//! removed messages, and what nobody knew of brings the folder back.

use super::observe::Sight;
use super::{Run, Scene};
use crate::apply::{is_fatal, local_problem, mailbox_problem};
use crate::model::{MailboxId, MailboxName, MailboxRow, MessageRow, Side, UidValidity};
use crate::reconcile::mailboxes::{Fate, Folder, Vanished, accidents, is_renumbered};
use crate::reconcile::plan::{MailboxPlan, RemoteRemoval, Removal};
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::{Held, PlanLine, Problem, Reason};
use crate::reconcile::snapshot::RemoteRequest;
use crate::store::{
    Failure, HoldRow, Journal, LocalErrorKind, LocalStore, Record, RemoteError, RemoteErrorKind, RemoteStore,
};

/// What a look under a mailbox's name finds.
pub(super) enum Presence {
    /// It is no more.
    Gone,
    /// It can be opened; its UIDVALIDITY, if that was told.
    There(Option<UidValidity>),
    /// Nobody can tell.
    Refused(RemoteError),
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Decides about the folders that have gone from one side. Returns those that take part in this run.
    pub(super) async fn follow_gone(
        &mut self,
        scene: &mut Scene,
        rows: &[MailboxRow],
        folders: Vec<Folder>,
    ) -> Result<Vec<Folder>, Failure> {
        let mut gone = Vec::new();
        for folder in folders {
            let Some(row) = rows.iter().find(|row| row.name == folder.name) else { continue };
            if folder.fate == Fate::GoneRemote && !self.is_gone(scene, row).await? {
                self.blind.insert(folder.local);
                continue;
            }
            let (messages, elsewhere) = (self.files_known(row.id)?, self.elsewhere.contains(&row.id));
            gone.push((Vanished { folder, messages, elsewhere }, row));
        }
        let vanished: Vec<&Vanished> = gone.iter().map(|(vanished, _)| vanished).collect();
        let renumbered = is_renumbered(rows, &scene.listing);
        let suspicious = accidents(&vanished, self.policy.max_delete.at_least, renumbered);
        let mut taking_part = Vec::new();
        for ((vanished, row), suspicious) in gone.into_iter().zip(suspicious) {
            let waits = vanished.messages > 0 && is_held(scene, &vanished.folder);
            let part = match (self.options.holds, suspicious || waits) {
                (HoldAnswer::Undo, _) => self.bring_back(scene, row, vanished.folder).await?,
                (HoldAnswer::Keep, true) if !renumbered && scene.may_hold_arrivals(vanished.folder.fate, rows) => {
                    scene.trial.push(vanished.clone());
                    Some(vanished.folder)
                }
                (HoldAnswer::Keep, true) => {
                    self.hold_gone(scene, &vanished);
                    self.blind.insert(vanished.folder.local);
                    None
                }
                (HoldAnswer::Accept, _) | (HoldAnswer::Keep, false) => self.follow(row, vanished)?,
            };
            // A rename cut short may have given its maildir another name, and users this one to a new maildir. What is known
            // stays: none of it is in this one, so it is missing on both sides, and followed to where it went.
            if let Some(folder) = &part
                && folder.fate == Fate::GoneRemote
                && folder.local != row.local
            {
                self.account.journal.commit(&[Record::LocalName(row.id, folder.local.clone())])?;
            }
            taking_part.extend(part);
        }
        // Once the new numbers are recorded, only the holds tell why these folders are gone.
        if renumbered && self.report.held.iter().any(|held| is_news(scene, held)) {
            self.keep_holds(&scene.header)?;
        }
        Ok(taking_part)
    }

    /// LIST may leave a mailbox out: it is gone only if it can't be opened because it does not exist.
    pub(super) async fn is_gone(&mut self, scene: &Scene, row: &MailboxRow) -> Result<bool, Failure> {
        match self.look_for(scene, row).await? {
            Presence::Gone => return Ok(true),
            Presence::There(_) => self.report.problem(unlisted(&row.name)),
            Presence::Refused(error) => self.report.problem(mailbox_problem(&row.name, &error)),
        }
        Ok(false)
    }

    /// Looks whether a mailbox is there, whatever the listing says.
    pub(super) async fn look_for(&mut self, scene: &Scene, row: &MailboxRow) -> Result<Presence, Failure> {
        let is_inbox = row.name.is_inbox();
        if scene.listing.mailboxes.get(&row.name).is_some_and(|listed| !listed.selectable && !is_inbox) {
            return Ok(Presence::Gone);
        }
        let known = self.account.journal.messages(row.id)?.iter().map(|message| message.uid).collect();
        let request = RemoteRequest { mailbox: row.name.clone(), since: row.watermark, known };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            // The inbox is always there (RFC 9051 section 5.1): without it the server is in trouble.
            Some(Err(error)) if error.kind == RemoteErrorKind::NoSuchMailbox && !is_inbox => Ok(Presence::Gone),
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            Some(Err(error)) => Ok(Presence::Refused(error)),
            Some(Ok(seen)) => Ok(Presence::There(Some(seen.uid_validity()))),
            None => Ok(Presence::There(None)),
        }
    }

    /// What an interrupted run left in the journal counts as a message, and so does an old version whose new one is gone.
    fn files_known(&mut self, mailbox: MailboxId) -> Result<u64, Failure> {
        let is_known = |row: &&MessageRow| row.unique.is_some() || row.is_outdated();
        let files = self.account.journal.messages(mailbox)?.iter().filter(is_known).count();
        let begun = self.account.journal.intents()?.iter().filter(|(_, intent)| intent.mailbox() == mailbox).count();
        Ok((files + begun) as u64)
    }

    pub(super) fn hold_gone(&mut self, scene: &Scene, vanished: &Vanished) {
        let (side, reason) = match vanished.folder.fate {
            Fate::GoneLocal => (Side::Local, Reason::MaildirVanished),
            _ => (Side::Remote, Reason::FolderRemoved),
        };
        self.hold(scene, &vanished.folder.name, side, reason, vanished.messages);
    }

    /// Both sides are united in the folder that is put back, so that nothing in it counts as removed.
    async fn bring_back(
        &mut self,
        scene: &mut Scene,
        row: &MailboxRow,
        folder: Folder,
    ) -> Result<Option<Folder>, Failure> {
        let (ready, fate) = match folder.fate {
            Fate::GoneLocal => {
                self.match_anew(row, &folder)?;
                (self.create_local(&folder)?, Fate::CreateLocal)
            }
            _ => (self.create_anew(scene, row, &folder).await?, Fate::CreateRemote),
        };
        Ok(ready.then_some(Folder { fate, ..folder }))
    }

    /// Lets go of what is known of a mailbox that is no more, and creates another of its name.
    async fn create_anew(&mut self, scene: &mut Scene, row: &MailboxRow, folder: &Folder) -> Result<bool, Failure> {
        self.account.journal.commit(&[Record::ForgetMailbox(row.id)])?;
        let created = self.create_remote(scene, folder).await?;
        if created {
            self.know(scene, None, folder)?;
        }
        Ok(created)
    }

    /// A maildir that is gone is created again, empty: its messages are then removed ones, and new mail finds a place.
    /// What has a role is there for its role, and the inbox always: such are not removed for being empty.
    fn follow(&mut self, row: &MailboxRow, vanished: Vanished) -> Result<Option<Folder>, Failure> {
        let Vanished { folder, messages, .. } = vanished;
        let stays = folder.name.is_inbox() || folder.role.is_some();
        if folder.fate == Fate::GoneLocal && stays && messages == 0 {
            self.match_anew(row, &folder)?;
            return Ok(self.create_local(&folder)?.then_some(Folder { fate: Fate::CreateLocal, ..folder }));
        }
        if !self.options.dry_run
            && folder.fate == Fate::GoneLocal
            && let Err(error) = self.account.local.create(&folder.local)
        {
            return match error.kind {
                LocalErrorKind::Item => {
                    self.report.problem(local_problem(&folder.name, None, &error));
                    Ok(None)
                }
                _ => Err(error.into()),
            };
        }
        Ok(Some(folder))
    }

    /// Says in a dry run which folders would go: those of which nothing remains once the plans are carried out. One with
    /// something new in it comes back where it had gone.
    pub(super) fn plan_gone(&mut self, scene: &Scene, sights: &[Sight], plans: &[MailboxPlan]) {
        for folder in scene.folders.iter().filter(|folder| !folder.name.is_inbox()) {
            let planned = sights.iter().zip(plans).find(|(_, plan)| plan.name == folder.name);
            let empties = planned.is_some_and(|(sight, plan)| match folder.fate {
                Fate::GoneLocal => empties_there(sight, plan),
                Fate::GoneRemote => !plan.held && !plan.unknown && leaving_here(plan) == sight.scan.entries.len(),
                Fate::Paired | Fate::CreateLocal | Fate::CreateRemote | Fate::GoneBoth => false,
            });
            let arrives = planned.is_some_and(|(_, plan)| !plan.upload.is_empty());
            if empties {
                self.note_removed(folder);
            } else if folder.fate == Fate::GoneRemote && arrives {
                self.report.remote.folders_created += 1;
                self.note_created(Side::Remote, folder);
            }
        }
    }

    fn note_removed(&mut self, folder: &Folder) {
        let (side, counts) = match folder.fate {
            Fate::GoneLocal => (Side::Remote, &mut self.report.remote),
            _ => (Side::Local, &mut self.report.local),
        };
        counts.folders_removed += 1;
        let (side, folder) = (Some(side), folder.name.clone());
        self.report.plan.push(PlanLine { side, op: "remove-folder", folder, uid: None, path: None, detail: None });
    }

    /// Removes the folders that are empty now from the side that kept them. One in which something turned up is created
    /// again where it had gone. Those below others go first.
    pub(super) async fn conclude_gone(&mut self, scene: &mut Scene) -> Result<(), Failure> {
        let is_gone = |folder: &&Folder| matches!(folder.fate, Fate::GoneLocal | Fate::GoneRemote);
        let is_held = |folder: &&Folder| scene.trial.iter().any(|one| one.folder.name == folder.name);
        let gone = scene.folders.iter().filter(is_gone).filter(|folder| !is_held(folder));
        let mut gone: Vec<Folder> = gone.cloned().collect();
        if gone.is_empty() || self.options.dry_run {
            return Ok(());
        }
        gone.sort_by(|one, other| other.name.cmp(&one.name));
        let rows = self.account.journal.mailboxes()?;
        for folder in gone {
            let Some(row) = rows.iter().find(|row| row.name == folder.name) else { continue };
            // What is held, could not be removed or came anew.
            if !self.account.journal.messages(row.id)?.is_empty() {
                continue;
            }
            let fate = match folder.fate {
                Fate::GoneLocal => self.remove_there(scene, row, &folder).await?,
                _ => self.remove_here(scene, row, &folder).await?,
            };
            scene.folders.retain(|other| other.name != folder.name);
            scene.folders.extend(fate.map(|fate| Folder { fate, ..folder }));
        }
        Ok(())
    }

    /// Returns what becomes of a folder that is to leave the server; `None` if it left.
    async fn remove_there(
        &mut self,
        scene: &mut Scene,
        row: &MailboxRow,
        folder: &Folder,
    ) -> Result<Option<Fate>, Failure> {
        if folder.name.is_inbox() {
            return Ok(Some(Fate::Paired));
        }
        match self.account.remote.delete(&folder.name).await {
            Ok(true) => {}
            Ok(false) => {
                scene.again.insert(row.id);
                return Ok(Some(Fate::Paired));
            }
            Err(error) if is_fatal(&error) => return Err(error.into()),
            Err(error) => {
                self.report.problem(mailbox_problem(&folder.name, &error));
                return Ok(None);
            }
        }
        self.report.remote.folders_removed += 1;
        scene.listing.mailboxes.remove(&folder.name);
        // Without its row, a maildir that could not be removed is one that only exists here: created there again.
        self.account.journal.commit(&[Record::ForgetMailbox(row.id)])?;
        match self.account.local.remove(&folder.local) {
            Ok(_) => Ok(None),
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what becomes of a folder that is to leave the Maildir; `None` if it left.
    async fn remove_here(
        &mut self,
        scene: &mut Scene,
        row: &MailboxRow,
        folder: &Folder,
    ) -> Result<Option<Fate>, Failure> {
        match self.account.local.remove(&folder.local) {
            Ok(true) => {
                self.report.local.folders_removed += 1;
                self.account.journal.commit(&[Record::ForgetMailbox(row.id)])?;
                Ok(None)
            }
            Ok(false) => {
                let created = self.create_anew(scene, row, folder).await?;
                // What turned up may have come from any other folder.
                scene.again.extend(self.account.journal.mailboxes()?.into_iter().map(|row| row.id));
                Ok(created.then_some(Fate::Paired))
            }
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns true if a plan leaves nothing in a mailbox whose maildir has gone.
fn empties_there(sight: &Sight, plan: &MailboxPlan) -> bool {
    let leaves = |removal: &&RemoteRemoval| !matches!(removal.how, Removal::Keep | Removal::Flag);
    let leaving = plan.remove_remote.iter().filter(leaves).count() + plan.move_remote.len() + plan.forget.len();
    !plan.held && !plan.unknown && plan.download.is_empty() && leaving == sight.rows.len()
}

/// Returns how many files a plan takes out of a maildir.
fn leaving_here(plan: &MailboxPlan) -> usize {
    plan.remove_local.len() + plan.move_local.len()
}

/// A folder that went when its server was set up again is held until the user's word: the next run can't tell any more.
pub(super) fn is_held(scene: &Scene, folder: &Folder) -> bool {
    let is_it = |hold: &HoldRow| hold.mailbox.as_ref() == Some(&folder.name) && is_removal(hold);
    folder.fate == Fate::GoneRemote && scene.header.holds.iter().any(is_it)
}

fn is_removal(hold: &HoldRow) -> bool {
    hold.reason == Reason::FolderRemoved.as_str()
}

fn is_news(scene: &Scene, held: &Held) -> bool {
    held.reason == Reason::FolderRemoved
        && !scene.header.holds.iter().any(|hold| hold.mailbox == held.folder && is_removal(hold))
}

fn unlisted(folder: &MailboxName) -> Problem {
    let message =
        "the server leaves this folder out of its list, yet it can be opened; it is left as it is on both sides";
    Problem::of(folder, "folder-unlisted", message, "sync again; if it stays so, tell the server's administrators")
}
