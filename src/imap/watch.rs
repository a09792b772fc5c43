//! Listening for changes: NOTIFY for all mailboxes where it is offered (RFC 5465), else IDLE on one (RFC 2177).

use std::time::Duration;

use super::ImapStore;
use super::command::Command;
use super::error::Error;
use super::names::Names;
use super::response::Untagged;
use super::select::Selection;
use crate::model::MailboxName;
use crate::store::RemoteError;

/// IDLE is begun anew after this time at the latest: servers may end a connection that is silent for 30 minutes
/// (RFC 2177).
const LONGEST_IDLE: Duration = Duration::from_secs(28 * 60);

/// Events of NOTIFY that mean a change: messages, flags, folders (RFC 5465 section 5).
const EVENTS: &str = "NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))";

/// Without FlagChange, which servers need not know for mailboxes that are not selected.
const FEWER_EVENTS: &str = "NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))";

/// Dovecot 2.3 learns of a folder renamed by another client, and tells it, only once somebody asks for any folder.
const REFRESH: &str = "LIST \"\" INBOX";

/// How far a [`Watch`] hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every mailbox of the user.
    All,
    /// One mailbox.
    One,
    /// Nothing: the server has neither NOTIFY nor IDLE.
    Nothing,
}

/// What a server told of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something in this mailbox, or the mailbox itself.
    Mailbox(MailboxName),
    /// Something somewhere: the server could not say all (NOTIFICATIONOVERFLOW), or named what is no mailbox.
    Somewhere,
}

/// A connection that only listens.
#[derive(Debug)]
pub struct Watch {
    store: ImapStore,
    mailbox: MailboxName,
    reach: Reach,
    probe: Duration,
}

impl ImapStore {
    /// Starts to listen: to all mailboxes if `all` is set and the server can do that, else to one. A silent connection
    /// is tried often enough for a broken one to be noticed within `patience`.
    ///
    /// # Errors
    /// The connection is lost, or the mailbox can't be opened.
    pub async fn watch(mut self, mailbox: MailboxName, all: bool, patience: Duration) -> Result<Watch, RemoteError> {
        let reach = self.begin_watching(&mailbox, all).await;
        let reach = reach.map_err(|error| error.doing("starting to listen for changes"))?;
        // The other half is the answer's.
        self.connection.wire_mut().set_timeout(patience / 2);
        Ok(Watch { store: self, mailbox, reach, probe: (patience / 2).min(LONGEST_IDLE) })
    }

    async fn begin_watching(&mut self, mailbox: &MailboxName, all: bool) -> Result<Reach, Error> {
        self.introduce().await?;
        if !self.capabilities.has("IDLE") {
            return Ok(Reach::Nothing);
        }
        if all && self.capabilities.has("NOTIFY") {
            let events: &[&str] = if self.capabilities.mod_seq() { &[EVENTS, FEWER_EVENTS] } else { &[FEWER_EVENTS] };
            for events in events {
                let answers = self.connection.run(vec![Command::new(*events)], &mut |_, _| {}).await?;
                if answers.iter().all(super::response::Status::is_ok) {
                    return Ok(Reach::All);
                }
            }
            tracing::debug!("the server offers NOTIFY and refuses it");
        }
        let command = self.select_command("EXAMINE", mailbox, None)?;
        self.about_to_select();
        let mut selection = Selection::default();
        let answers = self.connection.run(vec![command], &mut |_, data: Untagged| selection.take(&data)).await?;
        selection.answer = answers.into_iter().next();
        selection.verified()?;
        Ok(Reach::One)
    }
}

impl Watch {
    /// Returns how far it hears.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Listens for a while, and makes sure then that the server is still there. Tells every change as it is heard.
    ///
    /// # Errors
    /// The connection is lost or silent, or can't listen. It is of no further use.
    pub async fn listen(&mut self, tell: &mut dyn FnMut(Change)) -> Result<(), RemoteError> {
        let (store, reach, mailbox) = (&mut self.store, self.reach, &self.mailbox);
        let names = &store.names;
        let mut hear = |_, data: Untagged| {
            if let Some(change) = change(&data, names, reach, mailbox) {
                tell(change);
            }
        };
        let connection = &mut store.connection;
        let listened = async {
            let status = connection.idle(self.probe, &mut hear).await?;
            if !status.is_ok() {
                return Err(Error::Refused(status));
            }
            if reach == Reach::All {
                connection.run(vec![Command::new(REFRESH)], &mut hear).await?;
            }
            Ok(())
        };
        listened.await.map_err(|error: Error| error.doing("listening for changes"))
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.store.logout().await;
    }
}

fn inbox() -> Change {
    Change::Mailbox(MailboxName::inbox())
}

/// Returns what changed according to untagged data.
fn change(data: &Untagged, names: &Names, reach: Reach, mailbox: &MailboxName) -> Option<Change> {
    let named = |raw: &[u8]| names.find(raw).cloned().map_or(Change::Somewhere, Change::Mailbox);
    match data {
        Untagged::Exists(_) | Untagged::Expunge | Untagged::Fetch(_) | Untagged::Vanished { .. } => {
            Some(if reach == Reach::One { Change::Mailbox(mailbox.clone()) } else { Change::Somewhere })
        }
        Untagged::MailboxStatus(status) => Some(named(&status.name)),
        // The inbox neither comes nor goes: this answers us.
        Untagged::List(listed) => Some(named(&listed.name)).filter(|change| *change != inbox()),
        Untagged::Status(status) if status.code_name() == "NOTIFICATIONOVERFLOW" => Some(Change::Somewhere),
        _ => None,
    }
}
