//! The words for what went wrong: what failed and where, what was left untouched, what to do next; and the exit code.

mod held;
mod hooks;
mod restore;
mod watch;

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::Exit;
use crate::config::secret::SecretError;
use crate::config::{Account, ConfigError};
use crate::cycle::Failure;
use crate::model::{MailboxName, Timestamp, Uid};
use crate::reconcile::report::Problem;
use crate::state::is_damage;
use crate::store::{LocalError, LocalErrorKind, RemoteError, RemoteErrorKind, StateError};

/// Something that went wrong, as the user is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    /// How the run ends on account of it.
    pub(super) exit: Exit,
    /// What kind, for programs.
    pub(super) code: &'static str,
    /// What failed, and what was left untouched.
    pub(super) message: String,
    /// What to do next.
    pub(super) hint: String,
    /// What it is about.
    pub(super) place: Box<Place>,
    /// How long the server asks to be left alone.
    pub(super) wait: Option<Duration>,
}

/// What a trouble is about, as far as it is about something smaller than the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The folder.
    pub(super) folder: Option<MailboxName>,
    /// The file.
    pub(super) path: Option<String>,
    /// The message on the server.
    pub(super) uid: Option<Uid>,
    /// When it is tried again, if not with the next run.
    pub(super) retry_at: Option<Timestamp>,
}

/// What can be said about the rest when something ends an account's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing had been begun.
    Untouched,
    /// The run was under way.
    UnderWay,
    /// The daemon was at it.
    Elsewhere,
}

impl Rest {
    fn words(self) -> &'static str {
        match self {
            Rest::Untouched => "nothing was changed",
            Rest::UnderWay => "what was done before is kept and recorded, the rest is left as it was",
            Rest::Elsewhere => "what `mailtide watch` has begun it finishes",
        }
    }
}

/// Writes an error with its causes, leaving out those that the one above repeats.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = cause.source();
    }
    words
}

