//! What can't be seen is not gone: a maildir that keeps changing while it is read, or can't be read, or that a run is not
//! about.

use mailtide::model::{FlagSet, MailboxName};
use mailtide::reconcile::policy::{Delete, HoldAnswer, Options};

use super::account::{
    DATE, answer, codes, file, in_step, local_ids, remote_ids, struck_at_every_call, struck_everywhere, sync,
};
use super::history::calm_run;
use super::mail::Kind;
use super::users::folder;
use super::world::{Shared, World};

/// Its row was let go of and the message fetched; then the file, seen at last, was a new one and sent.
#[test]
fn moved_to_different_folders_on_both_sides_it_is_not_doubled_while_its_file_cannot_be_seen() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        shared.world().server.create(&folder("Other"), None);
        sync(&shared);
        let (unique, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
        shared.world().local_move(&name, &unique, &folder("Other"));
        shared.world().remote_move(&name, uid, &folder("Archive"));
        shared.world().mishaps.restless = Some(folder("Other"));
        shared
    };
    let shared = make();
    sync(&shared);
    assert!(local_ids(&shared, "Archive").is_empty(), "fetched, though its file may be anywhere");
    shared.world().mishaps.restless = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!(["INBOX", "Archive", "Other"].map(|name| ids(&shared, name)), [vec![2], vec![1], vec![]]);
    }
    struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1]), ("Other", &[]), ("Trash", &[])]);
}

/// Nothing is fetched to a new folder whose maildir can't be seen, so its message was not found there: its row was let
/// go of, and its file sent as a new one.
#[test]
fn moved_on_the_server_to_a_new_folder_whose_maildir_cannot_be_seen_and_elsewhere_here_it_is_not_doubled() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        let (unique, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
        shared.world().server.create(&folder("Other"), None);
        shared.world().remote_move(&name, uid, &folder("Other"));
        shared.world().local_move(&name, &unique, &folder("Archive"));
        shared.world().mishaps.restless = Some(folder("Other"));
        shared
    };
    let shared = make();
    assert!(codes(&sync(&shared)).contains(&"folder-unfinished"));
    assert!(remote_ids(&shared, "Archive").is_empty(), "sent, though its message may be anywhere");
    shared.world().mishaps.restless = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        let found = ["INBOX", "Archive", "Other", "Trash"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![2], vec![], vec![1], vec![]]);
    }
    struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[]), ("Other", &[1]), ("Trash", &[])]);
}

/// Out of it, it was taken for a copy and copied; then its old file, seen at last to be gone, took the message to Trash. To it,
/// it went to Trash at once, and its file, seen at last, was sent as a new one.
#[test]
fn moved_out_of_a_folder_that_keeps_changing_or_to_it_a_message_waits() {
    for (delete, restless) in [Delete::Trash, Delete::Never]
        .into_iter()
        .flat_map(|delete| [MailboxName::inbox(), folder("Archive")].map(move |restless| (delete, restless)))
    {
        let make = || {
            let shared = in_step(delete, 2);
            let unique = file(&shared, 1);
            shared.world().local_move(&MailboxName::inbox(), &unique, &folder("Archive"));
            shared.world().mishaps.restless = Some(restless.clone());
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert!(codes(&report).contains(&"folder-unfinished"));
        let there = ["INBOX", "Archive"].map(|name| remote_ids(&shared, name));
        assert_eq!((report.remote.removed, there), (0, [vec![1, 2], vec![]]), "{delete:?} {restless}");
        shared.world().mishaps.restless = None;
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            let found = ["INBOX", "Archive", "Trash"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![2], vec![1], vec![]], "{delete:?} {restless}");
        }
        struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1]), ("Trash", &[])]);
    }
}

