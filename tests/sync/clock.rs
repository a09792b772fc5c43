//! A clock that is wrong, and is set right while mail comes and goes: what is new, changed or gone is not told by it.

use std::fs;

use crate::support::compare::canonical;
use crate::support::corpus::{self, DATE, plain};
use crate::support::dovecot::Kind;
use crate::support::maildir::Entry;
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
