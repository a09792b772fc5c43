//! Folders that look like others which have gone, been emptied or been numbered anew are not taken for them.

use mailtide::model::{FlagSet, MailboxName, Role, Timestamp};
use mailtide::reconcile::policy::{Delete, HoldAnswer, Options};

use super::account::{
    DATE, answer, at_every_call, codes, dies, in_step, local_ids, remote_ids, struck_at_every_call, struck_everywhere,
    sync,
};
use super::history::{calm_run, policy};
use super::mail::Kind;
use super::rng::Rng;
use super::scenarios::{FULL, PLAIN, assert_kept, file, local_flag, quiet, uid};
use super::schedule::CrashAt;
use super::server::Server;
use super::users::folder;
use super::world::{Shared, World};

/// Makes a mailbox that has held a message.
fn used(shared: &Shared, name: &str, id: u32) {
    let mut world = shared.world();
    world.remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    let (name, uid) = uid(&world, id);
    world.remote_delete(&name, uid);
}

/// Others had moved a message of it to the other one: its rows were taken for that one's, and mail there for known.
#[test]
fn a_folder_that_the_list_leaves_out_is_not_taken_for_one_that_looks_like_it() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        {
            let mut world = shared.world();
            (world.server.same_second, world.server.status) = (true, false);
        }
        used(&shared, "One", 2);
        used(&shared, "Two", 3);
        for id in [4, 5] {
            shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
        }
        sync(&shared);
        used(&shared, "New", 6);
        let (name, uid) = uid(&shared.world(), 4);
        shared.world().remote_move(&name, uid, &folder("Two"));
        shared.world().mishaps.unlisted = Some(folder("One"));
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert_eq!((codes(&report), report.local.folders_renamed), (vec!["folder-unlisted"], 0), "{report:?}");
    shared.world().mishaps.unlisted = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![5], vec![4]));
    }
    struck_everywhere(make, &[("One", &[5]), ("Two", &[4])]);
}

/// It could be opened under its name and then not be looked at: so its copy was taken for it.
#[test]
fn a_folder_that_the_list_leaves_out_is_not_taken_for_its_copy_when_it_cannot_be_looked_at() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().server.same_second = true;
        shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
        {
            let mut world = shared.world();
            let (name, uid) = uid(&world, 2);
            world.server.create(&folder("Two"), None);
            world.remote_copy(&name, uid, &folder("Two"));
            world.mishaps.unlisted = Some(folder("One"));
            // Once it is found to be there.
            world.meanwhile = Some(("observe One", |world| {
                world.meanwhile = Some(("observe One", |world| world.mishaps.unlooked = Some(folder("One"))));
            }));
        }
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!(report.local.folders_renamed, 0, "{report:?}");
    shared.world().mishaps.unlisted = None;
    shared.world().mishaps.unlooked = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2], vec![2]));
    }
    struck_everywhere(make, &[("One", &[2]), ("Two", &[2])]);
}

/// It was renamed there, with what had come to it here.
#[test]
fn an_empty_folder_that_was_deleted_is_not_taken_for_another_empty_one() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().server.same_second = true;
        shared.world().server.create(&folder("One"), None);
        sync(&shared);
        shared.world().server.create(&folder("Two"), None);
        shared.world().remote_remove_folder(&folder("One"));
        shared.world().local_put(&folder("One"), 2, Kind::Ordinary, DATE, None);
        shared
    };
    let shared = make();
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2], vec![]));
    }
    struck_everywhere(make, &[("One", &[2]), ("Two", &[])]);
}

/// Whatever could be opened under the old name was taken for it: the message of the other was paired with its file.
#[test]
fn a_folder_renamed_there_is_not_the_one_that_gets_its_name_while_it_is_searched_for() {
    let shared = in_step(Delete::Expunge, 1);
    shared.world().server.same_second = true;
    shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
    sync(&shared);
    {
        let mut world = shared.world();
        world.remote_put(&folder("Two"), 3, Kind::Ordinary, DATE, &FlagSet::new());
        world.remote_rename_folder(&folder("One"), &folder("New"));
        let takes_its_name: fn(&mut World) = |world| world.remote_rename_folder(&folder("Two"), &folder("One"));
        world.meanwhile = Some(("observe New", takes_its_name));
    }
    sync(&shared);
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    for ids in [local_ids, remote_ids] {
        assert_eq!(["New", "One", "Two"].map(|name| ids(&shared, name)), [vec![2], vec![3], vec![]]);
    }
}

/// Its row named the maildir renamed already: the files of the new one were looked for there, in every sync.
#[test]
fn a_folder_made_here_anew_after_a_rename_cut_short_is_sent() {
    for step in 0.. {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
        shared.world().remote_rename_folder(&folder("One"), &folder("New"));
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        let (name, uid) = uid(&shared.world(), 2);
        {
            let mut world = shared.world();
            world.remote_delete(&name, uid);
            world.local_put(&folder("One"), 3, Kind::Ordinary, DATE, None);
        }
        (0..3).for_each(|_| drop(sync(&shared)));
        let both = |ids: fn(&Shared, &str) -> Vec<u32>| ["One", "New"].map(|name| ids(&shared, name));
        assert_eq!(both(local_ids), both(remote_ids), "struck at {step}");
        // It may have been put there before the maildir was renamed; and what was removed meanwhile may have come back.
        let all = both(local_ids).concat();
        assert_eq!(all.iter().filter(|id| **id == 3).count(), 1, "struck at {step}");
        if !died {
            break;
        }
    }
}

