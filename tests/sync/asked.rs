//! `mailtide sync` beside `mailtide watch`: the daemon does it, with the outcome of any other.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::corpus;
use crate::support::daemon::Daemon;
use crate::support::dovecot::Kind;
use crate::support::proxy::Proxy;
use crate::support::setup::Setup;

/// Longer than anything it does of its own accord.
const QUIET: Duration = Duration::from_millis(1500);

/// How long anything that must happen is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// An account whose server tells nothing and is looked at once an hour, behind a proxy; its daemon is at rest.
fn at_rest(messages: i64) -> (Setup, Proxy, Daemon) {
    let mut setup = Setup::with_mail(Kind::Bare, &corpus::ordinary(messages));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    setup.keys = "watch.poll = \"1h\"".to_owned();
    setup.extra = format!("[hooks]\non_new_mail = \"cat >> {}\"\n", told(&setup).display());
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    daemon.told.clear();
    (setup, proxy, daemon)
}

/// Starts a sync that takes the server some seconds, and waits until the daemon is at it.
fn long_one(setup: &Setup, proxy: &Proxy) -> Child {
    setup.append(&["INBOX"], &corpus::long(1, 20_000));
    proxy.slow_down(4096);
    let before = proxy.passed();
    let asking = setup.command(&["sync", "--json"]).spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while proxy.passed() < before + 1000 {
        assert!(Instant::now() < deadline, "the daemon never begins");
        std::thread::yield_now();
    }
    asking
}

/// What the hook was told, one line each time.
fn told(setup: &Setup) -> PathBuf {
    setup.path().join("new_mail.json")
}

fn socket(setup: &Setup) -> PathBuf {
    setup.path().join("state/daemon.socket")
}

/// Returns what a sync asks the daemon, which does not hear it this time.
fn question(setup: &Setup) -> String {
    let (socket, aside) = (socket(setup), setup.path().join("aside.socket"));
    fs::rename(&socket, &aside).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut asking = setup.command(&["sync", "--json"]).spawn().unwrap();
    let (heard, _) = listener.accept().unwrap();
    let mut question = String::new();
    BufReader::new(heard).read_line(&mut question).unwrap();
    asking.kill().unwrap();
    asking.wait().unwrap();
    fs::rename(&aside, &socket).unwrap();
    question
}

/// Asks the daemon, and waits until it has heard that.
fn ask(setup: &Setup, question: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket(setup)).unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = BufReader::new(stream);
    answer.read_line(&mut String::new()).unwrap();
    answer
}

fn why(daemon: &Daemon) -> Vec<&Value> {
    daemon.told.iter().filter(|event| event["event"] == "sync").map(|event| &event["why"]).collect()
}

#[test]
fn a_sync_is_done_by_the_daemon_over_the_connection_that_it_has() {
    let (setup, proxy, mut daemon) = at_rest(3);
    let before = proxy.connections();
    setup.append(&["INBOX"], &corpus::odd(1));
    let run = setup.sync().expect(0).expect_only(&[("local", "added", 1)]);
    setup.assert_equal();
    assert_eq!(run.account()["round_trips"].as_u64().map(|turns| turns > 0), Some(true), "{}", run.stdout);
    let words = setup.run(&["sync", "test/INBOX"]).expect(0);
    assert_eq!((words.stdout.as_str(), words.stderr.as_str()), ("test: in step: nothing new\n", ""));
    daemon.wait_until_quiet(QUIET);
    assert_eq!(proxy.connections(), before);
    assert_eq!(why(&daemon), ["asked", "asked"]);
    // Of these it need not know.
    for further in ["--dry-run", "--wait=30s", "-v"] {
        setup.run(&["sync", "--json", further]).expect(0).expect_nothing_done();
    }
    daemon.wait_until_quiet(QUIET);
    assert_eq!(daemon.syncs(), 2);
    daemon.stop();
}

#[test]
fn what_is_held_is_told_and_accepted_as_without_a_daemon() {
    let (setup, _proxy, daemon) = at_rest(200);
    setup.imap().expunge(&["INBOX"], "1:*");
    let run = setup.sync().expect(5);
    let held = &run.account()["held"][0];
    assert_eq!((&held["side"], &held["reason"]), (&"remote".into(), &"mass-delete".into()), "{}", run.stdout);
    let words = setup.run(&["sync"]).expect(5);
    assert!(words.stderr.contains("--accept-held"), "{}", words.stderr);
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    assert_eq!(setup.root.inbox().messages().len(), 0);
    daemon.stop();
}

#[test]
fn with_other_settings_than_the_daemons_a_sync_is_ones_own() {
    let (mut setup, _proxy, mut daemon) = at_rest(3);
    let before = std::mem::take(&mut setup.extra);
    setup.extra = "[accounts.test.folders]\nexclude = [\"Sent\"]\n".to_owned();
    setup.append(&["Sent"], &corpus::odd(1));
    setup.append(&["INBOX"], &corpus::ordinary(9)[8..]);
    setup.sync().expect(0).expect_only(&[("local", "added", 1)]);
    assert_eq!(setup.root.inbox().messages().len(), 4);
    setup.extra = before;
    setup.sync().expect(0);
    daemon.wait_for("the request", |event| event["why"] == "asked");
    setup.assert_equal();
    daemon.stop();
}

#[test]
fn a_daemon_that_dies_over_it_or_is_told_to_end_leaves_it_to_who_asked() {
    for end in [Daemon::kill, Daemon::stop] {
        let (setup, proxy, daemon) = at_rest(3);
        let asking = long_one(&setup, &proxy);
        end(daemon);
        let ended = asking.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stdout));
        setup.assert_equal();
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn a_daemon_goes_on_with_it_when_who_asked_goes_away() {
    let (setup, proxy, mut daemon) = at_rest(3);
    let asking = long_one(&setup, &proxy);
    kill_process(Pid::from_child(&asking), Signal::INT).unwrap();
    let ended = asking.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("what `mailtide watch` has begun it finishes"), "{said}");
    daemon.wait_for_sync("local", "added", 1);
    let deadline = Instant::now() + DEADLINE;
    while fs::read_to_string(told(&setup)).unwrap().lines().count() < 2 {
        assert!(Instant::now() < deadline, "nobody tells of the new message");
    }
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn what_is_given_up_while_it_waits_for_its_turn_is_not_done() {
    let (setup, proxy, mut daemon) = at_rest(3);
    let question = question(&setup);
    let asking = long_one(&setup, &proxy);
    drop(ask(&setup, &question));
    assert_eq!(asking.wait_with_output().unwrap().status.code(), Some(0));
    daemon.wait_until_quiet(QUIET);
    assert_eq!(why(&daemon), ["asked"]);
    daemon.stop();
}

#[test]
fn what_another_version_asks_for_is_left_to_that() {
    let (setup, _proxy, mut daemon) = at_rest(3);
    let question = question(&setup);
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let mut answer = String::new();
    for (version_asked, is_done) in [("\"version\":\"0.0.1\"", false), (version.as_str(), true)] {
        answer.clear();
        ask(&setup, &question.replace(&version, version_asked)).read_to_string(&mut answer).unwrap();
        assert_eq!(answer.contains("\"report\""), is_done, "{version_asked}: {answer}");
    }
    daemon.wait_until_quiet(QUIET);
    assert_eq!(why(&daemon), ["asked"]);
    daemon.stop();
}
