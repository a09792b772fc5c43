//! The interfaces between the engine and the two sides and the database, in model types only.
//!
//! The sides are not symmetrical: the remote one speaks in UIDs and mod-sequences, the local one in unique names. The
//! engine runs alike on IMAP + Maildir + SQLite and on the simulator's in-memory sides.
//!
//! Three rules hold for every implementation. A method that could not look returns an error, never an empty answer. A
//! method that changes something is safe to repeat. A future dropped half-way leaves what a crash would leave.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::model::{
    FileStat, Fingerprint, FlagDelta, FlagSet, Identity, Keyword, KeywordLetters, MailboxId, MailboxName, MailboxRow,
    Marker, MessageHash, MessageId, MessageRow, PermanentFlags, Role, Side, Stamp, Timestamp, Tombstone, Uid, UidSet,
    UidValidity, UniqueName, Watermark,
};
use crate::reconcile::snapshot::{
    LocalEntry, LocalListing, LocalSnapshot, RemoteListing, RemoteRequest, RemoteSnapshot,
};

/// The cause under an error, for the words shown to the user.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What a remote error means to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// The server doesn't accept the user or the secret. Ends the account's run, exit 3.
    Login,
    /// The connection could not be made or was lost, or the server is unavailable. Ends the account's run, exit 4.
    Unreachable,
    /// The server answered NO or BAD, or something that can't be understood: this request alone failed.
    Refused,
    /// As `Refused`, but only for now: the mailbox is in use, the server is overloaded or asks for less.
    Busy,
    /// As `Refused`, and the server says that the mailbox does not exist (`[NONEXISTENT]`, `[TRYCREATE]`).
    NoSuchMailbox,
    /// As `Refused`, because the mailbox's UIDVALIDITY is not the one asked about. Nothing was done.
    UidValidityChanged,
    /// As `Refused`, because this message is too large for the server, or the user is over quota.
    TooLarge,
    /// As `Refused`, because the server can't take these bytes (a NUL where there is no BINARY).
    Unrepresentable,
    /// This machine could not read or write its part. Ends the account's run, exit 7.
    Local,
}

/// An error of the remote side.
#[derive(Debug)]
pub struct RemoteError {
    /// What it means to the engine.
    pub kind: RemoteErrorKind,
    /// What was being done, and the server's own words or the system's: for people.
    pub cause: Cause,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl From<LocalError> for RemoteError {
    fn from(error: LocalError) -> Self {
        Self { kind: RemoteErrorKind::Local, cause: Box::new(error) }
    }
}

/// What a local error means to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalErrorKind {
    /// The disk is full or over quota. Ends the account's run, exit 7.
    Full,
    /// The Maildir can't be used: permissions, I/O errors, read-only. Ends the account's run, exit 7.
    Unusable,
    /// This one message or folder can't be read or written; the rest can.
    Item,
    /// This file turned out to be no message: it is empty. Left alone without a word.
    NoMessage,
}

/// An error of the local side.
#[derive(Debug)]
pub struct LocalError {
    /// What it means to the engine.
    pub kind: LocalErrorKind,
    /// What was being done to which path, and the system's words.
    pub cause: Cause,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for LocalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// What a message's arrival brings besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedMessage {
    /// Its UID.
    pub uid: Uid,
    /// Its flags as sent with the body.
    pub flags: FlagSet,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
}

/// Takes messages as they arrive: `begin`, any number of `write`, then `finish` or `discard`. FETCH may bring the UID
/// after the body, so only `finish` tells which message it was.
pub trait BodySink {
    /// A body starts.
    fn begin(&mut self) -> Result<(), LocalError>;
    /// A part of it, as it is on the wire.
    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError>;
    /// It is complete.
    fn finish(&mut self, message: FetchedMessage) -> Result<(), LocalError>;
    /// It will not be completed, or was not asked for.
    fn discard(&mut self) -> Result<(), LocalError>;
}

