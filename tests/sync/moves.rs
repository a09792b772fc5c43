//! Messages moved to other folders, here by every program in its own way, there by other clients: one message in the
//! right place on both sides, as it was, and no body travels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::crash::killed;
use crate::support::compare::{self, canonical};
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::maildir::{Entry, Maildir};
use crate::support::setup::Setup;

const KINDS: [Kind; 4] = [Kind::Full, Kind::AnyName, Kind::Bare, Kind::NoUidplus];

/// How the file of a message gets from one folder to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `rename(2)` under the name that the file has: `mv`, and aerc, by way of go-maildir.
    Renamed,
    /// `mu move`, as mu4e asks for it: `rename(2)` to the name made anew from the flags. Letters that mu does not know
    /// are dropped.
    Mu,
    /// The same with `mu4e-change-filenames-when-moving`.
    MuNewName,
    /// `link(2)` and `unlink(2)`: what programs do that take no file system's `rename` for granted.
    Linked,
    /// `cp -p` and `rm`: between two file systems, that is what `mv` does.
    Copied,
    /// mutt: written anew into `tmp` of the target, with a `Content-Length` at the end of its header, renamed into its
    /// `cur` under a new name with all the letters, its date set. The old file is unlinked once mutt writes the mailbox
    /// back.
    Mutt,
    /// neomutt: likewise, but it drops the letters it does not know.
    Neomutt,
}

impl How {
    const ALL: [How; 7] = [How::Renamed, How::Mu, How::MuNewName, How::Linked, How::Copied, How::Mutt, How::Neomutt];

    fn drops_letters(self) -> bool {
        matches!(self, How::Mu | How::MuNewName | How::Neomutt)
    }
}

/// Moves a message's file. Returns the new one.
fn move_here(entry: &Entry, target: &Maildir, how: How) -> PathBuf {
    let name = entry.path.file_name().unwrap().to_str().unwrap();
    let (unique, info) = name.split_once(":2,").unwrap_or((name, ""));
    let letters: String = match how.drops_letters() {
        true => info.chars().filter(char::is_ascii_uppercase).collect(),
        false => info.to_owned(),
    };
    let unique = match how {
        How::Renamed | How::Mu | How::Linked | How::Copied => unique.to_owned(),
        How::MuNewName | How::Mutt | How::Neomutt => {
            format!("1800000000.{}.elsewhere", number(&entry.content).unwrap())
        }
    };
    let new = target.0.join("cur").join(format!("{unique}:2,{letters}"));
    match how {
        How::Renamed | How::Mu | How::MuNewName => fs::rename(&entry.path, &new).unwrap(),
        How::Linked => {
            fs::hard_link(&entry.path, &new).unwrap();
            fs::remove_file(&entry.path).unwrap();
        }
        How::Copied => {
            write_anew(&new, &entry.content, entry.date);
            fs::remove_file(&entry.path).unwrap();
        }
        How::Mutt | How::Neomutt => {
            let temporary = target.0.join("tmp").join(&unique);
            write_anew(&temporary, &with_length(&entry.content), entry.date);
            fs::rename(&temporary, &new).unwrap();
            fs::remove_file(&entry.path).unwrap();
        }
    }
    new
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let header = content.windows(2).position(|end| end == b"\n\n").unwrap() + 1;
    let (header, rest) = content.split_at(header);
    [header, format!("Content-Length: {}\n", rest.len() - 1).as_bytes(), rest].concat()
}

fn write_anew(path: &Path, content: &[u8], date: i64) {
    fs::write(path, content).unwrap();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date.try_into().unwrap());
    fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
}

fn archive(setup: &Setup) -> Maildir {
    setup.root.folder(&["Archive"])
}

/// Ten messages in INBOX and one in Archive, in step. The first keyword letters mean other words in Archive.
fn in_step(kind: Kind) -> Setup {
    in_step_by(kind, "trash")
}

