//! Mailboxes whose UIDs name other messages than they did: another UIDVALIDITY, a lie about it, an older backup.

use mailtide::model::{Flag, FlagSet, MailboxName, Role, Side};
use mailtide::reconcile::policy::{Delete, HoldAnswer, Options};
use mailtide::reconcile::report::{Reason, Report};
use mailtide::reconcile::snapshot::Abilities;

use super::account::{local_ids, remote_ids, struck_at_every_call, struck_everywhere};
use super::check::{local_view, remote_view};
use super::history::{calm_run, idle_run, policy, run};
use super::mail::Kind;
use super::maildir::Save;
use super::rng::Rng;
use super::scenarios::{
    Act, FULL, PLAIN, assert_kept, file, local, local_delete, local_flag, quiet, remote, remote_delete, remote_flag,
    uid,
};
use super::schedule::{CrashAt, Schedule};
use super::server::{EmailIds, Server};
use super::users::{FlagEdit, back_up_or_restore, folder};
use super::world::{Shared, World};

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

/// An account in step, its INBOX with messages 1 to `count`.
fn in_step(delete: Delete, abilities: Abilities, count: u32) -> Shared {
    let mut world = World::new(Server::new(abilities), policy(delete), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    world.server.create(&folder("Archive"), None);
    (1..=count).for_each(|id| remote(&mut world, "INBOX", id, &["\\Seen"]));
    let shared = Shared::new(world);
    quiet(&shared);
    shared
}

/// Five messages and a tombstone, if the server keeps such; then a flag on each side, a removal, a move and a new message
/// that no sync has seen.
fn pending(delete: Delete, abilities: Abilities) -> Shared {
    let shared = in_step(delete, abilities, 5);
    local_delete(&mut shared.world(), 5);
    quiet(&shared);
    let mut world = shared.world();
    local_flag(&mut world, 1, "\\Flagged", true);
    remote_flag(&mut world, 1, "\\Answered", true);
    local_delete(&mut world, 2);
    let (name, unique) = file(&world, 3);
    world.local_move(&name, &unique, &folder("Archive"));
    local(&mut world, "INBOX", 6, &["\\Draft"]);
    world.now.0 += 60;
    drop(world);
    shared
}

/// What was pending has happened, once.
fn assert_done(shared: &Shared, delete: Delete, context: &str) {
    assert_kept(shared, context);
    assert_eq!(local_ids(shared, "INBOX"), [1, 4, 6], "{context}");
    assert_eq!(local_ids(shared, "Archive"), [3], "{context}");
    assert_eq!(remote_ids(shared, "Archive"), [3], "{context}");
    match delete {
        Delete::Trash => {
            let mut trash = remote_ids(shared, "Trash");
            trash.sort_unstable();
            // A move struck between its two halves may leave its source in Trash.
            let moved = trash.iter().position(|id| *id == 3);
            moved.map(|at| trash.remove(at));
            assert_eq!((remote_ids(shared, "INBOX"), trash), (vec![1, 4, 6], vec![2, 5]), "{context}");
        }
        _ => assert!([2, 5].iter().all(|id| remote_ids(shared, "INBOX").contains(id)), "{context}"),
    }
}

fn renumber(shared: &Shared) {
    let mut world = shared.world();
    world.server.renumber(&inbox());
    world.ledger.renumber(&inbox(), &[]);
}

const STRIKES: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

fn both(check: impl Fn(Delete, Abilities)) {
    for delete in [Delete::Trash, Delete::Never] {
        [FULL, PLAIN].into_iter().for_each(|abilities| check(delete, abilities));
    }
}

#[test]
fn what_is_pending_survives_another_uidvalidity_wherever_the_sync_is_struck() {
    both(|delete, abilities| {
        for (after, power) in STRIKES {
            for step in 0.. {
                let shared = pending(delete, abilities);
                renumber(&shared);
                let died = run(&shared, Schedule::Crash(CrashAt { step, after, power }), &Options::default()).is_none();
                quiet(&shared);
                assert_done(&shared, delete, &format!("{delete:?}, {abilities:?}, struck {step} {after} {power}"));
                if !died {
                    break;
                }
            }
        }
    });
}

#[test]
fn another_uidvalidity_after_a_sync_was_struck_loses_and_doubles_nothing() {
    both(|delete, abilities| {
        for (after, power) in STRIKES {
            for step in 0.. {
                let shared = pending(delete, abilities);
                let died = run(&shared, Schedule::Crash(CrashAt { step, after, power }), &Options::default()).is_none();
                renumber(&shared);
                quiet(&shared);
                assert_done(&shared, delete, &format!("{delete:?}, {abilities:?}, struck {step} {after} {power}"));
                if !died {
                    break;
                }
            }
        }
    });
}

/// Recovery could not tell any more which message had been given the flag, and let go of its record: the server's flag
/// counted as news, and came back.
#[test]
fn a_flag_changed_back_after_a_sync_was_struck_and_the_mailbox_numbered_anew_stays_as_it_was_left() {
    let struck = |abilities, side, first: bool, folders: &[&str], at: CrashAt| {
        let shared = in_step(Delete::Trash, abilities, 2);
        let flagged: Vec<u32> = (11..).take(folders.len()).collect();
        let all = |on: bool| {
            let mut world = shared.world();
            match side {
                Side::Local => flagged.iter().for_each(|id| local_flag(&mut world, *id, "\\Flagged", on)),
                Side::Remote => flagged.iter().for_each(|id| remote_flag(&mut world, *id, "\\Flagged", on)),
            }
        };
        let given: &[&str] = if first { &[] } else { &["\\Flagged"] };
        flagged.iter().zip(folders).for_each(|(id, name)| remote(&mut shared.world(), name, *id, given));
        quiet(&shared);
        all(first);
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        renumber(&shared);
        all(!first);
        quiet(&shared);
        let context = format!("{abilities:?}, {side:?}, first {first}, {folders:?}, {at:?}");
        assert_kept(&shared, &context);
        let world = shared.world();
        for view in [local_view(&world), remote_view(&world)] {
            let seen = view.values().flatten().filter(|seen| flagged.contains(&seen.id));
            let flags: Vec<bool> = seen.map(|seen| seen.flags.has(Flag::Flagged)).collect();
            assert_eq!(flags, vec![!first; folders.len()], "{context}");
        }
        died
    };
    for abilities in [FULL, PLAIN] {
        for (side, first) in [(Side::Local, true), (Side::Local, false), (Side::Remote, true), (Side::Remote, false)] {
            for folders in [["INBOX"].as_slice(), &["INBOX", "Archive"]] {
                for (after, power) in STRIKES {
                    let strike = |step| struck(abilities, side, first, folders, CrashAt { step, after, power });
                    assert!((0..).take_while(|step| strike(*step)).count() > 0);
                }
            }
        }
    }
}

#[test]
fn messages_found_again_are_not_adopted_and_nothing_travels() {
    let shared = in_step(Delete::Trash, FULL, 60);
    renumber(&shared);
    idle_run(&shared, false);
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
}

#[test]
fn any_uidvalidity_will_do() {
    let shared = in_step(Delete::Trash, FULL, 3);
    remote(&mut shared.world(), "Archive", 4, &[]);
    quiet(&shared);
    for value in [0, u64::MAX, 1 << 32, 7, 6, 0, 5] {
        shared.world().server.claim(&inbox(), value);
        shared.world().server.claim(&folder("Archive"), value);
        idle_run(&shared, false);
        assert_eq!((local_ids(&shared, "INBOX"), local_ids(&shared, "Archive")), (vec![1, 2, 3], vec![4]));
    }
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
}

#[test]
fn a_tombstone_of_no_uidvalidity_hides_no_other_message() {
    let shared = in_step(Delete::Never, FULL, 3);
    local_delete(&mut shared.world(), 1);
    quiet(&shared);
    {
        let mut world = shared.world();
        world.server.create(&folder("Spare"), None);
        remote(&mut world, "Spare", 9, &[]);
        let spare = world.server.mailboxes.remove(&folder("Spare")).unwrap();
        let validity = world.server.uid_validity(&inbox()).unwrap();
        let moved = world.server.mailboxes.insert(inbox(), spare).unwrap();
        world.server.claim(&inbox(), validity.0);
        // The tombstone's message and two more lie behind the stranger that has its UID now.
        for message in moved.messages.into_values() {
            let mailbox = world.server.open(&inbox()).unwrap();
            mailbox.put(message.bytes, message.flags, message.date);
        }
        for row in world.book.mailboxes.values_mut().filter(|row| row.name == inbox()) {
            (row.uid_validity, row.watermark) = (None, None);
        }
    }
    calm_run(&shared, &Options::default());
    assert_eq!(local_ids(&shared, "INBOX"), [2, 3, 9]);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 9]);
}

