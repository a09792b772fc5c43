//! Folders renamed, on either side or on both: state and mail follow, and no body travels.

use mailtide::model::{MailboxName, Role};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::renames::is_swap;
use mailtide::reconcile::report::Report;
use mailtide::reconcile::snapshot::Abilities;
use mailtide::store::RemoteErrorKind;

use super::account::{at_every_request, is_refused};
use super::check::{local_view, remote_view};
use super::history::{calm_run, policy, run};
use super::maildir::Save;
use super::moves::places;
use super::rng::Rng;
use super::scenarios::{
    Act, FULL, PLAIN, Scenario, assert_kept, file, local, local_delete, local_flag, quiet, remote, remote_delete,
    remote_flag,
};
use super::schedule::{CrashAt, Heard, Schedule};
use super::server::Server;
use super::users::folder;
use super::world::{Shared, World};

/// Servers that tell mailboxes apart by ids, by their UIDVALIDITYs, and by nothing but their messages.
const KINDS: [(Abilities, Act); 4] = [
    (FULL, |world| world.server.object_ids = true),
    (FULL, |_| ()),
    (PLAIN, |_| ()),
    (PLAIN, |world| world.server.same_second = true),
];

fn start(world: &mut World) {
    local(world, "A", 1, &["\\Seen", "work"]);
    local(world, "A", 2, &["later"]);
    local(world, "A/x", 3, &["work", "later"]);
    world.server.create(&folder("A/y"), None);
    remote(world, "B", 4, &["\\Flagged"]);
    remote(world, "INBOX", 5, &[]);
    // Of two mailboxes of one UIDVALIDITY and one STATUS nobody can see that they exchanged their names.
    remote(world, "B", 6, &[]);
    remote(world, "B", 7, &[]);
}

const START: [(u32, &str, &str); 7] = [
    (1, "A", "\\seen work"),
    (2, "A", "later"),
    (3, "A/x", "later work"),
    (4, "B", "\\flagged"),
    (5, "INBOX", ""),
    (6, "B", ""),
    (7, "B", ""),
];

fn there(world: &mut World, from: &str, to: &str) {
    assert!(world.server.rename(&folder(from), &folder(to)), "{from} to {to}");
    world.ledger.rename_folder(&folder(from), &folder(to));
}

fn here(world: &mut World, from: &str, to: &str) {
    let all: Vec<MailboxName> = world.maildir.folders.keys().cloned().collect();
    for name in all {
        let Some(new) = name.rebased(&folder(from), &folder(to)) else { continue };
        assert!(world.maildir.rename_folder(&name, &new), "{name} to {new}");
    }
    world.ledger.rename_folder(&folder(from), &folder(to));
}

/// Demands that these messages are in these folders, on both sides, once each and nowhere else.
fn assert_places(shared: &Shared, expected: &[(u32, &str)], context: &str) {
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let all = places(&view);
        let asked = all.iter().filter(|one| expected.iter().any(|(id, _)| *id == one.0));
        let found: Vec<_> = asked.map(|one| (one.0, one.1.as_str())).collect();
        assert_eq!(found, expected, "{context}");
    }
}

/// Checks that a change ends on every kind of server, struck at every call, with messages where they were but for these
/// folders. Returns what the calm runs did, and how many bodies travelled in them.
fn ends(change: Act, renamed: &[(&str, &str)], flags: &[(u32, &str)]) -> Vec<(Report, usize)> {
    let mut done = Vec::new();
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let shared = scenario.world(0);
        shared.world().carried.clear();
        let report = calm_run(&shared, &Options::default());
        done.push((report, shared.world().carried.values().sum()));
        quiet(&shared);
        assert_kept(&shared, "run calm");
        let place = |name: &str| {
            let rebased = |(from, to): &(&str, &str)| folder(name).rebased(&folder(from), &folder(to));
            renamed.iter().find_map(rebased).unwrap_or_else(|| folder(name)).to_string()
        };
        let flagged = |id: u32, before: &str| {
            let now = flags.iter().find(|(other, _)| *other == id);
            now.map_or_else(|| before.to_owned(), |(_, words)| (*words).to_owned())
        };
        let expected: Vec<_> = START
            .iter()
            .filter(|(id, ..)| flagged(*id, "") != "gone")
            .map(|(id, name, words)| (*id, place(name), flagged(*id, words)))
            .collect();
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let known: Vec<_> = places(&view).into_iter().filter(|(id, name, _)| *id <= 7 && name != "Trash").collect();
            assert_eq!(known, expected, "{abilities:?}");
            assert!(view.contains_key(&folder(&place("A/y"))), "{:?}", view.keys());
            assert!(!view.keys().any(|name| name.as_str().starts_with("mailtide")), "{:?}", view.keys());
        }
        drop(world);
        scenario.check();
    }
    done
}