/// The server has the name for what lies below it, and won't give it to another: followed message by message, all were in
/// Trash, too.
#[test]
fn a_folder_renamed_here_to_the_one_above_it_is_followed_while_its_maildir_keeps_changing() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        for id in [2, 3] {
            shared.world().remote_put(&folder("Lists/rust"), id, Kind::Ordinary, DATE, &FlagSet::new());
        }
        sync(&shared);
        shared.world().local_rename_folder(&folder("Lists/rust"), &folder("Lists"));
        // After the search for it, and for one scan.
        shared.world().meanwhile = Some(("create Lists", |world| {
            world.mishaps.restless = Some(folder("Lists"));
            world.meanwhile = Some(("scan Lists/rust", |world| world.mishaps.restless = None));
        }));
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((report.remote.moved, report.remote.added, report.remote.removed), (2, 0, 0), "{report:?}");
    for ids in [local_ids, remote_ids] {
        let found = ["Lists", "Lists/rust", "Trash"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![2, 3], vec![], vec![]]);
    }
    struck_everywhere(make, &[("Lists", &[2, 3]), ("Lists/rust", &[]), ("Trash", &[])]);
}

/// It was taken for gone, and its files for new ones: they were sent, and what had been there went to Trash once that was
/// accepted.
#[test]
fn a_folder_renamed_here_and_numbered_anew_there_is_not_doubled_while_its_maildir_cannot_be_seen() {
    let hidden: [fn(&mut World); 2] =
        [|world| world.mishaps.restless = Some(folder("Two")), |world| world.mishaps.unreadable = Some(folder("Two"))];
    for hide in hidden {
        let make = || {
            let shared = in_step(Delete::Trash, 1);
            for id in [2, 3] {
                shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            sync(&shared);
            let mut world = shared.world();
            world.server.renumber(&folder("One"));
            world.local_rename_folder(&folder("One"), &folder("Two"));
            world.remote_put(&MailboxName::inbox(), 4, Kind::Ordinary, DATE, &FlagSet::new());
            hide(&mut world);
            // Only while it is searched for.
            let show: fn(&mut World) = |world| {
                world.mishaps.restless = None;
                world.mishaps.unreadable = None;
            };
            world.meanwhile = Some(("observe INBOX", show));
            drop(world);
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        assert_eq!((codes(&report), report.held.len()), (vec!["folder-unfinished"; 2], 0), "{report:?}");
        assert_eq!((report.remote, local_ids(&shared, "INBOX")), (Default::default(), vec![1, 4]));
        let report = answer(&shared, HoldAnswer::Accept);
        assert_eq!((report.remote.folders_renamed, report.remote.added, codes(&report).len()), (1, 0, 0), "{report:?}");
        for ids in [local_ids, remote_ids] {
            assert_eq!(["One", "Two", "Trash"].map(|name| ids(&shared, name)), [vec![], vec![2, 3], vec![]]);
        }
        struck_everywhere(make, &[("INBOX", &[1, 4]), ("One", &[]), ("Two", &[2, 3]), ("Trash", &[])]);
    }
}

/// Read for the file that was copied from it, the folder did not look stirred any more: what had just come to it counted as
/// removed where it had been.
#[test]
fn moved_here_to_a_folder_that_was_read_for_another_message_it_is_no_removal() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        let first = file(&shared, 1);
        shared.world().local_move(&MailboxName::inbox(), &first, &folder("Archive"));
        sync(&shared);
        let first = {
            let world = shared.world();
            let archived = world.files().into_iter().find(|(name, _)| *name == folder("Archive"));
            archived.unwrap().1
        };
        shared.world().maildir.copy_with_letters(&folder("Archive"), &first, &MailboxName::inbox());
        shared.world().meanwhile = Some(("scan INBOX", |world| {
            let (name, unique) = super::scenarios::file(world, 2);
            world.local_move(&name, &unique, &folder("Archive"));
        }));
        shared
    };
    let shared = make();
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!(["INBOX", "Archive", "Trash"].map(|name| ids(&shared, name)), [vec![1], vec![1, 2], vec![]]);
    }
    struck_everywhere(make, &[("INBOX", &[1]), ("Archive", &[1, 2]), ("Trash", &[])]);
}

