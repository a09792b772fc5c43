//! Hand-written scenarios, each run clean, then repeated, then with a crash before and after every single call: always
//! with the same end.

use mailtide::model::{FlagSet, MailboxName, Role, Timestamp, Uid, UniqueName};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::snapshot::Abilities;
use mailtide::store::RemoteErrorKind;

use super::account::{at_every_call, at_every_request, at_some_calls_twice, is_refused};
use super::book::Book;
use super::check::{self, View, local_view, remote_view};
use super::history::{calm_run, idle_run, is_idle, policy, run};
use super::mail::{Kind, id_of};
use super::rng::Rng;
use super::schedule::{CrashAt, Heard, RefuseAt, Schedule};
use super::server::Server;
use super::users::{FlagEdit, folder};
use super::world::{Shared, World};

pub(super) const FULL: Abilities = Abilities { mod_seq: true, moves: true, uid_plus: true, deleted_is_final: false };
pub(super) const PLAIN: Abilities =
    Abilities { mod_seq: false, moves: false, uid_plus: false, deleted_is_final: false };

const HEARD: [Heard; 5] = [
    Heard::No(RemoteErrorKind::Refused),
    Heard::No(RemoteErrorKind::Busy),
    Heard::No(RemoteErrorKind::TooLarge),
    Heard::Bad(RemoteErrorKind::Refused),
    Heard::Bye,
];

/// What users do between syncs.
pub(super) type Act = fn(&mut World);

pub(super) struct Scenario {
    pub(super) delete: Delete,
    pub(super) abilities: Abilities,
    /// What else is special about the server.
    pub(super) tune: Act,
    /// What was there before the first sync.
    pub(super) start: Act,
    /// What happened after it; then the sync that is struck. If `None`, the first sync is struck.
    pub(super) change: Option<Act>,
}

impl Scenario {
    /// Returns the world in front of the sync to be struck.
    pub(super) fn world(&self, seed: u64) -> Shared {
        let mut world = World::new(Server::new(self.abilities), policy(self.delete), Rng::new(seed));
        (self.tune)(&mut world);
        world.server.create(&folder("Trash"), Some(Role::Trash));
        (self.start)(&mut world);
        let shared = Shared::new(world);
        if let Some(change) = self.change {
            quiet(&shared);
            change(&mut shared.world());
        }
        shared
    }

    fn clean(&self) -> (View, View) {
        let shared = self.world(0);
        quiet(&shared);
        assert_kept(&shared, "run clean");
        let world = shared.world();
        (local_view(&world), remote_view(&world))
    }

    /// Strikes the sync at one call, and the one that recovers at another. Returns false if the first has no such call.
    fn struck(&self, at: CrashAt, again: Option<CrashAt>, end: &(View, View)) -> bool {
        let shared = self.world(at.step);
        let dies = |at| run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        let died = dies(at);
        again.map(dies);
        quiet(&shared);
        let context = format!("struck {at:?}, {again:?}");
        assert_kept(&shared, &context);
        let world = shared.world();
        assert_eq!((&local_view(&world), &remote_view(&world)), (&end.0, &end.1), "{context}: another end");
        died
    }

    /// Refuses one call to the server. Returns false if the sync has no such call.
    fn refused(&self, at: RefuseAt, end: &(View, View)) -> bool {
        let shared = self.world(at.call);
        let is_reached = is_refused(&shared, at);
        quiet(&shared);
        let context = format!("refused {at:?}");
        assert_kept(&shared, &context);
        let world = shared.world();
        assert_eq!((&local_view(&world), &remote_view(&world)), (&end.0, &end.1), "{context}: another end");
        is_reached
    }

    /// Lets the server say all that it may say to every single call of the sync: the end must be the same.
    fn check_refusals(&self) {
        self.check_said(HEARD.iter().flat_map(|heard| [(*heard, false), (*heard, true)]));
    }

    /// Lets the server say this to every single call of the sync, after it has done it or instead.
    pub(super) fn check_said(&self, all: impl Iterator<Item = (Heard, bool)>) {
        let end = self.clean();
        for (heard, after) in all {
            at_every_request(heard, after, |at| self.refused(at, &end));
        }
    }

    pub(super) fn check(&self) {
        let end = self.clean();
        at_every_call(|at| self.struck(at, None, &end));
        at_some_calls_twice(|at, again| self.struck(at, Some(again), &end));
    }
}

/// Runs until nothing is left to do, and once more.
pub(super) fn quiet(shared: &Shared) {
    shared.world().now.0 += 10 * 86_400;
    for _ in 0..3 {
        if is_idle(&calm_run(shared, &Options::default())) {
            break;
        }
    }
    idle_run(shared, false);
}

