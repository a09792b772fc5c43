//! `mailtide check`: configuration, Maildir, database, connection, log-in and capabilities; if asked to, whether both
//! sides are equal. Changes nothing, but with `--repair` the database.

mod compare;

use chrono::Utc;
use compare::{ComparedJson, DifferenceJson};
use rustix::fs::{Access, access};
use serde::Serialize;

use super::args::{self, Globals};
use super::connect::connect;
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::json::{self, ErrorJson, WaitingJson};
use super::output::Output;
use super::render::{count, moment, table};
use super::stop::Stop;
use super::{configuration, run_all, select};
use crate::config::Account;
use crate::cycle::{Compared, listed};
use crate::maildir::Maildir;
use crate::model::Timestamp;
use crate::reconcile::report::Waiting;
use crate::state::Database;
use crate::store::{Journal, LocalStore, Root, StateError};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

/// What was found out about an account.
#[derive(Debug)]
struct Checked {
    name: String,
    findings: Vec<Finding>,
    capabilities: Vec<String>,
    compared: Option<Compared>,
    waiting: Vec<Waiting>,
    troubles: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct CheckedJson {
    name: String,
    status: &'static str,
    exit_code: u8,
    checks: Vec<Finding>,
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<ComparedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<DifferenceJson>>,
    waiting: Vec<WaitingJson>,
    errors: Vec<ErrorJson>,
}

/// Runs the command.
pub(super) fn main(args: &args::Check, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let (checked, errors) = match run(args, globals, Timestamp(started.timestamp())) {
        Ok(checked) => (checked, Vec::new()),
        Err(trouble) => (Vec::new(), vec![trouble]),
    };
    let exit = Exit::of_all(checked.iter().map(Checked::exit).chain(errors.iter().map(|trouble| trouble.exit)));
    if args.json {
        json::print(output, started, exit, &errors, checked.into_iter().map(Checked::json).collect());
        return exit;
    }
    for account in &checked {
        account.print(output);
    }
    output.complain(None, &errors);
    exit
}

fn run(args: &args::Check, globals: &Globals, now: Timestamp) -> Result<Vec<Checked>, Trouble> {
    let config = configuration(globals)?;
    let accounts = select::accounts(&config, &args.accounts)?;
    let file = config.file.display().to_string();
    run_all(|stop| accounts.into_iter().map(|account| check(account, &file, args, stop.clone(), now)).collect())
}

async fn check(account: &Account, file: &str, args: &args::Check, stop: Stop, now: Timestamp) -> Checked {
    let mut checked = Checked::new(&account.name);
    let lock = match args.compare || args.repair {
        true => compare::lock(account, args.repair),
        false => Ok(None),
    };
    let _lock = match lock {
        Ok(lock) => lock,
        Err(trouble) => {
            checked.note("lock", Err(trouble));
            return checked;
        }
    };
    checked.note("configuration", Ok(file.to_owned()));
    let (database, known) = match database(account) {
        Ok(known) => (Ok(known.detail.clone()), known),
        Err(trouble) => (Err(trouble), Known::default()),
    };
    checked.note("Maildir", maildir(account, known.synced));
    checked.note("state directory", state_dir(account));
    checked.note("database", database);
    checked.waiting = known.waiting;
    if !args.offline {
        let connected = stop.guard(connection(account)).await;
        let connected = connected.unwrap_or_else(|exit| Err(Trouble::stopped(exit, Rest::Untouched)));
        let (detail, capabilities) = connected.map_or_else(|trouble| (Err(trouble), Vec::new()), |(d, c)| (Ok(d), c));
        checked.note("connection", detail);
        checked.capabilities = capabilities;
    }
    if (args.compare || args.repair) && checked.troubles.iter().all(Trouble::is_hold) {
        checked.note_compared(Box::pin(compare::compare(account, args.repair, now, &stop)).await);
    }
    checked
}

/// Looks at the Maildir; where one was synced before, an empty directory is none.
fn maildir(account: &Account, synced: bool) -> Result<String, Trouble> {
    let failed = |error| Trouble::local(account, &error, Rest::Untouched);
    let path = &account.maildir.root;
    let mut maildir = Maildir::new(account.maildir.clone());
    let root = maildir.root().map_err(failed)?;
    if synced && !matches!(root, Root::Marked(_)) {
        return Err(Trouble::root_missing(account));
    }
    if root == Root::Missing {
        return Ok(format!("{} is not there; a first sync creates it", path.display()));
    }
    access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| Trouble::unwritable(account, &error.into()))?;
    let folders = maildir.list().map_err(failed)?.maildirs.len() as u64;
    let mark = if matches!(root, Root::Marked(_)) { "" } else { ", never synced" };
    Ok(format!("{}, {}{mark}", path.display(), count(folders, "folder", "folders")))
}