/// The UID that the server tells is one of the new numbers: as one of the old it would be another message's, here that of
/// the tombstone.
#[test]
fn a_message_sent_when_its_mailbox_was_numbered_anew_takes_no_other_rows_place() {
    let make = || {
        let shared = in_step(Delete::Never, FULL, 4);
        remote_delete(&mut shared.world(), 1);
        local_delete(&mut shared.world(), 4);
        quiet(&shared);
        local(&mut shared.world(), "INBOX", 6, &[]);
        shared.world().mishaps.renumbers = Some(inbox());
        shared
    };
    let shared = make();
    calm_run(&shared, &Options::default());
    quiet(&shared);
    assert_kept(&shared, "numbered anew before the append");
    assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "INBOX")), (vec![2, 3, 6], vec![2, 3, 4, 6]));
    struck_at_every_call(make, |shared, context| {
        assert_eq!(
            (local_ids(shared, "INBOX"), remote_ids(shared, "INBOX")),
            (vec![2, 3, 6], vec![2, 3, 4, 6]),
            "{context}"
        );
    });
}

/// A backup with messages 1 to 5, put back after 6 to 8 came, 2 was removed here, 3 there, and 1 was flagged here.
fn restored(abilities: Abilities) -> Shared {
    let shared = in_step(Delete::Trash, abilities, 5);
    let backup = shared.world().server.mailboxes[&inbox()].clone();
    let mut world = shared.world();
    (6..9).for_each(|id| remote(&mut world, "INBOX", id, &["\\Answered"]));
    remote_delete(&mut world, 3);
    drop(world);
    quiet(&shared);
    let mut world = shared.world();
    local_flag(&mut world, 1, "\\Flagged", true);
    local_flag(&mut world, 7, "\\Flagged", true);
    local_delete(&mut world, 2);
    world.server.restore(&inbox(), backup);
    // Its UIDs are given again.
    remote(&mut world, "INBOX", 9, &[]);
    remote(&mut world, "INBOX", 10, &[]);
    world.now.0 += 60;
    drop(world);
    shared
}

