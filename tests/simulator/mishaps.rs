//! What goes wrong every time stays where it is, and is told every time.

use mailtide::model::{Flag, FlagSet, MailboxName, Side};
use mailtide::reconcile::policy::{Delete, HoldAnswer, MaxDelete, Options};
use mailtide::reconcile::report::Reason;
use mailtide::reconcile::scope::Pattern;

use super::account::{
    DATE, answer, codes, delete_locally, dies, file, in_step, local_ids, remote_ids, struck_at_every_call,
    struck_everywhere, sync, waiting,
};
use super::book::Book;
use super::check::local_view;
use super::history::{calm_run, run};
use super::mail::Kind;
use super::rng::Rng;
use super::scenarios::{self, remote_flag};
use super::schedule::{CrashAt, Rates, Schedule};
use super::server::Mailbox;
use super::users::{FlagEdit, folder};

#[test]
fn flags_that_the_server_refuses_keep_no_mail_away() {
    let make = || {
        let shared = in_step(Delete::Trash, 2);
        shared.world().mishaps.stores = true;
        let unique = file(&shared, 1);
        shared.world().local_flag(&MailboxName::inbox(), &unique, &FlagEdit::new("work", true));
        shared.world().remote_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, &FlagSet::new());
        shared.world().local_put(&MailboxName::inbox(), 4, Kind::Ordinary, DATE, None);
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert_eq!(codes(&report), ["flag-refused"]);
    assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3, 4]);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4]);
    struck_everywhere(make, &[("INBOX", &[1, 2, 3, 4])]);
}

#[test]
fn a_file_that_cannot_be_renamed_keeps_no_other_from_its_flags() {
    let make = || {
        let shared = in_step(Delete::Trash, 3);
        let stuck = file(&shared, 1);
        shared.world().mishaps.stuck = Some(stuck);
        let uids = shared.world().uids();
        for (name, uid) in uids {
            shared.world().remote_flag(&name, uid, &FlagEdit::new("\\Seen", true));
        }
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert_eq!((codes(&report), report.local.flags), (vec!["local-item"], 2));
    struck_at_every_call(make, |shared, context| {
        let seen =
            local_view(&shared.world())[&MailboxName::inbox()].iter().filter(|seen| seen.flags.has(Flag::Seen)).count();
        assert_eq!(seen, 3, "{context}");
    });
}

#[test]
fn what_was_refused_is_told_when_it_is_tried_and_listed_as_waiting_in_between() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().mishaps.appends = true;
        shared.world().local_put(&MailboxName::inbox(), 2, Kind::Ordinary, DATE, None);
        shared
    };
    let shared = make();
    for _ in 0..3 {
        let found = sync(&shared);
        assert_eq!((codes(&found), waiting(&found)), (vec!["message-too-large"], vec![]));
        for _ in 0..3 {
            let report = sync(&shared);
            assert_eq!((codes(&report), waiting(&report)), (vec![], vec!["message-too-large"]));
        }
        shared.world().now.0 += 86_400;
    }
    shared.world().mishaps.appends = false;
    let report = sync(&shared);
    assert!(codes(&report).is_empty() && waiting(&report).is_empty(), "{report:?}");
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2]);
    assert!(waiting(&sync(&shared)).is_empty());
    struck_everywhere(make, &[("INBOX", &[1, 2])]);
}

/// Gmail does so: each of two files would be sent again whenever the other got the row.
#[test]
fn a_second_file_of_a_message_that_the_server_keeps_once_stays_here_and_waits() {
    let shared = in_step(Delete::Trash, 1);
    (shared.world().mishaps.merges, shared.world().mishaps.transfers) = (true, true);
    let (unique, inbox) = (file(&shared, 1), MailboxName::inbox());
    let bytes = shared.world().local_bytes(&inbox, &unique).unwrap();
    shared.world().maildir.deliver(&inbox, bytes, DATE, None);
    shared.world().ledger.put(Side::Local, 1, &inbox, DATE, &FlagSet::new());
    let mut told = Vec::new();
    for _ in 0..6 {
        let report = sync(&shared);
        assert_eq!((report.remote.added, report.local.added), (0, 0), "{report:?}");
        told.push(codes(&report).len());
        assert_eq!((remote_ids(&shared, "INBOX"), local_ids(&shared, "INBOX")), (vec![1], vec![1, 1]));
    }
    assert_eq!(told.iter().sum::<usize>(), 2, "that it could not be copied, and that it was merged: {told:?}");
    assert_eq!(waiting(&sync(&shared)), ["message-merged"]);
}

