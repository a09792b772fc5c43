//! One account's part of a sync: lock, database, secret, connection, one pass, and what came of it.

mod turn;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args;
use super::connect::{Memory, connect_remembering};
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::progress::Progress;
use super::select::Selected;
use super::stop::Stop;
use super::watch::Kept;
use crate::cycle::{self, Outcome};
use crate::imap::{ImapStore, Recalled};
use crate::maildir::{Diary, Maildir};
use crate::model::{MailboxName, MailboxRow, ModSeq, Timestamp};
use crate::reconcile::policy::{HoldAnswer, Options};
use crate::reconcile::report::Report;
use crate::state::{Database, is_damage};
use crate::store::{Failure, Journal, RemoteStore, StateError, Traffic};

/// What an account's run needs.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// The account, and which folders of it.
    pub(super) selected: Selected<'a>,
    /// The state directory.
    pub(super) state_dir: &'a Path,
    /// What the user asks for.
    pub(super) args: &'a args::Sync,
    /// When to stop.
    pub(super) stop: Stop,
    /// Where to show progress.
    pub(super) progress: Progress,
    /// Where to note what is done to message files.
    pub(super) diary: Diary,
    /// Where to keep the password,
    pub(super) memory: Option<&'a Memory>,
    /// and the connection.
    pub(super) kept: Option<&'a Kept>,
}

/// How an account's run went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub(super) struct Run {
    /// The account.
    pub(super) name: String,
    /// How it ended.
    pub(super) exit: Exit,
    /// What was done.
    pub(super) report: Report,
    /// The last run without trouble, this one included.
    pub(super) last_success: Option<Timestamp>,
    /// Bytes and round trips.
    pub(super) traffic: Traffic,
    /// How long it took.
    pub(super) duration: Duration,
    /// What went wrong or was held back.
    pub(super) troubles: Vec<Trouble>,
    /// The HIGHESTMODSEQ up to which each mailbox is known.
    #[serde(skip)]
    pub(super) left: Vec<(MailboxName, ModSeq)>,
    /// The database was damaged, and a new one is in its place.
    pub(super) rebuilt: bool,
}

impl Run {
    /// Returns a run in which nothing was done yet.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            exit: Exit::InStep,
            report: Report::default(),
            last_success: None,
            traffic: Traffic::default(),
            duration: Duration::ZERO,
            troubles: Vec::new(),
            left: Vec::new(),
            rebuilt: false,
        }
    }
}

pub(super) use turn::by_daemon_or_here;

type Sides = cycle::Account<ImapStore, Maildir, Database>;

/// Runs an account's part of a sync.
pub(super) async fn sync(job: Job<'_>, now: Timestamp) -> Run {
    let begun = Instant::now();
    let mut run = Run::new(&job.selected.account.name);
    let ended = work(&job, now, &mut run).await.err();
    job.progress.finish();
    run.exit = match &ended {
        Some(trouble) => trouble.exit,
        None if !run.report.held.is_empty() => Exit::Held,
        None if !run.troubles.is_empty() => Exit::Partial,
        None => Exit::InStep,
    };
    run.troubles.extend(ended);
    run.duration = begun.elapsed();
    run
}

/// Does the work; an error ended it early. The lock is held until the end.
async fn work(job: &Job<'_>, now: Timestamp, run: &mut Run) -> Result<(), Trouble> {
    let account = job.selected.account;
    let stopped = |exit| Trouble::stopped(exit, Rest::Untouched);
    let _lock = job.stop.guard(turn::lock(job)).await.map_err(stopped)??;
    let mut opened = database(job, run)?;
    if let Ok(database) = &mut opened {
        job.progress.begin(database);
    }
    let options = options(job);
    let header = opened.as_mut().ok().and_then(|database| database.header().ok());
    let recalled = header.map(|header| {
        let asks_quota = cycle::asks_quota(&header, &options, now);
        Recalled { capabilities: header.capabilities, asks_quota }
    });
    let maildir = || Maildir::new(account.maildir.clone()).with_diary(job.diary.clone());
    let mut local = maildir();
    let recalled = recalled.unwrap_or_default();
    let remote = connection(job, &recalled);
    let reading = async {
        if let Ok(database) = &mut opened {
            cycle::read_ahead(&mut local, database, &options).await;
        }
    };
    let remote = Box::pin(cycle::meanwhile(remote, reading));
    let remote = job.stop.guard(remote).await.map_err(stopped)??;
    let journal = opened.or_else(|why| rebuild(job, now, &why, run))?;
    let mut sides = Sides { remote, local, journal };
    let mut ended = pass(job, now, &mut sides, run).await;
    if let Ok(Some(why)) = &ended {
        sides.journal = Database::in_memory().map_err(|error| Trouble::state(account, &error, rest(job)))?;
        sides.journal = rebuild(job, now, why, run)?;
        // What the pass before left on its way in is not this one's.
        sides.local = maildir();
        ended = pass(job, now, &mut sides, run).await;
    }
    run.traffic = sides.remote.traffic();
    if let Ok(header) = sides.journal.header() {
        run.last_success = header.last_success;
    }
    if job.diary.is_kept()
        && let Ok(mailboxes) = sides.journal.mailboxes()
    {
        let left = |row: MailboxRow| Some((row.name, row.watermark?.mod_seq?));
        run.left = mailboxes.into_iter().filter_map(left).collect();
    }
    match (&ended, job.kept) {
        (Ok(_), Some(kept)) => kept.keep(sides.remote),
        // What is done is done: a signal only cuts the farewell short.
        (Ok(_), None) => job.stop.guard(sides.remote.logout()).await.unwrap_or_default(),
        (Err(_), _) => {}
    }
    ended.map(drop)
}