#[test]
fn a_server_restored_from_a_backup_is_united_with_what_is_here() {
    for abilities in [FULL, PLAIN] {
        for (after, power) in STRIKES {
            for step in 0.. {
                let shared = restored(abilities);
                let died = run(&shared, Schedule::Crash(CrashAt { step, after, power }), &Options::default()).is_none();
                quiet(&shared);
                let context = format!("{abilities:?}, struck {step} {after} {power}");
                let expected = [1, 3, 4, 5, 6, 7, 8, 9, 10];
                assert_eq!(local_ids(&shared, "INBOX"), expected, "{context}");
                assert_eq!(remote_ids(&shared, "INBOX"), expected, "{context}");
                assert_eq!(remote_ids(&shared, "Trash"), [2], "{context}");
                let flagged = |id| {
                    remote_view(&shared.world())[&inbox()]
                        .iter()
                        .any(|seen| seen.id == id && seen.flags == both_flags(id))
                };
                assert!(flagged(1) && flagged(7), "{context}: {:?}", remote_view(&shared.world()));
                assert!(shared.world().complaints.is_empty(), "{context}: {:?}", shared.world().complaints);
                if !died {
                    break;
                }
            }
        }
    }
}

/// It had been fetched and journaled, and was not to be seen in its maildir yet. Nothing tells one that others expunged
/// meanwhile from one that the backup had lost: both stay.
#[test]
fn what_was_on_its_way_here_when_its_mailbox_was_put_back_stays() {
    let struck = |abilities, expunged, at: CrashAt| {
        let shared = in_step(Delete::Trash, abilities, 3);
        let backup = shared.world().server.mailboxes[&inbox()].clone();
        shared.world().backup = Some((inbox(), backup));
        remote(&mut shared.world(), "INBOX", 4, &[]);
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        let visible = local_ids(&shared, "INBOX").contains(&4);
        let hidden = !visible && !shared.world().book.intents.is_empty();
        if expunged {
            remote_delete(&mut shared.world(), 4);
        }
        assert!(back_up_or_restore(&mut shared.world()));
        quiet(&shared);
        let context = format!("{abilities:?}, expunged {expunged}, struck {at:?}");
        assert_kept(&shared, &context);
        for ids in [local_ids, remote_ids] {
            assert_eq!(ids(&shared, "INBOX").contains(&4), visible || hidden, "{context}");
        }
        (died, hidden)
    };
    for (abilities, expunged) in [(FULL, false), (FULL, true), (PLAIN, false), (PLAIN, true)] {
        for (after, power) in STRIKES {
            let strike = |step| struck(abilities, expunged, CrashAt { step, after, power });
            let hidden = (0..).map(strike).take_while(|(died, _)| *died).filter(|(_, hidden)| *hidden).count();
            assert!(hidden > 0, "no crash left it on its way");
        }
    }
}

fn both_flags(id: u32) -> FlagSet {
    let first = if id == 1 { "\\Seen" } else { "\\Answered" };
    FlagEdit::new(first, true).flags.union(&FlagEdit::new("\\Flagged", true).flags)
}

#[test]
fn a_backup_that_grew_past_what_was_known_is_told_by_its_messages() {
    let shared = in_step(Delete::Trash, FULL, 5);
    let backup = shared.world().server.mailboxes[&inbox()].clone();
    (6..9).for_each(|id| remote(&mut shared.world(), "INBOX", id, &["\\Answered"]));
    for id in 6..9 {
        (0..9).for_each(|turn| remote_flag(&mut shared.world(), id, "\\Flagged", turn % 2 == 0));
    }
    quiet(&shared);
    shared.world().server.restore(&inbox(), backup);
    (9..14).for_each(|id| remote(&mut shared.world(), "INBOX", id, &[]));
    quiet(&shared);
    assert_eq!(local_ids(&shared, "INBOX"), (1..14).collect::<Vec<_>>());
    assert_eq!(remote_ids(&shared, "INBOX"), (1..14).collect::<Vec<_>>());
}

/// Puts a mailbox back to what it was, empty or with half of what came to it, while another looks like that.
fn put_back(empty: bool) {
    let shared = in_step(Delete::Trash, PLAIN, 1);
    {
        let mut world = shared.world();
        (world.server.same_second, world.server.status) = (true, false);
        ["One", "Two"].iter().for_each(|name| world.server.create(&folder(name), None));
    }
    let backup = || shared.world().server.mailboxes[&folder("One")].clone();
    let before = backup();
    ["One", "Two"].iter().for_each(|name| remote(&mut shared.world(), name, 2, &[]));
    quiet(&shared);
    let between = backup();
    local(&mut shared.world(), "One", 3, &[]);
    quiet(&shared);
    shared.world().server.restore(&folder("One"), if empty { before } else { between });
    quiet(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2, 3], vec![2]));
    }
}

/// It was taken for renamed, and what had come since the backup was removed here.
#[test]
fn a_mailbox_put_back_is_not_another_that_looks_like_what_it_was() {
    put_back(false);
}

/// Nothing that was known is left in it: the other was taken for it, and what only it had held was removed here.
#[test]
fn a_mailbox_put_back_empty_is_not_another_that_holds_half_of_it() {
    put_back(true);
}

