//! The server's Trash: where what is removed locally goes.

use super::folders::just_created;
use super::observe::Sight;
use super::{Run, Scene};
use crate::apply::{Ground, Target, is_fatal, mailbox_problem};
use crate::model::{MailboxName, Role, Side, UidSet, Watermark};
use crate::reconcile::mailboxes::{Fate, Folder, infer_roles};
use crate::reconcile::plan::{MailboxPlan, RemoteRemoval, Removal};
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::{PlanLine, Reason};
use crate::reconcile::snapshot::RemoteRequest;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns where removed messages go. If there is no Trash it is created; if it can't be, what would go there is
    /// held.
    pub(super) async fn trash_target(
        &mut self,
        scene: &mut Scene,
        sights: &[Sight],
        plans: &mut [MailboxPlan],
    ) -> Result<Option<Target>, Failure> {
        let needs = |plan: &MailboxPlan| plan.remove_remote.iter().any(|removal| removal.how == Removal::Trash);
        if !plans.iter().any(needs) {
            return Ok(None);
        }
        infer_roles(&mut scene.listing);
        let (found, sights) = match has_trash(scene) {
            Some(name) => (Some(name), sights),
            // What was seen is that it has gone.
            None => (self.create_trash(scene).await?, [].as_slice()),
        };
        let target = match found {
            Some(name) => self.target(scene, sights, name).await?,
            None => None,
        };
        if target.is_none() && !self.options.dry_run {
            for plan in plans.iter_mut().filter(|plan| needs(plan)) {
                self.do_without_trash(scene, plan);
            }
        }
        Ok(target)
    }

    /// Holds what would go to Trash. What was held for that already is expunged or brought back as the user says; an
    /// answer to another hold is none to this one.
    fn do_without_trash(&mut self, scene: &Scene, plan: &mut MailboxPlan) {
        let word = Reason::NoTrash.as_str();
        let holds = &scene.header.holds;
        let was_held = holds.iter().any(|hold| hold.mailbox.as_ref() == Some(&plan.name) && hold.reason == word);
        match self.options.holds {
            HoldAnswer::Accept if was_held => {
                let trashed = plan.remove_remote.iter_mut().filter(|removal| removal.how == Removal::Trash);
                trashed.for_each(|removal| removal.how = Removal::Expunge);
            }
            HoldAnswer::Undo if was_held => {
                let lost = take_trashed(plan);
                plan.download.extend(lost.into_iter().map(|removal| removal.uid));
            }
            HoldAnswer::Keep | HoldAnswer::Accept | HoldAnswer::Undo => {
                let count = take_trashed(plan).len() as u64;
                self.hold(scene, &plan.name, Side::Local, Reason::NoTrash, count);
                plan.held = true;
            }
        }
    }

    async fn create_trash(&mut self, scene: &mut Scene) -> Result<Option<MailboxName>, Failure> {
        let Some(name) = MailboxName::parse("Trash") else { return Ok(None) };
        let role_of = |other: &MailboxName| (*other == name).then_some(Role::Trash);
        let local = self.policy.scope.local_name(&name, role_of);
        let folder = Folder { local, name: name.clone(), role: Some(Role::Trash), fate: Fate::CreateRemote };
        let takes_part = self.policy.scope.takes_part(&name, Some(Role::Trash), true) && self.is_named(&name);
        if self.options.dry_run {
            self.report.remote.folders_created += 1;
            self.note_created(Side::Remote, &folder);
            if takes_part {
                self.create_local(&folder)?;
            }
            return Ok(None);
        }
        match self.account.remote.create(&name, Some(Role::Trash)).await {
            Ok(()) => {
                self.report.remote.folders_created += 1;
                scene.listing.mailboxes.insert(name.clone(), just_created(Some(Role::Trash)));
                if takes_part && self.create_local(&folder)? {
                    // One that has gone from the server before is there again.
                    let rows = self.account.journal.mailboxes()?;
                    self.know(scene, rows.iter().find(|row| row.name == name), &folder)?;
                    scene.folders.retain(|other| other.name != name);
                    scene.folders.push(folder);
                }
                Ok(Some(name))
            }
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(error) => {
                self.report.problem(mailbox_problem(&name, &error));
                Ok(None)
            }
        }
    }

    /// What goes to the server's Trash comes down into the Maildir's with the same run.
    pub(super) fn plan_arrivals_in_trash(&mut self, scene: &Scene, plans: &[MailboxPlan]) {
        let name = has_trash(scene).or_else(|| MailboxName::parse("Trash"));
        let is_subscribed =
            |name: &MailboxName| scene.listing.mailboxes.get(name).is_none_or(|listed| listed.subscribed);
        let takes_part = |name: &MailboxName| {
            self.policy.scope.takes_part(name, Some(Role::Trash), is_subscribed(name)) && self.is_named(name)
        };
        let Some(folder) = name.filter(takes_part) else { return };
        let removals = plans.iter().flat_map(|plan| &plan.remove_remote);
        for _ in removals.filter(|removal| removal.how == Removal::Trash) {
            self.report.local.added += 1;
            let (side, folder) = (Some(Side::Local), folder.clone());
            self.report.plan.push(PlanLine { side, op: "download", folder, uid: None, path: None, detail: None });
        }
    }

    /// The target's UIDVALIDITY and UIDNEXT before anything is put there. Only what was seen of it now tells: of one created
    /// again the row may still know the mailbox that has gone, whose numbers would hide what is put there.
    async fn target(&mut self, scene: &Scene, sights: &[Sight], name: MailboxName) -> Result<Option<Target>, Failure> {
        let rows = self.account.journal.mailboxes()?;
        let takes_part = scene.folders.iter().any(|folder| folder.name == name);
        let row = rows.iter().find(|row| row.name == name).filter(|_| takes_part);
        let seen = sights.iter().find(|sight| sight.row.name == name && !sight.displaced).and_then(Sight::ground);
        let ground = |mark: Watermark| Ground { uid_validity: mark.uid_validity, uid_next: mark.uid_next };
        let listed = scene.listing.mailboxes.get(&name).and_then(|listed| listed.status).map(ground);
        let ground = match seen.or(listed) {
            Some(known) => known,
            None if self.options.dry_run => return Ok(None),
            None => match self.look_at_target(&name).await? {
                Some(mark) => ground(mark),
                None => return Ok(None),
            },
        };
        Ok(Some(Target { mailbox: row.map(|row| row.id), name, ground }))
    }

    async fn look_at_target(&mut self, name: &MailboxName) -> Result<Option<Watermark>, Failure> {
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            Some(Ok(snapshot)) => Ok(Some(snapshot.watermark)),
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            Some(Err(error)) => {
                self.report.problem(mailbox_problem(name, &error));
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// Takes out of a plan what would go to Trash.
fn take_trashed(plan: &mut MailboxPlan) -> Vec<RemoteRemoval> {
    plan.remove_remote.extract_if(.., |removal| removal.how == Removal::Trash).collect()
}

fn has_trash(scene: &Scene) -> Option<MailboxName> {
    let trash =
        scene.listing.mailboxes.iter().find(|(_, mailbox)| mailbox.role == Some(Role::Trash) && mailbox.selectable);
    trash.map(|(name, _)| name.clone())
}