/// It was copied: once its folder was listed again, it looked removed there.
#[test]
fn moved_here_out_of_a_folder_that_the_list_leaves_out_it_waits() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        let first = file(&shared, 1);
        shared.world().local_move(&MailboxName::inbox(), &first, &folder("Archive"));
        sync(&shared);
        shared.world().mishaps.unlisted = Some(folder("Archive"));
        shared.world().local_move(&folder("Archive"), &first, &MailboxName::inbox());
        shared
    };
    let shared = make();
    sync(&shared);
    assert_eq!(remote_ids(&shared, "INBOX"), [2]);
    shared.world().mishaps.unlisted = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        let mut inbox = ids(&shared, "INBOX");
        inbox.sort_unstable();
        assert_eq!([inbox, ids(&shared, "Archive"), ids(&shared, "Trash")], [vec![1, 2], vec![], vec![]]);
    }
    struck_everywhere(make, &[("INBOX", &[1, 2]), ("Archive", &[]), ("Trash", &[])]);
}

/// A later pass looked at one of the three folders only: the message looked new there, and the file where it had gone.
#[test]
fn moved_to_different_folders_on_both_sides_while_a_sync_is_at_work_it_is_one() {
    for (there, here) in [("Archive", "Other"), ("Other", "Archive")] {
        let make = || {
            let shared = in_step(Delete::Trash, 2);
            shared.world().server.create(&folder("Other"), None);
            sync(&shared);
            // Sent by the first pass, so that the second looks at Archive.
            shared.world().local_put(&folder("Archive"), 3, Kind::Ordinary, DATE, None);
            let acts: fn(&mut World) = match there {
                "Archive" => |world| move_both(world, "Archive", "Other"),
                _ => |world| move_both(world, "Other", "Archive"),
            };
            shared.world().meanwhile = Some(("append", acts));
            shared
        };
        let shared = make();
        sync(&shared);
        assert!(shared.world().meanwhile.is_none());
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            let all: Vec<u32> =
                ["INBOX", "Archive", "Other", "Trash"].iter().flat_map(|name| ids(&shared, name)).collect();
            assert_eq!(all.iter().filter(|id| **id == 1).count(), 1, "there {there}, here {here}: {all:?}");
            assert!(ids(&shared, there).contains(&1), "the server's place counts");
        }
        let [archive, other]: [&[u32]; 2] = if there == "Archive" { [&[1, 3], &[]] } else { [&[3], &[1]] };
        struck_everywhere(make, &[("INBOX", &[2]), ("Archive", archive), ("Other", other), ("Trash", &[])]);
    }
}

fn move_both(world: &mut World, there: &str, here: &str) {
    let (name, uid) = super::scenarios::uid(world, 1);
    let (from, unique) = super::scenarios::file(world, 1);
    world.remote_move(&name, uid, &folder(there));
    world.local_move(&from, &unique, &folder(here));
}

/// Demands that a message is there once, in this folder, and in Trash only if it is that.
fn assert_once(shared: &Shared, id: u32, place: &str) {
    for ids in [local_ids, remote_ids] {
        let found =
            ["INBOX", "Archive", "Trash"].map(|name| ids(shared, name).iter().filter(|one| **one == id).count());
        let expected = ["INBOX", "Archive", "Trash"].map(|name| usize::from(name == place));
        assert_eq!(found, expected, "{id} in INBOX, Archive, Trash");
    }
}