#[test]
fn a_file_copied_or_moved_to_where_the_server_has_its_message_already_stays_here_and_waits() {
    for moved in [false, true] {
        let (shared, inbox, archive) = (in_step(Delete::Trash, 1), MailboxName::inbox(), folder("Archive"));
        let at = shared.world().uids()[0].1;
        shared.world().remote_copy(&inbox, at, &archive);
        sync(&shared);
        shared.world().mishaps.merges = true;
        let unique = file(&shared, 1);
        match moved {
            true => shared.world().local_move(&inbox, &unique, &archive),
            false => shared.world().maildir.copy_with_letters(&inbox, &unique, &archive),
        }
        let left = if moved { vec![] } else { vec![1] };
        let mut told = Vec::new();
        for _ in 0..6 {
            let report = sync(&shared);
            assert_eq!((report.remote.copied, report.remote.added, report.local.added), (0, 0, 0), "{report:?}");
            told.extend(codes(&report).into_iter().map(str::to_owned));
            assert_eq!((remote_ids(&shared, "INBOX"), local_ids(&shared, "INBOX")), (left.clone(), left.clone()));
            assert_eq!((remote_ids(&shared, "Archive"), local_ids(&shared, "Archive")), (vec![1], vec![1, 1]));
        }
        assert_eq!(told, ["message-merged"], "moved: {moved}");
        assert_eq!(waiting(&sync(&shared)), ["message-merged"]);
    }
}

#[test]
fn a_moved_message_stays_on_the_server_as_long_as_its_new_place_is_refused() {
    for delete in [Delete::Trash, Delete::Expunge] {
        let make = || {
            let shared = in_step(delete, 2);
            (shared.world().mishaps.appends, shared.world().mishaps.transfers) = (true, true);
            let unique = file(&shared, 1);
            shared.world().local_move(&MailboxName::inbox(), &unique, &folder("Archive"));
            shared
        };
        let shared = make();
        for _ in 0..3 {
            sync(&shared);
            assert_eq!(remote_ids(&shared, "INBOX"), [1, 2], "{delete:?}");
        }
        shared.world().mishaps.appends = false;
        shared.world().now.0 += 2 * 86_400;
        sync(&shared);
        let places = ["INBOX", "Archive", "Trash"].map(|name| remote_ids(&shared, name));
        assert_eq!(places, [vec![2], vec![1], vec![]], "{delete:?}");
        struck_everywhere(make, &[("INBOX", &[2]), ("Archive", &[1]), ("Trash", &[])]);
    }
}

#[test]
fn moves_on_the_server_do_not_count_when_something_is_deleted_later() {
    let shared = in_step(Delete::Trash, 12);
    shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 5, at_most: 100 };
    let uids = shared.world().uids();
    for (name, uid) in &uids[..6] {
        shared.world().remote_move(name, *uid, &folder("Archive"));
    }
    assert!(sync(&shared).held.is_empty());
    let (name, uid) = &uids[6];
    shared.world().remote_delete(name, *uid);
    let report = sync(&shared);
    assert_eq!((report.held.len(), report.local.removed), (0, 1));
}

#[test]
fn tombstones_do_not_make_a_folder_look_fuller_than_it_is() {
    let shared = in_step(Delete::Flag, 60);
    shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 5, at_most: 100 };
    (1..=48).for_each(|id| delete_locally(&shared, id));
    assert_eq!(sync(&shared).held.len(), 1);
    answer(&shared, HoldAnswer::Accept);
    (49..=60).for_each(|id| delete_locally(&shared, id));
    let report = sync(&shared);
    assert_eq!(report.held.iter().map(|held| held.count).collect::<Vec<_>>(), [12]);
}

