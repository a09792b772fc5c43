//! The remote side: IMAP4rev1 and rev2, with every extension optional.
//!
//! From the bottom up: `wire` frames, `token` and `response` read, `command` sends bursts and matches answers;
//! `connect`, `tls`, `sasl` and `login` (through async-imap, behind `gate`) bring a connection about; one file per verb
//! of [`RemoteStore`] does the rest.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

mod ahead;
mod append;
mod capability;
mod command;
mod compress;
mod connect;
mod create;
mod date;
mod deflate;
mod delete;
mod errands;
mod error;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
mod gauge;
mod identify;
mod lanes;
mod list;
mod login;
mod modify;
mod moves;
mod names;
mod observe;
mod patience;
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

use ahead::{Ahead, NOT_AHEAD};
use capability::Capabilities;
use command::{Command, Connection};
pub use compress::Compress;
use compress::Outlook;
use error::Error;
use list::{Asked, Heard};
use names::Names;
use select::Selected;
pub use watch::{Change, Reach, Watch};

use crate::model::{FlagDelta, MailboxName, Quota, Role, UidSet, UidValidity, Watermark};
use crate::reconcile::snapshot::{RemoteListing, RemoteRequest};
use crate::store::{
    BodySink, Expunged, FlagChanges, Identities, Messages, Observed, RemoteError, RemoteStore, StoredFlags, Traffic,
    Transfer, Uploads, expunge_one_by_one, move_one_by_one, store_one_by_one,
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
    /// When to compress.
    pub compress: Compress,
    /// Extensions not to use whatever the server says, in upper case. One that it doesn't have changes nothing.
    pub disable: Vec<String>,
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

/// How long a connection that was kept may be silent before another is made.
const RENEWAL: Duration = Duration::from_secs(5);

/// How long the connection may take to carry our goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often a run goes on over a new connection where the server closed one on selecting a mailbox.
const RECONNECTIONS: u8 = 3;

/// An IMAP account over one connection.
#[derive(Debug)]
pub struct ImapStore {
    connection: Connection,
    capabilities: Capabilities,
    names: Names,
    /// The burst that follows the log-in has been sent.
    introduced: bool,
    /// The server can't stand what comes behind the log-in.
    not_ahead: bool,
    /// The server said that QRESYNC is enabled.
    qresync: bool,
    /// The next listing asks how full the account is,
    asks_quota: bool,
    /// and this the server said in this run.
    quota: Option<Quota>,
    /// How many messages of a mailbox the server shows at most, if that is not all.
    window: Option<u32>,
    /// It offers email ids, and does not understand what asks for them.
    refuses_email_ids: bool,
    selected: Option<Selected>,
    /// A mailbox other than the inbox may be selected, be it for changes or not.
    within: bool,
    /// The mailboxes whose messages are to be changed next, in this order.
    upcoming: VecDeque<MailboxName>,
    /// The looks that follow once the next changes are made.
    next_looks: Vec<(MailboxName, Watermark)>,
    /// A listing follows once the next looks are taken.
    lists_next: bool,
    /// What a listing that went along with looks brought, and how many commands had been sent by then.
    went_along: Option<(Asked, Heard, u64)>,
    outlook: Outlook,
    /// How to make this connection again, and how often this run may.
    settings: Option<Box<Settings>>,
    reconnections: u8,
    /// How to make further connections, if there may be any,
    others: Option<Box<Settings>>,
    /// and what went over those that were made, and over those that were lost.
    elsewhere: Traffic,
    /// What went over this one in earlier runs.
    before: Traffic,
}

/// Connects and logs in.
///
/// # Errors
///
/// `Login` if the server refuses the user or offers no way to log in, else `Unreachable`.
pub async fn connect(settings: &Settings) -> Result<ImapStore, RemoteError> {
    connect_recalling(settings, &Recalled::default()).await
}

/// What is known of an account before its server says anything.
#[derive(Debug, Clone, Default)]
pub struct Recalled {
    /// What was recorded of what the server can do.
    pub capabilities: String,
    /// The server is going to be asked at once how full the account is.
    pub asks_quota: bool,
}

/// As [`connect`]. With what was recorded of what the server can do, folders may be asked for before it says that again. One
/// that ends the connection over it is reached once more, without.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_recalling(settings: &Settings, recalled: &Recalled) -> Result<ImapStore, RemoteError> {
    let questions = |capabilities: &Capabilities| list::first_questions(capabilities, recalled.asks_quota);
    connect_asking(settings, &recalled.capabilities, questions).await
}