/// Looks whether the state directory can be written, or created where it is not there.
fn state_dir(account: &Account) -> Result<String, Trouble> {
    let directory = account.database.parent().unwrap_or(&account.database);
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(directory);
    access(there, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| Trouble::state_dir_unwritable(directory, &error.into()))?;
    let words = if there == directory { "" } else { " is not there; a first sync creates it" };
    Ok(format!("{}{words}", directory.display()))
}

/// What the database says.
#[derive(Debug, Default)]
struct Known {
    detail: String,
    waiting: Vec<Waiting>,
    /// It has synced this Maildir before.
    synced: bool,
}

fn database(account: &Account) -> Result<Known, Trouble> {
    let path = account.database.display();
    if !account.database.exists() {
        return Ok(Known { detail: format!("{path} is not there; a first sync creates it"), ..Known::default() });
    }
    let failed = |error: StateError| Trouble::state(account, &error, Rest::Untouched);
    let mut database = Database::for_dry_run(&account.database).map_err(failed)?;
    let header = database.header().map_err(failed)?;
    let success = header.last_success.map_or_else(|| "never".to_owned(), moment);
    let root = &account.policy.circumstances.root;
    let synced = header.run > 0 && header.circumstances.is_none_or(|before| before.root == *root);
    let mut waiting = Vec::new();
    for mailbox in database.mailboxes().map_err(failed)? {
        let failures = database.failures(mailbox.id).map_err(failed)?;
        waiting.extend(failures.iter().map(|failure| listed(&mailbox.name, failure)));
    }
    Ok(Known { detail: format!("{path}, last in step: {success}"), waiting, synced })
}

async fn connection(account: &Account) -> Result<(String, Vec<String>), Trouble> {
    let remote = connect(account).await?;
    let capabilities = remote.capabilities();
    remote.logout().await;
    let server = &account.server;
    Ok((format!("{}:{}, logged in as {}", server.host, server.port, server.user), capabilities))
}

impl Checked {
    fn new(name: &str) -> Self {
        let (findings, capabilities, troubles) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), findings, capabilities, compared: None, waiting: Vec::new(), troubles }
    }

    fn note_compared(&mut self, compared: Result<Compared, Trouble>) {
        match compared {
            Ok(compared) => {
                self.troubles.extend(compare::trouble(&self.name, &compared));
                self.compared = Some(compared);
            }
            Err(trouble) => self.note("comparison", Err(trouble)),
        }
    }

    fn note(&mut self, what: &'static str, result: Result<String, Trouble>) {
        let ok = result.is_ok();
        let detail = result.unwrap_or_else(|trouble| {
            let detail = trouble.message.clone();
            self.troubles.push(trouble);
            detail
        });
        self.findings.push(Finding { what, ok, detail });
    }

    fn exit(&self) -> Exit {
        Exit::of_all(self.troubles.iter().map(|trouble| trouble.exit))
    }

    fn json(self) -> CheckedJson {
        let exit = self.exit();
        CheckedJson {
            name: self.name,
            status: exit.status(),
            exit_code: exit.code(),
            checks: self.findings,
            capabilities: self.capabilities,
            compared: self.compared.as_ref().map(ComparedJson::of),
            differences: self.compared.as_ref().map(|found| found.all().map(DifferenceJson::of).collect()),
            waiting: self.waiting.iter().map(WaitingJson::of).collect(),
            errors: self.troubles.iter().map(ErrorJson::of).collect(),
        }
    }

    fn print(&self, output: &Output) {
        let mut rows: Vec<Vec<String>> = self.findings.iter().map(Finding::row).collect();
        if !self.capabilities.is_empty() {
            rows.push(vec!["capabilities".to_owned(), String::new(), self.capabilities.join(" ")]);
        }
        output.say(format_args!("{}:", self.name));
        for line in table(&rows) {
            output.say(format_args!("  {line}"));
        }
        if !self.waiting.is_empty() {
            output.say("  not in step, and waiting:");
        }
        for item in &self.waiting {
            output.say(format_args!("    {}", item_line(item)));
        }
        if let Some(compared) = &self.compared {
            compare::print(output, compared);
        }
        output.complain(Some(&self.name), &self.troubles);
    }
}

fn item_line(item: &Waiting) -> String {
    let mut words = vec![item.folder.to_string()];
    words.extend(item.uid.map(|uid| format!("UID {uid}")));
    words.extend(item.path.clone());
    words.push(item.message.clone());
    words.extend(item.retry_at.map(|at| format!("tried again after {}", moment(at))));
    words.join("  ")
}

impl Finding {
    /// What failed is told on stderr, with what to do about it.
    fn row(&self) -> Vec<String> {
        let (word, detail) = if self.ok { ("ok", self.detail.as_str()) } else { ("failed", "") };
        [self.what, word, detail].map(String::from).to_vec()
    }
}