fn in_step_by(kind: Kind, policy: &str) -> Setup {
    let mut setup = Setup::with_mail(kind, &corpus::ordinary(10));
    setup.sync = format!("delete = \"{policy}\"");
    for folder in [["Archive"], ["Other"]] {
        setup.imap().create(&folder);
    }
    let resident = Mail { body: corpus::plain("resident"), flags: "\\Seen one two three four", date: DATE };
    setup.append(&["Archive"], &[resident]);
    setup.sync_in_step();
    setup
}

/// Returns the numbers of the messages in each folder of the server; the one that is in Archive from the start left out.
fn there(setup: &Setup) -> BTreeMap<String, Vec<u32>> {
    let mut imap = setup.imap();
    let mut found = BTreeMap::new();
    for folder in imap.folders() {
        let components: Vec<&str> = folder.iter().map(String::as_str).collect();
        let mut numbers: Vec<u32> = imap.messages(&components).iter().filter_map(|mail| number(&mail.body)).collect();
        numbers.sort_unstable();
        if !numbers.is_empty() {
            found.insert(folder.join("/"), numbers);
        }
    }
    found
}

fn number(body: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("This is message ")?;
    rest.split_once('.')?.0.parse().ok()
}

/// Demands that these are the places of all messages on both sides, and that nothing was removed anywhere.
fn assert_places(setup: &Setup, expected: &[(&str, &[u32])], context: &str) {
    let expected: BTreeMap<String, Vec<u32>> =
        expected.iter().map(|(folder, numbers)| ((*folder).to_owned(), numbers.to_vec())).collect();
    assert_eq!(there(setup), expected, "{context}");
    setup.assert_equal();
    assert!(setup.recoverable().is_empty(), "{context}: in the recoverable trash");
}

/// Returns the UID of a message on the server.
fn uid(setup: &Setup, folder: &[&str], wanted: u32) -> String {
    let messages = setup.imap().messages(folder);
    messages.iter().find(|message| number(&message.body) == Some(wanted)).unwrap().uid.to_string()
}

fn move_there(setup: &Setup, wanted: u32, target: &[&str]) {
    let uid = uid(setup, &["INBOX"], wanted);
    setup.imap().transfer(&["INBOX"], &uid, target);
}

/// Demands that a message on the server is as it was put there at first.
fn assert_as_sent(setup: &Setup, folder: &[&str], mail: &Mail) {
    let messages = setup.imap().messages(folder);
    let message = messages.iter().find(|message| number(&message.body) == number(&mail.body)).unwrap();
    let flags: BTreeSet<String> = mail.flags.split_whitespace().map(str::to_owned).collect();
    assert_eq!((canonical(&message.body), message.date, &message.flags), (mail.body.clone(), mail.date, &flags));
}

/// One of the messages with which [`in_step`] starts, with these flags.
fn fifth(flags: &'static str) -> Mail {
    Mail { flags, ..corpus::ordinary(10).swap_remove(5) }
}

#[test]
fn moved_here_by_any_program_it_is_moved_there() {
    for kind in KINDS {
        let setup = in_step(kind);
        let mail = |subject: u32| Mail {
            body: corpus::plain(&format!("message {subject}")),
            flags: "\\Flagged \\Seen work todo",
            date: DATE + i64::from(subject),
        };
        let mails: Vec<Mail> = (20..).take(How::ALL.len()).map(mail).collect();
        setup.append(&["INBOX"], &mails);
        setup.sync().expect(0);
        for (how, mail) in How::ALL.into_iter().zip(&mails) {
            let (context, number) = (format!("{how:?} {kind:?}"), number(&mail.body).unwrap());
            let entry = setup.root.inbox().find(&format!("message {number}."));
            assert_eq!(entry.keywords.len(), 2, "{entry:?}");
            move_here(&entry, &archive(&setup), how);
            let run = setup.sync_in_step().expect_only(&[("remote", "moved", 1)]);
            assert!(run.account()["held"].as_array().unwrap().is_empty(), "{}", run.stdout);
            let numbers: Vec<u32> = (20..=number).collect();
            assert_eq!(there(&setup).get("Archive"), Some(&numbers), "{context}");
            assert_as_sent(&setup, &["Archive"], mail);
            let moved = archive(&setup).find(&format!("message {number}."));
            assert_eq!((moved.flags, moved.keywords), (entry.flags, entry.keywords), "{context}");
        }
        let moved: Vec<u32> = (20..27).collect();
        assert_places(&setup, &[("INBOX", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), ("Archive", &moved)], &format!("{kind:?}"));
    }
}

