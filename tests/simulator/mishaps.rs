//! What goes wrong every time stays where it is, and is told every time.

use mailtide::model::{Flag, FlagSet, MailboxName, Role, Timestamp, UniqueName};
use mailtide::reconcile::policy::{Delete, HoldAnswer, MaxDelete, Options};
use mailtide::reconcile::report::{Reason, Report};
use mailtide::reconcile::scope::Pattern;
use mailtide::reconcile::snapshot::Abilities;

use super::book::Book;
use super::check::{View, local_view, remote_view};
use super::history::{calm_run, policy, run};
use super::mail::{Kind, id_of};
use super::rng::Rng;
use super::schedule::{CrashAt, Rates, Schedule};
use super::server::Server;
use super::users::{FlagEdit, folder};
use super::world::{Shared, World};

const DATE: Timestamp = Timestamp(1_600_000_000);

/// An account with so many messages in INBOX, numbered from 1, and three empty folders, in step.
fn in_step(delete: Delete, messages: u32) -> Shared {
    let abilities = Abilities { mod_seq: true, moves: true, uid_plus: true, deleted_is_final: false };
    let mut world = World::new(Server::new(abilities), policy(delete), Rng::new(1));
    world.server.create(&folder("Trash"), Some(Role::Trash));
    world.server.create(&folder("Archive"), None);
    for id in 1..=messages {
        world.remote_put(&MailboxName::inbox(), id, Kind::Ordinary, Timestamp(DATE.0 + i64::from(id)), &FlagSet::new());
    }
    let shared = Shared::new(world);
    sync(&shared);
    shared
}

fn sync(shared: &Shared) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options::default())
}

fn answer(shared: &Shared, holds: HoldAnswer) -> Report {
    shared.world().now.0 += 60;
    calm_run(shared, &Options { holds, ..Options::default() })
}

fn ids(view: &View, name: &str) -> Vec<u32> {
    view.get(&folder(name)).into_iter().flatten().map(|seen| seen.id).collect()
}

fn remote_ids(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&remote_view(&shared.world()), name)
}

fn local_ids(shared: &Shared, name: &str) -> Vec<u32> {
    ids(&local_view(&shared.world()), name)
}

/// Returns the name of INBOX's file of a message.
fn file(shared: &Shared, id: u32) -> UniqueName {
    let world = shared.world();
    let mut files = world.maildir.folders[&MailboxName::inbox()].messages();
    let found = files.find(|file| id_of(&file.bytes) == id).and_then(|file| file.place.clone());
    found.unwrap().unique
}

fn delete_locally(shared: &Shared, id: u32) {
    let unique = file(shared, id);
    shared.world().local_delete(&MailboxName::inbox(), &unique);
}

fn waiting(report: &Report) -> Vec<&str> {
    report.waiting.iter().map(|waiting| waiting.code.as_str()).collect()
}

fn codes(report: &Report) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn flags_that_the_server_refuses_keep_no_mail_away() {
    let shared = in_step(Delete::Trash, 2);
    shared.world().mishaps.stores = true;
    let unique = file(&shared, 1);
    shared.world().local_flag(&MailboxName::inbox(), &unique, &FlagEdit::new("work", true));
    shared.world().remote_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, &FlagSet::new());
    shared.world().local_put(&MailboxName::inbox(), 4, Kind::Ordinary, DATE, None);
    let report = sync(&shared);
    assert_eq!(codes(&report), ["flag-refused"]);
    assert_eq!(local_ids(&shared, "INBOX"), [1, 2, 3, 4]);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3, 4]);
}

#[test]
fn a_file_that_cannot_be_renamed_keeps_no_other_from_its_flags() {
    let shared = in_step(Delete::Trash, 3);
    let stuck = file(&shared, 1);
    shared.world().mishaps.stuck = Some(stuck);
    let uids = shared.world().uids();
    for (name, uid) in uids {
        shared.world().remote_flag(&name, uid, &FlagEdit::new("\\Seen", true));
    }
    let report = sync(&shared);
    assert_eq!((codes(&report), report.local.flags), (vec!["local-item"], 2));
}

#[test]
fn what_was_refused_is_told_when_it_is_tried_and_listed_as_waiting_in_between() {
    let shared = in_step(Delete::Trash, 1);
    shared.world().mishaps.appends = true;
    shared.world().local_put(&MailboxName::inbox(), 2, Kind::Ordinary, DATE, None);
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
}