pub(super) fn assert_kept(shared: &Shared, context: &str) {
    let broken = check::broken(&shared.world());
    assert!(broken.is_empty(), "{context}: {broken:#?}");
}

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn flags(words: &[&str]) -> FlagSet {
    words.iter().fold(FlagSet::new(), |set, word| set.union(&FlagEdit::new(word, true).flags))
}

pub(super) fn remote(world: &mut World, name: &str, id: u32, words: &[&str]) {
    world.remote_put(&folder(name), id, Kind::Ordinary, Timestamp(1_600_000_000), &flags(words));
}

pub(super) fn local(world: &mut World, name: &str, id: u32, words: &[&str]) {
    let flags = flags(words);
    let shown = Some(&flags).filter(|flags| !flags.is_empty());
    world.local_put(&folder(name), id, Kind::Ordinary, Timestamp(1_600_000_000), shown);
}

/// Returns where a message is on the server.
pub(super) fn uid(world: &World, id: u32) -> (MailboxName, Uid) {
    let is_it = |(name, uid): &(MailboxName, Uid)| id_of(&world.server.mailboxes[name].messages[uid].bytes) == id;
    world.uids().into_iter().find(is_it).unwrap()
}

/// Returns where a message is in the Maildir.
pub(super) fn file(world: &World, id: u32) -> (MailboxName, UniqueName) {
    let holds = |(name, unique): &(MailboxName, UniqueName)| {
        let mut files = world.maildir.folders[name].messages();
        files.any(|file| id_of(&file.bytes) == id && file.place.as_ref().is_some_and(|place| place.unique == *unique))
    };
    world.files().into_iter().find(holds).unwrap()
}

pub(super) fn remote_flag(world: &mut World, id: u32, word: &str, on: bool) {
    let (name, uid) = uid(world, id);
    world.remote_flag(&name, uid, &FlagEdit::new(word, on));
}

pub(super) fn local_flag(world: &mut World, id: u32, word: &str, on: bool) {
    let (name, unique) = file(world, id);
    world.local_flag(&name, &unique, &FlagEdit::new(word, on));
}

pub(super) fn remote_delete(world: &mut World, id: u32) {
    let (name, uid) = uid(world, id);
    world.remote_delete(&name, uid);
}

pub(super) fn local_delete(world: &mut World, id: u32) {
    let (name, unique) = file(world, id);
    world.local_delete(&name, &unique);
}

pub(super) fn some_mail(world: &mut World) {
    remote(world, "INBOX", 1, &["\\Seen"]);
    remote(world, "INBOX", 2, &[]);
    remote(world, "Lists/rust", 3, &["\\Flagged", "work", "$Forwarded"]);
    local(world, "INBOX", 4, &["\\Draft"]);
}

/// Checks a scenario on a server with all abilities and on one with none.
pub(super) fn both_ways(delete: Delete, start: Act, change: Option<Act>) {
    for abilities in [FULL, PLAIN] {
        let scenario = Scenario { delete, abilities, tune: |_| (), start, change };
        scenario.check();
        scenario.check_refusals();
    }
}

fn change(change: Act) {
    both_ways(Delete::Trash, some_mail, Some(change));
}

#[test]
fn first_download() {
    both_ways(Delete::Trash, |world| (1..4).for_each(|id| remote(world, "INBOX", id, &["\\Seen", "work"])), None);
}

#[test]
fn first_upload() {
    both_ways(Delete::Trash, |world| (1..4).for_each(|id| local(world, "INBOX", id, &["\\Seen", "work"])), None);
}

#[test]
fn first_sync_with_mail_on_both_sides() {
    let start = |world: &mut World| {
        remote(world, "INBOX", 1, &["\\Seen"]);
        local(world, "INBOX", 1, &["\\Flagged"]);
        remote(world, "INBOX", 2, &[]);
        local(world, "INBOX", 3, &[]);
        remote(world, "INBOX", 4, &[]);
        remote(world, "INBOX", 4, &[]);
        local(world, "INBOX", 4, &[]);
    };
    both_ways(Delete::Trash, start, None);
}

#[test]
fn anonymous_messages_of_equal_size_and_date() {
    let start = |world: &mut World| {
        let at = Timestamp(1_600_000_000);
        world.remote_put(&inbox(), 1, Kind::Anonymous, at, &FlagSet::new());
        world.local_put(&inbox(), 2, Kind::Anonymous, at, None);
        world.remote_put(&inbox(), 3, Kind::Anonymous, at, &FlagSet::new());
        world.local_put(&inbox(), 3, Kind::Anonymous, at, None);
    };
    both_ways(Delete::Trash, start, None);
}

