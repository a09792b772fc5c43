//! Random values of everything that is stored, from ranges small enough to collide.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::model::*;
use crate::store::{FailureRow, HoldRow, Intent, IntentId, NewMessage, Record, Renaming, Renumbered, Trashed};

pub(super) fn name(number: usize) -> MailboxName {
    MailboxName::parse(["INBOX", "Entwürfe/Büro", "a%2Fb/100% \"x\"", "Z"][number % 4]).unwrap()
}

fn names() -> impl Strategy<Value = MailboxName> {
    (0usize..4).prop_map(name)
}

fn keywords() -> impl Strategy<Value = Keyword> {
    prop_oneof![Just("$Junk"), Just("a"), Just("B&c'd"), Just("$Forwarded"), Just("NonJunk")]
        .prop_map(|word| Keyword::new(word).unwrap())
}

pub(super) fn flags() -> impl Strategy<Value = FlagSet> {
    (0u8..32, btree_set(keywords(), 0..4)).prop_map(|(bits, keywords)| FlagSet::from_parts(bits, keywords))
}

fn uids() -> impl Strategy<Value = Uid> {
    prop_oneof![4 => 1u32..6, 1 => Just(u32::MAX)].prop_map(|number| Uid::new(number).unwrap())
}

fn unique() -> impl Strategy<Value = UniqueName> {
    prop_oneof![Just("1700000000.M1P2.host"), Just("1.2.höst,S=3,U=4"), Just("x y\nz")]
        .prop_map(|text| UniqueName::new(text).unwrap())
}

fn tombstone() -> impl Strategy<Value = Tombstone> {
    prop_oneof![Just(Tombstone::Flagged), Just(Tombstone::Kept), Just(Tombstone::Waiting)]
}

pub(super) fn times() -> impl Strategy<Value = Timestamp> {
    prop_oneof![4 => -3i64..4, 1 => any::<i64>()].prop_map(Timestamp)
}

fn usages() -> impl Strategy<Value = Option<Usage>> {
    option::of(any::<(u64, u64)>().prop_map(|(used, limit)| Usage { used, limit }))
}

fn stat() -> impl Strategy<Value = FileStat> {
    any::<(u64, u64, i64)>().prop_map(|(inode, size, mtime_ns)| FileStat { inode, size, mtime_ns })
}

pub(super) fn new_message() -> impl Strategy<Value = NewMessage> {
    let file = prop_oneof![
        unique().prop_map(|unique| (Some(unique), None)),
        tombstone().prop_map(|tombstone| (None, Some(tombstone))),
    ];
    let details =
        (option::of(any::<u64>()), option::of(any::<[u8; 16]>()), option::of(any::<i64>()), option::of(email_id()));
    (uids(), file, flags(), option::of(times()), details, option::of(stat())).prop_map(
        |(uid, (unique, tombstone), flags, date, (size, content, message_id, email_id), stat)| NewMessage {
            uid,
            unique,
            flags,
            tombstone,
            date,
            size,
            content: content.map(Fingerprint),
            message_id: message_id.map(MessageHash),
            stat,
            email_id,
        },
    )
}

fn email_id() -> impl Strategy<Value = EmailId> {
    any::<i64>().prop_map(|number| EmailId::from_number(number).unwrap_or(EmailId::of(b"")))
}

fn uid_validity() -> impl Strategy<Value = UidValidity> {
    prop_oneof![Just(0), Just(7), any::<u64>()].prop_map(UidValidity)
}