#[test]
fn moved_there_the_file_is_renamed() {
    for kind in KINDS {
        let setup = in_step(kind);
        let body = [corpus::plain("message 99"), b"a long line of a large message\n".repeat(32_768)].concat();
        setup.append(&["INBOX"], &[Mail { body, flags: "\\Flagged work", date: DATE }]);
        setup.sync().expect(0);
        let before = setup.root.inbox().find("message 99.");
        let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).unwrap();
        let number = inode(&before.path);
        move_there(&setup, 99, &["Archive"]);
        let run = setup.sync_in_step().expect_only(&[("local", "moved", 1)]);
        assert!(run.bytes() < 20_000, "{kind:?}: {}", run.stdout);
        assert_places(&setup, &[("INBOX", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), ("Archive", &[99])], &format!("{kind:?}"));
        let after = archive(&setup).find("message 99.");
        assert_eq!(inode(&after.path), number, "{kind:?}");
        assert_eq!((after.flags, after.keywords, after.date), (before.flags, before.keywords, before.date), "{kind:?}");
    }
}

#[test]
fn a_letter_that_means_another_word_in_the_other_folder_keeps_its_word() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind);
        let (inbox, entry) = (setup.root.inbox(), setup.root.inbox().find("message 5."));
        let words = ["one", "two", "three", "four"].map(|word| archive(&setup).letter(word));
        assert!(["work", "todo"].iter().all(|word| words.contains(&inbox.letter(word))), "{kind:?}");
        move_here(&entry, &archive(&setup), How::Renamed);
        let back = archive(&setup).find("resident");
        move_here(&back, &inbox, How::Renamed);
        setup.sync_in_step().expect_only(&[("remote", "moved", 2)]);
        let words = |entry: Entry| entry.keywords.into_iter().collect::<Vec<_>>();
        assert_eq!(words(archive(&setup).find("message 5.")), ["todo", "work"], "{kind:?}");
        assert_eq!(words(inbox.find("resident")), ["four", "one", "three", "two"], "{kind:?}");
        assert_as_sent(&setup, &["Archive"], &fifth("\\Seen todo work"));
        // And the other way round.
        let uids = (uid(&setup, &["Archive"], 5), setup.imap().messages(&["INBOX"]).last().unwrap().uid.to_string());
        setup.imap().transfer(&["Archive"], &uids.0, &["INBOX"]);
        setup.imap().transfer(&["INBOX"], &uids.1, &["Archive"]);
        setup.sync_in_step().expect_only(&[("local", "moved", 2)]);
        assert_eq!(words(inbox.find("message 5.")), ["todo", "work"], "{kind:?}");
        assert_eq!(words(archive(&setup).find("resident")), ["four", "one", "three", "two"], "{kind:?}");
        assert_as_sent(&setup, &["INBOX"], &fifth("\\Seen todo work"));
    }
}

