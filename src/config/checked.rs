//! What the configuration means: every value checked, every default filled in.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::error::Flaw;
use super::hooks::{self, Hooks};
use super::paths::Places;
use super::secret::{self, Secret};
use super::server::{self, Server};
use super::values::{choice, duration, expand};
use super::watch::{self, Watch};
use super::{folders, raw, roots};
use crate::maildir::{self, Layout};
use crate::model::Circumstances;
use crate::reconcile::policy::{Delete, KeepDeleted, MaxDelete, Policy};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where databases and recoverable mail are.
    pub state_dir: PathBuf,
    /// Commands run around a sync.
    pub hooks: Hooks,
    /// The accounts, in the order of the file.
    pub accounts: Vec<Account>,
}

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// False: only when named on the command line.
    pub enabled: bool,
    /// How to reach the server.
    pub server: Server,
    /// Where the secret comes from.
    pub secret: Secret,
    /// Where the Maildir is.
    pub maildir: maildir::Settings,
    /// What the user wants.
    pub policy: Policy,
    /// What to watch for.
    pub watch: Watch,
    /// The database.
    pub database: PathBuf,
    /// The lock that keeps two runs apart.
    pub lock: PathBuf,
}

/// What accounts share while they are checked.
struct Around<'a> {
    places: &'a Places,
    state_dir: &'a Path,
}

/// Checks a file as written. `all` is the place of the whole text.
pub(super) fn check(raw: raw::File, file: PathBuf, places: &Places, all: Range<usize>) -> Result<Config, Flaw> {
    not_yet(&[(&raw.groups, "groups")])?;
    defaults(&raw.defaults)?;
    if raw.accounts.is_empty() {
        return Err(Flaw::new(all.end..all.end, "there is no account", super::read::EXAMPLE));
    }
    let state_dir = match &raw.state_dir {
        Some(path) => expand(path, places)?,
        None => places.state.clone(),
    };
    let around = Around { places, state_dir: &state_dir };
    let mut accounts = Vec::new();
    let mut spans = Vec::new();
    let mut in_order: Vec<_> = raw.accounts.into_iter().collect();
    in_order.sort_by_key(|(name, _)| name.span().start);
    for (name, account) in in_order {
        let account = account.into_inner().over(&raw.defaults);
        let path = account.maildir.as_ref().and_then(|maildir| maildir.path.as_ref());
        spans.push(path.map_or_else(|| name.span(), Spanned::span));
        accounts.push(check_account(&name, account, &around)?);
    }
    let placed: Vec<roots::Placed<'_>> = accounts
        .iter()
        .zip(spans)
        .map(|(account, span)| roots::Placed { account: &account.name, root: &account.maildir.root, span })
        .collect();
    roots::check(&placed, &state_dir)?;
    Ok(Config { file, state_dir, hooks: hooks::check(raw.hooks)?, accounts })
}

fn defaults(raw: &raw::Account) -> Result<(), Flaw> {
    later(raw)?;
    for (value, key) in [(&raw.host, "host"), (&raw.user, "user")] {
        if let Some(value) = value {
            let message = format!("{key} can't have a default");
            return Err(Flaw::new(value.span(), message, format!("give every account its own {key}")));
        }
    }
    Ok(())
}

fn check_account(name: &Spanned<String>, raw: raw::Account, around: &Around<'_>) -> Result<Account, Flaw> {
    check_name(name)?;
    later(&raw)?;
    let at = name.span();
    let server = server::check(&raw, &at, around.places)?;
    let maildir = maildir(name.get_ref(), &raw.maildir.unwrap_or_default(), around)?;
    let circumstances = circumstances(&server, &maildir);
    Ok(Account {
        name: name.get_ref().clone(),
        enabled: raw.enabled.unwrap_or(true),
        server,
        maildir,
        policy: policy(circumstances, raw.folders.unwrap_or_default(), raw.sync.unwrap_or_default())?,
        watch: watch::check(raw.watch.unwrap_or_default())?,
        secret: secret::check(raw.password, raw.password_command, raw.oauth2, &at)?,
        database: around.state_dir.join(format!("{}.sqlite3", name.get_ref())),
        lock: around.state_dir.join(format!("{}.lock", name.get_ref())),
    })
}