#[test]
fn an_older_maildir_removes_nothing_that_was_on_its_way_up() {
    for step in 0.. {
        let shared = in_step(Delete::Expunge, 2);
        let backup = shared.world().maildir.clone();
        shared.world().local_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, None);
        let strike = Schedule::Crash(CrashAt { step, after: true, power: false });
        shared.world().now.0 += 60;
        if run(&shared, strike, &Options::default()).is_some() {
            break;
        }
        let sent = remote_ids(&shared, "INBOX");
        if backup.marker == shared.world().maildir.marker {
            continue;
        }
        shared.world().maildir = backup;
        sync(&shared);
        assert_eq!(remote_ids(&shared, "INBOX"), sent, "step {step}");
        assert_eq!(local_ids(&shared, "INBOX"), sent, "step {step}");
    }
}

#[test]
fn a_dry_run_says_what_undoing_brings_back() {
    let shared = in_step(Delete::Trash, 3);
    shared.world().maildir.folders.remove(&MailboxName::inbox());
    assert_eq!(sync(&shared).held.len(), 1);
    let book = shared.world().book.clone();
    let options = Options { dry_run: true, holds: HoldAnswer::Undo, ..Options::default() };
    let said = calm_run(&shared, &options);
    shared.world().book = book;
    let did = answer(&shared, HoldAnswer::Undo);
    assert_eq!((said.local, said.problems.len()), (did.local, 0));
    assert_eq!(did.local.added, 3);
}

#[test]
fn an_inbox_that_should_have_another_local_name_is_no_vanished_one_and_nothing_deleted_comes_back() {
    let shared = in_step(Delete::Never, 3);
    delete_locally(&shared, 1);
    sync(&shared);
    shared.world().policy.scope.local_names = vec![(Pattern::parse("INBOX").unwrap(), folder("Inbox renamed"))];
    let report = sync(&shared);
    let codes: Vec<&str> = report.problems.iter().map(|problem| problem.code).collect();
    assert!(report.held.is_empty() && codes == ["folder-name"], "{report:?}");
    assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "INBOX")), (vec![2, 3], vec![1, 2, 3]));
    shared.world().policy.scope.local_names.clear();
    super::history::idle_run(&shared, false);
    assert!(shared.world().complaints.is_empty());
}

#[test]
fn a_vanished_folder_comes_back_without_what_was_deleted_in_it() {
    let shared = in_step(Delete::Never, 3);
    delete_locally(&shared, 1);
    sync(&shared);
    shared.world().maildir.folders.remove(&MailboxName::inbox());
    assert_eq!(sync(&shared).held.len(), 1);
    answer(&shared, HoldAnswer::Undo);
    assert_eq!(local_ids(&shared, "INBOX"), [2, 3]);
}

#[test]
fn a_keyword_file_that_cannot_be_restored_ends_no_run() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        let unique = file(&shared, 1);
        shared.world().local_flag(&MailboxName::inbox(), &unique, &FlagEdit::new("work", true));
        sync(&shared);
        shared.world().mishaps.letters = true;
        shared.world().local_put(&folder("Archive"), 2, Kind::Ordinary, DATE, None);
        shared.world().remote_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, &FlagSet::new());
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
    assert!(codes(&report).iter().all(|code| *code == "local-item") && !report.problems.is_empty());
    assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "Archive")), (vec![1, 3], vec![2]));
    struck_everywhere(make, &[("INBOX", &[1, 3]), ("Archive", &[2])]);
}

#[test]
fn what_an_interrupted_run_left_and_nobody_can_tell_is_told() {
    let told = (0..60).filter(|step| {
        let shared = in_step(Delete::Trash, 1);
        shared.world().remote_put(&MailboxName::inbox(), 2, Kind::Ordinary, DATE, &FlagSet::new());
        let crash = Schedule::Crash(CrashAt { step: *step, after: true, power: false });
        drop(run(&shared, crash, &Options::default()));
        if !local_ids(&shared, "INBOX").contains(&2) {
            return false;
        }
        delete_locally(&shared, 2);
        let restless = Schedule::Random(Rates { blur: 1000, ..Rates::default() });
        let report = run(&shared, restless, &Options::default()).unwrap().report;
        assert!(codes(&report).contains(&"folder-unfinished"), "step {step}: {report:?}");
        assert_eq!(report.remote.removed, 0, "step {step}");
        report.problems.iter().any(|problem| problem.message.contains("interrupted sync"))
    });
    assert!(told.count() > 0, "no crash left an intent in doubt");
}