/// Its rows were let go of as of a folder gone from both sides: all of it was fetched and sent.
#[test]
fn a_folder_renamed_here_while_another_is_followed_is_not_doubled_where_it_was_renamed_and_numbered_anew_there() {
    let make = || {
        let shared = in_step(Delete::Expunge, 1);
        for (name, id) in [("Archive", 2), ("One", 3), ("One", 4)] {
            shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        }
        sync(&shared);
        {
            let mut world = shared.world();
            world.remote_rename_folder(&folder("Archive"), &folder("Old"));
            world.remote_rename_folder(&folder("One"), &folder("Two"));
            world.server.renumber(&folder("Two"));
            let renames: fn(&mut World) = |world| world.local_rename_folder(&folder("One"), &folder("Mine"));
            world.meanwhile = Some(("rename maildir Archive", renames));
        }
        shared
    };
    let shared = make();
    sync(&shared);
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    for ids in [local_ids, remote_ids] {
        let found = ["Old", "One", "Two", "Mine"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![2], vec![], vec![3, 4], vec![]]);
    }
    struck_everywhere(make, &[("Old", &[2]), ("One", &[]), ("Two", &[3, 4]), ("Mine", &[])]);
}

/// Both had held one message: it was renamed here to the other's name, with what had come to it.
#[test]
fn an_emptied_folder_that_was_deleted_is_not_taken_for_another_emptied_one() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().server.same_second = true;
        used(&shared, "One", 2);
        sync(&shared);
        used(&shared, "Two", 3);
        shared.world().remote_remove_folder(&folder("One"));
        shared.world().local_put(&folder("One"), 4, Kind::Ordinary, DATE, None);
        shared
    };
    let shared = make();
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![4], vec![]));
    }
    struck_everywhere(make, &[("One", &[4]), ("Two", &[])]);
}

/// Of two folders with a message each and equal numbers one is deleted there, and the other gets its name.
fn one_took_the_name_of_another() -> Shared {
    let shared = in_step(Delete::Trash, 1);
    shared.world().server.same_second = true;
    for (name, id) in [("One", 2), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    let mut world = shared.world();
    world.remote_remove_folder(&folder("One"));
    world.remote_rename_folder(&folder("Two"), &folder("One"));
    let now = world.server.watermark(&folder("One")).unwrap();
    let row = world.book.mailboxes.values().find(|row| row.name == folder("One"));
    assert_eq!(row.and_then(|row| row.watermark), Some(now), "no listing tells them apart");
    drop(world);
    shared
}

fn assert_followed(shared: &Shared) {
    // The file of the one that is not there any more is new: a number that names another message removes nothing.
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(shared, "One"), ids(shared, "Two")), (vec![2, 3], vec![]));
    }
    super::history::idle_run(shared, false);
    super::compare::in_step(shared);
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
}

/// It was found by its messages, could not be renamed here, and was let go of: its file left the Maildir, and its message
/// was taken for that of the folder which had had the name.
#[test]
fn a_folder_that_got_the_name_of_a_deleted_one_is_not_taken_for_that() {
    let shared = one_took_the_name_of_another();
    let report = sync(&shared);
    assert_eq!((report.local.moved, report.local.added, report.local.removed), (1, 0, 0), "{report:?}");
    assert_followed(&shared);
}

/// Nothing had grown, as far as the numbers tell: its file left the Maildir, and nothing told any more what has the name.
#[test]
fn a_folder_that_got_the_name_of_a_deleted_one_is_not_let_go_of_before_that_is_looked_at() {
    let make = || {
        let shared = one_took_the_name_of_another();
        let hides: fn(&mut World) = |world| world.mishaps.unlooked = Some(folder("One"));
        shared.world().meanwhile = Some(("observe Two", hides));
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((local_ids(&shared, "One"), local_ids(&shared, "Two")), (vec![2], vec![3]), "{report:?}");
    shared.world().mishaps.unlooked = None;
    sync(&shared);
    assert_followed(&shared);
    struck_everywhere(make, &[("One", &[2, 3]), ("Two", &[])]);
}

/// No sync had seen the one that got the name, and nothing in the listing tells it from the one renamed: its message was
/// hidden behind that one's row, whose file was sent as another's.
#[test]
fn a_folder_renamed_there_is_not_one_never_seen_that_got_its_name_and_has_its_numbers() {
    let make = || {
        let shared = in_step(Delete::Expunge, 1);
        {
            let mut world = shared.world();
            world.server.same_second = true;
            world.server.abilities = PLAIN;
            world.remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        }
        (0..2).for_each(|_| drop(sync(&shared)));
        {
            let mut world = shared.world();
            let later = Timestamp(DATE.0 + 24 * 3600);
            world.remote_put(&folder("Two"), 3, Kind::Ordinary, later, &FlagSet::new());
            world.remote_rename_folder(&folder("One"), &folder("New"));
            world.remote_rename_folder(&folder("Two"), &folder("One"));
        }
        shared
    };
    let shared = make();
    sync(&shared);
    quiet(&shared);
    assert_kept(&shared, "renamed");
    for ids in [local_ids, remote_ids] {
        assert_eq!(["New", "One", "Two"].map(|name| ids(&shared, name)), [vec![2], vec![3], vec![]]);
    }
    struck_everywhere(make, &[("New", &[2]), ("One", &[3]), ("Two", &[])]);
}

/// Seed 1795957099301007: its only message had the header, size and date of the one that had gone, and was not fetched.
#[test]
fn a_new_folder_is_not_one_removed_whose_message_had_the_same_header() {
    for abilities in [FULL, PLAIN] {
        let make = || {
            let shared = in_step(Delete::Trash, 1);
            {
                let mut world = shared.world();
                (world.server.abilities, world.server.same_second) = (abilities, true);
                world.remote_put(&folder("One"), 2, Kind::Shared, DATE, &FlagSet::new());
            }
            sync(&shared);
            shared.world().remote_put(&folder("Two"), 3, Kind::Shared, DATE, &FlagSet::new());
            shared.world().remote_remove_folder(&folder("One"));
            shared
        };
        let shared = make();
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![], vec![3]), "{abilities:?}");
        }
        struck_everywhere(make, &[("One", &[]), ("Two", &[3])]);
    }
}

