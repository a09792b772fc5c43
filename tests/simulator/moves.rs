//! Messages moved and renamed, on either side or on both: one message in the right place, and no body travels.

use mailtide::model::{MailboxName, Role, UniqueName};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::snapshot::Abilities;
use mailtide::store::RemoteErrorKind;

use super::account::{at_every_call, at_every_request, dies, ids, is_refused, struck_everywhere};
use super::check::{View, local_view, remote_view};
use super::history::{calm_run, policy, run};
use super::maildir::Save;
use super::rng::Rng;
use super::scenarios::{
    Act, FULL, PLAIN, Scenario, assert_kept, file, local, local_delete, local_flag, quiet, remote, remote_delete,
    remote_flag, uid,
};
use super::schedule::{CrashAt, Heard, Schedule};
use super::server::Server;
use super::users::folder;
use super::world::{Shared, World};

/// MOVE without UIDPLUS, and UIDPLUS without MOVE.
const HALVES: [Abilities; 2] =
    [Abilities { uid_plus: false, ..FULL }, Abilities { moves: false, mod_seq: false, ..FULL }];

/// Mail in three folders, with keyword letters that mean different things in them.
fn start(world: &mut World) {
    local(world, "INBOX", 1, &["\\Seen", "work"]);
    local(world, "INBOX", 2, &["later"]);
    local(world, "Archive", 3, &["later", "$Forwarded"]);
    local(world, "Archive", 4, &["work"]);
    remote(world, "Lists/rust", 5, &["\\Flagged"]);
    remote(world, "INBOX", 6, &[]);
}

/// How the file of a moved message is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Kept,
    New,
}

fn local_move(world: &mut World, id: u32, target: &str, name: Name) {
    let (from, unique) = file(world, id);
    world.maildir.move_with_letters(&from, &unique, &folder(target), name == Name::New);
    world.ledger.moved(id, &folder(target));
    world.say(|| format!("local: {from}/{unique} ({id}) moved to {target}, {name:?}"));
}

fn remote_move(world: &mut World, id: u32, target: &str) {
    let (from, uid) = uid(world, id);
    world.remote_move(&from, uid, &folder(target));
}

fn rename(world: &mut World, id: u32) {
    let (name, unique) = file(world, id);
    let new = UniqueName::new(&format!("{id}.renamed")).unwrap();
    world.maildir.user(&name, &unique, |place| Some(super::file::Place { unique: new, ..place.clone() }));
}

/// Returns each message's place and flags.
pub(super) fn places(view: &View) -> Vec<(u32, String, String)> {
    let all = view.iter().flat_map(|(name, messages)| messages.iter().map(move |seen| (name, seen)));
    let said = |(name, seen): (&MailboxName, &super::check::Seen)| {
        (seen.id, name.to_string(), seen.flags.to_string().to_lowercase())
    };
    let mut places: Vec<_> = all.map(said).collect();
    places.sort();
    places
}

/// Returns a message's places on this side and on the server, and its flags there.
fn places_of(world: &World, id: u32) -> [Vec<(u32, String, String)>; 2] {
    [local_view(world), remote_view(world)].map(|view| places(&view).into_iter().filter(|one| one.0 == id).collect())
}

