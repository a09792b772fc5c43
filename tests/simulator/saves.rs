//! Drafts saved again, struck at every step, and what becomes of them when something goes wrong.

use mailtide::model::{FlagSet, Role, Timestamp};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::report::Report;
use mailtide::reconcile::snapshot::Abilities;

use super::account::{DATE, ids};
use super::check::{local_view, remote_view};
use super::history::{calm_run, policy};
use super::mail::Kind;
use super::maildir::{Maildir, Save};
use super::rng::Rng;
use super::scenarios::{FULL, both_ways, file, local, local_flag, remote, remote_delete, remote_flag, uid};
use super::server::Server;
use super::users::{FlagEdit, folder};
use super::world::{Shared, World};

const DRAFTS: &str = "Drafts";

/// A draft from each side, and other mail.
fn drafts(world: &mut World) {
    remote(world, DRAFTS, 1, &["\\Draft", "\\Seen"]);
    local(world, DRAFTS, 2, &["\\Draft"]);
    remote(world, "INBOX", 3, &["\\Draft"]);
    remote(world, "INBOX", 4, &[]);
}

fn save(world: &mut World, id: u32, how: Save) -> u32 {
    let (name, unique) = file(world, id);
    world.local_save(&name, &unique, how).unwrap()
}

fn save_all(world: &mut World, ids: &[u32], how: Save) {
    for id in ids {
        save(world, *id, how);
    }
}

fn saved(how: fn(&mut World)) {
    both_ways(Delete::Trash, drafts, Some(how));
}

#[test]
fn in_place() {
    for delete in [Delete::Trash, Delete::Expunge, Delete::Flag, Delete::Never] {
        both_ways(delete, drafts, Some(|world| save_all(world, &[1, 3], Save::InPlace)));
    }
}

#[test]
fn by_another_file_renamed_over_the_name() {
    saved(|world| save_all(world, &[1, 2, 3], Save::RenamedOver));
}

#[test]
fn under_a_new_name() {
    saved(|world| save_all(world, &[1, 2], Save::NewName));
}

#[test]
fn ten_times_between_two_syncs() {
    saved(|world| {
        for how in [Save::InPlace, Save::NewName, Save::RenamedOver] {
            let first = if how == Save::InPlace { 1 } else { file_of_last(world) };
            (0..3).fold(first, |id, _| save(world, id, how));
        }
    });
}

/// Returns the number of the version saved last.
fn file_of_last(world: &World) -> u32 {
    *world.ledger.stories.last_key_value().unwrap().0
}

#[test]
fn while_the_server_changes_flags() {
    saved(|world| {
        save(world, 1, Save::InPlace);
        remote_flag(world, 1, "\\Flagged", true);
        remote_flag(world, 1, "\\Seen", false);
        save(world, 2, Save::NewName);
        remote_flag(world, 2, "work", true);
    });
}

#[test]
fn while_the_server_loses_it() {
    saved(|world| {
        save(world, 1, Save::InPlace);
        remote_delete(world, 1);
        save(world, 2, Save::NewName);
        remote_delete(world, 2);
    });
}

#[test]
fn on_both_sides() {
    saved(|world| {
        save(world, 1, Save::RenamedOver);
        remote_delete(world, 1);
        let id = world.ledger.fresh_id();
        remote(world, DRAFTS, id, &["\\Draft"]);
    });
}

/// An account with one draft, number 1, in step.
fn in_step(delete: Delete) -> Shared {
    let abilities = Abilities { mod_seq: true, moves: true, uid_plus: true, deleted_is_final: false };
    let mut world = World::new(Server::new(abilities), policy(delete), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    remote(&mut world, DRAFTS, 1, &["\\Draft"]);
    let shared = Shared::new(world);
    // From the second on, neither side has to be looked at.
    (0..2).for_each(|_| drop(sync(&shared)));
    shared
}

fn sync(shared: &Shared) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options::default())
}

fn save_one(shared: &Shared, id: u32, how: Save) -> u32 {
    save(&mut shared.world(), id, how)
}