/// Sixty messages, of which the server has twenty left under another UIDVALIDITY, and a new one.
fn mostly_gone() -> Shared {
    let shared = in_step(Delete::Trash, FULL, 60);
    (1..=40).for_each(|id| remote_delete(&mut shared.world(), id));
    renumber(&shared);
    let mut world = shared.world();
    remote(&mut world, "INBOX", 70, &[]);
    world.local_put(&inbox(), 71, Kind::Ordinary, mailtide::model::Timestamp(1_600_000_000), None);
    local(&mut world, "Archive", 72, &[]);
    drop(world);
    shared
}

fn assert_held(report: &Report) {
    let held: Vec<_> = report.held.iter().map(|one| (one.folder.clone(), one.side, one.reason, one.count)).collect();
    assert_eq!(held, [(Some(inbox()), Side::Remote, Reason::UidValidity, 40)]);
}

#[test]
fn a_mailbox_that_is_hardly_the_same_is_held_and_united_on_either_word() {
    for answer in [HoldAnswer::Accept, HoldAnswer::Undo] {
        let shared = mostly_gone();
        let there = remote_ids(&shared, "INBOX");
        let here = local_ids(&shared, "INBOX");
        let since = calm_run(&shared, &Options::default()).held.first().map(|held| held.since);
        for _ in 0..2 {
            shared.world().now.0 += 3600;
            let book = shared.world().book.clone();
            let report = calm_run(&shared, &Options::default());
            assert_held(&report);
            assert_eq!(report.held.first().map(|held| held.since), since);
            assert_eq!(shared.world().book.messages, book.messages);
            assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "INBOX")), (here.clone(), there.clone()));
        }
        assert_eq!(remote_ids(&shared, "Archive"), [72], "the rest goes on");
        calm_run(&shared, &Options { holds: answer, ..Options::default() });
        quiet(&shared);
        let expected: Vec<u32> = (1..=60).chain([70, 71]).collect();
        assert_eq!(local_ids(&shared, "INBOX"), expected);
        assert_eq!(remote_ids(&shared, "INBOX"), expected);
        assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
    }
}

/// Message 2 in a mailbox numbered anew, beside a new one with message 3: numbers, date, size and Message-ID are those that
/// the first had.
fn numbered_anew_beside_its_image(email_ids: EmailIds) -> Shared {
    let shared = in_step(Delete::Trash, FULL, 1);
    let put = |name: &str, id: u32| {
        let date = mailtide::model::Timestamp(1_600_000_000);
        shared.world().remote_put(&folder(name), id, Kind::Shared, date, &FlagSet::new());
    };
    {
        let mut world = shared.world();
        (world.server.same_second, world.server.email_ids) = (true, email_ids);
    }
    put("One", 2);
    quiet(&shared);
    {
        let mut world = shared.world();
        world.server.renumber(&folder("One"));
        world.ledger.renumber(&folder("One"), &[]);
    }
    put("Two", 3);
    shared
}

const EMAIL_IDS: [EmailIds; 3] = [EmailIds::None, EmailIds::Each, EmailIds::Content];

/// It was taken for renamed to the other, whose message was never fetched.
#[test]
fn a_mailbox_numbered_anew_is_not_another_that_looks_like_what_it_was() {
    for email_ids in EMAIL_IDS {
        for (after, power) in STRIKES {
            for step in 0.. {
                let shared = numbered_anew_beside_its_image(email_ids);
                let died = run(&shared, Schedule::Crash(CrashAt { step, after, power }), &Options::default()).is_none();
                quiet(&shared);
                let context = format!("{email_ids:?}, struck {step} {after} {power}");
                assert_kept(&shared, &context);
                for ids in [local_ids, remote_ids] {
                    assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2], vec![3]), "{context}");
                }
                if !died {
                    break;
                }
            }
        }
    }
}

/// It was taken for renamed to the other, which has half of what it held under the same UIDs, as far as LIST tells: all of
/// it left the Maildir, what was removed here was forgotten, and all of it was fetched again.
#[test]
fn a_mailbox_numbered_anew_is_not_another_that_holds_copies_of_half_of_it() {
    for email_ids in EMAIL_IDS {
        let make = || {
            let shared = in_step(Delete::Trash, FULL, 1);
            {
                let mut world = shared.world();
                (world.server.same_second, world.server.status, world.server.email_ids) = (true, false, email_ids);
                [2, 3].into_iter().for_each(|id| remote(&mut world, "One", id, &[]));
                world.server.create(&folder("Two"), None);
                let (one, first) = uid(&world, 2);
                world.remote_copy(&one, first, &folder("Two"));
            }
            quiet(&shared);
            {
                let mut world = shared.world();
                world.server.renumber(&folder("One"));
                world.ledger.renumber(&folder("One"), &[]);
                local_delete(&mut world, 3);
            }
            shared
        };
        let shared = make();
        quiet(&shared);
        assert_kept(&shared, &format!("{email_ids:?}"));
        for ids in [local_ids, remote_ids] {
            let found = ["One", "Two", "Trash"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![2], vec![2], vec![3]], "{email_ids:?}");
        }
        struck_everywhere(make, &[("One", &[2]), ("Two", &[2]), ("Trash", &[3])]);
    }
}

