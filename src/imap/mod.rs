//! The remote side: IMAP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

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

use crate::model::{FlagDelta, FlagSet, Identity, MailboxName, Role, Uid, UidSet, UidValidity};
use crate::reconcile::snapshot::{RemoteListing, RemoteRequest};
use crate::store::{
    Append, Appended, BodySink, Expunged, Observed, RemoteError, RemoteErrorKind, RemoteStore, Traffic, Transfer,
};

/// STUB
#[derive(Debug)]
pub struct ImapStore;

/// STUB
pub async fn connect(settings: &Settings) -> Result<ImapStore, RemoteError> {
    let address = (settings.host.as_str(), settings.port);
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Ok(ImapStore),
        Err(error) => Err(RemoteError {
            kind: RemoteErrorKind::Unreachable,
            cause: format!("connecting to {}:{}: {error}", settings.host, settings.port).into(),
        }),
    }
}

impl ImapStore {
    /// STUB
    pub fn capabilities(&self) -> Vec<String> {
        vec!["IMAP4rev1".into()]
    }

    /// STUB
    pub async fn logout(self) {
        tokio::task::yield_now().await;
    }
}

type Answer<T> = Result<T, RemoteError>;

impl RemoteStore for ImapStore {
    async fn list(&mut self) -> Answer<RemoteListing> {
        Ok(RemoteListing { mailboxes: BTreeMap::new(), rejected: Vec::new(), abilities: Default::default() })
    }
    async fn observe(&mut self, _: &[RemoteRequest]) -> Answer<Vec<Observed>> {
        Ok(Vec::new())
    }
    async fn identify(
        &mut self,
        _: &MailboxName,
        _: UidValidity,
        _: &UidSet,
        _: bool,
    ) -> Answer<BTreeMap<Uid, Identity>> {
        Ok(BTreeMap::new())
    }
    async fn fetch(&mut self, _: &MailboxName, _: UidValidity, _: &UidSet, _: &mut dyn BodySink) -> Answer<()> {
        Ok(())
    }
    async fn append(&mut self, _: &MailboxName, _: Vec<Append>) -> Answer<Vec<Appended>> {
        Ok(Vec::new())
    }
    async fn store_flags(
        &mut self,
        _: &MailboxName,
        _: UidValidity,
        _: &[(FlagDelta, UidSet)],
    ) -> Answer<BTreeMap<Uid, FlagSet>> {
        Ok(BTreeMap::new())
    }
    async fn copy(&mut self, _: &MailboxName, _: UidValidity, _: &UidSet, _: &MailboxName) -> Answer<Transfer> {
        Ok(Transfer::Unproven)
    }
    async fn move_to(&mut self, _: &MailboxName, _: UidValidity, _: &UidSet, _: &MailboxName) -> Answer<Transfer> {
        Ok(Transfer::Unproven)
    }
    async fn expunge(&mut self, _: &MailboxName, _: UidValidity, _: &UidSet) -> Answer<Expunged> {
        Ok(Expunged::Done)
    }
    async fn create(&mut self, _: &MailboxName, _: Option<Role>) -> Answer<()> {
        Ok(())
    }
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}