/// Gives a message's bytes with CRLF line ends, piece by piece.
pub trait BodySource: fmt::Debug {
    /// Returns how many bytes [`BodySource::read`] gives in all.
    fn size(&self) -> u64;
    /// Returns true if a NUL is among the bytes, which only BINARY can carry.
    fn has_nul(&self) -> bool;
    /// Fills the buffer and returns how much of it; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LocalError>;
}

/// A message to be appended.
#[derive(Debug)]
pub struct Append {
    /// Its flags; only what the mailbox can store.
    pub flags: FlagSet,
    /// Its INTERNALDATE.
    pub date: Option<Timestamp>,
    /// Its bytes.
    pub body: Box<dyn BodySource>,
}

/// How an append ended.
#[derive(Debug)]
pub enum Appended {
    /// The server has it, under this UID.
    As(UidValidity, Uid),
    /// The server has it and did not say under which UID (no UIDPLUS).
    Somewhere,
    /// The server refused this message alone.
    Refused(RemoteError),
}

/// What a look at one mailbox brought.
#[derive(Debug)]
pub struct Observed {
    /// The mailbox asked about.
    pub mailbox: MailboxName,
    /// What was seen, or why nothing could be seen.
    pub outcome: Result<RemoteSnapshot, RemoteError>,
}

/// How a copy or move ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// COPYUID: UIDVALIDITY of the target, and each source's new UID. A source not named was not there.
    Proven(UidValidity, Vec<(Uid, Uid)>),
    /// The server said OK without COPYUID (no UIDPLUS).
    Unproven,
}

/// How an expunge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunged {
    /// The messages are gone.
    Done,
    /// They are flagged `\Deleted` but can't be expunged without others that are not ours (no UIDPLUS).
    Flagged,
}

/// Bytes and round trips of an account's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received, above TLS.
    pub bytes_in: u64,
    /// Bytes sent, above TLS.
    pub bytes_out: u64,
    /// Waits for the server that could not overlap with another.
    pub round_trips: u64,
}

/// The server side of an account.
///
/// Every method that names a mailbox and a UIDVALIDITY checks it before changing anything.
pub trait RemoteStore {
    /// Lists all mailboxes with their STATUS.
    fn list(&mut self) -> impl Future<Output = Result<RemoteListing, RemoteError>>;

    /// Observes mailboxes, in as few round trips as can be. Each answer stands alone: one mailbox that can't be looked
    /// at fails alone. A delta is given only if it is proven complete, else a full snapshot.
    fn observe(&mut self, requests: &[RemoteRequest]) -> impl Future<Output = Result<Vec<Observed>, RemoteError>>;

    /// Identifies messages by their headers, or (`whole`) by their whole content. UIDs that are gone are left out.
    fn identify(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        whole: bool,
    ) -> impl Future<Output = Result<BTreeMap<Uid, Identity>, RemoteError>>;

    /// Fetches messages into the sink without setting `\Seen`. Messages that are gone, or that the server has no body
    /// for, are left out.
    fn fetch(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        sink: &mut dyn BodySink,
    ) -> impl Future<Output = Result<(), RemoteError>>;

    /// Appends messages in order; as many answers as messages.
    fn append(
        &mut self,
        mailbox: &MailboxName,
        messages: Vec<Append>,
    ) -> impl Future<Output = Result<Vec<Appended>, RemoteError>>;

    /// Changes flags and returns what the server says the flags now are. A UID left out is gone.
    fn store_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> impl Future<Output = Result<BTreeMap<Uid, FlagSet>, RemoteError>>;

