//! What is to be done: the steps of a run over one mailbox, as data.

use std::collections::BTreeMap;

use super::flags::{FlagPlan, FlagRules};
use super::memory::Stuck;
use super::replace::Replacement;
use super::snapshot::LocalEntry;
use crate::model::{
    EmailId, FileStat, FlagDelta, FlagSet, Identity, MailboxId, MailboxName, MessageId, MessageRow, Role, Timestamp,
    Uid, UidValidity, UniqueName,
};

/// Everything that is to be done in one mailbox. Moves come first and removals last, across all mailboxes: a message that
/// moved by being added there and removed here is never nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxPlan {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its server name.
    pub name: MailboxName,
    /// Its local name.
    pub local: MailboxName,
    /// Its special use.
    pub role: Option<Role>,
    /// What decides about flags in it.
    pub rules: FlagRules,
    /// The UIDVALIDITY is news to the baseline, which has no rows there.
    pub reset: Option<UidValidity>,
    /// Messages on both sides that are one.
    pub adopt: Vec<Adoption>,
    /// Flags to be brought over.
    pub flags: Vec<FlagChange>,
    /// Messages to be downloaded.
    pub download: Vec<Uid>,
    /// What the server calls their content, and that of those found to be copies, as far as it told.
    pub email_ids: BTreeMap<Uid, EmailId>,
    /// Files to be uploaded.
    pub upload: Vec<Upload>,
    /// Those of them that were moved here, and whose messages have gone from the server meanwhile: from which mailbox.
    pub refiled: BTreeMap<UniqueName, MailboxId>,
    /// Those of them that were moved here, and whose messages can't be moved: the flags of both sides, united, with
    /// which they are sent.
    pub carried: BTreeMap<UniqueName, FlagSet>,
    /// Messages that leave this mailbox for another on the server, as their files did.
    pub move_remote: Vec<RemoteMove>,
    /// Files that leave this maildir for another, as their messages did.
    pub move_local: Vec<LocalMove>,
    /// Files that were given other names.
    pub renamed: Vec<Renamed>,
    /// Messages to be copied into this mailbox on the server, as their files were copied here.
    pub copy_remote: Vec<RemoteCopy>,
    /// Files to be copied into this maildir, as their messages were copied there.
    pub copy_local: Vec<LocalCopy>,
    /// Which of them take the place of messages on the server.
    pub replace: BTreeMap<UniqueName, Replacement>,
    /// What files looked like that may leave only if they still do.
    pub unchanged: BTreeMap<UniqueName, FileStat>,
    /// Messages to be removed from the Maildir.
    pub remove_local: Vec<LocalRemoval>,
    /// Messages to be removed from the server, and how.
    pub remove_remote: Vec<RemoteRemoval>,
    /// Messages that neither side has any more.
    pub forget: Vec<MessageId>,
    /// What can't be carried out on the server as it is.
    pub stuck: Stuck,
    /// Something could not be seen: look again next time.
    pub unknown: bool,
    /// Something was set aside: look again next time.
    pub held: bool,
    /// Another mailbox has its name: what of its rows is left is looked for in that one next.
    pub displaced: bool,
}

/// A message found on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// On the server.
    pub uid: Uid,
    /// On disk.
    pub unique: UniqueName,
    /// The file.
    pub entry: LocalEntry,
    /// Its content and stat.
    pub identity: (Identity, FileStat),
    /// What the server says of it.
    pub date: Option<Timestamp>,
    /// What the server says of it.
    pub size: Option<u64>,
    /// What the server calls its content.
    pub email_id: Option<EmailId>,
    /// The flags from which the change of both sides is measured.
    pub base: FlagSet,
    /// The flags united.
    pub flags: FlagPlan,
    /// The message was moved here on both sides: its row elsewhere, and what the file's name means.
    pub follows: Option<(MessageId, FlagSet)>,
}

/// A message to be moved on the server, as its file was moved in the Maildir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMove {
    /// The row, of the mailbox that it leaves.
    pub row: MessageRow,
    /// Where it goes.
    pub to: MailboxId,
    /// Its file there,
    pub unique: UniqueName,
    /// as it was seen,
    pub entry: LocalEntry,
    /// and as it was read.
    pub stat: FileStat,
    /// What its name means; `None` if it means there what it says.
    pub meant: Option<FlagSet>,
}

impl RemoteMove {
    /// Returns what became of the flags here, which is brought over once the message is where its file is.
    pub fn flags(&self) -> FlagDelta {
        self.row.flags.delta_to(self.meant.as_ref().unwrap_or(&self.entry.flags))
    }
}

/// A file to be moved in the Maildir, as its message was moved on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMove {
    /// The row, of the mailbox that the message left; the file may lie elsewhere.
    pub row: MessageRow,
    /// The file,
    pub unique: UniqueName,
    /// as it was seen,
    pub entry: LocalEntry,
    /// and as it was read.
    pub stat: FileStat,
    /// Where it goes.
    pub to: MailboxId,
    /// The message there,
    pub uid: Uid,
    /// what the server says of it,
    pub date: Option<Timestamp>,
    /// its size,
    pub size: Option<u64>,
    /// and what it calls its content.
    pub email_id: Option<EmailId>,
    /// What the file's name means.
    pub meant: FlagSet,
    /// Neither side changed the flags.
    pub flags_agree: bool,
}