#[test]
fn an_emptied_trash_makes_no_later_removal_look_like_a_part_of_it() {
    let shared = in_step(Delete::Trash, 3);
    shared.world().policy.max_delete = MaxDelete { percent: 25, at_least: 5, at_most: 100 };
    for id in 11..=20 {
        shared.world().remote_put(&folder("Trash"), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    let uids = shared.world().uids();
    uids.iter().filter(|(name, _)| *name == folder("Trash")).for_each(|(name, uid)| {
        shared.world().remote_delete(name, *uid);
    });
    assert_eq!(sync(&shared).local.removed, 10);
    sync(&shared);
    let (name, uid) = shared.world().uids()[0].clone();
    shared.world().remote_delete(&name, uid);
    let report = sync(&shared);
    assert_eq!((report.held.len(), report.local.removed), (0, 1));
}

#[test]
fn an_inbox_that_the_server_denies_is_trouble_and_no_deletion() {
    let shared = in_step(Delete::Trash, 3);
    let away = shared.world().server.mailboxes.remove(&MailboxName::inbox()).unwrap();
    let report = sync(&shared);
    assert_eq!((codes(&report), report.local.removed), (vec!["mailbox-refused"], 0));
    assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3]);
    shared.world().server.restore(&MailboxName::inbox(), away);
    assert!(codes(&sync(&shared)).is_empty());
}

#[test]
fn small_folders_missing_on_a_server_that_numbers_others_anew_are_held() {
    let shared = in_step(Delete::Trash, 3);
    shared.world().remote_put(&folder("Archive"), 4, Kind::Ordinary, DATE, &FlagSet::new());
    sync(&shared);
    shared.world().server.delete(&folder("Archive"));
    shared.world().server.renumber(&MailboxName::inbox());
    for _ in 0..2 {
        let report = sync(&shared);
        let held: Vec<_> = report.held.iter().map(|held| (held.folder.clone(), held.reason, held.count)).collect();
        assert_eq!(held, [(Some(folder("Archive")), Reason::FolderRemoved, 1)]);
        assert_eq!(local_ids(&shared, "Archive"), [4]);
    }
    answer(&shared, HoldAnswer::Undo);
    assert_eq!(remote_ids(&shared, "Archive"), [4]);
    assert!(sync(&shared).held.is_empty());
}

