//! `mailtide status`: with a daemon and without.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::corpus;
use crate::support::daemon::Daemon;
use crate::support::dovecot::Kind;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::Setup;

#[test]
fn an_account_is_not_in_step_because_one_folder_is() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.root.folder(&["Old stuff"]).create();
    setup.sync().expect(5);
    let run = setup.run(&["sync", "--json", "test/INBOX"]).expect(0);
    assert!(run.account()["last_success"].is_null(), "{}", run.stdout);
    let status = setup.run(&["status", "--json"]).expect(5).account();
    assert!(status["last_success"].is_null() && status["held"][0]["folder"] == "Old stuff", "{status}");
    setup.run(&["sync", "--accept-held", "test"]).expect(0);
    let status = setup.run(&["status", "--json"]).expect(0).account();
    assert!(status["last_success"].is_string(), "{status}");
}

#[test]
fn without_a_daemon_the_database_tells() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let status = setup.run(&["status", "--json"]).expect(0).account();
    assert_eq!((&status["state"], &status["watched"]), (&"never-in-step".into(), &false.into()), "{status}");
    assert!(!setup.database().exists(), "it only looks");
    setup.sync().expect(0);
    let status = setup.run(&["status", "--json"]).expect(0).account();
    assert_eq!((&status["state"], &status["status"]), (&"in-step".into(), &"ok".into()), "{status}");
    assert!(status["last_success"].is_string() && status["last_error"].is_null(), "{status}");
    let (storage, messages) = (&status["quota"]["storage"], &status["quota"]["messages"]);
    assert_eq!((&messages["used"], &messages["limit"]), (&3.into(), &100_000.into()), "{status}");
    let used = storage["used"].as_u64().unwrap();
    assert!(used < 100_000 && storage["limit"] == 1u64 << 30, "{status}");
    let words = setup.run(&["status"]).expect(0);
    assert!(words.stdout.contains("of 1.00 GiB, 3 of 100000 messages used on the server"), "{}", words.stdout);
    let inbox = &status["folders"][1];
    assert_eq!(
        (&inbox["folder"], &inbox["messages"], &inbox["state"]),
        (&"INBOX".into(), &3.into(), &"in-step".into())
    );

    fs::rename(&setup.root.path, setup.path().join("away")).unwrap();
    setup.sync().expect(5);
    let status = setup.run(&["status", "--json"]).expect(5).account();
    assert_eq!((&status["state"], &status["held"][0]["reason"]), (&"held".into(), &"root-missing".into()), "{status}");
    let words = setup.run(&["status"]).expect(5);
    assert!(words.stdout.starts_with("test: held; not watched; last in step 20"), "{}", words.stdout);
    assert!(words.stdout.contains("INBOX") && words.stdout.contains("root-missing"), "{}", words.stdout);
}

#[test]
fn a_daemon_tells_what_it_does_and_what_went_wrong() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(Duration::from_millis(1500));
    let status = setup.run(&["status", "--json"]).expect(0).account();
    assert_eq!((&status["state"], &status["listening"]), (&"in-step".into(), &"all".into()), "{status}");
    assert!(status["next_sync"].is_string(), "{status}");
    proxy.allow(0, Fault::Cut);
    daemon.wait_for("loss noticed", |event| event["error"]["code"] == "not-listening");
    setup.root.inbox().deliver(&corpus::plain("up"), None, Some(corpus::DATE));
    daemon.wait_for("a failed sync", |event| event["result"]["exit_code"] == 4);
    let status = setup.run(&["status", "--json"]).expect(4).account();
    assert_eq!((&status["state"], &status["watched"]), (&"failed".into(), &true.into()), "{status}");
    assert_eq!(status["errors"][0]["code"], "unreachable", "{status}");
    assert!(status["last_error"]["at"].is_string() && status["listening"].is_null(), "{status}");
    let socket = setup.path().join("state/daemon.socket");
    assert!(socket.exists());
    daemon.stop();
    assert!(!socket.exists());
    assert_eq!(setup.run(&["status", "--json"]).expect(0).account()["watched"], false);
}

#[test]
fn while_the_daemon_syncs_the_folders_are_shown_as_they_were() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(Duration::from_millis(1500));
    proxy.slow_down(4096);
    setup.append(&["INBOX"], &corpus::long(1, 40_000));
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        let status = setup.run(&["status", "--json"]).expect(0).account();
        if status["state"] == "syncing" {
            break status;
        }
        assert!(Instant::now() < deadline, "{status}");
    };
    let inbox = &status["folders"][1];
    assert_eq!(
        (&inbox["folder"], &inbox["messages"], &inbox["state"]),
        (&"INBOX".into(), &3.into(), &"in-step".into()),
        "{status}"
    );
    assert!(status["last_success"].is_string() && status["quota"]["messages"]["used"] == 3, "{status}");
    let words = setup.run(&["status"]).expect(0);
    assert!(words.stdout.starts_with("test: syncing; ") && words.stdout.contains("3 messages"), "{}", words.stdout);
    daemon.stop();
}
