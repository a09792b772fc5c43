//! An account to begin with, and what tests ask of it.

use mailtide::model::{FlagSet, MailboxName, Role, Timestamp, UniqueName};
use mailtide::reconcile::policy::{Delete, HoldAnswer, Options};
use mailtide::reconcile::report::Report;

use super::check::{View, local_view, remote_view};
use super::history::{calm_run, policy, run};
use super::mail::{Kind, id_of};
use super::rng::Rng;
use super::scenarios::{FULL, assert_kept, quiet};
use super::schedule::{CrashAt, Heard, RefuseAt, Schedule};
use super::server::Server;
use super::users::folder;
use super::world::{Mishaps, Shared, World};

pub(super) const DATE: Timestamp = Timestamp(1_600_000_000);

/// An account with so many messages in INBOX, numbered from 1, and three empty folders, in step.
pub(super) fn in_step(delete: Delete, messages: u32) -> Shared {
    let mut world = World::new(Server::new(FULL), policy(delete), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    world.server.create(&folder("Archive"), None);
    for id in 1..=messages {
        world.remote_put(&MailboxName::inbox(), id, Kind::Ordinary, Timestamp(DATE.0 + i64::from(id)), &FlagSet::new());
    }
    let shared = Shared::new(world);
    sync(&shared);
    shared
}

pub(super) fn sync(shared: &Shared) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options::default())
}

pub(super) fn answer(shared: &Shared, holds: HoldAnswer) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options { holds, ..Options::default() })
}

pub(super) fn ids(view: &View, name: &str) -> Vec<u32> {
    view.get(&folder(name)).into_iter().flatten().map(|seen| seen.id).collect()
}

pub(super) fn remote_ids(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&remote_view(&shared.world()), name)
}

pub(super) fn local_ids(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&local_view(&shared.world()), name)
}

/// Returns the name of INBOX's file of a message.
pub(super) fn file(shared: &Shared, id: u32) -> UniqueName {
    let world = shared.world();
    let mut files = world.maildir.folders[&MailboxName::inbox()].messages();
    let found = files.find(|file| id_of(&file.bytes) == id).and_then(|file| file.place.clone());
    found.unwrap().unique
}

pub(super) fn delete_locally(shared: &Shared, id: u32) {
    let unique = file(shared, id);
    shared.world().local_delete(&MailboxName::inbox(), &unique);
}

pub(super) fn waiting(report: &Report) -> Vec<&str> {
    report.waiting.iter().map(|waiting| waiting.code.as_str()).collect()
}

pub(super) fn codes(report: &Report) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.code).collect()
}

/// Returns false if the run has no such call.
pub(super) fn dies(shared: &Shared, at: CrashAt) -> bool {
    shared.world().now.0 += 60;
    run(shared, Schedule::Crash(at), &Options::default()).is_none()
}

/// Returns false if the run has no such call.
pub(super) fn is_refused(shared: &Shared, at: RefuseAt) -> bool {
    drop(run(shared, Schedule::Refuse(at), &Options::default()));
    shared.world().asked >= at.call
}

/// Refuses every call to the server, one a run, until `refuse` says that there was no such call. The last run is one that
/// was refused nothing.
pub(super) fn at_every_request(heard: Heard, after: bool, refuse: impl Fn(RefuseAt) -> bool) {
    let calls = (1..10_000).take_while(|&call| refuse(RefuseAt { call, after, heard })).count();
    assert!(calls > 0, "not a single call");
}

/// Strikes at every call, in every way, until `strike` says that there was no such call.
pub(super) fn at_every_call(strike: impl Fn(CrashAt) -> bool) {
    for (after, power) in [(false, false), (true, false), (false, true), (true, true)] {
        let steps = (0..10_000).take_while(|&step| strike(CrashAt { step, after, power })).count();
        assert!(steps > 3, "hardly a call");
    }
}

/// Strikes a sync at every call: the folders must end with these messages on both sides.
pub(super) fn struck_everywhere(make: impl Fn() -> Shared, end: &[(&str, &[u32])]) {
    struck_at_every_call(make, |shared, context| {
        for ids in [local_ids, remote_ids] {
            for (name, expected) in end {
                let mut found = ids(shared, name);
                found.sort_unstable();
                assert_eq!(found, *expected, "{context}: {name}");
            }
        }
    });
}

/// Strikes a sync at every call. By the next one others have done what they were to do meanwhile; it finds hidden what
/// the first did, and only then all can be seen.
pub(super) fn struck_at_every_call(make: impl Fn() -> Shared, check: impl Fn(&Shared, &str)) {
    let struck = |at: CrashAt, again: Option<CrashAt>| {
        let shared = make();
        shared.world().rng = Rng::new(at.step);
        let died = dies(&shared, at);
        finish_edits(&mut shared.world());
        match again {
            Some(again) => drop(dies(&shared, again)),
            None => drop(sync(&shared)),
        }
        shared.world().mishaps = Mishaps::default();
        quiet(&shared);
        let context = format!("struck {at:?}, {again:?}");
        check(&shared, &context);
        assert_kept(&shared, &context);
        died
    };
    at_every_call(|at| struck(at, None));
    at_some_calls_twice(|at, again| struck(at, Some(again)));
}

/// What others were to do while a sync was at work, they do.
fn finish_edits(world: &mut World) {
    while let Some((_, act)) = world.meanwhile.take() {
        act(world);
    }
}

/// Strikes at every third call, and the run after it at another.
pub(super) fn at_some_calls_twice(strike: impl Fn(CrashAt, CrashAt) -> bool) {
    at_every_call(|at| at.step % 3 != 0 || strike(at, at.followed()));
}