/// Checks that a change ends, on every kind of server, and on the best and the least one struck at every call, with these
/// messages in these places with these flags, and the others where they were. Returns how often bodies travelled in the calm run.
fn ends(delete: Delete, change: Act, expected: &[(u32, &str, &str)]) -> Vec<usize> {
    let mut travelled = Vec::new();
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        let scenario = Scenario { delete, abilities, tune: |_| (), start, change: Some(change) };
        let shared = scenario.world(0);
        shared.world().carried.clear();
        calm_run(&shared, &Default::default());
        travelled.push(shared.world().carried.values().sum());
        quiet(&shared);
        assert_kept(&shared, "run calm");
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let places = places(&view);
            let touched: Vec<_> = places.iter().map(|(id, name, flags)| (*id, name.as_str(), flags.as_str())).collect();
            let others = [
                (1, "INBOX", "\\seen work"),
                (2, "INBOX", "later"),
                (3, "Archive", "$forwarded later"),
                (4, "Archive", "work"),
                (5, "Lists/rust", "\\flagged"),
                (6, "INBOX", ""),
            ];
            let named = |id: &u32| expected.iter().any(|one| one.0 == *id);
            let mut all: Vec<_> = others.into_iter().filter(|one| !named(&one.0)).collect();
            all.extend(expected.iter().filter(|one| !one.1.is_empty()));
            all.sort_unstable();
            assert_eq!(touched, all, "{abilities:?}");
        }
        drop(world);
        if [FULL, PLAIN].contains(&abilities) && delete == Delete::Trash {
            scenario.check();
        }
    }
    travelled
}

/// Checks that it ends so without a body having travelled.
fn moves(change: Act, expected: &[(u32, &str, &str)]) {
    let travelled = ends(Delete::Trash, change, expected);
    assert!(travelled.iter().all(|bodies| *bodies == 0), "bodies travelled: {travelled:?}");
}

#[test]
fn moved_locally_under_the_same_name() {
    moves(|world| local_move(world, 1, "Archive", Name::Kept), &[(1, "Archive", "\\seen work")]);
}

#[test]
fn moved_locally_under_another_name() {
    moves(|world| local_move(world, 2, "Lists/rust", Name::New), &[(2, "Lists/rust", "later")]);
}

#[test]
fn several_moved_locally_in_all_directions() {
    let change: Act = |world| {
        local_move(world, 1, "Archive", Name::New);
        local_move(world, 3, "INBOX", Name::Kept);
        local_move(world, 4, "Lists/rust", Name::New);
        local_move(world, 5, "INBOX", Name::Kept);
    };
    let expected = [
        (1, "Archive", "\\seen work"),
        (3, "INBOX", "$forwarded later"),
        (4, "Lists/rust", "work"),
        (5, "INBOX", "\\flagged"),
    ];
    moves(change, &expected);
}

/// The letter means another keyword in the folder that they came from: that one appeared.
#[test]
fn tagged_here_after_they_were_moved_under_another_name() {
    let change: Act = |world| {
        for id in [5, 6] {
            local_move(world, id, "Archive", Name::New);
            local_flag(world, id, "work", true);
        }
    };
    moves(change, &[(5, "Archive", "\\flagged work"), (6, "Archive", "work")]);
}

/// A run that dies after it moved the file has given no letter to it: what was given before means what it did.
#[test]
fn tagged_here_and_moved_on_the_server() {
    let change: Act = |world| {
        local_flag(world, 6, "later", true);
        remote_move(world, 6, "Archive");
    };
    moves(change, &[(6, "Archive", "later")]);
}

#[test]
fn moved_locally_by_a_program_that_drops_what_letters_it_does_not_know() {
    let change: Act = |world| {
        let (from, unique) = file(world, 1);
        world.maildir.move_file(&from, &unique, &folder("Archive"), true);
        world.ledger.moved(1, &folder("Archive"));
    };
    moves(change, &[(1, "Archive", "\\seen work")]);
}

#[test]
fn moved_locally_and_flagged_on_both_sides() {
    let change: Act = |world| {
        remote_flag(world, 1, "\\Answered", true);
        local_flag(world, 1, "\\Seen", false);
        local_flag(world, 1, "$Junk", true);
        local_move(world, 1, "Archive", Name::Kept);
    };
    moves(change, &[(1, "Archive", "\\answered $junk work")]);
}

#[test]
fn moved_to_trash_locally() {
    moves(|world| local_move(world, 1, "Trash", Name::New), &[(1, "Trash", "\\seen work")]);
}

