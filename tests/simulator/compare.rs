//! `check --compare` and `--repair`: equal is what is equal, and a repair mends the database without a loss or a double.

use mailtide::cycle::Compared;
use mailtide::model::{FlagSet, Role, Timestamp};
use mailtide::reconcile::compare::{Kind, Next};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::snapshot::Abilities;

use super::account::{DATE, at_every_call, dies, in_step as account, local_ids, remote_ids, sync};
use super::check::broken;
use super::history::{calm_run, is_idle, policy, run, settle};
use super::mail::Kind as Mail;
use super::rng::Rng;
use super::scenarios::{FULL, PLAIN, assert_kept, quiet};
use super::schedule::{CrashAt, Rates, Schedule};
use super::server::Server;
use super::users::{self, folder};
use super::world::{Shared, World};

fn told(compared: &Compared) -> Vec<String> {
    let all = compared.all();
    all.map(|found| format!("{:?} {:?} {:?} {found}", found.kind, found.next, found.folder)).collect()
}

/// Both sides are in step: the comparison must say so, and change nothing.
pub(super) fn in_step(shared: &Shared) {
    let all = || {
        let world = shared.world();
        (world.picture(), world.book.clone())
    };
    let before = all();
    let compared = shared.compare(false);
    // What the server drops stays a difference.
    let dropped = |words: &String| words.starts_with("Flags Nothing") && !shared.world().mishaps.drops.is_empty();
    let all_told = told(&compared);
    let told: Vec<String> = all_told.iter().filter(|words| !dropped(words)).cloned().collect();
    if !told.is_empty() {
        shared.world().complain(format!("in step, yet the comparison says {told:#?}"));
    }
    let held: usize = shared.world().maildir.folders.values().map(|folder| folder.messages().count()).sum();
    let equal: u64 = compared.folders.iter().map(|(_, folder)| folder.equal).sum();
    if all_told.is_empty() && equal != held as u64 {
        shared.world().complain(format!("the comparison says that {equal} are equal, of {held}"));
    }
    if before != all() {
        shared.world().complain("the comparison changed something".to_owned());
    }
}

/// The database may be behind both sides at any time, but nothing that happens makes it wrong.
pub(super) fn harmless_repair(shared: &Shared) {
    let before = shared.world().picture();
    let compared = shared.compare(true);
    let wrong: Vec<String> = told(&compared).into_iter().filter(|words| words.contains("Wrong")).collect();
    if !wrong.is_empty() {
        shared.world().complain(format!("nobody touched the database, yet the comparison says {wrong:#?}"));
    }
    if before != shared.world().picture() {
        shared.world().complain("a repair changed mail".to_owned());
    }
}

/// An account in step whose INBOX holds two messages of each kind, and a database in which two of them are mixed up.
fn mixed_up(seed: u64) -> (Shared, bool) {
    let mut rng = Rng::new(seed);
    let (mod_seq, moves) = (rng.chance(500), rng.chance(500));
    let abilities = Abilities { mod_seq, moves, uid_plus: rng.chance(500), deleted_is_final: false };
    let mut world = World::new(Server::new(abilities), policy(Delete::Trash), rng);
    world.server.create(&folder("Trash"), Some(Role::Trash));
    let kinds = [Mail::Ordinary, Mail::Ordinary, Mail::Anonymous, Mail::Anonymous, Mail::Shared, Mail::Shared];
    for (id, kind) in (1..).zip(kinds) {
        let date = Timestamp(1_600_000_000 + i64::from(id % 2) * 60 * i64::from(seed.is_multiple_of(3)));
        world.remote_put(&folder("INBOX"), id, kind, date, &FlagSet::new());
    }
    let shared = Shared::new(world);
    calm_run(&shared, &Options::default());
    let of_uids = shared.world().rng.chance(500);
    mix_up(&mut shared.world(), of_uids);
    (shared, of_uids)
}

/// Two rows exchange their UIDs, or everything but their files' names.
fn mix_up(world: &mut World, of_uids: bool) {
    let keys: Vec<_> = world.book.messages.keys().copied().collect();
    let one = world.rng.below(keys.len());
    let other = (one + 1 + world.rng.below(keys.len() - 1)) % keys.len();
    let [mut first, mut second] = [one, other].map(|at| world.book.messages.remove(&keys[at]).unwrap());
    match of_uids {
        true => std::mem::swap(&mut first.uid, &mut second.uid),
        false => std::mem::swap(&mut first.content, &mut second.content),
    }
    world.say(|| format!("the database mixes up {first:?} and {second:?}"));
    for row in [first, second] {
        world.book.messages.insert((row.mailbox, row.uid), row);
    }
}

#[test]
fn a_database_that_is_wrong_is_told_and_repaired() {
    for seed in 0..300 {
        let (shared, of_uids) = mixed_up(seed);
        let kind = if of_uids { Kind::WrongPair } else { Kind::WrongRecord };
        for repair in [false, true] {
            let compared = shared.compare(repair);
            let found: Vec<_> = compared.all().map(|found| (found.kind, found.next)).collect();
            assert_eq!(found, [(kind, Next::Repair); 2], "seed {seed}: {:#?}", told(&compared));
            assert_eq!(compared.repaired, repair.then_some((2, 1)), "seed {seed}");
        }
        let rates = Rates { crash: 20, fail: 20, refuse: 20, edit: 0, blur: 20 };
        drop(run(&shared, Schedule::Random(rates), &Options::default()));
        settle(&shared);
        let broken = broken(&shared.world());
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    }
}

