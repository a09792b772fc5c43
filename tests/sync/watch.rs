//! `mailtide watch`: what changes on either side is on the other soon, for days.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::corpus::{self, DATE};
use crate::support::daemon::Daemon;
use crate::support::dovecot::Kind;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::Setup;

/// Longer than anything it does of its own accord.
const QUIET: Duration = Duration::from_millis(1500);

/// As long as what is told at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn what_changes_on_either_side_is_soon_on_the_other() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    // The server tells of a renamed folder when it is asked for anything.
    setup.keys = "timeout = \"4s\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    assert!(daemon.told.iter().any(|event| event["reach"] == "all"), "{:?}", daemon.told);
    setup.append(&["Sent"], &corpus::ordinary(9)[8..]);
    daemon.wait_for_sync("local", "added", 1);
    let inbox = setup.root.inbox();
    inbox.deliver(&corpus::plain("up"), None, Some(DATE));
    daemon.wait_for_sync("remote", "added", 1);
    inbox.set_flags(&inbox.find("message 1."), "FS");
    daemon.wait_for_sync("remote", "flags", 1);
    setup.imap().store(&["INBOX"], "1", "+FLAGS (\\Answered)");
    daemon.wait_for_sync("local", "flags", 1);
    setup.root.folder(&["Made", "here"]).create();
    daemon.wait_for_sync("remote", "folders_created", 1);
    setup.root.folder(&["Made", "here"]).deliver(&corpus::plain("deep"), None, Some(DATE));
    daemon.wait_for_sync("remote", "added", 1);
    // Dovecot tells nothing at all of a folder that is renamed within half a second of being made.
    daemon.wait_until_quiet(QUIET);
    setup.imap().rename(&["Made"], &["Renamed"]);
    daemon.wait_for_sync("local", "folders_renamed", 1);
    setup.root.folder(&["Renamed", "here"]).deliver(&corpus::plain("after"), None, Some(DATE));
    daemon.wait_for_sync("remote", "added", 1);
    fs::remove_file(inbox.find("message 2.").path).unwrap();
    daemon.wait_for("removal", |event| {
        event["result"]["remote"]["removed"] == 1 || event["result"]["remote"]["moved"] == 1
    });
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn what_it_does_itself_sets_off_nothing_that_goes_on() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    let inbox = setup.root.inbox();
    let changes: [&dyn Fn(); 5] = [
        &|| setup.append(&["INBOX"], &corpus::ordinary(9)[8..]),
        &|| drop(inbox.deliver(&corpus::plain("up"), None, Some(DATE))),
        &|| drop(inbox.set_flags(&inbox.find("message 1."), "F")),
        &|| setup.imap().store(&["INBOX"], "1", "+FLAGS (\\Answered)"),
        &|| fs::remove_file(inbox.find("message 2.").path).unwrap(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let before = daemon.syncs();
        change();
        daemon.wait_for("sync", |event| event["event"] == "sync");
        daemon.wait_until_quiet(QUIET);
        assert_eq!(daemon.syncs() - before, 1, "change {at}: {:?}", daemon.told);
    }
    daemon.stop();
}

#[test]
fn a_server_whose_log_is_rotated_is_heard_all_the_same() {
    let mut setup = Setup::new(Kind::Full);
    setup.append(&["Sent"], &corpus::ordinary(3));
    // Nothing else can bring in time what the server tells.
    setup.keys = "timeout = \"300s\"\nwatch.poll = \"1h\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    // What Dovecot hears by of every folder but INBOX.
    let log = setup.server.home(&setup.user).join("Maildir/dovecot.list.index.log");
    let inode = || fs::metadata(&log).unwrap().ino();
    for last in ["+FLAGS (\\Answered)", "-FLAGS (\\Answered)"] {
        let (before, mut imap) = (inode(), setup.imap());
        let changes = ["+FLAGS (\\Flagged)", "-FLAGS (\\Flagged)"].into_iter().cycle();
        let made = changes.take(5000).take_while(|change| {
            imap.store(&["Sent"], "1", change);
            inode() == before
        });
        assert!(made.count() < 5000, "it is never rotated");
        daemon.wait_until_quiet(QUIET);
        imap.store(&["Sent"], "2", last);
        // Dovecot looks by itself now and then.
        daemon.within(SOON, "flags", |event| event["result"]["local"]["flags"] == 1);
    }
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn a_server_that_tells_of_folders_that_are_not_watched_is_trusted() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    // Longer than a server gets to tell what a poll found.
    setup.keys = "watch.poll = \"15s\"\nwatch.folders = [\"INBOX\"]".to_owned();
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    setup.append(&["Sent"], &corpus::ordinary(9)[8..]);
    assert_eq!(daemon.wait_for_sync("local", "added", 1)["why"], "poll");
    daemon.wait_for("poll", |event| {
        assert!(event["error"]["code"] != "notify-silent" && event["event"] != "listening", "{event}");
        event["why"] == "poll"
    });
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn once_a_poll_has_found_nothing_there_is_only_the_connection_that_listens() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    let proxy = Proxy::start(setup.port);
    (setup.port, setup.keys) = (proxy.port, "watch.poll = \"10s\"".to_owned());
    let mut daemon = Daemon::settled(&setup);
    for _ in 0..2 {
        daemon.wait_for("a poll", |event| event["why"] == "poll");
        let deadline = Instant::now() + Duration::from_secs(5);
        while proxy.kept() != 1 {
            assert!(Instant::now() < deadline, "{} connections are kept", proxy.kept());
            std::thread::yield_now();
        }
    }
    daemon.stop();
}

