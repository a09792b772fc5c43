//! Hooks: the user's commands around a sync, told on standard input, as JSON, what it is about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::account::Run;
use super::error::Trouble;
use super::headers;
use super::json::CountsJson;
use crate::config::Account;
use crate::config::hooks::{Hooks, run};
use crate::config::raw::Command;
use crate::maildir;
use crate::reconcile::report::Counts;

/// The version of the format.
const VERSION: u32 = 1;

/// How long a hook may take before a sync,
const BEFORE: Duration = Duration::from_secs(120);

/// and after: a mail index may have much to do.
const AFTER: Duration = Duration::from_secs(600);

/// Where a Message-ID is looked for, in bytes from a message's beginning.
const BEGINNING: u64 = 64 * 1024;

#[derive(Debug, Serialize)]
struct Told<T> {
    version: u32,
    hook: &'static str,
    #[serde(flatten)]
    what: T,
}

#[derive(Debug, Serialize)]
struct BeforeJson<'a> {
    accounts: &'a [&'a str],
}

#[derive(Debug, Serialize)]
struct NewMailJson {
    count: u64,
    mail: Vec<MailJson>,
}

/// New mail in one folder. Of more than a thousand messages the first thousand are named.
#[derive(Debug, Serialize)]
struct MailJson {
    account: String,
    folder: String,
    count: u64,
    paths: Vec<PathBuf>,
    message_ids: Vec<String>,
}

impl MailJson {
    fn merge(&mut self, later: MailJson) {
        self.count += later.count;
        self.paths.extend(later.paths);
        self.message_ids.extend(later.message_ids);
    }
}

#[derive(Debug, Serialize)]
struct ChangesJson {
    accounts: Vec<ChangeJson>,
}

#[derive(Debug, Serialize)]
struct ChangeJson {
    name: String,
    local: CountsJson,
    remote: CountsJson,
}

/// What happened since hooks were last told.
#[derive(Debug, Default)]
pub(super) struct Happened {
    mail: BTreeMap<(String, String), MailJson>,
    changes: BTreeMap<String, (Counts, Counts)>,
}

impl Happened {
    /// Takes in what a run did.
    pub(super) fn add(&mut self, account: &Account, done: &Run) {
        for arrivals in &done.report.arrivals {
            let key = (account.name.clone(), arrivals.folder.to_string());
            let mail = self.mail.entry(key).or_insert_with_key(|(account, folder)| MailJson {
                account: account.clone(),
                folder: folder.clone(),
                count: 0,
                paths: Vec::new(),
                message_ids: Vec::new(),
            });
            mail.count += arrivals.count;
            let paths = maildir::find(&account.maildir, &arrivals.local, &arrivals.first);
            let id = |path: &PathBuf| headers::message_id(&maildir::beginning(path, BEGINNING).ok()?);
            mail.message_ids.extend(paths.iter().filter_map(id));
            mail.paths.extend(paths);
        }
        if done.report.did_anything() {
            let (local, remote) = self.changes.entry(account.name.clone()).or_default();
            *local += done.report.local;
            *remote += done.report.remote;
        }
    }

    /// Takes in what happened afterwards.
    pub(super) fn merge(&mut self, later: Happened) {
        for (key, mail) in later.mail {
            match self.mail.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(mail)),
                Entry::Occupied(mut entry) => entry.get_mut().merge(mail),
            }
        }
        for (name, (local, remote)) in later.changes {
            let before = self.changes.entry(name).or_default();
            before.0 += local;
            before.1 += remote;
        }
    }

    /// Returns true if there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.mail.is_empty() && self.changes.is_empty()
    }
}

/// Runs the hook that comes before a sync.
pub(super) async fn before(hooks: &Hooks, accounts: &[&str]) -> Result<(), Trouble> {
    match &hooks.before_sync {
        Some(command) => {
            tell(command, "before_sync", BeforeJson { accounts }, BEFORE).await.map_err(|why| Trouble::forbidden(&why))
        }
        None => Ok(()),
    }
}

/// Runs the hooks that come after a sync, as far as there is something to tell them, and returns what went wrong.
pub(super) async fn after(hooks: &Hooks, happened: Happened) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let (Some(command), false) = (&hooks.on_new_mail, happened.mail.is_empty()) {
        let mail: Vec<MailJson> = happened.mail.into_values().collect();
        let count = mail.iter().map(|mail| mail.count).sum();
        let told = tell(command, "on_new_mail", NewMailJson { count, mail }, AFTER).await;
        troubles.extend(told.err().map(|why| Trouble::hook("on_new_mail", &why)));
    }
    if let (Some(command), false) = (&hooks.on_change, happened.changes.is_empty()) {
        let change = |(name, (local, remote)): (String, (Counts, Counts))| ChangeJson {
            name,
            local: CountsJson::of(&local),
            remote: CountsJson::of(&remote),
        };
        let accounts = happened.changes.into_iter().map(change).collect();
        let told = tell(command, "on_change", ChangesJson { accounts }, AFTER).await;
        troubles.extend(told.err().map(|why| Trouble::hook("on_change", &why)));
    }
    troubles
}

async fn tell(command: &Command, hook: &'static str, what: impl Serialize, limit: Duration) -> Result<(), String> {
    let text = serde_json::to_string(&Told { version: VERSION, hook, what }).map_err(|error| error.to_string())?;
    run(command, format!("{text}\n").as_bytes(), limit).await.map_err(|error| error.to_string())
}

/// Returns true if a hook wants to be told after a sync.
pub(super) fn wanted(hooks: &Hooks) -> bool {
    hooks.on_new_mail.is_some() || hooks.on_change.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_one_after_the_other_is_added_up() {
        let happened = |folder: &str, count| {
            let (account, folder) = ("a".to_owned(), folder.to_owned());
            let key = (account.clone(), folder.clone());
            let (paths, message_ids) = (vec![PathBuf::from("x")], vec!["y".to_owned()]);
            let counts = Counts { added: count, ..Counts::default() };
            Happened {
                changes: BTreeMap::from([(account.clone(), (counts, Counts::default()))]),
                mail: BTreeMap::from([(key, MailJson { account, folder, count, paths, message_ids })]),
            }
        };
        let mut all = Happened::default();
        for later in [happened("INBOX", 2), happened("INBOX", 3), happened("Work", 4)] {
            all.merge(later);
        }
        let mail = all.mail.values().map(|mail| (mail.count, mail.paths.len(), mail.message_ids.len()));
        assert_eq!(mail.collect::<Vec<_>>(), [(5, 2, 2), (4, 1, 1)]);
        assert_eq!(all.changes["a"].0.added, 9);
    }
}
