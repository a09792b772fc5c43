//! Runs killed and connections cut at any moment: nothing lost, nothing doubled.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::compare;
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::imap::Message;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::Setup;

/// How often each scenario is interrupted.
const TIMES: usize = 14;

/// An account with something to do, reached through a proxy.
struct Scenario {
    setup: Setup,
    proxy: Proxy,
}

/// Returns the account after all of its work was done undisturbed, and so what must come out in any case.
fn undisturbed(prepare: fn(Kind) -> Setup, kind: Kind) -> (Scenario, Duration) {
    let scenario = Scenario::new(prepare(kind));
    let started = Instant::now();
    scenario.setup.sync().expect(0);
    let took = started.elapsed();
    (scenario, took)
}

impl Scenario {
    fn new(mut setup: Setup) -> Scenario {
        let proxy = Proxy::start(setup.port);
        setup.port = proxy.port;
        Scenario { setup, proxy }
    }

    fn spawn(&self) -> Child {
        self.setup.command(&["sync", "--json"]).spawn().unwrap()
    }

    /// Lets a run go until so many bytes have passed either way, then kills it. Returns true if it was still at work.
    fn kill_after_bytes(&self, bytes: usize) -> bool {
        self.proxy.allow(bytes, Fault::Stall);
        let mut child = self.spawn();
        self.proxy.wait_until_used_up(|| child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap().signal().is_some()
    }

    /// Starts a run that waits for a silent server in the middle of its work.
    fn stalled(&self) -> Child {
        self.proxy.allow(60_000, Fault::Stall);
        let mut child = self.spawn();
        self.proxy.wait_until_used_up(|| child.try_wait().unwrap().is_none());
        if child.try_wait().unwrap().is_some() {
            panic!("the run has ended already: {:?}", child.wait_with_output().unwrap());
        }
        child
    }

    fn kill_after_time(&self, time: Duration) -> bool {
        self.proxy.heal();
        let mut child = self.spawn();
        sleep(time);
        child.kill().unwrap();
        child.wait().unwrap().signal().is_some()
    }

    /// Lets a run finish, and demands the outcome of an undisturbed one. While the server still renames folders for a killed
    /// run it may list those above under their new names and those below under their old ones: a run that sees that leaves
    /// them to the next.
    fn expect_outcome_of(&self, other: &Scenario) {
        self.proxy.wait_for_the_server();
        self.proxy.heal();
        self.setup.sync().expect(0);
        self.setup.sync_in_step();
        let expected = compare::of_server(&mut other.setup.imap());
        let outcome = compare::of_server(&mut self.setup.imap());
        let found = compare::differences(&expected, "in an undisturbed run", &outcome, "here");
        assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    }
}

fn first_pull(kind: Kind) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(200));
    setup.append(&["Sent"], &corpus::odd(51));
    setup
}

fn upload(kind: Kind) -> Setup {
    let setup = Setup::new(kind);
    setup.sync().expect(0);
    for mail in corpus::ordinary(200) {
        setup.root.inbox().deliver(&mail.body, Some("S"), Some(mail.date));
    }
    for mail in corpus::odd(51).iter().filter(|mail| !mail.body.contains(&0)) {
        setup.root.folder(&["Sent"]).deliver(&mail.body, None, Some(mail.date));
    }
    setup
}

fn adoption(kind: Kind) -> Setup {
    let mails = corpus::ordinary(150);
    let setup = Setup::with_mail(kind, &mails[..100]);
    setup.root.inbox().create();
    for mail in &mails[50..] {
        setup.root.inbox().deliver(&mail.body, Some(""), Some(mail.date));
    }
    setup
}

fn mixed(kind: Kind) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(150));
    setup.sync().expect(0);
    setup.append(&["INBOX"], &corpus::odd(34));
    setup.imap().create(&["Made", "there"]);
    setup.append(&["Made", "there"], &corpus::ordinary(10));
    setup.imap().store(&["INBOX"], "1:20", "+FLAGS (\\Flagged later)");
    setup.imap().expunge(&["INBOX"], "21:30");
    let inbox = setup.root.inbox();
    for number in 30..50 {
        inbox.set_flags(&inbox.find(&format!("message {number}.")), "DFS");
    }
    for number in 50..60 {
        fs::remove_file(inbox.find(&format!("message {number}.")).path).unwrap();
    }
    let made = setup.root.folder(&["Made", "here"]);
    made.create();
    for number in 0..30 {
        let (body, date) = (corpus::plain(&format!("new here {number}")), Some(DATE + number));
        if number % 2 == 0 { &inbox } else { &made }.deliver(&body, Some("S"), date);
    }
    setup
}