/// Returns the messages in Drafts here and there, and those in the server's Trash.
fn places(shared: &Shared) -> [Vec<u32>; 3] {
    let world = shared.world();
    let (here, there) = (local_view(&world), remote_view(&world));
    [ids(&here, DRAFTS), ids(&there, DRAFTS), ids(&there, "Trash")]
}

#[test]
fn a_replacement_is_neither_an_arrival_nor_a_removal() {
    for how in [Save::InPlace, Save::RenamedOver, Save::NewName] {
        let shared = in_step(Delete::Trash);
        shared.world().policy.max_delete.at_most = 0;
        let id = save_one(&shared, 1, how);
        let book = shared.world().book.clone();
        let said = calm_run(&shared, &Options { dry_run: true, ..Options::default() });
        shared.world().book = book;
        assert_eq!(said.plan.iter().map(|line| line.op).collect::<Vec<_>>(), ["replace"], "{how:?}");
        let did = sync(&shared);
        assert_eq!((said.local, said.remote), (did.local, did.remote), "{how:?}");
        assert_eq!((did.remote.added, did.remote.replaced, did.remote.removed), (0, 1, 0), "{how:?}");
        assert!(did.held.is_empty() && did.problems.is_empty(), "{did:?}");
        assert_eq!(places(&shared), [vec![id], vec![id], vec![]], "{how:?}");
    }
}

#[test]
fn flags_of_both_sides_are_united() {
    for how in [Save::InPlace, Save::NewName] {
        let shared = in_step(Delete::Trash);
        let id = save_one(&shared, 1, how);
        remote_flag(&mut shared.world(), 1, "\\Flagged", true);
        remote_flag(&mut shared.world(), 1, "work", true);
        local_flag(&mut shared.world(), id, "\\Seen", true);
        sync(&shared);
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let flags: Vec<_> = view[&folder(DRAFTS)].iter().map(|seen| seen.flags.to_string()).collect();
            assert_eq!(flags, ["\\Seen \\Flagged \\Draft work"], "{how:?}");
        }
    }
}

#[test]
fn the_old_version_stays_on_the_server_as_long_as_the_new_one_is_refused() {
    for how in [Save::InPlace, Save::RenamedOver, Save::NewName] {
        for delete in [Delete::Trash, Delete::Expunge] {
            let shared = in_step(delete);
            shared.world().mishaps.appends = true;
            let mut last = save_one(&shared, 1, how);
            for _ in 0..3 {
                sync(&shared);
                assert_eq!(places(&shared), [vec![last], vec![1], vec![]], "{how:?} {delete:?}");
                last = save_one(&shared, last, how);
            }
            shared.world().mishaps.appends = false;
            shared.world().now.0 += 2 * 86_400;
            sync(&shared);
            assert_eq!(places(&shared), [vec![last], vec![last], vec![]], "{how:?} {delete:?}");
        }
    }
}

#[test]
fn a_draft_thrown_away_before_its_new_version_was_sent_goes_to_trash() {
    let shared = in_step(Delete::Trash);
    shared.world().mishaps.appends = true;
    let id = save_one(&shared, 1, Save::InPlace);
    sync(&shared);
    let (name, unique) = file(&shared.world(), id);
    shared.world().local_delete(&name, &unique);
    sync(&shared);
    assert_eq!(places(&shared), [vec![], vec![], vec![1]]);
}

#[test]
fn a_copied_maildir_is_no_maildir_of_new_versions() {
    let shared = in_step(Delete::Trash);
    for (name, date) in [(DRAFTS, None), (DRAFTS, Some(Timestamp(1_690_000_000)))] {
        shared.world().maildir.copied(&folder(name), date);
        let report = sync(&shared);
        assert_eq!((report.remote.replaced, report.remote.added), (0, 0), "{date:?}");
        let known = |shared: &Shared| shared.world().book.messages.values().next().unwrap().stat.unwrap();
        let now = shared.world().maildir.folders[&folder(name)].messages().next().unwrap().stat();
        assert_eq!(known(&shared), now, "{date:?}: not asked again");
    }
}

