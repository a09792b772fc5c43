//! The interface of the server side.

use std::collections::BTreeMap;
use std::fmt;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use super::error::{LocalError, RemoteError};
use crate::model::{
    FlagDelta, FlagSet, Identity, MailboxName, Quota, Role, Timestamp, Uid, UidSet, UidValidity, Watermark,
};
use crate::reconcile::snapshot::{RemoteListing, RemoteRequest, RemoteSnapshot};

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

/// Messages of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// What the UIDs stand on.
    pub validity: UidValidity,
    /// Their UIDs.
    pub uids: UidSet,
}

/// What messages of one mailbox are, by UID.
pub type Identities = BTreeMap<Uid, Identity>;

/// Takes messages as they arrive: `begin`, any number of `write`, then `finish` or `discard`. FETCH may bring the UID
/// after the body, so only `finish` tells which message it was. `of` says which of the [`Messages`] asked for they are of.
pub trait BodySink {
    /// A body starts.
    fn begin(&mut self, of: usize) -> Result<(), LocalError>;
    /// A part of it, as it is on the wire.
    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError>;
    /// It is complete.
    fn finish(&mut self, of: usize, message: FetchedMessage) -> Result<(), LocalError>;
    /// It will not be completed, or was not asked for.
    fn discard(&mut self) -> Result<(), LocalError>;
    /// The server does not give this message, for this reason. Returns false if the others are of no use without it.
    fn leave_out(&mut self, _of: usize, _uid: Uid, _why: String) -> bool {
        false
    }
    /// Waits until more can be taken. Who does not, costs memory.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Gives a message's bytes with CRLF line ends, piece by piece.
pub trait BodySource: fmt::Debug + Send {
    /// Returns how many bytes [`BodySource::read`] gives in all.
    fn size(&self) -> u64;
    /// Returns true if a NUL is among the bytes, which only BINARY can carry.
    fn has_nul(&self) -> bool;
    /// Returns true if a file is kept open for it.
    fn is_open(&self) -> bool {
        false
    }
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
    /// Not with others in one command.
    pub alone: bool,
}

/// Messages on their way to the server, given a part at a time. While one part is on its way the next is prepared; no more
/// than two are out at once in each lane, for files may be open for them.
pub trait Uploads {
    /// Returns true if there is so much, for several mailboxes, that both lanes should be used, and not the first alone.
    fn is_large(&self) -> bool;
    /// Returns a lane's next part, by mailbox; nothing if there is no more. A mailbox's messages all take the same lane, in
    /// order.
    fn next(&mut self, lane: Lane) -> Result<Vec<(MailboxName, Vec<Append>)>, LocalError>;
    /// Returns true if there is no more for this lane, and nothing is out in the other.
    fn is_over(&self, lane: Lane) -> bool;
    /// Hears what came of the first part that is out in this lane: as many answers as messages.
    fn answered(&mut self, lane: Lane, answers: Vec<Vec<Appended>>) -> Result<(), LocalError>;
    /// Returns true if this message of the first part that is out in this lane was out before when a connection was lost.
    fn was_out_before(&self, lane: Lane, at: usize) -> bool;
    /// Hears that such a message was the next to be answered when the server closed the connection, perhaps with these
    /// words, and that it lets us in again. Nothing more goes this lane.
    fn hung_up(&mut self, lane: Lane, at: usize, said: Option<&str>) -> Result<(), LocalError>;
}

/// A way that messages take to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The only one, as a rule.
    First,
    /// Beside it.
    Second,
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
    /// The server refused it together with others: it says nothing about any of them.
    RefusedTogether,
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
    /// COPYUID: UIDVALIDITY of the target, and each source's new UID. A source not named was not there, or was left out.
    Proven(UidValidity, Vec<(Uid, Uid)>),
    /// The server said OK without COPYUID (no UIDPLUS).
    Unproven,
}