/// Kills runs at many moments, and demands in the end what an undisturbed run makes. Returns the accounts.
pub(super) fn killed(prepare: fn(Kind) -> Setup, kind: Kind) -> [Setup; 3] {
    let (clean, took) = undisturbed(prepare, kind);
    // A second run may carry over what the first one made: a message moved to Trash.
    clean.setup.sync_in_step();
    let whole = {
        let measured = Scenario::new(prepare(kind));
        measured.setup.sync().expect(0);
        measured.proxy.passed()
    };
    let by_bytes = Scenario::new(prepare(kind));
    let killed = (1..=TIMES).filter(|time| by_bytes.kill_after_bytes(whole * time / (TIMES + 1))).count();
    assert!(killed > 0, "no run was at work when it was killed");
    by_bytes.expect_outcome_of(&clean);
    let by_time = Scenario::new(prepare(kind));
    let times = u32::try_from(TIMES).unwrap();
    let killed = (1..=times).filter(|time| by_time.kill_after_time(took * *time / times)).count();
    assert!(killed > 0, "no run was at work when it was killed");
    by_time.expect_outcome_of(&clean);
    [clean, by_bytes, by_time].map(|scenario| scenario.setup)
}

#[test]
fn killed_in_the_first_pull() {
    killed(first_pull, Kind::Full);
}

#[test]
fn killed_in_the_first_pull_without_extensions() {
    killed(first_pull, Kind::Bare);
}

#[test]
fn killed_while_uploading() {
    killed(upload, Kind::Full);
}

#[test]
fn killed_while_uploading_without_extensions() {
    killed(upload, Kind::Bare);
}

/// A server goes on with what it has received, after the connection's end and while the next run looks.
#[test]
fn killed_while_uploading_and_run_again_at_once() {
    for round in 0..20 {
        let setup = Setup::new(Kind::Full);
        setup.sync().expect(0);
        // Several parts of an upload, two of them on their way at once.
        let count = if round % 2 == 0 { 150 } else { 700 };
        for mail in corpus::ordinary(count) {
            setup.root.inbox().deliver(&mail.body, Some("S"), Some(mail.date));
        }
        let mut child = setup.command(&["sync", "--json"]).spawn().unwrap();
        sleep(Duration::from_millis(40 + round * 10));
        child.kill().unwrap();
        child.wait().unwrap();
        setup.sync().expect(0);
        assert_eq!(setup.imap().messages(&["INBOX"]).len() as i64, count, "round {round}");
        setup.sync_in_step();
    }
}

/// What a killed run had sent, and another client filed before the next one looked, is not sent again.
#[test]
fn killed_while_uploading_and_what_arrived_is_filed_on_the_server() {
    let mut filed = 0;
    for (round, kind) in (0..).zip([Kind::Full, Kind::NoUidplus].into_iter().cycle().take(16)) {
        let setup = Setup::new(kind);
        setup.imap().create(&["Archive"]);
        setup.sync().expect(0);
        for mail in corpus::ordinary(100) {
            setup.root.inbox().deliver(&mail.body, Some("S"), Some(mail.date));
        }
        let mut child = setup.command(&["sync", "--json"]).spawn().unwrap();
        sleep(Duration::from_millis(40 + round * 10));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut imap = setup.imap();
        let uids: Vec<String> = imap.messages(&["INBOX"]).iter().map(|message| message.uid.to_string()).collect();
        if !uids.is_empty() {
            imap.transfer(&["INBOX"], &uids.join(","), &["Archive"]);
            filed += uids.len();
        }
        setup.sync().expect(0);
        let all: Vec<_> = ["INBOX", "Archive", "Trash"].iter().flat_map(|name| imap.messages(&[name])).collect();
        let subjects: BTreeSet<&[u8]> = all.iter().map(|message| message.body.as_slice()).collect();
        assert_eq!((all.len(), subjects.len()), (100, 100), "round {round}, {kind:?}");
        setup.sync_in_step();
    }
    assert!(filed > 0, "no run was killed in time");
}

/// Gives every file these letters and no other, as a program does that drops those that it does not know.
fn set_all(setup: &Setup, letters: &str) {
    for entry in setup.root.inbox().messages() {
        setup.root.inbox().set_flags(&entry, letters);
    }
}

/// An account of 600 messages, and how many bytes pass when all are marked as read.
fn of_600(flags: &'static str) -> (Scenario, usize) {
    let mail = |number| Mail { body: corpus::plain(&format!("message {number}")), flags, date: DATE };
    let scenario = Scenario::new(Setup::with_mail(Kind::Full, &(0..600).map(mail).collect::<Vec<_>>()));
    scenario.setup.sync_in_step();
    set_all(&scenario.setup, "S");
    scenario.proxy.heal();
    scenario.setup.sync().expect(0);
    let passed = scenario.proxy.passed();
    (scenario, passed)
}

/// Gives every file these letters, and kills the run that stores them. Returns how many were stored.
fn killed_while_storing(scenario: &Scenario, letters: &str, bytes: usize) -> usize {
    set_all(&scenario.setup, letters);
    scenario.kill_after_bytes(bytes);
    scenario.proxy.heal();
    scenario.setup.imap().messages(&["INBOX"]).iter().filter(|one| is_seen(one) == letters.contains('S')).count()
}