/// Both were made in the same second, and once a message had come nothing in the listing told them apart: it was hidden
/// behind the row of the one that the folder removed had held.
#[test]
fn an_empty_folder_that_gets_the_name_of_one_removed_and_its_numbers_is_not_that_one() {
    for (abilities, told) in [(FULL, true), (FULL, false), (PLAIN, true), (PLAIN, false)] {
        for (kind, come) in [(Kind::Ordinary, 1), (Kind::Shared, 1), (Kind::Anonymous, 1), (Kind::Shared, 2)] {
            let make = || {
                let shared = in_step(Delete::Expunge, 1);
                {
                    let mut world = shared.world();
                    (world.server.abilities, world.server.status, world.server.same_second) = (abilities, told, true);
                    world.remote_put(&folder("One"), 2, kind, DATE, &FlagSet::new());
                    world.server.create(&folder("Two"), None);
                }
                (0..2).for_each(|_| drop(sync(&shared)));
                {
                    let mut world = shared.world();
                    world.remote_remove_folder(&folder("One"));
                    world.remote_rename_folder(&folder("Two"), &folder("One"));
                    let later = Timestamp(DATE.0 + 24 * 3600);
                    (0..come).for_each(|one| world.remote_put(&folder("One"), 3 + one, kind, later, &FlagSet::new()));
                }
                shared
            };
            let shared = make();
            sync(&shared);
            quiet(&shared);
            let context = format!("{abilities:?}, told {told}, {kind:?}, {come} came");
            assert_kept(&shared, &context);
            for ids in [local_ids, remote_ids] {
                // What it held may have been removed or be lost: it is sent again.
                let expected = (2..3 + come).collect();
                assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (expected, vec![]), "{context}");
            }
            let end: Vec<u32> = (2..3 + come).collect();
            struck_everywhere(make, &[("One", &end), ("Two", &[])]);
        }
    }
}