impl Transfer {
    /// Returns which of the messages asked for are in the other mailbox now, as far as the server tells.
    pub fn sources(&self, asked: &UidSet) -> UidSet {
        match self {
            Transfer::Proven(_, pairs) => pairs.iter().map(|(uid, _)| *uid).collect(),
            Transfer::Unproven => asked.clone(),
        }
    }
}

/// How an expunge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunged {
    /// The messages are gone.
    Done,
    /// They are flagged `\Deleted` but can't be expunged without others that are not ours (no UIDPLUS).
    Flagged,
}

/// Changes of flags in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChanges {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// What the UIDs stand on.
    pub validity: UidValidity,
    /// The changes, each with the messages that it is for.
    pub changes: Vec<(FlagDelta, UidSet)>,
}

/// What came of a change of flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFlags {
    /// What the server says the flags now are, which need not be what was asked for. A UID left out is gone.
    pub now: BTreeMap<Uid, FlagSet>,
    /// What the server said when it refused some of them for good.
    pub refusal: Option<String>,
}

/// Bytes and round trips of an account's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Identifies messages of several mailboxes by their headers, or (`whole`) by their whole content. UIDs that are
    /// gone are left out. As many answers as mailboxes: one that can't be looked into fails alone.
    fn identify_all(
        &mut self,
        messages: &[Messages],
        whole: bool,
    ) -> impl Future<Output = Result<Vec<Result<Identities, RemoteError>>, RemoteError>>;

    /// Identifies messages of one mailbox.
    fn identify(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        whole: bool,
    ) -> impl Future<Output = Result<Identities, RemoteError>> {
        let messages = [Messages { mailbox: mailbox.clone(), validity, uids: uids.clone() }];
        async move { self.identify_all(&messages, whole).await?.pop().unwrap_or_else(|| Ok(BTreeMap::new())) }
    }

    /// Fetches messages of several mailboxes into the sink without setting `\Seen`. Messages that are gone, or that the
    /// server has no body for, are left out. As many answers as mailboxes: one that can't be looked into fails alone.
    fn fetch(
        &mut self,
        messages: &[Messages],
        sink: &mut dyn BodySink,
    ) -> impl Future<Output = Result<Vec<Result<(), RemoteError>>, RemoteError>>;

    /// How many messages one part of an upload should have at most.
    const PART: usize;

    /// Appends messages to mailboxes, if it is a large upload over a further connection as well. An error concerns the whole
    /// account: of what is out and was not answered nothing is known.
    fn append(&mut self, uploads: &mut dyn Uploads) -> impl Future<Output = Result<(), RemoteError>>;

    /// Says in which mailboxes messages are to be changed next, in which order, so that the way to each can be prepared while
    /// the one before it is changed. Nothing depends on it but time.
    fn about_to_change(&mut self, _mailboxes: Vec<MailboxName>) {}

    /// Says which mailboxes are looked at once what is changed next is done, and since when, so that it can be asked for
    /// behind that. Nothing depends on it but time.
    fn about_to_look(&mut self, _looks: Vec<(MailboxName, Watermark)>) {}

    /// Says that all mailboxes are listed once those are looked at that are looked at next, so that it can be asked for behind
    /// that. Nothing depends on it but time.
    fn about_to_list(&mut self) {}

    /// Has the next listing ask how full the account is.
    fn ask_quota(&mut self);

    /// Returns what the server said of that in this run. `None` if it was not asked.
    fn quota(&self) -> Option<Quota>;

    /// Changes flags, as far as the server takes them: what it refuses keeps no other flag from being stored.
    fn store_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> impl Future<Output = Result<StoredFlags, RemoteError>>;

    /// Changes flags in many mailboxes. There is an answer for each of these, in order, up to the first that concerns the
    /// whole account: nothing is known of those behind it.
    fn store_all(&mut self, all: &[FlagChanges]) -> impl Future<Output = Vec<Result<StoredFlags, RemoteError>>> {
        store_one_by_one(self, all)
    }

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

    /// Moves messages from many mailboxes, where they can be moved. There is an answer for each move, in order, up to the
    /// first that concerns the whole account: nothing is known of those behind it.
    fn move_all(
        &mut self,
        moves: &[(Messages, MailboxName)],
    ) -> impl Future<Output = Vec<Result<Transfer, RemoteError>>> {
        move_one_by_one(self, moves)
    }

    /// Flags messages `\Deleted` and expunges them, and nothing else.
    fn expunge(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> impl Future<Output = Result<Expunged, RemoteError>>;

    /// Expunges messages from many mailboxes. There is an answer for each of these, in order, up to the first that concerns
    /// the whole account: nothing is known of those behind it.
    fn expunge_all(&mut self, messages: &[Messages]) -> impl Future<Output = Vec<Result<Expunged, RemoteError>>> {
        expunge_one_by_one(self, messages)
    }

    /// Creates a mailbox with its parents, with a role where the server can, and subscribes to it. One that exists
    /// already is no error.
    fn create(&mut self, mailbox: &MailboxName, role: Option<Role>) -> impl Future<Output = Result<(), RemoteError>>;

    /// Deletes a mailbox that holds no message, and unsubscribes from it; one that is gone is no error. Returns false if it
    /// holds some: then nothing was done.
    fn delete(&mut self, mailbox: &MailboxName) -> impl Future<Output = Result<bool, RemoteError>>;

    /// Renames a mailbox; those below it follow (RFC 9051 section 6.3.6). `subscribed` are those of them, by their old
    /// names, whose subscription is carried over.
    fn rename(
        &mut self,
        from: &MailboxName,
        to: &MailboxName,
        subscribed: &[MailboxName],
    ) -> impl Future<Output = Result<(), RemoteError>>;

    /// Waits a moment, in which commands that a lost connection left behind may take effect.
    fn linger(&mut self) -> impl Future<Output = Result<(), RemoteError>>;

    /// Returns the traffic so far.
    fn traffic(&self) -> Traffic;
}