/// A message to be copied on the server, as its file was copied in the Maildir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCopy {
    /// The row of the message that it is a copy of,
    pub row: MessageRow,
    /// in this mailbox, under this UIDVALIDITY,
    pub from: (MailboxName, UidValidity),
    /// and its file with its maildir, if it was seen there or where it was moved to.
    pub original: Option<(MailboxName, UniqueName, LocalEntry)>,
    /// The file,
    pub unique: UniqueName,
    /// as it was seen,
    pub entry: LocalEntry,
    /// and as it was read.
    pub identity: Identity,
    /// Its stat at that time.
    pub stat: FileStat,
    /// What its name means; `None` if it means there what it says.
    pub meant: Option<FlagSet>,
}

impl RemoteCopy {
    /// Returns the flags that the copy on the server and the file have in common.
    pub fn shared(&self) -> FlagSet {
        self.row.flags.intersection(self.meant.as_ref().unwrap_or(&self.entry.flags))
    }
}

/// A file to be copied in the Maildir, as its message was copied on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCopy {
    /// The message.
    pub uid: Uid,
    /// Its flags,
    pub flags: FlagSet,
    /// and its date.
    pub date: Option<Timestamp>,
    /// The maildir that has its content,
    pub from: MailboxName,
    /// in this file,
    pub source: UniqueName,
    /// as it was seen,
    pub entry: LocalEntry,
    /// and as it was read.
    pub stat: FileStat,
}

/// A message whose file has another unique name in the same folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The row.
    pub row: MessageRow,
    /// Its file's name now.
    pub unique: UniqueName,
    /// The file as it was seen,
    pub entry: LocalEntry,
    /// and as it was read.
    pub stat: FileStat,
    /// What its name means; `None` if it means what it says.
    pub meant: Option<FlagSet>,
}

/// A change of flags of a message that both sides hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// The row.
    pub row: MessageId,
    /// On the server.
    pub uid: Uid,
    /// On disk.
    pub unique: UniqueName,
    /// The file.
    pub entry: LocalEntry,
    /// The change.
    pub flags: FlagPlan,
}

/// A file to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub unique: UniqueName,
    /// The file.
    pub entry: LocalEntry,
    /// The message that this is sent in place of, because the server won't move it.
    pub leaves: Option<MessageId>,
}

/// A file to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRemoval {
    /// The row.
    pub row: MessageId,
    /// Its name.
    pub unique: UniqueName,
    /// The file.
    pub entry: LocalEntry,
}

/// A message to be removed from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRemoval {
    /// The row.
    pub row: MessageId,
    /// The message.
    pub uid: Uid,
    /// How.
    pub how: Removal,
    /// The file that was uploaded in its place; for [`Removal::Moved`].
    pub moved_to: Option<(MailboxId, UniqueName)>,
}

/// How a message leaves the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// Moved to Trash.
    Trash,
    /// Expunged.
    Expunge,
    /// Flagged `\Deleted`, and buried.
    Flag,
    /// It stays, and is buried.
    Keep,
    /// Expunged once its new place is proven: its file lies in another folder now.
    Moved,
    /// Expunged at last: it was removed before, but could not be expunged alone.
    Purge,
}

impl Removal {
    /// Returns the word used in dry runs.
    pub fn as_str(self) -> &'static str {
        match self {
            Removal::Trash => "trash",
            Removal::Expunge => "expunge",
            Removal::Flag => "flag",
            Removal::Keep => "keep",
            Removal::Moved => "moved",
            Removal::Purge => "purge",
        }
    }
}

impl MailboxPlan {
    /// Returns the plan that does nothing, for a mailbox of the same name on both sides.
    pub fn nothing(mailbox: MailboxId, name: MailboxName, role: Option<Role>, rules: FlagRules) -> Self {
        Self {
            mailbox,
            local: name.clone(),
            name,
            role,
            rules,
            reset: None,
            adopt: Vec::new(),
            flags: Vec::new(),
            download: Vec::new(),
            email_ids: BTreeMap::new(),
            upload: Vec::new(),
            refiled: BTreeMap::new(),
            carried: BTreeMap::new(),
            move_remote: Vec::new(),
            move_local: Vec::new(),
            renamed: Vec::new(),
            copy_remote: Vec::new(),
            copy_local: Vec::new(),
            replace: BTreeMap::new(),
            unchanged: BTreeMap::new(),
            remove_local: Vec::new(),
            remove_remote: Vec::new(),
            forget: Vec::new(),
            stuck: Stuck::default(),
            unknown: false,
            held: false,
            displaced: false,
        }
    }

    /// Returns true if nothing is to be done to either side or the baseline.
    pub fn is_empty(&self) -> bool {
        self.reset.is_none()
            && self.adopt.is_empty()
            && self.flags.is_empty()
            && self.download.is_empty()
            && self.upload.is_empty()
            && self.move_remote.is_empty()
            && self.move_local.is_empty()
            && self.renamed.is_empty()
            && self.copy_remote.is_empty()
            && self.copy_local.is_empty()
            && self.replace.is_empty()
            && self.remove_local.is_empty()
            && self.remove_remote.is_empty()
            && self.forget.is_empty()
    }
}
