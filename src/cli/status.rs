//! `mailtide status`: how accounts and their folders stand, from the database, and from `mailtide watch` if it runs.
//! Asks no server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use super::args::{self, Globals};
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::json::{self, ErrorJson, HeldJson, WaitingJson};
use super::output::Output;
use super::render::{self, count, moment};
use super::standing::{Folder, Standing};
use super::watch::table::{self, Live};
use super::{configuration, select};
use crate::config::{Account, Config};
use crate::model::{Quota, Timestamp, Usage};
use crate::state::{Database, Lock};
use crate::store::StateError;

/// How long a run that is about to end is waited for.
const MOMENT: Duration = Duration::from_millis(500);

/// How an account stands.
#[derive(Debug, Default)]
struct Status {
    name: String,
    live: Option<Live>,
    /// A run has the database.
    busy: bool,
    /// What the database says or, while a run of the daemon has it, said before that; `None` while another run has it.
    known: Option<Standing>,
    trouble: Option<Trouble>,
}

#[derive(Debug, Serialize)]
struct StatusJson {
    name: String,
    status: &'static str,
    exit_code: u8,
    state: &'static str,
    watched: bool,
    listening: Option<String>,
    syncing_since: Option<String>,
    next_sync: Option<String>,
    last_success: Option<String>,
    last_error: Option<Value>,
    quota: QuotaJson,
    held: Option<Vec<HeldJson>>,
    waiting: Option<Vec<WaitingJson>>,
    folders: Option<Vec<FolderJson>>,
    errors: Vec<Value>,
}

/// What the server allows, each `null` where it tells of no limit: room in bytes, and messages.
#[derive(Debug, Serialize)]
struct QuotaJson {
    storage: Option<UsageJson>,
    messages: Option<UsageJson>,
}

#[derive(Debug, Serialize)]
struct UsageJson {
    used: u64,
    limit: u64,
}

#[derive(Debug, Serialize)]
struct FolderJson {
    folder: String,
    state: &'static str,
    messages: u64,
    pending: u64,
    held: Vec<String>,
}

/// Runs the command.
pub(super) fn main(args: &args::Status, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let (all, errors) = match run(args, globals) {
        Ok(all) => (all, Vec::new()),
        Err(trouble) => (Vec::new(), vec![trouble]),
    };
    let exit = Exit::of_all(all.iter().map(Status::exit).chain(errors.iter().map(|trouble| trouble.exit)));
    if args.json {
        json::print(output, started, exit, &errors, all.iter().map(Status::json).collect());
        return exit;
    }
    for account in &all {
        account.print(output);
    }
    output.complain(None, &errors);
    exit
}

fn run(args: &args::Status, globals: &Globals) -> Result<Vec<Status>, Trouble> {
    let config = configuration(globals)?;
    let accounts = select::accounts(&config, &args.accounts)?;
    let mut live = ask(&config)?;
    Ok(accounts.into_iter().map(|account| look(account, &config.state_dir, live.remove(&account.name))).collect())
}

/// Asks the daemon, if one is running.
fn ask(config: &Config) -> Result<BTreeMap<String, Live>, Trouble> {
    let answer = table::ask(&config.state_dir);
    let failed = |error| Trouble::daemon_unheard(&table::socket(&config.state_dir), &error);
    answer.map(Option::unwrap_or_default).map_err(failed)
}

fn look(account: &Account, state_dir: &Path, live: Option<Live>) -> Status {
    let status = Status { name: account.name.clone(), live, ..Status::default() };
    match standing(account) {
        Ok(Some(known)) => Status { known: Some(known), ..status },
        Ok(None) => Status { busy: true, known: table::standing(state_dir, &account.name), ..status },
        Err(error) => Status { trouble: Some(Trouble::state(account, &error, Rest::Untouched)), ..status },
    }
}

/// Reads the database; `None` if a run has it. Where there is no lock, no run can be under way.
fn standing(account: &Account) -> Result<Option<Standing>, StateError> {
    let lock = match account.lock.exists() {
        true => Some(Lock::wait(&account.database, Some(MOMENT))?),
        false => None,
    };
    if matches!(lock, Some(None)) {
        return Ok(None);
    }
    Standing::read(&mut Database::for_dry_run(&account.database)?).map(Some)
}

impl Status {
    fn is_syncing(&self) -> bool {
        self.busy || self.live.as_ref().is_some_and(|live| live.syncing_since.is_some())
    }

    /// Returns the exit code of a last sync that failed, as far as the daemon knows.
    fn failed(&self) -> Option<Exit> {
        let code = self.live.as_ref()?.exit_code?;
        [Exit::Config, Exit::Login, Exit::Network, Exit::Machine].into_iter().find(|exit| exit.code() == code)
    }

