//! Messages copied on either side: nothing travels where both are certain to be the same.

use mailtide::model::{FlagSet, Side, Timestamp};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::report::Report;
use mailtide::reconcile::snapshot::Abilities;

use super::check::{local_view, remote_view};
use super::history::calm_run;
use super::mail::Kind;
use super::moves::places;
use super::scenarios::{
    Act, FULL, PLAIN, Scenario, assert_kept, file, local, local_flag, quiet, remote, remote_flag, uid,
};
use super::users::{FlagEdit, folder};
use super::world::World;

fn start(world: &mut World) {
    local(world, "INBOX", 1, &["\\Seen", "work"]);
    local(world, "Archive", 2, &["later"]);
    remote(world, "Lists/rust", 3, &["\\Flagged"]);
}

/// Copies a file as `cp -p` does it, under another name, letters included.
fn copy_here(world: &mut World, id: u32, target: &str) {
    let (from, unique) = file(world, id);
    world.maildir.copy_with_letters(&from, &unique, &folder(target));
    let story = world.ledger.stories[&id].clone();
    world.ledger.put(Side::Local, id, &story.home, story.date, &FlagSet::new());
    world.ledger.moved(id, &story.home);
}

fn copy_there(world: &mut World, id: u32, target: &str) {
    let (from, uid) = uid(world, id);
    let message = world.server.mailboxes[&from].messages[&uid].clone();
    world.server.open(&folder(target)).unwrap().take_over(message);
    let story = world.ledger.stories[&id].clone();
    world.ledger.put(Side::Remote, id, &story.home, story.date, &FlagSet::new());
    world.ledger.moved(id, &story.home);
}

/// Checks where messages are in the end, struck at every call; returns what the calm runs did and the bodies that
/// travelled, on the best and on the least server.
fn ends(start: Act, change: Option<Act>, expected: &[(u32, &str, &str)]) -> [(Report, usize); 2] {
    [FULL, PLAIN].map(|abilities| ends_on(abilities, start, change, expected))
}

fn ends_on(abilities: Abilities, start: Act, change: Option<Act>, expected: &[(u32, &str, &str)]) -> (Report, usize) {
    let scenario = Scenario { delete: Delete::Trash, abilities, tune: |_| (), start, change };
    let shared = scenario.world(0);
    shared.world().carried.clear();
    let report = calm_run(&shared, &Options::default());
    let bodies = shared.world().carried.values().sum();
    quiet(&shared);
    assert_kept(&shared, "run calm");
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let found = places(&view);
        let found: Vec<_> = found.iter().map(|(id, name, flags)| (*id, name.as_str(), flags.as_str())).collect();
        assert_eq!(found, expected, "{abilities:?}");
    }
    drop(world);
    scenario.check();
    (report, bodies)
}

#[test]
fn copied_in_the_maildir() {
    let change: Act = |world| {
        copy_here(world, 1, "Archive");
        copy_here(world, 1, "INBOX");
        copy_here(world, 2, "Lists/rust");
    };
    let expected = [
        (1, "Archive", "\\seen work"),
        (1, "INBOX", "\\seen work"),
        (1, "INBOX", "\\seen work"),
        (2, "Archive", "later"),
        (2, "Lists/rust", "later"),
        (3, "Lists/rust", "\\flagged"),
    ];
    // Without UIDPLUS, what became of the copies is found by their content.
    let [full, plain] = ends(start, Some(change), &expected);
    assert_eq!((full.0.remote.copied, full.0.remote.added, full.1), (3, 0, 0));
    assert_eq!((plain.0.remote.copied, plain.0.remote.added), (3, 0));
}

/// All letters were read as those of the other folder: `later` became `$Junk`, and `work` was taken off.
#[test]
fn keywords_given_to_a_copy_in_its_own_folder_are_kept_beside_those_it_came_with() {
    let start: Act = |world| {
        local(world, "INBOX", 1, &["$Junk"]);
        remote(world, "INBOX", 2, &[]);
        local(world, "Archive", 3, &["later"]);
        remote(world, "INBOX", 4, &[]);
    };
    let change: Act = |world| {
        // Put there by itself, and tagged.
        local(world, "Archive", 2, &["later", "work"]);
        // Tagged in both places.
        copy_here(world, 1, "Archive");
        let copied = world.files().into_iter().find(|(_, unique)| unique.as_str().ends_with(".copy"));
        let (name, unique) = copied.unwrap();
        world.local_flag(&name, &unique, &FlagEdit::new("work", true));
        // Tagged where it was, which no sync has seen yet.
        local_flag(world, 4, "$Junk", true);
        copy_here(world, 4, "Archive");
    };
    let expected = [
        (1, "Archive", "$junk work"),
        (1, "INBOX", "$junk"),
        (2, "Archive", "later work"),
        (2, "INBOX", ""),
        (3, "Archive", "later"),
        (4, "Archive", "$junk"),
        (4, "INBOX", "$junk"),
    ];
    for (report, _) in ends(start, Some(change), &expected) {
        assert_eq!((report.remote.copied, report.remote.added), (3, 0));
    }
}

#[test]
fn copied_on_the_server() {
    let change: Act = |world| {
        copy_there(world, 1, "Archive");
        copy_there(world, 3, "INBOX");
        remote_flag(world, 3, "\\Answered", true);
    };
    let expected = [
        (1, "Archive", "\\seen work"),
        (1, "INBOX", "\\seen work"),
        (2, "Archive", "later"),
        (3, "INBOX", "\\answered \\flagged"),
        (3, "Lists/rust", "\\flagged"),
    ];
    for (report, bodies) in ends(start, Some(change), &expected) {
        assert_eq!((report.local.copied, report.local.added, bodies), (2, 0, 0));
    }
}

#[test]
fn in_several_folders_of_the_server_from_the_beginning() {
    let start: Act = |world| {
        for name in ["Archive", "INBOX", "Lists/rust"] {
            world.remote_put(&folder(name), 1, Kind::Ordinary, Timestamp(1_600_000_000), &FlagSet::new());
        }
        world.remote_put(&folder("INBOX"), 2, Kind::Shared, Timestamp(1_600_000_000), &FlagSet::new());
        world.remote_put(&folder("Archive"), 3, Kind::Shared, Timestamp(1_600_000_000), &FlagSet::new());
        let home = folder("INBOX");
        (0..2).for_each(|_| world.ledger.moved(1, &home));
    };
    let expected = [(1, "Archive", ""), (1, "INBOX", ""), (1, "Lists/rust", ""), (2, "INBOX", ""), (3, "Archive", "")];
    for (report, bodies) in ends(start, None, &expected) {
        assert_eq!((report.local.added, report.local.copied, bodies), (3, 2, 3));
    }
}
