//! For any baseline and any edits on both sides: the plan brings both sides together, loses nothing, doubles nothing,
//! leaves nothing to do, and depends neither on the order of the rows nor on whether the server told all or a delta.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::agreed::{Agreed, Agreement};
use super::flags::FlagRules;
use super::memory::Memory;
use super::plan::{MailboxPlan, Removal};
use super::policy::Delete;
use super::replace::Saves;
use super::snapshot::{Listed, LocalEntry, LocalSnapshot, RemoteMessage, RemoteMessages, RemoteSnapshot};
use super::view::View;
use crate::model::{
    DirId, FileStat, Flag, FlagSet, Keyword, KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageId, MessageRow,
    PermanentFlags, Tombstone, Uid, UidSet, UidValidity, UniqueName, Watermark,
};

/// What one side did to a message of the baseline.
#[derive(Debug, Clone)]
enum Edit {
    Nothing,
    Remove,
    Flags(FlagSet),
}

/// One mailbox: the baseline and both sides. Every message's content is a number of its own.
#[derive(Debug, Clone)]
struct World {
    rows: Vec<MessageRow>,
    local: BTreeMap<UniqueName, (u32, FlagSet)>,
    remote: BTreeMap<Uid, (u32, FlagSet)>,
    before: BTreeMap<Uid, FlagSet>,
    delete: Delete,
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn unique(n: u32) -> UniqueName {
    UniqueName::new(&format!("m{n}")).unwrap()
}

fn flags() -> impl Strategy<Value = FlagSet> {
    (0u8..32, proptest::collection::btree_set(prop_oneof!["work", "home"], 0..3))
        .prop_map(|(bits, words)| FlagSet::from_parts(bits, words.iter().filter_map(|word| Keyword::new(word))))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![3 => Just(Edit::Nothing), 1 => Just(Edit::Remove), 2 => flags().prop_map(Edit::Flags)]
}

fn world() -> impl Strategy<Value = World> {
    let known = proptest::collection::vec((flags(), edit(), edit()), 0..12);
    let new = || proptest::collection::vec(flags(), 0..4);
    let delete = prop_oneof![Just(Delete::Expunge), Just(Delete::Trash), Just(Delete::Flag), Just(Delete::Never)];
    (known, new(), new(), delete).prop_map(|(known, here, there, delete)| {
        let mut world = World { rows: vec![], local: [].into(), remote: [].into(), before: [].into(), delete };
        for (n, (flags, here, there)) in (1..).zip(known) {
            world.rows.push(row(n, uid(n), unique(n), flags.clone()));
            world.before.insert(uid(n), flags.clone());
            world.local.extend(edited(&flags, here).map(|flags| (unique(n), (n, flags))));
            world.remote.extend(edited(&flags, there).map(|flags| (uid(n), (n, flags))));
        }
        world.local.extend((100..).zip(here).map(|(n, flags)| (unique(n), (n, flags))));
        world.remote.extend((200..).zip(there).map(|(n, flags)| (uid(n), (n, flags))));
        world
    })
}

fn edited(flags: &FlagSet, edit: Edit) -> Option<FlagSet> {
    match edit {
        Edit::Nothing => Some(flags.clone()),
        Edit::Remove => None,
        Edit::Flags(flags) => Some(flags),
    }
}

fn row(n: u32, uid: Uid, unique: UniqueName, flags: FlagSet) -> MessageRow {
    MessageRow {
        id: MessageId(i64::from(n)),
        mailbox: MailboxId(1),
        uid,
        unique: Some(unique),
        flags,
        tombstone: None,
        date: None,
        size: None,
        content: None,
        message_id: None,
        stat: None,
        email_id: None,
        replaced_by: None,
    }
}

impl World {
    fn scan(&self) -> LocalSnapshot {
        let mut letters = KeywordLetters::new();
        letters.assign(b'a', Keyword::new("work").unwrap());
        letters.assign(b'b', Keyword::new("home").unwrap());
        let entry = |flags: &FlagSet| LocalEntry { in_new: false, info: "2,".into(), inode: 1, flags: flags.clone() };
        let entries = self.local.iter().map(|(unique, (_, flags))| (unique.clone(), entry(flags))).collect();
        // With a local Dovecot at work no letter counts as stripped: every edit here is meant.
        LocalSnapshot {
            entries,
            quiet: true,
            stamp: None,
            directory: None,
            letters: Some(letters),
            dovecot: true,
            duplicates: vec![],
        }
    }

    fn look(&self, full: bool) -> RemoteSnapshot {
        let message = |flags: &FlagSet| RemoteMessage { flags: flags.clone(), date: None, size: None, email_id: None };
        let all: Listed = self.remote.iter().map(|(uid, (_, flags))| (*uid, message(flags))).collect();
        let vanished: UidSet = self.before.keys().copied().filter(|uid| !all.contains_key(uid)).collect();
        let changed = |uid: &Uid, message: &RemoteMessage| self.before.get(uid) != Some(&message.flags);
        let messages = match full {
            true => RemoteMessages::Full(all),
            false => {
                RemoteMessages::Delta { changed: all.into_iter().filter(|(u, m)| changed(u, m)).collect(), vanished }
            }
        };
        let messages_now = u32::try_from(self.remote.len()).unwrap();
        let watermark =
            Watermark { uid_validity: UidValidity(1), uid_next: 1000, messages: messages_now, mod_seq: None };
        RemoteSnapshot { watermark, permanent: PermanentFlags::all(), read_only: false, messages }
    }

