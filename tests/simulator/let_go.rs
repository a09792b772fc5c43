//! What is as it was need not be read, or not held once it was: nothing is overlooked for that, nor done twice.

use mailtide::model::{Flag, FlagSet, MailboxName, Role, Timestamp};
use mailtide::reconcile::policy::{Delete, MaxDelete, Options};

use super::account::{DATE, codes, delete_locally, file, in_step, local_ids, remote_ids, sync};
use super::check::broken;
use super::file::Place;
use super::history::{calm_run, idle_run};
use super::mail::Kind;
use super::maildir::Save;
use super::scenarios;
use super::users::folder;
use super::world::{Shared, World};

fn arrive(world: &mut World, id: u32) {
    world.remote_put(&MailboxName::inbox(), id, Kind::Ordinary, Timestamp(DATE.0 + i64::from(id)), &FlagSet::new());
}

/// Syncs, and returns whether the files of INBOX were listed and all its messages read from the database.
fn is_read(shared: &Shared) -> bool {
    shared.world().log = Some(Vec::new());
    sync(shared);
    let log = shared.world().log.take().unwrap();
    let is_it = |call: &String| call.contains(" scan INBOX") || call.contains(" messages MailboxId");
    assert!(broken(&shared.world()).is_empty());
    log.iter().any(is_it)
}

/// Returns an account of five messages of which all is known that is needed.
fn quiet() -> Shared {
    let shared = in_step(Delete::Trash, 5);
    idle_run(&shared, false);
    shared
}

#[test]
fn where_only_new_mail_has_come_no_file_is_listed_and_no_known_message_read() {
    let shared = quiet();
    arrive(&mut shared.world(), 6);
    assert!(!is_read(&shared));
    assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6]);
    idle_run(&shared, true);
}

#[test]
fn what_else_has_changed_is_not_overlooked() {
    type Change = fn(&Shared);
    // Without listing files if all has happened on the server.
    let changes: [(Change, bool, &[u32]); 7] = [
        (|shared| scenarios::remote_flag(&mut shared.world(), 2, "\\Flagged", true), false, &[1, 2, 3, 4, 5]),
        (|shared| scenarios::remote_delete(&mut shared.world(), 2), false, &[1, 3, 4, 5]),
        (|shared| scenarios::local_flag(&mut shared.world(), 3, "\\Seen", true), true, &[1, 2, 3, 4, 5]),
        (|shared| scenarios::local_delete(&mut shared.world(), 3), true, &[1, 2, 4, 5]),
        (|shared| scenarios::local(&mut shared.world(), "INBOX", 7, &[]), true, &[1, 2, 3, 4, 5, 7]),
        (remove_unseen, true, &[1, 2, 4, 5]),
        (|shared| (1..=3).for_each(|id| scenarios::remote_delete(&mut shared.world(), id)), true, &[4, 5]),
    ];
    for (at, (change, is_listed, left)) in changes.into_iter().enumerate() {
        for new in [&[][..], &[6]] {
            let shared = quiet();
            new.iter().for_each(|id| arrive(&mut shared.world(), *id));
            change(&shared);
            assert_eq!(is_read(&shared), is_listed, "change {at}");
            let mut all = [left, new].concat();
            all.sort_unstable();
            for ids in [local_ids, remote_ids] {
                assert_eq!(ids(&shared, "INBOX"), all, "change {at}");
            }
            idle_run(&shared, true);
        }
    }
}

/// The file of a message that is flagged on the server is removed between two looks at its maildir.
fn remove_unseen(shared: &Shared) {
    let world = &mut *shared.world();
    scenarios::remote_flag(world, 3, "\\Flagged", true);
    world.meanwhile = Some(("look for 1 files in INBOX", |world| scenarios::local_delete(world, 3)));
}

/// Neither the name of a file nor the times of its directory tell that it was saved again.
#[test]
fn a_draft_saved_in_place_is_not_overlooked() {
    type Change = fn(&mut World);
    let changes: [Change; 3] = [
        |world| arrive(world, 6),
        |world| scenarios::remote_flag(world, 2, "\\Flagged", true),
        |world| scenarios::remote_delete(world, 3),
    ];
    for change in changes {
        for is_saved in [false, true] {
            let shared = quiet();
            scenarios::local_flag(&mut shared.world(), 2, "\\Draft", true);
            sync(&shared);
            idle_run(&shared, false);
            change(&mut shared.world());
            let unique = file(&shared, 2);
            if is_saved {
                shared.world().local_save(&MailboxName::inbox(), &unique, Save::InPlace);
            }
            assert_eq!(is_read(&shared), is_saved);
            idle_run(&shared, true);
        }
    }
}

/// With all to be looked at, all is read.
#[test]
fn a_full_sync_lists_the_files() {
    let shared = quiet();
    arrive(&mut shared.world(), 6);
    shared.world().now.0 += 60;
    shared.world().log = Some(Vec::new());
    calm_run(&shared, &Options { full: true, ..Options::default() });
    let log = shared.world().log.take().unwrap();
    assert!(log.iter().any(|call| call.contains(" scan INBOX")));
}