#[test]
fn without_a_message_id_a_new_name_is_a_removal_and_an_arrival() {
    let shared = in_step(Delete::Trash);
    let at = Timestamp(1_600_000_000);
    shared.world().remote_put(&folder(DRAFTS), 2, Kind::Anonymous, at, &FlagSet::new());
    sync(&shared);
    let id = save_one(&shared, 2, Save::NewName);
    sync(&shared);
    assert_eq!(places(&shared), [vec![1, id], vec![1, id], vec![2]]);
}

/// A new version is refused; then the Maildir is the one of before, or an empty one at another path.
#[test]
fn what_waited_in_another_state_of_the_maildir_removes_nothing() {
    for delete in [Delete::Trash, Delete::Expunge] {
        for moved in [false, true] {
            let shared = in_step(delete);
            let backup = shared.world().maildir.clone();
            let second = save_one(&shared, 1, Save::InPlace);
            sync(&shared);
            shared.world().mishaps.appends = true;
            save_one(&shared, second, Save::InPlace);
            sync(&shared);
            sync(&shared);
            shared.world().mishaps.appends = false;
            shared.world().now.0 += 2 * 86_400;
            if moved {
                shared.world().maildir = Maildir::default();
                shared.world().policy.circumstances.root = "/other".to_owned();
            } else {
                let mut old = backup;
                old.marker.as_mut().unwrap().run = 0;
                shared.world().maildir = old;
            }
            (0..3).for_each(|_| drop(sync(&shared)));
            let both = if moved { vec![second] } else { vec![1, second] };
            assert_eq!(places(&shared), [both.clone(), both, vec![]], "{delete:?} moved {moved}");
        }
    }
}

/// It was moved in from another folder, and saved then: it had got the flags of one that was moved away, of its Message-ID.
#[test]
fn a_draft_moved_in_and_saved_is_no_new_version_of_one_moved_away() {
    let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
    let junk = FlagEdit::new("$Junk", true).flags;
    world.remote_put(&folder(DRAFTS), 1, Kind::Shared, DATE, &FlagSet::new());
    world.remote_put(&folder("Lists"), 2, Kind::Shared, DATE, &FlagSet::new());
    let shared = Shared::new(world);
    sync(&shared);
    let id = {
        let mut world = shared.world();
        remote_flag(&mut world, 1, "$Junk", true);
        for (id, target) in [(1, "INBOX"), (2, DRAFTS)] {
            let (name, unique) = file(&world, id);
            world.local_move(&name, &unique, &folder(target));
        }
        save(&mut world, 2, Save::InPlace)
    };
    for _ in 0..2 {
        sync(&shared);
    }
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let found = |name| view[&folder(name)].iter().map(|seen| (seen.id, seen.flags.clone())).collect::<Vec<_>>();
        assert_eq!(found(DRAFTS), [(id, FlagSet::new())]);
        assert_eq!(found("INBOX"), [(1, junk.clone())]);
    }
}

/// Others moved half of it to a folder where that got the number that it had: it was taken for the folder itself, and what
/// replaced the other half for its next version.
#[test]
fn a_draft_saved_while_its_folder_is_numbered_anew_and_looks_like_another_leaves_no_old_version() {
    for told in [true, false] {
        let mut world = World::new(Server::new(FULL), policy(Delete::Expunge), Rng::new(1));
        (world.server.same_second, world.server.status) = (true, told);
        remote(&mut world, DRAFTS, 1, &["\\Draft"]);
        remote(&mut world, DRAFTS, 2, &["\\Draft"]);
        remote(&mut world, "Lists", 3, &[]);
        let shared = Shared::new(world);
        (0..2).for_each(|_| drop(sync(&shared)));
        let id = save_one(&shared, 1, Save::InPlace);
        {
            let mut world = shared.world();
            world.server.renumber(&folder(DRAFTS));
            world.ledger.renumber(&folder(DRAFTS), &[]);
            let (name, two) = uid(&world, 2);
            world.remote_move(&name, two, &folder("Lists"));
            remote_delete(&mut world, 3);
        }
        (0..3).for_each(|_| drop(sync(&shared)));
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let drafts = ids(&view, DRAFTS);
            assert!(drafts.contains(&id) && !drafts.contains(&1), "{told}: {drafts:?}");
            assert_eq!(ids(&view, "Lists"), [2], "{told}");
        }
    }
}

