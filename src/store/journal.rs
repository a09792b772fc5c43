//! The interface of the database: the baseline and the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::StateError;
use super::local::Trashed;
use crate::model::{
    Circumstances, DirId, EmailId, FailureCode, FileStat, Fingerprint, FlagDelta, FlagSet, KeywordLetters, MailboxId,
    MailboxName, MailboxRow, MessageHash, MessageId, MessageRow, PermanentFlags, Quota, Role, Side, Stamp, Timestamp,
    Tombstone, Uid, UidSet, UidValidity, UniqueName, Watermark,
};

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
        /// The flags that its row gets: those that the file has.
        flags: FlagSet,
        /// How the flags sent differ from these: a new version of a message is sent with those of both sides.
        difference: FlagDelta,
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
        /// The message that this is sent in place of, because the server won't move it: it has left its mailbox once this
        /// is there.
        leaves: Option<MessageId>,
    },
    /// Messages about to be copied, then removed: a move where the server has no MOVE.
    Copy {
        /// The mailbox they leave.
        mailbox: MailboxId,
        /// Its UIDVALIDITY.
        uid_validity: UidValidity,
        /// The messages.
        uids: UidSet,
        /// Where they go: a mailbox's name as long as it has it, then its new one.
        target: MailboxName,
        /// The target's UIDVALIDITY and UIDNEXT before.
        before: (UidValidity, u32),
    },
    /// A maildir about to get another (local) name.
    Rename {
        /// The mailbox.
        mailbox: MailboxId,
        /// The name it has.
        from: MailboxName,
        /// The name it gets.
        to: MailboxName,
    },
    /// A file that came from another folder, whose info (what follows the `:` of its name) is about to be rewritten
    /// because keyword letters mean something else here.
    Relabel {
        /// The mailbox.
        mailbox: MailboxId,
        /// The file.
        unique: UniqueName,
        /// The info it came with.
        before: String,
        /// The info it gets.
        after: String,
    },
    /// Flags about to be brought over to one side.
    Flags {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its UIDVALIDITY.
        uid_validity: UidValidity,
        /// The messages.
        uids: UidSet,
        /// The side that gets the flags.
        side: Side,
        /// How it is changed.
        difference: FlagDelta,
    },
    /// A file about to be removed from the maildir of a mailbox whose name another one has. The next run looks for what has
    /// rows in that one: a row left by a run cut short would look like a file removed by the user.
    Remove {
        /// The mailbox.
        mailbox: MailboxId,
        /// The file.
        unique: UniqueName,
    },
}

impl Intent {
    /// Returns the mailbox that it is about; of a copy, the one that is copied from.
    pub fn mailbox(&self) -> MailboxId {
        match self {
            Intent::Download { mailbox, .. }
            | Intent::Append { mailbox, .. }
            | Intent::Copy { mailbox, .. }
            | Intent::Rename { mailbox, .. }
            | Intent::Relabel { mailbox, .. }
            | Intent::Flags { mailbox, .. }
            | Intent::Remove { mailbox, .. } => *mailbox,
        }
    }
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
    /// What the server calls its content, if it told.
    pub email_id: Option<EmailId>,
}

/// A message row found again under another UID, and what the server says of it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renumbered {
    /// The row.
    pub row: MessageId,
    /// Its UID from now on.
    pub uid: Uid,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
    /// The server's size.
    pub size: Option<u64>,
}

/// The names that a mailbox has from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The server's name.
    pub name: MailboxName,
    /// The name in the Maildir.
    pub local: MailboxName,
}

/// A part of a plan set aside because it looks like an accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A message in the recoverable trash's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// Its number, never given to another.
    pub id: u64,
    /// The run that removed it; 0 if that is not known.
    pub run: u64,
    /// Where it lay and where it is.
    pub kept: Trashed,
}

/// A day, in seconds: how long waits what was refused or can't be carried out. No time to try again is further off.
pub const RETRY_AFTER: i64 = 24 * 3600;

