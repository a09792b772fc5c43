//! Who runs an account's part of a sync, `mailtide watch` or this process, and when.

use std::path::Path;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::{Job, Run, create_private, sync};
use crate::cli::error::{Rest, Trouble};
use crate::cli::watch::{desk, table};
use crate::model::Timestamp;
use crate::state::Lock;

/// How often somebody who waits for the daemon is shown how far it is.
const BEAT: Duration = Duration::from_millis(200);

/// How long a daemon that gives no answer is waited for. One that is told to end takes five seconds at most.
const DAEMONS_END: Duration = Duration::from_secs(10);

/// Has the daemon run an account's part of a sync, if there is one that can, or runs it.
pub(in crate::cli) async fn by_daemon_or_here(job: Job<'_>, now: Timestamp) -> Run {
    match by_daemon(&job).await {
        Some(run) => run,
        None => sync(job, now).await,
    }
}

/// `None` if the daemon can't. What changes nothing needs no other, and who waits for a limited time only might wait longer
/// for it.
async fn by_daemon(job: &Job<'_>) -> Option<Run> {
    if job.args.dry_run || matches!(job.args.wait, Some(Some(_))) || !table::socket(job.state_dir).exists() {
        return None;
    }
    let account = job.selected.account;
    let request = desk::Request::new(account, &job.selected.only, job.args);
    let state_dir = job.state_dir.to_owned();
    let asked = tokio::task::spawn_blocking(move || desk::request(&state_dir, &request));
    let run = match job.stop.guard(watched(job, asked)).await {
        Ok(answered) => answered.ok().flatten()?,
        Err(exit) => {
            let troubles = vec![Trouble::stopped(exit, Rest::Elsewhere)];
            Run { exit, troubles, ..Run::new(&account.name) }
        }
    };
    job.progress.finish();
    Some(run)
}

/// Takes the account's lock. A dry run changes nothing, so it takes only a lock that exists: where there is none, no
/// other run can be under way.
pub(super) async fn lock(job: &Job<'_>) -> Result<Option<Lock>, Trouble> {
    let account = job.selected.account;
    if job.args.dry_run && !account.lock.exists() {
        return Ok(None);
    }
    if !job.args.dry_run {
        create_private(job.state_dir).map_err(|error| Trouble::state_dir(job.state_dir, &error))?;
    }
    let failed = |error| Trouble::state(account, &error, Rest::Untouched);
    let (path, state_dir) = (account.database.clone(), job.state_dir.to_owned());
    let mut lock = None;
    if job.args.wait.is_none() {
        lock = Lock::acquire(&path).map_err(failed)?;
    }
    let limit = job.args.wait.map(|limit| limit.map(Into::into));
    let limit = limit.or_else(|| lock.is_none().then(|| worth_waiting(&state_dir)).flatten());
    if let (None, Some(limit)) = (&lock, limit) {
        tracing::info!("waiting for another mailtide that is at work on the account");
        let waiting = watched(job, tokio::task::spawn_blocking(move || Lock::wait(&path, limit))).await;
        lock = waiting.map_err(|error| Trouble::machine("waiting for the lock", &error))?.map_err(failed)?;
    }
    lock.map(Some).ok_or_else(|| Trouble::busy(account))
}

/// Shows how far the daemon is while something is waited for.
async fn watched<T>(job: &Job<'_>, mut waiting: JoinHandle<T>) -> Result<T, JoinError> {
    let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
    loop {
        tokio::select! {
            done = &mut waiting => {
                job.progress.look();
                return done;
            }
            _ = beat.tick(), if job.progress.is_watched() => {
                let state_dir = job.state_dir.to_owned();
                let asked = tokio::task::spawn_blocking(move || table::ask(&state_dir)).await?;
                // It may have ended, or be too busy to answer.
                let all = asked.ok().flatten().unwrap_or_default();
                job.progress.wait(all.get(&job.selected.account.name));
            }
        }
    }
}

/// Returns how long to wait for `mailtide watch`, if it is running: its syncs end by themselves. One that gives no answer
/// may be about to end.
fn worth_waiting(state_dir: &Path) -> Option<Option<Duration>> {
    match table::ask(state_dir) {
        Ok(None) => None,
        Ok(Some(_)) => Some(None),
        Err(_) => Some(Some(DAEMONS_END)),
    }
}
