//! Maildirs that others work on all the time while syncs run: programs that rename and move files, and a local Dovecot.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::inotify;

use crate::support::compare;
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::imap::Imap;
use crate::support::maildir::{Layout, Maildir, Root};
use crate::support::proxy::Proxy;
use crate::support::setup::Setup;

/// How often both sides get something to do and a sync is run, while somebody else works.
const ROUNDS: i64 = 5;

/// Does one thing over and over as long as another takes. Returns how often it was done.
fn meanwhile(mut work: impl FnMut(u64) + Send, during: impl FnOnce()) -> u64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                work(count);
                count += 1;
            }
            count
        });
        // A panic must not leave the worker at work.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        stop.store(true, Ordering::Relaxed);
        let count = worker.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        count
    })
}

/// Delivers on both sides and syncs, a few times. What can't be decided while files move may be left for the next run.
fn sync_again_and_again(setup: &Setup) {
    for round in 0..ROUNDS {
        let mail = Mail { body: corpus::plain(&format!("there {round}")), flags: "", date: DATE };
        setup.append(&["INBOX"], &[mail]);
        setup.root.inbox().deliver(&corpus::plain(&format!("here {round}")), Some("S"), Some(DATE));
        let run = setup.sync();
        assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
    }
}

/// Returns the subjects of all messages on a server, with how often each is there.
fn subjects(imap: &mut Imap) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for folder in imap.folders() {
        let components: Vec<&str> = folder.iter().map(String::as_str).collect();
        for message in imap.messages(&components) {
            let text = String::from_utf8_lossy(&message.body).into_owned();
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            *found.entry(subject.to_owned()).or_default() += 1;
        }
    }
    found
}

fn assert_each_once(imap: &mut Imap, expected: impl Iterator<Item = String>) {
    let found = subjects(imap);
    let expected: BTreeMap<String, usize> = expected.map(|subject| (subject, 1)).collect();
    assert_eq!(found, expected);
}

fn all_subjects(mails: i64) -> impl Iterator<Item = String> {
    let rounds = (0..ROUNDS).flat_map(|round| [format!("there {round}"), format!("here {round}")]);
    (0..mails).map(|number| format!("message {number}")).chain(rounds)
}

/// Maildirs in which something has changed, or may have, are read while the server is reached. What changes in them after
/// that is synced all the same.
#[test]
fn what_changes_here_while_the_server_is_reached_is_not_overlooked() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(4));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    // Until the times of its directories, too young when it was read last, prove something.
    thread::sleep(Duration::from_millis(2500));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    // Its first word takes seconds.
    proxy.slow_down(500);
    let mut child = setup.command(&["-vv", "sync"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_read =
        |line: &io::Result<String>| ["read ahead", "INBOX"].iter().all(|word| line.as_ref().unwrap().contains(word));
    assert!(log.any(|line| is_read(&line)));
    inbox.deliver(&corpus::plain("after"), Some("S"), Some(DATE));
    inbox.set_flags(&inbox.find("message 1"), "F");
    fs::remove_file(&inbox.find("message 2").path).unwrap();
    proxy.slow_down(u32::MAX);
    log.for_each(drop);
    assert!(child.wait().unwrap().success());
    let there = setup.imap().messages(&["INBOX"]);
    let find = |text: &str| there.iter().find(|message| String::from_utf8_lossy(&message.body).contains(text));
    assert!(find("after").is_some() && find("message 2").is_none());
    assert!(find("message 1").unwrap().flags.contains("\\Flagged"));
    setup.sync().expect(0).expect_nothing_done();
}

/// Returns true for the subject of one of the first messages.
fn is_among_first(line: &str) -> bool {
    let number = line.strip_prefix("Subject: message ").and_then(|number| number.parse().ok());
    number.is_some_and(|number: u32| number < 50)
}

/// Dovecot tells of some of it only after ours was carried out: it must not count as seen with that.
#[test]
fn flags_and_removals_on_the_server_while_ours_are_brought_over_are_not_overlooked() {
    const FOLDERS: [&str; 2] = ["INBOX", "Lists"];
    const ROUNDS: usize = 10;
    const MAILS: i64 = 1000;
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(MAILS));
    setup.sync = "delete = \"expunge\"".to_owned();
    setup.imap().create(&["Lists"]);
    setup.append(&["Lists"], &corpus::ordinary(MAILS));
    setup.sync_in_step();
    let mut others = setup.imap();
    let work = |count: u64| {
        // To none of the messages twice: what is overlooked stays so.
        let uid = (101 + count / 2).min(MAILS.unsigned_abs()).to_string();
        let folder = FOLDERS[usize::from(count.is_multiple_of(2))];
        match count % 20 {
            0 | 1 => others.expunge(&[folder], &uid),
            _ => others.store(&[folder], &uid, "+FLAGS (\\Answered work)"),
        }
    };
    // Those that the others leave alone.
    let mut ours = FOLDERS.map(|folder| setup.root.folder(&[folder])).map(|maildir| {
        let mut entries = maildir.messages();
        entries.retain(|entry| entry.keywords.is_empty());
        entries.retain(|entry| String::from_utf8_lossy(&entry.content).lines().any(is_among_first));
        (maildir, entries)
    });
    let syncs = || {
        for round in 0..ROUNDS {
            for (maildir, entries) in &mut ours {
                for entry in entries {
                    entry.path = maildir.set_flags(entry, if round % 2 == 0 { "FS" } else { "S" });
                }
            }
            assert!(matches!(setup.sync().code, Some(0 | 1)));
            for (_, entries) in &mut ours {
                fs::remove_file(entries.pop().unwrap().path).unwrap();
            }
            assert!(matches!(setup.sync().code, Some(0 | 1)));
        }
    };
    assert!(meanwhile(work, syncs) > 20);
    setup.sync_in_step();
}