/// Messages 2 and 3, and 2 copied to a mailbox made in the same second, where it got the number it had; then the first was
/// numbered anew, and 3 flagged here.
fn numbered_anew_beside_a_copy(status: bool, email_ids: EmailIds) -> Shared {
    let shared = in_step(Delete::Trash, FULL, 1);
    {
        let mut world = shared.world();
        (world.server.same_second, world.server.status, world.server.email_ids) = (true, status, email_ids);
        ["One", "Two"].iter().for_each(|name| world.server.create(&folder(name), None));
        (2..=3).for_each(|id| remote(&mut world, "One", id, &[]));
    }
    quiet(&shared);
    let mut world = shared.world();
    let (one, first) = uid(&world, 2);
    world.remote_copy(&one, first, &folder("Two"));
    // As many have been there, as far as UIDNEXT tells.
    remote(&mut world, "Two", 4, &[]);
    remote_delete(&mut world, 4);
    world.server.renumber(&folder("One"));
    world.ledger.renumber(&folder("One"), &[]);
    local_flag(&mut world, 3, "\\Answered", true);
    drop(world);
    shared
}

/// It was taken for renamed to the other: what only it held was removed here and fetched again, without its flag.
#[test]
fn a_mailbox_numbered_anew_is_not_another_that_has_come_as_far_and_holds_a_copy_of_half_of_it() {
    for (status, email_ids) in EMAIL_IDS.into_iter().flat_map(|ids| [(true, ids), (false, ids)]) {
        let shared = numbered_anew_beside_a_copy(status, email_ids);
        let report = calm_run(&shared, &Options::default());
        let context = format!("{status}, {email_ids:?}");
        assert_eq!((report.local.removed, report.remote.flags), (0, 1), "{context}");
        quiet(&shared);
        assert_kept(&shared, &context);
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2, 3], vec![2]), "{context}");
        }
        let answered = FlagEdit::new("\\Answered", true).flags;
        let there = remote_view(&shared.world());
        assert!(
            there[&folder("One")].iter().any(|seen| seen.id == 3 && seen.flags == answered),
            "{context}: {there:?}"
        );
        let make = || numbered_anew_beside_a_copy(status, email_ids);
        struck_everywhere(make, &[("One", &[2, 3]), ("Two", &[2])]);
    }
}

/// It told of a folder renamed.
#[test]
fn a_dry_run_tells_what_comes_of_a_mailbox_numbered_anew_beside_its_image() {
    for email_ids in EMAIL_IDS {
        let shared = numbered_anew_beside_its_image(email_ids);
        let book = shared.world().book.clone();
        let said = calm_run(&shared, &Options { dry_run: true, ..Options::default() });
        shared.world().book = book;
        let did = calm_run(&shared, &Options::default());
        assert_eq!((&said.local, &said.remote), (&did.local, &did.remote), "{email_ids:?}");
        let Report { local, .. } = did;
        assert_eq!((local.added, local.folders_created, local.folders_renamed), (1, 1, 0), "{email_ids:?}");
    }
}

/// It was taken for new, and copied here from its twin while its file was sent again; once the numbers were others anew, the copy
/// stood for what was sent, and the file was sent a second time.
#[test]
fn a_message_that_goes_while_its_mailbox_is_found_again_is_not_fetched_as_new() {
    for abilities in [FULL, PLAIN] {
        let make = || {
            let shared = in_step(Delete::Trash, abilities, 1);
            {
                let mut world = shared.world();
                world.server.email_ids = EmailIds::Content;
                (0..2).for_each(|_| remote(&mut world, "INBOX", 2, &["\\Seen"]));
            }
            quiet(&shared);
            renumber(&shared);
            shared.world().meanwhile = Some(("identify INBOX 1:3", |world| {
                remote_delete(world, 2);
                // Only if something is copied here.
                world.meanwhile = Some(("sealed", |world| {
                    world.server.renumber(&inbox());
                    world.ledger.renumber(&inbox(), &[]);
                }));
            }));
            shared
        };
        let shared = make();
        let report = calm_run(&shared, &Options::default());
        assert_eq!(report.local.copied, 0, "{abilities:?}: copied here, though it has gone");
        quiet(&shared);
        assert_kept(&shared, &format!("{abilities:?}"));
        for ids in [local_ids, remote_ids] {
            assert_eq!(ids(&shared, "INBOX"), [1, 2, 2], "{abilities:?}");
        }
        struck_everywhere(make, &[("INBOX", &[1, 2, 2])]);
    }
}

/// Copied to its new place and not expunged yet when its mailbox was numbered anew, it waited until nothing else there was
/// flagged `\\Deleted`, though the server can expunge single messages: it was in both places for good.
#[test]
fn what_was_copied_before_its_mailbox_was_numbered_anew_leaves_it_whatever_others_flagged_there() {
    let struck = |abilities, at: CrashAt| {
        let shared = in_step(Delete::Trash, abilities, 4);
        remote_flag(&mut shared.world(), 2, "\\Deleted", true);
        quiet(&shared);
        {
            let mut world = shared.world();
            local_delete(&mut world, 1);
            let (name, unique) = file(&world, 3);
            world.local_move(&name, &unique, &folder("Archive"));
            world.now.0 += 60;
        }
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        let is_in_both =
            |(id, to): (u32, &str)| remote_ids(&shared, "INBOX").contains(&id) && remote_ids(&shared, to).contains(&id);
        let both = [(1, "Trash"), (3, "Archive")].map(is_in_both);
        renumber(&shared);
        quiet(&shared);
        let context = format!("{abilities:?}, struck {at:?}");
        assert_kept(&shared, &context);
        for ids in [local_ids, remote_ids] {
            let found = ["INBOX", "Archive"].map(|name| ids(&shared, name));
            assert_eq!(found, [vec![2, 4], vec![3]], "{context}");
            // A move struck between its two halves may leave its source in Trash.
            let trash: Vec<u32> = ids(&shared, "Trash").into_iter().filter(|id| *id != 3).collect();
            assert_eq!(trash, [1], "{context}");
        }
        (died, both)
    };
    for mod_seq in [true, false] {
        let abilities = Abilities { moves: false, mod_seq, ..FULL };
        let mut seen = [false; 2];
        for (after, power) in STRIKES {
            for step in 0.. {
                let (died, both) = struck(abilities, CrashAt { step, after, power });
                seen = [seen[0] || both[0], seen[1] || both[1]];
                if !died {
                    break;
                }
            }
        }
        assert_eq!(seen, [true; 2], "{abilities:?}: never struck between COPY and EXPUNGE");
    }
}