/// Seen in both maildirs, it was taken for a copy, and what was gone from the other was removed.
#[test]
fn a_file_moved_while_maildirs_are_read_is_no_copy() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        shared.world().local_put(&folder("Archive"), 3, Kind::Ordinary, DATE, None);
        shared.world().local_put(&MailboxName::inbox(), 4, Kind::Ordinary, DATE, None);
        sync(&shared);
        // So that both maildirs are read.
        shared.world().local_put(&folder("Archive"), 5, Kind::Ordinary, DATE, None);
        shared.world().local_put(&MailboxName::inbox(), 6, Kind::Ordinary, DATE, None);
        shared.world().meanwhile = Some(("scan INBOX", |world| {
            let (from, unique) = super::scenarios::file(world, 3);
            world.local_move(&from, &unique, &MailboxName::inbox());
        }));
        shared
    };
    let shared = make();
    assert_eq!(sync(&shared).remote.copied, 0);
    assert!(shared.world().meanwhile.is_none());
    sync(&shared);
    assert_once(&shared, 3, "INBOX");
    struck_everywhere(make, &[("INBOX", &[1, 2, 3, 4, 6]), ("Archive", &[5]), ("Trash", &[])]);
}

/// Its removal had to wait, and the file, read at last when its name was again what had been seen, was sent as a new one.
#[test]
fn a_moved_file_that_is_renamed_while_it_is_read_is_not_sent() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        super::scenarios::local_flag(&mut shared.world(), 1, "\\Seen", true);
        sync(&shared);
        let (from, unique) = super::scenarios::file(&shared.world(), 1);
        shared.world().local_move(&from, &unique, &folder("Archive"));
        shared.world().local_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, None);
        shared.world().meanwhile = Some(("identify Archive", |world| {
            super::scenarios::local_flag(world, 1, "\\Flagged", true);
            // Before the first step of the plan.
            world.meanwhile = Some(("commit [Run", |world| {
                super::scenarios::local_flag(world, 1, "\\Flagged", false);
            }));
        }));
        shared
    };
    let shared = make();
    assert_eq!(sync(&shared).remote.added, 1, "3 only");
    assert!(shared.world().meanwhile.is_none());
    sync(&shared);
    assert_once(&shared, 1, "Archive");
    struck_everywhere(make, &[("INBOX", &[2, 3]), ("Archive", &[1]), ("Trash", &[])]);
}

/// Copied first and removed where it was a moment later, as some programs move, it was copied on the server, and then
/// removed there too.
#[test]
fn a_file_copied_and_removed_while_a_sync_is_at_work_is_moved() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        let (from, unique) = super::scenarios::file(&shared.world(), 1);
        shared.world().maildir.copy_with_letters(&from, &unique, &folder("Archive"));
        shared.world().ledger.moved(1, &folder("Archive"));
        shared.world().meanwhile = Some(("are two", |world| {
            world.meanwhile = Some(("are two", |world| {
                let is_it =
                    |(name, unique): &(MailboxName, _)| name.is_inbox() && world.local_id(name, unique) == Some(1);
                let (name, unique) = world.files().into_iter().find(is_it).unwrap();
                world.maildir.user(&name, &unique, |_| None);
            }));
        }));
        shared
    };
    let shared = make();
    let done = sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((done.remote.copied, done.remote.moved), (0, 1));
    assert_once(&shared, 1, "Archive");
    struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1]), ("Trash", &[])]);
}

/// A file that could not be read was no arrival: its message went to Trash, and it was copied or sent again as soon as it
/// could be read.
#[test]
fn moved_to_where_its_file_cannot_be_read_it_is_not_doubled() {
    for (delete, only_once) in [Delete::Trash, Delete::Expunge].into_iter().flat_map(|how| [(how, true), (how, false)])
    {
        let make = || {
            let shared = in_step(delete, 2);
            let unique = file(&shared, 1);
            shared.world().maildir.move_file(&MailboxName::inbox(), &unique, &folder("Archive"), false);
            shared.world().ledger.moved(1, &folder("Archive"));
            shared.world().mishaps.closed = Some(unique);
            if only_once {
                // It is read for moves after the scans, and then, once the mailboxes are read again, for copies.
                shared.world().meanwhile = Some(("scan INBOX", |world| {
                    world.meanwhile = Some(("mailboxes", |world| world.mishaps.closed = None));
                }));
            }
            shared
        };
        let shared = make();
        assert_eq!(codes(&sync(&shared)), ["local-item", "folder-unfinished"]);
        let found = ["INBOX", "Archive", "Trash"].map(|name| remote_ids(&shared, name));
        assert_eq!(found, [vec![1, 2], vec![], vec![]], "once: {only_once}");
        shared.world().mishaps.closed = None;
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            let found = ["INBOX", "Archive", "Trash"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![2], vec![1], vec![]], "once: {only_once}");
        }
        struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1]), ("Trash", &[])]);
    }
}