    /// Copies messages to another mailbox.
    fn copy(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> impl Future<Output = Result<Transfer, RemoteError>>;

    /// Moves messages to another mailbox; only where [`crate::reconcile::snapshot::Abilities::moves`].
    fn move_to(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> impl Future<Output = Result<Transfer, RemoteError>>;

    /// Flags messages `\Deleted` and expunges them, and nothing else.
    fn expunge(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> impl Future<Output = Result<Expunged, RemoteError>>;

    /// Creates a mailbox with its parents, with a role where the server can, and subscribes to it. One that exists
    /// already is no error.
    fn create(&mut self, mailbox: &MailboxName, role: Option<Role>) -> impl Future<Output = Result<(), RemoteError>>;

    /// Waits a moment, in which commands that a lost connection left behind may take effect.
    fn linger(&mut self) -> impl Future<Output = Result<(), RemoteError>>;

    /// Returns the traffic so far.
    fn traffic(&self) -> Traffic;
}

/// What the root of a Maildir looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// There is no such directory.
    Missing,
    /// A directory without a marker.
    Unmarked {
        /// Nothing at all is in it.
        empty: bool,
    },
    /// A directory with a marker.
    Marked(Marker),
}

/// A message written to `tmp`, complete, not yet visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// The name it has in `tmp`, and will have as a message.
    pub unique: UniqueName,
    /// The file.
    pub stat: FileStat,
    /// Its content.
    pub content: Fingerprint,
    /// Its Message-ID.
    pub message_id: Option<MessageHash>,
    /// Its size with CRLF line ends.
    pub wire_size: u64,
}

/// How a change of one message file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<T> {
    /// Done.
    Done(T),
    /// The file is no longer as it was observed: nothing was done, look again.
    Changed,
}

/// Where a file that left the Maildir can be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// The folder it lay in.
    pub mailbox: MailboxName,
    /// The name it had, with its flags.
    pub file: String,
    /// The name it has in the recoverable trash.
    pub kept_as: String,
    /// When it was removed.
    pub at: Timestamp,
}

/// The Maildir side of an account. All calls block, on the disk only.
pub trait LocalStore {
    /// Looks at the root and its marker.
    fn root(&mut self) -> Result<Root, LocalError>;

    /// Creates the root if it is missing, and writes its marker durably.
    fn mark(&mut self, marker: &Marker) -> Result<(), LocalError>;

    /// Lists all maildirs.
    fn list(&mut self) -> Result<LocalListing, LocalError>;

    /// Scans a maildir until a scan was quiet, at most five times. `letters` are the meanings last known.
    fn observe(&mut self, mailbox: &MailboxName, letters: &KeywordLetters) -> Result<LocalSnapshot, LocalError>;

    /// Returns true if any maildir changed since it was last listed or scanned, or appeared or vanished since. As long
    /// as none has, a file missing from one of them is in no other.
    fn is_stirred(&mut self) -> Result<bool, LocalError>;

