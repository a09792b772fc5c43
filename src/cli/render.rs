//! What was done, in words for people.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};

use super::account::Run;
use super::exit::Exit;
use super::output::Output;
use crate::model::Timestamp;
use crate::reconcile::report::{Counts, PlanLine, Report};

/// Returns a moment in UTC, as JSON has it (RFC 3339).
pub(super) fn moment(at: Timestamp) -> String {
    DateTime::from_timestamp(at.0, 0)
        .map_or_else(|| at.0.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Returns a number with its noun.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Prints an account's run: its line to stdout, what is wrong to stderr.
pub(super) fn sync(output: &Output, run: &Run, dry_run: bool) {
    output.say(line(run, dry_run));
    for step in &run.report.plan {
        output.say(format_args!("  {}", plan_line(step)));
    }
    if !run.report.waiting.is_empty() {
        let items = count(
            run.report.waiting.len() as u64,
            "item could not be synced and waits",
            "items could not be synced and wait",
        );
        output.say(format_args!("{}: {items}: see `mailtide check`", run.name));
    }
    output.complain(Some(&run.name), &run.troubles);
}

fn line(run: &Run, dry_run: bool) -> String {
    let done = done(&run.report);
    let folders: BTreeSet<_> = run.report.held.iter().filter_map(|held| held.folder.as_ref()).collect();
    let held = count(folders.len() as u64, "held folder", "held folders");
    // What concerns no folder concerns them all.
    let all_held = run.report.held.iter().any(|held| held.folder.is_none());
    let failed = run.troubles.iter().filter(|trouble| !trouble.is_hold()).count() as u64;
    let problems = count(failed, "problem", "problems");
    let state = match (run.exit, failed) {
        (Exit::InStep | Exit::Partial | Exit::Held, _) if dry_run => "would do".to_owned(),
        (Exit::InStep, _) => "in step".to_owned(),
        (Exit::Partial, _) => format!("in step but for {problems}"),
        (Exit::Held, _) if all_held => "held".to_owned(),
        (Exit::Held, 0) => format!("in step but for {held}"),
        (Exit::Held, _) => format!("in step but for {held} and {problems}"),
        (Exit::Busy, _) => "busy".to_owned(),
        (Exit::Interrupted | Exit::Terminated, _) => "interrupted".to_owned(),
        (Exit::Config | Exit::Login | Exit::Network | Exit::Machine, _) => "failed".to_owned(),
    };
    let done = done.as_deref().or(match run.exit {
        // The engine's own numbers went with it: that there are none here says nothing.
        exit if exit.by_signal() => None,
        exit if exit.is_early() || all_held => Some("nothing done"),
        _ => Some("nothing new"),
    });
    let done = done.map(|words| format!(": {words}")).unwrap_or_default();
    format!("{}: {state}{done}", run.name)
}

fn done(report: &Report) -> Option<String> {
    let mut parts = Vec::new();
    if report.adopted > 0 {
        parts.push(format!("{} found on both sides", report.adopted));
    }
    side(&mut parts, &report.local, "here");
    side(&mut parts, &report.remote, "on the server");
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn side(parts: &mut Vec<String>, counts: &Counts, place: &str) {
    let Counts { added, replaced, flags, moved, copied, removed, folders_created, folders_renamed, folders_removed } =
        *counts;
    for (n, one, many) in [
        (added, "new", "new"),
        (replaced, "replaced", "replaced"),
        (flags, "with changed flags", "with changed flags"),
        (moved, "moved", "moved"),
        (copied, "copied", "copied"),
        (removed, "removed", "removed"),
        (folders_created, "folder created", "folders created"),
        (folders_renamed, "folder renamed", "folders renamed"),
        (folders_removed, "folder removed", "folders removed"),
    ] {
        if n > 0 {
            parts.push(format!("{} {place}", count(n, one, many)));
        }
    }
}

fn plan_line(step: &PlanLine) -> String {
    let mut words = vec![step.op.to_owned(), step.folder.to_string()];
    words.extend(step.side.map(|side| format!("on the {side} side")));
    words.extend(step.uid.map(|uid| format!("UID {uid}")));
    words.extend(step.path.as_ref().map(ToString::to_string));
    words.extend(step.detail.clone());
    words.join("  ")
}

/// Returns lines with columns aligned; the last column is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells: String = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}  ")).collect();
            cells.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MailboxName, Side};
    use crate::reconcile::report::{Held, Reason};

    fn run(exit: Exit, local: Counts, remote: Counts) -> Run {
        let report = Report { local, remote, ..Report::default() };
        Run { exit, report, ..Run::new("work") }
    }

    #[test]
    fn a_line_says_what_was_done_where() {
        let local = Counts { added: 3, flags: 1, folders_created: 1, ..Counts::default() };
        let remote = Counts { added: 1, removed: 2, folders_created: 2, ..Counts::default() };
        let run = run(Exit::InStep, local, remote);
        let words = "3 new here, 1 with changed flags here, 1 folder created here, 1 new on the server, \
                     2 removed on the server, 2 folders created on the server";
        assert_eq!(line(&run, false), format!("work: in step: {words}"));
        assert_eq!(line(&run, true), format!("work: would do: {words}"));
    }

    #[test]
    fn a_line_never_says_in_step_when_it_is_not() {
        let none = Counts::default();
        for (exit, expected) in [
            (Exit::InStep, "work: in step: nothing new"),
            (Exit::Network, "work: failed: nothing done"),
            (Exit::Busy, "work: busy: nothing done"),
            (Exit::Terminated, "work: interrupted"),
        ] {
            assert_eq!(line(&run(exit, none, none), false), expected);
        }
    }

    #[test]
    fn a_line_counts_held_folders_and_a_missing_root_holds_all() {
        let held = |folder: Option<&str>, reason| Held {
            folder: folder.and_then(MailboxName::parse),
            side: Side::Local,
            reason,
            count: 1,
            since: Timestamp(0),
        };
        let words = |all: Vec<Held>| {
            let report = Report { held: all, ..Report::default() };
            line(&Run { exit: Exit::Held, report, ..Run::new("work") }, false)
        };
        let twice = vec![held(Some("a"), Reason::MassDelete), held(Some("a"), Reason::NoTrash)];
        assert_eq!(words(twice), "work: in step but for 1 held folder: nothing new");
        assert_eq!(words(vec![held(None, Reason::RootMissing)]), "work: held: nothing done");
    }

    #[test]
    fn tables_are_aligned_without_trailing_blanks() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        assert_eq!(table(&[row(["a", "ä", ""]), row(["bcd", "e", "f"])]), ["a    ä", "bcd  e  f"]);
    }
}
