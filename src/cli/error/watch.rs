//! The words of `mailtide watch`.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::Trouble;
use crate::cli::exit::Exit;
use crate::config::Account;
use crate::maildir::WatchError;
use crate::store::RemoteError;

/// What IDLE means for the other folders.
const BY_IDLE: &str =
    "folders other than INBOX and those that watch.folders names in full are looked at every watch.poll";

impl Trouble {
    /// Another daemon is at work.
    pub(in crate::cli) fn watched_already(state_dir: &Path) -> Self {
        let message = format!("another mailtide watch is running with the state directory {}", state_dir.display());
        Self::new(Exit::Busy, "watched-already", message, "stop it first: one watches all accounts")
    }

    /// The daemon is there and can't be asked.
    pub(in crate::cli) fn daemon_unheard(socket: &Path, error: &dyn Display) -> Self {
        let message = format!("mailtide watch gives no answer through {}: {error}", socket.display());
        Self::new(Exit::Machine, "daemon-unheard", message, "start mailtide watch again").at_path(socket.display())
    }

    /// The socket can't be made.
    pub(in crate::cli) fn no_socket(socket: &Path, error: &std::io::Error) -> Self {
        let message = format!("creating the socket {}: {error}", socket.display());
        let hint = "make its directory writable, or choose another with state_dir, whose path is not so long";
        Self::new(Exit::Machine, "no-socket", message, hint).at_path(socket.display())
    }

    /// The configuration read again names another state directory.
    pub(in crate::cli) fn moved_state_dir(now: &Path) -> Self {
        let message = format!(
            "state_dir has changed; until it is started again, mailtide watch goes on with {}, and \
                               with the configuration of before",
            now.display()
        );
        Self::new(Exit::Config, "state-dir-changed", message, "stop mailtide watch and start it again")
    }

    /// The server can't be listened to.
    pub(in crate::cli) fn deaf(account: &Account, error: &RemoteError, wait: Duration) -> Self {
        let wait = wait.as_secs().max(1);
        let server = &account.server;
        let message = format!("{}; tried again after {wait} s", super::whole(error));
        let hint = format!("nothing to be done, unless it goes on; the server is {}:{}", server.host, server.port);
        Self::new(Exit::Network, "not-listening", message, hint)
    }

    /// The server offers NOTIFY and does not tell everything.
    pub(in crate::cli) fn untold() -> Self {
        let message = "the server offers NOTIFY and kept a change to itself; from now on IDLE is used";
        Self::new(Exit::Partial, "notify-silent", message, BY_IDLE)
    }

    /// The server offers NOTIFY and can't keep it up.
    pub(in crate::cli) fn unable(error: &RemoteError) -> Self {
        let message = format!("{}; until the connection is made anew IDLE is used", super::whole(error));
        Self::new(Exit::Partial, "notify-refused", message, BY_IDLE)
    }

    /// The Maildir can't be watched.
    pub(in crate::cli) fn unwatched(account: &Account, error: &WatchError) -> Self {
        let poll = account.watch.poll.as_secs();
        let root = account.maildir.root.display();
        let message = format!("{error}; changes in {root} are found every {poll} s");
        let hint = match error {
            WatchError::Limit => {
                "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl), or set watch.poll lower"
            }
            WatchError::Other(_) => "make sure that it can be read, or set watch.poll lower",
        };
        Self::new(Exit::Partial, "maildir-unwatched", message, hint)
    }

    /// The part that keeps an account in step has ended by itself.
    pub(in crate::cli) fn keeper_ended(account: &str) -> Self {
        let message = format!("what keeps {account} in step has ended, which it never should; nothing was lost by it");
        Self::new(Exit::Machine, "internal", message, "start mailtide watch again, and report this with what -v prints")
    }
}
