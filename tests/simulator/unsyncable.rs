//! What the server won't take or one folder can't show: nothing is lost for it, it is told when it is found, and not
//! asked for in every run.

use mailtide::model::{FlagSet, MailboxName, Timestamp, Uid};
use mailtide::reconcile::policy::{Delete, HoldAnswer, MaxDelete, Options};
use mailtide::reconcile::report::{Reason, Report};
use mailtide::reconcile::snapshot::Abilities;

use super::account::{codes, ids, struck_at_every_call, struck_everywhere, waiting};
use super::check::{View, local_view, remote_view};
use super::history::{calm_run, is_idle, policy, run};
use super::mail::{Kind, id_of};
use super::rng::Rng;
use super::schedule::{CrashAt, Schedule};
use super::server::Server;
use super::users::{FlagEdit, folder};
use super::world::{Shared, World};

const DATE: Timestamp = Timestamp(1_600_000_000);
const FULL: Abilities = Abilities { mod_seq: true, moves: true, uid_plus: true, deleted_is_final: false };
const PLAIN: Abilities = Abilities { mod_seq: false, moves: false, uid_plus: false, deleted_is_final: false };

/// An account with so many messages in INBOX and an empty Archive, in step; no Trash.
fn in_step(abilities: Abilities, delete: Delete, messages: u32) -> Shared {
    let mut world = World::new(Server::new(abilities), policy(delete), Rng::new(1));
    world.server.create(&folder("Archive"), None);
    for id in 1..=messages {
        world.remote_put(&MailboxName::inbox(), id, Kind::Ordinary, Timestamp(DATE.0 + i64::from(id)), &FlagSet::new());
    }
    let shared = Shared::new(world);
    sync(&shared);
    shared
}

fn sync(shared: &Shared) -> Report {
    answer(shared, HoldAnswer::Keep)
}

fn answer(shared: &Shared, holds: HoldAnswer) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options { holds, ..Options::default() })
}

fn there(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&remote_view(&shared.world()), name)
}

fn here(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&local_view(&shared.world()), name)
}

fn flags(view: &View, id: u32) -> FlagSet {
    view.values().flatten().find(|seen| seen.id == id).unwrap().flags.clone()
}

fn words(words: &[&str]) -> FlagSet {
    words.iter().fold(FlagSet::new(), |set, word| set.union(&FlagEdit::new(word, true).flags))
}

fn edit_file(shared: &Shared, id: u32, edit: impl FnOnce(&mut World, &MailboxName, &mailtide::model::UniqueName)) {
    let mut world = shared.world();
    let is_it = |(name, unique): &(MailboxName, mailtide::model::UniqueName)| {
        let mut files = world.maildir.folders[name].messages();
        files.any(|file| id_of(&file.bytes) == id && file.place.as_ref().is_some_and(|place| place.unique == *unique))
    };
    let (name, unique) = world.files().into_iter().find(is_it).unwrap();
    edit(&mut world, &name, &unique);
}

#[test]
fn flags_dropped_at_append_stay_on_the_file_whatever_interrupts() {
    for abilities in [FULL, PLAIN] {
        for step in 0.. {
            let shared = in_step(abilities, Delete::Trash, 1);
            shared.world().mishaps.drops = words(&["\\Flagged", "work"]);
            let sent = words(&["\\Seen", "\\Flagged", "work"]);
            shared.world().local_put(&MailboxName::inbox(), 2, Kind::Ordinary, DATE, Some(&sent));
            // An interruption between the record of the append and the next look leaves open who took the flags off.
            let crash = Schedule::Crash(CrashAt { step, after: false, power: false });
            let died = abilities == PLAIN && run(&shared, crash, &Options::default()).is_none();
            let found = sync(&shared);
            assert_eq!(flags(&local_view(&shared.world()), 2), sent, "step {step}: {found:?}");
            assert_eq!(flags(&remote_view(&shared.world()), 2), words(&["\\Seen"]), "step {step}");
            sync(&shared);
            let report = sync(&shared);
            assert!(is_idle(&report) && report.problems.is_empty(), "step {step}: {report:?}");
            assert_eq!(waiting(&report), ["flag-refused"], "step {step}");
            if !died {
                break;
            }
        }
    }
}

#[test]
fn a_flag_taken_off_by_others_after_an_append_is_followed() {
    let shared = in_step(FULL, Delete::Trash, 0);
    let sent = words(&["\\Seen", "\\Flagged"]);
    shared.world().local_put(&MailboxName::inbox(), 1, Kind::Ordinary, DATE, Some(&sent));
    sync(&shared);
    let uid = Uid::new(1).unwrap();
    shared.world().remote_flag(&MailboxName::inbox(), uid, &FlagEdit::new("\\Flagged", false));
    assert!(sync(&shared).problems.is_empty());
    assert_eq!(flags(&local_view(&shared.world()), 1), words(&["\\Seen"]));
}

