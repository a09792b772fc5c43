//! What an account keeps in its recoverable trash, and which of it the user means.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use super::error::{Rest, Trouble};
use crate::config::Account;
use crate::maildir::Maildir;
use crate::model::{Fingerprint, Keywords, MailboxName, MailboxRow, Timestamp, UniqueName};
use crate::state::{Database, Lock};
use crate::store::{Journal, KeptRow, LocalStore, Trashed};

/// What the user calls a message, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    /// A message of the index.
    Number(u64),
    /// All that a run removed.
    Run(u64),
    /// All that the options select.
    All,
    /// A file that the index doesn't know.
    File(String),
}

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
        {
            return Ok(Id::Number(number));
        }
        match text.strip_prefix("run-").map(str::parse) {
            Some(Ok(run)) => Ok(Id::Run(run)),
            None if text == "all" => Ok(Id::All),
            None if !text.is_empty() && !text.starts_with('.') && !text.contains('/') => Ok(Id::File(text.to_owned())),
            _ => Err("an ID is a number, run-NUMBER or all; mailtide restore lists them".to_owned()),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Run(run) => write!(f, "run-{run}"),
            Id::All => f.write_str("all"),
            Id::File(name) => f.write_str(name),
        }
    }
}

/// A time as the user gives it: so long ago, or a point in time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So many seconds ago.
    Ago(i64),
    /// Then.
    At(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Since::At(Timestamp(time.timestamp())));
        }
        if let Some(time) = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)) {
            return Ok(Since::At(Timestamp(time.and_utc().timestamp())));
        }
        let length = text.parse::<humantime::Duration>();
        length
            .map(|length| Since::Ago(i64::try_from(length.as_secs()).unwrap_or(i64::MAX)))
            .map_err(|_| "a time is a length like 2d or 3h, a date like 2026-11-22, or 2026-11-22T01:02:03Z".to_owned())
    }
}

impl Since {
    fn before(self, now: DateTime<Utc>) -> Timestamp {
        match self {
            Since::Ago(seconds) => Timestamp(now.timestamp().saturating_sub(seconds)),
            Since::At(time) => time,
        }
    }
}

/// The folders that each content is in, and its files' unique names there.
pub(super) type Places = BTreeMap<Fingerprint, Vec<(MailboxName, UniqueName)>>;

/// Which messages the options select.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Those that lay in this folder or below it.
    pub(super) folder: Option<MailboxName>,
    /// Those removed at this time or later.
    pub(super) since: Option<Timestamp>,
}

impl Filter {
    /// Returns the filter of the options.
    pub(super) fn new(folder: Option<&MailboxName>, since: Option<Since>, now: DateTime<Utc>) -> Self {
        Self { folder: folder.cloned(), since: since.map(|since| since.before(now)) }
    }

    fn selects(&self, item: &Item) -> bool {
        let within = |wanted: &MailboxName| {
            item.folder.as_ref().is_some_and(|folder| folder == wanted || folder.is_below(wanted))
        };
        self.folder.as_ref().is_none_or(within) && self.is_late_enough(item)
    }

    fn is_late_enough(&self, item: &Item) -> bool {
        self.since.is_none_or(|since| item.at >= since)
    }
}

/// A message that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// What the user calls it.
    pub(super) id: Id,
    /// The run that removed it, if that is known.
    pub(super) run: Option<u64>,
    /// The server's name of the folder that it lay in, if that is known.
    pub(super) folder: Option<MailboxName>,
    /// When it was removed, as far as is known.
    pub(super) at: Timestamp,
    /// The name its file had; empty if that is not known.
    pub(super) file: String,
    /// The name it has in the trash.
    pub(super) kept_as: String,
    /// The keywords it had, unless only its name tells.
    keywords: Option<Keywords>,
    /// The maildir that it lay in.
    local: Option<MailboxName>,
    /// The file is there.
    present: bool,
}

