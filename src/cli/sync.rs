//! `mailtide sync`: one run, both ways.

use chrono::Utc;

use super::account::{self, Job, Run};
use super::args::{Globals, Sync};
use super::error::Trouble;
use super::exit::Exit;
use super::json::{self, SyncJson};
use super::output::Output;
use super::progress::Bars;
use super::{configuration, render, run_all, select};
use crate::model::Timestamp;

/// Runs the command.
pub(super) fn main(args: &Sync, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let result = run(args, globals, output, Timestamp(started.timestamp()));
    let (exit, runs, errors) = match result {
        Ok(runs) => (Exit::of_all(runs.iter().map(|run| run.exit)), runs, Vec::new()),
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

fn run(args: &Sync, globals: &Globals, output: &Output, now: Timestamp) -> Result<Vec<Run>, Trouble> {
    let config = configuration(globals)?;
    let selected = select::targets(&config, &args.targets)?;
    let bars = Bars::new(output);
    run_all(|stop| {
        let jobs = selected.into_iter().map(|selected| {
            let progress = bars.account(&selected.account.name);
            Job { selected, state_dir: &config.state_dir, args, stop: stop.clone(), progress }
        });
        jobs.map(|job| account::sync(job, now)).collect()
    })
}
