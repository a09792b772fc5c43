//! What a run did, or would do: the words and numbers that dry run, log and `--json` share.

use serde::{Deserialize, Serialize};

use super::flags::FlagPlan;
use super::plan::{MailboxPlan, RemoteRemoval, Removal};
use super::replace::Replacement;
use crate::model::{FailureCode, Flag, FlagDelta, FlagSet, MailboxId, MailboxName, Side, Timestamp, Uid, UniqueName};

/// How many of a folder's arrivals are named.
const NAMED_ARRIVALS: usize = 1000;

/// Messages that came from the server into a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The server's name of the folder.
    pub folder: MailboxName,
    /// Its name in the Maildir.
    pub local: MailboxName,
    /// How many there are.
    pub count: u64,
    /// The first thousand.
    pub first: Vec<UniqueName>,
}

/// What a run did to an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Report {
    /// How many folders are kept in step.
    pub folders: u64,
    /// Messages found on both sides and recognised as the same without a baseline. What the baseline knows and finds
    /// again under another UID doesn't count: nothing changed.
    pub adopted: u64,
    /// What was done to the Maildir.
    pub local: Counts,
    /// What was done on the server.
    pub remote: Counts,
    /// What was set aside.
    pub held: Vec<Held>,
    /// What came from the server as a new message, by folder.
    pub arrivals: Vec<Arrivals>,
    /// What failed alone.
    pub problems: Vec<Problem>,
    /// What failed or could not be carried out before, and was not tried by this run.
    pub waiting: Vec<Waiting>,
    /// What would be done, or was; filled by dry runs only.
    pub plan: Vec<PlanLine>,
}

impl Report {
    /// Returns true if anything was done on either side.
    pub fn did_anything(&self) -> bool {
        self.adopted > 0 || self.local != Counts::default() || self.remote != Counts::default()
    }

    /// Returns true if anything came from the server.
    pub fn has_news(&self) -> bool {
        self.local != Counts::default()
    }

    /// Notes messages that came from the server.
    pub fn arrive(&mut self, folder: &MailboxName, local: &MailboxName, arrived: Vec<UniqueName>) {
        if arrived.is_empty() {
            return;
        }
        let at = self.arrivals.iter().position(|other| other.local == *local).unwrap_or(self.arrivals.len());
        if at == self.arrivals.len() {
            let (folder, local) = (folder.clone(), local.clone());
            self.arrivals.push(Arrivals { folder, local, count: 0, first: Vec::new() });
        }
        if let Some(arrivals) = self.arrivals.get_mut(at) {
            arrivals.count += arrived.len() as u64;
            let room = NAMED_ARRIVALS.saturating_sub(arrivals.first.len());
            arrivals.first.extend(arrived.into_iter().take(room));
        }
    }

    /// Notes what failed alone, once.
    pub fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Notes what is held; what was noted of the same before is replaced.
    pub fn hold(&mut self, held: Held) {
        self.held.retain(|other| (&other.folder, other.side, other.reason) != (&held.folder, held.side, held.reason));
        self.held.push(held);
    }

    /// Takes back that something of a folder is held.
    pub fn let_go(&mut self, folder: &MailboxName, reason: Reason) {
        self.held.retain(|held| held.folder.as_ref() != Some(folder) || held.reason != reason);
    }

    /// Notes what plans would do, in numbers and line by line.
    pub fn plan_mailboxes(&mut self, plans: &[MailboxPlan]) {
        for plan in plans {
            self.plan.extend(move_lines(plan, plans));
            self.plan_mailbox(plan);
        }
    }

    fn plan_mailbox(&mut self, plan: &MailboxPlan) {
        let count = |n: usize| n as u64;
        self.adopted += count(plan.adopt.iter().filter(|found| found.follows.is_none()).count());
        self.local.added += count(plan.download.len());
        let (replaced, outdated) = (|unique: &UniqueName| plan.replace.contains_key(unique), plan.outdated());
        let saved_again = plan.upload.iter().filter(|upload| replaced(&upload.unique)).count();
        self.remote.replaced += count(saved_again);
        self.remote.added += count(plan.upload.len() - saved_again);
        self.local.moved += count(plan.move_local.len());
        self.remote.moved += count(plan.move_remote.len());
        self.local.copied += count(plan.copy_local.len());
        self.remote.copied += count(plan.copy_remote.len());
        self.local.removed += count(plan.remove_local.len());
        let leaves = |flagged: bool| {
            let goes = |one: &&RemoteRemoval| one.how != Removal::Keep && !outdated.contains(&one.row);
            count(plan.remove_remote.iter().filter(goes).filter(|one| (one.how == Removal::Flag) == flagged).count())
        };
        self.remote.removed += leaves(false);
        self.remote.flags += leaves(true);
        let flags = || plan.flags.iter().map(|change| &change.flags).chain(plan.adopt.iter().map(|found| &found.flags));
        self.local.flags += count(flags().filter(|flags| !flags.to_local.is_empty()).count());
        let moved = plan.move_remote.iter().filter(|one| !one.flags().is_empty()).count();
        self.remote.flags += count(flags().filter(|flags| !flags.to_remote.is_empty()).count() + moved);
        self.plan.extend(lines(plan));
    }
}

