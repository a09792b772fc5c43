//! Messages brought back from the recoverable trash, with a crash before and after every single call: at the end both
//! sides have each of them once.

use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::snapshot::Abilities;

use super::account::at_every_call;
use super::check::{View, local_view, remote_view};
use super::history::{policy, run};
use super::rng::Rng;
use super::scenarios::{FULL, PLAIN, quiet, remote_delete, some_mail};
use super::schedule::Schedule;
use super::server::Server;
use super::world::{Shared, World};

/// A world in step.
fn in_step(abilities: Abilities, seed: u64) -> Shared {
    let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(seed));
    some_mail(&mut world);
    let shared = Shared::new(world);
    quiet(&shared);
    shared
}

fn expunge_two(shared: &Shared) {
    let mut world = shared.world();
    remote_delete(&mut world, 1);
    remote_delete(&mut world, 3);
}

fn views(shared: &Shared) -> (View, View) {
    let world = shared.world();
    (local_view(&world), remote_view(&world))
}

fn assert_nothing_kept(shared: &Shared, context: &str) {
    let world = shared.world();
    assert!(world.book.kept.is_empty() && world.maildir.trash.is_empty(), "{context}: {:?}", world.book.kept);
}

/// Syncs between the crash and the next try, if `sync`.
fn struck_restore(abilities: Abilities, sync: bool) {
    at_every_call(|at| {
        let shared = in_step(abilities, at.step);
        let before = views(&shared);
        expunge_two(&shared);
        quiet(&shared);
        let died = shared.restore(Schedule::Crash(at)).is_none();
        if sync {
            quiet(&shared);
        }
        let done = shared.restore(Schedule::Calm).unwrap();
        assert!(done.failure.is_none(), "{at:?}: {done:?}");
        assert!(done.problems.iter().all(|problem| died && problem.code == "not-kept"), "{at:?}: {done:?}");
        assert_nothing_kept(&shared, &format!("{at:?}"));
        quiet(&shared);
        assert_eq!(views(&shared), before, "{at:?}");
        died
    });
}

#[test]
fn a_restore_struck_and_repeated() {
    [FULL, PLAIN].into_iter().for_each(|abilities| struck_restore(abilities, false));
}

#[test]
fn a_restore_struck_then_a_sync_then_the_restore_again() {
    [FULL, PLAIN].into_iter().for_each(|abilities| struck_restore(abilities, true));
}

/// What was on its way out comes back for good, however far it was.
#[test]
fn a_restore_after_a_removal_that_was_struck() {
    for abilities in [FULL, PLAIN] {
        at_every_call(|at| {
            let shared = in_step(abilities, at.step);
            let before = views(&shared);
            expunge_two(&shared);
            let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
            let done = shared.restore(Schedule::Calm).unwrap();
            assert!(done.failure.is_none() && done.problems.is_empty(), "{at:?}: {done:?}");
            let restored = done.restored.len();
            quiet(&shared);
            let now = views(&shared);
            match restored {
                // Removed for good, before or after.
                0 => assert_ne!(now, before, "{at:?}"),
                _ => {
                    for back in &done.restored {
                        let folder = &back.kept.mailbox;
                        let subset = |view: &View| view[folder].iter().all(|seen| before.0[folder].contains(seen));
                        assert!(subset(&now.0) && subset(&now.1), "{at:?}");
                    }
                    let count = |view: &View| view.values().map(Vec::len).sum::<usize>();
                    assert_eq!((count(&now.0), count(&now.1)), (2 + restored, 2 + restored), "{at:?}: {restored}");
                }
            }
            died
        });
    }
}
