//! Carrying a plan out: each step journaled where a crash in its middle could not be told from a user's doing, each
//! safe to repeat.
//!
//! The baseline never claims more than is durable. So a message becomes a row only after its file and its directory
//! entry are on disk, or after the server proved that it has it; and whatever lies between the deed and the record
//! is explained by an intent, which [`recover`] reads before anything is observed again.

mod adopt;
mod copies;
mod download;
mod flags;
mod label;
mod local_moves;
mod local_removal;
mod merged;
mod moves;
pub mod recover;
mod refusal;
mod remote_removal;
mod upload;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    FlagSet, KeywordLetters, MailboxId, MailboxName, MessageId, Timestamp, Uid, UidSet, UidValidity, UniqueName,
    Watermark,
};
use crate::reconcile::changes::{Change, last_change};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::KeepDeleted;
use crate::reconcile::report::{Event, Problem, Report};
use crate::store::{
    Expunged, Failure, IntentId, Journal, LocalError, LocalErrorKind, LocalStore, Record, RemoteError, RemoteErrorKind,
    RemoteStore, StoredFlags, Transfer,
};
pub use upload::{Caution, Suspects};

/// What a mailbox's UIDs stand on, as of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// No new message has a lower UID.
    pub uid_next: u32,
}

/// What applying left behind in one mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// The server's side was changed: look at it again, to tell our echo from others' changes.
    pub remote_changed: bool,
    /// The Maildir was changed, so the scan's stamp is no longer that of the directories.
    pub local_changed: bool,
    /// Something was no longer as observed: look again at once.
    pub overtaken: bool,
    /// The connection was lost in the middle, and made anew.
    pub cut_short: bool,
    /// Something failed: look again with the next run.
    pub failed: bool,
}

/// What came of moves from a mailbox to another: which messages were to be moved, and how that ended.
pub type Moved = BTreeMap<(MailboxId, MailboxName), (UidSet, Result<Transfer, RemoteError>)>;

/// The intents of changed flags, and what came of the change, if the server got to it.
pub type StoredAhead = (Vec<IntentId>, Option<Result<StoredFlags, RemoteError>>);

/// What came of expunging from a mailbox: which messages, and how that ended.
pub type AllExpunged = BTreeMap<MailboxId, Vec<(UidSet, Result<Expunged, RemoteError>)>>;

/// How much is recorded together at most, in records.
const TOGETHER: usize = 2_000;

/// Where messages go on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its mailbox, if it takes part.
    pub mailbox: Option<MailboxId>,
    /// Its name.
    pub name: MailboxName,
    /// What its UIDs stand on.
    pub ground: Ground,
}

/// What a run's settings and circumstances mean to applying.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Now.
    pub now: Timestamp,
    /// Whether removed files can be recovered.
    pub keep: KeepDeleted,
    /// The server can move.
    pub moves: bool,
    /// The user accepted what was held: it does not count as a loss later.
    pub accepted: bool,
    /// Where removed messages go.
    pub trash: Option<Target>,
}

/// The means to carry plans out, and what came of it.
pub struct Apply<'a, R, L, J> {
    /// The server.
    pub remote: &'a mut R,
    /// The Maildir.
    pub local: &'a mut L,
    /// The database.
    pub journal: &'a mut J,
    /// What was done.
    pub report: &'a mut Report,
    /// Told of every step.
    pub progress: &'a dyn Fn(Event),
    /// Settings and circumstances.
    pub terms: Terms,
    /// What UIDs stand on, by mailbox.
    pub grounds: BTreeMap<MailboxId, Ground>,
    /// Keyword letters, by mailbox.
    pub letters: BTreeMap<MailboxId, KeywordLetters>,
    /// Files that the server is proven to have now, and the flags they were sent with.
    pub uploaded: BTreeMap<(MailboxId, UniqueName), FlagSet>,
    /// UIDs that messages got which were sent.
    pub given: BTreeSet<(MailboxId, Uid)>,
    /// Messages that could not be moved.
    pub unmovable: BTreeSet<MessageId>,
    /// Files whose messages could not be copied.
    pub uncopied: BTreeSet<(MailboxId, UniqueName)>,
    /// Files whose messages were copied as far as anybody can tell; the next look shows which were.
    pub unproven: BTreeMap<MailboxId, BTreeSet<UniqueName>>,
    /// Files that were refused together with others, or were out when a connection was lost.
    pub suspects: Suspects,
    /// What came of moves that were sent for many mailboxes at once and are not recorded yet.
    pub moved: Moved,
    /// What came of flags that were changed in many mailboxes at once, not recorded yet.
    pub stored: BTreeMap<MailboxId, StoredAhead>,
    /// What came of expunging from many mailboxes at once, not recorded yet.
    pub expunged: AllExpunged,
    /// What came of changes, not recorded yet.
    pub unrecorded: Vec<Record>,
    /// The looks that follow once all is changed.
    pub looks: Vec<(MailboxName, Watermark)>,
    /// What was left behind, by mailbox.
    pub aftermath: BTreeMap<MailboxId, Aftermath>,
}