/// Refuses what this version does not know yet.
fn later(raw: &raw::Account) -> Result<(), Flaw> {
    not_yet(&[(&raw.keyring, "keyring"), (&raw.rules, "rules"), (&raw.pop3, "pop3")])?;
    let sync = raw.sync.clone().unwrap_or_default();
    not_yet(&[
        (&sync.max_message_size, "sync.max_message_size"),
        (&sync.bodies, "sync.bodies"),
        (&sync.keep_local, "sync.keep_local"),
    ])?;
    match raw.oauth2.keys().find(|key| key.get_ref() != "token_command") {
        Some(key) => Err(Flaw::not_yet(key.span(), &format!("oauth2.{}", key.get_ref()))),
        None => Ok(()),
    }
}

fn not_yet(keys: &[(&raw::Later, &str)]) -> Result<(), Flaw> {
    let found = keys.iter().find_map(|(value, key)| value.as_ref().map(|value| Flaw::not_yet(value.span(), key)));
    found.map_or(Ok(()), Err)
}

/// An account's name is part of file names and of the command line's ACCOUNT/FOLDER.
fn check_name(name: &Spanned<String>) -> Result<(), Flaw> {
    let text = name.get_ref();
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
    match !text.is_empty() && text.len() <= 100 && fits && !text.starts_with(['.', '-']) {
        true => Ok(()),
        false => Err(Flaw::new(
            name.span(),
            format!("{text:?} can't be the name of an account"),
            "use letters, digits and . _ @ + -, at most 100, not starting with . or -",
        )),
    }
}

fn maildir(name: &str, raw: &raw::Maildir, around: &Around<'_>) -> Result<maildir::Settings, Flaw> {
    let layouts = [("fs", Some(Layout::Fs)), ("maildir++", Some(Layout::MaildirPlusPlus))];
    Ok(maildir::Settings {
        root: match &raw.path {
            Some(path) => expand(path, around.places)?,
            None => around.places.home.join("Mail").join(name),
        },
        layout: choice(raw.layout.as_ref(), "maildir.layout", &layouts, Layout::Fs)?,
        trash: around.state_dir.join("trash").join(name),
    })
}

/// Another port or way of logging in leads to the same mail.
fn circumstances(server: &Server, maildir: &maildir::Settings) -> Circumstances {
    let layout = match maildir.layout {
        Layout::Fs => "fs",
        Layout::MaildirPlusPlus => "maildir++",
    };
    Circumstances {
        server: format!("{} at {}", server.user, server.host),
        layout: layout.to_owned(),
        root: maildir.root.display().to_string(),
    }
}

fn policy(circumstances: Circumstances, folders: raw::Folders, sync: raw::Sync) -> Result<Policy, Flaw> {
    let modes = [("both", Some(())), ("pull", None), ("push", None), ("backup", None)];
    choice(sync.mode.as_ref(), "sync.mode", &modes, ())?;
    let deletes = [
        ("trash", Some(Delete::Trash)),
        ("expunge", Some(Delete::Expunge)),
        ("flag", Some(Delete::Flag)),
        ("never", Some(Delete::Never)),
    ];
    Ok(Policy {
        circumstances,
        scope: folders::check(folders)?,
        delete: choice(sync.delete.as_ref(), "sync.delete", &deletes, Delete::Trash)?,
        max_delete: max_delete(&sync.max_delete.unwrap_or_default())?,
        keep_deleted: keep_deleted(sync.keep_deleted.as_ref())?,
    })
}

fn max_delete(raw: &raw::MaxDelete) -> Result<MaxDelete, Flaw> {
    let usual = MaxDelete::default();
    let over = raw.percent.as_ref().filter(|percent| *percent.get_ref() > 100);
    match over {
        Some(percent) => {
            Err(Flaw::new(percent.span(), "max_delete.percent is at most 100", "use a number from 0 to 100"))
        }
        None => Ok(MaxDelete {
            percent: raw.percent.as_ref().map_or(usual.percent, |percent| *percent.get_ref()),
            at_least: raw.at_least.unwrap_or(usual.at_least),
            at_most: raw.at_most.unwrap_or(usual.at_most),
        }),
    }
}

fn keep_deleted(value: Option<&Spanned<String>>) -> Result<KeepDeleted, Flaw> {
    let Some(value) = value else { return Ok(KeepDeleted::For(Duration::from_secs(14 * 24 * 60 * 60))) };
    match value.get_ref().as_str() {
        "none" => Ok(KeepDeleted::None),
        "forever" => Ok(KeepDeleted::Forever),
        _ => {
            let hint = "use \"none\", \"forever\" or a time such as \"14d\"";
            duration(value, "sync.keep_deleted", hint).map(KeepDeleted::For)
        }
    }
}