fn is_seen(message: &Message) -> bool {
    message.flags.contains("\\Seen")
}

/// Demands of all files and messages that they show this.
fn expect_all(setup: &Setup, ends: &str, shows: impl Fn(&Message) -> bool) {
    let files = setup.root.inbox().messages();
    let files = files.iter().filter(|entry| entry.path.to_string_lossy().ends_with(ends)).count();
    let messages = setup.imap().messages(&["INBOX"]).iter().filter(|message| shows(message)).count();
    assert_eq!((files, messages), (600, 600));
}

/// What a killed run had stored counted as the newer, and was put on the files.
#[test]
fn killed_while_storing_flags_that_are_changed_back() {
    let (scenario, whole) = of_600("");
    let mut stored = 0;
    for time in 1..=TIMES {
        stored += killed_while_storing(&scenario, "", whole * time / (TIMES + 1));
        set_all(&scenario.setup, "S");
        scenario.setup.sync().expect(0);
        expect_all(&scenario.setup, ":2,S", is_seen);
    }
    assert!(stored > 0, "no run had stored anything when it was killed");
}

/// What a killed run had stored counted as agreed on, and the letters that went with it as taken off by themselves.
#[test]
fn killed_while_storing_flags_set_by_a_program_that_strips_letters() {
    let (scenario, whole) = of_600("work");
    let mut stored = 0;
    for (time, letters) in (1..=TIMES).zip(["", "S"].into_iter().cycle()) {
        stored += killed_while_storing(&scenario, letters, whole * time / (TIMES + 1));
        scenario.setup.sync().expect(0);
        let seen = letters.contains('S');
        expect_all(&scenario.setup, &format!(":2,{letters}a"), |message| {
            message.flags.contains("work") && is_seen(message) == seen
        });
    }
    assert!(stored > 0, "no run had stored anything when it was killed");
}

#[test]
fn killed_while_adopting() {
    killed(adoption, Kind::Full);
}

#[test]
fn killed_while_everything_changes() {
    killed(mixed, Kind::Full);
}

#[test]
fn killed_while_everything_changes_without_extensions() {
    killed(mixed, Kind::Bare);
}

fn cut(prepare: fn(Kind) -> Setup) {
    let (clean, _) = undisturbed(prepare, Kind::Full);
    clean.setup.sync_in_step();
    let whole = {
        let measured = Scenario::new(prepare(Kind::Full));
        measured.setup.sync().expect(0);
        measured.proxy.passed()
    };
    let scenario = Scenario::new(prepare(Kind::Full));
    let early = [0, 1, 100, 1000, 2000, 3000];
    for bytes in early.into_iter().chain((1..=20).map(|time| whole * time / 21)) {
        scenario.proxy.allow(bytes, Fault::Cut);
        let run = scenario.setup.sync();
        let finished = scenario.proxy.passed() < bytes;
        assert!(run.code == Some(4) || finished && run.code == Some(0), "{bytes} of {whole}: {run:?}");
        assert!(run.code == Some(0) || run.account()["errors"][0]["message"].is_string(), "{}", run.stdout);
    }
    scenario.expect_outcome_of(&clean);
}

#[test]
fn cut_in_the_first_pull_at_any_byte() {
    cut(first_pull);
}

#[test]
fn cut_while_uploading_at_any_byte() {
    cut(upload);
}

#[test]
fn cut_while_everything_changes_at_any_byte() {
    cut(mixed);
}

#[test]
fn interrupted_by_the_user_leaves_a_clean_state() {
    for (signal, code, name) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "interrupted")] {
        let mut scenario = Scenario::new(first_pull(Kind::Full));
        // What handled signals before is over.
        scenario.setup.extra = "[hooks]\nbefore_sync = [\"true\"]\n".to_owned();
        let child = scenario.stalled();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["accounts"][0]["status"], name, "{json}");
        scenario.proxy.heal();
        scenario.setup.sync_in_step();
    }
}

#[test]
fn a_silent_server_is_given_up_after_the_timeout() {
    let mut scenario = Scenario::new(first_pull(Kind::Full));
    scenario.setup.keys = "timeout = \"2s\"".to_owned();
    for bytes in [0, 3000, 60_000] {
        scenario.proxy.allow(bytes, Fault::Stall);
        let started = Instant::now();
        scenario.setup.sync().expect(4);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
    scenario.proxy.heal();
    scenario.setup.sync_in_step();
}

#[test]
fn two_runs_never_share_an_account() {
    let scenario = Scenario::new(first_pull(Kind::Full));
    let mut first = scenario.stalled();
    let second = scenario.setup.sync().expect(6);
    assert_eq!(second.account()["status"], "busy", "{}", second.stdout);
    first.kill().unwrap();
    first.wait().unwrap();
    scenario.proxy.heal();
    scenario.setup.sync_in_step();
}