/// Then all UIDs are others, and none of the messages known before looks gone.
#[test]
fn a_mailbox_numbered_anew_between_listing_and_look_has_lost_nothing() {
    let shared = quiet();
    arrive(&mut shared.world(), 6);
    shared.world().meanwhile = Some(("observe INBOX", |world| world.remote_renumber(&MailboxName::inbox())));
    // The first of them finds out.
    sync(&shared);
    sync(&shared);
    assert!(broken(&shared.world()).is_empty());
    for ids in [local_ids, remote_ids] {
        assert_eq!(ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6]);
    }
    idle_run(&shared, true);
}

/// Its row is not held until the server says that the message has gone. That it was saved again shows only then.
#[test]
fn what_was_edited_here_and_has_gone_from_the_server_is_sent_by_the_same_sync() {
    for is_listed in [true, false] {
        let shared = quiet();
        let unique = file(&shared, 2);
        let edited = shared.world().local_save(&MailboxName::inbox(), &unique, Save::InPlace).unwrap();
        // Then the maildir is listed, and nothing else in it has changed.
        if is_listed {
            scenarios::local_flag(&mut shared.world(), 3, "\\Seen", true);
        }
        scenarios::remote_delete(&mut shared.world(), 2);
        sync(&shared);
        assert_eq!(remote_ids(&shared, "INBOX"), [1, 3, 4, 5, edited]);
        assert_eq!(local_ids(&shared, "INBOX"), [1, 3, 4, 5, edited]);
        idle_run(&shared, true);
    }
}

/// What few of many are is not told by those whose rows are held.
#[test]
fn few_of_many_that_are_removed_are_few() {
    let there = |shared: &Shared, id| scenarios::remote_delete(&mut shared.world(), id);
    for (removed, held) in [(5, 0), (6, 1)] {
        for delete in [delete_locally, there] {
            let shared = in_step(Delete::Trash, 20);
            shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 5, at_most: 100 };
            idle_run(&shared, false);
            (1..=removed).for_each(|id| delete(&shared, id));
            assert_eq!(sync(&shared).held.len(), held, "{removed} of 20");
        }
    }
}

/// A file of the name that one has that is to follow its message there: known, and neither listed nor held.
#[test]
fn a_name_taken_in_a_maildir_that_is_not_listed_is_taken() {
    let shared = in_step(Delete::Trash, 5);
    let (inbox, archive, unique) = (MailboxName::inbox(), folder("Archive"), file(&shared, 2));
    {
        let world = &mut *shared.world();
        world.remote_put(&archive, 7, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    {
        let world = &mut *shared.world();
        let (_, other) = scenarios::file(world, 7);
        world.maildir.user(&archive, &other, |place: &Place| Some(Place { unique: unique.clone(), ..place.clone() }));
    }
    sync(&shared);
    idle_run(&shared, false);
    {
        let world = &mut *shared.world();
        let (_, uid) = scenarios::uid(world, 2);
        world.remote_move(&inbox, uid, &archive);
    }
    let report = sync(&shared);
    assert!(codes(&report).is_empty(), "{report:?}");
    assert_eq!((local_ids(&shared, "INBOX"), local_ids(&shared, "Archive")), (vec![1, 3, 4, 5], vec![2, 7]));
    assert!(broken(&shared.world()).is_empty());
    idle_run(&shared, true);
}

/// In Drafts any message may be saved again, also one that bears no such flag.
#[test]
fn what_was_saved_in_place_in_drafts_is_sent() {
    let shared = in_step(Delete::Trash, 1);
    let drafts = folder("Drafts");
    {
        let world = &mut *shared.world();
        world.server.create(&drafts, Some(Role::Drafts));
        (10..13).for_each(|id| world.remote_put(&drafts, id, Kind::Ordinary, DATE, &FlagSet::new()));
    }
    sync(&shared);
    idle_run(&shared, false);
    let (_, unique) = scenarios::file(&shared.world(), 11);
    let saved = shared.world().local_save(&drafts, &unique, Save::InPlace).unwrap();
    sync(&shared);
    assert_eq!(remote_ids(&shared, "Drafts"), [10, 12, saved]);
    idle_run(&shared, true);
}

/// The server keeps the version before, as it lets nothing be removed: that is outdated still, and was sent.
#[test]
fn a_new_version_is_sent_once_though_the_one_before_stays() {
    let shared = quiet();
    let inbox = MailboxName::inbox();
    shared.world().server.open(&inbox).unwrap().permanent.flags.set(Flag::Deleted, false);
    scenarios::local_flag(&mut shared.world(), 2, "\\Draft", true);
    sync(&shared);
    let unique = file(&shared, 2);
    let saved = shared.world().local_save(&inbox, &unique, Save::InPlace).unwrap();
    sync(&shared);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, saved]);
    scenarios::local_flag(&mut shared.world(), saved, "\\Draft", false);
    sync(&shared);
    scenarios::local_flag(&mut shared.world(), 3, "\\Seen", true);
    sync(&shared);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, saved]);
    idle_run(&shared, true);
}