/// Every run asked the server, was refused, and looked at everything.
#[test]
fn what_was_copied_and_not_expunged_waits_while_nothing_may_be_removed() {
    let struck = |step| {
        let shared = in_step(Delete::Trash, Abilities { moves: false, ..FULL }, 2);
        local_delete(&mut shared.world(), 1);
        shared.world().now.0 += 60;
        let at = CrashAt { step, after: true, power: false };
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        assert!(died, "never struck between COPY and EXPUNGE");
        shared
    };
    let is_in_both = |shared: &Shared| ["INBOX", "Trash"].iter().all(|name| remote_ids(shared, name).contains(&1));
    let shared = (0..).map(struck).find(is_in_both).unwrap();
    renumber(&shared);
    shared.world().mishaps.read_only.insert(inbox());
    for _ in 0..2 {
        let report = calm_run(&shared, &Options::default());
        assert!(report.problems.is_empty(), "{report:?}");
        assert!(is_in_both(&shared));
    }
    shared.world().mishaps.read_only.clear();
    // Rights show with the next full look.
    quiet(&shared);
    assert_eq!((remote_ids(&shared, "INBOX"), remote_ids(&shared, "Trash")), (vec![2], vec![1]));
    assert_kept(&shared, "allowed again");
}

/// All that was known of its mailbox was in Trash, under the number that it had: the mailbox was taken for renamed to that,
/// what it was to lose was forgotten, and fetched again.
#[test]
fn a_mailbox_numbered_anew_is_not_the_trash_that_all_of_it_was_copied_to() {
    let copied = |abilities, told, step| {
        let mut world = World::new(Server::new(abilities), policy(Delete::Trash), Rng::new(1));
        (world.server.same_second, world.server.status) = (true, told);
        world.server.create(&folder("Trash"), Some(Role::Trash));
        remote(&mut world, "One", 1, &[]);
        let shared = Shared::new(world);
        quiet(&shared);
        local_delete(&mut shared.world(), 1);
        shared.world().now.0 += 60;
        let at = CrashAt { step, after: true, power: false };
        let died = run(&shared, Schedule::Crash(at), &Options::default()).is_none();
        assert!(died, "never struck between COPY and EXPUNGE");
        shared
    };
    let is_in_both = |shared: &Shared| ["One", "Trash"].iter().all(|name| remote_ids(shared, name) == [1]);
    for abilities in [PLAIN, Abilities { moves: false, ..FULL }] {
        for (told, fetched) in [(false, false), (false, true), (true, false), (true, true)] {
            let context = format!("{abilities:?}, told {told}, fetched {fetched}");
            let shared = (0..).map(|step| copied(abilities, told, step)).find(is_in_both).unwrap();
            {
                let mut world = shared.world();
                world.server.renumber(&folder("One"));
                world.ledger.renumber(&folder("One"), &[]);
            }
            if fetched {
                // The copy is known before anybody looks at its source.
                calm_run(&shared, &Options { only: vec![folder("Trash")], ..Options::default() });
                assert!(is_in_both(&shared), "{context}");
            }
            quiet(&shared);
            assert_kept(&shared, &context);
            for ids in [local_ids, remote_ids] {
                assert_eq!((ids(&shared, "One"), ids(&shared, "Trash")), (vec![], vec![1]), "{context}");
            }
        }
    }
}

/// Message 2 and its copy in a mailbox made in the same second, where it has the number that it had; then the first was
/// numbered anew, and 2 removed from it here.
fn numbered_anew_beside_a_copy_of_all(told: bool, known: bool, email_ids: EmailIds) -> Shared {
    let shared = in_step(Delete::Trash, FULL, 1);
    {
        let mut world = shared.world();
        (world.server.same_second, world.server.status, world.server.email_ids) = (true, told, email_ids);
        ["One", "Two"].iter().for_each(|name| world.server.create(&folder(name), None));
        remote(&mut world, "One", 2, &[]);
    }
    quiet(&shared);
    let copies = |shared: &Shared| {
        let (one, first) = uid(&shared.world(), 2);
        shared.world().remote_copy(&one, first, &folder("Two"));
    };
    if known {
        copies(&shared);
        quiet(&shared);
    } else {
        copies(&shared);
    }
    let mut world = shared.world();
    local_delete(&mut world, 2);
    world.server.renumber(&folder("One"));
    world.ledger.renumber(&folder("One"), &[]);
    drop(world);
    shared
}