/// Checks also that nothing was done but to rename so many folders on each side.
fn renames(change: Act, renamed: &[(&str, &str)], (local, remote): (u64, u64)) {
    for (at, (report, bodies)) in ends(change, renamed, &[]).into_iter().enumerate() {
        assert_eq!(bodies, 0, "bodies travelled");
        assert!(report.problems.is_empty() && report.held.is_empty(), "{report:?}");
        assert_eq!(
            (report.local.folders_renamed, report.remote.folders_renamed),
            (local, remote),
            "kind {at}: {report:?}"
        );
        let mut rest = report.clone();
        (rest.local.folders_renamed, rest.remote.folders_renamed, rest.folders) = (0, 0, 0);
        assert_eq!(rest, Report::default());
    }
}

#[test]
fn renamed_on_the_server_with_children() {
    renames(|world| there(world, "A", "C/New"), &[("A", "C/New")], (3, 0));
}

#[test]
fn renamed_in_the_maildir_with_children() {
    renames(|world| here(world, "A", "C/New"), &[("A", "C/New")], (0, 3));
}

#[test]
fn a_child_moved_out_and_up() {
    renames(|world| there(world, "A/x", "X"), &[("A/x", "X")], (1, 0));
    renames(|world| here(world, "A/x", "X"), &[("A/x", "X")], (0, 1));
}

#[test]
fn renamed_in_case_only() {
    renames(|world| there(world, "B", "b"), &[("B", "b")], (1, 0));
    renames(|world| here(world, "B", "b"), &[("B", "b")], (0, 1));
}

#[test]
fn two_exchanged_their_names() {
    let there: Act = |world| {
        there(world, "B", "tmp");
        there(world, "A/x", "B");
        there(world, "tmp", "A/x");
    };
    renames(there, &[("B", "A/x"), ("A/x", "B")], (2, 0));
    let here: Act = |world| {
        here(world, "B", "tmp");
        here(world, "A/x", "B");
        here(world, "tmp", "A/x");
    };
    renames(here, &[("B", "A/x"), ("A/x", "B")], (0, 2));
}

fn exchange_here(world: &mut World) {
    for (from, to) in [("B", "tmp"), ("A", "B"), ("tmp", "A")] {
        here(world, from, to);
    }
}

#[test]
fn two_exchanged_their_names_and_one_has_children() {
    let there: Act = |world| {
        there(world, "B", "tmp");
        there(world, "A", "B");
        there(world, "tmp", "A");
    };
    renames(there, &[("B", "A"), ("A", "B")], (4, 0));
    renames(exchange_here, &[("B", "A"), ("A", "B")], (0, 4));
}

/// The one that had been put out of the way stayed so for good: what lay below it had gone below the other, which could
/// not be renamed any more without taking it along.
#[test]
fn two_exchanged_their_names_here_and_the_server_refused_once() {
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(exchange_here) };
        scenario.check_said([(Heard::No(RemoteErrorKind::Refused), false)].into_iter());
    }
}

/// What lay below the one put out of the way was followed to there, and stayed for good, so that this one could not be
/// renamed any more without taking it along.
#[test]
fn two_exchanged_their_names_here_and_two_runs_were_cut_short() {
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(exchange_here) };
        let dies = |shared: &Shared, step: u64| {
            let at = CrashAt { step, after: true, power: false };
            run(shared, Schedule::Crash(at), &Options::default()).is_none()
        };
        let is_aside = |shared: &Shared| {
            let world = shared.world();
            [local_view(&world), remote_view(&world)].iter().flat_map(|view| view.keys()).any(is_swap)
        };
        let mut put_aside = 0;
        for first in 0.. {
            let shared = scenario.world(0);
            if !dies(&shared, first) {
                break;
            }
            if !is_aside(&shared) {
                continue;
            }
            put_aside += 1;
            let died = |second: u64| {
                let shared = scenario.world(0);
                dies(&shared, first);
                let died = dies(&shared, second);
                quiet(&shared);
                let context = format!("{abilities:?}, struck at {first} and {second}");
                assert_kept(&shared, &context);
                assert_places(&shared, &[(1, "B"), (2, "B"), (3, "B/x"), (4, "A"), (6, "A"), (7, "A")], &context);
                assert!(!is_aside(&shared), "{context}");
                died
            };
            assert!((0..10_000).take_while(|second| died(*second)).count() > 3);
        }
        assert!(put_aside > 0, "{abilities:?}");
    }
}

/// A run cut short had put one of them out of the way on the server, and the next let go of what was known of it.
#[test]
fn two_exchanged_their_names_and_what_was_pending_in_them_is_done() {
    let here: Act = |world| {
        here(world, "B", "tmp");
        here(world, "A/x", "B");
        here(world, "tmp", "A/x");
        local_delete(world, 4);
        local_flag(world, 3, "work", false);
        local_flag(world, 6, "work", true);
    };
    ends(here, &[("B", "A/x"), ("A/x", "B")], &[(3, "later"), (4, "gone"), (6, "work")]);
}

#[test]
fn a_chain_of_names() {
    let there: Act = |world| {
        there(world, "B", "C");
        there(world, "A", "B");
    };
    renames(there, &[("B", "C"), ("A", "B")], (4, 0));
    let here: Act = |world| {
        here(world, "B", "C");
        here(world, "A", "B");
    };
    renames(here, &[("B", "C"), ("A", "B")], (0, 4));
}

#[test]
fn renamed_alike_on_both_sides() {
    let both: Act = |world| {
        there(world, "A", "C");
        here(world, "A", "C");
    };
    renames(both, &[("A", "C")], (0, 0));
}

