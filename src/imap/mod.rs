//! The remote side: IMAP4rev1 and rev2, with every extension optional.
//!
//! From the bottom up: `wire` frames, `token` and `response` read, `command` sends bursts and matches answers;
//! `connect`, `tls`, `sasl` and `login` (through async-imap, behind `gate`) bring a connection about; one file per verb
//! of [`RemoteStore`] does the rest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

mod append;
mod capability;
mod command;
mod connect;
mod create;
mod date;
mod delete;
mod error;
mod fetch;
mod gate;
mod identify;
mod list;
mod login;
mod modify;
mod names;
mod observe;
mod quirk;
mod rename;
mod response;
mod sasl;
#[cfg(test)]
mod script;
mod select;
mod tls;
mod token;
mod transfer;
mod utf7;
mod watch;
mod wire;

use capability::Capabilities;
use command::{Command, Connection};
use names::Names;
use select::Selected;
pub use watch::{Change, Reach, Watch};

use crate::model::{FlagDelta, Identity, MailboxName, Role, Uid, UidSet, UidValidity};
use crate::reconcile::snapshot::{RemoteListing, RemoteRequest};
use crate::store::{
    Append, Appended, BodySink, Expunged, Observed, RemoteError, RemoteStore, StoredFlags, Traffic, Transfer,
};

/// How long to wait for commands that a lost connection left behind.
const LINGER: Duration = Duration::from_millis(250);

/// How to reach an account's server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name or address, as certificates are checked against it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Further certificates to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the one end-entity certificate (DER) to trust, instead of the chain and the name.
    pub tls_fingerprint: Option<[u8; 32]>,
    /// Allow an unprotected connection to other than loopback addresses.
    pub insecure_plaintext: bool,
    /// The longest wait for anything the server owes us.
    pub timeout: Duration,
    /// At most so many connections at once.
    pub connections: u8,
    /// User name.
    pub user: String,
    /// What proves it.
    pub credential: Credential,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS.
    StartTls,
    /// Not at all.
    None,
}

/// A secret to log in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A password.
    Password(SecretString),
    /// An OAuth2 access token.
    Token(SecretString),
}

/// How long the server gets to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// An IMAP account over one connection.
#[derive(Debug)]
pub struct ImapStore {
    connection: Connection,
    capabilities: Capabilities,
    names: Names,
    /// The burst that follows the log-in has been sent.
    introduced: bool,
    /// The server said that QRESYNC is enabled.
    qresync: bool,
    selected: Option<Selected>,
    /// A mailbox other than the inbox may be selected, be it for changes or not.
    within: bool,
}

/// Connects and logs in.
///
/// # Errors
///
/// `Login` if the server refuses the user or offers no way to log in, else `Unreachable`.
pub async fn connect(settings: &Settings) -> Result<ImapStore, RemoteError> {
    let doing = || format!("connecting to {}", settings.host);
    let logged_in = Box::pin(login::log_in(settings)).await.map_err(|error| error.doing(doing()))?;
    Ok(ImapStore::new(Connection::new(logged_in.wire), logged_in.capabilities))
}

impl ImapStore {
    fn new(connection: Connection, capabilities: Capabilities) -> Self {
        let names = Names::default();
        Self { connection, capabilities, names, introduced: false, qresync: false, selected: None, within: false }
    }

    /// Returns what the server says it can do, in upper case.
    pub fn capabilities(&self) -> Vec<String> {
        self.capabilities.words().map(str::to_owned).collect()
    }

    /// Says goodbye and closes the connection. A server that doesn't answer is not waited for.
    pub async fn logout(mut self) {
        let mut ignore = |_, _| {};
        let farewell = self.connection.run(vec![Command::new("LOGOUT")], &mut ignore);
        if tokio::time::timeout(GOODBYE, farewell).await.is_err() {
            tracing::debug!("the server did not answer LOGOUT");
        }
    }
}

impl RemoteStore for ImapStore {
    async fn list(&mut self) -> Result<RemoteListing, RemoteError> {
        self.list_mailboxes().await.map_err(|error| error.doing("listing folders"))
    }

    async fn observe(&mut self, requests: &[RemoteRequest]) -> Result<Vec<Observed>, RemoteError> {
        self.observe_mailboxes(requests).await.map_err(|error| error.doing("looking at folders"))
    }

    async fn identify(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        whole: bool,
    ) -> Result<BTreeMap<Uid, Identity>, RemoteError> {
        let identified = self.identify_messages(mailbox, validity, uids, whole).await;
        identified.map_err(|error| error.doing(format!("identifying messages in {mailbox}")))
    }

    async fn fetch(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        sink: &mut dyn BodySink,
    ) -> Result<(), RemoteError> {
        let fetched = self.fetch_messages(mailbox, validity, uids, sink).await;
        fetched.map_err(|error| error.doing(format!("fetching messages from {mailbox}")))
    }

    async fn append(&mut self, mailbox: &MailboxName, messages: Vec<Append>) -> Result<Vec<Appended>, RemoteError> {
        let appended = self.append_messages(mailbox, messages).await;
        appended.map_err(|error| error.doing(format!("uploading to {mailbox}")))
    }

    async fn store_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> Result<StoredFlags, RemoteError> {
        let stored = self.change_flags(mailbox, validity, changes).await;
        stored.map_err(|error| error.doing(format!("changing flags in {mailbox}")))
    }

    async fn copy(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let copied = self.transfer("UID COPY", mailbox, validity, uids, target).await;
        copied.map_err(|error| error.doing(format!("copying messages from {mailbox} to {target}")))
    }

    async fn move_to(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let moved = self.transfer("UID MOVE", mailbox, validity, uids, target).await;
        moved.map_err(|error| error.doing(format!("moving messages from {mailbox} to {target}")))
    }

    async fn expunge(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<Expunged, RemoteError> {
        let expunged = self.expunge_messages(mailbox, validity, uids).await;
        expunged.map_err(|error| error.doing(format!("expunging messages in {mailbox}")))
    }

    async fn create(&mut self, mailbox: &MailboxName, role: Option<Role>) -> Result<(), RemoteError> {
        let created = self.create_mailbox(mailbox, role).await;
        created.map_err(|error| error.doing(format!("creating folder {mailbox}")))
    }

    async fn delete(&mut self, mailbox: &MailboxName) -> Result<bool, RemoteError> {
        let deleted = self.delete_mailbox(mailbox).await;
        deleted.map_err(|error| error.doing(format!("deleting folder {mailbox}")))
    }

    async fn rename(
        &mut self,
        from: &MailboxName,
        to: &MailboxName,
        subscribed: &[MailboxName],
    ) -> Result<(), RemoteError> {
        let renamed = self.rename_mailbox(from, to, subscribed).await;
        renamed.map_err(|error| error.doing(format!("renaming folder {from} to {to}")))
    }

    async fn linger(&mut self) -> Result<(), RemoteError> {
        tokio::time::sleep(LINGER).await;
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.connection.wire().traffic()
    }
}
