//! Servers that name the contents of messages: what was moved or copied on them is found with not a header fetched.

use std::collections::BTreeSet;

use mailtide::model::{FlagSet, Role, Timestamp};
use mailtide::reconcile::policy::{Delete, Options};
use mailtide::reconcile::report::Report;
use mailtide::reconcile::snapshot::Abilities;

use super::check::{local_view, remote_view};
use super::history::calm_run;
use super::mail::{Kind, compose, id_of};
use super::maildir::Save;
use super::moves::places;
use super::scenarios::{Act, FULL, PLAIN, Scenario, assert_kept, file, quiet, remote_flag, uid};
use super::server::EmailIds;
use super::users::{FlagEdit, folder};
use super::world::{Shared, World};

const DATE: Timestamp = Timestamp(1_600_000_000);

/// Mail that a header says little about: an ordinary message, two without a Message-ID that look alike, a draft.
fn start(world: &mut World) {
    world.server.create(&folder("Drafts"), Some(Role::Drafts));
    for (id, name, kind, word) in [
        (1, "INBOX", Kind::Ordinary, "\\Seen"),
        (2, "INBOX", Kind::Anonymous, "work"),
        (3, "Archive", Kind::Anonymous, "\\Flagged"),
        (4, "Drafts", Kind::Ordinary, "\\Draft"),
    ] {
        world.remote_put(&folder(name), id, kind, DATE, &FlagEdit::new(word, true).flags);
    }
    // One that is sent: its id is told by the next look.
    world.local_put(&folder("INBOX"), 5, Kind::Anonymous, DATE, None);
}

/// What a run did, and how many headers and bodies it took.
#[derive(Debug)]
struct Cost {
    report: Report,
    identified: usize,
    bodies: usize,
}

impl Cost {
    fn of(shared: &Shared, options: &Options) -> Cost {
        shared.world().identified = 0;
        shared.world().carried.clear();
        let report = calm_run(shared, options);
        let world = shared.world();
        Cost { report, identified: world.identified, bodies: world.carried.values().sum() }
    }

    /// Returns what was moved, copied, added and removed here, and what it took.
    fn local(&self) -> ([u64; 4], [usize; 2]) {
        let local = &self.report.local;
        ([local.moved, local.copied, local.added, local.removed], [self.identified, self.bodies])
    }
}

fn scenario(abilities: Abilities, tune: Act, change: Option<Act>) -> Scenario {
    Scenario { delete: Delete::Trash, abilities, tune, start, change }
}

/// Runs a change, struck at every call too, and checks where the messages are in the end.
fn ends(abilities: Abilities, tune: Act, change: Act, expected: &[(u32, &str, &str)]) -> Cost {
    let scenario = scenario(abilities, tune, Some(change));
    let shared = scenario.world(0);
    let cost = Cost::of(&shared, &Options::default());
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
    cost
}

fn each(world: &mut World) {
    world.server.email_ids = EmailIds::Each;
}

fn by_content(world: &mut World) {
    world.server.email_ids = EmailIds::Content;
}

fn move_there(world: &mut World, id: u32, target: &str) {
    let (from, uid) = uid(world, id);
    world.remote_move(&from, uid, &folder(target));
}

fn copy_there(world: &mut World, id: u32, target: &str) {
    let (from, uid) = uid(world, id);
    world.remote_copy(&from, uid, &folder(target));
}

/// Gives the message another internal date, as some servers do when they move one.
fn redate(world: &mut World, id: u32) {
    let (name, uid) = uid(world, id);
    world.server.open(&name).unwrap().messages.get_mut(&uid).unwrap().date = Timestamp(DATE.0 + 77);
}

fn moves(world: &mut World) {
    move_there(world, 1, "Lists");
    redate(world, 1);
    move_there(world, 2, "Archive");
    move_there(world, 3, "Trash");
    move_there(world, 4, "INBOX");
    move_there(world, 5, "Archive");
    move_there(world, 5, "INBOX");
    remote_flag(world, 2, "\\Answered", true);
}