#[test]
fn moved_alike_on_both_sides_it_is_one() {
    for kind in KINDS {
        for how in [How::Renamed, How::MuNewName] {
            let setup = in_step(kind);
            move_there(&setup, 5, &["Archive"]);
            move_here(&setup.root.inbox().find("message 5."), &archive(&setup), how);
            let run = setup.sync().expect(0);
            let counts =
                ["added", "removed", "replaced"].map(|what| run.count("local", what) + run.count("remote", what));
            assert_eq!(counts, [0; 3], "{kind:?} {how:?}: {}", run.stdout);
            setup.sync_in_step();
            let expected: [(&str, &[u32]); 2] = [("INBOX", &[0, 1, 2, 3, 4, 6, 7, 8, 9]), ("Archive", &[5])];
            assert_places(&setup, &expected, &format!("{kind:?} {how:?}"));
            assert_as_sent(&setup, &["Archive"], &fifth("\\Seen todo work"));
        }
    }
}

#[test]
fn moved_to_different_folders_the_servers_place_counts() {
    for kind in KINDS {
        for how in [How::Renamed, How::MuNewName] {
            let setup = in_step(kind);
            move_there(&setup, 5, &["Archive"]);
            move_here(&setup.root.inbox().find("message 5."), &setup.root.folder(&["Other"]), how);
            setup.sync_in_step().expect_only(&[("local", "moved", 1)]);
            let expected: [(&str, &[u32]); 2] = [("INBOX", &[0, 1, 2, 3, 4, 6, 7, 8, 9]), ("Archive", &[5])];
            assert_places(&setup, &expected, &format!("{kind:?} {how:?}"));
            assert_as_sent(&setup, &["Archive"], &fifth("\\Seen todo work"));
        }
    }
}

#[test]
fn moved_here_and_expunged_there_it_is_kept() {
    for kind in KINDS {
        let setup = in_step(kind);
        move_here(&setup.root.inbox().find("message 5."), &archive(&setup), How::MuNewName);
        let uid = uid(&setup, &["INBOX"], 5);
        setup.imap().expunge(&["INBOX"], &uid);
        setup.sync_in_step().expect_only(&[("remote", "added", 1)]);
        let expected: [(&str, &[u32]); 2] = [("INBOX", &[0, 1, 2, 3, 4, 6, 7, 8, 9]), ("Archive", &[5])];
        assert_places(&setup, &expected, &format!("{kind:?}"));
    }
}

#[test]
fn moved_on_one_side_and_flagged_on_the_other() {
    for kind in KINDS {
        let setup = in_step(kind);
        let inbox = setup.root.inbox();
        let flagged = uid(&setup, &["INBOX"], 5);
        setup.imap().store(&["INBOX"], &flagged, "+FLAGS (\\Flagged later)");
        setup.imap().store(&["INBOX"], &flagged, "-FLAGS (todo)");
        move_here(&inbox.find("message 5."), &archive(&setup), How::Renamed);
        inbox.set_flags(&inbox.find("message 4."), "RS");
        move_there(&setup, 4, &["Other"]);
        setup.sync().expect(0);
        setup.sync_in_step();
        let expected: [(&str, &[u32]); 3] = [("INBOX", &[0, 1, 2, 3, 6, 7, 8, 9]), ("Archive", &[5]), ("Other", &[4])];
        assert_places(&setup, &expected, &format!("{kind:?}"));
        assert_as_sent(&setup, &["Archive"], &fifth("\\Seen \\Flagged work later"));
        let other = setup.root.folder(&["Other"]).find("message 4.");
        assert_eq!(other.flags.iter().collect::<String>(), "RS", "{kind:?}");
    }
}

#[test]
fn moved_here_it_is_moved_there_though_removals_are_not_followed() {
    for kind in KINDS {
        for policy in ["never", "flag", "expunge"] {
            let setup = in_step_by(kind, policy);
            move_here(&setup.root.inbox().find("message 5."), &archive(&setup), How::Renamed);
            setup.sync_in_step().expect_only(&[("remote", "moved", 1)]);
            let expected: [(&str, &[u32]); 2] = [("INBOX", &[0, 1, 2, 3, 4, 6, 7, 8, 9]), ("Archive", &[5])];
            assert_places(&setup, &expected, &format!("{kind:?} {policy}"));
        }
    }
}