#[test]
fn renamed_to_different_names_the_servers_counts() {
    let both: Act = |world| {
        here(world, "A", "Here");
        there(world, "A", "There");
        world.ledger.rename_folder(&folder("Here"), &folder("There"));
    };
    renames(both, &[("A", "There")], (3, 0));
}

/// What both sides did to the messages of `A` while it was renamed on one of them.
fn meanwhile(world: &mut World) {
    remote_flag(world, 1, "\\Answered", true);
    local_flag(world, 1, "\\Seen", false);
    local_flag(world, 3, "work", false);
}

#[test]
fn renamed_on_the_server_while_messages_change_on_both_sides() {
    let change: Act = |world| {
        meanwhile(world);
        local(world, "A", 11, &["\\Seen"]);
        remote(world, "A", 12, &["\\Seen"]);
        local_delete(world, 2);
        there(world, "A", "C");
    };
    let flags = [(1, "\\answered work"), (3, "later"), (2, "gone")];
    let done = ends(change, &[("A", "C")], &flags);
    assert!(done.iter().all(|(report, bodies)| *bodies <= 3 && report.local.folders_renamed == 3), "{done:?}");
}

#[test]
fn renamed_in_the_maildir_while_messages_change_on_both_sides() {
    let change: Act = |world| {
        meanwhile(world);
        local(world, "A", 11, &["\\Seen"]);
        remote(world, "A", 12, &["\\Seen"]);
        remote_delete(world, 2);
        here(world, "A", "C");
    };
    let flags = [(1, "\\answered work"), (3, "later"), (2, "gone")];
    let done = ends(change, &[("A", "C")], &flags);
    assert!(done.iter().all(|(report, bodies)| *bodies == 2 && report.remote.folders_renamed == 3), "{done:?}");
}

#[test]
fn renamed_in_the_maildir_and_deleted_on_the_server_it_is_kept() {
    let change: Act = |world| {
        world.remote_remove_folder(&folder("B"));
        here(world, "B", "C");
    };
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let shared = scenario.world(0);
        quiet(&shared);
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            assert!(places(&view).contains(&(4, "C".to_owned(), "\\flagged".to_owned())), "{:?}", places(&view));
        }
    }
}

/// Checks on every kind of server, struck at every call, that messages end in these places.
fn ends_in(change: Act, expected: &[(u32, &str)]) {
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let dies = |step: u64| {
            let shared = scenario.world(0);
            let at = CrashAt { step, after: false, power: false };
            let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
            quiet(&shared);
            assert_kept(&shared, &format!("struck at {step}"));
            let world = shared.world();
            for view in [local_view(&world), remote_view(&world)] {
                let places = places(&view);
                for (id, place) in expected {
                    let found: Vec<&str> = places.iter().filter(|one| one.0 == *id).map(|one| one.1.as_str()).collect();
                    assert_eq!(found, [*place], "{id}, struck at {step}, {abilities:?}");
                }
            }
            died
        };
        assert!((0..10_000).take_while(|step| dies(*step)).count() > 0);
    }
}

/// With a new folder of the old name it looked like one that was numbered anew: what had been deleted was sent again.
#[test]
fn renamed_on_the_server_once_most_of_it_was_deleted_with_a_new_folder_of_its_name() {
    let change: Act = |world| {
        remote_delete(world, 6);
        remote_delete(world, 7);
        there(world, "B", "C");
        remote(world, "B", 8, &[]);
    };
    ends_in(change, &[(4, "C"), (8, "B")]);
}

/// The name is taken in the Maildir, and the old one is taken on the server: messages are followed one by one.
#[test]
fn two_renamed_to_one_name_with_a_new_folder_of_the_name_that_one_had() {
    let change: Act = |world| {
        there(world, "B", "C");
        remote(world, "B", 8, &[]);
        here(world, "A/x", "C");
    };
    ends_in(change, &[(3, "C"), (4, "C"), (6, "C"), (7, "C"), (8, "B")]);
}

/// It is where it was on the server, under new numbers: nothing in it has gone.
#[test]
fn renamed_in_the_maildir_and_numbered_anew_with_another_of_the_new_name() {
    let change: Act = |world| {
        here(world, "B", "C");
        world.server.renumber(&folder("B"));
        world.ledger.renumber(&folder("B"), &[]);
        remote(world, "C", 8, &[]);
    };
    ends_in(change, &[(4, "C"), (6, "C"), (7, "C"), (8, "C")]);
}

/// Nobody searched for it, as its old name was there: it looked numbered anew, and all of it was sent again.
#[test]
fn renamed_on_the_server_with_a_new_folder_of_its_name_where_list_tells_no_numbers() {
    let change: Act = |world| {
        world.server.status = false;
        there(world, "B", "C");
        remote(world, "B", 8, &[]);
    };
    ends_in(change, &[(4, "C"), (6, "C"), (7, "C"), (8, "B")]);
}