/// Returns the messages that a plan moves to other folders, by the UIDs that they have here, and where.
fn move_lines(plan: &MailboxPlan, plans: &[MailboxPlan]) -> Vec<PlanLine> {
    let name = |to: MailboxId| plans.iter().find(|other| other.mailbox == to).map(|other| other.name.to_string());
    let line = |side, op, uid, unique: &UniqueName, detail| PlanLine {
        side: Some(side),
        op,
        folder: plan.name.clone(),
        uid: Some(uid),
        path: Some(unique.clone()),
        detail,
    };
    let there = plan.move_remote.iter().flat_map(|one| {
        let flags = Some(one.flags()).filter(|flags| !flags.is_empty()).map(|flags| flags.to_string());
        let flags = flags.map(|flags| line(Side::Remote, "set-flags", one.row.uid, &one.unique, Some(flags)));
        [line(Side::Remote, "move", one.row.uid, &one.unique, name(one.to))].into_iter().chain(flags)
    });
    let here = plan.move_local.iter().map(|one| line(Side::Local, "move", one.row.uid, &one.unique, name(one.to)));
    there.chain(here).collect()
}

/// Returns the steps of a plan in the order they are carried out in, after its moves.
fn lines(plan: &MailboxPlan) -> Vec<PlanLine> {
    let line = |side, op, uid, path: Option<&UniqueName>, detail| PlanLine {
        side,
        op,
        folder: plan.name.clone(),
        uid,
        path: path.cloned(),
        detail,
    };
    let mut lines = Vec::new();
    for found in &plan.adopt {
        lines.push(line(None, "adopt", Some(found.uid), Some(&found.unique), None));
        lines.extend(
            flag_lines(&found.flags).map(|(side, detail)| {
                line(Some(side), "set-flags", Some(found.uid), Some(&found.unique), Some(detail))
            }),
        );
    }
    for change in &plan.flags {
        lines.extend(
            flag_lines(&change.flags).map(|(side, detail)| {
                line(Some(side), "set-flags", Some(change.uid), Some(&change.unique), Some(detail))
            }),
        );
    }
    let (copied_here, copied_there) = (plan.copy_local.iter(), plan.copy_remote.iter());
    lines.extend(
        copied_here.map(|copy| {
            line(Some(Side::Local), "copy", Some(copy.uid), Some(&copy.source), Some(copy.from.to_string()))
        }),
    );
    lines.extend(copied_there.map(|copy| {
        line(Some(Side::Remote), "copy", Some(copy.row.uid), Some(&copy.unique), Some(copy.from.0.to_string()))
    }));
    lines.extend(plan.download.iter().map(|uid| line(Some(Side::Local), "download", Some(*uid), None, None)));
    lines.extend(plan.upload.iter().map(|upload| match plan.replace.get(&upload.unique) {
        Some(Replacement { outdated, .. }) => {
            let uid = outdated.last().map(|old| old.uid);
            line(Some(Side::Remote), "replace", uid, Some(&upload.unique), None)
        }
        None => line(Some(Side::Remote), "upload", None, Some(&upload.unique), None),
    }));
    let outdated = plan.outdated();
    let removed = |one: &&RemoteRemoval| one.how != Removal::Keep && !outdated.contains(&one.row);
    lines.extend(
        plan.remove_local.iter().map(|removal| line(Some(Side::Local), "remove", None, Some(&removal.unique), None)),
    );
    lines.extend(plan.remove_remote.iter().filter(removed).map(|removal| {
        let (op, detail) = match removal.how {
            Removal::Flag => {
                ("set-flags", FlagDelta { add: FlagSet::of(&[Flag::Deleted]), remove: FlagSet::new() }.to_string())
            }
            how => ("remove", how.as_str().to_owned()),
        };
        line(Some(Side::Remote), op, Some(removal.uid), None, Some(detail))
    }));
    lines
}