impl Item {
    /// Returns true if both sides have the message already: in another folder, because it was moved there, or in its own
    /// again. A row of its own name is what an interrupted removal left.
    pub(super) fn is_elsewhere(&self, maildir: &Maildir, places: &Places) -> bool {
        let content = maildir.kept_content(&self.kept_as).ok().flatten();
        let found = content.and_then(|content| places.get(&content));
        let own =
            |name: &UniqueName| self.file.split(':').next() == Some(name.as_str()) || self.kept_as == name.as_str();
        let is_another = |(folder, name): &(MailboxName, UniqueName)| Some(folder) != self.local.as_ref() || !own(name);
        found.is_some_and(|found| found.iter().any(is_another))
    }
}

/// An account's recoverable trash. Nobody else is at work on the account meanwhile.
#[derive(Debug)]
pub(super) struct Shelf {
    /// What is in it, the newest first.
    pub(super) items: Vec<Item>,
    rows: Vec<MailboxRow>,
    _lock: Option<Lock>,
}

impl Shelf {
    /// Looks at an account's trash. Nothing but a lock is written, and none where nothing is.
    pub(super) fn open(account: &Account) -> Result<Self, Trouble> {
        let state = |error| Trouble::state(account, &error, Rest::Untouched);
        let used = [&account.database, &account.lock, &account.maildir.trash].iter().any(|path| path.exists());
        let lock = match used {
            true => Some(Lock::acquire(&account.database).map_err(state)?.ok_or_else(|| Trouble::busy(account))?),
            false => None,
        };
        let mut database = Database::for_dry_run(&account.database).map_err(state)?;
        let index = database.kept(Timestamp(i64::MAX)).map_err(state)?;
        let rows = database.mailboxes().map_err(state)?;
        let files = Maildir::new(account.maildir.clone()).kept_files();
        let files = files.map_err(|error| Trouble::local(account, &error, Rest::Untouched))?;
        let present: BTreeSet<&str> = files.iter().map(|file| file.kept_as.as_str()).collect();
        let known: BTreeSet<&str> = index.iter().map(|row| row.kept.kept_as.as_str()).collect();
        let names = Names { account, rows: &rows };
        let unknown = files.iter().filter(|file| !known.contains(file.kept_as.as_str())).map(|file| Item {
            id: Id::File(file.kept_as.clone()),
            run: None,
            folder: None,
            at: file.since,
            file: String::new(),
            kept_as: file.kept_as.clone(),
            keywords: None,
            local: None,
            present: true,
        });
        let indexed = index.iter().map(|row| names.item(row, present.contains(row.kept.kept_as.as_str())));
        let mut items: Vec<Item> = indexed.chain(unknown).collect();
        items.sort_by_key(|item| std::cmp::Reverse((item.at, item.run)));
        Ok(Self { items, rows, _lock: lock })
    }

    /// Returns what the options select.
    pub(super) fn list(&self, filter: &Filter) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.present && filter.selects(item))
    }

    /// Returns what an ID means here under these options.
    pub(super) fn find<'a>(&'a self, id: &Id, filter: &Filter) -> Vec<&'a Item> {
        match id {
            // A folder given is where it is to go: where it was, nobody knows.
            Id::File(_) => self.items.iter().filter(|item| item.id == *id && filter.is_late_enough(item)).collect(),
            // One whose file is gone is for the user to be told about.
            Id::Number(_) => self.items.iter().filter(|item| item.id == *id && filter.selects(item)).collect(),
            Id::Run(run) => self.list(filter).filter(|item| item.run == Some(*run)).collect(),
            // What is to go into a folder of the user's choice is to be named one by one.
            Id::All => self.list(filter).filter(|item| item.local.is_some()).collect(),
        }
    }

    /// Returns true if a folder takes part in syncing, as far as is known without the server.
    pub(super) fn takes_part(&self, account: &Account, folder: &MailboxName) -> bool {
        let role = self.rows.iter().find(|row| row.name == *folder).and_then(|row| row.role);
        account.policy.scope.takes_part(folder, role, true)
    }

    /// Returns what is to be brought back for an item; `folder` is for one whose folder is unknown.
    pub(super) fn wanted(&self, account: &Account, item: &Item, folder: Option<&MailboxName>) -> Option<Trashed> {
        let names = Names { account, rows: &self.rows };
        let mailbox = item.local.clone().or_else(|| folder.map(|folder| names.local(folder)))?;
        let (file, kept_as, keywords) = (item.file.clone(), item.kept_as.clone(), item.keywords.clone());
        Some(Trashed { mailbox, file, kept_as, at: item.at, keywords })
    }
}