#[test]
fn a_moved_message_stays_on_the_server_as_long_as_its_new_place_is_refused() {
    for delete in [Delete::Trash, Delete::Expunge] {
        let shared = in_step(delete, 2);
        (shared.world().mishaps.appends, shared.world().mishaps.transfers) = (true, true);
        let unique = file(&shared, 1);
        shared.world().local_move(&MailboxName::inbox(), &unique, &folder("Archive"));
        for _ in 0..3 {
            sync(&shared);
            assert_eq!(remote_ids(&shared, "INBOX"), [1, 2], "{delete:?}");
        }
        shared.world().mishaps.appends = false;
        shared.world().now.0 += 2 * 86_400;
        sync(&shared);
        let places = ["INBOX", "Archive", "Trash"].map(|name| remote_ids(&shared, name));
        assert_eq!(places, [vec![2], vec![1], vec![]], "{delete:?}");
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
fn a_folder_under_another_local_name_is_no_vanished_one_and_nothing_deleted_comes_back() {
    let shared = in_step(Delete::Never, 3);
    delete_locally(&shared, 1);
    sync(&shared);
    shared.world().policy.scope.local_names = vec![(Pattern::parse("INBOX").unwrap(), folder("Inbox renamed"))];
    let report = sync(&shared);
    assert!(report.held.is_empty() && report.problems.is_empty(), "{report:?}");
    assert_eq!(local_ids(&shared, "Inbox renamed"), [2, 3]);
    assert_eq!(remote_ids(&shared, "INBOX"), [1, 2, 3]);
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
    let shared = in_step(Delete::Trash, 1);
    let unique = file(&shared, 1);
    shared.world().local_flag(&MailboxName::inbox(), &unique, &FlagEdit::new("work", true));
    sync(&shared);
    shared.world().mishaps.letters = true;
    shared.world().local_put(&folder("Archive"), 2, Kind::Ordinary, DATE, None);
    shared.world().remote_put(&MailboxName::inbox(), 3, Kind::Ordinary, DATE, &FlagSet::new());
    let report = sync(&shared);
    assert!(shared.world().complaints.is_empty(), "{:?}", shared.world().complaints);
    assert!(codes(&report).iter().all(|code| *code == "local-item") && !report.problems.is_empty());
    assert_eq!((local_ids(&shared, "INBOX"), remote_ids(&shared, "Archive")), (vec![1, 3], vec![2]));
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

#[test]
fn a_folder_renamed_here_while_the_list_there_leaves_it_out_is_renamed_there() {
    let shared = in_step(Delete::Trash, 1);
    shared.world().remote_put(&folder("Archive"), 4, Kind::Ordinary, DATE, &FlagSet::new());
    sync(&shared);
    assert!(shared.world().maildir.rename_folder(&folder("Archive"), &folder("Old")));
    shared.world().mishaps.unlisted = Some(folder("Archive"));
    let report = sync(&shared);
    assert_eq!((report.remote.folders_renamed, report.remote.added, codes(&report).len()), (1, 0, 0), "{report:?}");
    shared.world().mishaps.unlisted = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "Old"), ids(&shared, "Archive")), (vec![4], vec![]));
    }
}

/// Returns false if the run has no such call.
fn dies(shared: &Shared, at: CrashAt) -> bool {
    shared.world().now.0 += 60;
    run(shared, Schedule::Crash(at), &Options::default()).is_none()
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

/// Its row was let go of and the message fetched; then the file, seen at last, was a new one and sent.
#[test]
fn moved_to_different_folders_on_both_sides_it_is_not_doubled_while_its_file_cannot_be_seen() {
    let shared = in_step(Delete::Trash, 2);
    shared.world().server.create(&folder("Other"), None);
    sync(&shared);
    let (unique, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
    shared.world().local_move(&name, &unique, &folder("Other"));
    shared.world().remote_move(&name, uid, &folder("Archive"));
    shared.world().mishaps.restless = Some(folder("Other"));
    sync(&shared);
    assert!(local_ids(&shared, "Archive").is_empty(), "fetched, though its file may be anywhere");
    shared.world().mishaps.restless = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!(["INBOX", "Archive", "Other"].map(|name| ids(&shared, name)), [vec![2], vec![1], vec![]]);
    }
}

/// Makes a mailbox that has held a message.
fn used(shared: &Shared, name: &str, id: u32) {
    let mut world = shared.world();
    world.remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    let (name, uid) = super::scenarios::uid(&world, id);
    world.remote_delete(&name, uid);
}

/// Others had moved a message of it to the other one: its rows were taken for that one's, and mail there for known.
#[test]
fn a_folder_that_the_list_leaves_out_is_not_taken_for_one_that_looks_like_it() {
    let shared = in_step(Delete::Trash, 1);
    {
        let mut world = shared.world();
        (world.server.same_second, world.server.status) = (true, false);
    }
    used(&shared, "One", 2);
    used(&shared, "Two", 3);
    for id in [4, 5] {
        shared.world().remote_put(&folder("One"), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    used(&shared, "New", 6);
    let (name, uid) = super::scenarios::uid(&shared.world(), 4);
    shared.world().remote_move(&name, uid, &folder("Two"));
    shared.world().mishaps.unlisted = Some(folder("One"));
    let report = sync(&shared);
    assert_eq!((codes(&report), report.local.folders_renamed), (vec!["folder-unlisted"], 0), "{report:?}");
    shared.world().mishaps.unlisted = None;
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![5], vec![4]));
    }
}

/// It was renamed there, with what had come to it here.
#[test]
fn an_empty_folder_that_was_deleted_is_not_taken_for_another_empty_one() {
    let shared = in_step(Delete::Trash, 1);
    shared.world().server.same_second = true;
    shared.world().server.create(&folder("One"), None);
    sync(&shared);
    shared.world().server.create(&folder("Two"), None);
    shared.world().remote_remove_folder(&folder("One"));
    shared.world().local_put(&folder("One"), 2, Kind::Ordinary, DATE, None);
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![2], vec![]));
    }
}

