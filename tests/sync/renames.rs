//! Folders renamed on either side, or on both: they are renamed on the other, and nothing travels.

use std::collections::BTreeSet;
use std::fs;

use super::crash::killed;
use crate::support::compare::{self, Contents};
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::setup::{Run, Setup};

const KINDS: [Kind; 4] = [Kind::Full, Kind::AnyName, Kind::Bare, Kind::NoUidplus];

/// A folder's name by its components.
type Name<'a> = &'a [&'a str];

/// Which side the user renames on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Here,
    There,
}

const SIDES: [Side; 2] = [Side::Here, Side::There];

impl Side {
    fn rename(self, setup: &Setup, from: Name<'_>, to: Name<'_>) {
        match self {
            Side::Here => rename_here(setup, from, to),
            Side::There => setup.imap().rename(from, to),
        }
    }

    /// The side that follows, as `--json` calls it.
    fn follower(self) -> &'static str {
        match self {
            Side::Here => "remote",
            Side::There => "local",
        }
    }
}

/// Renames a folder with those below it, as `mv` does: in `maildir++` each has a directory of its own.
pub(super) fn rename_here(setup: &Setup, from: Name<'_>, to: Name<'_>) {
    let root = &setup.root;
    if root.layout == Layout::Fs {
        let new = root.folder(to).0;
        fs::create_dir_all(new.parent().unwrap()).unwrap();
        fs::rename(root.folder(from).0, new).unwrap();
        return;
    }
    for (name, folder) in root.folders() {
        let name: Vec<&str> = name.iter().map(String::as_str).collect();
        if let Some(below) = name.strip_prefix(from) {
            fs::rename(folder.0, root.folder(&[to, below].concat()).0).unwrap();
        }
    }
}

/// Some messages of a folder, told from those of any other, and a keyword.
fn mails(folder: Name<'_>, count: i64) -> Vec<Mail> {
    let body = |number| corpus::plain(&format!("mail {number} of {}", folder.join(" ")));
    let flags = ["\\Seen", "", "\\Flagged work", "\\Answered \\Seen todo"];
    let mail = |number: i64| {
        let flags = flags[usize::try_from(number).unwrap() % flags.len()];
        Mail { body: body(number), flags, date: DATE + number * 1000 }
    };
    (0..count).map(mail).collect()
}