/// Connects, and asks something behind the log-in of a server that could do this when it was last asked.
async fn connect_asking(
    settings: &Settings,
    recalled: &str,
    questions: impl FnOnce(&Capabilities) -> Vec<Command>,
) -> Result<ImapStore, RemoteError> {
    let doing = || format!("connecting to {}", settings.host);
    let (ahead, mut sent) = (ahead(settings, recalled, questions), false);
    let mut logged_in = Box::pin(login::log_in(settings, ahead.as_ref(), &mut sent)).await;
    let is_cut = matches!(logged_in, Err(Error::Lost(_) | Error::Garbled(_) | Error::Silent(_)));
    if sent && is_cut {
        sent = false;
        logged_in = Box::pin(login::log_in(settings, None, &mut sent)).await;
    }
    let logged_in = logged_in.map_err(|error| error.doing(doing()))?;
    let connection = Connection::with_ahead(logged_in.wire, ahead.filter(|_| sent));
    let mut store = ImapStore::new(connection, logged_in.capabilities);
    store.not_ahead = is_cut || is_not_ahead(recalled);
    store.window = quirk::window(&settings.host);
    store.connection.set_one_at_a_time(quirk::one_at_a_time(&settings.host));
    store.settings = Some(Box::new(settings.clone()));
    store.others = (settings.connections > 1).then(|| Box::new(settings.clone()));
    let begun = store.begin_compression(settings.compress, logged_in.to_this_machine).await;
    begun.map_err(|error| error.doing(doing()))?;
    Ok(store)
}

fn is_not_ahead(capabilities: &str) -> bool {
    capabilities.split(' ').any(|word| word == NOT_AHEAD)
}

/// Returns what can be sent behind the log-in. Where everything is compressed the server has to be asked for that first.
fn ahead(
    settings: &Settings,
    capabilities: &str,
    questions: impl FnOnce(&Capabilities) -> Vec<Command>,
) -> Option<Ahead> {
    if capabilities.is_empty()
        || is_not_ahead(capabilities)
        || settings.compress == Compress::On
        || quirk::one_at_a_time(&settings.host)
    {
        return None;
    }
    let words: Vec<String> = capabilities.split(' ').map(str::to_owned).collect();
    let capabilities = login::usable(Capabilities::new(&words), settings);
    let questions = questions(&capabilities);
    Ahead::new(capabilities, &questions).filter(|_| !questions.is_empty())
}

impl ImapStore {
    fn new(connection: Connection, capabilities: Capabilities) -> Self {
        let (names, upcoming) = (Names::default(), VecDeque::new());
        Self {
            connection,
            capabilities,
            names,
            introduced: false,
            not_ahead: false,
            qresync: false,
            asks_quota: false,
            quota: None,
            window: None,
            refuses_email_ids: false,
            selected: None,
            within: false,
            upcoming,
            next_looks: Vec::new(),
            lists_next: false,
            went_along: None,
            outlook: Outlook::default(),
            settings: None,
            reconnections: RECONNECTIONS,
            others: None,
            elsewhere: Traffic::default(),
            before: Traffic::default(),
        }
    }

    /// Returns what the server says it can do, in upper case, without what the settings disable.
    pub fn capabilities(&self) -> Vec<String> {
        self.capabilities.words().map(str::to_owned).collect()
    }

    /// Makes a connection that was kept ready for another run: nothing is taken for known any more of what may have changed
    /// since.
    ///
    /// # Errors
    ///
    /// `Unreachable` if it can't be used.
    pub async fn renew(&mut self) -> Result<(), RemoteError> {
        (self.before, self.elsewhere) = (self.connection.wire().traffic(), Traffic::default());
        (self.selected, self.reconnections) = (None, RECONNECTIONS);
        (self.asks_quota, self.quota) = (false, None);
        self.upcoming.clear();
        (self.next_looks, self.lists_next, self.went_along) = (Vec::new(), false, None);
        let mut ignore = |_, _| {};
        let noop = self.connection.run(vec![Command::new("NOOP")], &mut ignore);
        let answered = tokio::time::timeout(RENEWAL, noop).await.unwrap_or(Err(Error::Silent(RENEWAL)));
        answered.map(drop).map_err(|error| error.doing("going on with a connection"))
    }