/// It was taken for renamed to the other, and what was removed here came back.
#[test]
fn a_mailbox_numbered_anew_is_not_another_that_holds_copies_of_all_of_it() {
    for email_ids in EMAIL_IDS {
        for (told, known) in [(false, false), (false, true), (true, false), (true, true)] {
            let shared = numbered_anew_beside_a_copy_of_all(told, known, email_ids);
            let context = format!("{email_ids:?}, told {told}, known {known}");
            quiet(&shared);
            assert_kept(&shared, &context);
            for ids in [local_ids, remote_ids] {
                let found = ["One", "Two", "Trash"].map(|name| ids(&shared, name));
                assert_eq!(found, [vec![], vec![2], vec![2]], "{context}");
            }
            let make = || numbered_anew_beside_a_copy_of_all(told, known, email_ids);
            struck_everywhere(make, &[("One", &[]), ("Two", &[2]), ("Trash", &[2])]);
        }
    }
}

/// It could not be looked at again: so the other was taken for it.
#[test]
fn a_mailbox_numbered_anew_that_cannot_be_looked_at_is_not_the_one_it_was_copied_to() {
    let shared = numbered_anew_beside_a_copy_of_all(false, false, EmailIds::None);
    // Looked at with all others, and then to tell whether it is the one searched for.
    shared.world().meanwhile = Some(("observe Two", |world| {
        world.meanwhile = Some(("observe Two", |world| world.mishaps.unlooked = Some(folder("One"))));
    }));
    let report = calm_run(&shared, &Options::default());
    assert!(shared.world().meanwhile.is_none());
    assert!(report.problems.iter().any(|problem| problem.code == "folder-unfinished"), "{report:?}");
    assert_eq!((remote_ids(&shared, "One"), local_ids(&shared, "One")), (vec![2], vec![]), "{report:?}");
    shared.world().mishaps.unlooked = None;
    quiet(&shared);
    assert_kept(&shared, "looked at again");
    for ids in [local_ids, remote_ids] {
        let found = ["One", "Two", "Trash"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![], vec![2], vec![2]]);
    }
}

/// What was saved over came back: the other mailbox has its numbers and as much of it as is under its name. Renamed, with a
/// new one of its name that what was hidden was moved to, it looks the same, and taken for numbered anew it is doubled.
#[test]
fn a_mailbox_numbered_anew_that_cant_be_told_from_one_renamed_is_followed_and_nothing_is_doubled() {
    let changes: [Act; 2] = [
        |world| {
            // As many have been there, as far as UIDNEXT tells.
            remote(world, "Two", 3, &[]);
            remote_delete(world, 3);
            let (one, saved) = uid(world, 2);
            world.remote_move(&one, saved, &folder("Two"));
            world.remote_renumber(&folder("One"));
        },
        |world| {
            world.remote_rename_folder(&folder("One"), &folder("Two"));
            world.server.create(&folder("One"), None);
            let (two, hidden) = uid(world, 1);
            world.remote_move(&two, hidden, &folder("One"));
        },
    ];
    let mut seen = Vec::new();
    for (at, change) in changes.into_iter().enumerate() {
        let mut world = World::new(Server::new(FULL), policy(Delete::Never), Rng::new(1));
        world.server.same_second = true;
        world.server.create(&folder("Trash"), Some(Role::Trash));
        remote(&mut world, "One", 1, &["\\Draft"]);
        let shared = Shared::new(world);
        quiet(&shared);
        {
            let mut world = shared.world();
            let (name, unique) = file(&world, 1);
            assert_eq!(world.local_save(&name, &unique, Save::InPlace), Some(2));
            world.now.0 += 60;
        }
        calm_run(&shared, &Options { full: true, ..Options::default() });
        assert_eq!((local_ids(&shared, "One"), remote_ids(&shared, "One")), (vec![2], vec![1, 2]));
        change(&mut shared.world());
        seen.push(shared.world().server.watermark(&folder("Two")).unwrap());
        quiet(&shared);
        assert_kept(&shared, &format!("history {at}"));
        for ids in [local_ids, remote_ids] {
            assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![1], vec![2]), "history {at}");
        }
    }
    assert_eq!(seen[0], seen[1], "nothing tells them apart");
}

/// It had been followed to its new name by its id, and was taken for elsewhere still: its files were removed and fetched
/// again, and what was pending was forgotten.
#[test]
fn a_folder_renamed_there_and_numbered_anew_keeps_its_files_and_what_is_pending() {
    let make = || {
        let shared = in_step(Delete::Expunge, FULL, 1);
        shared.world().server.object_ids = true;
        (2..=4).for_each(|id| remote(&mut shared.world(), "One", id, &[]));
        quiet(&shared);
        {
            let mut world = shared.world();
            world.remote_rename_folder(&folder("One"), &folder("New"));
            world.remote_renumber(&folder("New"));
            local_flag(&mut world, 2, "\\Answered", true);
            local_delete(&mut world, 3);
        }
        shared
    };
    let shared = make();
    let report = calm_run(&shared, &Options::default());
    assert_eq!((report.local.added, report.local.removed, report.remote.added), (0, 0, 0), "{report:?}");
    assert_eq!((report.local.folders_renamed, report.remote.flags, report.remote.removed), (1, 1, 1), "{report:?}");
    quiet(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "New")), (vec![], vec![2, 4]));
    }
    struck_everywhere(make, &[("One", &[]), ("New", &[2, 4])]);
}

