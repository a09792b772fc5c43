//! Looking: only at what may have changed, on both sides of a mailbox if on either.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, Scene, role_of};
use crate::apply::{Ground, is_fatal, local_problem, mailbox_problem};
use crate::model::{
    KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageRow, PermanentFlags, Role, Stamp, Timestamp, Tombstone,
    Uid, UidSet, UidValidity, UniqueName, Watermark,
};
use crate::reconcile::adopt::Match;
use crate::reconcile::flags::FlagRules;
use crate::reconcile::look::{Look, decide};
use crate::reconcile::mailboxes::{Fate, Folder};
use crate::reconcile::plan::{MailboxPlan, View};
use crate::reconcile::policy::Delete;
use crate::reconcile::replace::Saves;
use crate::reconcile::snapshot::{LocalSnapshot, RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{Failure, FailureRow, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// What was seen of one mailbox in one pass.
pub(super) struct Sight {
    pub(super) row: MailboxRow,
    pub(super) rows: Vec<MessageRow>,
    pub(super) scan: LocalSnapshot,
    pub(super) remote: Option<RemoteSnapshot>,
    pub(super) saves: Saves,
    pub(super) matches: Vec<Match>,
    pub(super) undecided: BTreeSet<UniqueName>,
    pub(super) failures: Vec<FailureRow>,
    role: Option<Role>,
    rules: FlagRules,
    delete: Delete,
    now: Timestamp,
}

/// A mailbox to be looked at.
struct Target<'a> {
    folder: &'a Folder,
    row: MailboxRow,
    look: Look,
    failures: Vec<FailureRow>,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Looks at every mailbox that may have changed. What can't be looked at is reported and left out: nothing is
    /// decided about it.
    pub(super) async fn observe(
        &mut self,
        scene: &Scene,
        unsettled: &BTreeSet<MailboxId>,
    ) -> Result<Vec<Sight>, Failure> {
        let mut targets = self.targets(scene, unsettled)?;
        let mut rows: BTreeMap<MailboxId, Vec<MessageRow>> = BTreeMap::new();
        for target in &targets {
            rows.insert(target.row.id, self.account.journal.messages(target.row.id)?);
        }
        let mut seen = self.look(&targets, &rows).await?;
        targets.retain(|target| target.look == Look::Skip || seen.contains_key(&target.folder.name));
        let mut sights = Vec::new();
        for target in targets {
            let remote = seen.remove(&target.folder.name);
            let rows = rows.remove(&target.row.id).unwrap_or_default();
            let Some(mut sight) = self.sight(scene, target, rows, remote)? else { continue };
            sight.saves = self.saves(&sight)?;
            match self.identify(&sight).await {
                Ok(found) => (sight.matches, sight.undecided) = found,
                Err(Failure::Remote(error)) if !is_fatal(&error) => {
                    self.report.problem(mailbox_problem(&sight.row.name, &error));
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            sights.push(sight);
        }
        Ok(sights)
    }

    fn targets<'s>(&mut self, scene: &'s Scene, unsettled: &BTreeSet<MailboxId>) -> Result<Vec<Target<'s>>, Failure> {
        let mut rows: BTreeMap<MailboxName, MailboxRow> =
            self.account.journal.mailboxes()?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let mut drafts = self.drafts()?;
        let mut targets = Vec::new();
        for folder in &scene.folders {
            let Some(row) = rows.remove(&folder.name).filter(|row| !unsettled.contains(&row.id)) else { continue };
            let failures = self.account.journal.failures(row.id)?;
            let look = self.how_to_look(scene, &row, !failures.is_empty());
            let flagged = drafts.remove(&row.id);
            let untouched = scene.first
                && look == Look::Skip
                && !self.local_changed(scene, &row)
                && !self.drafts_changed(scene, &row, flagged)?;
            if !untouched && (scene.first || scene.again.contains(&row.id)) {
                targets.push(Target { folder, row, look, failures });
            }
        }
        Ok(targets)
    }

    fn how_to_look(&self, scene: &Scene, row: &MailboxRow, failed: bool) -> Look {
        match row.watermark {
            Some(watermark) if !scene.first => Look::Since(watermark),
            None if !scene.first => Look::Full,
            _ => {
                let held = scene.header.holds.iter().any(|hold| hold.mailbox.as_ref() == Some(&row.name));
                let listed = scene.listing.mailboxes.get(&row.name);
                decide(row, listed, self.abilities.mod_seq, failed || held, self.options.full, self.now)
            }
        }
    }

    fn local_changed(&self, scene: &Scene, row: &MailboxRow) -> bool {
        let stamp: Option<Stamp> =
            scene.maildirs.maildirs.iter().find(|maildir| maildir.name == row.local).and_then(|maildir| maildir.stamp);
        self.options.full || stamp.is_none() || stamp != row.stamp
    }

    async fn look(
        &mut self,
        targets: &[Target<'_>],
        rows: &BTreeMap<MailboxId, Vec<MessageRow>>,
    ) -> Result<BTreeMap<MailboxName, RemoteSnapshot>, Failure> {
        let mut seen = BTreeMap::new();
        let mut requests = Vec::new();
        for target in targets.iter().filter(|target| target.look != Look::Skip) {
            if self.options.dry_run && target.folder.fate == Fate::CreateRemote {
                seen.insert(target.folder.name.clone(), not_there_yet());
                continue;
            }
            let rows = rows.get(&target.row.id).map(Vec::as_slice).unwrap_or_default();
            let since = match target.look {
                // Whether what waits to be expunged can be now depends on the flags of all messages.
                Look::Since(_) if rows.iter().any(|row| row.tombstone == Some(Tombstone::Waiting)) => None,
                Look::Since(watermark) => Some(watermark),
                Look::Full | Look::Skip => None,
            };
            let known: UidSet = rows.iter().map(|row| row.uid).collect();
            requests.push(RemoteRequest { mailbox: target.folder.name.clone(), since, known });
        }
        if requests.is_empty() {
            return Ok(seen);
        }
        for observed in self.account.remote.observe(&requests).await? {
            match observed.outcome {
                Ok(snapshot) => drop(seen.insert(observed.mailbox, snapshot)),
                Err(error) if is_fatal(&error) => return Err(error.into()),
                Err(error) => self.report.problem(mailbox_problem(&observed.mailbox, &error)),
            }
        }
        Ok(seen)
    }

    fn sight(
        &mut self,
        scene: &Scene,
        target: Target<'_>,
        rows: Vec<MessageRow>,
        remote: Option<RemoteSnapshot>,
    ) -> Result<Option<Sight>, Failure> {
        let Target { folder, mut row, failures, .. } = target;
        let scan = match self.scan(folder, &row) {
            Ok(scan) => scan,
            Err(Failure::Local(error)) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        for duplicate in &scan.duplicates {
            self.report.problem(duplicate_name(&folder.name, duplicate));
        }
        if let Some(snapshot) = &remote {
            row.permanent = snapshot.permanent.clone();
            row.read_only = snapshot.read_only;
        }
        if scene.first {
            for failure in still_failed(&failures, &rows, &scan, remote.as_ref(), self.now) {
                self.report.problem(failed_before(&folder.name, failure));
            }
        }
        let role = role_of(scene, &folder.name);
        let rules = self.flag_rules(&row, role);
        let (delete, now) = (self.policy.delete, self.now);
        Ok(Some(Sight {
            row,
            rows,
            scan,
            remote,
            saves: Saves::default(),
            matches: Vec::new(),
            undecided: BTreeSet::new(),
            failures,
            role,
            rules,
            delete,
            now,
        }))
    }

    fn scan(&mut self, folder: &Folder, row: &MailboxRow) -> Result<LocalSnapshot, Failure> {
        if self.options.dry_run && folder.fate == Fate::CreateLocal {
            let letters = Some(KeywordLetters::new());
            return Ok(LocalSnapshot {
                entries: [].into(),
                quiet: true,
                stamp: None,
                letters,
                dovecot: false,
                duplicates: Vec::new(),
            });
        }
        Ok(self.account.local.observe(&folder.local, &row.letters)?)
    }
}

impl Sight {
    pub(super) fn view(&self) -> View<'_> {
        let reset = self.remote.as_ref().is_some_and(|snapshot| self.row.uid_validity != Some(snapshot.uid_validity()));
        View {
            mailbox: self.row.id,
            name: &self.row.name,
            local: &self.row.local,
            role: self.role,
            rows: &self.rows,
            scan: &self.scan,
            remote: self.remote.as_ref(),
            rules: self.rules.clone(),
            delete: self.delete,
            reset,
            matched: self.row.watermark.is_some_and(|mark| Some(mark.uid_validity) == self.row.uid_validity) && !reset,
            saves: &self.saves,
            undecided: &self.undecided,
            waiting: self.waiting(),
            matches: &self.matches,
        }
    }

    pub(super) fn plan(&self) -> MailboxPlan {
        self.view().plan()
    }

    /// Without a look the server said that its values are those recorded.
    pub(super) fn ground(&self) -> Option<Ground> {
        let mark = self.remote.as_ref().map(|snapshot| snapshot.watermark).or(self.row.watermark)?;
        Some(Ground { uid_validity: mark.uid_validity, uid_next: mark.uid_next })
    }

    pub(super) fn letters(&self) -> KeywordLetters {
        self.scan.letters.clone().unwrap_or_else(|| self.row.letters.clone())
    }

    /// Returns the files and messages that failed and whose time has not come.
    fn waiting(&self) -> (BTreeSet<UniqueName>, UidSet) {
        let waiting: Vec<&FailureRow> = self.failures.iter().filter(|failure| waits(failure, self.now)).collect();
        let files = waiting.iter().filter_map(|failure| failure.unique.clone()).collect();
        let uids: UidSet = waiting.iter().filter_map(|failure| failure.uid).collect::<Vec<Uid>>().into_iter().collect();
        (files, uids)
    }
}

fn waits(failure: &FailureRow, now: Timestamp) -> bool {
    failure.retry_at.is_none_or(|at| at > now)
}

/// Returns what failed before, is not tried now, and is still there on one side only: the folder is not in step.
fn still_failed<'f>(
    failures: &'f [FailureRow],
    rows: &[MessageRow],
    scan: &LocalSnapshot,
    remote: Option<&RemoteSnapshot>,
    now: Timestamp,
) -> Vec<&'f FailureRow> {
    let is_file = |unique: &UniqueName| {
        scan.entries.contains_key(unique) && rows.iter().all(|row| row.unique.as_ref() != Some(unique))
    };
    let is_message = |uid: Uid| {
        let listed = remote.is_some_and(|snapshot| snapshot.messages.listed().contains_key(&uid));
        listed && rows.iter().all(|row| row.uid != uid)
    };
    let is_there =
        |failure: &&FailureRow| failure.unique.as_ref().is_some_and(is_file) || failure.uid.is_some_and(is_message);
    failures.iter().filter(|failure| waits(failure, now)).filter(is_there).collect()
}