#[test]
fn without_notify_the_inbox_is_listened_to_and_the_rest_is_polled() {
    let mut setup = Setup::with_mail(Kind::NoUidplus, &corpus::ordinary(2));
    setup.keys = "watch.poll = \"10s\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    assert!(daemon.told.iter().any(|event| event["reach"] == "inbox"), "{:?}", daemon.told);
    daemon.wait_until_quiet(QUIET);
    setup.append(&["INBOX"], &corpus::odd(1));
    assert_eq!(daemon.wait_for_sync("local", "added", 1)["why"], "server");
    daemon.wait_until_quiet(QUIET);
    setup.append(&["Sent"], &corpus::ordinary(9)[8..]);
    assert_eq!(daemon.wait_for_sync("local", "added", 1)["why"], "poll");
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn without_notify_folders_that_are_named_are_listened_to_as_far_as_connections_go() {
    let mut setup = Setup::with_mail(Kind::NoUidplus, &corpus::ordinary(2));
    setup.imap().create(&["Work"]);
    setup.imap().create(&["Play"]);
    setup.keys = "connections = 3\nwatch.poll = \"20s\"\nwatch.folders = [\"INBOX\", \"Work\", \"Play\"]".to_owned();
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    for (at, (folder, why)) in [("Work", "server"), ("Play", "poll"), ("Work", "server")].into_iter().enumerate() {
        setup.append(&[folder], &corpus::ordinary(12)[9 + at..10 + at]);
        assert_eq!(daemon.wait_for_sync("local", "added", 1)["why"], why, "{folder}");
        daemon.wait_until_quiet(QUIET);
    }
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn without_any_extension_it_polls() {
    let mut setup = Setup::with_mail(Kind::Bare, &corpus::ordinary(2));
    setup.keys = "watch.poll = \"10s\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    assert!(daemon.told.iter().any(|event| event["reach"] == "nothing"), "{:?}", daemon.told);
    daemon.wait_until_quiet(QUIET);
    setup.append(&["INBOX"], &corpus::odd(1));
    assert_eq!(daemon.wait_for_sync("local", "added", 1)["why"], "poll");
    daemon.stop();
}

#[test]
fn where_each_look_costs_only_what_changed_is_looked_at_and_all_of_it_if_that_does_not_tell_enough() {
    let setup = Setup::with_mail(Kind::Bare, &corpus::ordinary(3));
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    let inbox = setup.root.inbox();
    setup.append(&["Sent"], &corpus::ordinary(9)[8..]);
    inbox.set_flags(&inbox.find("message 1."), "FS");
    let sync = daemon.wait_for_sync("remote", "flags", 1);
    assert_eq!(sync["result"]["local"]["added"], 0, "nobody told of it: {sync}");
    daemon.wait_until_quiet(QUIET);
    setup.imap().move_to(&["INBOX"], "2", &["Sent"]);
    inbox.set_flags(&inbox.find("message 1."), "S");
    // What left the inbox may be anywhere.
    let sync = daemon.wait_for_sync("local", "moved", 1);
    assert_eq!((&sync["result"]["local"]["added"], &sync["result"]["remote"]["flags"]), (&1.into(), &1.into()));
    assert_eq!(sync["result"]["errors"].as_array().map(Vec::len), Some(0), "{sync}");
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn a_connection_that_has_gone_silent_is_noticed_in_time_and_what_was_missed_is_made_up_for() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    setup.keys = "timeout = \"4s\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    // Only what is open falls silent: a reset would be noticed at once.
    let begun = Instant::now();
    proxy.stall();
    setup.append(&["INBOX"], &corpus::odd(1));
    daemon.wait_for("silence noticed", |event| event["error"]["code"] == "not-listening");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    setup.root.inbox().deliver(&corpus::plain("up"), None, Some(DATE));
    proxy.heal();
    daemon.wait_for("listening", |event| event["event"] == "listening");
    daemon.wait_until_quiet(QUIET);
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn syncs_that_follow_each_other_take_one_connection_and_another_if_that_breaks() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let proxy = Proxy::start(setup.server.port);
    (setup.port, setup.tls) = (proxy.port, "none");
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    let inbox = setup.root.inbox();
    let mut change = |at: &str| {
        inbox.deliver(&corpus::plain(at), None, Some(DATE));
        daemon.wait_for_sync("remote", "added", 1);
        daemon.wait_until_quiet(QUIET);
    };
    assert_eq!(proxy.connections(), 2, "one listens");
    change("one");
    change("two");
    assert_eq!(proxy.connections(), 2);
    // All that is open breaks.
    proxy.heal();
    change("three");
    assert!(proxy.connections() > 0);
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn a_server_that_goes_away_is_come_back_to() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    proxy.allow(0, Fault::Cut);
    daemon.wait_for("loss noticed", |event| event["error"]["code"] == "not-listening");
    setup.append(&["INBOX"], &corpus::odd(1));
    setup.root.inbox().deliver(&corpus::plain("up"), None, Some(DATE));
    daemon.wait_for("a failed sync", |event| event["result"]["exit_code"] == 4);
    proxy.heal();
    daemon.wait_for_sync("remote", "added", 1);
    daemon.wait_until_quiet(QUIET);
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn a_maildir_put_back_under_its_name_is_watched_like_the_one_before() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.append(&["Sent"], &corpus::ordinary(1));
    setup.keys = "watch.poll = \"1h\"".to_owned();
    let mut daemon = Daemon::settled(&setup);
    daemon.wait_until_quiet(QUIET);
    let sent = setup.root.folder(&["Sent"]);
    let [copy, before] = ["copy", "before"].map(|name| setup.path().join(name));
    let copied = Command::new("cp").arg("-a").args([&sent.0, &copy]).status().unwrap();
    assert!(copied.success());
    fs::rename(&sent.0, &before).unwrap();
    fs::rename(&copy, &sent.0).unwrap();
    daemon.wait_for("change", |event| event["event"] == "local");
    daemon.wait_until_quiet(QUIET);
    sent.deliver(&corpus::plain("up"), None, Some(DATE));
    assert_eq!(daemon.wait_for_sync("remote", "added", 1)["why"], "local");
    daemon.stop();
    setup.assert_equal();
}

#[test]
fn only_one_watches_and_a_sync_by_hand_goes_on_beside_it() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let daemon = Daemon::settled(&setup);
    let second = setup.run(&["watch"]);
    assert_eq!(second.code, Some(6), "{}", second.stderr);
    assert!(second.stderr.contains("another mailtide watch is running"), "{}", second.stderr);
    setup.append(&["INBOX"], &corpus::odd(1));
    setup.sync().expect(0);
    setup.assert_equal();
    daemon.stop();
}

#[test]
fn on_sighup_the_configuration_is_read_again_and_a_broken_one_changes_nothing() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    let mut daemon = Daemon::settled(&setup);
    fs::write(setup.path().join("config.toml"), "nonsense").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for("complaint", |event| event["error"]["code"] == "config");
    setup.append(&["INBOX"], &corpus::ordinary(9)[8..]);
    daemon.wait_for_sync("local", "added", 1);
    setup.extra = "[accounts.test.folders]\nexclude = [\"Sent\"]\n".to_owned();
    drop(setup.command(&[]));
    setup.append(&["Sent"], &corpus::ordinary(1));
    daemon.signal(Signal::HUP);
    daemon.wait_for("start", |event| event["event"] == "started");
    setup.append(&["INBOX"], &corpus::odd(1));
    daemon.wait_for_sync("local", "added", 1);
    daemon.stop();
}

