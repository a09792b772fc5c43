//! The words for what `mailtide restore` can't do.

use super::Trouble;
use crate::cli::exit::Exit;
use crate::cli::render::count;
use crate::cli::shelf::{Filter, Id};
use crate::config::Account;
use crate::reconcile::report::Reason;

impl Trouble {
    /// A signal stopped a restore.
    pub(in crate::cli) fn restore_stopped(exit: Exit) -> Self {
        let message = "stopped by a signal before it was done; what is listed as restored is back, the rest is kept";
        Self::new(exit, "interrupted", message, "restore again for the rest")
    }

    /// What is to be restored can't be found out.
    pub(in crate::cli) fn restore_not_begun(exit: Exit) -> Self {
        let message = "not every account could be looked at; nothing was brought back";
        Self::new(exit, "not-begun", message, "name the account meant with --account")
    }

    /// The command line names a removed message that there is not.
    pub(in crate::cli) fn unknown_id(id: &Id, filter: &Filter) -> Self {
        let narrowed = filter.folder.is_some() || filter.since.is_some();
        let among = if narrowed { " among what --folder and --since select" } else { "" };
        let message = format!("there is nothing to bring back as {id}{among}; nothing was changed");
        let hint = "mailtide restore lists what there is; what is older than sync.keep_deleted is gone";
        Self::new(Exit::Config, "unknown-id", message, hint)
    }

    /// The command line names a removed message that several accounts have.
    pub(in crate::cli) fn ambiguous_id(id: &Id, accounts: &[&str]) -> Self {
        let message =
            format!("several accounts have something called {id}: {}; nothing was changed", accounts.join(", "));
        Self::new(Exit::Config, "ambiguous-id", message, "say which is meant with --account")
    }

    /// The command line names a removed message of which nobody knows where it lay.
    pub(in crate::cli) fn no_folder(id: &Id) -> Self {
        let message = format!("the folder that {id} lay in is unknown; nothing was changed");
        Self::new(Exit::Config, "no-folder", message, "say with --folder where to put it")
    }

    /// Messages that were not brought back with others, because they are not gone.
    pub(in crate::cli) fn elsewhere(ids: &[&Id]) -> Self {
        let what = count(ids.len() as u64, "message was", "messages were");
        let message = format!("{what} not brought back: the Maildir has the same again, or in another folder");
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let hint = format!("to have them twice: mailtide restore {}", ids.join(" "));
        Self::new(Exit::Partial, "elsewhere", message, hint)
    }

    /// There is no Maildir to bring messages back into.
    pub(in crate::cli) fn no_root(account: &Account) -> Self {
        let root = account.maildir.root.display();
        let message = format!("{root} is missing, not mounted or no Maildir of mailtide; nothing was brought back");
        let hint = "mount it, put it back, or let `mailtide sync` make it; then restore again";
        Self::new(Exit::Held, Reason::RootMissing.as_str(), message, hint)
    }
}