/// Returns the connection that the last sync left, or another.
async fn connection(job: &Job<'_>, recalled: &Recalled) -> Result<ImapStore, Trouble> {
    if let Some(kept) = job.kept
        && let Some(store) = kept.renewed().await
    {
        return Ok(store);
    }
    connect_remembering(job.selected.account, job.memory, recalled).await
}

/// Runs the engine once and takes down what it reports. Returns why it has to run again, with a new database.
async fn pass(job: &Job<'_>, now: Timestamp, sides: &mut Sides, run: &mut Run) -> Result<Option<StateError>, Trouble> {
    let account = job.selected.account;
    let (options, note) = (options(job), |event| job.progress.note(event));
    let cycle = Box::pin(cycle::run(sides, &account.policy, &options, now, &note));
    let Outcome { mut report, failure } = match job.stop.guard(cycle).await {
        Ok(outcome) => outcome,
        Err(exit) => {
            // The engine's own numbers went with it; these were told as they grew.
            (run.report.local.added, run.report.remote.added) = job.progress.transferred();
            return Err(Trouble::stopped(exit, rest(job)));
        }
    };
    // What an earlier pass did was done.
    report.local += run.report.local;
    report.remote += run.report.remote;
    report.arrivals.splice(0..0, std::mem::take(&mut run.report.arrivals));
    let failure = match failure {
        // What this pass could not finish the next one tells.
        Some(Failure::State(why)) if is_damage(&why) && !run.rebuilt => {
            let Report { local, remote, arrivals, .. } = report;
            run.report = Report { local, remote, arrivals, ..Report::default() };
            return Ok(Some(why));
        }
        failure => failure,
    };
    run.troubles.extend(Trouble::held(account, &report.held));
    run.troubles.extend(report.problems.iter().map(Trouble::problem));
    run.report = report;
    match failure {
        Some(failure) => Err(Trouble::failure(account, &failure, rest(job))),
        None => Ok(None),
    }
}

/// Goes on with a new database where the one there is damaged. A dry run only says so.
fn rebuild(job: &Job<'_>, now: Timestamp, why: &StateError, run: &mut Run) -> Result<Database, Trouble> {
    let account = job.selected.account;
    let unusable = |error| Trouble::state(account, &error, rest(job));
    run.rebuilt = true;
    if job.args.dry_run {
        run.troubles.push(Trouble::would_rebuild(account, why));
        return Database::in_memory().map_err(unusable);
    }
    let (database, aside) = Database::rebuild(&account.database, now).map_err(unusable)?;
    run.troubles.push(Trouble::rebuilt(why, &aside));
    Ok(database)
}

fn rest(job: &Job<'_>) -> Rest {
    if job.args.dry_run { Rest::Untouched } else { Rest::UnderWay }
}

fn options(job: &Job<'_>) -> Options {
    let args = job.args;
    let holds = match (args.accept_held, args.undo_held) {
        (true, _) => HoldAnswer::Accept,
        (_, true) => HoldAnswer::Undo,
        _ => HoldAnswer::Keep,
    };
    Options { full: args.full, dry_run: args.dry_run, holds, only: job.selected.only.clone() }
}

/// Creates a directory with its parents, for this user alone.
pub(super) fn create_private(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Opens the database; the inner error says that it is damaged.
fn database(job: &Job<'_>, run: &mut Run) -> Result<Result<Database, StateError>, Trouble> {
    let account = job.selected.account;
    let opened = match job.args.dry_run {
        true => Database::for_dry_run(&account.database),
        false => Database::open(&account.database),
    };
    let read = opened.and_then(|mut database| Ok((database.header()?.last_success, database)));
    match read {
        Ok((last_success, database)) => {
            run.last_success = last_success;
            Ok(Ok(database))
        }
        Err(error) if is_damage(&error) => Ok(Err(error)),
        Err(error) => Err(Trouble::state(account, &error, Rest::Untouched)),
    }
}