    fn state(&self) -> &'static str {
        let known = self.known.as_ref();
        let is_held = known.is_some_and(|known| !known.holds.is_empty());
        let pending = known.is_some_and(|known| known.waiting().next().is_some());
        match () {
            () if self.trouble.is_some() => "failed",
            () if self.is_syncing() => "syncing",
            () if self.failed().is_some() => "failed",
            () if is_held => "held",
            () if known.is_none_or(|known| known.last_success.is_none()) => "never-in-step",
            () if pending => "pending",
            () => "in-step",
        }
    }

    fn exit(&self) -> Exit {
        match (&self.trouble, self.failed(), &self.known) {
            (Some(trouble), ..) => trouble.exit,
            (None, Some(exit), _) => exit,
            (None, None, Some(known)) if !known.holds.is_empty() => Exit::Held,
            (None, None, Some(known)) if known.waiting().next().is_some() => Exit::Partial,
            (None, None, _) => Exit::InStep,
        }
    }

    fn json(&self) -> StatusJson {
        let (exit, live, known) = (self.exit(), self.live.clone().unwrap_or_default(), self.known.as_ref());
        let time = |at: Option<i64>| at.map(|at| moment(Timestamp(at)));
        let own = self.trouble.iter().filter_map(|trouble| serde_json::to_value(ErrorJson::of(trouble)).ok());
        StatusJson {
            name: self.name.clone(),
            status: exit.status(),
            exit_code: exit.code(),
            state: self.state(),
            watched: self.live.is_some(),
            listening: live.listening,
            syncing_since: time(live.syncing_since),
            next_sync: time(live.next),
            last_success: known.and_then(|known| known.last_success).map(moment),
            last_error: live.last_error,
            quota: QuotaJson::of(known.map(|known| known.quota).unwrap_or_default()),
            held: known.map(|known| known.holds.iter().map(HeldJson::of_row).collect()),
            waiting: known.map(|known| known.waiting().map(WaitingJson::of).collect()),
            folders: known.map(|known| known.folders.iter().map(|folder| FolderJson::of(known, folder)).collect()),
            errors: own.chain(live.errors).collect(),
        }
    }

    fn print(&self, output: &Output) {
        output.say(format_args!("{}: {}", self.name, self.headline()));
        let Some(known) = &self.known else {
            output.complain(Some(&self.name), self.trouble.as_slice());
            return;
        };
        let rows: Vec<Vec<String>> = known.folders.iter().map(|folder| row(known, folder)).collect();
        for line in render::table(&rows) {
            output.say(format_args!("  {line}"));
        }
    }

    fn headline(&self) -> String {
        let mut words = vec![self.state().replace('-', " ")];
        match &self.live {
            None => words.push("not watched".to_owned()),
            Some(live) => {
                words.push(match live.listening.as_deref() {
                    Some("all") => "listening to all folders".to_owned(),
                    Some("inbox") => "listening to INBOX".to_owned(),
                    Some(_) => "polling".to_owned(),
                    None => "not listening".to_owned(),
                });
                let since = live.syncing_since.map(|at| format!("syncing since {}", moment(Timestamp(at))));
                let next = live.next.map(|at| format!("next sync at {} at the latest", moment(Timestamp(at))));
                words.extend(since.or(next));
            }
        }
        let success = self.known.as_ref().and_then(|known| known.last_success);
        words.extend(success.map(|at| format!("last in step {}", moment(at))));
        words.extend(self.known.as_ref().and_then(|known| full(&known.quota)));
        let error = self.live.as_ref().and_then(|live| live.last_error.as_ref());
        words.extend(error.and_then(|error| {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            Some(format!("last error {}: {}", text("at")?, text("message")?))
        }));
        words.join("; ")
    }
}

/// Says how full the account is, if it has a limit.
fn full(quota: &Quota) -> Option<String> {
    let storage = quota.storage.map(|Usage { used, limit }| format!("{} of {}", HumanBytes(used), HumanBytes(limit)));
    let messages =
        quota.messages.map(|Usage { used, limit }| format!("{used} of {}", count(limit, "message", "messages")));
    let limits: Vec<String> = storage.into_iter().chain(messages).collect();
    (!limits.is_empty()).then(|| format!("{} used on the server", limits.join(", ")))
}

fn row(known: &Standing, folder: &Folder) -> Vec<String> {
    let held = known.held(folder).join(", ");
    let detail = match folder.waiting.len() as u64 {
        _ if !held.is_empty() => held,
        0 => String::new(),
        waiting => format!("{} to be tried again: see mailtide check", count(waiting, "item", "items")),
    };
    let messages = count(folder.messages, "message", "messages");
    vec![folder.name.to_string(), messages, known.state_of(folder).replace('-', " "), detail]
}

impl QuotaJson {
    fn of(quota: Quota) -> Self {
        let usage = |usage: Option<Usage>| usage.map(|Usage { used, limit }| UsageJson { used, limit });
        Self { storage: usage(quota.storage), messages: usage(quota.messages) }
    }
}

impl FolderJson {
    fn of(known: &Standing, folder: &Folder) -> Self {
        Self {
            folder: folder.name.to_string(),
            state: known.state_of(folder),
            messages: folder.messages,
            pending: folder.waiting.len() as u64,
            held: known.held(folder).into_iter().map(str::to_owned).collect(),
        }
    }
}