/// Taken for gone from both sides, its rows were let go of and its files sent from where they were; listed again, all of
/// it was fetched as new.
#[test]
fn a_folder_that_the_list_leaves_out_waits_when_it_was_renamed_here_to_a_name_it_cannot_get_there() {
    let ways: [fn(&mut World, &MailboxName); 3] = [
        |world, to| world.remote_put(to, 4, Kind::Ordinary, DATE, &FlagSet::new()),
        |world, to| {
            world.remote_put(to, 4, Kind::Ordinary, DATE, &FlagSet::new());
            world.mishaps.unlooked = Some(folder("One"));
        },
        // The name is free, and the server won't give it.
        |world, _| world.mishaps.renames = true,
    ];
    // Names before and after its own.
    for (at, way, to) in ways.iter().enumerate().flat_map(|(at, way)| ["Early", "Two"].map(move |to| (at, way, to))) {
        let make = || {
            let shared = in_step(Delete::Trash, 1);
            for id in [2, 3] {
                shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
            }
            sync(&shared);
            way(&mut shared.world(), &folder(to));
            shared.world().local_rename_folder(&folder("One"), &folder(to));
            shared.world().mishaps.unlisted = Some(folder("One"));
            shared
        };
        let shared = make();
        let report = sync(&shared);
        assert_eq!((report.remote.added, remote_ids(&shared, "One")), (0, vec![2, 3]), "way {at} to {to}: {report:?}");
        assert!(codes(&report).contains(&"folder-unfinished"), "way {at} to {to}: {report:?}");
        {
            let mut world = shared.world();
            (world.mishaps.unlisted, world.mishaps.unlooked, world.mishaps.renames) = (None, None, false);
        }
        let report = sync(&shared);
        let did = (report.remote.moved, report.remote.added, report.remote.removed, report.held.len());
        assert_eq!(did, (2, 0, 0, 0), "way {at} to {to}: {report:?}");
        let expected = if at == 2 { vec![2, 3] } else { vec![2, 3, 4] };
        for ids in [local_ids, remote_ids] {
            let found = ["One", to, "Trash"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![], expected.clone(), vec![]], "way {at} to {to}");
        }
        struck_everywhere(make, &[("One", &[]), (to, &expected), ("Trash", &[])]);
    }
}

fn archive_on_both_sides(shared: &Shared) {
    let unique = file(shared, 1);
    let (name, uid) = super::scenarios::uid(&shared.world(), 1);
    shared.world().remote_move(&name, uid, &folder("Archive"));
    shared.world().maildir.move_file(&name, &unique, &folder("Archive"), false);
    shared.world().ledger.moved(1, &folder("Archive"));
}

fn assert_back(shared: &Shared, archived: &[u32], delete: Delete) {
    for ids in [local_ids, remote_ids] {
        assert_eq!([ids(shared, "INBOX"), ids(shared, "Archive")], [&[1, 2], archived], "{delete:?}");
        assert!(!ids(shared, "Trash").contains(&1), "{delete:?}");
    }
}

/// Where it is depends on what a sync saw before it came back: moved on the server only, it is followed there.
fn assert_one(shared: &Shared, context: &str) {
    let places = [local_ids, remote_ids]
        .map(|ids| ["INBOX", "Archive", "Trash"].map(|name| ids(shared, name).iter().filter(|id| **id == 1).count()));
    assert!(places == [[1, 0, 0]; 2] || places == [[0, 1, 0]; 2], "{context}: {places:?}");
}