/// Nothing under its old name was its own: it looked numbered anew and emptied, so all of it was sent there, and fetched
/// from where it is.
#[test]
fn a_folder_renamed_there_and_numbered_anew_is_not_what_got_its_name() {
    let takers: [fn(&mut World); 3] = [
        |world| world.remote_rename_folder(&folder("Two"), &folder("One")),
        |world| world.remote_rename_folder(&folder("Void"), &folder("One")),
        |world| world.remote_put(&folder("One"), 4, Kind::Ordinary, DATE, &FlagSet::new()),
    ];
    let ends: [[Vec<u32>; 3]; 3] =
        [[vec![3], vec![2], vec![]], [vec![], vec![2], vec![3]], [vec![4], vec![2], vec![3]]];
    let start = |object_ids: bool, takes: fn(&mut World)| {
        let shared = in_step(Delete::Expunge, 1);
        {
            let mut world = shared.world();
            world.server.object_ids = object_ids;
            world.remote_put(&folder("Two"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            world.server.create(&folder("Void"), None);
            // Made there by the sync, which is not told its id. A second one would learn it.
            world.local_put(&folder("One"), 2, Kind::Ordinary, DATE, None);
        }
        sync(&shared);
        {
            let mut world = shared.world();
            world.remote_rename_folder(&folder("One"), &folder("New"));
            world.server.renumber(&folder("New"));
            takes(&mut world);
        }
        shared
    };
    let assert_end = |shared: &Shared, end: &[Vec<u32>; 3], context: &str| {
        quiet(shared);
        assert_kept(shared, context);
        for ids in [local_ids, remote_ids] {
            assert_eq!(&["One", "New", "Two"].map(|name| ids(shared, name)), end, "{context}");
        }
    };
    for object_ids in [true, false] {
        for (at, (takes, end)) in takers.into_iter().zip(&ends).enumerate() {
            let shared = start(object_ids, takes);
            let report = sync(&shared);
            let context = format!("ids {object_ids}, taker {at}");
            assert_eq!((report.remote.added, report.local.removed), (0, 0), "{context}: {report:?}");
            assert_end(&shared, end, &context);
            let died = |step: u64| {
                let shared = start(object_ids, takes);
                let died = dies(&shared, CrashAt { step, after: true, power: false });
                sync(&shared);
                assert_end(&shared, end, &format!("{context}, struck at {step}"));
                died
            };
            assert!((0..10_000).take_while(|step| died(*step)).count() > 0);
        }
    }
}

/// The new one was taken for it, numbered anew and with none of its messages: what had been removed was sent there.
#[test]
fn a_folder_emptied_and_renamed_there_is_not_the_new_one_of_its_name() {
    for (abilities, told) in [(FULL, true), (FULL, false), (PLAIN, true), (PLAIN, false)] {
        let make = || {
            let shared = in_step(Delete::Expunge, 1);
            {
                let mut world = shared.world();
                (world.server.abilities, world.server.status) = (abilities, told);
            }
            for id in 2..=4 {
                shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            sync(&shared);
            {
                let mut world = shared.world();
                for id in 2..=4 {
                    let (name, uid) = uid(&world, id);
                    world.remote_delete(&name, uid);
                }
                world.remote_rename_folder(&folder("One"), &folder("New"));
                world.remote_put(&folder("New"), 5, Kind::Ordinary, DATE, &FlagSet::new());
                world.remote_put(&folder("One"), 6, Kind::Ordinary, DATE, &FlagSet::new());
            }
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert_eq!(report.remote.added, 0, "{abilities:?}, told {told}: {report:?}");
        struck_everywhere(make, &[("One", &[6]), ("New", &[5])]);
    }
}

/// Its id had been listed, and the messages of the new one were looked at: once that was followed to the other's new name,
/// and the run cut short, they were sent there.
#[test]
fn a_folder_made_anew_between_list_and_look_does_not_get_the_id_of_the_one_that_was_listed() {
    let died = |known: bool, step: u64| {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().server.object_ids = true;
        if known {
            shared.world().server.create(&folder("One"), None);
            sync(&shared);
        }
        shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        let makes_anew: fn(&mut World) = |world| {
            world.remote_rename_folder(&folder("One"), &folder("Two"));
            world.remote_put(&folder("One"), 3, Kind::Ordinary, DATE, &FlagSet::new());
        };
        shared.world().meanwhile = Some(("observe One", makes_anew));
        sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        sync(&shared);
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            let found = ["One", "Two"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![3], vec![2]], "known {known}, struck at {step}");
        }
        died
    };
    for known in [false, true] {
        assert!((0..10_000).take_while(|step| died(known, *step)).count() > 0);
    }
}

/// Others had moved a message of it to the other one, where it got the number that it had: it was taken for that one, and
/// what was set here on the others was gone with their files.
#[test]
fn a_mailbox_numbered_anew_is_not_one_that_has_not_counted_as_far() {
    for told in [true, false] {
        let shared = in_step(Delete::Trash, 1);
        {
            let mut world = shared.world();
            (world.server.same_second, world.server.status) = (true, told);
        }
        for id in 2..=4 {
            shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
        }
        sync(&shared);
        {
            let mut world = shared.world();
            world.server.create(&folder("Two"), None);
            let (name, uid) = uid(&world, 2);
            world.remote_move(&name, uid, &folder("Two"));
            world.server.renumber(&folder("One"));
            world.ledger.renumber(&folder("One"), &[]);
            local_flag(&mut world, 4, "\\Flagged", true);
            // As a run leaves it that is struck before it has recorded its look; untold, no watermark is compared.
            for row in world.book.mailboxes.values_mut().filter(|row| told && row.name == folder("One")) {
                row.watermark = None;
            }
        }
        let report = sync(&shared);
        assert_eq!(report.local.folders_renamed, 0, "told {told}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, &format!("told {told}"));
        for ids in [local_ids, remote_ids] {
            assert!([3, 4].iter().all(|id| ids(&shared, "One").contains(id)), "told {told}");
            assert_eq!(ids(&shared, "Two"), [2], "told {told}");
        }
    }
}

/// The new folder of its name was taken for it, numbered anew and with none of its messages: its files were sent there, and
/// it was fetched as another.
#[test]
fn a_folder_renamed_that_the_list_does_not_show_yet_is_not_the_new_one_of_its_name() {
    let renames: fn(&mut World) = |world| {
        world.remote_rename_folder(&folder("One"), &folder("Two"));
        world.remote_put(&folder("One"), 4, Kind::Ordinary, DATE, &FlagSet::new());
    };
    for left_out in [true, false] {
        let make = || {
            let shared = in_step(Delete::Expunge, 1);
            for id in [2, 3] {
                shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            sync(&shared);
            {
                let mut world = shared.world();
                if left_out {
                    renames(&mut world);
                    world.mishaps.unlisted = Some(folder("Two"));
                    world.meanwhile = Some(("observe One", |world| world.mishaps.unlisted = None));
                } else {
                    // Renamed after it was listed, without a word of its numbers.
                    world.server.status = false;
                    world.meanwhile = Some(("observe One", renames));
                }
            }
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        assert_eq!(codes(&report), ["folder-unfinished"], "left out {left_out}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, &format!("left out {left_out}"));
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![4], vec![2, 3]), "left out {left_out}");
        }
        struck_everywhere(make, &[("One", &[4]), ("Two", &[2, 3])]);
    }
}

/// So do programs delete a folder. The copy had its numbers: the maildir was renamed, and what was new in it sent to Trash.
#[test]
fn a_folder_copied_to_a_trash_not_known_yet_and_deleted_has_not_become_the_trash() {
    for abilities in [FULL, PLAIN] {
        let make = || {
            let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
            world.server.same_second = true;
            world.server.create(&folder("Trash"), Some(Role::Trash));
            world.remote_put(&folder("Archive"), 1, Kind::Ordinary, DATE, &FlagSet::new());
            let shared = Shared::new(world);
            calm_run(&shared, &Options { only: vec![folder("Archive")], ..Options::default() });
            {
                let mut world = shared.world();
                let (name, uid) = uid(&world, 1);
                world.remote_copy(&name, uid, &folder("Trash"));
                world.remote_remove_folder(&folder("Archive"));
                world.local_put(&folder("Archive"), 2, Kind::Ordinary, DATE, None);
            }
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert_eq!(report.local.folders_renamed, 0, "{abilities:?}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, &format!("{abilities:?}"));
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "Archive"), ids(&shared, "Trash")), (vec![2], vec![1]), "{abilities:?}");
        }
        struck_everywhere(make, &[("Archive", &[2]), ("Trash", &[1])]);
    }
}

/// The folder here is the one sent there: struck before that is recorded, it is followed message by message.
#[test]
fn a_folder_that_becomes_the_trash_here_becomes_it_there_whenever_the_sync_is_struck() {
    for step in 0.. {
        let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
        world.server.same_second = true;
        world.remote_put(&folder("Archive"), 1, Kind::Ordinary, DATE, &FlagSet::new());
        let shared = Shared::new(world);
        sync(&shared);
        shared.world().local_rename_folder(&folder("Archive"), &folder("Trash"));
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        (0..2).for_each(|_| drop(sync(&shared)));
        for ids in [local_ids, remote_ids] {
            let found = (ids(&shared, "Archive"), ids(&shared, "Trash"));
            assert_eq!(found, (vec![], vec![1]), "struck at {step}");
        }
        if !died {
            break;
        }
    }
}

/// Its id had been listed, and the one looked at has its UIDVALIDITY: what was sent to that stood, once the other was
/// followed to its new name, for the message there, which was never fetched. Or it was listed without its numbers, which
/// were taken for those of the one looked at.
#[test]
fn a_folder_of_the_same_second_does_not_get_the_id_of_the_one_that_was_listed() {
    for (known, told) in [(false, true), (true, true), (false, false), (true, false)] {
        let make = || {
            let shared = in_step(Delete::Expunge, 1);
            {
                let mut world = shared.world();
                (world.server.object_ids, world.server.same_second) = (true, true);
                world.server.create(&folder("One"), None);
            }
            if known {
                sync(&shared);
            }
            let mut world = shared.world();
            world.remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
            world.local_put(&folder("One"), 3, Kind::Ordinary, DATE, None);
            world.server.status = told;
            let takes_its_name: fn(&mut World) = |world| {
                world.server.status = true;
                world.remote_rename_folder(&folder("One"), &folder("Two"));
                // Made under the name it would have a UIDVALIDITY of its own.
                world.server.create(&folder("New"), None);
                world.remote_rename_folder(&folder("New"), &folder("One"));
            };
            world.meanwhile = Some(("observe One", takes_its_name));
            drop(world);
            shared
        };
        let shared = make();
        sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        struck_at_every_call(make, |shared, context| {
            for ids in [local_ids, remote_ids] {
                let mut found = ["One", "Two"].map(|name| ids(shared, name));
                found[1].sort_unstable();
                // Struck before it was looked at, the file went along with its folder.
                let ends = [[vec![3], vec![2]], [vec![], vec![2, 3]]];
                assert!(ends.contains(&found), "known {known}, told {told}, {context}: {found:?}");
            }
        });
    }
}

/// It could not be looked at under its new name, and was taken for the new folder of its old one, numbered anew and with
/// none of its messages: its files were sent there, and it was fetched as another.
#[test]
fn a_folder_renamed_that_cannot_be_looked_at_is_not_the_new_one_of_its_name() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
        {
            let mut world = shared.world();
            world.remote_rename_folder(&folder("One"), &folder("Two"));
            world.remote_put(&folder("One"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            local_flag(&mut world, 2, "\\Answered", true);
            world.mishaps.unlooked = Some(folder("Two"));
        }
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert_eq!((codes(&report), report.remote), (vec!["folder-unfinished"; 2], Default::default()));
    assert_eq!((local_ids(&shared, "One"), local_ids(&shared, "Two")), (vec![2], vec![]));
    shared.world().mishaps.unlooked = None;
    let report = sync(&shared);
    assert_eq!((report.local.folders_renamed, report.remote.flags, report.remote.added), (1, 1, 0), "{report:?}");
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![3], vec![2]));
    }
    struck_everywhere(make, &[("One", &[3]), ("Two", &[2])]);
}