#[test]
fn moved_locally_where_removals_stay_on_the_server() {
    for delete in [Delete::Never, Delete::Flag, Delete::Expunge] {
        let change: Act = |world| local_move(world, 1, "Archive", Name::Kept);
        assert_eq!(ends(delete, change, &[(1, "Archive", "\\seen work")]), [0; 4], "{delete:?}");
    }
}

#[test]
fn given_another_name_in_the_same_folder() {
    moves(
        |world| {
            rename(world, 1);
            local_flag(world, 1, "\\Flagged", true);
        },
        &[(1, "INBOX", "\\seen \\flagged work")],
    );
}

#[test]
fn given_another_name_and_deleted_on_the_server() {
    moves(
        |world| {
            rename(world, 1);
            remote_delete(world, 1);
        },
        &[(1, "", "")],
    );
}

#[test]
fn moved_on_the_server() {
    moves(
        |world| {
            remote_move(world, 1, "Archive");
            remote_move(world, 5, "INBOX");
        },
        &[(1, "Archive", "\\seen work"), (5, "INBOX", "\\flagged")],
    );
}

#[test]
fn moved_on_the_server_and_flagged_on_both_sides() {
    let change: Act = |world| {
        remote_flag(world, 1, "\\Answered", true);
        remote_move(world, 1, "Archive");
        remote_flag(world, 1, "work", false);
        local_flag(world, 1, "\\Seen", false);
    };
    moves(change, &[(1, "Archive", "\\answered")]);
}

#[test]
fn moved_away_and_back_on_the_server() {
    moves(
        |world| {
            remote_move(world, 1, "Archive");
            remote_move(world, 1, "INBOX");
        },
        &[(1, "INBOX", "\\seen work")],
    );
}

#[test]
fn moved_to_the_same_folder_on_both_sides() {
    let change: Act = |world| {
        remote_flag(world, 1, "\\Seen", false);
        remote_move(world, 1, "Archive");
        local_flag(world, 1, "\\Answered", true);
        local_move(world, 1, "Archive", Name::New);
    };
    moves(change, &[(1, "Archive", "\\answered work")]);
}

#[test]
fn moved_to_different_folders_the_servers_place_counts() {
    let change: Act = |world| {
        remote_move(world, 1, "Lists/rust");
        local_move(world, 1, "Archive", Name::New);
        local_move(world, 2, "Archive", Name::Kept);
        remote_move(world, 2, "Lists/rust");
    };
    moves(change, &[(1, "Lists/rust", "\\seen work"), (2, "Lists/rust", "later")]);
}

#[test]
fn moved_here_and_deleted_there_it_is_kept() {
    let change: Act = |world| {
        local_move(world, 5, "Archive", Name::Kept);
        remote_delete(world, 5);
    };
    assert_eq!(ends(Delete::Trash, change, &[(5, "Archive", "\\flagged")]), [1; 4]);
}

#[test]
fn deleted_here_and_moved_there_it_stays_there() {
    let change: Act = |world| {
        local_delete(world, 5);
        remote_move(world, 5, "Archive");
    };
    assert_eq!(ends(Delete::Trash, change, &[(5, "Archive", "\\flagged")]), [1; 4]);
}

#[test]
fn a_server_that_refuses_to_move_gets_what_was_moved_as_a_new_message() {
    for abilities in [FULL, PLAIN] {
        let change: Act = |world| local_move(world, 5, "Archive", Name::Kept);
        let shared = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
        shared.world().mishaps.transfers = true;
        quiet(&shared);
        assert_kept(&shared, "transfers refused");
        let places = places(&remote_view(&shared.world()));
        let five: Vec<_> = places.iter().filter(|(id, ..)| *id == 5).collect();
        assert_eq!(five, [&(5, "Archive".to_owned(), "\\flagged".to_owned())], "{abilities:?}");
    }
}