#[test]
fn a_refused_flag_is_tried_daily_and_others_get_through() {
    let make = || {
        let shared = in_step(FULL, Delete::Trash, 1);
        shared.world().mishaps.drops = words(&["work"]);
        edit_file(&shared, 1, |world, name, file| world.local_flag(name, file, &FlagEdit::new("work", true)));
        shared
    };
    let shared = make();
    for _ in 0..2 {
        assert_eq!(codes(&sync(&shared)), ["flag-refused"]);
        edit_file(&shared, 1, |world, name, file| world.local_flag(name, file, &FlagEdit::new("\\Seen", true)));
        let report = sync(&shared);
        assert_eq!((codes(&report), waiting(&report)), (vec![], vec!["flag-refused"]));
        assert!(flags(&remote_view(&shared.world()), 1).has(mailtide::model::Flag::Seen));
        shared.world().now.0 += 86_400;
    }
    shared.world().mishaps.drops = FlagSet::new();
    let report = sync(&shared);
    assert_eq!((codes(&report), waiting(&report)), (vec![], vec![]));
    assert_eq!(flags(&remote_view(&shared.world()), 1), words(&["\\Seen", "work"]));
    assert!(waiting(&sync(&shared)).is_empty());
    struck_at_every_call(make, |shared, context| {
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            assert_eq!(flags(&view, 1), words(&["work"]), "{context}");
        }
    });
}

#[test]
fn a_local_removal_that_cannot_be_flagged_is_kept_as_one() {
    let make = || {
        let shared = in_step(FULL, Delete::Flag, 1);
        shared.world().mishaps.drops = words(&["\\Deleted"]);
        edit_file(&shared, 1, World::local_delete);
        shared
    };
    let shared = make();
    assert_eq!(codes(&sync(&shared)), ["removal-refused"]);
    let report = sync(&shared);
    assert_eq!((codes(&report), waiting(&report)), (vec![], vec!["removal-refused"]));
    assert_eq!((here(&shared, "INBOX"), there(&shared, "INBOX")), (vec![], vec![1]));
    struck_at_every_call(make, |shared, context| {
        assert_eq!((here(shared, "INBOX"), there(shared, "INBOX")), (vec![], vec![1]), "{context}");
    });
}

#[test]
fn flags_that_a_mailbox_does_not_store_are_told_once() {
    let shared = in_step(FULL, Delete::Trash, 2);
    let inbox = MailboxName::inbox();
    shared.world().server.mailboxes.get_mut(&inbox).unwrap().permanent.new_keywords = false;
    edit_file(&shared, 1, |world, name, file| world.local_flag(name, file, &FlagEdit::new("work", true)));
    shared.world().remote_put(&inbox, 3, Kind::Ordinary, DATE, &FlagSet::new());
    assert_eq!(codes(&sync(&shared)), ["flag-unsupported"]);
    for days in [0, 0, 2] {
        shared.world().now.0 += days * 86_400;
        let report = sync(&shared);
        assert_eq!((codes(&report), waiting(&report)), (vec![], vec!["flag-unsupported"]));
    }
    edit_file(&shared, 2, |world, name, file| world.local_flag(name, file, &FlagEdit::new("Later", true)));
    assert_eq!(codes(&sync(&shared)), ["flag-unsupported"], "another keyword is news");
    for (id, word) in [(1, "work"), (2, "Later")] {
        edit_file(&shared, id, |world, name, file| world.local_flag(name, file, &FlagEdit::new(word, false)));
    }
    let report = sync(&shared);
    assert_eq!((codes(&report), waiting(&report)), (vec![], vec![]));
}

#[test]
fn nothing_is_removed_while_it_may_have_moved_into_a_folder_that_cannot_be_used() {
    for (unreadable, delete) in [(true, Delete::Expunge), (false, Delete::Expunge), (true, Delete::Trash)] {
        let make = || {
            let shared = in_step(FULL, delete, 2);
            edit_file(&shared, 1, |world, name, file| world.local_move(name, file, &folder("Archive")));
            match unreadable {
                true => shared.world().mishaps.unreadable = Some(folder("Archive")),
                false => shared.world().mishaps.unlooked = Some(folder("Archive")),
            }
            shared.world().remote_put(&folder("Archive"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            shared
        };
        let shared = make();
        for _ in 0..2 {
            let report = sync(&shared);
            assert!(!report.problems.is_empty(), "told");
            assert_eq!(there(&shared, "INBOX"), [1, 2]);
        }
        shared.world().mishaps.unreadable = None;
        shared.world().mishaps.unlooked = None;
        assert!(sync(&shared).problems.is_empty());
        assert_eq!((there(&shared, "INBOX"), there(&shared, "Archive")), (vec![2], vec![1, 3]));
        struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1, 3])]);
    }
}