/// An item that failed and is not to be tried before a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The file, or
    pub unique: Option<UniqueName>,
    /// the message, that failed.
    pub uid: Option<Uid>,
    /// What is the matter.
    pub code: FailureCode,
    /// What the user is told.
    pub message: String,
    /// When to try again; `None` for never.
    pub retry_at: Option<Timestamp>,
    /// The change of flags that the server did not take; empty for other failures.
    pub flags: FlagDelta,
}

impl FailureRow {
    /// Returns true if it is time to try again, or to look whether that makes sense. A time further off than any that is
    /// set was set by a clock that was ahead.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.retry_at.is_some_and(|at| at <= now || at.0 > now.0.saturating_add(RETRY_AFTER))
    }
}

/// Returns the changes of flags that the server did not take, by file.
pub fn untaken<'f>(failures: impl IntoIterator<Item = &'f FailureRow>) -> BTreeMap<UniqueName, FlagDelta> {
    let changes = failures.into_iter().filter(|failure| !failure.flags.is_empty());
    changes.filter_map(|failure| Some((failure.unique.clone()?, failure.flags.clone()))).collect()
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
    /// The UIDs that the mailbox's rows have from now on. Rows not among them are known no more.
    Renumbered(MailboxId, Vec<Renumbered>),
    /// What LIST said about a mailbox.
    Listed(MailboxId, Option<Role>, Option<String>),
    /// The local name of a mailbox.
    LocalName(MailboxId, MailboxName),
    /// The names of mailboxes, each named once, given to them all together: they may exchange names. One that a mailbox
    /// not among them has is an error. What is being copied to them is from now on being copied to the new names:
    /// looked for under the old ones, it would seem never to have been, and be copied again.
    Renamed(Vec<Renaming>),
    /// The maildir's stamp; `None` asks for a scan next time.
    Scanned(MailboxId, Option<Stamp>),
    /// The identity of the maildir's directory.
    Directory(MailboxId, DirId),
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
    /// A message was saved again as this file: it is a tombstone from now on.
    Replaced(MessageId, UniqueName),
    /// The file of a message as last seen.
    Stat(MessageId, FileStat),
    /// What the server calls a message's content.
    EmailId(MessageId, EmailId),
    /// A message is known no more.
    Forget(MessageId),
    /// An intent is fulfilled, or came to nothing.
    Settled(IntentId),
    /// A file of a mailbox left the Maildir for the recoverable trash. It follows the mailbox to what that is called later.
    Kept(MailboxId, Trashed),
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
    /// The marker is about to bear a new token.
    NewToken,
    /// The number of the run whose marker is written, with the new token.
    Run(u64),
    /// Everything known of messages is forgotten, tombstones and journal excepted: both sides will be united.
    ForgetAll,
    /// Whose mail the baseline speaks of.
    Circumstances(Circumstances),
    /// UIDs known until now say nothing about the server of now, and with that nothing was ever in step.
    OtherServer,
    /// Both sides are united as a whole.
    United,
    /// A run ended without trouble at this time.
    Succeeded(Timestamp),
    /// How full the account is on the server, and when it is to be asked that again.
    Quota(Quota, Option<Timestamp>),
    /// What the server says it can do.
    Capabilities(String),
}

/// What the database holds besides mailboxes and messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The database's random id, in hexadecimal.
    pub database: String,
    /// The number of the last run committed; 0 before the first.
    pub run: u64,
    /// What the marker bears since the last run,
    pub token: String,
    /// and what it bears if that run was cut short between marker and database.
    pub next_token: String,
    /// The last run without trouble.
    pub last_success: Option<Timestamp>,
    /// Whose mail the baseline speaks of, if it was ever noted.
    pub circumstances: Option<Circumstances>,
    /// Both sides were united as a whole since the baseline was begun or forgotten.
    pub united: bool,
    /// How full the account was on the server when it last said so.
    pub quota: Quota,
    /// When it is to be asked that again, as something has changed since.
    pub quota_due: Option<Timestamp>,
    /// What it said it can do, words with a space between; nothing if it was never asked.
    pub capabilities: String,
    /// What was held when the last run ended.
    pub holds: Vec<HoldRow>,
}