/// No run had looked into the maildir yet that its message was moved to: so that was taken for its own under a new name,
/// and what had just come to it on the server went along.
#[test]
fn a_folder_removed_here_is_not_taken_for_one_of_which_a_run_was_cut_short() {
    let mut tried = 0;
    for step in 0.. {
        let shared = in_step(Delete::Expunge, 1);
        for id in [2, 3] {
            shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            shared.world().local_put(&folder("One"), id, Kind::Ordinary, DATE, None);
        }
        shared.world().local_put(&folder("Two"), 4, Kind::Ordinary, DATE, None);
        if !dies(&shared, CrashAt { step, after: true, power: false }) {
            break;
        }
        let knows = |name: &str| {
            let world = shared.world();
            let mailboxes = world.book.mailboxes.values();
            let row = mailboxes.into_iter().find(|row| row.name == folder(name))?;
            Some(world.book.messages.values().filter(|message| message.mailbox == row.id).count())
        };
        if (knows("One"), knows("Two")) != (Some(2), Some(0)) {
            continue;
        }
        tried += 1;
        {
            let mut world = shared.world();
            let (name, unique) = file(&world, 3);
            world.maildir.move_file(&name, &unique, &folder("Two"), false);
            world.local_remove_folder(&folder("One"));
            world.remote_put(&folder("One"), 5, Kind::Ordinary, DATE, &FlagSet::new());
            world.remote_remove_folder(&folder("Two"));
        }
        let report = answer(&shared, HoldAnswer::Accept);
        assert_eq!(report.remote.folders_renamed, 0, "struck at {step}: {report:?}");
        (0..2).for_each(|_| drop(answer(&shared, HoldAnswer::Accept)));
        for ids in [local_ids, remote_ids] {
            let found = ["One", "Two"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![5], vec![3, 4]], "struck at {step}");
        }
    }
    assert!(tried > 0, "no step at which only one of the folders is known");
}