/// An account with these folders and so many messages in each, in step.
fn with_folders(kind: Kind, layout: Layout, folders: &[(Name<'_>, i64)]) -> Setup {
    let mut setup = Setup::new(kind);
    setup.root.layout = layout;
    let mut imap = setup.imap();
    for (folder, count) in folders {
        imap.create(folder);
        for mail in mails(folder, *count) {
            imap.append(folder, &mail.body, mail.flags, Some(mail.date));
        }
    }
    setup.sync().expect(0);
    setup
}

const FAMILY: [(Name<'_>, i64); 3] = [(&["Work"], 200), (&["Work", "a"], 5), (&["Work", "b"], 0)];

const SMALL: [(Name<'_>, i64); 5] =
    [(&["Work"], 6), (&["Work", "a"], 5), (&["Work", "b"], 0), (&["Play"], 4), (&["Empty"], 0)];

/// Returns what is expected after folders, each with those below it, were renamed at once.
fn renamed(before: Contents, renames: &[(Name<'_>, Name<'_>)]) -> Contents {
    let new_name = |name: Vec<String>| -> Vec<String> {
        let parts: Vec<&str> = name.iter().map(String::as_str).collect();
        let new = renames.iter().find_map(|(from, to)| Some([*to, parts.strip_prefix(*from)?].concat()));
        new.map_or(name.clone(), |new| new.iter().map(|&part| part.to_owned()).collect())
    };
    before.into_iter().map(|(name, mail)| (new_name(name), mail)).collect()
}

fn server(setup: &Setup) -> Contents {
    compare::of_server(&mut setup.imap())
}

fn assert_same(expected: &Contents, found: &Contents, context: &str) {
    let found = compare::differences(expected, "expected", found, "found");
    assert!(found.is_empty(), "{context}: {} differences:\n{}", found.len(), found.join("\n"));
}

/// Syncs after folders were renamed on one side, and demands that the other side renamed so many and did nothing else.
fn expect_followed(setup: &Setup, side: Side, count: u64, expected: &Contents, context: &str) -> Run {
    let run = setup.sync().expect(0).expect_only(&[(side.follower(), "folders_renamed", count)]);
    assert!(run.account()["held"].as_array().unwrap().is_empty(), "{context}: {}", run.stdout);
    assert_same(expected, &server(setup), context);
    setup.assert_equal();
    assert!(setup.recoverable().is_empty(), "{context}: in the recoverable trash");
    setup.sync().expect(0).expect_nothing_done();
    run
}

/// Every kind of server, with either layout of the Maildir.
const PAIRS: [(Kind, Layout); 4] = [
    (Kind::Full, Layout::Fs),
    (Kind::AnyName, Layout::PlusPlus),
    (Kind::Bare, Layout::PlusPlus),
    (Kind::NoUidplus, Layout::Fs),
];

/// Renames folders of [`SMALL`] one after the other, and demands that this comes out, whichever side it was done on.
fn follows(pairs: &[(Kind, Layout)], steps: &[(Name<'_>, Name<'_>)], outcome: &[(Name<'_>, Name<'_>)], count: u64) {
    for &(kind, layout) in pairs {
        for side in SIDES {
            let setup = with_folders(kind, layout, &SMALL);
            let expected = renamed(server(&setup), outcome);
            for (from, to) in steps {
                side.rename(&setup, from, to);
            }
            expect_followed(&setup, side, count, &expected, &format!("{kind:?} {layout:?} {side:?}"));
        }
    }
}

fn names(folders: &[Name<'_>]) -> BTreeSet<Vec<String>> {
    folders.iter().map(|name| name.iter().map(|&part| part.to_owned()).collect()).collect()
}

fn a_family(side: Side, layout: Layout) {
    for kind in KINDS {
        let setup = with_folders(kind, layout, &FAMILY);
        setup.imap().subscribe(&["Work"]);
        setup.imap().subscribe(&["Work", "a"]);
        setup.sync().expect(0).expect_nothing_done();
        let before = setup.imap().subscriptions();
        let expected = renamed(server(&setup), &[(&["Work"], &["Projects"])]);
        side.rename(&setup, &["Work"], &["Projects"]);
        let context = format!("{kind:?} {layout:?} {side:?}");
        let run = expect_followed(&setup, side, 3, &expected, &context);
        // What 200 messages with their numbers and flags take to be listed, and the headers of a few.
        assert!(run.bytes() < 50_000, "{context}: {}", run.stdout);
        let after = setup.imap().subscriptions();
        match side {
            Side::Here => {
                let (old, new) = (names(&[&["Work"], &["Work", "a"]]), names(&[&["Projects"], &["Projects", "a"]]));
                assert!(after.is_superset(&new) && after.is_disjoint(&old), "{context}: {after:?}");
                let others = |all: &BTreeSet<Vec<String>>, but: &BTreeSet<_>| all.difference(but).cloned().collect();
                let rest: [BTreeSet<Vec<String>>; 2] = [others(&before, &old), others(&after, &new)];
                assert_eq!(rest[0], rest[1], "{context}");
            }
            // Who renamed the folder there sees to that: Dovecot does not.
            Side::There => assert_eq!(after, before, "{context}"),
        }
    }
}

#[test]
fn a_family_renamed_there() {
    a_family(Side::There, Layout::Fs);
}

#[test]
fn a_family_renamed_there_for_a_maildir_plus_plus() {
    a_family(Side::There, Layout::PlusPlus);
}

#[test]
fn a_family_renamed_here() {
    a_family(Side::Here, Layout::Fs);
}

#[test]
fn a_family_renamed_here_in_a_maildir_plus_plus() {
    a_family(Side::Here, Layout::PlusPlus);
}

#[test]
fn two_exchange_their_names() {
    let (work, play): (Name<'_>, Name<'_>) = (&["Work", "a"], &["Play"]);
    let steps: [(Name<'_>, Name<'_>); 3] = [(play, &["between"]), (work, play), (&["between"], work)];
    follows(&PAIRS, &steps, &[(work, play), (play, work)], 2);
}

#[test]
fn two_exchange_their_names_and_one_has_folders_below() {
    let (work, play): (Name<'_>, Name<'_>) = (&["Work"], &["Play"]);
    let steps: [(Name<'_>, Name<'_>); 3] = [(play, &["between"]), (work, play), (&["between"], work)];
    follows(&PAIRS, &steps, &[(work, play), (play, work)], 4);
}

/// The one that had been put aside was subscribed to under a name of ours only, and then no more.
#[test]
fn two_that_exchange_their_names_stay_subscribed() {
    for kind in KINDS {
        let setup = with_folders(kind, Layout::Fs, &SMALL);
        let both: [Name<'_>; 2] = [&["Work"], &["Play"]];
        both.into_iter().for_each(|name| setup.imap().subscribe(name));
        let before = setup.imap().subscriptions();
        assert!(before.is_superset(&names(&both)), "{kind:?}: {before:?}");
        for (from, to) in [("Play", "between"), ("Work", "Play"), ("between", "Work")] {
            Side::Here.rename(&setup, &[from], &[to]);
        }
        assert!(setup.sync().expect(0).count("remote", "folders_renamed") >= 2);
        assert_eq!(setup.imap().subscriptions(), before, "{kind:?}");
    }
}

#[test]
fn a_chain_of_names() {
    let steps: [(Name<'_>, Name<'_>); 2] = [(&["Play"], &["Old"]), (&["Work"], &["Play"])];
    follows(&PAIRS, &steps, &steps, 4);
}

#[test]
fn another_case() {
    let steps: [(Name<'_>, Name<'_>); 1] = [(&["Play"], &["play"])];
    follows(&PAIRS, &steps, &steps, 1);
}

#[test]
fn another_place_in_the_hierarchy() {
    let steps: [(Name<'_>, Name<'_>); 2] = [(&["Work", "a"], &["Top"]), (&["Work"], &["Archive", "2025", "Work"])];
    follows(&PAIRS, &steps, &steps, 3);
}

/// Without ids nothing tells one that never held anything from others: it may be removed and made anew.
#[test]
fn an_empty_folder_ends_under_its_new_name() {
    let (old, new): (Name<'_>, Name<'_>) = (&["Empty"], &["Play", "Still empty"]);
    for (kind, layout) in PAIRS {
        for side in SIDES {
            let setup = with_folders(kind, layout, &SMALL);
            let expected = renamed(server(&setup), &[(old, new)]);
            side.rename(&setup, old, new);
            setup.sync().expect(0);
            assert_same(&expected, &server(&setup), &format!("{kind:?} {layout:?} {side:?}"));
            setup.assert_equal();
            setup.sync().expect(0).expect_nothing_done();
        }
    }
}

/// Its files went to the recoverable trash, as there was no maildir that they could be moved to.
#[test]
fn a_name_that_the_maildir_cannot_have_leaves_the_folder_there_as_it_is() {
    let part = "x".repeat(100);
    let long: Name<'_> = &[&part, &part, &part];
    let setup = with_folders(Kind::AnyName, Layout::PlusPlus, &SMALL);
    let (expected, files) = (server(&setup), |setup: &Setup| setup.root.folder(&["Play"]).messages().len());
    let before = files(&setup);
    setup.imap().rename(&["Play"], long);
    for _ in 0..2 {
        let run = setup.sync();
        assert_eq!(
            (run.code, run.count("local", "removed"), run.count("remote", "removed")),
            (Some(1), 0, 0),
            "{run:?}"
        );
        assert!(run.account()["errors"][0]["message"].as_str().unwrap().contains("255 bytes"), "{}", run.stdout);
        assert_eq!(files(&setup), before);
    }
    setup.imap().rename(long, &["Plays"]);
    setup.sync().expect(0);
    assert_same(&renamed(expected, &[(&["Play"], &["Plays"])]), &server(&setup), "renamed again");
    setup.assert_equal();
}

#[test]
fn odd_characters() {
    let steps: [(Name<'_>, Name<'_>); 2] =
        [(&["Work"], &["100% \"done\" [*] & Büro"]), (&["Play"], &["日本語", "back\\slash 'q' -x"])];
    follows(&[(Kind::AnyName, Layout::Fs), (Kind::AnyName, Layout::PlusPlus)], &steps, &steps, 4);
}

/// Every kind of change in the folder, on the side that did not rename it; then two of the other's.
fn meanwhile(setup: &Setup, side: Side) {
    match side {
        Side::There => {
            let work = setup.root.folder(&["Work"]);
            work.set_flags(&work.find("mail 0 of Work."), "RS");
            fs::remove_file(work.find("mail 1 of Work.").path).unwrap();
            work.deliver(&corpus::plain("new in Work"), Some("F"), Some(DATE));
            setup.root.folder(&["Work", "a"]).deliver(&corpus::plain("new below"), None, Some(DATE));
        }
        Side::Here => {
            setup.imap().store(&["Work"], "1", "+FLAGS (\\Answered later)");
            setup.imap().expunge(&["Work"], "2");
            let new = Mail { body: corpus::plain("new in Work"), flags: "\\Flagged", date: DATE };
            setup.append(&["Work"], &[new]);
            setup.append(&["Work", "a"], &[Mail { body: corpus::plain("new below"), flags: "", date: DATE }]);
        }
    }
}

#[test]
fn renamed_on_one_side_while_messages_change_on_the_other() {
    for kind in KINDS {
        for side in SIDES {
            let setup = with_folders(kind, Layout::Fs, &SMALL);
            meanwhile(&setup, side);
            side.rename(&setup, &["Work"], &["Projects"]);
            let run = setup.sync().expect(0);
            let context = format!("{kind:?} {side:?}: {}", run.stdout);
            assert_eq!(run.count(side.follower(), "folders_renamed"), 3, "{context}");
            let added = if side == Side::There { "remote" } else { "local" };
            assert_eq!(run.count(added, "added"), 2, "{context}");
            setup.sync().expect(0);
            setup.sync_in_step();
            let projects = setup.root.folder(&["Projects"]);
            assert_eq!(projects.messages().len(), 6, "{context}");
            let first = projects.find("mail 0 of Work.");
            assert_eq!(first.flags.iter().collect::<String>(), "RS", "{context}");
            assert_eq!(first.keywords.contains("later"), side == Side::Here, "{context}");
            projects.find("new in Work");
            assert_eq!(setup.root.folder(&["Projects", "a"]).messages().len(), 6, "{context}");
            let folders = setup.imap().folders();
            assert!(!folders.iter().any(|name| name[0] == "Work"), "{context}: {folders:?}");
        }
    }
}

#[test]
fn renamed_alike_on_both_sides() {
    for (kind, layout) in PAIRS {
        let setup = with_folders(kind, layout, &SMALL);
        let expected = renamed(server(&setup), &[(&["Work"], &["Projects"])]);
        for side in SIDES {
            side.rename(&setup, &["Work"], &["Projects"]);
        }
        expect_followed(&setup, Side::Here, 0, &expected, &format!("{kind:?} {layout:?}"));
    }
}

#[test]
fn renamed_differently_the_servers_name_counts() {
    for (kind, layout) in PAIRS {
        let setup = with_folders(kind, layout, &SMALL);
        let expected = renamed(server(&setup), &[(&["Work"], &["There"])]);
        Side::Here.rename(&setup, &["Work"], &["Here"]);
        Side::There.rename(&setup, &["Work"], &["There"]);
        expect_followed(&setup, Side::There, 3, &expected, &format!("{kind:?} {layout:?}"));
    }
}

#[test]
fn renamed_here_and_deleted_there_it_is_kept_under_its_new_name() {
    for kind in KINDS {
        let setup = with_folders(kind, Layout::Fs, &SMALL);
        let expected = renamed(server(&setup), &[(&["Play"], &["Kept"])]);
        setup.imap().delete(&["Play"]);
        Side::Here.rename(&setup, &["Play"], &["Kept"]);
        let run = setup.sync().expect(0);
        assert_eq!(run.count("remote", "added"), 4, "{kind:?}: {}", run.stdout);
        setup.sync_in_step();
        assert_same(&expected, &server(&setup), &format!("{kind:?}"));
    }
}

/// Nobody can tell a Maildir lost by accident from one deleted: as ever, it is asked about.
#[test]
fn renamed_there_and_gone_here_it_is_held_under_its_new_name() {
    for kind in KINDS {
        for answer in ["--accept-held", "--undo-held"] {
            let setup = with_folders(kind, Layout::Fs, &SMALL);
            let expected = renamed(server(&setup), &[(&["Play"], &["Kept"])]);
            fs::remove_dir_all(setup.root.folder(&["Play"]).0).unwrap();
            Side::There.rename(&setup, &["Play"], &["Kept"]);
            let run = setup.sync().expect(5);
            let held = &run.account()["held"][0];
            assert_eq!(
                (&held["reason"], &held["folder"]),
                (&"maildir-vanished".into(), &"Kept".into()),
                "{}",
                run.stdout
            );
            assert_same(&expected, &server(&setup), &format!("{kind:?}"));
            setup.run(&["sync", "--json", answer, "test"]).expect(0);
            setup.sync_in_step();
            match answer {
                "--undo-held" => assert_same(&expected, &server(&setup), &format!("{kind:?}")),
                _ => assert_eq!(setup.imap().messages(&["Trash"]).len(), 4, "{kind:?}"),
            }
        }
    }
}

/// Lines of the plan as `side op folder detail`.
fn plan(run: &Run) -> Vec<String> {
    let plan = run.account()["plan"].as_array().unwrap().clone();
    let word = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<String> =
        plan.iter().map(|line| ["side", "op", "folder", "detail"].map(|key| word(line, key)).join(" ")).collect();
    lines.sort();
    lines
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    for (kind, layout) in PAIRS {
        let setup = with_folders(kind, layout, &SMALL);
        Side::Here.rename(&setup, &["Work"], &["Projects"]);
        Side::There.rename(&setup, &["Play"], &["Games"]);
        setup.append(&["INBOX"], &mails(&["INBOX"], 4));
        setup.run(&["sync", "--json", "test/INBOX"]).expect(0);
        let inbox = setup.root.inbox();
        let file = inbox.find("mail 0 of INBOX.").path;
        let target = setup.root.folder(&["Sent"]).0.join("cur").join(file.file_name().unwrap());
        fs::rename(&file, target).unwrap();
        setup.imap().transfer(&["INBOX"], "2", &["Drafts"]);
        let (here, there) = (compare::of_root(&setup.root), server(&setup));
        let run = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
        let expected = [
            "local move INBOX Drafts",
            "local rename-folder Play Games",
            "remote move INBOX Sent",
            "remote rename-folder Work Projects",
            "remote rename-folder Work/a Projects/a",
            "remote rename-folder Work/b Projects/b",
        ];
        assert_eq!(plan(&run), expected, "{kind:?} {layout:?}");
        assert_same(&here, &compare::of_root(&setup.root), "here");
        assert_same(&there, &server(&setup), "there");
        let done = [("folders_renamed", 1, 3), ("moved", 1, 1)];
        let counts: Vec<_> =
            done.iter().flat_map(|(what, l, r)| [("local", *what, *l), ("remote", *what, *r)]).collect();
        setup.sync().expect(0).expect_only(&counts);
        setup.sync_in_step();
    }
}

/// Folders renamed on both sides, two of them exchanged on each.
fn both_ways(kind: Kind, layout: Layout) -> Setup {
    let all: [(Name<'_>, i64); 9] = [
        (&["A"], 20),
        (&["A", "x"], 10),
        (&["B"], 20),
        (&["C"], 20),
        (&["C", "x"], 10),
        (&["C", "y"], 0),
        (&["D"], 20),
        (&["E"], 10),
        (&["F"], 10),
    ];
    let setup = with_folders(kind, layout, &all);
    for (side, one, other) in [(Side::Here, "A", "B"), (Side::There, "D", "E")] {
        side.rename(&setup, &[one], &["between"]);
        side.rename(&setup, &[other], &[one]);
        side.rename(&setup, &["between"], &[other]);
    }
    Side::There.rename(&setup, &["C"], &["New", "C"]);
    Side::Here.rename(&setup, &["F"], &["New", "F"]);
    setup
}

fn assert_both_ways(setup: &Setup, context: &str) {
    let all: [(Name<'_>, Name<'_>, i64); 9] = [
        (&["B"], &["A"], 20),
        (&["B", "x"], &["A", "x"], 10),
        (&["A"], &["B"], 20),
        (&["E"], &["D"], 20),
        (&["D"], &["E"], 10),
        (&["New", "C"], &["C"], 20),
        (&["New", "C", "x"], &["C", "x"], 10),
        (&["New", "C", "y"], &["C", "y"], 0),
        (&["New", "F"], &["F"], 10),
    ];
    for (new, old, count) in all {
        let mut found: Vec<Vec<u8>> =
            setup.imap().messages(new).iter().map(|message| compare::canonical(&message.body)).collect();
        let mut expected: Vec<Vec<u8>> = mails(old, count).into_iter().map(|mail| mail.body).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{context}: {new:?}");
    }
    let usual: [Name<'_>; 4] = [&["INBOX"], &["Drafts"], &["Sent"], &["Trash"]];
    let folders: Vec<Name<'_>> = all.iter().map(|(new, ..)| *new).chain(usual).collect();
    assert_eq!(setup.imap().folders(), names(&folders), "{context}");
    setup.assert_equal();
    assert!(setup.recoverable().is_empty(), "{context}: in the recoverable trash");
}

#[test]
fn killed_while_folders_are_renamed_both_ways() {
    for setup in killed(|kind| both_ways(kind, Layout::Fs), Kind::Full) {
        assert_both_ways(&setup, "with extensions");
    }
}

#[test]
fn killed_while_folders_are_renamed_both_ways_without_extensions() {
    for setup in killed(|kind| both_ways(kind, Layout::PlusPlus), Kind::Bare) {
        assert_both_ways(&setup, "without extensions");
    }
}

fn leave_out(setup: &mut Setup, policy: &str) {
    setup.extra = "[accounts.test.folders]\nexclude = [\"Private*\"]\n".to_owned();
    setup.sync = format!("delete = \"{policy}\"");
    setup.sync().expect(0).expect_nothing_done();
}

/// To the server, a folder left out here is none: its messages have been removed, and the policy for that decides. All
/// of them are still in the Maildir.
#[test]
fn renamed_here_to_a_name_left_out_its_messages_are_removed_there() {
    for (policy, in_place, in_trash) in [("trash", None, 4), ("expunge", None, 0), ("never", Some(4), 0)] {
        let mut setup = with_folders(Kind::Full, Layout::Fs, &SMALL);
        leave_out(&mut setup, policy);
        let files = setup.root.folder(&["Play"]).messages().len();
        Side::Here.rename(&setup, &["Play"], &["Private"]);
        setup.sync().expect(0);
        setup.sync().expect(0).expect_nothing_done();
        let there = server(&setup);
        let count = |name: &str| there.get(&vec![name.to_owned()]).map(Vec::len);
        assert_eq!((count("Play"), count("Trash"), count("Private")), (in_place, Some(in_trash), None), "{policy}");
        assert_eq!(setup.root.folder(&["Private"]).messages().len(), files, "{policy}");
    }
}

#[test]
fn a_large_folder_renamed_here_to_a_name_left_out_is_held() {
    let mut setup = with_folders(Kind::Full, Layout::Fs, &FAMILY);
    leave_out(&mut setup, "expunge");
    Side::Here.rename(&setup, &["Work"], &["Private"]);
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "mass-delete", "{}", run.stdout);
    assert_eq!(setup.imap().messages(&["Work"]).len(), 200);
    assert_eq!(setup.root.folder(&["Private"]).messages().len(), 200);
    Side::Here.rename(&setup, &["Private"], &["Projects"]);
    setup.sync().expect(0);
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&["Projects"]).len(), 200);
}

/// What is left out there is none of ours either: the folder has gone. Its messages can be recovered, and they are on the
/// server still.
#[test]
fn renamed_there_to_a_name_left_out_it_is_removed_here() {
    let mut setup = with_folders(Kind::Full, Layout::Fs, &SMALL);
    leave_out(&mut setup, "trash");
    let before = renamed(server(&setup), &[(&["Work"], &["Private"])]);
    Side::There.rename(&setup, &["Work"], &["Private"]);
    setup.sync().expect(0).expect_only(&[("local", "removed", 11), ("local", "folders_removed", 3)]);
    setup.sync().expect(0).expect_nothing_done();
    assert_same(&before, &server(&setup), "there");
    assert_eq!(setup.recoverable().len(), 11);
    assert!(!setup.root.folders().keys().any(|name| ["Work", "Private"].contains(&&*name[0])));
}

#[test]
fn a_large_folder_renamed_there_to_a_name_left_out_is_held() {
    let mut setup = with_folders(Kind::Full, Layout::Fs, &FAMILY);
    leave_out(&mut setup, "trash");
    let (here, there) = (compare::of_root(&setup.root), renamed(server(&setup), &[(&["Work"], &["Private"])]));
    Side::There.rename(&setup, &["Work"], &["Private"]);
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "folder-removed", "{}", run.stdout);
    assert_same(&here, &compare::of_root(&setup.root), "here");
    assert_same(&there, &server(&setup), "there");
}

/// Not every program takes subscriptions along.
#[test]
fn renamed_there_without_its_subscription_it_stays_here_and_goes_on_once_it_has_that() {
    for kind in [Kind::Full, Kind::Bare] {
        let mut setup = with_folders(kind, Layout::Fs, &SMALL);
        setup.extra = "[accounts.test.folders]\nsubscribed_only = true\n".to_owned();
        ["INBOX", "Play"].into_iter().for_each(|name| setup.imap().subscribe(&[name]));
        setup.sync().expect(0).expect_nothing_done();
        let before = compare::of_root(&setup.root);
        setup.imap().rename(&["Play"], &["Game"]);
        setup.sync().expect(0).expect_only(&[("local", "folders_renamed", 1)]);
        assert_same(&renamed(before, &[(&["Play"], &["Game"])]), &compare::of_root(&setup.root), "here");
        setup.sync().expect(0).expect_nothing_done();
        setup.imap().subscribe(&["Game"]);
        setup.append(&["Game"], &corpus::odd(1));
        let run = setup.sync().expect(0);
        assert_eq!((run.count("local", "added"), run.count("remote", "added")), (1, 0), "{}", run.stdout);
        setup.sync().expect(0).expect_nothing_done();
    }
}

/// An account with mail in a folder that the server made by itself, in step.
fn with_sent(kind: Kind, layout: Layout) -> Setup {
    let setup = with_folders(kind, layout, &[(&["Work"], 3)]);
    setup.append(&["Sent"], &mails(&["Sent"], 4));
    setup.sync().expect(0);
    setup
}

/// Servers make some folders anew as soon as they are gone.
#[test]
fn a_folder_that_the_server_makes_anew_at_once() {
    for (kind, layout) in PAIRS {
        for again in [0, 2] {
            let setup = with_sent(kind, layout);
            let before = server(&setup);
            setup.imap().rename(&["Sent"], &["Old"]);
            setup.append(&["Sent"], &corpus::odd(again + 3)[3..]);
            let mut expected = renamed(before, &[(&["Sent"], &["Old"])]);
            expected.insert(vec!["Sent".to_owned()], server(&setup).remove(&vec!["Sent".to_owned()]).unwrap());
            let context = format!("{kind:?} {layout:?} {again}");
            let run = setup.sync();
            assert_eq!(run.code, Some(0), "{context}: {}", run.stdout);
            assert_same(&expected, &server(&setup), &format!("{context}: {}", run.stdout));
            setup.sync_in_step();
        }
    }
}

#[test]
fn a_dry_run_tells_of_what_has_the_old_name_by_now() {
    for side in SIDES {
        let setup = with_folders(Kind::Full, Layout::Fs, &SMALL);
        side.rename(&setup, &["Work"], &["Job"]);
        let (new, count) = (corpus::plain("new"), |run: &Run, what| run.count(side.follower(), what));
        match side {
            Side::There => {
                setup.imap().create(&["Work"]);
                setup.imap().append(&["Work"], &new, "", Some(DATE));
            }
            Side::Here => {
                setup.root.folder(&["Work"]).create();
                setup.root.folder(&["Work"]).deliver(&new, None, Some(DATE));
            }
        }
        let before = server(&setup);
        let counts = ["--dry-run", "--full"].map(|how| {
            let run = setup.run(&["sync", "--json", how]).expect(0);
            if how == "--dry-run" {
                assert_same(&before, &server(&setup), "after the dry run");
            }
            ["folders_renamed", "folders_created", "added"].map(|what| count(&run, what))
        });
        assert_eq!(counts, [[3, 1, 1]; 2], "{side:?}");
        setup.assert_equal();
    }
}

#[test]
fn a_dry_run_of_folders_that_exchanged_their_names_tells_of_nothing_else() {
    for side in SIDES {
        let setup = with_folders(Kind::Full, Layout::Fs, &SMALL);
        let exchange: [(Name<'_>, Name<'_>); 3] =
            [(&["Play"], &["x"]), (&["Work", "a"], &["Play"]), (&["x"], &["Work", "a"])];
        exchange.into_iter().for_each(|(from, to)| side.rename(&setup, from, to));
        let run = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
        let account = run.account();
        let ops: BTreeSet<&str> =
            account["plan"].as_array().unwrap().iter().map(|line| line["op"].as_str().unwrap()).collect();
        assert_eq!(ops, BTreeSet::from(["rename-folder"]), "{side:?}: {}", run.stdout);
    }
}