impl Header {
    /// Returns true if no run has ended without trouble on this day (UTC).
    pub fn is_first_of_day(&self, now: Timestamp) -> bool {
        let day = |at: Timestamp| at.0.div_euclid(24 * 3600);
        self.last_success.is_none_or(|last| day(last) != day(now))
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

    /// Shows a mailbox's messages one by one, in order of UID, until one is answered with `false`: for that they need not all
    /// be held.
    fn show_messages(
        &mut self,
        mailbox: MailboxId,
        see: &mut dyn FnMut(&MessageRow) -> bool,
    ) -> Result<(), StateError> {
        self.messages(mailbox)?.iter().take_while(|row| see(row)).for_each(drop);
        Ok(())
    }

    /// Reads a mailbox's messages, in order of UID, but for those that may be let go of as soon as they were seen.
    fn messages_but(
        &mut self,
        mailbox: MailboxId,
        let_go: &mut dyn FnMut(&MessageRow) -> bool,
    ) -> Result<Vec<MessageRow>, StateError> {
        let mut rows = self.messages(mailbox)?;
        rows.retain(|row| !let_go(row));
        Ok(rows)
    }

    /// Reads the messages of a mailbox that have these UIDs, in order of UID.
    fn messages_among(&mut self, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<MessageRow>, StateError> {
        self.messages_but(mailbox, &mut |row| !uids.contains(row.uid))
    }

    /// Reads the message of a mailbox that has a file of this name.
    fn message_named(&mut self, mailbox: MailboxId, unique: &UniqueName) -> Result<Option<MessageRow>, StateError> {
        Ok(self.messages_but(mailbox, &mut |row| row.unique.as_ref() != Some(unique))?.pop())
    }

    /// Reads messages that are going to be asked for: as long as nothing is recorded, that is the answer. Nothing depends on
    /// it but time.
    fn read_ahead(&mut self, _mailbox: MailboxId) -> Result<(), StateError> {
        Ok(())
    }

    /// As [`Journal::read_ahead`], the drafts.
    fn read_drafts_ahead(&mut self) -> Result<(), StateError> {
        Ok(())
    }

    /// Reads the UIDs of a mailbox's messages: that takes a fraction of what the messages take.
    fn uids(&mut self, mailbox: MailboxId) -> Result<UidSet, StateError>;

    /// Reads the messages of a mailbox that have no file, in order of UID.
    fn tombstones(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError>;

    /// Reads the messages of all mailboxes that have a file and are flagged as drafts.
    fn drafts(&mut self) -> Result<Vec<MessageRow>, StateError>;

    /// Reads the messages of all mailboxes that have a file and this size on the server.
    fn messages_of_size(&mut self, size: u64) -> Result<Vec<MessageRow>, StateError>;

    /// Returns true if a message of any mailbox has a file of this name.
    fn is_known(&mut self, unique: &UniqueName) -> Result<bool, StateError>;

    /// Reads a mailbox's failures.
    fn failures(&mut self, mailbox: MailboxId) -> Result<Vec<FailureRow>, StateError>;

    /// Reads how many messages of each mailbox were removed on account of each side since a time.
    fn losses(&mut self, since: Timestamp) -> Result<BTreeMap<(MailboxId, Side), u64>, StateError>;

    /// Reads the recoverable trash's index: what was removed before a time, oldest first.
    fn kept(&mut self, before: Timestamp) -> Result<Vec<KeptRow>, StateError>;

    /// Reads the intents, oldest first.
    fn intents(&mut self) -> Result<Vec<(IntentId, Intent)>, StateError>;

    /// Writes intents, in one transaction.
    fn begin(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, StateError>;

    /// Writes records, in one transaction.
    fn commit(&mut self, records: &[Record]) -> Result<(), StateError>;
}
