//! Mass deletions are held, and carried out or undone when the user says so.

use mailtide::model::{Flag, FlagSet, MailboxName, Role, Side, Timestamp};
use mailtide::reconcile::policy::{Delete, HoldAnswer, MaxDelete, Options};
use mailtide::reconcile::report::{Reason, Report};
use mailtide::reconcile::snapshot::Abilities;

use super::check::{View, broken, local_view, remote_view};
use super::history::{calm_run, policy, run, settle};
use super::mail::Kind;
use super::rng::Rng;
use super::scenarios::{FULL, local, quiet, remote};
use super::schedule::{Rates, Schedule};
use super::server::Server;
use super::users::folder;
use super::world::{Shared, World};

/// An account with 12 messages in INBOX and 3 in Lists, in step.
fn in_step(seed: u64) -> Shared {
    let mut rng = Rng::new(seed);
    let abilities =
        Abilities { mod_seq: rng.chance(500), moves: rng.chance(500), uid_plus: true, deleted_is_final: false };
    let mut policy = policy(Delete::Trash);
    policy.max_delete = MaxDelete { percent: 25, at_least: 5, at_most: 100 };
    let mut world = World::new(Server::new(abilities), policy, rng);
    world.server.create(&folder("Trash"), Some(Role::Trash));
    for id in 1..16 {
        let name = folder(if id < 13 { "INBOX" } else { "Lists" });
        world.remote_put(&name, id, Kind::Ordinary, Timestamp(1_600_000_000), &FlagSet::of(&[Flag::Seen]));
    }
    let shared = Shared::new(world);
    calm_run(&shared, &Options::default());
    shared
}

/// All of INBOX goes on one side, and something ordinary happens elsewhere.
fn lose_inbox(world: &mut World, side: Side) {
    let inbox = MailboxName::inbox();
    for (name, unique) in world.files().into_iter().filter(|(name, _)| side == Side::Local && *name == inbox) {
        world.local_delete(&name, &unique);
    }
    for (name, uid) in world.uids().into_iter().filter(|(name, _)| side == Side::Remote && *name == inbox) {
        world.remote_delete(&name, uid);
    }
    world.remote_put(&inbox, 20, Kind::Ordinary, Timestamp(1_600_086_400), &FlagSet::new());
    world.local_put(&folder("Lists"), 21, Kind::Ordinary, Timestamp(1_600_086_400), None);
}

fn view(shared: &Shared, side: Side) -> View {
    match side {
        Side::Local => local_view(&shared.world()),
        Side::Remote => remote_view(&shared.world()),
    }
}

fn ids(view: &View, name: &str) -> Vec<u32> {
    view[&folder(name)].iter().map(|seen| seen.id).collect()
}

fn assert_held(report: &Report, side: Side, context: &str) {
    let held: Vec<_> =
        report.held.iter().map(|held| (held.folder.clone(), held.side, held.reason, held.count)).collect();
    assert_eq!(held, [(Some(MailboxName::inbox()), side, Reason::MassDelete, 12)], "{context}");
}

/// Loses INBOX on one side, strikes a run or two, then answers. Returns the account at its end.
fn answered(seed: u64, lost: Side, answer: HoldAnswer) -> Shared {
    let shared = in_step(seed);
    let keeps = if lost == Side::Local { Side::Remote } else { Side::Local };
    lose_inbox(&mut shared.world(), lost);
    let rates = Rates { crash: 30, ..Rates::default() };
    for _ in 0..seed % 3 {
        drop(run(&shared, Schedule::Random(rates), &Options::default()));
        shared.world().now.0 += 60;
    }
    shared.world().now.0 += 7200;
    let context = format!("seed {seed}, lost {lost}, {answer:?}");
    for _ in 0..2 {
        assert_held(&calm_run(&shared, &Options::default()), lost, &context);
        let mut expected: Vec<u32> = (1..13).collect();
        expected.push(20);
        assert_eq!(ids(&view(&shared, keeps), "INBOX"), expected, "{context}: not left alone");
        assert_eq!(ids(&view(&shared, keeps), "Lists"), [13, 14, 15, 21], "{context}: the rest goes on");
    }
    let options = Options { holds: answer, ..Options::default() };
    drop(run(&shared, Schedule::Random(Rates { crash: 20, ..Rates::default() }), &options));
    if !calm_run(&shared, &Options::default()).held.is_empty() {
        calm_run(&shared, &options);
    }
    shared
}

#[test]
fn a_mass_deletion_is_held_and_carried_out_when_accepted() {
    for (seed, lost) in (0..60).flat_map(|seed| [(seed, Side::Local), (seed, Side::Remote)]) {
        let shared = answered(seed, lost, HoldAnswer::Accept);
        settle(&shared);
        let broken = broken(&shared.world());
        assert!(broken.is_empty(), "seed {seed}, lost {lost}: {broken:#?}");
    }
}

#[test]
fn a_mass_deletion_is_held_and_undone_when_refused() {
    for (seed, lost) in (0..60).flat_map(|seed| [(seed, Side::Local), (seed, Side::Remote)]) {
        let shared = answered(seed, lost, HoldAnswer::Undo);
        shared.world().ledger.stories.values_mut().for_each(|story| story.deletions.clear());
        settle(&shared);
        let broken = broken(&shared.world());
        assert!(broken.is_empty(), "seed {seed}, lost {lost}: {broken:#?}");
    }
}

