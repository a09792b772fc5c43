//! An account of one large folder, as the pure parts of mailtide see it.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{
    Flag, FlagSet, KeywordLetters, MailboxId, MailboxName, MessageId, MessageRow, ModSeq, PermanentFlags, Timestamp,
    Uid, UidSet, UidValidity, UniqueName, Watermark,
};
use mailtide::reconcile::flags::FlagRules;
use mailtide::reconcile::memory::Memory;
use mailtide::reconcile::plan::MailboxPlan;
use mailtide::reconcile::policy::Delete;
use mailtide::reconcile::replace::Saves;
use mailtide::reconcile::snapshot::{LocalEntry, LocalSnapshot, RemoteMessage, RemoteMessages, RemoteSnapshot};
use mailtide::reconcile::view::View;

/// A folder in step.
pub struct Folder {
    name: MailboxName,
    rows: Vec<MessageRow>,
    scan: LocalSnapshot,
    saves: Saves,
    memory: Memory,
    nothing: BTreeSet<UniqueName>,
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn unique(number: u32) -> UniqueName {
    UniqueName::new(&format!("1700000000.M{number}P4711.laptop")).unwrap()
}

impl Folder {
    /// Makes one with so many messages, read on both sides.
    pub fn in_step(messages: u32) -> Self {
        let seen = FlagSet::of(&[Flag::Seen]);
        let row = |number| MessageRow {
            id: MessageId(i64::from(number)),
            mailbox: MailboxId(1),
            uid: uid(number),
            unique: Some(unique(number)),
            flags: seen.clone(),
            tombstone: None,
            date: Some(Timestamp(1_700_000_000)),
            size: Some(9000),
            content: None,
            message_id: None,
            stat: None,
            email_id: None,
            replaced_by: None,
        };
        let entry = |number| {
            let entry = LocalEntry { in_new: false, info: "2,S".into(), inode: u64::from(number), flags: seen.clone() };
            (unique(number), entry)
        };
        let scan = LocalSnapshot {
            entries: (1..=messages).map(entry).collect(),
            quiet: true,
            stamp: None,
            directory: None,
            letters: Some(KeywordLetters::new()),
            dovecot: false,
            duplicates: Vec::new(),
        };
        Self {
            name: MailboxName::inbox(),
            rows: (1..=messages).map(row).collect(),
            scan,
            saves: Saves::default(),
            memory: Memory::default(),
            nothing: BTreeSet::new(),
        }
    }

    /// Returns what the server says once this many messages were flagged there.
    pub fn flagged(&self, messages: u32) -> RemoteSnapshot {
        let flags = FlagSet::of(&[Flag::Seen, Flag::Flagged]);
        let message =
            |number| (uid(number), RemoteMessage { flags: flags.clone(), date: None, size: None, email_id: None });
        let changed: BTreeMap<Uid, RemoteMessage> = (1..=messages).map(message).collect();
        let known = u32::try_from(self.rows.len()).unwrap();
        let watermark =
            Watermark { uid_validity: UidValidity(7), uid_next: known + 1, messages: known, mod_seq: ModSeq::new(99) };
        let messages = RemoteMessages::Delta { changed, vanished: UidSet::new() };
        RemoteSnapshot { watermark, permanent: PermanentFlags::all(), read_only: false, messages }
    }

    /// Decides what to do.
    pub fn plan(&self, remote: &RemoteSnapshot) -> MailboxPlan {
        let view = View {
            mailbox: MailboxId(1),
            name: &self.name,
            local: &self.name,
            role: None,
            rows: &self.rows,
            scan: &self.scan,
            remote: Some(remote),
            rules: FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only: false },
            delete: Delete::Trash,
            expunges_alone: true,
            reset: false,
            matched: true,
            saves: &self.saves,
            undecided: &self.nothing,
            waiting: (BTreeSet::new(), UidSet::new()),
            matches: &[],
            memory: &self.memory,
        };
        view.plan()
    }
}