/// What was recorded as sent and not yet as gone counted as removed, and went to Trash as well.
#[test]
fn a_message_that_the_server_refuses_to_move_goes_to_no_trash_when_the_run_is_killed() {
    for abilities in [FULL, PLAIN] {
        let moved_and_refused = || {
            let change: Act = |world| local_move(world, 5, "Archive", Name::Kept);
            let scenario = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) };
            let shared = scenario.world(0);
            shared.world().mishaps.transfers = true;
            shared
        };
        struck_everywhere(moved_and_refused, &[("Archive", &[3, 4, 5]), ("Lists/rust", &[]), ("Trash", &[])]);
    }
}

/// The old folder's row outlives the move then, and has the file again.
#[test]
fn moved_on_both_sides_and_back_here_before_the_old_folder_was_looked_at_it_is_kept() {
    let change = |world: &mut World| {
        local_move(world, 5, "Archive", Name::Kept);
        remote_move(world, 5, "Archive");
    };
    for delete in [Delete::Trash, Delete::Expunge] {
        for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
            let scenario = Scenario { delete, abilities, tune: |_| (), start, change: Some(change) };
            let shared = scenario.world(0);
            calm_run(&shared, &Options { only: vec![folder("Archive")], ..Options::default() });
            local_move(&mut shared.world(), 5, "Lists/rust", Name::Kept);
            quiet(&shared);
            assert_kept(&shared, "moved back");
            let world = shared.world();
            for five in places_of(&world, 5) {
                assert_eq!(five, [(5, "Lists/rust".into(), "\\flagged".into())], "{abilities:?}");
            }
        }
    }
}

/// Seed 1795944931085469: where the server does not tell where to it moved a message, the letter was read as that of the
/// folder that its file came from, as if a run that died had moved it.
#[test]
fn tagged_where_it_was_moved_to_here_while_the_server_moves_it_it_gets_no_other_keyword() {
    let change: Act = |world| local_move(world, 6, "Archive", Name::Kept);
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        let shared = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
        let call = if abilities.moves { "move INBOX" } else { "copy INBOX" };
        shared.world().meanwhile = Some((call, |world| local_flag(world, 6, "later", true)));
        quiet(&shared);
        let world = shared.world();
        assert!(world.meanwhile.is_none(), "{abilities:?}");
        for six in places_of(&world, 6) {
            assert_eq!(six, [(6, "Archive".into(), "later".into())], "{abilities:?}");
        }
    }
}

/// The file counted as removed on the server, and with the next run its message in the new folder as removed here.
#[test]
fn moved_on_both_sides_and_back_here_it_is_kept_by_a_run_about_the_old_folder_only() {
    let change: Act = |world| {
        local_move(world, 5, "Archive", Name::Kept);
        remote_move(world, 5, "Archive");
    };
    let all = [Delete::Trash, Delete::Expunge].into_iter().flat_map(|how| [(how, Name::Kept), (how, Name::New)]);
    for (delete, name) in all {
        let shared = Scenario { delete, abilities: FULL, tune: |_| (), start, change: Some(change) }.world(0);
        calm_run(&shared, &Options { only: vec![folder("Archive")], ..Options::default() });
        local_move(&mut shared.world(), 5, "Lists/rust", name);
        calm_run(&shared, &Options { only: vec![folder("Lists/rust")], ..Options::default() });
        quiet(&shared);
        assert_kept(&shared, "moved back, and looked at there only");
        let world = shared.world();
        for five in places_of(&world, 5) {
            assert_eq!(five, [(5, "Lists/rust".into(), "\\flagged".into())], "{delete:?} {name:?}");
        }
    }
}

/// It was copied, and looked removed where it had been once that folder was looked at: it was in Trash, too.
#[test]
fn moved_here_from_a_folder_that_a_run_is_not_about_it_waits_for_one_about_both() {
    let change: Act = |world| local_move(world, 5, "Archive", Name::Kept);
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        let shared = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
        for _ in 0..2 {
            let report = calm_run(&shared, &Options { only: vec![folder("Archive")], ..Options::default() });
            let told: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
            assert_eq!((told, report.did_anything()), (vec!["folder-unfinished"], false), "{abilities:?}");
        }
        quiet(&shared);
        assert_kept(&shared, "moved from a folder that a run was not about");
        let world = shared.world();
        for five in places_of(&world, 5) {
            assert_eq!(five, [(5, "Archive".into(), "\\flagged".into())], "{abilities:?}");
        }
    }
}