/// Checks that these messages end in these places, struck at every call.
fn ends_however_struck(scenario: &Scenario, places: &[(u32, &str)], context: &str) {
    let dies = |step: u64| {
        let shared = scenario.world(0);
        let at = CrashAt { step, after: false, power: false };
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        quiet(&shared);
        let context = format!("{context}, struck at {step}");
        assert_kept(&shared, &context);
        assert_places(&shared, places, &context);
        died
    };
    assert!((0..10_000).take_while(|step| dies(*step)).count() > 0);
}

/// The name is taken in the Maildir, so messages are followed one by one. A run cut short had recorded the id of the
/// new folder for the old one, which the next did not find any more: it looked numbered anew, and all of it was sent
/// again.
#[test]
fn renamed_on_the_server_to_a_name_taken_here_with_a_new_folder_of_its_name_where_list_tells_no_numbers() {
    let change: Act = |world| {
        world.server.status = false;
        there(world, "B", "C");
        remote(world, "B", 8, &[]);
        local(world, "C", 9, &[]);
    };
    for abilities in [FULL, PLAIN] {
        let tune: Act = |world| world.server.object_ids = true;
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let places = [(4, "C"), (6, "C"), (7, "C"), (8, "B"), (9, "C")];
        ends_however_struck(&scenario, &places, &format!("{abilities:?}"));
    }
}

/// The name is taken in the Maildir, so messages are followed one by one. What has the old name was made in the same
/// second: it looked like the folder put back empty by its server, and all of it was sent again.
#[test]
fn renamed_on_the_server_to_a_name_taken_here_with_a_folder_of_the_same_second_of_its_name() {
    let change: Act = |world| {
        there(world, "B", "C");
        there(world, "A/y", "B");
        local(world, "C", 9, &[]);
    };
    let tunes: [Act; 3] = [
        |world| world.server.same_second = true,
        |world| (world.server.same_second, world.server.status) = (true, false),
        |world| (world.server.same_second, world.server.object_ids) = (true, true),
    ];
    for (abilities, (kind, tune)) in
        [FULL, PLAIN].into_iter().flat_map(|abilities| tunes.into_iter().enumerate().map(move |tune| (abilities, tune)))
    {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let places = [(4, "C"), (6, "C"), (7, "C"), (9, "C")];
        ends_however_struck(&scenario, &places, &format!("{abilities:?}, kind {kind}"));
    }
}

/// An EXPUNGE would take what others flagged, so each of them leaves one behind that waits: only one was allowed for.
#[test]
fn two_of_one_content_followed_out_of_a_renamed_folder_both_leave_one_that_waits_to_be_expunged() {
    let twice: Act = |world| {
        start(world);
        remote(world, "B", 4, &["\\Flagged"]);
    };
    // The new name is taken on the server, and the old one here.
    let change: Act = |world| {
        here(world, "B", "C");
        local(world, "B", 8, &[]);
        remote(world, "B", 9, &["\\Deleted"]);
        remote(world, "C", 10, &[]);
    };
    let scenario =
        Scenario { delete: Delete::Trash, abilities: PLAIN, tune: |_| (), start: twice, change: Some(change) };
    let shared = scenario.world(0);
    quiet(&shared);
    assert_kept(&shared, "followed one by one");
    let world = shared.world();
    for (view, expected) in [(local_view(&world), vec!["C", "C"]), (remote_view(&world), vec!["B", "B", "C", "C"])] {
        let found: Vec<_> = places(&view).into_iter().filter(|one| one.0 == 4).map(|one| one.1).collect();
        assert_eq!(found, expected);
    }
}

/// What had not been seen to leave the old place was copied to the new one, and then went from the old one to Trash.
#[test]
fn renamed_in_the_maildir_to_a_name_taken_on_the_server_while_the_old_one_keeps_changing() {
    let change: Act = |world| {
        here(world, "B", "C");
        remote(world, "C", 8, &[]);
        world.mishaps.restless = Some(folder("B"));
    };
    for (abilities, tune) in KINDS {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        calm_run(&shared, &Options::default());
        shared.world().mishaps.restless = None;
        quiet(&shared);
        assert_kept(&shared, "seen at last");
        assert_places(&shared, &[(4, "C"), (6, "C"), (7, "C"), (8, "C")], &format!("{abilities:?}"));
    }
}

/// It can't be renamed there, and a run about the new name only took all that is in it for copies: once the old name
/// was looked at, what was left of it there went to Trash.
#[test]
fn renamed_in_the_maildir_to_a_name_taken_there_it_waits_for_a_run_about_both_names() {
    let change: Act = |world| {
        here(world, "B", "C");
        world.server.create(&folder("C"), None);
    };
    for (abilities, tune) in KINDS {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let shared = scenario.world(0);
        let report = calm_run(&shared, &Options { only: vec![folder("C")], ..Options::default() });
        let told: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!((told, report.did_anything()), (vec!["folder-unfinished"], false), "{abilities:?}");
        quiet(&shared);
        assert_kept(&shared, "renamed to a name that is taken");
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let places = places(&view);
            for id in [4, 6, 7] {
                let found: Vec<&str> = places.iter().filter(|one| one.0 == id).map(|one| one.1.as_str()).collect();
                assert_eq!(found, ["C"], "{id}, {abilities:?}");
            }
        }
    }
}