impl<R, L, J> std::fmt::Debug for Apply<'_, R, L, J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apply").field("terms", &self.terms).field("aftermath", &self.aftermath).finish_non_exhaustive()
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Carries the plans out: first all copies and moves, then everything that adds, in all mailboxes, then everything that removes,
    /// so that a message which went from one to another is never nowhere.
    ///
    /// # Errors
    /// What concerns the whole account. What concerns one mailbox or message is reported, and the rest goes on.
    pub async fn run(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        let done = self.carry_out(plans).await;
        // Also of what was done before it failed.
        done.and(self.flush())
    }

    async fn carry_out(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        for plan in plans {
            let done = self.reset(plan);
            self.mailbox_done(plan, done)?;
        }
        self.flush()?;
        for plan in plans {
            let done = self.copy_in(plan).await;
            self.mailbox_done(plan, done)?;
        }
        let last = last_change(plans);
        self.announce_looks(Change::Move, last);
        self.move_ahead(self.moves_of(plans)).await;
        for plan in plans {
            let done = self.move_away(plan, plans).await;
            self.mailbox_done(plan, done)?;
        }
        self.move_files(plans)?;
        self.flush()?;
        self.announce(plans, |plan| plan.flags.iter().any(|change| !change.flags.to_remote.is_empty()));
        self.announce_looks(Change::Flags, last);
        self.store_ahead(plans).await?;
        self.add(plans, last).await?;
        let removals = self.moves_to_trash(plans);
        self.announce_looks(Change::Trash, last);
        self.move_ahead(removals).await;
        self.announce(plans, |plan| !plan.remove_remote.is_empty());
        self.announce_looks(Change::Remove, last);
        self.flush()?;
        self.expunge_ahead(plans).await?;
        for plan in plans {
            let done = self.remove_remotely(plan).await;
            self.mailbox_done(plan, done)?;
        }
        Ok(())
    }

    /// What is refused of one kind of change says nothing about the others: a keyword that the server won't store must
    /// not keep new mail away. In a mailbox that is another now, or is no more, nothing else can be done.
    async fn add(&mut self, plans: &[MailboxPlan], last: Option<Change>) -> Result<(), Failure> {
        let mut open: Vec<&MailboxPlan> = Vec::new();
        for plan in plans {
            let adopted = self.adopt(plan).await;
            let changed = match ends(&adopted) {
                true => Ok(()),
                false => self.change_flags(plan).await,
            };
            open.extend((!ends(&adopted) && !ends(&changed)).then_some(plan));
            self.mailbox_done(plan, adopted)?;
            self.mailbox_done(plan, changed)?;
        }
        self.flush()?;
        self.download(&open).await?;
        self.announce_looks(Change::Upload, last);
        self.upload(&open).await
    }

    /// What a run cut short did to names a power cut may still undo, and not always is there an intent left that tells.
    /// So names that count only because they were seen are made durable first: a file that was unlinked may come back,
    /// and without its row be sent anew; one that was made visible may be gone again, and with a row look removed.
    fn sync_names(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let gets_rows = !(plan.adopt.is_empty() && plan.upload.is_empty() && plan.copy_remote.is_empty());
        if plan.forget.is_empty() && !gets_rows {
            return Ok(());
        }
        match self.local.sync(&plan.local) {
            // The maildir itself is gone.
            Err(error) if error.kind == LocalErrorKind::Item => Ok(()),
            synced => Ok(synced?),
        }
    }

    /// Rows that neither side has any more go before any new one comes, and the UIDVALIDITY of the new is recorded.
    fn reset(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        self.sync_names(plan)?;
        let mut records: Vec<Record> = plan.forget.iter().map(|row| Record::Forget(*row)).collect();
        records.extend(plan.reset.map(|validity| Record::UidValidity(plan.mailbox, validity)));
        // Known before the new version is sent: after a crash the old one must not look removed, nor the new one new.
        for (by, replacement) in &plan.replace {
            let news = replacement.outdated.iter().filter(|old| !old.recorded);
            records.extend(news.map(|old| Record::Replaced(old.row, by.clone())));
        }
        self.note(records)
    }

    fn announce(&mut self, plans: &[MailboxPlan], changes: impl Fn(&MailboxPlan) -> bool) {
        self.remote.about_to_change(plans.iter().filter(|plan| changes(plan)).map(|plan| plan.name.clone()).collect());
    }

    /// Announces the looks that follow, if this is what is changed last.
    fn announce_looks(&mut self, this: Change, last: Option<Change>) {
        if last == Some(this) {
            self.remote.about_to_look(std::mem::take(&mut self.looks));
        }
    }

    /// Records this together with what comes of other mailboxes. What came of changes and is not recorded because of a crash
    /// is what the next look finds done; what must be known before a deed has to be flushed before it.
    fn note(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        self.unrecorded.extend(records);
        if self.unrecorded.len() < TOGETHER { Ok(()) } else { self.flush() }
    }

    /// Records what is noted.
    fn flush(&mut self) -> Result<(), Failure> {
        let noted = std::mem::take(&mut self.unrecorded);
        if !noted.is_empty() {
            self.journal.commit(&noted)?;
        }
        Ok(())
    }

    /// Records this, and what is noted before it.
    fn commit(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        self.unrecorded.extend(records);
        self.flush()
    }

    fn after(&mut self, mailbox: MailboxId) -> &mut Aftermath {
        self.aftermath.entry(mailbox).or_default()
    }

    fn ground(&self, plan: &MailboxPlan) -> Option<Ground> {
        self.grounds.get(&plan.mailbox).copied()
    }

    fn letters(&self, plan: &MailboxPlan) -> KeywordLetters {
        self.letters.get(&plan.mailbox).cloned().unwrap_or_default()
    }

    fn mailbox_done(&mut self, plan: &MailboxPlan, done: Result<(), Failure>) -> Result<(), Failure> {
        mailbox_done(self.report, &mut self.aftermath, plan, done)
    }
}