/// The next look showed only what had changed since, and the file did not get the flag before a look at everything.
#[test]
fn flags_set_while_a_renamed_file_could_not_be_told_from_a_removed_one_come_with_the_next_full_look() {
    let shared = in_step(Delete::Expunge, 2);
    let (unique, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
    shared.world().mishaps.read_only.insert(name.clone());
    shared.world().remote_flag(&name, uid, &FlagEdit::new("\\Flagged", true));
    shared.world().local_move(&name, &unique, &name);
    assert_eq!(codes(&sync(&shared)), ["read-only", "read-only"]);
    shared.world().mishaps.read_only.clear();
    shared.world().now.0 += 60;
    calm_run(&shared, &Options { full: true, ..Options::default() });
    let world = shared.world();
    let flagged = |view: View| view[&name].iter().filter(|seen| seen.flags.has(Flag::Flagged)).count();
    assert_eq!([local_view(&world), remote_view(&world)].map(flagged), [1, 1]);
}

/// Whatever could be opened under the old name was taken for it: the message of the other was paired with its file.
#[test]
fn a_folder_renamed_there_is_not_the_one_that_gets_its_name_while_it_is_searched_for() {
    let shared = in_step(Delete::Expunge, 1);
    shared.world().server.same_second = true;
    shared.world().remote_put(&folder("One"), 2, Kind::Ordinary, DATE, &FlagSet::new());
    sync(&shared);
    {
        let mut world = shared.world();
        world.remote_put(&folder("Two"), 3, Kind::Ordinary, DATE, &FlagSet::new());
        world.remote_rename_folder(&folder("One"), &folder("New"));
        let takes_its_name: fn(&mut World) = |world| world.remote_rename_folder(&folder("Two"), &folder("One"));
        world.meanwhile = Some(("observe New", takes_its_name));
    }
    sync(&shared);
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    for ids in [local_ids, remote_ids] {
        assert_eq!(["New", "One", "Two"].map(|name| ids(&shared, name)), [vec![2], vec![3], vec![]]);
    }
}

/// Its rows were let go of as of a folder gone from both sides: all of it was fetched and sent.
#[test]
fn a_folder_renamed_here_while_another_is_followed_is_not_doubled_where_it_was_renamed_and_numbered_anew_there() {
    let shared = in_step(Delete::Expunge, 1);
    for (name, id) in [("Archive", 2), ("One", 3), ("One", 4)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    {
        let mut world = shared.world();
        world.remote_rename_folder(&folder("Archive"), &folder("Old"));
        world.remote_rename_folder(&folder("One"), &folder("Two"));
        world.server.renumber(&folder("Two"));
        let renames: fn(&mut World) = |world| world.local_rename_folder(&folder("One"), &folder("Mine"));
        world.meanwhile = Some(("rename maildir Archive", renames));
    }
    sync(&shared);
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    for ids in [local_ids, remote_ids] {
        let found = ["Old", "One", "Two", "Mine"].map(|name| ids(&shared, name));
        assert_eq!(found, [vec![2], vec![], vec![3, 4], vec![]]);
    }
}

/// The server forgot to count a change, and a mail reader took note of the file before it got the flag. The next pass
/// looked only at what the server counted, and took all for done.
#[test]
fn what_only_a_full_look_shows_is_not_forgotten_when_a_file_gets_another_name_meanwhile() {
    let shared = in_step(Delete::Trash, 2);
    let (name, uid) = super::scenarios::uid(&shared.world(), 1);
    {
        let mut world = shared.world();
        let message = world.server.open(&name).unwrap().messages.get_mut(&uid).unwrap();
        message.flags.set(Flag::Flagged, true);
        // Out of `new`, without any flag.
        world.meanwhile = Some(("set_flags", |world| super::scenarios::local_flag(world, 1, "\\Seen", false)));
        world.now.0 += 8 * 86_400;
    }
    calm_run(&shared, &Options::default());
    let world = shared.world();
    assert!(world.meanwhile.is_none());
    let view = local_view(&world);
    let message = view[&name].iter().find(|seen| seen.id == 1).unwrap();
    assert!(message.flags.has(Flag::Flagged), "{message:?}");
}

/// Both had held one message: it was renamed here to the other's name, with what had come to it.
#[test]
fn an_emptied_folder_that_was_deleted_is_not_taken_for_another_emptied_one() {
    let shared = in_step(Delete::Trash, 1);
    shared.world().server.same_second = true;
    used(&shared, "One", 2);
    sync(&shared);
    used(&shared, "Two", 3);
    shared.world().remote_remove_folder(&folder("One"));
    shared.world().local_put(&folder("One"), 4, Kind::Ordinary, DATE, None);
    sync(&shared);
    for ids in [local_ids, remote_ids] {
        assert_eq!((ids(&shared, "One"), ids(&shared, "Two")), (vec![4], vec![]));
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