impl Trouble {
    fn new(exit: Exit, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: hint.into(), place: Box::default(), wait: None }
    }

    fn at_folder(mut self, folder: Option<&MailboxName>) -> Self {
        self.place.folder = folder.cloned();
        self
    }

    fn at_path(mut self, path: impl Display) -> Self {
        self.place.path = Some(path.to_string());
        self
    }

    /// Returns true for what was held back rather than failed.
    pub(super) fn is_hold(&self) -> bool {
        self.exit == Exit::Held
    }

    /// The configuration can't be used.
    pub(super) fn config(error: &ConfigError) -> Self {
        let code = if error.missing { "config-missing" } else { "config" };
        Self::new(Exit::Config, code, error.to_string(), &error.hint).at_path(error.file.display())
    }

    /// The system knows no home directory.
    pub(super) fn homeless() -> Self {
        Self::new(Exit::Config, "no-home", "the home directory of this user is unknown", "set HOME")
    }

    /// The command line names an account that the configuration doesn't.
    pub(super) fn unknown_account<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.collect();
        let message = format!("there is no account {name:?} in the configuration");
        Self::new(Exit::Config, "unknown-account", message, format!("the accounts are: {}", known.join(", ")))
    }

    /// The command line names no account and none is enabled.
    pub(super) fn none_enabled() -> Self {
        Self::new(Exit::Config, "none-enabled", "no account is enabled", "name one, or remove enabled = false")
    }

    /// The command line names a folder that no folder can be called.
    pub(super) fn bad_folder(target: &str) -> Self {
        let message = format!("{target:?} names no folder");
        Self::new(Exit::Config, "bad-folder", message, "write ACCOUNT/FOLDER as `mailtide folders` prints folders")
    }

    /// A command brought no secret.
    pub(super) fn secret(error: &SecretError) -> Self {
        let message = format!("{error}; nothing was changed");
        Self::new(
            Exit::Login,
            "no-secret",
            message,
            "run the command by hand; it must print the secret as its first line",
        )
    }

    /// Another run holds the account.
    pub(super) fn busy(account: &Account) -> Self {
        let message = "another mailtide is at work on this account; nothing was changed";
        let hint = format!("try again later, or let it wait: mailtide sync --wait {}", account.name);
        Self::new(Exit::Busy, "busy", message, hint)
    }

    /// A signal stopped the run.
    pub(super) fn stopped(exit: Exit, rest: Rest) -> Self {
        let counted = if rest == Rest::UnderWay { "; only downloads and uploads are counted here" } else { "" };
        let message = format!("stopped by a signal before it was done; {}{counted}", rest.words());
        Self::new(exit, "interrupted", message, "the next sync goes on from here")
    }

    /// This machine did not do what it should.
    pub(super) fn machine(doing: &str, error: &impl Display) -> Self {
        let message = format!("{doing}: {error}; nothing was changed");
        Self::new(Exit::Machine, "system", message, "make sure that this user may do so, and try again")
    }

    /// What a command says can't be written.
    pub(super) fn unsaid(error: &std::io::Error) -> Self {
        let message = format!("writing to standard output: {error}; what was done is done, and some of it is not told");
        Self::new(
            Exit::Machine,
            "system",
            message,
            "make room where the output goes; `mailtide status` tells how things stand",
        )
    }

    /// The state directory can't be made.
    pub(super) fn state_dir(path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("creating the state directory {}: {error}; nothing was changed", path.display());
        let hint = "make it writable, or choose another with state_dir";
        Self::new(Exit::Machine, "state-dir", message, hint).at_path(path.display())
    }

    /// The state directory can't be written.
    pub(super) fn state_dir_unwritable(path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("the state directory {} can't be read and written: {error}", path.display());
        let hint = "make it writable, or choose another with state_dir";
        Self::new(Exit::Machine, "state-dir", message, hint).at_path(path.display())
    }

    /// What ended an account's run.
    pub(super) fn failure(account: &Account, failure: &Failure, rest: Rest) -> Self {
        match failure {
            Failure::Remote(error) => Self::remote(account, error, rest),
            Failure::Local(error) => Self::local(account, error, rest),
            Failure::State(error) => Self::state(account, error, rest),
            Failure::NameClash(one, other) => Self::local_name_clash(one, other),
        }
    }

    /// The server, or the way to it.
    pub(super) fn remote(account: &Account, error: &RemoteError, rest: Rest) -> Self {
        let (exit, code, hint) = match error.kind {
            RemoteErrorKind::Login => (
                Exit::Login,
                "login-refused",
                format!("check the user ({}) and the password or token", account.server.user),
            ),
            RemoteErrorKind::Unreachable => {
                let server = format!("{}:{}", account.server.host, account.server.port);
                (
                    Exit::Network,
                    "unreachable",
                    format!("check the network, and host, port and tls ({server}); then sync again"),
                )
            }
            RemoteErrorKind::Local => {
                (Exit::Machine, "system", "free or repair what it names, then sync again".to_owned())
            }
            RemoteErrorKind::Refused
            | RemoteErrorKind::Busy
            | RemoteErrorKind::NoSuchMailbox
            | RemoteErrorKind::UidValidityChanged
            | RemoteErrorKind::TooLarge
            | RemoteErrorKind::Unrepresentable => {
                (Exit::Network, "server-refused", "sync again later; -vv shows what was asked".to_owned())
            }
        };
        Self { wait: error.wait, ..Self::new(exit, code, format!("{}; {}", whole(error), rest.words()), hint) }
    }

    /// The Maildir.
    pub(super) fn local(account: &Account, error: &LocalError, rest: Rest) -> Self {
        let root = account.maildir.root.display();
        let (code, hint) = match error.kind {
            LocalErrorKind::Full => ("disk-full", format!("make room on the disk of {root}, then sync again")),
            LocalErrorKind::Unusable | LocalErrorKind::Item | LocalErrorKind::NoMessage => {
                ("maildir-unusable", format!("make sure that {root} can be read and written, then sync again"))
            }
        };
        Self::new(Exit::Machine, code, format!("{}; {}", whole(error), rest.words()), hint)
    }

    /// The database.
    pub(super) fn state(account: &Account, error: &StateError, rest: Rest) -> Self {
        let file = account.database.display().to_string();
        let (code, hint) = match (is_damage(error), error.corrupt) {
            (true, _) => (
                "database-corrupt",
                "mailtide sync sets it aside, makes a new one and unites both sides, removing nothing; if that \
                 happens again, check the disk"
                    .to_owned(),
            ),
            (false, true) => ("database-corrupt", format!("move {file} away, or choose another state_dir")),
            (false, false) => (
                "database-unusable",
                format!("make sure that {file} can be written and its disk has room, then sync again"),
            ),
        };
        let message = format!("{}; {}", whole(error), rest.words());
        Self::new(Exit::Machine, code, message, hint).at_path(file)
    }

    /// The database was damaged and is no longer in use. What the user did since the last run may be undone, so this is
    /// no run without trouble.
    pub(super) fn rebuilt(error: &StateError, aside: &std::path::Path) -> Self {
        let aside = aside.display();
        let message = format!(
            "{}; it was set aside as {aside}, and this run went on with a new one: it unites both sides, and removes \
             nothing",
            whole(error)
        );
        let hint =
            "what was deleted on one side only since the last sync may be back; if this happens again, check the disk";
        Self::new(Exit::Partial, "database-rebuilt", message, hint).at_path(aside)
    }

    /// The database is damaged, and a dry run shows what would be done about it.
    pub(super) fn would_rebuild(account: &Account, error: &StateError) -> Self {
        let message = format!(
            "{}; a sync would set it aside, go on with a new one and unite both sides, removing nothing: that is what \
             is shown",
            whole(error)
        );
        let hint = "sync without --dry-run";
        Self::new(Exit::Partial, "database-corrupt", message, hint).at_path(account.database.display())
    }

    /// The Maildir's root can't be written.
    pub(super) fn unwritable(account: &Account, error: &std::io::Error) -> Self {
        let cause = format!("{} can't be read and written: {error}", account.maildir.root.display());
        Self::local(account, &LocalError { kind: LocalErrorKind::Unusable, cause: cause.into() }, Rest::Untouched)
    }

    /// A folder of either side that can't be used.
    pub(super) fn rejected_folder(name: &str, why: &str) -> Self {
        let message = format!("{name}: {why}; it is left alone");
        Self::new(Exit::Partial, "folder-unusable", message, "rename it, or exclude it")
    }

    /// Two server folders would have the same local name.
    pub(super) fn local_name_clash(one: &MailboxName, other: &MailboxName) -> Self {
        let message = format!("would have the same local name as {other}");
        let hint = "correct folders.local_names, or exclude one of them";
        Self::new(Exit::Config, "local-name-clash", message, hint).at_folder(Some(one))
    }

    /// Something that failed while the rest went on.
    pub(super) fn problem(problem: &Problem) -> Self {
        let place = Place {
            folder: problem.folder.clone(),
            path: problem.path.clone(),
            uid: problem.uid,
            retry_at: problem.retry_at,
        };
        Self { place: Box::new(place), ..Self::new(Exit::Partial, problem.code, &problem.message, &problem.hint) }
    }

    /// Both sides and the database are not equal.
    pub(super) fn differences(message: String, hint: String) -> Self {
        Self::new(Exit::Partial, "differences", message, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::paths::Places;

    pub(super) fn account() -> Account {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(
            &file,
            "[accounts.work]\nhost = \"imap.example.org\"\nuser = \"me\"\npassword_command = \"p\"\n",
        )
        .unwrap();
        let places = Places { home: "/home/me".into(), config: file.clone(), state: "/state".into() };
        Config::load(&file, &places).unwrap().accounts.remove(0)
    }

    #[test]
    fn every_failure_has_its_exit_code_and_word() {
        let remote = |kind| Failure::Remote(RemoteError::new(kind, "x"));
        let local = |kind| Failure::Local(LocalError { kind, cause: "x".into() });
        let state = |corrupt| Failure::State(StateError { corrupt, cause: "x".into() });
        for (failure, exit, code) in [
            (remote(RemoteErrorKind::Login), 3, "login-refused"),
            (remote(RemoteErrorKind::Unreachable), 4, "unreachable"),
            (remote(RemoteErrorKind::Refused), 4, "server-refused"),
            (remote(RemoteErrorKind::Local), 7, "system"),
            (local(LocalErrorKind::Full), 7, "disk-full"),
            (local(LocalErrorKind::Unusable), 7, "maildir-unusable"),
            (state(true), 7, "database-corrupt"),
            (state(false), 7, "database-unusable"),
        ] {
            let trouble = Trouble::failure(&account(), &failure, Rest::Untouched);
            assert_eq!((trouble.exit.code(), trouble.code, trouble.is_hold()), (exit, code, false));
            assert_eq!(trouble.message, "x; nothing was changed");
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading x")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(whole(&Outer(std::io::Error::other("disk gone"))), "reading x: disk gone");
    }
}
