//! Listening for changes: NOTIFY for all mailboxes where it is offered (RFC 5465), else IDLE on one (RFC 2177).

use std::time::Duration;

use super::ImapStore;
use super::command::Command;
use super::error::Error;
use super::names::Names;
use super::response::Untagged;
use super::select::Selection;
use crate::model::{MailboxName, ModSeq};
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
    /// Something in this mailbox, or the mailbox itself; with its HIGHESTMODSEQ now, if that was told.
    Mailbox(MailboxName, Option<ModSeq>),
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
    Change::Mailbox(MailboxName::inbox(), None)
}

/// Returns what changed according to untagged data.
fn change(data: &Untagged, names: &Names, reach: Reach, mailbox: &MailboxName) -> Option<Change> {
    let named = |raw: &[u8], now| names.find(raw).cloned().map_or(Change::Somewhere, |name| Change::Mailbox(name, now));
    match data {
        Untagged::Exists(_) | Untagged::Expunge | Untagged::Fetch(_) | Untagged::Vanished { .. } => {
            Some(if reach == Reach::One { Change::Mailbox(mailbox.clone(), None) } else { Change::Somewhere })
        }
        Untagged::MailboxStatus(status) => Some(named(&status.name, status.mod_seq)),
        // The inbox neither comes nor goes: this answers us.
        Untagged::List(listed) => Some(named(&listed.name, None)).filter(|change| *change != inbox()),
        Untagged::Status(status) if status.code_name() == "NOTIFICATIONOVERFLOW" => Some(Change::Somewhere),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::{Step, block_on, name, scripted};
    use crate::store::RemoteErrorKind;

    /// Listens once to a server that plays this script.
    fn listen(
        capabilities: &[&str],
        patience: Duration,
        script: Vec<Step>,
    ) -> (Reach, Vec<Change>, Option<RemoteError>) {
        block_on(async {
            let (mut store, server) = scripted(capabilities, script);
            store.names = Names::read(None, &[listed("INBOX"), listed("a/b")]).0;
            let mut watch = store.watch(MailboxName::inbox(), true, patience).await.unwrap();
            let mut heard = Vec::new();
            let ended = watch.listen(&mut |change| heard.push(change)).await;
            server.await.unwrap();
            (watch.reach(), heard, ended.err())
        })
    }

    fn listed(name: &str) -> super::super::response::Listed {
        super::super::response::Listed { attributes: Vec::new(), separator: Some(b'/'), name: name.as_bytes().to_vec() }
    }

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn notify_tells_of_every_mailbox_and_what_it_can_not_name_is_somewhere() {
        let script = vec![
            (EVENTS, "m1 BAD no FlagChange\r\n"),
            (FEWER_EVENTS, "$ OK x\r\n"),
            (
                "IDLE",
                "+ idling\r\n* STATUS a/b (HIGHESTMODSEQ 9)\r\n* LIST () \"/\" INBOX\r\n* OK Still here\r\n\
                 * STATUS new (MESSAGES 1)\r\n* OK [NOTIFICATIONOVERFLOW] x\r\n",
            ),
            ("DONE", "m3 OK x\r\n"),
            (REFRESH, "* LIST () \"/\" INBOX\r\n$ OK x\r\n"),
        ];
        let (reach, heard, error) = listen(&["IDLE", "NOTIFY", "CONDSTORE"], SHORT, script);
        assert!(error.is_none(), "{error:?}");
        let expected = [Change::Mailbox(name("a/b"), ModSeq::new(9)), Change::Somewhere, Change::Somewhere];
        assert_eq!((reach, heard.as_slice()), (Reach::All, &expected[..]));
    }

    #[test]
    fn without_notify_one_mailbox_is_heard() {
        let selected = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
        let script = vec![
            ("EXAMINE \"INBOX\"", selected),
            ("IDLE", "+ idling\r\n* 4 EXISTS\r\n* 1 EXPUNGE\r\n* 1 RECENT\r\n"),
            ("DONE", "m2 OK x\r\n"),
        ];
        let (reach, heard, error) = listen(&["IDLE"], SHORT, script);
        assert!(error.is_none(), "{error:?}");
        assert_eq!((reach, heard.len()), (Reach::One, 2));
        assert_eq!(heard[0], inbox());
    }

    #[test]
    fn a_server_that_does_not_answer_done_or_refuses_to_idle_is_an_error() {
        let selected = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
        for (begin, end, kind) in [
            ("+ idling\r\n", "", RemoteErrorKind::Unreachable),
            ("+ idling\r\n* BYE restart\r\n", "", RemoteErrorKind::Unreachable),
            ("$ NO not now\r\n", "never", RemoteErrorKind::Refused),
        ] {
            let mut script = vec![("EXAMINE \"INBOX\"", selected), ("IDLE", begin)];
            script.extend((end != "never").then_some(("DONE", end)));
            let (_, _, error) = listen(&["IDLE"], SHORT, script);
            assert_eq!(error.unwrap().kind, kind, "{begin:?}");
        }
    }
}
