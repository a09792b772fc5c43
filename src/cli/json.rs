//! What was done, for programs (DESIGN.md section 8): one object, whose fields are never removed or given another meaning
//! under the same `version`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::account::Run;
use super::error::Trouble;
use super::exit::Exit;
use super::output::Output;
use super::render::moment;
use crate::reconcile::report::{Counts, Held, PlanLine, Waiting};
use crate::store::HoldRow;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
struct Envelope<A> {
    version: u32,
    mailtide: &'static str,
    started: String,
    exit_code: u8,
    errors: Vec<ErrorJson>,
    accounts: Vec<A>,
}

/// Prints the object that ends every command: what concerns the run as a whole, and every account.
pub(super) fn print<A: Serialize>(
    output: &Output,
    started: DateTime<Utc>,
    exit: Exit,
    errors: &[Trouble],
    accounts: Vec<A>,
) {
    let envelope = Envelope {
        version: VERSION,
        mailtide: env!("CARGO_PKG_VERSION"),
        started: started.to_rfc3339_opts(SecondsFormat::Secs, true),
        exit_code: exit.code(),
        errors: errors.iter().map(ErrorJson::of).collect(),
        accounts,
    };
    match serde_json::to_string(&envelope) {
        Ok(text) => output.say(text),
        Err(error) => tracing::error!(%error, "the result can't be written as JSON"),
    }
}

/// `errors[]`
#[derive(Debug, Serialize)]
pub(super) struct ErrorJson {
    code: &'static str,
    folder: Option<String>,
    path: Option<String>,
    uid: Option<u32>,
    message: String,
    hint: String,
    retry_at: Option<String>,
}

impl ErrorJson {
    /// Returns the error of a trouble.
    pub(super) fn of(trouble: &Trouble) -> Self {
        let place = &trouble.place;
        Self {
            code: trouble.code,
            folder: place.folder.as_ref().map(ToString::to_string),
            path: place.path.clone(),
            uid: place.uid.map(crate::model::Uid::get),
            message: trouble.message.clone(),
            hint: trouble.hint.clone(),
            retry_at: place.retry_at.map(moment),
        }
    }
}

/// An account's part of `sync --json`.
#[derive(Debug, Serialize)]
pub(super) struct SyncJson {
    name: String,
    status: &'static str,
    exit_code: u8,
    last_success: Option<String>,
    folders: u64,
    adopted: u64,
    local: CountsJson,
    remote: CountsJson,
    held: Vec<HeldJson>,
    errors: Vec<ErrorJson>,
    waiting: Vec<WaitingJson>,
    bytes_in: u64,
    bytes_out: u64,
    round_trips: u64,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Vec<PlanJson>>,
}

impl SyncJson {
    /// Returns an account's run.
    pub(super) fn of(run: &Run, dry_run: bool) -> Self {
        let report = &run.report;
        Self {
            name: run.name.clone(),
            status: run.exit.status(),
            exit_code: run.exit.code(),
            last_success: run.last_success.map(moment),
            folders: report.folders,
            adopted: report.adopted,
            local: CountsJson::of(&report.local),
            remote: CountsJson::of(&report.remote),
            held: report.held.iter().map(HeldJson::of).collect(),
            errors: run.troubles.iter().filter(|trouble| !trouble.is_hold()).map(ErrorJson::of).collect(),
            waiting: report.waiting.iter().map(WaitingJson::of).collect(),
            bytes_in: run.traffic.bytes_in,
            bytes_out: run.traffic.bytes_out,
            round_trips: run.traffic.round_trips,
            duration_ms: u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX),
            plan: dry_run.then(|| report.plan.iter().map(PlanJson::of).collect()),
        }
    }
}

/// What was done to a side.
#[derive(Debug, Serialize)]
pub(super) struct CountsJson {
    added: u64,
    replaced: u64,
    flags: u64,
    moved: u64,
    copied: u64,
    removed: u64,
    folders_created: u64,
    folders_renamed: u64,
    folders_removed: u64,
}

impl CountsJson {
    /// Returns the numbers of a side.
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            added: counts.added,
            replaced: counts.replaced,
            flags: counts.flags,
            moved: counts.moved,
            copied: counts.copied,
            removed: counts.removed,
            folders_created: counts.folders_created,
            folders_renamed: counts.folders_renamed,
            folders_removed: counts.folders_removed,
        }
    }
}

/// `held[]`
#[derive(Debug, Serialize)]
pub(super) struct HeldJson {
    folder: Option<String>,
    side: &'static str,
    reason: String,
    count: u64,
    since: String,
}

impl HeldJson {
    fn of(held: &Held) -> Self {
        Self {
            folder: held.folder.as_ref().map(ToString::to_string),
            side: held.side.as_str(),
            reason: held.reason.as_str().to_owned(),
            count: held.count,
            since: moment(held.since),
        }
    }

    /// Returns what the database says is held.
    pub(super) fn of_row(held: &HoldRow) -> Self {
        Self {
            folder: held.mailbox.as_ref().map(ToString::to_string),
            side: held.side.as_str(),
            reason: held.reason.clone(),
            count: held.count,
            since: moment(held.since),
        }
    }
}

/// `waiting[]`
#[derive(Debug, Serialize)]
pub(super) struct WaitingJson {
    code: String,
    folder: String,
    path: Option<String>,
    uid: Option<u32>,
    message: String,
    retry_at: Option<String>,
}

impl WaitingJson {
    /// Returns an item that waits.
    pub(super) fn of(waiting: &Waiting) -> Self {
        Self {
            code: waiting.code.as_str().to_owned(),
            folder: waiting.folder.to_string(),
            path: waiting.path.clone(),
            uid: waiting.uid.map(crate::model::Uid::get),
            message: waiting.message.clone(),
            retry_at: waiting.retry_at.map(moment),
        }
    }
}

#[derive(Debug, Serialize)]
struct PlanJson {
    op: &'static str,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl PlanJson {
    fn of(step: &PlanLine) -> Self {
        Self {
            op: step.op,
            folder: step.folder.to_string(),
            uid: step.uid.map(crate::model::Uid::get),
            path: step.path.as_ref().map(ToString::to_string),
            side: step.side.map(crate::model::Side::as_str),
            detail: step.detail.clone(),
        }
    }
}