/// It was held as numbered anew and emptied, and all of it was fetched meanwhile from where it is.
#[test]
fn a_large_folder_renamed_there_and_numbered_anew_is_followed_though_another_has_its_name() {
    let shared = in_step(Delete::Trash, FULL, 1);
    (2..=61).for_each(|id| remote(&mut shared.world(), "One", id, &[]));
    quiet(&shared);
    {
        let mut world = shared.world();
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_renumber(&folder("New"));
        remote(&mut world, "One", 70, &[]);
    }
    let report = calm_run(&shared, &Options::default());
    assert!(report.held.is_empty(), "{report:?}");
    assert_eq!((report.local.added, report.local.removed, report.remote.added), (1, 0, 0), "{report:?}");
    quiet(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "New")), (vec![70], (2..=61).collect()));
    }
}

fn renamed_and_numbered_anew() -> Shared {
    let shared = in_step(Delete::Expunge, FULL, 1);
    (2..=4).for_each(|id| remote(&mut shared.world(), "One", id, &[]));
    quiet(&shared);
    {
        let mut world = shared.world();
        world.remote_rename_folder(&folder("One"), &folder("New"));
        world.remote_renumber(&folder("New"));
        remote(&mut world, "One", 70, &[]);
    }
    shared
}

fn assert_followed(shared: &Shared, context: &str) {
    quiet(shared);
    assert_kept(shared, context);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(shared, "One"), ids(shared, "New")), (vec![70], vec![2, 3, 4]), "{context}");
    }
}

/// All of it was sent to what had its name, and fetched from where it is.
#[test]
fn a_folder_renamed_there_and_numbered_anew_waits_while_where_it_is_is_not_looked_at() {
    for (only, unlooked) in [(vec![folder("One")], None), (Vec::new(), Some(folder("New")))] {
        let shared = renamed_and_numbered_anew();
        let context = format!("{only:?}, {unlooked:?}");
        shared.world().mishaps.unlooked = unlooked;
        let report = calm_run(&shared, &Options { only, ..Options::default() });
        let is_one = |name: &Option<MailboxName>| *name == Some(folder("One"));
        let told = report.problems.iter().any(|one| one.code == "folder-unfinished" && is_one(&one.folder));
        assert_eq!((told, report.remote.added, report.local.removed), (true, 0, 0), "{context}: {report:?}");
        shared.world().mishaps.unlooked = None;
        assert_followed(&shared, &context);
    }
}

/// One file had another name by the time it was to follow: it was sent, and its message fetched.
#[test]
fn a_folder_renamed_there_and_numbered_anew_is_followed_though_a_file_changes_meanwhile() {
    let shared = renamed_and_numbered_anew();
    shared.world().meanwhile = Some(("move_to One/", |world| {
        (2..=4).for_each(|id| local_flag(world, id, "\\Flagged", true));
    }));
    let report = calm_run(&shared, &Options::default());
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((report.remote.added, report.local.removed), (0, 0), "{report:?}");
    assert_followed(&shared, "flagged meanwhile");
    struck_everywhere(renamed_and_numbered_anew, &[("One", &[70]), ("New", &[2, 3, 4])]);
}

/// Seed 1796000548290485: what was being sent to it came to another that had got its name. Found there, it made that
/// look like the one numbered anew: the rest was sent there, too, and fetched from where it is.
#[test]
fn a_folder_renamed_there_and_numbered_anew_is_followed_though_what_has_its_name_got_a_message_sent_to_it() {
    let mut world = World::new(Server::new(FULL), policy(Delete::Trash), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    [2, 3].iter().for_each(|id| remote(&mut world, "One", *id, &[]));
    // One of them is adopted, the other sent.
    (0..2).for_each(|_| local(&mut world, "One", 2, &["\\Seen"]));
    world.meanwhile = Some(("append 2 to One", |world| {
        world.remote_rename_folder(&folder("One"), &folder("New"));
        remote(world, "One", 70, &[]);
    }));
    let shared = Shared::new(world);
    shared.world().now.0 += 60;
    calm_run(&shared, &Options::default());
    assert!(shared.world().meanwhile.is_none());
    assert_eq!((remote_ids(&shared, "One"), remote_ids(&shared, "New")), (vec![2, 70], vec![2, 3]));
    shared.world().remote_renumber(&folder("New"));
    quiet(&shared);
    assert_kept(&shared, "sent to what has its name");
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "New")), (vec![2, 2, 70], vec![2, 3]));
    }
}

/// The same with a message that others moved there.
#[test]
fn a_folder_renamed_there_and_numbered_anew_is_followed_though_a_part_of_it_is_in_what_has_its_name() {
    let make = || {
        let shared = renamed_and_numbered_anew();
        {
            let mut world = shared.world();
            let (new, moved) = uid(&world, 2);
            world.remote_move(&new, moved, &folder("One"));
            local_flag(&mut world, 2, "\\Flagged", true);
            local_flag(&mut world, 3, "\\Flagged", true);
        }
        shared
    };
    let shared = make();
    let report = calm_run(&shared, &Options::default());
    assert_eq!((report.local.added, report.local.removed, report.remote.added), (1, 0, 0), "{report:?}");
    assert_eq!((report.local.moved, report.remote.flags), (2, 2), "{report:?}");
    struck_everywhere(make, &[("One", &[2, 70]), ("New", &[3, 4])]);
}
