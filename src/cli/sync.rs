//! `mailtide sync`: one run, both ways.

use chrono::Utc;

use super::account::{self, Job, Run};
use super::args::{Globals, Sync};
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::hooks::{self, Happened};
use super::json::{self, SyncJson};
use super::output::Output;
use super::progress::Bars;
use super::{configuration, render, run_all, select};
use crate::config::{Account, Hooks};
use crate::maildir::Diary;
use crate::model::Timestamp;

/// Runs the command.
pub(super) fn main(args: &Sync, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let result = run(args, globals, output, Timestamp(started.timestamp()));
    let (exit, runs, errors) = match result {
        Ok((runs, hooks)) => (Exit::of_all(runs.iter().map(|run| run.exit)), runs, hooks),
        Err(trouble) => (trouble.exit, Vec::new(), vec![trouble]),
    };
    if args.json {
        let accounts = runs.iter().map(|run| SyncJson::of(run, args.dry_run)).collect();
        json::print(output, started, exit, &errors, accounts);
        return exit;
    }
    for run in &runs {
        render::sync(output, run, args.dry_run);
    }
    output.complain(None, &errors);
    exit
}

/// Runs all accounts, and the hooks around them; returns also what went wrong with the hooks after them.
fn run(args: &Sync, globals: &Globals, output: &Output, now: Timestamp) -> Result<(Vec<Run>, Vec<Trouble>), Trouble> {
    let config = configuration(globals)?;
    let selected = select::targets(&config, &args.targets)?;
    let accounts: Vec<&Account> = selected.iter().map(|selected| selected.account).collect();
    // What changes nothing is nobody's business.
    let hooks = if args.dry_run { Hooks::default() } else { config.hooks.clone() };
    if hooks.before_sync.is_some() {
        let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
        alone(hooks::before(&hooks, &names), |exit| Err(Trouble::stopped(exit, Rest::Untouched)))??;
    }
    let bars = Bars::new(output);
    let runs = run_all(|stop| {
        let jobs = selected.into_iter().map(|selected| {
            let progress = bars.account(&selected.account.name);
            let (state_dir, stop, diary) = (&config.state_dir, stop.clone(), Diary::default());
            Job { selected, state_dir, args, stop, progress, diary, memory: None, kept: None }
        });
        // The daemon's log is not where details are wanted.
        let asks = globals.verbose == 0;
        let jobs = jobs.map(|job| async move {
            match asks {
                true => account::by_daemon_or_here(job, now).await,
                false => account::sync(job, now).await,
            }
        });
        jobs.collect()
    })?;
    if !hooks::wanted(&hooks) {
        return Ok((runs, Vec::new()));
    }
    let mut happened = Happened::default();
    for (account, run) in accounts.into_iter().zip(&runs) {
        happened.add(account, run);
    }
    let troubles = alone(hooks::after(&hooks, happened), |_| Vec::new())?;
    Ok((runs, troubles))
}

/// Runs a future by itself, until it is done or a signal stops it.
fn alone<T>(future: impl Future<Output = T>, stopped: impl Fn(Exit) -> T) -> Result<T, Trouble> {
    let results = run_all(|stop| {
        let stop = stop.clone();
        vec![async move { stop.guard(future).await }]
    })?;
    let mut results = results.into_iter().map(|result| result.unwrap_or_else(&stopped));
    results.next().ok_or_else(|| Trouble::machine("running a hook", &"nothing came of it"))
}