/// Its row was let go of by a run that saw neither place, and it was fetched from the one and sent from the other.
#[test]
fn moved_to_different_folders_on_both_sides_it_is_one_although_a_run_was_about_the_old_folder_only() {
    let change: Act = |world| {
        remote_move(world, 5, "Archive");
        local_move(world, 5, "INBOX", Name::Kept);
    };
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        for anew in [false, true] {
            let shared =
                Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
            if anew {
                rename(&mut shared.world(), 5);
            }
            calm_run(&shared, &Options { only: vec![folder("Lists/rust")], ..Options::default() });
            quiet(&shared);
            assert_kept(&shared, "moved on both sides from a folder that a run was about");
            let world = shared.world();
            for five in places_of(&world, 5) {
                assert_eq!(five, [(5, "Archive".into(), "\\flagged".into())], "{abilities:?}, {anew}");
            }
        }
    }
}

/// It was taken for the message that had gone, whatever was in it by then.
#[test]
fn renamed_here_and_deleted_there_it_is_kept_if_it_is_saved_again_before_it_goes() {
    let change: Act = |world| {
        rename(world, 3);
        remote_delete(world, 3);
    };
    for abilities in [FULL, PLAIN] {
        let shared = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
        shared.world().meanwhile = Some(("unlink", |world| {
            let (name, unique) = file(world, 3);
            world.local_save(&name, &unique, Save::InPlace);
        }));
        quiet(&shared);
        assert!(shared.world().meanwhile.is_none());
        assert_kept(&shared, "saved again before it was removed");
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let found = places(&view);
            assert!(found.iter().any(|one| one.0 == 7 && one.1 == "Archive"), "{abilities:?}: {found:?}");
            assert!(found.iter().all(|one| one.0 != 3), "{abilities:?}: {found:?}");
        }
    }
}

/// The name that it would get where its message is was taken, by its own row: it was sent again from where it had moved.
#[test]
fn moved_on_the_server_and_back_while_its_file_moves_here_it_is_one() {
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        let change: Act = |world| {
            for target in ["Archive", "INBOX"] {
                let (name, uid) = uid(world, 1);
                world.remote_move(&name, uid, &folder(target));
            }
            local_move(world, 1, "Lists/rust", Name::Kept);
        };
        let start: Act = |world| {
            remote(world, "INBOX", 1, &[]);
            ["Archive", "Lists/rust"].iter().for_each(|name| world.server.create(&folder(name), None));
        };
        let shared = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
        quiet(&shared);
        assert_kept(&shared, "moved there and back");
        let world = shared.world();
        let [here, there] = [local_view(&world), remote_view(&world)].map(|view| places(&view));
        assert!(here.len() == 1 && here == there, "{abilities:?}: {here:?} {there:?}");
    }
}

/// Nobody heard that it was sent, and it was moved before anybody looked: it was sent again.
#[test]
fn sent_and_moved_on_the_server_before_the_answer_was_heard_it_is_one() {
    let change: Act = |world| [7, 8, 9].iter().for_each(|id| local(world, "INBOX", *id, &["work"]));
    for abilities in [FULL, PLAIN].into_iter().chain(HALVES) {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) };
        let dies = |step: u64| {
            let shared = scenario.world(0);
            let at = CrashAt { step, after: true, power: false };
            let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
            let sent: Vec<u32> = ids(&remote_view(&shared.world()), "INBOX");
            let filed = [8, 9].map(|id| sent.contains(&id).then_some(id));
            filed.iter().flatten().for_each(|id| remote_move(&mut shared.world(), *id, "Archive"));
            quiet(&shared);
            let context = format!("{abilities:?}, struck at {step}");
            assert_kept(&shared, &context);
            let world = shared.world();
            for (id, filed) in [(8, filed[0]), (9, filed[1])] {
                let place = if filed.is_some() { "Archive" } else { "INBOX" };
                for found in places_of(&world, id) {
                    assert_eq!(found.into_iter().map(|one| one.1).collect::<Vec<_>>(), [place], "{id}, {context}");
                }
            }
            died
        };
        assert!((0..10_000).take_while(|step| dies(*step)).count() > 0);
    }
}