/// Gives every file of two maildirs another name: flagged or not, and now and then in the other maildir.
fn rename_all(maildirs: [&Maildir; 2], count: u64) {
    for (at, maildir) in maildirs.iter().enumerate() {
        let files = ["cur", "new"].map(|directory| fs::read_dir(maildir.0.join(directory)).unwrap());
        for (number, file) in files.into_iter().flatten().map(Result::unwrap).enumerate() {
            let name = file.file_name().into_string().unwrap();
            let (unique, letters) = name.split_once(":2,").unwrap_or((&name, ""));
            let letters = match letters.strip_prefix('F') {
                Some(rest) => rest.to_owned(),
                None => format!("F{letters}"),
            };
            let step = number as u64 + count;
            let target = if step.is_multiple_of(7) { maildirs[1 - at] } else { maildir };
            let new = target.0.join("cur").join(format!("{unique}:2,{letters}"));
            let renamed = match step {
                _ if step.is_multiple_of(21) => link_and_remove(&file.path(), &new),
                _ if step.is_multiple_of(14) => copy_and_remove(&file.path(), &new),
                _ => fs::rename(file.path(), new),
            };
            // Another was faster, as between any two programs.
            renamed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }).unwrap();
        }
    }
}

/// Moves a file in two steps, as local Dovecot does.
fn link_and_remove(old: &Path, new: &Path) -> io::Result<()> {
    fs::hard_link(old, new)?;
    remove_whatever_its_flags(old);
    Ok(())
}

/// Moves a file as `mv` does between two file systems.
fn copy_and_remove(old: &Path, new: &Path) -> io::Result<()> {
    let temporary = new.ancestors().nth(2).unwrap().join("tmp/copy");
    let date = fs::metadata(old)?.modified()?;
    fs::copy(old, &temporary)?;
    fs::File::options().write(true).open(&temporary)?.set_modified(date)?;
    fs::rename(&temporary, new)?;
    remove_whatever_its_flags(old);
    Ok(())
}

/// Removes a file, which may have got other flags meanwhile.
fn remove_whatever_its_flags(path: &Path) {
    let unique = |path: &Path| path.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap().to_owned();
    thread::sleep(Duration::from_millis(3));
    let maildir = path.ancestors().nth(2).unwrap();
    let listed = || {
        let files = ["cur", "new"].into_iter().flat_map(|part| fs::read_dir(maildir.join(part)).unwrap());
        files.map(|file| file.unwrap().path()).find(|file| unique(file) == unique(path))
    };
    while let Some(file) = listed() {
        if fs::remove_file(file).is_ok() {
            break;
        }
    }
}

#[test]
fn a_program_that_renames_and_moves_all_the_time_costs_no_message() {
    for kind in [Kind::Full, Kind::Bare] {
        // Letters that stand for keywords in one folder may stay on a name that is in another by then.
        let mails: Vec<Mail> = corpus::ordinary(150).into_iter().map(|mail| Mail { flags: "\\Seen", ..mail }).collect();
        let setup = Setup::with_mail(kind, &mails);
        setup.imap().create(&["Archive"]);
        setup.sync_in_step();
        let (inbox, archive) = (setup.root.inbox(), setup.root.folder(&["Archive"]));
        let renamed = meanwhile(|count| rename_all([&inbox, &archive], count), || sync_again_and_again(&setup));
        assert!(renamed > 10, "{renamed} times only");
        setup.sync().expect(0);
        setup.sync_in_step();
        assert_each_once(&mut setup.imap(), all_subjects(150));
    }
}