/// The two names of each folder.
struct Names<'a> {
    account: &'a Account,
    rows: &'a [MailboxRow],
}

impl Names<'_> {
    fn item(&self, row: &KeptRow, present: bool) -> Item {
        Item {
            id: Id::Number(row.id),
            run: Some(row.run),
            folder: Some(self.server(&row.kept.mailbox)),
            at: row.kept.at,
            file: row.kept.file.clone(),
            kept_as: row.kept.kept_as.clone(),
            keywords: row.kept.keywords.clone(),
            local: Some(row.kept.mailbox.clone()),
            present,
        }
    }

    fn server(&self, local: &MailboxName) -> MailboxName {
        if let Some(row) = self.rows.iter().find(|row| row.local == *local) {
            return row.name.clone();
        }
        let roles: BTreeMap<_, _> = self.rows.iter().filter_map(|row| Some((row.role?, &row.name))).collect();
        let role_of = |name: &MailboxName| self.rows.iter().find(|row| row.name == *name).and_then(|row| row.role);
        let holder = |role| roles.get(&role).map(|name| (*name).clone());
        let is_there = |name: &MailboxName| self.rows.iter().any(|row| row.name == *name);
        self.account.policy.scope.server_name(local, role_of, holder, is_there).unwrap_or_else(|| local.clone())
    }

    fn local(&self, server: &MailboxName) -> MailboxName {
        if let Some(row) = self.rows.iter().find(|row| row.name == *server) {
            return row.local.clone();
        }
        let role_of = |name: &MailboxName| self.rows.iter().find(|row| row.name == *name).and_then(|row| row.role);
        self.account.policy.scope.local_name(server, role_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_runs_all_and_names() {
        for (text, expected) in [
            ("12", Some(Id::Number(12))),
            ("run-3", Some(Id::Run(3))),
            ("all", Some(Id::All)),
            ("1700000000.M1P2Q3R4.host", Some(Id::File("1700000000.M1P2Q3R4.host".to_owned()))),
            ("99999999999999999999999", Some(Id::File("99999999999999999999999".to_owned()))),
            ("run-", None),
            ("run-x", None),
            ("", None),
            ("../x", None),
            (".x", None),
        ] {
            let id = text.parse::<Id>().ok();
            assert_eq!(id, expected, "{text:?}");
            assert!(id.is_none_or(|id| id.to_string() == text));
        }
    }

    #[test]
    fn times_are_lengths_days_and_moments() {
        for (text, expected) in [
            ("2d", Some(Since::Ago(172_800))),
            ("1h 30min", Some(Since::Ago(5400))),
            ("1970-01-02", Some(Since::At(Timestamp(86_400)))),
            ("1970-01-01T02:00:00+01:00", Some(Since::At(Timestamp(3600)))),
            ("yesterday", None),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Since>().ok(), expected, "{text:?}");
        }
        let now = DateTime::from_timestamp(200_000, 0).unwrap();
        assert_eq!(Since::Ago(172_800).before(now), Timestamp(27_200));
    }

    #[test]
    fn a_filter_takes_a_folder_with_those_below_and_from_its_time_on() {
        let name = |text: &str| MailboxName::parse(text).unwrap();
        let item = |folder: Option<&str>, at| Item {
            id: Id::Number(1),
            run: Some(1),
            folder: folder.map(name),
            at: Timestamp(at),
            file: String::new(),
            kept_as: "k".to_owned(),
            keywords: None,
            local: folder.map(name),
            present: true,
        };
        let filter = Filter { folder: Some(name("a")), since: Some(Timestamp(5)) };
        for (folder, at, expected) in [
            (Some("a"), 5, true),
            (Some("a/b"), 9, true),
            (Some("ab"), 9, false),
            (Some("a"), 4, false),
            (None, 9, false),
        ] {
            assert_eq!(filter.selects(&item(folder, at)), expected, "{folder:?} {at}");
        }
        assert!(filter.is_late_enough(&item(None, 5)));
    }
}