/// One of its Message-ID that was moved away at the same time was taken for its older version: it gave it its flags, and was
/// expunged.
#[test]
fn a_draft_moved_in_and_saved_under_a_new_name_is_no_new_version_of_one_moved_away() {
    for edited in [false, true] {
        let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
        let junk = FlagEdit::new("$Junk", true).flags;
        world.server.create(&folder("Trash"), Some(Role::Trash));
        world.remote_put(&folder(DRAFTS), 1, Kind::Shared, DATE, &FlagSet::new());
        world.remote_put(&folder("Lists"), 2, Kind::Shared, DATE, &FlagSet::new());
        let shared = Shared::new(world);
        (0..2).for_each(|_| drop(sync(&shared)));
        let mut first = 1;
        if edited {
            // It is recorded that it was saved again, and what it was saved as is not sent.
            first = save_one(&shared, 1, Save::InPlace);
            shared.world().mishaps.appends = true;
            sync(&shared);
            shared.world().mishaps.appends = false;
            shared.world().now.0 += 2 * 86_400;
        }
        let id = {
            let mut world = shared.world();
            remote_flag(&mut world, 1, "$Junk", true);
            for (id, target) in [(first, "INBOX"), (2, DRAFTS)] {
                let (name, unique) = file(&world, id);
                world.maildir.move_file(&name, &unique, &folder(target), false);
                world.ledger.moved(id, &folder(target));
            }
            save(&mut world, 2, Save::NewName)
        };
        (0..3).for_each(|_| drop(sync(&shared)));
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let found = |name| view[&folder(name)].iter().map(|seen| (seen.id, seen.flags.clone())).collect::<Vec<_>>();
            let moved = if edited { (first, FlagSet::new()) } else { (1, junk.clone()) };
            assert_eq!(found(DRAFTS), [(id, FlagSet::new())], "edited {edited}");
            assert_eq!(found("INBOX"), [moved], "edited {edited}");
        }
    }
}

/// Two drafts of one Message-ID, in step: 1 with a keyword, 2 without.
fn twins() -> Shared {
    let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    for (id, word) in [(1, "work"), (2, "\\Seen")] {
        world.remote_put(&folder(DRAFTS), id, Kind::Shared, DATE, &FlagEdit::new(word, true).flags);
    }
    let shared = Shared::new(world);
    (0..2).for_each(|_| drop(sync(&shared)));
    shared
}

fn assert_drafts(shared: &Shared, mut expected: Vec<(u32, &str)>) {
    expected.sort_unstable();
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let mut found: Vec<_> = view[&folder(DRAFTS)].iter().map(|seen| (seen.id, seen.flags.to_string())).collect();
        found.sort();
        let found: Vec<_> = found.iter().map(|(id, flags)| (*id, flags.as_str())).collect();
        assert_eq!(found, expected);
    }
}

/// The one deleted was taken for its older version: it gave it its keyword, and never came to Trash.
#[test]
fn a_draft_saved_under_a_new_name_is_no_new_version_of_one_of_its_message_id_that_was_deleted() {
    for (deleted, kept, flags) in [(1, 2, "\\Seen"), (2, 1, "work")] {
        let shared = twins();
        let id = save_one(&shared, kept, Save::NewName);
        let (name, unique) = file(&shared.world(), deleted);
        shared.world().local_delete(&name, &unique);
        (0..3).for_each(|_| drop(sync(&shared)));
        assert_drafts(&shared, vec![(id, flags)]);
        assert_eq!(places(&shared)[2], [deleted]);
    }
}

/// They were paired in the order of their names.
#[test]
fn two_drafts_of_one_message_id_saved_under_new_names_keep_their_flags() {
    for order in [[1, 2], [2, 1]] {
        let shared = twins();
        let saved = order.map(|id| (save_one(&shared, id, Save::NewName), if id == 1 { "work" } else { "\\Seen" }));
        (0..3).for_each(|_| drop(sync(&shared)));
        assert_drafts(&shared, saved.to_vec());
    }
}