    /// Reads a file and identifies its content.
    fn identify(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<(Identity, FileStat)>, LocalError>;

    /// Opens a file for uploading.
    fn read(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<Box<dyn BodySource>>, LocalError>;

    /// Creates a maildir with its parents, durably. One that exists already is no error.
    fn create(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Makes sure that these keywords have letters, durably, before any name bears one, and returns the map. Keywords
    /// beyond the capacity are left out.
    fn assign_letters(
        &mut self,
        mailbox: &MailboxName,
        known: &KeywordLetters,
        keywords: &BTreeSet<Keyword>,
    ) -> Result<KeywordLetters, LocalError>;

    /// Starts writing a message into the maildir's `tmp`.
    fn stage(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Writes a part of the staged message, given with CRLF line ends.
    fn stage_write(&mut self, wire: &[u8]) -> Result<(), LocalError>;

    /// Ends the staged message and sets its date.
    fn stage_finish(&mut self, date: Option<Timestamp>) -> Result<Staged, LocalError>;

    /// Removes the message being staged; none being staged is no error.
    fn stage_discard(&mut self) -> Result<(), LocalError>;

    /// Makes all staged messages durable, data and directory entries.
    fn sync_staged(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Makes a staged message visible with these flags, in `new` if it has none, never over an existing name. One
    /// that is no longer in `tmp` is `Changed`.
    fn publish(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError>;

    /// Makes the names of a maildir's `cur` and `new` durable.
    fn sync(&mut self, mailbox: &MailboxName) -> Result<(), LocalError>;

    /// Changes the flags on a file's name, if it still has the name observed. Letters without a meaning stay.
    fn set_flags(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        delta: &FlagDelta,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError>;

    /// Links or copies a file into the recoverable trash; the message stays where it is.
    fn keep(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        at: Timestamp,
    ) -> Result<Edit<Trashed>, LocalError>;

    /// Makes what was kept durable.
    fn sync_kept(&mut self) -> Result<(), LocalError>;

    /// Removes a file, if it still has the name observed.
    fn unlink(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<()>, LocalError>;

    /// Removes a file from the recoverable trash; one that is gone is no error.
    fn drop_kept(&mut self, kept_as: &str) -> Result<(), LocalError>;
}

/// An intent: a step begun but not yet known to be finished. Written before the deed, removed with its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A message staged in `tmp`, about to be made visible.
    Download {
        /// The mailbox.
        mailbox: MailboxId,
        /// The UIDVALIDITY it was fetched under.
        uid_validity: UidValidity,
        /// What the row will be: the flags are those fetched.
        row: NewMessage,
    },
    /// A message about to be sent.
    Append {
        /// The mailbox.
        mailbox: MailboxId,
        /// The mailbox's UIDVALIDITY before.
        uid_validity: UidValidity,
        /// The mailbox's UIDNEXT before: what was appended has no lower UID.
        uid_next: u32,
        /// The file, and what is sent of it. `uid` has no meaning yet.
        unique: UniqueName,
        /// Flags sent.
        flags: FlagSet,
        /// The date sent.
        date: Option<Timestamp>,
        /// Size with CRLF line ends.
        size: u64,
        /// Message-ID.
        message_id: Option<MessageHash>,
        /// Content.
        content: Fingerprint,
        /// The file as it was read.
        stat: FileStat,
    },
    /// Messages about to be copied, then removed: a move where the server has no MOVE.
    Copy {
        /// The mailbox they leave.
        mailbox: MailboxId,
        /// Its UIDVALIDITY.
        uid_validity: UidValidity,
        /// The messages.
        uids: UidSet,
        /// Where they go.
        target: MailboxName,
        /// The target's UIDVALIDITY and UIDNEXT before.
        before: (UidValidity, u32),
    },
}

/// An intent's row in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub i64);

/// A message row to be written: [`MessageRow`] without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its UID.
    pub uid: Uid,
    /// Its file; `None` for a tombstone.
    pub unique: Option<UniqueName>,
    /// Flags agreed on.
    pub flags: FlagSet,
    /// Why there is no file.
    pub tombstone: Option<Tombstone>,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
    /// The server's size.
    pub size: Option<u64>,
    /// Content.
    pub content: Option<Fingerprint>,
    /// Message-ID.
    pub message_id: Option<MessageHash>,
    /// The file.
    pub stat: Option<FileStat>,
}

/// A part of a plan set aside because it looks like an accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// The folder; `None` for the whole account.
    pub mailbox: Option<MailboxName>,
    /// The side on which mail is missing.
    pub side: Side,
    /// The reason, as in `--json`.
    pub reason: String,
    /// How many messages are concerned.
    pub count: u64,
    /// Since when.
    pub since: Timestamp,
}

/// An item that failed and is not to be tried before a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The file, or
    pub unique: Option<UniqueName>,
    /// the message, that failed.
    pub uid: Option<Uid>,
    /// The code, as in `--json`.
    pub code: String,
    /// What the user is told.
    pub message: String,
    /// When to try again; `None` for never.
    pub retry_at: Option<Timestamp>,
}

/// A change of the database. Records committed together take effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What a look at the server said about a mailbox.
    Looked {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its watermark; `None` asks for a full look next time.
        watermark: Option<Watermark>,
        /// What can be stored.
        permanent: PermanentFlags,
        /// No change is allowed.
        read_only: bool,
        /// The time, if it was a full look.
        full_look: Option<Timestamp>,
    },
    /// The UIDVALIDITY that the mailbox's rows belong to from now on.
    UidValidity(MailboxId, UidValidity),
    /// What LIST said about a mailbox.
    Listed(MailboxId, Option<Role>, Option<String>),
    /// The local name of a mailbox.
    LocalName(MailboxId, MailboxName),
    /// The maildir's stamp; `None` asks for a scan next time.
    Scanned(MailboxId, Option<Stamp>),
    /// The maildir's keyword letters.
    Letters(MailboxId, KeywordLetters),
    /// A mailbox is known no more, nor its messages.
    ForgetMailbox(MailboxId),
    /// A new message row. A row of the same UID is replaced.
    Insert(MailboxId, NewMessage),
    /// Flags that both sides agree on.
    Flags(MessageId, FlagSet),
    /// The file of a message is gone and must not come back.
    Bury(MessageId, Tombstone),
    /// A message is known no more.
    Forget(MessageId),
    /// An intent is fulfilled, or came to nothing.
    Settled(IntentId),
    /// A file left the Maildir for the recoverable trash.
    Kept(Trashed),
    /// A file in the recoverable trash is no longer kept.
    Dropped(String),
    /// So many messages of a mailbox were removed on account of this side losing them.
    Lost(MailboxId, Side, u64, Timestamp),
    /// Losses before this time count no more.
    ForgetLosses(Timestamp),
    /// These holds, instead of any earlier.
    Holds(Vec<HoldRow>),
    /// An item failed; replaces what was recorded of it.
    Failed(FailureRow),
    /// The failures of a mailbox count no more.
    ForgetFailures(MailboxId),
    /// The run number that the marker bears.
    Run(u64),
    /// Everything known of messages is forgotten, tombstones and journal excepted: both sides will be united.
    ForgetAll,
    /// A run ended without trouble at this time.
    Succeeded(Timestamp),
}

/// What the database holds besides mailboxes and messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The database's random id, in hexadecimal.
    pub database: String,
    /// The number of the last run committed; 0 before the first.
    pub run: u64,
    /// The last run without trouble.
    pub last_success: Option<Timestamp>,
    /// What was held when the last run ended.
    pub holds: Vec<HoldRow>,
}

/// An error of the database. All of them end the account's run, exit 7.
#[derive(Debug)]
pub struct StateError {
    /// True if the file is damaged or no database, false if it could not be used (full disk, permissions, locked).
    pub corrupt: bool,
    /// What was being done, and SQLite's words.
    pub cause: Cause,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// The database of an account: the baseline and the journal. A successful call that writes is durable.
pub trait Journal {
    /// Reads what concerns the whole account.
    fn header(&mut self) -> Result<Header, StateError>;

    /// Reads all mailboxes, in order of name.
    fn mailboxes(&mut self) -> Result<Vec<MailboxRow>, StateError>;

    /// Adds a mailbox that nothing is known of but its names.
    fn add_mailbox(&mut self, name: &MailboxName, local: &MailboxName) -> Result<MailboxId, StateError>;

    /// Reads a mailbox's messages, in order of UID.
    fn messages(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError>;

    /// Reads a mailbox's failures.
    fn failures(&mut self, mailbox: MailboxId) -> Result<Vec<FailureRow>, StateError>;

    /// Reads how many messages of each mailbox were removed on account of each side since a time.
    fn losses(&mut self, since: Timestamp) -> Result<BTreeMap<(MailboxId, Side), u64>, StateError>;

    /// Reads the recoverable trash's index: what was removed before a time.
    fn kept(&mut self, before: Timestamp) -> Result<Vec<Trashed>, StateError>;

    /// Reads the intents, oldest first.
    fn intents(&mut self) -> Result<Vec<(IntentId, Intent)>, StateError>;

    /// Writes intents, in one transaction.
    fn begin(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, StateError>;

    /// Writes records, in one transaction.
    fn commit(&mut self, records: &[Record]) -> Result<(), StateError>;
}

/// What ended an account's run before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server side.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The Maildir.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// Two server folders would have the same local name. Nothing was touched.
    #[error("{0} and {1} would have the same local name")]
    NameClash(MailboxName, MailboxName),
}
