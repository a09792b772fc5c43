//! What `mailtide watch` knows of its accounts at this moment, for those who ask.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::standing::Standing;
use crate::daemon::control;

/// The question that asks for it,
const QUESTION: &str = "status";
/// and the one that asks how an account stood, before its name.
const STANDING: &str = "standing ";

/// Returns where the daemon's socket is.
pub(in crate::cli) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon.socket")
}

/// One account, as the daemon sees it. Moments are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Live {
    /// Since when a sync is under way.
    pub(in crate::cli) syncing_since: Option<i64>,
    /// How many steps that sync has to take, as far as it knows,
    pub(in crate::cli) planned: u64,
    /// and how many it has taken.
    pub(in crate::cli) done: u64,
    /// How far the server is listened to: `all`, `inbox`, `nothing`; `None` while it is not.
    pub(in crate::cli) listening: Option<String>,
    /// When the next sync is, unless something happens before.
    pub(in crate::cli) next: Option<i64>,
    /// The last sync: its exit code,
    pub(in crate::cli) exit_code: Option<u8>,
    /// and what was wrong, as in `--json`.
    pub(in crate::cli) errors: Vec<Value>,
    /// The last error, even if it is over: as in `--json`, with its time as `at`.
    pub(in crate::cli) last_error: Option<Value>,
}

/// Asks the daemon; `None` if none is running. Blocks the thread, for a few seconds at most.
pub(in crate::cli) fn ask(state_dir: &Path) -> io::Result<Option<BTreeMap<String, Live>>> {
    let Some(answer) = control::ask(&socket(state_dir), QUESTION, Some(control::PATIENCE))? else { return Ok(None) };
    Ok(Some(serde_json::from_str(&answer)?))
}

/// Asks how an account stood when the daemon's last sync of it began. `None` if no daemon knows.
pub(in crate::cli) fn standing(state_dir: &Path, name: &str) -> Option<Standing> {
    let answer = control::ask(&socket(state_dir), &format!("{STANDING}{name}"), Some(control::PATIENCE)).ok()??;
    serde_json::from_str(&answer).ok()
}

/// All accounts.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Table(Arc<Mutex<Accounts>>);

/// What is known of them, by name.
#[derive(Debug, Default)]
struct Accounts {
    live: BTreeMap<String, Live>,
    /// How they stood when their last syncs began.
    standing: BTreeMap<String, Standing>,
}

impl Table {
    /// Forgets all, and takes in these accounts.
    pub(in crate::cli) fn reset<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let live = names.map(|name| (name.to_owned(), Live::default())).collect();
        *self.lock() = Accounts { live, ..Accounts::default() };
    }

    /// Changes what is known of an account.
    pub(in crate::cli) fn update(&self, name: &str, change: impl FnOnce(&mut Live)) {
        change(self.lock().live.entry(name.to_owned()).or_default());
    }

    /// Takes note of how an account stands, now that a sync of it begins.
    pub(in crate::cli) fn stand(&self, name: &str, standing: Standing) {
        self.lock().standing.insert(name.to_owned(), standing);
    }

    /// Answers a question, if it is one for this.
    pub(in crate::cli) fn answer(&self, question: &str) -> Option<String> {
        let accounts = self.lock();
        match question.strip_prefix(STANDING) {
            Some(name) => serde_json::to_string(&accounts.standing.get(name)).ok(),
            None => (question == QUESTION).then(|| serde_json::to_string(&accounts.live).unwrap_or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