    fn plan(&self, full: bool) -> MailboxPlan {
        self.plan_of(&self.scan(), &self.look(full))
    }

    fn plan_of(&self, scan: &LocalSnapshot, remote: &RemoteSnapshot) -> MailboxPlan {
        self.plan_but(&Agreed::default(), scan, remote)
    }

    fn plan_but(&self, agreed: &Agreed, scan: &LocalSnapshot, remote: &RemoteSnapshot) -> MailboxPlan {
        let name = MailboxName::inbox();
        let (permanent, read_only) = (remote.permanent.clone(), remote.read_only);
        View {
            mailbox: MailboxId(1),
            name: &name,
            local: &name,
            role: None,
            rows: &self.rows,
            agreed,
            scan,
            remote: Some(remote),
            rules: FlagRules { deleted_is_local: false, permanent, read_only },
            delete: self.delete,
            expunges_alone: true,
            reset: false,
            matched: true,
            saves: &Saves::default(),
            undecided: &BTreeSet::new(),
            waiting: (BTreeSet::new(), UidSet::new()),
            matches: &[],
            memory: &Memory { letters: scan.letters.clone().unwrap_or_default(), ..Memory::default() },
        }
        .plan()
    }

    /// Pretends that every step succeeds.
    fn carry_out(&mut self, plan: &MailboxPlan) {
        for change in &plan.flags {
            let here = self.local.get_mut(&change.unique).unwrap();
            here.1 = change.flags.to_local.apply(&here.1);
            let there = self.remote.get_mut(&change.uid).unwrap();
            there.1 = change.flags.to_remote.apply(&there.1);
            assert_eq!(there.1, change.flags.agreed, "the baseline is what the server has");
            self.rows.iter_mut().find(|row| row.id == change.row).unwrap().flags = change.flags.agreed.clone();
        }
        for from in &plan.download {
            let (content, flags) = self.remote[from].clone();
            self.rows.retain(|row| row.uid != *from);
            self.rows.push(row(content + 1000, *from, unique(content), flags.clone()));
            assert!(self.local.insert(unique(content), (content, flags)).is_none(), "doubled here");
        }
        for upload in &plan.upload {
            let (content, flags) = self.local[&upload.unique].clone();
            let to = uid(content + 500);
            self.rows.push(row(content + 1000, to, upload.unique.clone(), flags.clone()));
            assert!(self.remote.insert(to, (content, flags)).is_none(), "doubled there");
        }
        for removal in &plan.remove_local {
            assert!(self.local.remove(&removal.unique).is_some());
            self.rows.retain(|row| row.id != removal.row);
        }
        for removal in &plan.remove_remote {
            let row = self.rows.iter_mut().find(|row| row.id == removal.row).unwrap();
            match removal.how {
                Removal::Keep | Removal::Flag => {
                    row.unique = None;
                    let kept = removal.how == Removal::Keep;
                    row.tombstone = Some(if kept { Tombstone::Kept } else { Tombstone::Flagged });
                    let there = self.remote.get_mut(&removal.uid).unwrap();
                    there.1.set(Flag::Deleted, there.1.has(Flag::Deleted) || !kept);
                }
                Removal::Trash | Removal::Expunge | Removal::Moved | Removal::Purge => {
                    assert!(self.remote.remove(&removal.uid).is_some());
                    self.rows.retain(|row| row.id != removal.row);
                }
            }
        }
        self.rows.retain(|row| !plan.forget.contains(&row.id));
        self.before = self.remote.iter().map(|(uid, (_, flags))| (*uid, flags.clone())).collect();
    }