#[test]
fn a_folder_that_takes_part_for_its_role_is_listened_to() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.extra = "[accounts.test.folders]\ninclude = [\"INBOX\", \"role:sent\"]\n".to_owned();
    let mut daemon = Daemon::settled(&setup);
    setup.append(&["Sent"], &corpus::odd(1));
    daemon.wait_for_sync("local", "added", 1);
    daemon.stop();
}

#[test]
fn many_changes_at_once_on_both_sides_converge() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let mut daemon = Daemon::settled(&setup);
    let inbox = setup.root.inbox();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut imap = setup.imap();
            for n in 0..300 {
                imap.append(&["INBOX"], &corpus::plain(&format!("there {n}")), "", Some(DATE));
            }
        });
        for n in 0..300 {
            let new = inbox.deliver(&corpus::plain(&format!("here {n}")), None, Some(DATE));
            if n % 3 == 0 {
                let name = new.file_name().unwrap().to_str().unwrap();
                fs::rename(&new, inbox.0.join("cur").join(format!("{name}:2,S"))).unwrap();
            }
        }
    });
    daemon.wait_until_quiet(QUIET);
    daemon.stop();
    setup.assert_equal();
    assert_eq!(inbox.messages().len(), 603);
}

#[test]
fn killed_at_any_moment_it_loses_and_doubles_nothing() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    for round in 0..6 {
        let mut daemon = Daemon::start(&setup);
        daemon.wait_for("start", |event| event["event"] == "started");
        for n in 0..20 {
            inbox.deliver(&corpus::plain(&format!("here {round} {n}.")), None, Some(DATE));
            setup.imap().append(&["INBOX"], &corpus::plain(&format!("there {round} {n}.")), "", Some(DATE));
        }
        if round % 2 == 1 {
            daemon.wait_for("sync", |event| event["event"] == "sync");
        }
        daemon.kill();
    }
    setup.sync_in_step();
    assert_eq!(inbox.messages().len(), 3 + 6 * 40);
}