/// Moves a file in two steps as local Dovecot does: links it, and removes it where it was once it was read, young as if it
/// had been linked just then.
fn move_once_read(old: &Path, new: &Path, during: impl FnOnce()) {
    fs::hard_link(old, new).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, new, inotify::WatchFlags::CLOSE_NOWRITE).unwrap();
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let file = fs::File::open(new).unwrap();
    let work = |_| {
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        if events.next().is_ok() && old.exists() {
            fs::remove_file(old).unwrap();
        }
        thread::sleep(Duration::from_millis(1));
    };
    meanwhile(work, during);
    assert!(!old.exists(), "nobody has read it");
}

#[test]
fn half_of_a_move_is_no_copy_of_what_was_moved_before() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(8));
    setup.imap().create(&["Archive"]);
    setup.sync_in_step();
    for (number, entry) in setup.root.inbox().messages().into_iter().enumerate() {
        let name = |step: u32| format!("1800000000.{number}.{step}:2,");
        let (renamed, moved) = (entry.path.with_file_name(name(1)), setup.root.folder(&["Archive"]).0.join("cur"));
        fs::rename(&entry.path, &renamed).unwrap();
        move_once_read(&renamed, &moved.join(name(2)), || drop(setup.sync().expect(0)));
        setup.sync_in_step();
    }
    assert_each_once(&mut setup.imap(), (0..8).map(|number| format!("message {number}")));
    assert_eq!(setup.root.inbox().messages(), []);
}

#[test]
fn half_of_a_move_of_new_mail_is_no_other_new_mail() {
    for known in [0, 1] {
        let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(known));
        setup.imap().create(&["Archive"]);
        setup.sync_in_step();
        let new = setup.root.inbox().deliver(&corpus::plain("new"), Some("S"), Some(DATE));
        let moved = setup.root.folder(&["Archive"]).0.join("cur/1800000000.1.moved:2,S");
        move_once_read(&new, &moved, || drop(setup.sync().expect(0)));
        setup.sync_in_step();
        let all = (0..known).map(|number| format!("message {number}")).chain(["new".to_owned()]);
        assert_each_once(&mut setup.imap(), all);
        assert_eq!(setup.imap().messages(&["Archive"]).len(), 1);
    }
}

#[test]
fn half_of_a_move_of_what_a_first_sync_finds_on_both_sides_is_no_other_new_mail() {
    let setup = Setup::with_mail(Kind::Full, &[Mail { body: corpus::plain("known"), flags: "\\Seen", date: DATE }]);
    setup.imap().create(&["Archive"]);
    let [inbox, archive] = [setup.root.inbox(), setup.root.folder(&["Archive"])];
    for maildir in [&inbox, &archive] {
        ["cur", "new", "tmp"].iter().for_each(|part| fs::create_dir_all(maildir.0.join(part)).unwrap());
    }
    let old = inbox.deliver(&corpus::plain("known"), Some("S"), Some(DATE));
    move_once_read(&old, &archive.0.join("cur/1800000000.1.moved:2,S"), || drop(setup.sync().expect(0)));
    setup.sync_in_step();
    assert_each_once(&mut setup.imap(), ["known".to_owned()].into_iter());
    assert_eq!(setup.imap().messages(&["Archive"]).len(), 1);
}

/// Copies the program to where everybody may run it, and runs it as another user.
const AS_OTHER: &str = r#"
user=$1 group=$2 home=$3 program=$4
shift 4
[ -e "$home/program" ] || cp "$program" "$home/program"
chown -R "$user:$group" "$home"
exec setpriv --reuid "$user" --regid "$group" --clear-groups "$home/program" "$@"
"#;

/// Dovecot serves the mail of nobody but its own user's: as root, the binary runs as that.
fn run_as_owner_of(setup: &mut Setup, path: &Path) {
    let owner = fs::metadata(path).unwrap();
    if rustix::process::getuid().is_root() {
        let (user, group) = (owner.uid().to_string(), owner.gid().to_string());
        let words = ["sh", "-c", AS_OTHER, "sh", &user, &group, setup.path().to_str().unwrap()];
        setup.entrance = words.map(str::to_owned).to_vec();
    }
}