/// Four of INBOX's twelve and two of the three in Lists go: too many together, and few enough in each.
fn lose_in_two_folders(world: &mut World, side: Side) {
    let lists = folder("Lists");
    for (name, most) in [(MailboxName::inbox(), 4), (lists, 2)] {
        match side {
            Side::Local => {
                let files: Vec<_> = world.files().into_iter().filter(|(at, _)| *at == name).take(most).collect();
                files.iter().for_each(|(name, unique)| world.local_delete(name, unique));
            }
            Side::Remote => {
                let uids: Vec<_> = world.uids().into_iter().filter(|(at, _)| *at == name).take(most).collect();
                uids.iter().for_each(|(name, uid)| world.remote_delete(name, *uid));
            }
        }
    }
}

fn other(side: Side) -> Side {
    if side == Side::Local { Side::Remote } else { Side::Local }
}

/// Demands that the side that lost nothing has everything.
fn assert_kept(shared: &Shared, lost: Side, context: &str) {
    let kept = view(shared, other(lost));
    assert_eq!(ids(&kept, "INBOX"), (1..13).collect::<Vec<u32>>(), "{context}");
    assert_eq!(ids(&kept, "Lists"), [13, 14, 15], "{context}");
}

#[test]
fn what_is_held_with_a_folder_that_cannot_be_looked_at_for_a_while_stays_held() {
    for (seed, lost) in (0..20).flat_map(|seed| [(seed, Side::Local), (seed, Side::Remote)]) {
        let shared = in_step(seed);
        lose_in_two_folders(&mut shared.world(), lost);
        let context = format!("seed {seed}, lost {lost}");
        let began = shared.world().now;
        for unreadable in [false, true, true, false] {
            shared.world().mishaps.unreadable = unreadable.then(MailboxName::inbox);
            let report = calm_run(&shared, &Options::default());
            assert_kept(&shared, lost, &context);
            shared.world().now.0 += 30 * 3600;
            if !unreadable {
                let since: Vec<Timestamp> = report.held.iter().map(|held| held.since).collect();
                assert_eq!(since, [began; 2], "{context}: {:?}", report.held);
            }
        }
        calm_run(&shared, &Options { holds: HoldAnswer::Undo, ..Options::default() });
        assert!(calm_run(&shared, &Options::default()).held.is_empty(), "{context}");
        assert_kept(&shared, lost, &context);
        assert_kept(&shared, other(lost), &context);
    }
}

#[test]
fn what_an_undo_that_was_struck_did_not_put_back_is_not_carried_out() {
    for (seed, lost) in (0..60).flat_map(|seed| [(seed, Side::Local), (seed, Side::Remote)]) {
        let shared = in_step(seed);
        lose_in_two_folders(&mut shared.world(), lost);
        calm_run(&shared, &Options::default());
        let undo = Options { holds: HoldAnswer::Undo, ..Options::default() };
        drop(run(&shared, Schedule::Random(Rates { crash: 60, ..Rates::default() }), &undo));
        for _ in 0..2 {
            calm_run(&shared, &Options::default());
            assert_kept(&shared, lost, &format!("seed {seed}, lost {lost}"));
        }
    }
}

#[test]
fn a_missing_root_is_held_and_nothing_follows() {
    for seed in 0..20 {
        let shared = in_step(seed);
        let before = remote_view(&shared.world());
        let away = std::mem::take(&mut shared.world().maildir);
        for _ in 0..2 {
            let report = calm_run(&shared, &Options::default());
            let held: Vec<_> = report.held.iter().map(|held| (held.folder.clone(), held.reason)).collect();
            assert_eq!(held, [(None, Reason::RootMissing)], "seed {seed}");
            assert_eq!(remote_view(&shared.world()), before, "seed {seed}");
            assert!(!shared.world().maildir.exists, "seed {seed}: made anew");
        }
        shared.world().maildir = away;
        settle(&shared);
        let broken = broken(&shared.world());
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    }
}

#[test]
fn a_dry_run_does_not_promise_to_remove_a_folder_that_got_new_mail() {
    for there in [false, true] {
        let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
        world.server.create(&folder("Trash"), Some(Role::Trash));
        remote(&mut world, "Archive", 1, &[]);
        let shared = Shared::new(world);
        quiet(&shared);
        match there {
            true => {
                shared.world().remote_remove_folder(&folder("Archive"));
                local(&mut shared.world(), "Archive", 2, &[]);
            }
            false => {
                shared.world().policy.delete = Delete::Expunge;
                shared.world().local_remove_folder(&folder("Archive"));
                remote(&mut shared.world(), "Archive", 2, &[]);
            }
        }
        let book = shared.world().book.clone();
        let accept = Options { holds: HoldAnswer::Accept, ..Options::default() };
        let said = calm_run(&shared, &Options { dry_run: true, ..accept.clone() });
        shared.world().book = book;
        let did = calm_run(&shared, &accept);
        assert_eq!((said.local, said.remote), (did.local, did.remote), "gone there: {there}");
        assert!(said.plan.iter().all(|line| line.op != "remove-folder"), "{:?}", said.plan);
        assert!(shared.world().maildir.folders.contains_key(&folder("Archive")), "gone there: {there}");
    }
}

#[test]
fn a_hold_lasts_since_it_began_though_the_root_was_missing_meanwhile() {
    let shared = in_step(1);
    lose_inbox(&mut shared.world(), Side::Remote);
    let since = |report: &Report| report.held.iter().map(|held| held.since).collect::<Vec<_>>();
    let first = since(&calm_run(&shared, &Options::default()));
    shared.world().now.0 += 3600;
    let away = std::mem::take(&mut shared.world().maildir);
    calm_run(&shared, &Options::default());
    shared.world().now.0 += 3600;
    shared.world().maildir = away;
    assert_eq!(since(&calm_run(&shared, &Options::default())), first);
}