#[test]
fn new_mail_on_both_sides() {
    change(|world| {
        remote(world, "INBOX", 5, &["\\Answered", "later"]);
        remote(world, "Lists/rust", 6, &[]);
        local(world, "INBOX", 7, &["\\Seen", "work"]);
        local(world, "Lists/rust", 8, &[]);
    });
}

#[test]
fn flags_changed_on_the_server() {
    change(|world| {
        remote_flag(world, 1, "\\Seen", false);
        remote_flag(world, 1, "\\Flagged", true);
        remote_flag(world, 2, "later", true);
        remote_flag(world, 3, "work", false);
    });
}

#[test]
fn flags_changed_locally() {
    change(|world| {
        local_flag(world, 1, "\\Seen", false);
        local_flag(world, 1, "\\Flagged", true);
        local_flag(world, 2, "later", true);
        local_flag(world, 3, "work", false);
    });
}

#[test]
fn flags_changed_on_both_sides() {
    change(|world| {
        remote_flag(world, 1, "\\Seen", false);
        local_flag(world, 1, "\\Answered", true);
        remote_flag(world, 2, "work", true);
        local_flag(world, 2, "work", true);
        local_flag(world, 2, "\\Deleted", true);
    });
}

#[test]
fn deleted_on_the_server() {
    change(|world| {
        remote_delete(world, 1);
        remote_delete(world, 3);
    });
}

fn delete_two(world: &mut World) {
    local_delete(world, 1);
    local_delete(world, 3);
}

#[test]
fn deleted_locally_to_trash() {
    both_ways(Delete::Trash, some_mail, Some(delete_two));
}

#[test]
fn deleted_locally_to_trash_where_there_is_no_way_to_expunge_alone() {
    let start = |world: &mut World| {
        some_mail(world);
        remote_flag(world, 2, "\\Deleted", true);
    };
    both_ways(Delete::Trash, start, Some(delete_two));
}

#[test]
fn deleted_locally_to_be_expunged() {
    both_ways(Delete::Expunge, some_mail, Some(delete_two));
}

#[test]
fn deleted_locally_to_be_flagged() {
    both_ways(Delete::Flag, some_mail, Some(delete_two));
}

#[test]
fn deleted_locally_to_be_left() {
    both_ways(Delete::Never, some_mail, Some(delete_two));
}

#[test]
fn deleted_from_trash() {
    let start = |world: &mut World| {
        remote(world, "Trash", 1, &[]);
        remote(world, "Trash", 2, &[]);
    };
    both_ways(Delete::Trash, start, Some(|world| local_delete(world, 1)));
}

#[test]
fn deleted_locally_to_a_trash_that_was_itself_deleted() {
    let change: Act = |world| {
        world.remote_remove_folder(&folder("Trash"));
        local_delete(world, 1);
    };
    let abilities = Abilities { moves: false, ..FULL };
    Scenario { delete: Delete::Trash, abilities, tune: |_| (), start: some_mail, change: Some(change) }.check();
    both_ways(Delete::Trash, some_mail, Some(change));
}

/// Its copy was looked for under the numbers of the Trash that had gone: it was copied again.
#[test]
fn deleted_locally_to_a_trash_that_was_made_anew() {
    let change: Act = |world| {
        world.remote_remove_folder(&folder("Trash"));
        world.server.create(&folder("Trash"), Some(Role::Trash));
        local_delete(world, 1);
    };
    let abilities = Abilities { moves: false, ..FULL };
    Scenario { delete: Delete::Trash, abilities, tune: |_| (), start: some_mail, change: Some(change) }.check();
    both_ways(Delete::Trash, some_mail, Some(change));
}

#[test]
fn deleted_on_both_sides() {
    change(|world| {
        local_delete(world, 1);
        remote_delete(world, 1);
    });
}

#[test]
fn deleted_on_one_side_and_flagged_on_the_other() {
    change(|world| {
        local_delete(world, 1);
        remote_flag(world, 1, "\\Flagged", true);
        remote_delete(world, 2);
        local_flag(world, 2, "\\Flagged", true);
    });
}

#[test]
fn folders_created() {
    change(|world| {
        world.server.create(&folder("Projects/2026/Entwürfe"), None);
        world.maildir.create(&folder("Büro/alt"));
        local(world, "Somewhere/else", 5, &[]);
        remote(world, "Somewhere/new", 6, &[]);
    });
}

#[test]
fn the_database_lost() {
    change(|world| {
        world.book = Book::default();
        remote_flag(world, 2, "\\Seen", true);
        remote(world, "INBOX", 5, &[]);
        local(world, "Lists/rust", 6, &["\\Seen"]);
    });
}