fn bring_back(world: &mut World, renamed: bool) {
    world.mishaps.restless = None;
    let (from, unique) = super::scenarios::file(world, 1);
    world.maildir.move_with_letters(&from, &unique, &MailboxName::inbox(), renamed);
    world.ledger.moved(1, &MailboxName::inbox());
}

/// Adopted in its new folder while the old one could not be seen, it had a row in both. A later pass looked at the old one
/// only: the file counted as removed on the server, and then its message as removed here.
#[test]
fn moved_on_both_sides_and_back_here_while_a_sync_is_at_work_it_is_not_lost() {
    let acts: [fn(&mut World); 2] = [
        |world| world.meanwhile = Some(("observe INBOX", |world| bring_back(world, false))),
        |world| world.meanwhile = Some(("observe INBOX", |world| bring_back(world, true))),
    ];
    for (delete, act) in [Delete::Trash, Delete::Expunge].into_iter().flat_map(|how| acts.map(move |act| (how, act))) {
        let make = || {
            let shared = in_step(delete, 2);
            shared.world().remote_put(&folder("Other"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            sync(&shared);
            archive_on_both_sides(&shared);
            // Waits for the restless INBOX, so that the second pass looks at these two and not at Archive.
            super::scenarios::local_delete(&mut shared.world(), 3);
            shared.world().mishaps.restless = Some(MailboxName::inbox());
            // The first pass's look arms the second's.
            shared.world().meanwhile = Some(("observe INBOX", act));
            shared
        };
        let shared = make();
        (0..3).for_each(|_| drop(sync(&shared)));
        assert!(shared.world().meanwhile.is_none());
        assert_back(&shared, &[], delete);
        struck_at_every_call(make, assert_one);
    }
}

/// It is seen in its new folder, and then in the old one, where it counted as removed on the server, or under another name
/// as new.
#[test]
fn moved_on_both_sides_and_back_here_between_two_scans_it_is_not_lost() {
    let acts: [fn(&mut World); 2] = [|world| bring_back(world, false), |world| bring_back(world, true)];
    let all =
        [Delete::Trash, Delete::Expunge, Delete::Flag].into_iter().flat_map(|how| acts.map(move |act| (how, act)));
    for (delete, act) in all {
        let make = || {
            let shared = in_step(delete, 2);
            archive_on_both_sides(&shared);
            shared.world().meanwhile = Some(("scan INBOX", act));
            shared
        };
        let shared = make();
        (0..3).for_each(|_| drop(sync(&shared)));
        assert!(shared.world().meanwhile.is_none());
        assert_one(&shared, &format!("{delete:?}"));
        struck_at_every_call(make, assert_one);
    }
}

/// Adopted by an earlier run that was not about the old folder, it had a row in both.
#[test]
fn known_in_both_folders_and_moved_back_here_between_two_scans_it_is_not_lost() {
    let acts: [fn(&mut World); 2] = [|world| bring_back(world, false), |world| bring_back(world, true)];
    for (delete, act) in [Delete::Trash, Delete::Expunge].into_iter().flat_map(|how| acts.map(move |act| (how, act))) {
        let make = || {
            let shared = in_step(delete, 2);
            archive_on_both_sides(&shared);
            calm_run(&shared, &Options { only: vec![folder("Archive")], ..Options::default() });
            // So that Archive is read, too.
            shared.world().local_put(&folder("Archive"), 3, Kind::Ordinary, DATE, None);
            shared.world().meanwhile = Some(("scan INBOX", act));
            shared
        };
        let shared = make();
        (0..3).for_each(|_| drop(sync(&shared)));
        assert!(shared.world().meanwhile.is_none());
        assert_back(&shared, &[3], delete);
        struck_everywhere(make, &[("INBOX", &[1, 2]), ("Archive", &[3]), ("Trash", &[])]);
    }
}
