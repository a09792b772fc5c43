//! What `mailtide watch` tells: lines for people, or one JSON object per line.

use chrono::Utc;
use serde::Serialize;

use crate::cli::account::Run;
use crate::cli::error::Trouble;
use crate::cli::json::{ErrorJson, SyncJson};
use crate::cli::output::Output;
use crate::cli::render;
use crate::model::Timestamp;

/// The version of the format.
const VERSION: u32 = 1;

/// Tells what happens.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    output: Output,
    json: bool,
}

#[derive(Debug, Serialize)]
struct EventJson<'a, D> {
    version: u32,
    at: String,
    account: Option<&'a str>,
    event: &'static str,
    #[serde(flatten)]
    details: &'a D,
}

/// No details.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Serialize)]
struct TroubleJson {
    error: ErrorJson,
}

#[derive(Debug, Serialize)]
struct SyncedJson<'a> {
    why: &'a str,
    result: SyncJson,
}

impl Teller {
    /// Returns one that tells it so.
    pub(super) fn new(output: Output, json: bool) -> Self {
        Self { output, json }
    }

    /// Tells of an event, in JSON only.
    pub(super) fn event<D: Serialize>(&self, account: Option<&str>, event: &'static str, details: &D) {
        if !self.json {
            tracing::info!(account, event);
            return;
        }
        let at = render::moment(Timestamp(Utc::now().timestamp()));
        match serde_json::to_string(&EventJson { version: VERSION, at, account, event, details }) {
            Ok(line) => self.output.say(line),
            Err(error) => tracing::error!(%error, "an event can't be written as JSON"),
        }
    }

    /// Tells what is wrong.
    pub(super) fn trouble(&self, account: Option<&str>, trouble: &Trouble) {
        match self.json {
            true => self.event(account, "error", &TroubleJson { error: ErrorJson::of(trouble) }),
            false => self.output.complain(account, std::slice::from_ref(trouble)),
        }
    }

    /// Tells how a sync went: in JSON always, to people only if it did something or something is `new` about it.
    pub(super) fn synced(&self, why: &str, run: &Run, new: bool) {
        match self.json {
            true => self.event(Some(&run.name), "sync", &SyncedJson { why, result: SyncJson::of(run, false) }),
            false if new || run.report.did_anything() => render::sync(&self.output, run, false),
            false => {}
        }
    }
}