/// All that was known of it had been moved there: what had just come to it on the server went along.
#[test]
fn a_folder_removed_here_is_not_taken_for_a_new_one_that_its_message_was_moved_to() {
    for (news, renamed) in [(false, 1), (true, 0)] {
        let shared = in_step(Delete::Trash, 1);
        shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
        {
            let mut world = shared.world();
            if news {
                world.remote_put(&folder("One"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            }
            world.maildir.create(&folder("Two"));
            let (name, unique) = file(&world, 2);
            world.maildir.move_file(&name, &unique, &folder("Two"), false);
            world.local_remove_folder(&folder("One"));
        }
        let report = answer(&shared, HoldAnswer::Accept);
        assert_eq!((report.remote.folders_renamed, report.remote.added), (renamed, 0), "{report:?}");
        (0..2).for_each(|_| drop(answer(&shared, HoldAnswer::Accept)));
        for ids in [local_ids, remote_ids] {
            let found = ["One", "Two"].map(|name| ids(&shared, name));
            assert_eq!(found, [if news { vec![3] } else { vec![] }, vec![2]], "news {news}");
        }
    }
}

/// Its own row waited for what has its name now, and that for the row to go: no sync came to an end of it.
#[test]
fn a_folder_renamed_there_to_one_made_here_whose_name_another_got_is_settled() {
    let shared = in_step(Delete::Never, 1);
    for (name, id) in [("One", 2), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
    }
    {
        let mut world = shared.world();
        let (name, unique) = file(&world, 2);
        world.local_delete(&name, &unique);
        world.local_put(&folder("New"), 4, Kind::Ordinary, DATE, None);
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_rename_folder(&folder("Two"), &folder("One"));
    }
    answer(&shared, HoldAnswer::Accept);
    let report = sync(&shared);
    assert_eq!(codes(&report), Vec::<&str>::new(), "{report:?}");
    for ids in [local_ids, remote_ids] {
        let found = ["One", "New", "Two"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![3], vec![2, 4], vec![]]);
    }
}

/// What it held was in its new place already, so its files had to go; they waited for what has its name now, and that for
/// them: no sync came to an end of it.
#[test]
fn a_folder_renamed_there_whose_messages_were_copied_here_and_whose_name_another_got_is_settled() {
    for object_ids in [true, false] {
        let shared = in_step(Delete::Never, 1);
        shared.world().server.object_ids = object_ids;
        for (name, id) in [("Two", 3), ("One", 2)] {
            shared.world().server.same_second = name == "One";
            shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
            sync(&shared);
        }
        {
            let mut world = shared.world();
            world.server.create(&folder("New"), None);
            world.remote_put(&folder("New"), 4, Kind::Ordinary, DATE, &FlagSet::new());
            // Listed under its old name, and looked at under both: another had the new one, with as many messages.
            world.meanwhile = Some(("observe New", |world| {
                world.remote_remove_folder(&folder("New"));
                world.remote_rename_folder(&folder("One"), &folder("New"));
            }));
        }
        let report = sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        assert_eq!(report.local.copied, 1, "{report:?}");
        shared.world().remote_rename_folder(&folder("Two"), &folder("One"));
        answer(&shared, HoldAnswer::Accept);
        let report = sync(&shared);
        assert_eq!(codes(&report), Vec::<&str>::new(), "{object_ids}: {report:?}");
        for ids in [local_ids, remote_ids] {
            let found = ["One", "New", "Two"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![3], vec![2], vec![]], "{object_ids}");
        }
        assert_kept(&shared, "settled");
    }
}

/// The same, of a message expunged while its folder was renamed to the name of one made here.
#[test]
fn what_was_expunged_from_a_folder_renamed_there_whose_name_another_got_leaves_it_here() {
    let shared = in_step(Delete::Never, 1);
    shared.world().server.object_ids = true;
    for (name, id) in [("One", 2), ("One", 5), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
    }
    {
        let mut world = shared.world();
        let (name, uid) = uid(&world, 5);
        world.remote_delete(&name, uid);
        world.local_put(&folder("New"), 4, Kind::Ordinary, DATE, None);
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_rename_folder(&folder("Two"), &folder("One"));
    }
    answer(&shared, HoldAnswer::Accept);
    let report = sync(&shared);
    assert_eq!(codes(&report), Vec::<&str>::new(), "{report:?}");
    for ids in [local_ids, remote_ids] {
        let found = ["One", "New", "Two"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![3], vec![2, 4], vec![]]);
    }
    assert_kept(&shared, "settled");
}

/// A file moved here whose message was expunged waited for what has the name now, that for the rows of the folder renamed,
/// and these for the file, which has nothing to do with them: no sync came to an end of it.
#[test]
fn a_folder_whose_name_another_got_is_settled_beside_a_file_moved_from_elsewhere_whose_message_has_gone() {
    let shared = in_step(Delete::Never, 1);
    for (name, id) in [("One", 2), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
    }
    {
        let mut world = shared.world();
        let (name, unique) = file(&world, 2);
        world.local_delete(&name, &unique);
        world.local_put(&folder("New"), 4, Kind::Ordinary, DATE, None);
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_rename_folder(&folder("Two"), &folder("One"));
        // From INBOX to Archive here, expunged there.
        let (name, unique) = file(&world, 1);
        world.local_move(&name, &unique, &folder("Archive"));
        let (name, uid) = uid(&world, 1);
        world.remote_delete(&name, uid);
    }
    answer(&shared, HoldAnswer::Accept);
    let report = sync(&shared);
    assert_eq!(codes(&report), Vec::<&str>::new(), "{report:?}");
    for ids in [local_ids, remote_ids] {
        let found = ["INBOX", "Archive", "One", "New", "Two"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![], vec![1], vec![3], vec![2, 4], vec![]]);
    }
    super::history::idle_run(&shared, false);
    assert_kept(&shared, "settled");
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
}

/// Its row let go of before what has the name now was looked at, it would be sent from here and fetched from there.
#[test]
fn a_message_moved_on_both_sides_from_a_folder_to_that_which_got_its_name_is_not_doubled() {
    let shared = in_step(Delete::Expunge, 1);
    for (name, id) in [("One", 2), ("One", 5), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
    }
    {
        let mut world = shared.world();
        let (name, unique) = file(&world, 2);
        world.local_move(&name, &unique, &folder("Archive"));
        let (name, uid) = uid(&world, 2);
        world.remote_move(&name, uid, &folder("Two"));
        world.local_put(&folder("New"), 4, Kind::Ordinary, DATE, None);
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_rename_folder(&folder("Two"), &folder("One"));
    }
    (0..3).for_each(|_| drop(answer(&shared, HoldAnswer::Accept)));
    for ids in [local_ids, remote_ids] {
        let all = ["Archive", "One", "New", "Two"].map(|name| ids(&shared, name)).concat();
        assert_eq!(all.iter().filter(|id| **id == 2).count(), 1, "{all:?}");
    }
}