#[test]
fn into_its_own_child_where_the_server_refuses_that() {
    let change: Act = |world| {
        let (name, _) = file(world, 4);
        assert!(world.maildir.rename_folder(&name, &folder("B/old")));
        world.ledger.rename_folder(&folder("B"), &folder("B/old"));
    };
    for (abilities, tune) in KINDS {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        quiet(&shared);
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            assert!(places(&view).contains(&(4, "B/old".to_owned(), "\\flagged".to_owned())), "{:?}", places(&view));
        }
    }
}

/// A sync had just made it there and was not told its id. That of the new folder was recorded for it, so nobody found
/// it under its new name: it looked numbered anew, and all of it was sent again.
#[test]
fn renamed_on_the_server_before_its_id_was_known_with_a_new_folder_of_its_name_where_list_tells_no_numbers() {
    for abilities in [FULL, PLAIN] {
        let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
        world.server.object_ids = true;
        world.server.create(&folder("Trash"), Some(Role::Trash));
        [4, 5].into_iter().for_each(|id| local(&mut world, "B", id, &[]));
        let shared = Shared::new(world);
        // A second one would learn the id.
        calm_run(&shared, &Options::default());
        {
            let mut world = shared.world();
            there(&mut world, "B", "C");
            remote(&mut world, "B", 8, &[]);
            world.server.status = false;
        }
        quiet(&shared);
        assert_kept(&shared, "renamed before its id was known");
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let found: Vec<_> = places(&view).into_iter().map(|(id, name, _)| (id, name)).collect();
            assert_eq!(found, [(4, "C".to_owned()), (5, "C".to_owned()), (8, "B".to_owned())], "{abilities:?}");
        }
    }
}

/// Each had the name that the other was to get, on another side: neither could be renamed. What was known of one was
/// let go of, for a third had its old name by then, and all of it was fetched where it was there and sent from where it
/// was here.
#[test]
fn two_wait_for_each_others_names_and_a_third_has_the_old_name_of_one() {
    let change: Act = |world| {
        there(world, "B", "C");
        there(world, "A/x", "B");
        here(world, "B", "D");
        here(world, "A/y", "C");
    };
    for abilities in [FULL, PLAIN] {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change: Some(change) };
        let shared = scenario.world(0);
        quiet(&shared);
        assert_kept(&shared, "waited for each other");
        assert_places(&shared, &[(3, "B"), (4, "C"), (6, "C"), (7, "C")], &format!("{abilities:?}"));
    }
}

/// Its maildir got another name once it was listed: it was not there to be looked at, so all that was in it was fetched
/// where it is on the server, and sent from where it is here with the next run.
#[test]
fn renamed_on_the_server_to_a_name_taken_here_and_here_to_another_while_a_run_looks() {
    let change: Act = |world| {
        there(world, "B", "C");
        local(world, "C", 9, &[]);
        world.meanwhile = Some(("scan B", |world| here(world, "B", "D")));
    };
    for (abilities, tune) in KINDS {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        quiet(&shared);
        assert!(shared.world().meanwhile.is_none());
        assert_kept(&shared, "renamed while a run looks");
        assert_places(&shared, &[(4, "C"), (6, "C"), (7, "C"), (9, "C")], &format!("{abilities:?}"));
    }
}

/// Copied to Trash by a run cut short before the EXPUNGE: the copy was looked for under the name that Trash had, and
/// made again under the one that it has.
#[test]
fn a_trash_renamed_before_what_was_copied_to_it_is_expunged_gets_it_once() {
    // With mail in it Trash is recognised on either side.
    let start: Act = |world| {
        start(world);
        remote(world, "Trash", 8, &[]);
    };
    let change: Act = |world| local_delete(world, 5);
    let scenario = Scenario { delete: Delete::Trash, abilities: PLAIN, tune: |_| (), start, change: Some(change) };
    let renames: [Act; 2] = [|world| here(world, "Trash", "Old"), |world| there(world, "Trash", "Old")];
    for (side, rename) in renames.into_iter().enumerate() {
        let dies = |step: u64| {
            let shared = scenario.world(0);
            let at = CrashAt { step, after: true, power: false };
            let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
            rename(&mut shared.world());
            quiet(&shared);
            assert_places(&shared, &[(5, "Old"), (8, "Old")], &format!("side {side}, struck at {step}"));
            died
        };
        assert!((0..10_000).take_while(|step| dies(*step)).count() > 0);
    }
}