    fn buried(&self) -> BTreeSet<Uid> {
        self.rows.iter().filter(|row| row.tombstone.is_some()).map(|row| row.uid).collect()
    }
}

fn by_content<N: Ord>(side: &BTreeMap<N, (u32, FlagSet)>, leave_out: &BTreeSet<N>) -> BTreeMap<u32, FlagSet> {
    side.iter()
        .filter(|(name, _)| !leave_out.contains(name))
        .map(|(_, (content, flags))| (*content, flags.clone()))
        .collect()
}

/// What every edit of a flag comes to, message by message, if no side removed it.
fn expected_flags(world: &World) -> BTreeMap<u32, FlagSet> {
    let both = world.rows.iter().filter_map(|row| {
        let (content, here) = world.local.get(row.unique.as_ref()?)?;
        let (_, there) = world.remote.get(&row.uid)?;
        Some((*content, FlagSet::merge(&row.flags, here, there)))
    });
    let new_here = world.local.values().filter(|(content, _)| *content >= 100).cloned();
    let new_there = world.remote.values().filter(|(content, _)| *content >= 100).cloned();
    both.chain(new_here).chain(new_there).collect()
}

/// Returns whether a maildir needs no look.
fn is_as_agreed(row: &MailboxRow, messages: &[MessageRow], scan: &LocalSnapshot) -> bool {
    let mut agreement = Agreement::new(row, scan);
    messages.iter().all(|message| agreement.stays(message)) && agreement.is_whole()
}

proptest! {
    #[test]
    fn a_plan_brings_both_sides_together_and_leaves_nothing_to_do(start in world()) {
        let expected = expected_flags(&start);
        for full in [true, false] {
            let mut world = start.clone();
            world.carry_out(&start.plan(full));
            prop_assert_eq!(&by_content(&world.local, &BTreeSet::new()), &expected, "the Maildir");
            prop_assert_eq!(&by_content(&world.remote, &world.buried()), &expected, "the server");
            prop_assert!(world.plan(true).is_empty() && world.plan(false).is_empty(), "{:?}", world.plan(true));
        }
    }

    #[test]
    fn a_delta_leads_to_the_same_plan_as_a_full_look(start in world()) {
        prop_assert_eq!(start.plan(true), start.plan(false));
    }

    #[test]
    fn rows_that_nothing_is_to_be_decided_about_are_not_needed(start in world()) {
        let (scan, look) = (start.scan(), start.look(false));
        let row = MailboxRow { letters: scan.letters.clone().unwrap(), ..MailboxRow::blank_inbox() };
        let mut agreement = Agreement::new(&row, &scan);
        let (let_go, held): (Vec<_>, Vec<_>) = start.rows.iter().cloned().partition(|row| agreement.let_go(row));
        let mut agreed = agreement.finish();
        prop_assert_eq!(agreed.count(), let_go.len() as u64);
        let mut few = World { rows: held, ..start.clone() };
        for row in let_go {
            let unique = row.unique.clone().unwrap();
            prop_assert!(agreed.contains(&scan, &unique) && !row.flags.has(Flag::Draft));
            if look.messages.get(row.uid) != Some(None) {
                agreed.remove(&scan, &unique);
                prop_assert!(!agreed.contains(&scan, &unique));
                few.rows.push(row);
            }
        }
        few.rows.sort_by_key(|row| row.uid);
        prop_assert_eq!(few.plan_but(&agreed, &scan, &look), start.plan_of(&scan, &look));
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter(start in world()) {
        let mut reversed = start.clone();
        reversed.rows.reverse();
        let (mut one, mut other) = (start.plan(true), reversed.plan(true));
        for plan in [&mut one, &mut other] {
            plan.flags.sort_by_key(|change| change.row);
            plan.remove_local.sort_by_key(|removal| removal.row);
            plan.remove_remote.sort_by_key(|removal| removal.row);
            plan.forget.sort();
        }
        prop_assert_eq!(one, other);
    }

    #[test]
    fn an_unquiet_scan_removes_nothing(start in world()) {
        let mut scan = start.scan();
        scan.quiet = false;
        let plan = start.plan_of(&scan, &start.look(true));
        prop_assert!(plan.remove_remote.is_empty() && plan.unknown);
    }

    #[test]
    fn a_maildir_that_needs_no_look_leaves_nothing_to_do(start in world()) {
        let mut world = start;
        world.remote = world.rows.iter().map(|row| (row.uid, (row.uid.get(), row.flags.clone()))).collect();
        let scan = world.scan();
        let row = MailboxRow { letters: scan.letters.clone().unwrap(), ..MailboxRow::blank_inbox() };
        let needs_none = is_as_agreed(&row, &world.rows, &scan);
        prop_assert_eq!(needs_none, world.plan(true).is_empty());
        let other = LocalSnapshot { quiet: false, ..scan.clone() };
        prop_assert!(!is_as_agreed(&row, &world.rows, &other));
        let other = LocalSnapshot { letters: None, ..scan.clone() };
        prop_assert!(!is_as_agreed(&row, &world.rows, &other));
        let other = LocalSnapshot { directory: Some(DirId { device: 1, inode: 1 }), ..scan.clone() };
        prop_assert!(!is_as_agreed(&row, &world.rows, &other));
        let other = LocalSnapshot { duplicates: vec!["new/m1".to_owned()], ..scan.clone() };
        prop_assert!(!is_as_agreed(&row, &world.rows, &other));
        if let Some(saved) = world.rows.first_mut() {
            saved.stat = Some(FileStat { inode: 2, size: 1, mtime_ns: 1 });
            prop_assert!(!is_as_agreed(&row, &world.rows, &scan), "another file has the name");
        }
    }

    #[test]
    fn a_mailbox_that_cannot_be_changed_is_not_changed(start in world()) {
        let remote = RemoteSnapshot { read_only: true, ..start.look(true) };
        let plan = start.plan_of(&start.scan(), &remote);
        prop_assert!(plan.upload.is_empty() && plan.flags.iter().all(|change| change.flags.to_remote.is_empty()));
        prop_assert!(plan.remove_remote.iter().all(|removal| removal.how == Removal::Keep));
    }
}