/// Half of the messages moved to Archive there, the other half here to Other.
fn many(kind: Kind, count: u32) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(count.into()));
    for folder in [["Archive"], ["Other"]] {
        setup.imap().create(&folder);
    }
    setup.append(&["Other"], &[Mail { body: corpus::plain("resident"), flags: "one two three", date: DATE }]);
    setup.sync().expect(0);
    let entries = setup.root.inbox().messages();
    setup.imap().transfer(&["INBOX"], &format!("1:{}", count / 2), &["Archive"]);
    for entry in entries.iter().filter(|entry| number(&entry.content).unwrap() >= count / 2) {
        let how = How::ALL[number(&entry.content).unwrap() as usize % How::ALL.len()];
        move_here(entry, &setup.root.folder(&["Other"]), how);
    }
    setup
}

fn assert_many(setup: &Setup, count: u32, context: &str) {
    let (first, second): (Vec<u32>, Vec<u32>) = (0..count).partition(|number| *number < count / 2);
    assert_places(setup, &[("Archive", &first), ("Other", &second)], context);
    let mut all = compare::of_server(&mut setup.imap());
    let moved = all.remove(&vec!["Other".to_owned()]).unwrap();
    assert_eq!(moved.len() as u32, count / 2 + 1, "{context}: one that lives there, and those that came");
    for message in setup.imap().messages(&["Archive"]).iter().chain(&setup.imap().messages(&["Other"])) {
        let Some(number) = number(&message.body) else { continue };
        let mail = &corpus::ordinary(count.into())[number as usize];
        let flags: BTreeSet<String> = mail.flags.split_whitespace().map(str::to_owned).collect();
        assert_eq!((message.date, &message.flags), (mail.date, &flags), "{context}: message {number}");
    }
}

#[test]
fn three_hundred_moved_each_way_take_a_few_kilobytes() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = many(kind, 600);
        let run = setup.sync().expect(0).expect_only(&[("remote", "moved", 300), ("local", "moved", 300)]);
        assert!(run.bytes_out() < 20_000, "{kind:?}: {}", run.stdout);
        assert!(run.account()["held"].as_array().unwrap().is_empty(), "{kind:?}: {}", run.stdout);
        assert_many(&setup, 600, &format!("{kind:?}"));
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn killed_while_messages_move_both_ways() {
    for setup in killed(|kind| many(kind, 120), Kind::Full) {
        assert_many(&setup, 120, "killed");
    }
}

#[test]
fn killed_while_messages_move_both_ways_without_extensions() {
    for setup in killed(|kind| many(kind, 120), Kind::Bare) {
        assert_many(&setup, 120, "killed");
    }
}

#[test]
fn a_dry_run_tells_of_the_flags_of_what_moves() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(4));
    setup.sync_in_step();
    let (inbox, archive) = (setup.root.inbox(), setup.root.folder(&["Sent"]));
    fs::rename(inbox.find("message 0.").path, archive.0.join("cur/1.moved:2,FRS")).unwrap();
    setup.imap().move_to(&["INBOX"], "4", &["Sent"]);
    let run = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
    let moves = [("remote", "moved", 1), ("remote", "flags", 1), ("local", "moved", 1)];
    setup.sync().expect(0).expect_only(&moves);
    let plan = run.account()["plan"].as_array().unwrap().clone();
    let mut lines: Vec<_> =
        plan.iter().map(|line| ["side", "op", "folder", "uid"].map(|key| line[key].to_string())).collect();
    lines.sort();
    let expected = [
        ["\"local\"", "\"move\"", "\"INBOX\"", "4"],
        ["\"remote\"", "\"move\"", "\"INBOX\"", "1"],
        ["\"remote\"", "\"set-flags\"", "\"INBOX\"", "1"],
    ];
    assert_eq!(lines, expected.map(|line| line.map(str::to_owned)), "{}", run.stdout);
    run.expect_only(&moves);
}