/// It was sent with the flags that its file had, read with the letters of the folder that it came to; or it was moved, the
/// server did not say where to, and what it looked at next was refused: it was taken for a new one there.
#[test]
fn moved_here_and_flagged_on_both_sides_it_keeps_its_flags_although_the_server_refused_once_to_move_it() {
    for (abilities, status) in
        [FULL, HALVES[0], HALVES[1], PLAIN].into_iter().flat_map(|one| [(one, true), (one, false)])
    {
        at_every_request(Heard::No(RemoteErrorKind::Refused), false, |at| {
            let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
            world.server.status = status;
            world.server.create(&folder("Trash"), Some(Role::Trash));
            remote(&mut world, "INBOX", 1, &["work"]);
            remote(&mut world, "Archive", 2, &["later"]);
            let shared = Shared::new(world);
            quiet(&shared);
            local_move(&mut shared.world(), 1, "Archive", Name::Kept);
            remote_flag(&mut shared.world(), 1, "\\Answered", true);
            local_flag(&mut shared.world(), 1, "\\Seen", true);
            let is_reached = is_refused(&shared, at);
            quiet(&shared);
            let world = shared.world();
            for moved in places_of(&world, 1) {
                let expected = (1, "Archive".to_owned(), "\\seen \\answered work".to_owned());
                assert_eq!(moved, [expected], "{at:?} {abilities:?} {status}");
            }
            is_reached
        });
    }
}

/// Seed 1795899069461478: sent to its new place as the server would not move it, and not expunged where it was, it counted
/// as removed by the next sync, and went to Trash as well.
#[test]
fn a_message_that_can_neither_be_moved_nor_expunged_at_once_goes_to_no_trash() {
    for heard in [Heard::No(RemoteErrorKind::Busy), Heard::Bye] {
        at_every_request(heard, false, |at| {
            let abilities = Abilities { moves: false, uid_plus: false, ..FULL };
            let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
            world.server.create(&folder("Trash"), Some(Role::Trash));
            start(&mut world);
            let shared = Shared::new(world);
            quiet(&shared);
            local_move(&mut shared.world(), 1, "Archive", Name::Kept);
            shared.world().mishaps.transfers = true;
            let is_reached = is_refused(&shared, at);
            shared.world().mishaps.transfers = false;
            quiet(&shared);
            let world = shared.world();
            for moved in places_of(&world, 1) {
                assert_eq!(moved.into_iter().map(|one| one.1).collect::<Vec<_>>(), ["Archive"], "{at:?}");
            }
            is_reached
        });
    }
}

/// Seed 1796074019079304: the copy was looked for under the name that the folder had had, and the message copied again.
#[test]
fn copied_to_a_folder_that_was_renamed_before_the_source_was_expunged_it_is_one() {
    for abilities in [PLAIN, HALVES[1]] {
        at_every_call(|at| {
            let change: Act = |world| local_move(world, 1, "Archive", Name::Kept);
            let shared =
                Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) }.world(0);
            let died = dies(&shared, at);
            local(&mut shared.world(), "Filed", 7, &[]);
            shared.world().remote_rename_folder(&folder("Archive"), &folder("Filed"));
            quiet(&shared);
            assert_kept(&shared, &format!("{abilities:?}, struck {at:?}"));
            for one in places_of(&shared.world(), 1) {
                assert_eq!(one.len(), 1, "{abilities:?}, struck {at:?}: {one:?}");
            }
            died
        });
    }
}
