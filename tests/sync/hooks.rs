//! The user's commands around a sync.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::corpus::{self, DATE};
use crate::support::daemon::Daemon;
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

/// An account whose hooks append what they are told to files of their names.
fn with_hooks(kind: Kind, before: &str) -> Setup {
    let mut setup = Setup::with_mail(kind, &corpus::ordinary(2));
    let path = setup.path().display().to_string();
    let keep = |hook: &str| format!("{hook} = \"cat >> {path}/{hook}.json\"\n");
    setup.extra = format!("[hooks]\nbefore_sync = {before:?}\n{}{}", keep("on_new_mail"), keep("on_change"));
    setup
}

fn told(setup: &Setup, hook: &str) -> Vec<Value> {
    let text = fs::read_to_string(setup.path().join(format!("{hook}.json"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_until_told(setup: &Setup, hook: &str, times: usize) -> Value {
    wait_until(&format!("{hook} told {times} times"), || told(setup, hook).len() >= times);
    told(setup, hook)[times - 1].clone()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_sync_tells_of_new_mail_and_changes_once_and_nothing_else() {
    let setup = with_hooks(Kind::Full, "");
    setup.sync().expect(0);
    let mail = told(&setup, "on_new_mail");
    assert_eq!((mail.len(), &mail[0]["version"], &mail[0]["hook"]), (1, &Value::from(1), &Value::from("on_new_mail")));
    assert_eq!(mail[0]["count"], 2);
    let inbox = &mail[0]["mail"][0];
    assert_eq!((&inbox["account"], &inbox["folder"], &inbox["count"]), (&"test".into(), &"INBOX".into(), &2.into()));
    for path in inbox["paths"].as_array().unwrap() {
        let text = String::from_utf8_lossy(&fs::read(path.as_str().unwrap()).unwrap()).into_owned();
        let ids = inbox["message_ids"].as_array().unwrap();
        assert!(ids.iter().any(|id| text.contains(id.as_str().unwrap())), "{ids:?}\n{text}");
    }
    let changes = told(&setup, "on_change");
    assert_eq!((changes.len(), &changes[0]["accounts"][0]["local"]["added"]), (1, &Value::from(2)));

    // Nothing new: nobody is told. A message that goes up is a change and no new mail.
    setup.sync().expect(0).expect_nothing_done();
    setup.root.inbox().deliver(&corpus::plain("up"), None, Some(DATE));
    setup.run(&["sync", "--json", "--dry-run"]).expect(0);
    assert_eq!(told(&setup, "on_change").len(), 1);
    setup.sync().expect(0);
    assert_eq!((told(&setup, "on_new_mail").len(), told(&setup, "on_change").len()), (1, 2));
    // What only moves to another folder on the server is none either.
    setup.imap().transfer(&["INBOX"], "1", &["Sent"]);
    setup.sync().expect(0);
    assert_eq!((told(&setup, "on_new_mail").len(), told(&setup, "on_change").len()), (1, 3));
}

#[test]
fn a_hook_that_fails_is_told_of_and_changes_no_exit_code() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(1));
    setup.extra = "[hooks]\non_new_mail = \"echo full >&2; exit 3\"\n".to_owned();
    let run = setup.sync().expect(0);
    assert_eq!(run.json()["errors"][0]["code"], "hook-failed", "{}", run.stdout);
    assert!(run.json()["errors"][0]["message"].as_str().unwrap().contains("full"), "{}", run.stdout);
}

#[test]
fn a_hook_before_the_sync_can_forbid_it() {
    let setup = with_hooks(Kind::Full, "grep -q '\"accounts\":\\[\"test\"\\]' && exit 7");
    let run = setup.sync().expect(1);
    assert_eq!(run.json()["errors"][0]["code"], "before-sync", "{}", run.stdout);
    assert!(!setup.root.path.exists(), "the root was made");
    setup.run(&["sync", "--json", "--dry-run"]).expect(0);

    let mut daemon = Daemon::start(&setup);
    let synced = daemon.wait_for("its first sync", |event| event["event"] == "sync");
    assert_eq!(synced["result"]["exit_code"], 1, "{synced}");
    assert!(!setup.root.path.exists(), "the root was made");
    daemon.stop();
}

#[test]
fn watching_tells_of_new_mail_while_it_goes_on() {
    let setup = with_hooks(Kind::Full, "true");
    let mut daemon = Daemon::settled(&setup);
    assert_eq!(wait_until_told(&setup, "on_new_mail", 1)["count"], 2);
    setup.append(&["INBOX"], &corpus::ordinary(9)[8..]);
    daemon.wait_for_sync("local", "added", 1);
    let mail = wait_until_told(&setup, "on_new_mail", 2);
    assert_eq!(mail["mail"][0]["count"], 1);
    let path = PathBuf::from(mail["mail"][0]["paths"][0].as_str().unwrap());
    assert!(path.is_file(), "{path:?}");
    daemon.stop();
}

/// Who asks calls them, and the daemon does not.
#[test]
fn a_sync_that_the_daemon_does_tells_of_new_mail_once_before_it_ends() {
    let mut setup = with_hooks(Kind::Bare, "tee -a before.json");
    setup.keys = "watch.poll = \"1h\"".to_owned();
    setup.extra = setup.extra.replace("before.json", &setup.path().join("before.json").display().to_string());
    let mut daemon = Daemon::settled(&setup);
    wait_until_told(&setup, "on_new_mail", 1);
    daemon.wait_until_quiet(Duration::from_millis(1500));
    let times = || ["before", "on_new_mail", "on_change"].map(|hook| told(&setup, hook).len());
    let once_more = times().map(|times| times + 1);
    setup.append(&["INBOX"], &corpus::ordinary(9)[8..]);
    setup.sync().expect(0);
    assert_eq!(times(), once_more);
    daemon.wait_for("the request", |event| event["why"] == "asked");
    daemon.wait_until_quiet(Duration::from_millis(1500));
    daemon.stop();
    assert_eq!(times(), once_more);
}

#[test]
fn a_hook_that_is_running_outlives_a_new_configuration_and_what_is_untold_is_told_afterwards() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    let path = setup.path().to_owned();
    let slow = format!(
        "touch {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done; cat >> {0}/on_new_mail.json",
        path.display()
    );
    setup.extra = format!("[hooks]\non_new_mail = {slow:?}\n");
    let mut daemon = Daemon::settled(&setup);
    wait_until("begun", || path.join("begun").exists());
    setup.append(&["INBOX"], &corpus::ordinary(9)[8..]);
    daemon.wait_for_sync("local", "added", 1);
    daemon.signal(Signal::HUP);
    daemon.wait_for("start", |event| event["event"] == "started");
    fs::write(path.join("go"), "").unwrap();
    assert_eq!([1, 2].map(|times| wait_until_told(&setup, "on_new_mail", times)["count"].clone()), [2, 1]);
    daemon.stop();
}

#[test]
fn a_hook_before_a_sync_ends_with_the_daemon() {
    let setup = with_hooks(Kind::Full, "echo $$ > $HOME/pid.new; mv $HOME/pid.new $HOME/pid; sleep 1000; true");
    let daemon = Daemon::start(&setup);
    let file = setup.path().join("pid");
    wait_until("begun", || file.exists());
    daemon.stop();
    let pid = fs::read_to_string(file).unwrap();
    let state = format!("/proc/{}/stat", pid.trim());
    wait_until("ended", || fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z ")));
    assert!(!setup.root.path.exists(), "the root was made");
}