/// Of its only message a new version waited to be sent, in a file that was no message's: the folder looked gone, so
/// what is in it was sent to a new one, and given its old name again it was sent once more while the first went to
/// Trash.
#[test]
fn renamed_in_the_maildir_while_the_new_version_of_its_only_message_waits_and_back_again() {
    let start: Act = |world| remote(world, "B", 1, &["\\Draft"]);
    let saves = [Save::InPlace, Save::RenamedOver];
    for (how, (abilities, tune)) in saves.into_iter().flat_map(|how| KINDS.map(move |kind| (how, kind))) {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(|_| ()) }.world(0);
        {
            let mut world = shared.world();
            let (name, unique) = file(&world, 1);
            assert_eq!(world.local_save(&name, &unique, how), Some(2));
            world.mishaps.appends = true;
        }
        // It is known by now that the file holds a new version, and that is not sent.
        calm_run(&shared, &Options::default());
        shared.world().mishaps.appends = false;
        for (from, to) in [("B", "C"), ("C", "B")] {
            here(&mut shared.world(), from, to);
            // What was refused is not tried again on the same day.
            let report = calm_run(&shared, &Options::default());
            assert_eq!((report.remote.folders_renamed, report.held.len()), (1, 0), "{how:?} {abilities:?}: {report:?}");
        }
        quiet(&shared);
        assert_kept(&shared, "renamed while a new version waits");
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let found: Vec<_> = places(&view).into_iter().map(|(id, name, _)| (id, name)).collect();
            assert_eq!(found, [(2, "B".to_owned())], "{how:?} {abilities:?}");
        }
    }
}

/// The maildir of its new name was there already, so its messages went there one by one; cut short before the old row
/// was let go of, the next run found two rows of one mailbox id, and gave both the name that it had by then.
#[test]
fn renamed_twice_on_the_server_and_at_first_to_a_name_that_the_maildir_has() {
    let start: Act = |world| [1, 2].into_iter().for_each(|id| remote(world, "A", id, &[]));
    let change: Act = |world| {
        there(world, "A", "B");
        local(world, "B", 7, &[]);
    };
    let tune: Act = |world| world.server.object_ids = true;
    for abilities in [FULL, PLAIN] {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
        let dies = |step: u64| {
            let shared = scenario.world(0);
            let at = CrashAt { step, after: true, power: false };
            let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
            there(&mut shared.world(), "B", "C");
            quiet(&shared);
            assert_kept(&shared, &format!("struck at {step}"));
            died
        };
        assert!((0..10_000).take_while(|step| dies(*step)).count() > 0);
    }
}

/// Its only message was moved out and it was removed, so it looked renamed: the server took along what lies below,
/// which nobody had renamed, and its maildir was made to follow.
#[test]
fn a_folder_below_one_that_looks_renamed_in_the_maildir_stays() {
    let start: Act = |world| {
        remote(world, "Lists", 1, &[]);
        remote(world, "Lists/rust", 2, &[]);
    };
    let change: Act = |world| {
        let (name, unique) = file(world, 1);
        world.maildir.create(&folder("Old"));
        world.maildir.move_with_letters(&name, &unique, &folder("Old"), false);
        world.ledger.moved(1, &folder("Old"));
        world.local_remove_folder(&name);
    };
    for (abilities, tune) in KINDS {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        let report = calm_run(&shared, &Options::default());
        assert_eq!((report.remote.folders_renamed, report.held.len()), (0, 0), "{abilities:?}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, "below one that looks renamed");
        assert_places(&shared, &[(1, "Old"), (2, "Lists/rust")], &format!("{abilities:?}"));
    }
}

/// The one above was taken for the one below, in which its mail was now; the server's took the other along, and all of
/// that was fetched and sent as new.
#[test]
fn renamed_with_one_below_it_into_which_the_mail_was_moved() {
    let start: Act = |world| {
        remote(world, "INBOX", 1, &[]);
        remote(world, "Lists", 3, &[]);
        local(world, "Lists/rust", 5, &[]);
        local(world, "Lists/rust", 6, &[]);
    };
    let change: Act = |world| {
        here(world, "Lists", "Old/Archive");
        let (name, unique) = file(world, 3);
        world.maildir.move_file(&name, &unique, &folder("Old/Archive/rust"), false);
        world.ledger.moved(3, &folder("Old/Archive/rust"));
    };
    for (abilities, tune) in KINDS {
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        calm_run(&shared, &Options::default());
        quiet(&shared);
        let context = format!("{abilities:?}");
        assert_kept(&shared, &context);
        assert_places(&shared, &[(5, "Old/Archive/rust"), (6, "Old/Archive/rust")], &context);
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            assert!(!view.contains_key(&folder("Old/Archive/rust/rust")), "{context}: {view:?}");
        }
    }
}

/// Checks that runs about some folders leave alone what lost its names on both sides, and that one about all ends it.
fn waits_for_a_run_about_all(change: Act, asked: &[&[&str]], expected: &[(u32, &str)]) {
    for (abilities, tune) in KINDS {
        for names in asked {
            let context = format!("{names:?}, {abilities:?}");
            let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
            let only: Vec<MailboxName> = names.iter().map(|name| folder(name)).collect();
            let report = calm_run(&shared, &Options { only, ..Options::default() });
            assert!(shared.world().meanwhile.is_none(), "{context}");
            let told = report.problems.iter().any(|problem| problem.code == "folder-unfinished");
            assert_eq!((told, report.did_anything()), (true, false), "{context}: {report:?}");
            quiet(&shared);
            assert_kept(&shared, &context);
            assert_places(&shared, expected, &context);
        }
    }
}