/// An account in step, and what users did since.
fn edited(seed: u64) -> Shared {
    let shared = Shared::new(World::new(Server::new(Abilities::default()), policy(Delete::Trash), Rng::new(seed)));
    users::initial_mail(&mut shared.world());
    calm_run(&shared, &Options::default());
    (0..5).for_each(|_| users::edit(&mut shared.world()));
    shared
}

#[test]
fn what_users_do_is_no_fault_of_the_database() {
    for seed in 0..300 {
        let shared = edited(seed);
        let compared = shared.compare(true);
        assert!(compared.all().all(|found| found.next != Next::Repair), "seed {seed}: {:#?}", told(&compared));
        let idle = is_idle(&calm_run(&shared, &Options::default()));
        assert!(idle || compared.all().next().is_some(), "seed {seed}: a sync had something to do");
    }
}

/// Folders made in the same second: `One` with one message, `Two` with two, in step.
fn of_one_second(abilities: Abilities) -> Shared {
    let shared = account(Delete::Trash, 1);
    {
        let mut world = shared.world();
        (world.server.abilities, world.server.same_second) = (abilities, true);
        for (id, name) in [(2, "One"), (3, "Two"), (4, "Two")] {
            let date = Timestamp(DATE.0 + i64::from(id) * 60);
            world.remote_put(&folder(name), id, Mail::Ordinary, date, &FlagSet::new());
        }
    }
    sync(&shared);
    shared
}

/// The rows of the one that had been removed were said to be wrong.
#[test]
fn a_folder_renamed_there_to_the_name_of_one_removed_is_no_fault_of_the_database() {
    for abilities in [FULL, PLAIN] {
        let shared = of_one_second(abilities);
        {
            let mut world = shared.world();
            world.remote_remove_folder(&folder("Two"));
            world.remote_rename_folder(&folder("One"), &folder("Two"));
        }
        let before = shared.world().book.messages.clone();
        let compared = shared.compare(true);
        assert_eq!(compared.repaired, Some((0, 0)), "{abilities:?}: {:#?}", told(&compared));
        assert!(compared.all().any(|found| found.kind == Kind::UidValidity), "{:#?}", told(&compared));
        assert!(shared.world().book.messages == before, "{abilities:?}: rows were forgotten");
    }
}

/// A repair let go of what tells the two apart: neither was recognised, and each got the mail of the other, too.
#[test]
fn folders_that_exchanged_their_names_there_are_recognised_after_a_repair() {
    for abilities in [FULL, PLAIN] {
        let shared = of_one_second(abilities);
        for (from, to) in [("One", "Between"), ("Two", "One"), ("Between", "Two")] {
            shared.world().remote_rename_folder(&folder(from), &folder(to));
        }
        let compared = shared.compare(true);
        assert_eq!(compared.repaired, Some((0, 0)), "{abilities:?}: {:#?}", told(&compared));
        let report = sync(&shared);
        assert_eq!((report.local.added, report.remote.added), (0, 0), "{abilities:?}: {report:?}");
        quiet(&shared);
        assert_kept(&shared, "after a repair");
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![3, 4], vec![2]), "{abilities:?}");
        }
    }
}

/// Demands that nothing is left to be repaired, and that both sides come right.
fn assert_mended(shared: &Shared, context: &str) {
    let compared = shared.compare(true);
    assert!(compared.all().all(|found| found.next != Next::Repair), "{context}: {:#?}", told(&compared));
    settle(shared);
    let broken = broken(&shared.world());
    assert!(broken.is_empty(), "{context}: {broken:#?}");
}

/// Strikes at every call, in a few accounts: all must come right. `strike` returns false if there was no such call.
fn mended_wherever_struck(make: impl Fn(u64) -> Shared, strike: impl Fn(&Shared, CrashAt) -> bool) {
    for seed in 0..8 {
        at_every_call(|at| {
            let shared = make(seed);
            let died = strike(&shared, at);
            assert_mended(&shared, &format!("seed {seed}, struck {at:?}"));
            died
        });
    }
}

fn repair_dies(shared: &Shared, at: CrashAt) -> bool {
    shared.compare_struck(true, Schedule::Crash(at)).is_none()
}

#[test]
fn a_repair_that_was_struck_is_made_good_by_the_next() {
    let strike = |shared: &Shared, at| {
        let died = repair_dies(shared, at);
        shared.compare(true);
        died
    };
    mended_wherever_struck(|seed| mixed_up(seed).0, strike);
}

#[test]
fn what_was_repaired_stays_so_wherever_the_next_sync_is_struck() {
    let strike = |shared: &Shared, at| {
        shared.compare(true);
        dies(shared, at)
    };
    mended_wherever_struck(|seed| mixed_up(seed).0, strike);
}

#[test]
fn what_users_did_before_a_repair_that_was_struck_comes_through() {
    mended_wherever_struck(edited, repair_dies);
}