#[test]
fn what_went_from_a_folder_left_out_before_it_was_settled_is_no_removal() {
    let shared = in_step(Delete::Trash, 3);
    shared.world().server.renumber(&MailboxName::inbox());
    let (stuck, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
    shared.world().mishaps.stuck = Some(stuck);
    shared.world().remote_flag(&name, uid, &FlagEdit::new("\\Seen", true));
    assert_eq!(codes(&sync(&shared)), ["local-item"]);
    shared.world().policy.scope.exclude = vec![Pattern::parse("INBOX").unwrap()];
    sync(&shared);
    delete_locally(&shared, 2);
    shared.world().policy.scope.exclude.clear();
    shared.world().mishaps.stuck = None;
    sync(&shared);
    assert_eq!((remote_ids(&shared, "INBOX"), local_ids(&shared, "INBOX")), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[test]
fn a_folder_that_cannot_be_looked_at_makes_nobody_say_yes_twice() {
    let shared = in_step(Delete::Trash, 1);
    shared.world().policy.max_delete = MaxDelete::default();
    shared.world().book = Book::default();
    shared.world().mishaps.unlooked = Some(folder("Archive"));
    shared.world().local_put(&folder("Mine"), 2, Kind::Ordinary, DATE, None);
    assert_eq!(sync(&shared).held.len(), 1);
    answer(&shared, HoldAnswer::Accept);
    shared.world().local_put(&folder("Mine too"), 3, Kind::Ordinary, DATE, None);
    assert!(sync(&shared).held.is_empty());
    assert_eq!(remote_ids(&shared, "Mine too"), [3]);
}

#[test]
fn a_folder_gone_here_and_missing_from_the_list_there_is_not_forgotten() {
    let shared = in_step(Delete::Never, 1);
    for id in [4, 5] {
        shared.world().remote_put(&folder("Archive"), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    let gone = shared.world().files().into_iter().find(|(name, _)| *name == folder("Archive")).unwrap();
    shared.world().local_delete(&gone.0, &gone.1);
    sync(&shared);
    let kept = local_ids(&shared, "Archive");
    shared.world().maildir.folders.remove(&folder("Archive"));
    shared.world().mishaps.unlisted = Some(folder("Archive"));
    assert_eq!(codes(&sync(&shared)), ["folder-unlisted"]);
    shared.world().mishaps.unlisted = None;
    assert_eq!(sync(&shared).held.len(), 1, "the maildir has vanished");
    answer(&shared, HoldAnswer::Undo);
    assert_eq!(local_ids(&shared, "Archive"), kept, "what was deleted does not come back");
}

/// Seed 1795953427088145: the one that had gone from both sides counted as one that could not be looked at, and what had
/// gone from both sides of the other was kept for a run that had nothing else to do.
#[test]
fn a_folder_that_lost_its_mail_on_both_sides_goes_beside_one_that_is_gone_from_both() {
    let shared = in_step(Delete::Expunge, 1);
    for (id, name) in [(2, "Lists"), (3, "Old")] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    {
        let mut world = shared.world();
        world.local_remove_folder(&folder("Old"));
        world.remote_remove_folder(&folder("Old"));
        let (name, unique) = scenarios::file(&world, 2);
        world.local_delete(&name, &unique);
        world.remote_remove_folder(&folder("Lists"));
    }
    let report = sync(&shared);
    assert_eq!((report.local.folders_removed, codes(&report)), (1, vec![]), "{report:?}");
    super::history::idle_run(&shared, false);
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
}

#[test]
fn a_folder_renamed_here_while_the_list_there_leaves_it_out_is_renamed_there() {
    let make = || {
        let shared = in_step(Delete::Trash, 1);
        shared.world().remote_put(&folder("Archive"), 4, Kind::Ordinary, DATE, &FlagSet::new());
        sync(&shared);
        shared.world().local_rename_folder(&folder("Archive"), &folder("Old"));
        shared.world().mishaps.unlisted = Some(folder("Archive"));
        shared
    };
    let shared = make();
    let report = sync(&shared);
    assert_eq!((report.remote.folders_renamed, report.remote.added, codes(&report).len()), (1, 0, 0), "{report:?}");
    shared.world().mishaps.unlisted = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "Old"), ids(&shared, "Archive")), (vec![4], vec![]));
    }
    struck_everywhere(make, &[("Old", &[4]), ("Archive", &[])]);
}

/// The second run saw it gone from both sides and let go of it: it has to be gone from the disk, too.
#[test]
fn what_a_run_cut_short_removed_does_not_come_back_when_the_power_goes_after_the_next() {
    let died = |step: u64, seed: u64| {
        let shared = in_step(Delete::Trash, 2);
        let (name, uid) = shared.world().uids()[0].clone();
        shared.world().remote_delete(&name, uid);
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        sync(&shared);
        shared.world().rng = Rng::new(seed);
        assert!(dies(&shared, CrashAt { step: 0, after: false, power: true }));
        sync(&shared);
        assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "INBOX")), (vec![2], vec![2]), "step {step}");
        died
    };
    // By chance a power cut undoes what was not synced.
    let steps = (0..10_000).take_while(|step| (0..8).fold(false, |any, seed| died(*step, seed) | any));
    assert!(steps.count() > 0);
}

