//! A clock that is wrong, and is set right while mail comes and goes: what is new, changed or gone is not told by it.

use std::fs;

use crate::support::compare::canonical;
use crate::support::corpus::{self, DATE, plain};
use crate::support::dovecot::Kind;
use crate::support::maildir::Entry;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::Setup;

/// Has the binary see the wall clock wrong by so much, as `faketime` writes it. Files keep the times of the real one.
fn set_clock(setup: &mut Setup, wrong_by: &str) {
    let words = ["env", "NO_FAKE_STAT=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", wrong_by];
    setup.entrance = words.map(str::to_owned).to_vec();
}

/// Changes of every kind on both sides; `round` tells the new messages apart.
fn change(setup: &Setup, round: usize) {
    let (inbox, done) = (setup.root.inbox(), setup.root.folder(&["Done"]));
    let mut imap = setup.imap();
    let (files, messages) = (inbox.messages(), imap.messages(&["INBOX"]));
    let uid = |at: usize| messages[messages.len() - 1 - at].uid.to_string();
    let file = |at: usize| {
        let is_it = |file: &&Entry| canonical(&file.content) == canonical(&messages[at].body);
        files.iter().find(is_it).unwrap()
    };
    inbox.set_flags(file(0), "F");
    inbox.set_flags(file(1), "RS");
    fs::rename(&file(2).path, done.0.join("cur").join(format!("{round}.moved:2,"))).unwrap();
    fs::remove_file(&file(3).path).unwrap();
    inbox.deliver(&plain(&format!("written here {round}")), Some("S"), Some(DATE));
    imap.store(&["INBOX"], &uid(0), "+FLAGS (\\Answered work)");
    imap.move_to(&["INBOX"], &uid(1), &["Done"]);
    imap.expunge(&["INBOX"], &uid(2));
    imap.append(&["INBOX"], &plain(&format!("written there {round}")), "", Some(DATE));
}

#[test]
fn nothing_is_lost_doubled_or_overlooked_whatever_the_time_is_said_to_be() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(60));
    // No certificate of the test's is valid at all these times.
    (setup.port, setup.tls) = (setup.server.port, "none");
    setup.imap().create(&["Done"]);
    set_clock(&mut setup, "+400d");
    setup.sync_in_step();
    for (round, wrong_by) in ["-3h", "-20d", "+0", "+2d", "-400d", "+0"].into_iter().enumerate() {
        change(&setup, round);
        set_clock(&mut setup, wrong_by);
        let run = setup.sync_in_step();
        let done = |side| ["added", "moved", "removed"].map(|what| run.count(side, what));
        // What is removed here goes to Trash there, and comes back into that here.
        let expected = ([2, 1, 1], [1, 1, 1]);
        assert_eq!((done("local"), done("remote")), expected, "clock wrong by {wrong_by}: {}", run.stdout);
    }
}

#[test]
fn what_is_removed_while_the_clock_is_behind_is_kept_as_long_as_the_rest() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(6));
    (setup.port, setup.tls) = (setup.server.port, "none");
    setup.sync_in_step();
    for (clock, uid) in [("-9000d", "1"), ("+0", "2"), ("+1d", "3")] {
        setup.imap().expunge(&["INBOX"], uid);
        set_clock(&mut setup, clock);
        setup.sync_in_step();
    }
    assert_eq!(setup.recoverable().len(), 3);
    set_clock(&mut setup, "+20d");
    setup.sync_in_step();
    assert_eq!(setup.recoverable().len(), 0);
}

/// Some servers look into all folders for the answer.
#[test]
fn how_full_the_account_is_is_asked_some_minutes_after_something_has_changed() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    (setup.port, setup.tls) = (setup.server.port, "none");
    let mut told = |at: &str| {
        set_clock(&mut setup, at);
        setup.sync_in_step();
        let told = setup.run(&["status", "--json"]).expect(0).account()["quota"]["messages"]["used"].as_u64();
        let asked = setup.imap().messages(&["INBOX"]).len();
        setup.append(&["INBOX"], &corpus::ordinary(1));
        (told.unwrap(), asked)
    };
    assert_eq!(told("+0"), (3, 3));
    assert_eq!(told("+1m"), (3, 4), "what is new is fetched, and not counted yet");
    assert_eq!(told("+11m"), (5, 5));
    assert_eq!(told("+12m"), (5, 6));
    assert_eq!(told("+2d"), (7, 7));
}

/// A connection that has not outlived it says nothing: its end is told to nobody who slept.
#[test]
fn a_sync_under_way_when_the_machine_was_suspended_does_not_wait_for_its_timeout() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(200));
    let proxy = Proxy::start(setup.port);
    setup.port = proxy.port;
    let clock = setup.path().join("clock");
    fs::write(&clock, "+0\n").unwrap();
    set_clock(&mut setup, "+0");
    // The time in the environment would count for more than the one in the file.
    let by_file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    setup.entrance.extend(["env", "-u", "FAKETIME", "FAKETIME_NO_CACHE=1", &by_file].map(str::to_owned));
    proxy.allow(60_000, Fault::Stall);
    let mut child = setup.command(&["sync", "--json"]).spawn().unwrap();
    proxy.wait_until_used_up(|| child.try_wait().unwrap().is_none());
    fs::write(&clock, "+1h\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("the server sent nothing for 5 s"), "{told}");
    proxy.heal();
    setup.entrance.clear();
    setup.sync_in_step();
}