/// The server renamed it, too, before it could follow: a run that saw neither new name let go of all that was known of
/// it, which was fetched where it is there and sent from where it is here.
#[test]
fn renamed_in_the_maildir_and_on_the_server_while_a_run_about_its_old_name_follows() {
    let change: Act = |world| {
        here(world, "B", "C");
        world.meanwhile = Some(("rename B to C", |world| {
            there(world, "B", "D");
            world.ledger.rename_folder(&folder("C"), &folder("D"));
        }));
    };
    let expected = [(4, "D"), (6, "D"), (7, "D")];
    waits_for_a_run_about_all(change, &[&["C"]], &expected);
    let asked: [&[&str]; 3] = [&["B"], &["B", "C"], &["B", "D"]];
    for (abilities, tune) in KINDS {
        for names in asked {
            let context = format!("{names:?}, {abilities:?}");
            let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
            let only: Vec<MailboxName> = names.iter().map(|name| folder(name)).collect();
            let report = calm_run(&shared, &Options { only, ..Options::default() });
            assert!(shared.world().meanwhile.is_none(), "{context}");
            assert_eq!((report.local.folders_renamed, report.remote.added), (1, 0), "{context}: {report:?}");
            quiet(&shared);
            assert_kept(&shared, &context);
            assert_places(&shared, &expected, &context);
        }
    }
}

/// The server's new name is taken here, so its messages are followed one by one: by a run that sees where they are.
#[test]
fn renamed_on_both_sides_to_a_name_taken_here_it_waits_for_a_run_about_all() {
    let change: Act = |world| {
        there(world, "B", "C");
        local(world, "C", 9, &[]);
        here(world, "B", "D");
    };
    let asked: [&[&str]; 3] = [&["B"], &["B", "C"], &["B", "D"]];
    waits_for_a_run_about_all(change, &asked, &[(4, "C"), (6, "C"), (7, "C"), (9, "C")]);
}

/// Seed 1795928925233194: the run about its new name alone fetched what it holds there, and the maildir was renamed before
/// the next.
#[test]
fn renamed_on_the_server_to_a_name_taken_here_it_waits_for_a_run_about_all() {
    let change: Act = |world| {
        there(world, "B", "C");
        local(world, "C", 9, &[]);
    };
    let asked: [&[&str]; 2] = [&["C"], &["C", "INBOX"]];
    waits_for_a_run_about_all(change, &asked, &[(4, "C"), (6, "C"), (7, "C"), (9, "C")]);
}

/// Seed 1795928924371107: its new place on the server could not be looked at, and its rows, gone from both sides where they
/// were, were let go of: all of it was sent from where it is here, and fetched from there by the next run.
#[test]
fn renamed_on_both_sides_to_a_name_taken_here_while_the_server_refuses_once() {
    let change: Act = |world| {
        there(world, "B", "C");
        local(world, "C", 9, &[]);
        here(world, "B", "D");
    };
    for (abilities, tune) in KINDS {
        at_every_request(Heard::No(RemoteErrorKind::Busy), false, |at| {
            let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
            let is_reached = is_refused(&shared, at);
            quiet(&shared);
            let context = format!("{abilities:?}, {at:?}");
            assert_kept(&shared, &context);
            assert_places(&shared, &[(4, "C"), (6, "C"), (7, "C"), (9, "C")], &context);
            is_reached
        });
    }
}

/// Seed 1795928924831677: nothing told that it was the same, so all of it was fetched under its new name, though what was gone
/// under the old one stayed known; renamed here before the next run, it was sent, too.
#[test]
fn renamed_on_the_server_while_no_header_can_be_fetched_and_then_here() {
    for (abilities, tune) in KINDS {
        let change: Act = |world| there(world, "B", "C");
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        shared.world().mishaps.headless = Some(folder("C"));
        calm_run(&shared, &Options::default());
        shared.world().mishaps.headless = None;
        if shared.world().maildir.folders.contains_key(&folder("B")) {
            here(&mut shared.world(), "B", "D");
        }
        quiet(&shared);
        let context = format!("{abilities:?}");
        assert_kept(&shared, &context);
        assert_places(&shared, &[(4, "C"), (6, "C"), (7, "C")], &context);
    }
}

/// Seed 1795994433739877: it was taken for gone as soon as its new place could not be looked at, and its mail was fetched from
/// there. Renamed here just then, it could not be scanned; the next run sent it from there. In other folders than Drafts it
/// is seen that what is new is what is gone.
#[test]
fn drafts_renamed_on_the_server_and_just_then_here_while_the_server_refuses_once() {
    let start: Act = |world| {
        world.server.create(&folder("B"), Some(Role::Drafts));
        start(world);
    };
    let change: Act = |world| there(world, "B", "C");
    for (abilities, tune) in KINDS {
        at_every_request(Heard::No(RemoteErrorKind::Busy), false, |at| {
            let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
            shared.world().meanwhile = Some(("create maildir C", |world| here(world, "B", "D")));
            let is_reached = is_refused(&shared, at);
            shared.world().meanwhile = None;
            quiet(&shared);
            let context = format!("{abilities:?}, {at:?}");
            assert_kept(&shared, &context);
            assert_places(&shared, &[(4, "C"), (6, "C"), (7, "C")], &context);
            is_reached
        });
    }
}