/// Does one after the other, until an error concerns the whole account.
async fn one_by_one<R: ?Sized, O, T>(
    remote: &mut R,
    orders: &[O],
    mut each: impl AsyncFnMut(&mut R, &O) -> Result<T, RemoteError>,
) -> Vec<Result<T, RemoteError>> {
    let mut all = Vec::with_capacity(orders.len());
    for order in orders {
        let done = each(remote, order).await;
        let over = matches!(&done, Err(error) if error.concerns_account());
        all.push(done);
        if over {
            break;
        }
    }
    all
}

/// Changes flags mailbox by mailbox.
pub async fn store_one_by_one<R: RemoteStore + ?Sized>(
    remote: &mut R,
    all: &[FlagChanges],
) -> Vec<Result<StoredFlags, RemoteError>> {
    one_by_one(remote, all, async |remote, one| remote.store_flags(&one.mailbox, one.validity, &one.changes).await)
        .await
}

/// Moves messages mailbox by mailbox.
pub async fn move_one_by_one<R: RemoteStore + ?Sized>(
    remote: &mut R,
    moves: &[(Messages, MailboxName)],
) -> Vec<Result<Transfer, RemoteError>> {
    let each = async |remote: &mut R, (from, target): &(Messages, MailboxName)| {
        remote.move_to(&from.mailbox, from.validity, &from.uids, target).await
    };
    one_by_one(remote, moves, each).await
}

/// Expunges messages mailbox by mailbox.
pub async fn expunge_one_by_one<R: RemoteStore + ?Sized>(
    remote: &mut R,
    messages: &[Messages],
) -> Vec<Result<Expunged, RemoteError>> {
    one_by_one(remote, messages, async |remote, one| remote.expunge(&one.mailbox, one.validity, &one.uids).await).await
}