/// Of what was fetched from another server no intent is kept: the file counts because it is seen, and has to be on the
/// disk before it is adopted or sent. It went with the power, and looked deleted by its user.
#[test]
fn what_a_run_cut_short_fetched_from_another_server_is_not_gone_when_the_power_goes_after_the_next() {
    let died = |moved_along: bool, step: u64, seed: u64| {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().remote_put(&folder("Archive"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        let wanted = if moved_along { vec![2] } else { local_ids(&shared, "Archive") };
        shared.world().policy.circumstances.server.push('+');
        if !moved_along {
            shared.world().server.mailboxes.get_mut(&folder("Archive")).unwrap().messages.clear();
        }
        shared.world().server.mailboxes.values_mut().for_each(Mailbox::begin_anew);
        sync(&shared);
        shared.world().rng = Rng::new(seed);
        assert!(dies(&shared, CrashAt { step: 0, after: false, power: true }));
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            assert_eq!(ids(&shared, "Archive"), wanted, "moved along: {moved_along}, step {step}");
        }
        died
    };
    for moved_along in [true, false] {
        // By chance a power cut undoes what was not synced.
        let steps = (0..10_000).take_while(|step| (0..8).fold(false, |any, seed| died(moved_along, *step, seed) | any));
        assert!(steps.count() > 0);
    }
}

/// Its folder was made again there, which let go of the intent: the file was sent as a new one.
#[test]
fn what_was_fetched_and_deleted_there_with_its_folder_is_not_sent_while_nobody_can_settle_it() {
    let died = |step: u64| {
        let shared = in_step(Delete::Trash, 1);
        let work = FlagEdit::new("work", true).flags;
        shared.world().remote_put(&folder("New"), 2, Kind::Ordinary, DATE, &work);
        let died = dies(&shared, CrashAt { step, after: true, power: false });
        shared.world().remote_remove_folder(&folder("New"));
        shared.world().mishaps.letters = true;
        sync(&shared);
        shared.world().mishaps.letters = false;
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            assert!(ids(&shared, "New").is_empty(), "step {step}");
        }
        died
    };
    assert!((0..10_000).take_while(|step| died(*step)).count() > 0);
}

/// Made visible by a run cut short, its folder renamed since: it was recorded, but only the folder of the old name was
/// made durable. It went with the power, and looked deleted by its user.
#[test]
fn what_a_run_cut_short_fetched_into_a_folder_renamed_since_is_not_gone_when_the_power_goes() {
    let visible = |step: u64| {
        let shared = in_step(Delete::Expunge, 1);
        shared.world().remote_put(&folder("New"), 2, Kind::Ordinary, DATE, &FlagSet::new());
        assert!(dies(&shared, CrashAt { step, after: true, power: false }), "it was never visible");
        (local_ids(&shared, "New") == [2]).then_some(shared)
    };
    let first = (0..10_000).find(|step| visible(*step).is_some()).unwrap();
    let died = |step: u64, seed: u64| {
        let shared = visible(first).unwrap();
        shared.world().local_rename_folder(&folder("New"), &folder("Old"));
        shared.world().rng = Rng::new(seed);
        let died = dies(&shared, CrashAt { step, after: true, power: true });
        sync(&shared);
        for ids in [local_ids, remote_ids] {
            assert_eq!(["New", "Old"].map(|name| ids(&shared, name)).concat(), [2], "step {step}");
        }
        died
    };
    // By chance a power cut undoes what was not synced.
    let steps = (0..10_000).take_while(|step| (0..8).fold(false, |any, seed| died(*step, seed) | any));
    assert!(steps.count() > 0);
}

/// As on a file system that encrypts names, and has room for 143 bytes only.
/// As macOS's file system: two folders of the server can't both have a maildir.
#[test]
fn of_two_folders_whose_names_differ_by_case_only_one_waits_where_names_have_no_case() {
    for (after, power) in [(false, false), (true, false), (true, true)] {
        for step in 0.. {
            let shared = in_step(Delete::Trash, 1);
            shared.world().mishaps.folds_case = true;
            shared.world().remote_put(&folder("Case"), 2, Kind::Ordinary, DATE, &FlagSet::new());
            shared.world().remote_put(&folder("case"), 3, Kind::Ordinary, DATE, &FlagSet::new());
            let died = dies(&shared, CrashAt { step, after, power });
            for _ in 0..2 {
                assert_eq!(codes(&sync(&shared)), ["local-item"], "{step}");
                let places = ["Case", "case"].map(|name| (remote_ids(&shared, name), local_ids(&shared, name)));
                let expected = [(vec![2], vec![2]), (vec![3], vec![])];
                assert!(places == expected || places == [(vec![2], vec![]), (vec![3], vec![3])], "{step}: {places:?}");
            }
            // One that only gets other letters keeps its maildir.
            shared.world().remote_rename_folder(&folder("case"), &folder("Other"));
            sync(&shared);
            shared.world().remote_rename_folder(&folder("Other"), &folder("OTHER"));
            assert_eq!(codes(&sync(&shared)), Vec::<&str>::new(), "{step}");
            assert_eq!((local_ids(&shared, "Case"), local_ids(&shared, "OTHER")), (vec![2], vec![3]), "{step}");
            if !died {
                break;
            }
        }
    }
}