/// It lost its name between the two listings and was not searched for in the second: as another mailbox was numbered anew it
/// was held here as gone, and all of it was fetched from where it is.
#[test]
fn a_folder_renamed_there_while_another_is_followed_is_followed_too_though_a_mailbox_was_numbered_anew() {
    let make = || {
        let shared = in_step(Delete::Expunge, 1);
        for (name, id) in [("One", 2), ("Lists", 3), ("Lists/rust", 4)] {
            shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
        }
        (0..2).for_each(|_| drop(sync(&shared)));
        {
            let mut world = shared.world();
            // What has gone from an account that may have been set up again is held.
            world.remote_renumber(&MailboxName::inbox());
            world.local_rename_folder(&folder("One"), &folder("Mine"));
            let renames: fn(&mut World) = |world| world.remote_rename_folder(&folder("Lists"), &folder("New"));
            world.meanwhile = Some(("rename One to Mine", renames));
        }
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    let renamed = (report.local.folders_renamed, report.remote.folders_renamed);
    let doubled = (report.local.added, report.local.copied, report.held.len());
    assert_eq!((renamed, doubled), ((2, 1), (0, 0, 0)), "{report:?}");
    quiet(&shared);
    assert_kept(&shared, "renamed while another is followed");
    for ids in [local_ids, remote_ids] {
        let found = ["Mine", "One", "Lists", "Lists/rust", "New", "New/rust"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![2], vec![], vec![], vec![], vec![3], vec![4]]);
    }
    struck_everywhere(
        make,
        &[("Mine", &[2]), ("One", &[]), ("Lists", &[]), ("Lists/rust", &[]), ("New", &[3]), ("New/rust", &[4])],
    );
}