/// A second Maildir, served by a local Dovecot, and a mail program's connection to that.
fn behind_local_dovecot(setup: &mut Setup) -> Imap {
    let local = setup.server.new_user();
    let mut program = Imap::login(setup.server, &local);
    program.create(&["Archive"]);
    let path: PathBuf = setup.server.home(&local).join("Maildir");
    run_as_owner_of(setup, &path);
    setup.root = Root { path, layout: Layout::PlusPlus };
    program
}

/// A mail program at work on the local Dovecot: mail is filed, brought back, flagged, and some of it written.
fn work_on(imap: &mut Imap, count: u64, written: &mut u64) {
    let (from, to): ([&str; 1], [&str; 1]) =
        if count.is_multiple_of(2) { (["INBOX"], ["Archive"]) } else { (["Archive"], ["INBOX"]) };
    let uids: Vec<u32> = imap.messages(&from).iter().map(|message| message.uid).collect();
    for (at, uid) in uids.iter().enumerate().filter(|(at, _)| (*at as u64 + count).is_multiple_of(5)) {
        match at % 3 {
            0 => imap.move_to(&from, &uid.to_string(), &to),
            1 => imap.store(&from, &uid.to_string(), "+FLAGS (\\Flagged later)"),
            _ => imap.store(&from, &uid.to_string(), "-FLAGS (\\Flagged \\Seen work)"),
        }
    }
    imap.append(&from, &corpus::plain(&format!("written {count}")), "\\Seen work", Some(DATE));
    *written = count + 1;
}

#[test]
fn a_local_dovecot_at_work_on_the_same_maildir_costs_no_message() {
    // `$Forwarded` is the letter P on names here, of which Dovecot knows nothing.
    let mails: Vec<Mail> = corpus::ordinary(60).into_iter().filter(|mail| !mail.flags.contains("$Forwarded")).collect();
    let mut setup = Setup::with_mail(Kind::Full, &mails);
    setup.imap().create(&["Archive"]);
    let expected: Vec<String> = subjects(&mut setup.imap()).into_keys().collect();
    let mut program = behind_local_dovecot(&mut setup);
    setup.sync_in_step();
    let mut written = 0;
    let worked = meanwhile(
        |count| work_on(&mut program, count, &mut written),
        || {
            for _ in 0..ROUNDS {
                let run = setup.sync();
                assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
            }
        },
    );
    assert!(worked > 2, "{worked} times only");
    setup.sync().expect(0);
    setup.sync_in_step();
    let (there, here) = (compare::of_server(&mut setup.imap()), compare::of_server(&mut program));
    let found = compare::differences(&there, "on the server", &here, "on the local Dovecot");
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_each_once(&mut program, expected.into_iter().chain((0..written).map(|count| format!("written {count}"))));
}

/// Dovecot knows nothing of the letter P, and gives what it moves and copies a name without it.
#[test]
fn what_a_local_dovecot_moves_stays_forwarded() {
    let mails = ["$Forwarded", "\\Seen $Forwarded work", "\\Answered $Forwarded"];
    let mails = mails.map(|flags| Mail { body: corpus::plain(flags), flags, date: DATE });
    let mut setup = Setup::with_mail(Kind::Full, &mails);
    setup.imap().create(&["Archive"]);
    let mut program = behind_local_dovecot(&mut setup);
    setup.sync_in_step();
    program.transfer(&["INBOX"], "1", &["Archive"]);
    program.copy(&["INBOX"], "2", &["Archive"]);
    // There and back: it is where it was, under another name.
    program.transfer(&["INBOX"], "3", &["Trash"]);
    program.transfer(&["Trash"], "1", &["INBOX"]);
    setup.sync_in_step();
    for (folder, count) in [(["INBOX"], 2), (["Archive"], 2)] {
        let messages = setup.imap().messages(&folder);
        assert_eq!(messages.len(), count);
        for message in messages {
            assert!(message.flags.contains("$Forwarded"), "{folder:?}: {:?}", message.flags);
        }
    }
}

#[test]
fn a_copy_that_it_makes_itself_keeps_no_removal_waiting() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.imap().create(&["Filed"]);
    setup.append(&["Sent"], &corpus::ordinary(3)[2..]);
    setup.sync_in_step();
    // What lies there was made too lately to be known by its time.
    setup.imap().copy(&["INBOX"], "1", &["Filed"]);
    fs::remove_file(setup.root.folder(&["Sent"]).find("message 2.").path).unwrap();
    let run = setup.sync_in_step();
    assert_eq!((run.count("local", "copied"), run.count("remote", "removed")), (1, 1), "{}", run.stdout);
}