const MOVED: [(u32, &str, &str); 5] = [
    (1, "Lists", "\\seen"),
    (2, "Archive", "\\answered work"),
    (3, "Trash", "\\flagged"),
    (4, "INBOX", "\\draft"),
    (5, "INBOX", ""),
];

fn with_lists(world: &mut World) {
    world.server.create(&folder("Lists"), None);
    moves(world);
}

#[test]
fn moved_on_the_server() {
    for abilities in [FULL, PLAIN] {
        for tune in [each as Act, by_content] {
            let cost = ends(abilities, tune, with_lists, &MOVED);
            // The one moved away and back has another UID, and that is all.
            assert_eq!(cost.local(), ([4 + 1, 0, 0, 0], [0, 0]), "{abilities:?}");
        }
        let cost = ends(abilities, |_| (), with_lists, &MOVED);
        assert!(cost.identified > 0, "what it took without: {cost:?}");
    }
}

#[test]
fn copied_on_the_server() {
    let change: Act = |world| {
        copy_there(world, 1, "Archive");
        redate(world, 1);
        copy_there(world, 2, "Drafts");
        copy_there(world, 3, "Trash");
        copy_there(world, 4, "INBOX");
        copy_there(world, 5, "INBOX");
    };
    let expected = [
        (1, "Archive", "\\seen"),
        (1, "INBOX", "\\seen"),
        (2, "Drafts", "work"),
        (2, "INBOX", "work"),
        (3, "Archive", "\\flagged"),
        (3, "Trash", "\\flagged"),
        (4, "Drafts", "\\draft"),
        (4, "INBOX", "\\draft"),
        (5, "INBOX", ""),
        (5, "INBOX", ""),
    ];
    for (abilities, tune) in [(FULL, each as Act), (PLAIN, each), (FULL, by_content), (PLAIN, by_content)] {
        assert_eq!(ends(abilities, tune, change, &expected).local(), ([0, 5, 0, 0], [0, 0]), "{abilities:?}");
    }
}

/// Gmail shows a message in a folder for each of its labels, and in All Mail.
#[test]
fn in_several_folders_from_the_beginning_it_is_fetched_once() {
    let labelled: Act = |world| {
        world.server.create(&folder("Archive"), None);
        for (id, kind, word) in [(1, Kind::Anonymous, "\\Seen"), (2, Kind::Ordinary, "\\Draft")] {
            world.remote_put(&folder("INBOX"), id, kind, DATE, &FlagEdit::new(word, true).flags);
            copy_there(world, id, "Archive");
        }
    };
    let first = |tune| Scenario { delete: Delete::Trash, abilities: FULL, tune, start: labelled, change: None };
    for (tune, bodies) in [(each as Act, 2), (by_content, 2), (|_| (), 4)] {
        let shared = first(tune).world(0);
        let cost = Cost::of(&shared, &Options::default());
        let expected = if bodies == 2 { [0, 2, 2, 0] } else { [0, 0, 4, 0] };
        assert_eq!((cost.local().0, cost.bodies), (expected, bodies));
        assert!(bodies == 4 || cost.identified == 0, "{cost:?}");
        quiet(&shared);
        assert_kept(&shared, "fetched once");
        first(tune).check();
    }
}

#[test]
fn messages_known_before_get_their_ids_with_a_full_look() {
    let without = |world: &mut World| world.server.email_ids = EmailIds::None;
    for (full, asks) in [(true, false), (false, true)] {
        let shared = scenario(FULL, without, Some(each)).world(0);
        calm_run(&shared, &Options { full, ..Options::default() });
        move_there(&mut shared.world(), 2, "Archive");
        let cost = Cost::of(&shared, &Options::default());
        assert_eq!((cost.identified > 0, cost.local().0), (asks, [1, 0, 0, 0]));
        quiet(&shared);
        assert_kept(&shared, "moved");
    }
}