fn flag_lines(flags: &FlagPlan) -> impl Iterator<Item = (Side, String)> {
    let sides = [(Side::Remote, &flags.to_remote), (Side::Local, &flags.to_local)];
    sides.into_iter().filter(|(_, delta)| !delta.is_empty()).map(|(side, delta)| (side, delta.to_string()))
}

/// How many of each kind of change one side underwent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that arrived.
    pub added: u64,
    /// Messages replaced by a new version.
    pub replaced: u64,
    /// Messages whose flags changed.
    pub flags: u64,
    /// Messages moved to another folder.
    pub moved: u64,
    /// Messages copied to another folder.
    pub copied: u64,
    /// Messages that left.
    pub removed: u64,
    /// Folders created.
    pub folders_created: u64,
    /// Folders renamed.
    pub folders_renamed: u64,
    /// Folders removed.
    pub folders_removed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.replaced += other.replaced;
        self.flags += other.flags;
        self.moved += other.moved;
        self.copied += other.copied;
        self.removed += other.removed;
        self.folders_created += other.folders_created;
        self.folders_renamed += other.folders_renamed;
        self.folders_removed += other.folders_removed;
    }
}

/// Why a part of a plan is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The root is missing, unmounted or without its marker.
    RootMissing,
    /// Too many messages are gone.
    MassDelete,
    /// A maildir that held mail is gone.
    MaildirVanished,
    /// A folder is gone from the server.
    FolderRemoved,
    /// The first sync would upload many messages, or a folder that only exists in the Maildir.
    FirstUpload,
    /// There is no Trash to move removed messages to, and none can be created.
    NoTrash,
    /// A mailbox's UIDs name other messages now, and few of those known are found again.
    UidValidity,
}

impl Reason {
    /// Returns the word used in `--json` and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::RootMissing => "root-missing",
            Reason::MassDelete => "mass-delete",
            Reason::MaildirVanished => "maildir-vanished",
            Reason::FolderRemoved => "folder-removed",
            Reason::FirstUpload => "first-upload",
            Reason::NoTrash => "no-trash",
            Reason::UidValidity => "uidvalidity",
        }
    }
}

/// A part of a plan set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The folder; `None` for the whole account.
    pub folder: Option<MailboxName>,
    /// The side on which mail is missing.
    pub side: Side,
    /// Why.
    pub reason: Reason,
    /// How many messages are concerned.
    pub count: u64,
    /// Since when.
    pub since: Timestamp,
}

/// Something that failed while the rest went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind, for programs: `message-too-large`, `mailbox-refused` …
    pub code: &'static str,
    /// The folder.
    pub folder: Option<MailboxName>,
    /// The file.
    pub path: Option<String>,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// What failed, and what was left untouched.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// When it is tried again, if not with the next run.
    pub retry_at: Option<Timestamp>,
}

impl Problem {
    /// Returns the problem of a folder as a whole.
    pub fn of(folder: &MailboxName, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { code, folder: Some(folder.clone()), path: None, uid: None, message, hint, retry_at: None }
    }
}

/// An item that is not in step and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What is the matter.
    pub code: FailureCode,
    /// The folder.
    pub folder: MailboxName,
    /// The file.
    pub path: Option<String>,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// What failed.
    pub message: String,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLine {
    /// The side that changes; `None` for what only the database learns.
    pub side: Option<Side>,
    /// What is done: `download`, `upload`, `replace`, `set-flags`, `move`, `copy`, `remove`, `adopt`, `create-folder` …
    pub op: &'static str,
    /// The folder.
    pub folder: MailboxName,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// The file's unique name.
    pub path: Option<UniqueName>,
    /// What exactly: flags, the target folder, how a removal is carried out.
    pub detail: Option<String>,
}

/// What is going on, for progress bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// So many messages are to be downloaded, uploaded and otherwise changed.
    Planned {
        /// Downloads.
        download: u64,
        /// Uploads.
        upload: u64,
        /// Flag changes, removals, adoptions.
        other: u64,
    },
    /// So many of them are downloaded.
    Downloaded(u64),
    /// So many of them are uploaded.
    Uploaded(u64),
    /// So many of the others are done.
    Changed(u64),
}