/// Passes on what concerns the whole account; reports the rest.
fn mailbox_done(
    report: &mut Report,
    aftermath: &mut BTreeMap<MailboxId, Aftermath>,
    plan: &MailboxPlan,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    match done {
        Err(Failure::Remote(error)) if !is_fatal(&error) => {
            let after = aftermath.entry(plan.mailbox).or_default();
            match error.kind {
                RemoteErrorKind::UidValidityChanged => after.overtaken = true,
                _ => after.failed = true,
            }
            report.problem(mailbox_problem(&plan.name, &error));
            Ok(())
        }
        Err(Failure::Local(error)) if error.kind == LocalErrorKind::Item => {
            aftermath.entry(plan.mailbox).or_default().failed = true;
            report.problem(local_problem(&plan.name, None, &error));
            Ok(())
        }
        done => done,
    }
}

/// Returns true if nothing else can be done in a mailbox.
fn ends(done: &Result<(), Failure>) -> bool {
    let kinds = [RemoteErrorKind::UidValidityChanged, RemoteErrorKind::NoSuchMailbox];
    matches!(done, Err(Failure::Remote(error)) if kinds.contains(&error.kind))
}

/// Returns true if an error concerns the whole account.
pub fn is_fatal(error: &RemoteError) -> bool {
    error.concerns_account()
}

/// Returns the report of a mailbox that the server would not deal with.
pub fn mailbox_problem(folder: &MailboxName, error: &RemoteError) -> Problem {
    Problem {
        code: "mailbox-refused",
        folder: Some(folder.clone()),
        path: None,
        uid: None,
        message: format!("{error}; what was not done yet in this folder is left as it is on both sides"),
        hint: "it is tried again with the next sync; `mailtide check` shows what the server offers".to_owned(),
        retry_at: None,
    }
}

/// Returns the report of a file or folder that can't be read or written.
pub fn local_problem(folder: &MailboxName, path: Option<String>, error: &LocalError) -> Problem {
    Problem {
        code: "local-item",
        folder: Some(folder.clone()),
        path,
        uid: None,
        message: format!("{error}; it is left as it is"),
        hint: "check the file's or directory's permissions and name, then sync again".to_owned(),
        retry_at: None,
    }
}
