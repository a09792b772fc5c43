//! How fast: mailtide beside mbsync, if that is installed, on one private Dovecot. `contrib/bench` runs it.
//!
//! Both start from equal accounts with their default settings, take turns, and are timed from the start of the process to
//! its end. After each step mailtide's two sides are compared; mbsync is trusted to have done its work.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::{Kind, PASSWORD};
use crate::support::maildir::{Layout, Maildir, Root};
use crate::support::setup::Setup;

const FOLDERS: usize = 20;
const IN_EACH: usize = 250;
const ROUNDS: usize = 3;

/// One account and what is run on it.
struct Runner {
    name: &'static str,
    setup: Setup,
    root: Root,
    command: fn(&Runner) -> Command,
    times: Vec<Duration>,
}

impl Runner {
    fn new(name: &'static str, command: fn(&Runner) -> Command) -> Runner {
        let mut setup = Setup::new(Kind::Full);
        (setup.port, setup.tls) = (setup.server.port, "none");
        let root = Root { path: setup.root.path.clone(), layout: Layout::Fs };
        for folder in 0..FOLDERS {
            let name = format!("Folder{folder}");
            setup.imap().create(&[&name]);
            setup.append(&[&name], &mails(folder * IN_EACH, IN_EACH));
        }
        Runner { name, setup, root, command, times: Vec::new() }
    }

    fn run(&mut self) {
        // What earlier runs left to be written is nobody's work now.
        rustix::fs::sync();
        let mut command = (self.command)(self);
        let started = Instant::now();
        let ended = command.stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
        self.times.push(started.elapsed());
        assert!(ended.success(), "{} ended with {ended}", self.name);
    }

    fn folder(&self, number: usize) -> Maildir {
        self.root.folder(&[&format!("Folder{number}")])
    }
}

/// Messages of some kilobytes each.
fn mails(first: usize, count: usize) -> Vec<Mail> {
    let mail = |number: usize| {
        let filler = b"A line of text as letters have them, with some seventy bytes to it.\n".repeat(40 + number % 400);
        let body = [corpus::plain(&format!("message {number}")), filler].concat();
        Mail { body, flags: "\\Seen", date: DATE + i64::try_from(number).unwrap() }
    };
    (first..first + count).map(mail).collect()
}

fn mailtide(runner: &Runner) -> Command {
    runner.setup.command(&["sync", "-q", "--accept-held", "test"])
}

fn mbsync(runner: &Runner) -> Command {
    let config = runner.setup.path().join("mbsyncrc");
    let (port, user, root) = (runner.setup.port, &runner.setup.user, runner.root.path.display());
    fs::create_dir_all(&runner.root.path).unwrap();
    let text = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {PASSWORD}\nSSLType None\n\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nPath {root}/\nInbox {root}/INBOX\nSubFolders Verbatim\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("mbsync");
    command.arg("-c").arg(config).arg("-a").env("HOME", runner.setup.path());
    command
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn flag_here(runner: &mut Runner, round: usize) {
    let letters = if round.is_multiple_of(2) { "FS" } else { "S" };
    for number in 0..FOLDERS / 2 {
        let folder = runner.folder(number);
        folder.messages().iter().for_each(|entry| drop(folder.set_flags(entry, letters)));
    }
}

fn arrive_there(runner: &mut Runner, round: usize) {
    for number in 0..FOLDERS {
        let mails = mails(100_000 * (round + 1) + number * 10, 10);
        runner.setup.append(&[&format!("Folder{number}")], &mails);
    }
}

fn arrive_here(runner: &mut Runner, round: usize) {
    for mail in mails(1_000_000 * (round + 1), 500) {
        runner.folder(0).deliver(&mail.body, Some("S"), Some(mail.date));
    }
}

fn move_here(runner: &mut Runner, _: usize) {
    let (from, to) = (runner.folder(1), runner.folder(2));
    for entry in from.messages().into_iter().take(60) {
        let number = entry.path.file_name().unwrap().to_str().unwrap().replace(['.', ':', ',', '='], "");
        fs::rename(&entry.path, to.0.join("cur").join(format!("{number}.moved:2,S"))).unwrap();
    }
}

/// A step's name, what precedes each run of it, and how often it is run.
type Step = (&'static str, fn(&mut Runner, usize), usize);

#[test]
#[ignore = "a benchmark, which contrib/bench runs"]
fn beside_mbsync() {
    let mut runners = vec![Runner::new("mailtide", mailtide)];
    match is_installed("mbsync") {
        true => runners.push(Runner::new("mbsync", mbsync)),
        false => say("mbsync is not installed: mailtide alone"),
    }
    let first = format!("first pull of {} messages in {FOLDERS} folders", FOLDERS * IN_EACH);
    let steps: [Step; 6] = [
        (&*first.leak(), |_, _| {}, 1),
        ("nothing new", |_, _| {}, ROUNDS * 3),
        ("10 new messages in each folder", arrive_there, ROUNDS),
        ("2,500 flags changed locally", flag_here, ROUNDS),
        ("500 messages uploaded", arrive_here, ROUNDS),
        ("60 messages moved locally", move_here, ROUNDS),
    ];
    let names: String = runners.iter().map(|one| format!("{:>10}", one.name)).collect();
    say(&format!("{:45}{names}", "seconds, median"));
    for (name, prepare, rounds) in steps {
        for round in 0..rounds {
            for runner in &mut runners {
                prepare(runner, round);
                runner.run();
            }
            runners.rotate_left(1);
        }
        runners.sort_by_key(|one| one.name);
        let seconds = |one: &mut Runner| format!("{:>10.3}", median(&mut one.times).as_secs_f64());
        let medians: String = runners.iter_mut().map(seconds).collect();
        say(&format!("{name:45}{medians}"));
        runners.iter().filter(|one| one.name == "mailtide").for_each(|one| one.setup.assert_equal());
    }
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").unwrap();
}

fn median(times: &mut Vec<Duration>) -> Duration {
    times.sort_unstable();
    let middle = times[times.len() / 2];
    times.clear();
    middle
}