/// What a server says of different messages must not make one of them.
#[test]
fn a_server_that_gives_all_messages_one_id_loses_and_mixes_up_nothing() {
    let lie: Act = |world| world.server.email_ids = EmailIds::Lie;
    let start: Act = |world| {
        for (id, name, kind) in
            [(1, "INBOX", Kind::Ordinary), (2, "INBOX", Kind::Anonymous), (3, "Archive", Kind::Shared)]
        {
            world.remote_put(&folder(name), id, kind, DATE, &FlagSet::new());
        }
    };
    let all = [(1, Kind::Ordinary), (2, Kind::Anonymous), (3, Kind::Shared), (44, Kind::Shared), (155, Kind::Ordinary)];
    let sizes: BTreeSet<usize> = all.into_iter().map(|(id, kind)| compose(id, kind).len()).collect();
    assert_eq!(sizes.len(), all.len(), "the one thing that tells them apart");
    // Gone from one folder, and another of the same id new in the next; moved; new in two folders at once.
    let change: Act = |world| {
        let (from, uid) = uid(world, 1);
        world.remote_delete(&from, uid);
        world.remote_put(&folder("Archive"), 44, Kind::Shared, DATE, &FlagSet::new());
        world.remote_put(&folder("INBOX"), 155, Kind::Ordinary, DATE, &FlagSet::new());
        move_there(world, 2, "Archive");
        copy_there(world, 3, "INBOX");
    };
    for abilities in [FULL, PLAIN] {
        let scenario = Scenario { delete: Delete::Trash, abilities, tune: lie, start, change: Some(change) };
        let shared = scenario.world(0);
        quiet(&shared);
        assert_kept(&shared, "run calm");
        let world = shared.world();
        let expected = [(2, "Archive"), (3, "Archive"), (3, "INBOX"), (44, "Archive"), (155, "INBOX")];
        for view in [local_view(&world), remote_view(&world)] {
            let found: Vec<_> = places(&view).into_iter().map(|(id, name, _)| (id, name)).collect();
            assert_eq!(found, expected.map(|(id, name)| (id, name.to_owned())), "{abilities:?}");
        }
        drop(world);
        scenario.check();
    }
}

#[test]
fn a_file_that_was_damaged_here_is_not_copied_nor_moved_for_its_id() {
    let shared = scenario(FULL, each, Some(|_| ())).world(0);
    for id in [1, 2] {
        let mut world = shared.world();
        let (name, unique) = file(&world, id);
        let damaged = compose(90 + id, Kind::Ordinary);
        world.maildir.overwrite(&name, &unique, damaged, DATE, Save::InPlace);
    }
    copy_there(&mut shared.world(), 1, "Trash");
    move_there(&mut shared.world(), 2, "Archive");
    let cost = Cost::of(&shared, &Options::default());
    assert_eq!((cost.report.local.copied, cost.report.local.moved), (0, 0));
    let world = shared.world();
    let good = |name: &str, id| world.maildir.folders[&folder(name)].messages().any(|file| id_of(&file.bytes) == id);
    assert!(good("Trash", 1) && good("Archive", 2), "fetched: {:?}", world.carried);
}

/// Numbers, date, size and Message-ID are those of the one that has gone: it was taken for that one renamed, and its message
/// was never fetched.
#[test]
fn a_new_folder_that_looks_like_one_that_has_gone_is_another() {
    let start: Act = |world| world.remote_put(&folder("Lists"), 2, Kind::Shared, DATE, &FlagSet::new());
    let change: Act = |world| {
        world.remote_remove_folder(&folder("Lists"));
        world.remote_put(&folder("Other"), 3, Kind::Shared, DATE, &FlagSet::new());
    };
    let tunes: [Act; 2] = [
        |world| (world.server.same_second, world.server.email_ids) = (true, EmailIds::Each),
        |world| (world.server.same_second, world.server.email_ids) = (true, EmailIds::Content),
    ];
    for abilities in [FULL, PLAIN] {
        for tune in tunes {
            let scenario = Scenario { delete: Delete::Trash, abilities, tune, start, change: Some(change) };
            let shared = scenario.world(0);
            quiet(&shared);
            assert_kept(&shared, "run calm");
            let world = shared.world();
            for view in [local_view(&world), remote_view(&world)] {
                assert_eq!(places(&view), [(3, "Other".to_owned(), String::new())], "{abilities:?}");
            }
            drop(world);
            scenario.check();
        }
    }
}