fn watermark() -> impl Strategy<Value = Watermark> {
    (uid_validity(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(uid_validity, uid_next, messages, mod_seq)| Watermark {
            uid_validity,
            uid_next,
            messages,
            mod_seq: ModSeq::new(mod_seq & (mod_seq >> 1)),
        },
    )
}

fn dir_stamp() -> impl Strategy<Value = DirStamp> {
    any::<(u64, u64, i64, i64)>().prop_map(|(device, inode, mtime_ns, ctime_ns)| DirStamp {
        device,
        inode,
        mtime_ns,
        ctime_ns,
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (dir_stamp(), dir_stamp()).prop_map(|(cur, new)| Stamp { cur, new })
}

fn letters() -> impl Strategy<Value = KeywordLetters> {
    vec((b'a'..=b'z', keywords()), 0..5).prop_map(|pairs| {
        let mut letters = KeywordLetters::new();
        pairs.into_iter().for_each(|(letter, keyword)| letters.assign(letter, keyword));
        letters
    })
}

fn permanent() -> impl Strategy<Value = PermanentFlags> {
    (flags(), any::<bool>()).prop_map(|(flags, new_keywords)| PermanentFlags { flags, new_keywords })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Local), Just(Side::Remote)]
}

fn hold() -> impl Strategy<Value = HoldRow> {
    let reason = prop_oneof![Just("mass-delete"), Just("root-missing")];
    (option::of(names()), side(), reason, any::<u64>(), times()).prop_map(|(mailbox, side, reason, count, since)| {
        HoldRow { mailbox, side, reason: reason.to_owned(), count, since }
    })
}

fn failure() -> impl Strategy<Value = FailureRow> {
    let refused = (flags(), flags()).prop_map(|(add, remove)| FlagDelta { add, remove });
    let about =
        (mailbox(), option::of(unique()), option::of(uids()), proptest::sample::select(FailureCode::ALL.as_slice()));
    (about, ".{0,9}", option::of(times()), refused).prop_map(
        |((mailbox, unique, uid, code), words, retry_at, flags)| FailureRow {
            mailbox,
            unique,
            uid,
            code,
            message: words,
            retry_at,
            flags,
        },
    )
}

fn trashed() -> impl Strategy<Value = Trashed> {
    let keywords = option::of(flags().prop_map(|flags| flags.keywords));
    (names(), ".{1,9}", "[ab]", times(), keywords).prop_map(|(mailbox, file, kept_as, at, keywords)| Trashed {
        mailbox,
        file,
        kept_as,
        at,
        keywords,
    })
}

/// Ids are places for the test to put real ones in.
fn mailbox() -> impl Strategy<Value = MailboxId> {
    prop_oneof![9 => 0i64..2, 1 => 2i64..4].prop_map(MailboxId)
}

fn renumbered() -> impl Strategy<Value = Renumbered> {
    (uids(), option::of(times()), option::of(any::<u64>())).prop_map(|(uid, date, size)| Renumbered {
        row: MessageId(0),
        uid,
        date,
        size,
    })
}

fn message() -> impl Strategy<Value = MessageId> {
    (0i64..6).prop_map(MessageId)
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let mailboxes = prop_oneof![
        4 => (mailbox(), option::of(watermark()), permanent(), any::<bool>(), option::of(times())).prop_map(
            |(mailbox, watermark, permanent, read_only, full_look)| Record::Looked {
                mailbox,
                watermark,
                permanent,
                read_only,
                full_look
            }
        ),
        4 => (mailbox(), uid_validity()).prop_map(|(id, validity)| Record::UidValidity(id, validity)),
        4 => (mailbox(), vec(renumbered(), 0..6)).prop_map(|(id, rows)| Record::Renumbered(id, rows)),
        3 => (mailbox(), option::of(0usize..8), option::of(".{0,9}")).prop_map(|(id, role, object)| Record::Listed(
            id,
            role.map(|at| Role::ALL[at]),
            object
        )),
        3 => (mailbox(), names()).prop_map(|(id, name)| Record::LocalName(id, name)),
        3 => vec((mailbox(), names(), names()), 0..4).prop_map(|all| Record::Renamed(
            all.into_iter().map(|(mailbox, name, local)| Renaming { mailbox, name, local }).collect()
        )),
        3 => (mailbox(), any::<(u64, u64)>())
            .prop_map(|(id, (device, inode))| Record::Directory(id, DirId { device, inode })),
        3 => (mailbox(), option::of(stamp())).prop_map(|(id, stamp)| Record::Scanned(id, stamp)),
        3 => (mailbox(), letters()).prop_map(|(id, letters)| Record::Letters(id, letters)),
        1 => mailbox().prop_map(Record::ForgetMailbox),
    ];
    let messages = prop_oneof![
        6 => (mailbox(), new_message()).prop_map(|(id, message)| Record::Insert(id, message)),
        2 => (message(), flags()).prop_map(|(id, flags)| Record::Flags(id, flags)),
        2 => (message(), tombstone()).prop_map(|(id, tombstone)| Record::Bury(id, tombstone)),
        1 => (message(), unique()).prop_map(|(id, by)| Record::Replaced(id, by)),
        1 => (message(), stat()).prop_map(|(id, stat)| Record::Stat(id, stat)),
        1 => (message(), email_id()).prop_map(|(id, email_id)| Record::EmailId(id, email_id)),
        1 => message().prop_map(Record::Forget),
        1 => (0i64..4).prop_map(|id| Record::Settled(IntentId(id))),
    ];
    let account = prop_oneof![
        (mailbox(), trashed()).prop_map(|(id, trashed)| Record::Kept(id, trashed)),
        "[abc]".prop_map(Record::Dropped),
        (mailbox(), side(), 0u64..99, times()).prop_map(|(id, side, count, at)| Record::Lost(id, side, count, at)),
        times().prop_map(Record::ForgetLosses),
        vec(hold(), 0..4).prop_map(Record::Holds),
        failure().prop_map(Record::Failed),
        mailbox().prop_map(Record::ForgetFailures),
        Just(Record::NewToken),
        any::<u64>().prop_map(Record::Run),
        Just(Record::ForgetAll),
        ("[ab]", "[ab]", "[ab]").prop_map(|(server, layout, root)| Record::Circumstances(Circumstances {
            server,
            layout,
            root
        })),
        Just(Record::OtherServer),
        Just(Record::United),
        times().prop_map(Record::Succeeded),
        "[AB]".prop_map(Record::Capabilities),
        (usages(), usages(), option::of(times()))
            .prop_map(|(storage, messages, due)| Record::Quota(Quota { storage, messages }, due)),
    ];
    prop_oneof![2 => mailboxes, 4 => messages, 2 => account]
}

/// Returns a message of which nothing is known but its UID.
pub(super) fn blank(uid: u32) -> NewMessage {
    NewMessage {
        uid: Uid::new(uid).unwrap(),
        unique: None,
        flags: FlagSet::new(),
        tombstone: None,
        date: None,
        size: None,
        content: None,
        message_id: None,
        stat: None,
        email_id: None,
    }
}

/// Messages that arrive in a mailbox together.
pub(super) fn arrivals() -> impl Strategy<Value = Vec<Intent>> {
    (mailbox(), uid_validity(), vec(new_message(), 1..5)).prop_map(|(mailbox, uid_validity, messages)| {
        messages.into_iter().map(|row| Intent::Download { mailbox, uid_validity, row }).collect()
    })
}

pub(super) fn intent() -> impl Strategy<Value = Intent> {
    let download = (mailbox(), uid_validity(), new_message())
        .prop_map(|(mailbox, uid_validity, row)| Intent::Download { mailbox, uid_validity, row });
    let sent =
        (option::of(times()), any::<u64>(), option::of(any::<i64>()), any::<[u8; 16]>(), stat(), option::of(message()));
    let append = (mailbox(), uid_validity(), any::<u32>(), unique(), flags(), sent).prop_map(
        |(mailbox, uid_validity, uid_next, unique, flags, (date, size, message_id, content, stat, leaves))| {
            Intent::Append {
                difference: FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: FlagSet::new() },
                mailbox,
                uid_validity,
                uid_next,
                unique,
                flags,
                date,
                size,
                message_id: message_id.map(MessageHash),
                content: Fingerprint(content),
                stat,
                leaves,
            }
        },
    );
    let copy = (mailbox(), uid_validity(), vec(uids(), 0..5), names(), (uid_validity(), any::<u32>())).prop_map(
        |(mailbox, uid_validity, uids, target, before)| Intent::Copy {
            mailbox,
            uid_validity,
            uids: uids.into_iter().collect(),
            target,
            before,
        },
    );
    let rename = (mailbox(), names(), names()).prop_map(|(mailbox, from, to)| Intent::Rename { mailbox, from, to });
    let relabel = (mailbox(), unique(), "(2,[A-Za-z]{0,3})?", "(2,[A-Za-z]{0,3})?")
        .prop_map(|(mailbox, unique, before, after)| Intent::Relabel { mailbox, unique, before, after });
    let brought = (mailbox(), uid_validity(), vec(uids(), 0..5), side(), (flags(), flags())).prop_map(
        |(mailbox, uid_validity, uids, side, (add, remove))| Intent::Flags {
            mailbox,
            uid_validity,
            uids: uids.into_iter().collect(),
            side,
            difference: FlagDelta { add, remove },
        },
    );
    let remove = (mailbox(), unique()).prop_map(|(mailbox, unique)| Intent::Remove { mailbox, unique });
    prop_oneof![download, append, copy, rename, relabel, brought, remove]
}