/// Yahoo shows the newest 10,000 messages of a mailbox.
#[test]
fn what_is_out_of_sight_is_neither_removed_nor_sent_nor_fetched_again() {
    for (mod_seq, full) in [(false, false), (true, false), (false, true), (true, true)] {
        let make = || {
            let shared = in_step(Delete::Trash, 6);
            {
                let mut world = shared.world();
                world.server.abilities.mod_seq = mod_seq;
                world.server.window = Some(4);
                (7..9)
                    .for_each(|id| world.remote_put(&MailboxName::inbox(), id, Kind::Ordinary, DATE, &FlagSet::new()));
            }
            shared
        };
        let shared = make();
        let options = Options { full, ..Options::default() };
        calm_run(&shared, &options);
        assert_eq!(local_ids(&shared, "INBOX"), (1..9).collect::<Vec<_>>());
        // One that is in sight goes, and one that was not comes into it.
        let (name, uid) = shared.world().uids()[6].clone();
        shared.world().remote_delete(&name, uid);
        remote_flag(&mut shared.world(), 6, "\\Flagged", true);
        calm_run(&shared, &options);
        assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6, 8]);
        assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6, 8]);
        // Here one is written.
        shared.world().local_put(&MailboxName::inbox(), 9, Kind::Ordinary, DATE, None);
        calm_run(&shared, &options);
        let report = calm_run(&shared, &options);
        assert_eq!((report.local, report.remote), Default::default());
        assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3, 4, 5, 6, 8, 9]);
        struck_everywhere(make, &[("INBOX", &[1, 2, 3, 4, 5, 6, 7, 8])]);
    }
}

#[test]
fn names_too_long_for_the_file_system_keep_nothing_else_away_and_lose_nothing() {
    let (long, inbox) = (folder("A name that is long/Sub"), MailboxName::inbox());
    let all_flags = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"];
    let make = || {
        let shared = in_step(Delete::Trash, 3);
        {
            let mut world = shared.world();
            world.mishaps.longest = Some(9);
            world.remote_put(&long, 4, Kind::Ordinary, DATE, &FlagSet::new());
            world.remote_put(&folder("Archive"), 5, Kind::Ordinary, DATE, &FlagSet::new());
            let uids = world.uids();
            let (_, first) = uids.iter().find(|(name, _)| *name == inbox).unwrap();
            all_flags.iter().for_each(|word| world.remote_flag(&inbox, *first, &FlagEdit::new(word, true)));
            remote_flag(&mut world, 2, "\\Seen", true);
        }
        shared
    };
    let shared = make();
    for _ in 0..2 {
        let report = sync(&shared);
        assert_eq!(codes(&report), ["local-item", "local-item"], "{report:?}");
        assert_eq!((remote_ids(&shared, long.as_str()), local_ids(&shared, "Archive")), (vec![4], vec![5]));
        assert!(local_view(&shared.world())[&inbox].iter().any(|seen| seen.id == 2 && seen.flags.has(Flag::Seen)));
    }
    // One that is in step gets a name that is too long.
    shared.world().remote_rename_folder(&folder("Archive"), &folder("Archive of old mail"));
    for _ in 0..2 {
        let report = sync(&shared);
        assert!(codes(&report).contains(&"local-item"), "{report:?}");
        assert_eq!(remote_ids(&shared, "Archive of old mail"), [5]);
        assert_eq!((report.remote.removed, report.local.removed), (0, 0));
    }
    shared.world().mishaps.longest = None;
    sync(&shared);
    assert!(sync(&shared).problems.is_empty());
    assert_eq!((local_ids(&shared, long.as_str()), local_ids(&shared, "Archive of old mail")), (vec![4], vec![5]));
    assert!(local_ids(&shared, "Archive").is_empty());
    assert!(local_view(&shared.world())[&inbox].iter().any(|seen| seen.id == 1 && seen.flags.has(Flag::Draft)));
    struck_everywhere(make, &[("INBOX", &[1, 2, 3]), (long.as_str(), &[4]), ("Archive", &[5])]);
}
