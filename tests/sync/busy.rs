//! Maildirs that others work on all the time while syncs run: a program that renames and moves files, and a local Dovecot.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::compare;
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::imap::Imap;
use crate::support::maildir::{Layout, Maildir, Root};
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
            let moves = (number as u64 + count).is_multiple_of(7);
            let target = if moves { maildirs[1 - at] } else { maildir };
            let renamed = fs::rename(file.path(), target.0.join("cur").join(format!("{unique}:2,{letters}")));
            // Another was faster, as between any two programs.
            renamed
                .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                .unwrap();
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
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(60));
    setup.imap().create(&["Archive"]);
    let local = setup.server.new_user();
    let mut program = Imap::login(setup.server, &local);
    program.create(&["Archive"]);
    let path: PathBuf = setup.server.home(&local).join("Maildir");
    run_as_owner_of(&mut setup, &path);
    setup.root = Root { path, layout: Layout::PlusPlus };
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
    let mail = (0..60).map(|number| format!("message {number}"));
    assert_each_once(&mut program, mail.chain((0..written).map(|count| format!("written {count}"))));
}