    /// Goes on over a new connection, no mailbox selected. Returns false if there is none to be had.
    async fn reconnect(&mut self) -> bool {
        let Some(settings) = self.settings.clone().filter(|_| self.reconnections > 0) else { return false };
        self.reconnections -= 1;
        let connected = Box::pin(connect(&settings)).await.map_err(|error| error.to_string());
        let introduced = match connected {
            Ok(mut new) => {
                new.introduce_with(self.names.clone()).await.map(|()| new).map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        match introduced {
            Ok(new) => self.go_on_with(new),
            Err(error) => {
                tracing::info!("no new connection: {error}");
                return false;
            }
        }
        true
    }

    /// Takes over the connection of another store, and what depends on it.
    fn go_on_with(&mut self, new: ImapStore) {
        (self.elsewhere, self.before) = (self.traffic(), Traffic::default());
        (self.connection, self.capabilities, self.qresync) = (new.connection, new.capabilities, new.qresync);
        (self.selected, self.within, self.went_along) = (None, false, None);
        self.outlook.go_on_with(&new.outlook);
    }

    /// Says goodbye and closes the connection. Everything sent was answered, so the server's goodbye is not waited for.
    pub async fn logout(self) {
        if tokio::time::timeout(GOODBYE, self.connection.say_goodbye()).await.is_err() {
            tracing::debug!("the server did not take LOGOUT");
        }
    }
}

/// Says of each error which mailbox it is about.
fn each<T>(
    what: &str,
    messages: &[Messages],
    outcome: Result<Vec<Result<T, Error>>, Error>,
) -> Result<Vec<Result<T, RemoteError>>, RemoteError> {
    let doing = |of: &Messages| format!("{what} {}", of.mailbox);
    match (outcome, messages) {
        (Err(error), [only]) => Err(error.doing(doing(only))),
        (Err(error), _) => Err(error.doing(format!("{what} several folders"))),
        (Ok(parts), _) => {
            Ok(parts.into_iter().zip(messages).map(|(part, of)| part.map_err(|error| error.doing(doing(of)))).collect())
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

    async fn identify_all(
        &mut self,
        messages: &[Messages],
        whole: bool,
    ) -> Result<Vec<Result<Identities, RemoteError>>, RemoteError> {
        let identified = self.identify_messages(messages, whole).await;
        each("identifying messages in", messages, identified)
    }

    async fn fetch(
        &mut self,
        messages: &[Messages],
        sink: &mut dyn BodySink,
    ) -> Result<Vec<Result<(), RemoteError>>, RemoteError> {
        let fetched = self.fetch_messages(messages, sink).await;
        each("fetching messages from", messages, fetched)
    }

    const PART: usize = 200;

    async fn append(&mut self, uploads: &mut dyn Uploads) -> Result<(), RemoteError> {
        self.append_messages(uploads).await
    }

    fn about_to_change(&mut self, mailboxes: Vec<MailboxName>) {
        self.upcoming = mailboxes.into();
    }

    fn about_to_look(&mut self, looks: Vec<(MailboxName, Watermark)>) {
        self.next_looks = looks;
    }

    fn about_to_list(&mut self) {
        self.lists_next = true;
    }

    fn ask_quota(&mut self) {
        self.asks_quota = true;
    }

    fn quota(&self) -> Option<Quota> {
        self.quota
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

    async fn store_all(&mut self, all: &[FlagChanges]) -> Vec<Result<StoredFlags, RemoteError>> {
        if !self.stores_in_one_burst() {
            return store_one_by_one(self, all).await;
        }
        let doing = |of: &FlagChanges| format!("changing flags in {}", of.mailbox);
        answers(all, self.change_flags_in_all(all).await, doing)
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

    async fn move_all(&mut self, moves: &[(Messages, MailboxName)]) -> Vec<Result<Transfer, RemoteError>> {
        if !self.moves_in_one_burst() {
            return move_one_by_one(self, moves).await;
        }
        let doing = |(messages, target): &(Messages, MailboxName)| {
            format!("moving messages from {} to {target}", messages.mailbox)
        };
        answers(moves, self.move_all_messages(moves).await, doing)
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

    async fn expunge_all(&mut self, messages: &[Messages]) -> Vec<Result<Expunged, RemoteError>> {
        if !self.expunges_in_one_burst() {
            return expunge_one_by_one(self, messages).await;
        }
        let doing = |messages: &Messages| format!("expunging messages in {}", messages.mailbox);
        answers(messages, self.expunge_all_messages(messages).await, doing)
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
        let (now, before, elsewhere) = (self.connection.wire().traffic(), &self.before, &self.elsewhere);
        Traffic {
            bytes_in: now.bytes_in - before.bytes_in + elsewhere.bytes_in,
            bytes_out: now.bytes_out - before.bytes_out + elsewhere.bytes_out,
            round_trips: now.round_trips - before.round_trips + elsewhere.round_trips,
        }
    }
}

/// Says of each error what was being done. One that all failed with is told of the first.
fn answers<O, T>(
    orders: &[O],
    results: Result<Vec<Result<T, Error>>, Error>,
    doing: impl Fn(&O) -> String,
) -> Vec<Result<T, RemoteError>> {
    match results {
        Ok(results) => {
            results.into_iter().zip(orders).map(|(done, of)| done.map_err(|error| error.doing(doing(of)))).collect()
        }
        Err(error) => orders.first().map(|first| Err(error.doing(doing(first)))).into_iter().collect(),
    }
}