/// What the first search found of them is as little true as the listing that it was made from.
#[test]
fn folders_that_have_their_names_back_once_another_was_followed_stay_as_they_are() {
    let make = || {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().server.object_ids = true;
        for (name, id) in [("One", 2), ("Two", 3), ("Other", 4)] {
            shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
            sync(&shared);
        }
        {
            let mut world = shared.world();
            local_flag(&mut world, 2, "\\Answered", true);
            world.local_put(&folder("New"), 5, Kind::Ordinary, DATE, None);
            world.local_rename_folder(&folder("Other"), &folder("Mine"));
            world.remote_rename_folder(&folder("One"), &folder("New"));
            world.remote_rename_folder(&folder("Two"), &folder("One"));
            let back: fn(&mut World) = |world| {
                world.remote_rename_folder(&folder("One"), &folder("Two"));
                world.remote_rename_folder(&folder("New"), &folder("One"));
            };
            world.meanwhile = Some(("rename Other to Mine", back));
        }
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((report.local.removed, report.local.added, report.remote.flags), (0, 0, 1), "{report:?}");
    quiet(&shared);
    assert_kept(&shared, "back");
    struck_everywhere(make, &[("Mine", &[4]), ("One", &[2]), ("Two", &[3]), ("New", &[5]), ("Other", &[])]);
}

/// A message moved out of it on both sides may be in what has the name, whatever that is.
#[test]
fn a_folder_whose_name_another_got_is_settled_though_a_file_of_it_was_moved() {
    let worlds = [true, false].map(|object_ids| [0, 1, 2, 3].map(|what| (object_ids, what)));
    for (object_ids, what) in worlds.into_iter().flatten() {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().server.object_ids = object_ids;
        for (name, id) in [("One", 2), ("One", 5), ("Two", 3)] {
            shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
            sync(&shared);
        }
        {
            let mut world = shared.world();
            let (name, unique) = file(&world, 2);
            world.local_move(&name, &unique, &folder("Archive"));
            world.local_put(&folder("New"), 4, Kind::Ordinary, DATE, None);
            let (name, at) = uid(&world, 2);
            match what {
                0 => world.remote_delete(&name, at),
                1 => world.remote_move(&name, at, &folder("Two")),
                _ => {}
            }
            world.remote_rename_folder(&folder("One"), &folder("New"));
            match what {
                0 | 1 => world.remote_rename_folder(&folder("Two"), &folder("One")),
                _ => world.server.create(&folder("One"), None),
            }
            if what == 2 {
                let (name, at) = uid(&world, 2);
                world.remote_move(&name, at, &folder("One"));
            }
        }
        (0..3).for_each(|_| drop(answer(&shared, HoldAnswer::Accept)));
        let story = format!("object ids {object_ids}, {what}");
        assert_eq!(codes(&sync(&shared)), Vec::<&str>::new(), "{story}");
        super::history::idle_run(&shared, false);
        let all = ["INBOX", "One", "Two", "New", "Archive"];
        for side in [remote_ids, local_ids] {
            let mut ids: Vec<u32> = all.iter().flat_map(|name| side(&shared, name)).collect();
            ids.sort_unstable();
            assert_eq!(ids, [1, 2, 3, 4, 5], "{story}");
        }
        assert_kept(&shared, &story);
    }
}

/// What became of the message on either side waits until it is known what the new file is.
#[test]
fn a_message_moved_on_both_sides_while_a_new_file_gets_another_name_is_not_doubled() {
    for object_ids in [false, true] {
        let make = || {
            let shared = in_step(Delete::Trash, 1);
            shared.world().server.object_ids = object_ids;
            for (name, id) in [("One", 2), ("Two", 3), ("Archive", 4)] {
                shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
                sync(&shared);
            }
            {
                let mut world = shared.world();
                let (name, unique) = file(&world, 2);
                world.local_move(&name, &unique, &folder("Archive"));
                let (name, at) = uid(&world, 2);
                world.remote_move(&name, at, &folder("Two"));
                world.local_put(&MailboxName::inbox(), 5, Kind::Ordinary, DATE, None);
                let renamed: fn(&mut World) = |world| {
                    let (name, unique) = file(world, 5);
                    world.local_move(&name, &unique, &name);
                };
                world.meanwhile = Some(("identify INBOX", renamed));
            }
            shared
        };
        let shared = make();
        sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        quiet(&shared);
        for side in [remote_ids, local_ids] {
            assert_eq!(["One", "Two", "Archive"].map(|name| side(&shared, name)), [vec![], vec![2, 3], vec![4]]);
        }
        assert_kept(&shared, "moved on both sides");
        struck_everywhere(make, &[("One", &[]), ("Two", &[2, 3]), ("Archive", &[4])]);
    }
}

/// What was copied to Trash before the folder was renamed is expunged in its new place, and not copied again.
#[test]
fn a_folder_renamed_there_before_what_was_copied_to_trash_is_expunged_gives_it_once() {
    for abilities in [PLAIN, FULL] {
        let make = || {
            let shared = in_step(Delete::Trash, 1);
            shared.world().server.abilities = mailtide::reconcile::snapshot::Abilities { moves: false, ..abilities };
            for id in [2, 3] {
                shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            sync(&shared);
            {
                let mut world = shared.world();
                let (name, unique) = file(&world, 2);
                world.local_delete(&name, &unique);
                let renamed: fn(&mut World) = |world| world.remote_rename_folder(&folder("One"), &folder("New"));
                world.meanwhile = Some(("expunge One", renamed));
            }
            shared
        };
        let shared = make();
        sync(&shared);
        assert!(shared.world().meanwhile.is_none(), "{abilities:?}");
        (0..2).for_each(|_| drop(sync(&shared)));
        let places = ["One", "New", "Trash"].map(|name| (remote_ids(&shared, name), local_ids(&shared, name)));
        assert_eq!(places, [(vec![], vec![]), (vec![3], vec![3]), (vec![2], vec![2])], "{abilities:?}");
        super::history::idle_run(&shared, false);
        struck_everywhere(make, &[("One", &[]), ("New", &[3]), ("Trash", &[2])]);
    }
}

/// Seed 1795919774561043: the first look at it had been cut short, so that only its rows tell how far it had counted. With
/// one of its messages gone, the empty folder that got its name was taken for it, put back as it once was: its files were
/// sent there, and it was fetched as another.
#[test]
fn a_folder_renamed_after_a_first_sync_cut_short_is_not_the_one_of_the_same_second_that_got_its_name() {
    for abilities in [FULL, PLAIN] {
        at_every_call(|at| {
            let shared = in_step(Delete::Trash, 1);
            {
                let mut world = shared.world();
                (world.server.same_second, world.server.abilities, world.rng) = (true, abilities, Rng::new(at.step));
                world.server.create(&folder("Two"), None);
                for id in [2, 3] {
                    world.remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
                }
            }
            let died = dies(&shared, at);
            {
                let mut world = shared.world();
                world.remote_rename_folder(&folder("One"), &folder("New"));
                world.remote_rename_folder(&folder("Two"), &folder("One"));
                let (name, uid) = uid(&world, 2);
                world.remote_delete(&name, uid);
            }
            quiet(&shared);
            for ids in [local_ids, remote_ids] {
                let found = (ids(&shared, "New"), ids(&shared, "One"));
                assert_eq!(found, (vec![3], vec![]), "struck {at:?} {abilities:?}");
            }
            assert_kept(&shared, &format!("struck {at:?} {abilities:?}"));
            died
        });
    }
}

/// A run that died when it had removed its file had not recorded that: the row was found again in the new folder, and its
/// message looked removed here.
#[test]
fn a_message_put_back_under_the_old_name_of_its_folder_is_not_removed_there() {
    for abilities in [FULL, PLAIN] {
        let make = || {
            let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
            world.server.create(&folder("Trash"), Some(Role::Trash));
            for id in [2, 3] {
                world.remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            let shared = Shared::new(world);
            sync(&shared);
            {
                let mut world = shared.world();
                world.server.status = false;
                world.remote_rename_folder(&folder("One"), &folder("Two"));
                world.server.create(&folder("One"), None);
                let (name, uid) = uid(&world, 2);
                world.remote_move(&name, uid, &folder("One"));
            }
            shared
        };
        struck_everywhere(make, &[("One", &[2]), ("Two", &[3]), ("Trash", &[])]);
        // Its file was moved before the next run.
        at_every_call(|at| {
            let shared = make();
            shared.world().rng = Rng::new(at.step);
            let died = dies(&shared, at);
            if local_ids(&shared, "One").contains(&2) {
                let mut world = shared.world();
                let (name, unique) = file(&world, 2);
                world.local_move(&name, &unique, &MailboxName::inbox());
            }
            quiet(&shared);
            let context = format!("{abilities:?}, struck {at:?}");
            assert_kept(&shared, &context);
            for ids in [local_ids, remote_ids] {
                assert_eq!(ids(&shared, "Trash"), Vec::<u32>::new(), "{context}");
            }
            died
        });
    }
}

/// What a run had not removed when it died, and the mailbox is back under its name: it still has its rows.
#[test]
fn a_folder_that_has_its_name_back_after_a_run_was_cut_short_does_not_get_what_had_gone_from_it() {
    for abilities in [FULL, PLAIN] {
        at_every_call(|at| {
            let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(at.step));
            for id in 2..7 {
                world.remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            let shared = Shared::new(world);
            sync(&shared);
            {
                let mut world = shared.world();
                world.server.status = false;
                for id in [5, 6] {
                    let (name, uid) = uid(&world, id);
                    world.remote_delete(&name, uid);
                }
                world.remote_rename_folder(&folder("One"), &folder("Two"));
                world.server.create(&folder("One"), None);
            }
            let died = dies(&shared, at);
            shared.world().remote_remove_folder(&folder("One"));
            shared.world().remote_rename_folder(&folder("Two"), &folder("One"));
            quiet(&shared);
            let context = format!("{abilities:?}, struck {at:?}");
            assert_kept(&shared, &context);
            for ids in [local_ids, remote_ids] {
                // A maildir that the run has made is no other's.
                let mut found = [ids(&shared, "One"), ids(&shared, "Two")].concat();
                found.sort_unstable();
                assert_eq!(found, [2, 3, 4], "{context}");
            }
            died
        });
    }
}