/// Its files were moved to a new maildir, which is no directory that is known.
#[test]
fn moved_whole_to_a_new_maildir_and_renamed_there_it_waits_for_a_run_about_all() {
    let change: Act = |world| {
        world.maildir.create(&folder("D"));
        for id in [4, 6, 7] {
            let (name, unique) = file(world, id);
            world.local_move(&name, &unique, &folder("D"));
        }
        world.local_remove_folder(&folder("B"));
        there(world, "B", "C");
        local(world, "C", 9, &[]);
    };
    let asked: [&[&str]; 3] = [&["B"], &["D"], &["B", "D"]];
    waits_for_a_run_about_all(change, &asked, &[(4, "C"), (6, "C"), (7, "C"), (9, "C")]);
}

/// Its maildir, renamed here as well, could not get the server's name, and nothing was done under either name. Under
/// the one that it had before it looked gone from both sides, so what was known of it was let go of: all of it was
/// fetched from where it is there, and sent from where it is here.
#[test]
fn renamed_on_both_sides_it_waits_while_its_maildir_cannot_get_the_servers_name() {
    const LONG: &str = "A name that is far too long";
    fn renamed(world: &mut World) {
        here(world, "B", "D");
        there(world, "B", LONG);
        world.ledger.rename_folder(&folder("D"), &folder(LONG));
        world.mishaps.longest = Some(20);
    }
    // Nobody has its old name, or a new folder on either side.
    let alone: (Act, &[(u32, &str)]) = (renamed, &[(4, LONG), (6, LONG), (7, LONG)]);
    let here_anew: Act = |world| {
        renamed(world);
        local(world, "B", 8, &[]);
    };
    let there_anew: Act = |world| {
        renamed(world);
        remote(world, "B", 8, &[]);
    };
    let anew: &[(u32, &str)] = &[(4, LONG), (6, LONG), (7, LONG), (8, "B")];
    for (how, (change, expected)) in [alone, (here_anew, anew), (there_anew, anew)].into_iter().enumerate() {
        for (abilities, tune) in KINDS {
            let context = format!("kind {how}, {abilities:?}");
            let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
            for _ in 0..2 {
                let report = calm_run(&shared, &Options::default());
                let told: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
                assert_eq!((told, report.did_anything()), (vec!["local-item"], false), "{context}: {report:?}");
            }
            shared.world().mishaps.longest = None;
            quiet(&shared);
            assert_kept(&shared, &context);
            assert_places(&shared, expected, &context);
        }
    }
}

#[test]
fn what_waits_for_its_name_or_got_another_is_not_told_to_be_no_folder() {
    const LONG: &str = "A name that is far too long";
    let waits: Act = |world| {
        there(world, "B", LONG);
        world.mishaps.longest = Some(20);
    };
    let anew: Act = |world| {
        here(world, "B", "D");
        there(world, "B", LONG);
        remote(world, "B", 8, &[]);
        world.mishaps.longest = Some(20);
    };
    let followed: Act = |world| here(world, "B", "C");
    let cases: [(Act, &str, &[&str]); 3] =
        [(waits, LONG, &["local-item"]), (anew, "B", &["local-item", "folder-unfinished"]), (followed, "B", &[])];
    for (change, name, expected) in cases {
        let shared =
            Scenario { delete: Delete::Trash, abilities: FULL, tune: |_| (), start, change: Some(change) }.world(0);
        let report = calm_run(&shared, &Options { only: vec![folder(name)], ..Options::default() });
        let told: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(told, expected, "{name}: {report:?}");
    }
}

/// What is in the maildir that waits is known, under whatever name.
#[test]
fn a_maildir_that_cannot_get_its_name_keeps_no_deletion_elsewhere_from_the_server() {
    let change: Act = |world| {
        here(world, "B", "D");
        there(world, "B", "A name that is far too long");
        world.mishaps.longest = Some(20);
        local_delete(world, 5);
    };
    let shared =
        Scenario { delete: Delete::Trash, abilities: FULL, tune: |_| (), start, change: Some(change) }.world(0);
    let report = calm_run(&shared, &Options::default());
    let told: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
    assert_eq!((told, report.remote.removed), (vec!["local-item"], 1), "{report:?}");
}

/// Seed 1795957099127377: the name was free, as the folder that the server did not rename had been renamed there in that
/// moment, and the next got it: what was known of the first was let go of, and its mail fetched and sent again.
#[test]
fn three_follow_to_each_others_names_while_the_first_is_renamed_on_the_server() {
    let start: Act = |world| {
        start(world);
        local(world, "C", 8, &[]);
    };
    let change: Act = |world| {
        here(world, "B", "D");
        here(world, "A", "B");
        here(world, "C", "A");
    };
    let renamed: Act = |world| {
        assert!(world.server.rename(&folder("B"), &folder("E")));
        world.ledger.rename_folder(&folder("D"), &folder("E"));
    };
    for (abilities, tune) in KINDS {
        let context = format!("{abilities:?}");
        let shared = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) }.world(0);
        shared.world().meanwhile = Some(("rename B", renamed));
        let report = calm_run(&shared, &Options::default());
        assert_eq!(report.problems.len(), 1, "{context}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, &context);
        assert_places(&shared, &[(1, "B"), (2, "B"), (3, "B/x"), (4, "E"), (6, "E"), (7, "E"), (8, "A")], &context);
    }
}