fn failed_before(folder: &MailboxName, failure: &FailureRow) -> crate::reconcile::report::Problem {
    const CODES: [&str; 3] = ["message-too-large", "message-unrepresentable", "message-unavailable"];
    crate::reconcile::report::Problem {
        code: CODES.into_iter().find(|code| *code == failure.code).unwrap_or("message-refused"),
        folder: Some(folder.clone()),
        path: failure.unique.as_ref().map(ToString::to_string),
        uid: failure.uid,
        message: failure.message.clone(),
        hint: "this was found by an earlier sync; it is tried again a day after that".to_owned(),
        retry_at: failure.retry_at,
    }
}

/// A mailbox that a dry run would create.
fn not_there_yet() -> RemoteSnapshot {
    RemoteSnapshot {
        watermark: Watermark { uid_validity: UidValidity(0), uid_next: 1, messages: 0, mod_seq: None },
        permanent: PermanentFlags::all(),
        read_only: false,
        messages: RemoteMessages::Full(BTreeMap::new()),
    }
}

fn duplicate_name(folder: &MailboxName, file: &str) -> crate::reconcile::report::Problem {
    crate::reconcile::report::Problem {
        code: "duplicate-name",
        folder: Some(folder.clone()),
        path: Some(file.to_owned()),
        uid: None,
        message: format!("two files in {folder} share the unique name of {file}; this one is left alone"),
        hint: "give it another name (anything before \":2,\"), or remove it if it is a copy".to_owned(),
        retry_at: None,
    }
}