#[test]
fn nothing_is_removed_while_its_new_folder_cannot_be_created() {
    let make = || {
        let shared = in_step(FULL, Delete::Expunge, 2);
        shared.world().mishaps.creates = true;
        shared.world().maildir.create(&folder("New"));
        edit_file(&shared, 1, |world, name, file| world.local_move(name, file, &folder("New")));
        shared
    };
    let shared = make();
    for _ in 0..2 {
        assert!(!sync(&shared).problems.is_empty());
        assert_eq!(there(&shared, "INBOX"), [1, 2]);
    }
    shared.world().mishaps.creates = false;
    sync(&shared);
    assert_eq!((there(&shared, "INBOX"), there(&shared, "New")), (vec![2], vec![1]));
    struck_everywhere(make, &[("INBOX", &[2]), ("New", &[1])]);
}

#[test]
fn without_a_trash_a_removal_is_held_until_it_is_answered() {
    for undone in [true, false] {
        let shared = in_step(FULL, Delete::Trash, 3);
        shared.world().mishaps.creates = true;
        edit_file(&shared, 1, World::local_delete);
        // An answer given before there was the question is none.
        for holds in [HoldAnswer::Accept, HoldAnswer::Keep] {
            let held: Vec<_> = answer(&shared, holds).held.iter().map(|held| (held.reason, held.count)).collect();
            assert_eq!(held, [(Reason::NoTrash, 1)]);
            assert_eq!(there(&shared, "INBOX"), [1, 2, 3]);
        }
        let report = answer(&shared, if undone { HoldAnswer::Undo } else { HoldAnswer::Accept });
        assert!(report.held.is_empty(), "{report:?}");
        let left = if undone { vec![1, 2, 3] } else { vec![2, 3] };
        assert_eq!((here(&shared, "INBOX"), there(&shared, "INBOX")), (left.clone(), left));
        let report = sync(&shared);
        assert!(is_idle(&report) && report.problems.is_empty(), "{report:?}");
    }
}

#[test]
fn flagging_deleted_in_slices_adds_up_over_a_day() {
    for local in [true, false] {
        let shared = in_step(FULL, Delete::Trash, 12);
        shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 6, at_most: 100 };
        let flag = |ids: std::ops::RangeInclusive<u32>| {
            for id in ids {
                match local {
                    true => edit_file(&shared, id, |world, name, file| {
                        world.local_flag(name, file, &FlagEdit::new("\\Deleted", true));
                    }),
                    false => {
                        let uid = Uid::new(id).unwrap();
                        shared.world().remote_flag(&MailboxName::inbox(), uid, &FlagEdit::new("\\Deleted", true));
                    }
                }
            }
        };
        flag(1..=4);
        assert!(sync(&shared).held.is_empty());
        flag(5..=8);
        let held: Vec<_> = sync(&shared).held.iter().map(|held| (held.reason, held.count)).collect();
        assert_eq!(held, [(Reason::MassDelete, 4)], "local {local}");
        assert!(answer(&shared, HoldAnswer::Accept).held.is_empty());
        assert!(sync(&shared).held.is_empty());
    }
}

#[test]
fn messages_flagged_deleted_and_expunged_later_count_once() {
    let shared = in_step(FULL, Delete::Trash, 12);
    shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 6, at_most: 100 };
    let uids = || (1..=5).map(|id| Uid::new(id).unwrap());
    for uid in uids() {
        shared.world().remote_flag(&MailboxName::inbox(), uid, &FlagEdit::new("\\Deleted", true));
    }
    assert!(sync(&shared).held.is_empty());
    uids().for_each(|uid| shared.world().remote_delete(&MailboxName::inbox(), uid));
    let report = sync(&shared);
    assert_eq!((report.held.len(), report.local.removed), (0, 5));
}

#[test]
fn a_trash_made_anew_has_its_local_name_and_is_announced() {
    let shared = in_step(FULL, Delete::Trash, 2);
    let role = mailtide::reconcile::scope::Pattern::parse("role:trash").unwrap();
    shared.world().policy.scope.local_names.push((role, folder("Bin")));
    edit_file(&shared, 1, World::local_delete);
    let book = shared.world().book.clone();
    let said = calm_run(&shared, &Options { dry_run: true, ..Options::default() });
    shared.world().book = book;
    let did = sync(&shared);
    assert_eq!((said.local, said.remote), (did.local, did.remote));
    assert_eq!((there(&shared, "Trash"), here(&shared, "Bin")), (vec![1], vec![1]));
    assert!(is_idle(&sync(&shared)) && !shared.world().maildir.folders.contains_key(&folder("Trash")));
}
