//! Much work over several connections: downloads from a server that gives each only so much, uploads, and moves.

use std::fs;
use std::io::Write;

use crate::support::compare::canonical;
use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::proxy::Proxy;
use crate::support::setup::{Run, Setup, own_address};

/// How many bytes a second the server gives each connection.
const RATE: u32 = 1_800_000;

/// Syncs eight megabytes for the first time, with so many connections, each after the first of which breaks once it has
/// carried so many bytes. `None` if this machine can't.
fn first_sync(connections: u8, further: usize) -> Option<(Setup, Run, Proxy)> {
    let Some(address) = own_address() else {
        writeln!(std::io::stderr(), "skipped: this machine has no address but loopback").unwrap();
        return None;
    };
    let mut mails = corpus::long(26, 250_000);
    mails.extend(corpus::long(1, 1_500_000));
    let mut setup = Setup::with_mail(Kind::Full, &mails);
    let proxy = Proxy::start_on(address, setup.server.port);
    proxy.slow_down(RATE);
    proxy.break_further(further);
    (setup.host, setup.port, setup.tls) = (address.to_string(), proxy.port, "none");
    setup.keys = format!("insecure_plaintext = true\ncompress = \"off\"\nconnections = {connections}");
    let run = setup.sync().expect(0);
    setup.assert_equal();
    Some((setup, run, proxy))
}

#[test]
fn come_over_several_connections_and_all_is_told() {
    let Some((setup, run, proxy)) = first_sync(3, usize::MAX) else { return };
    assert_eq!(proxy.connections(), 3);
    let goodbyes = proxy.passed().checked_sub(usize::try_from(run.bytes()).unwrap());
    assert!(goodbyes.is_some_and(|bytes| bytes < 3 * 150), "{goodbyes:?} more passed: {}", run.stdout);
    proxy.heal();
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!(proxy.connections(), 1, "there was nothing to divide");
}

#[test]
fn come_over_one_if_there_may_be_no_other() {
    let Some((_, _, proxy)) = first_sync(1, usize::MAX) else { return };
    assert_eq!(proxy.connections(), 1);
}

/// It is refused; it breaks in its greeting, in the log-in, and in a message.
#[test]
fn come_whole_and_once_when_further_connections_break() {
    for further in [0, 300, 700_000] {
        let Some((setup, _, proxy)) = first_sync(3, further) else { return };
        assert_eq!(proxy.connections(), 3, "{further}");
        proxy.heal();
        setup.sync().expect(0).expect_nothing_done();
    }
}

/// Puts messages into two folders here, with a proxy between, and so many connections.
fn new_mail_here(connections: u8) -> (Setup, Proxy) {
    let mut setup = Setup::new(Kind::Full);
    setup.sync().expect(0);
    for folder in FOLDERS {
        let maildir = setup.root.folder(&[folder]);
        maildir.create();
        for number in 0..PER_FOLDER {
            maildir.deliver(format!("Subject: {folder} {number}\n\n{number}\n").as_bytes(), None, None);
        }
    }
    let proxy = put_between(&mut setup, connections);
    (setup, proxy)
}

/// Puts a proxy in front of the server, and allows so many connections.
fn put_between(setup: &mut Setup, connections: u8) -> Proxy {
    let proxy = Proxy::start(setup.server.port);
    (setup.port, setup.tls) = (proxy.port, "none");
    setup.keys = format!("compress = \"off\"\nconnections = {connections}");
    proxy
}

/// Demands that another connection was made, once or, if it broke in the log-in, with nothing behind that, twice.
fn assert_tries_a_second(proxy: &Proxy, further: usize) {
    let further_connections = proxy.connections() - 1;
    assert!((1..=2).contains(&further_connections), "{further}: {further_connections}");
}

const FOLDERS: [&str; 2] = ["One", "Two"];

/// More than is on its way before the second connection is there.
const PER_FOLDER: usize = 600;

#[test]
fn uploads_to_several_folders_take_two_connections_and_stay_in_order() {
    let (setup, proxy) = new_mail_here(2);
    let run = setup.sync().expect(0);
    assert_eq!(proxy.connections(), 2);
    let goodbyes = proxy.passed().checked_sub(usize::try_from(run.bytes()).unwrap());
    assert!(goodbyes.is_some_and(|bytes| bytes < 2 * 150), "{goodbyes:?} more passed: {}", run.stdout);
    setup.assert_equal();
    let mut imap = setup.imap();
    for folder in FOLDERS {
        let there: Vec<Vec<u8>> = imap.messages(&[folder]).iter().map(|message| canonical(&message.body)).collect();
        let here = setup.root.folder(&[folder]).messages();
        assert_eq!(there, here.iter().map(|entry| canonical(&entry.content)).collect::<Vec<_>>());
    }
    proxy.heal();
    let second = setup.sync().expect(0).expect_nothing_done();
    assert_eq!(proxy.connections(), 1);
    let third = setup.sync().expect(0);
    assert_eq!(second.bytes_out(), third.bytes_out(), "the look behind the uploads saw all of them");
}

#[test]
fn uploads_take_one_connection_if_there_may_be_no_other() {
    let (setup, proxy) = new_mail_here(1);
    setup.sync().expect(0);
    assert_eq!(proxy.connections(), 1);
    setup.assert_equal();
}

/// It is refused; it breaks in the log-in.
#[test]
fn uploads_go_on_over_the_first_connection_if_there_is_no_second() {
    for further in [0, 300] {
        let (setup, proxy) = new_mail_here(2);
        proxy.break_further(further);
        setup.sync().expect(0);
        assert_tries_a_second(&proxy, further);
        setup.assert_equal();
        proxy.heal();
        setup.sync().expect(0).expect_nothing_done();
    }
}

/// What is out over it then may have arrived or not: the next run finds out.
#[test]
fn uploads_over_a_second_connection_that_breaks_are_neither_lost_nor_doubled() {
    // Somewhere behind the log-in: in front of all answers, or between them.
    let broken = [700, 800, 900, 1_000].into_iter().filter(|further| {
        let (setup, proxy) = new_mail_here(2);
        proxy.break_further(*further);
        let run = setup.sync();
        assert_tries_a_second(&proxy, *further);
        assert_eq!(setup.imap().messages(&["One"]).len(), PER_FOLDER, "{further}: the first connection goes on");
        proxy.break_further(usize::MAX);
        if run.code == Some(0) {
            return false;
        }
        run.expect(4);
        setup.sync().expect(0);
        setup.assert_equal();
        setup.sync().expect(0).expect_nothing_done();
        true
    });
    assert!(broken.count() >= 2);
}

/// In step, then a message moved here from each of many folders to the next, with a proxy between and so many connections.
fn moved_in_many_folders(connections: u8) -> (Setup, Proxy) {
    let mut setup = Setup::new(Kind::Full);
    let folders: Vec<String> = (0..MANY).map(|number| format!("Folder {number:02}")).collect();
    for folder in &folders {
        setup.imap().create(&[folder]);
        for text in ["stays", "goes"] {
            setup.imap().append(&[folder], &corpus::plain(&format!("{text} {folder}")), "", Some(corpus::DATE));
        }
    }
    setup.sync_in_step();
    for (folder, next) in folders.iter().zip(folders.iter().cycle().skip(1)) {
        let moved = setup.root.folder(&[folder]).find(&format!("goes {folder}")).path;
        let new = setup.root.folder(&[next]).0.join("new").join(moved.file_name().unwrap());
        fs::rename(moved, new).unwrap();
    }
    let proxy = put_between(&mut setup, connections);
    (setup, proxy)
}

/// So many that some are left when the second connection is there.
const MANY: usize = 60;

/// Demands that each message is where it was moved to, on both sides, and nowhere else.
fn assert_moved(setup: &Setup) {
    setup.assert_equal();
    for number in 0..MANY {
        let (folder, before) = (format!("Folder {number:02}"), (number + MANY - 1) % MANY);
        let there = setup.root.folder(&[&folder]);
        there.find(&format!("stays {folder}"));
        there.find(&format!("goes Folder {before:02}"));
        assert_eq!(there.messages().len(), 2, "{folder}");
    }
}

#[test]
fn moves_from_many_folders_take_two_connections() {
    let (setup, proxy) = moved_in_many_folders(2);
    let run = setup.sync().expect(0);
    assert_eq!(proxy.connections(), 2);
    assert_eq!(run.count("remote", "moved"), MANY as u64, "{}", run.stdout);
    let goodbyes = proxy.passed().checked_sub(usize::try_from(run.bytes()).unwrap());
    assert!(goodbyes.is_some_and(|bytes| bytes < 2 * 150), "{goodbyes:?} more passed: {}", run.stdout);
    assert_moved(&setup);
    proxy.heal();
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn moves_take_one_connection_if_there_may_be_no_other() {
    let (setup, proxy) = moved_in_many_folders(1);
    setup.sync().expect(0);
    assert_eq!(proxy.connections(), 1);
    assert_moved(&setup);
}

/// It is refused; it breaks in the log-in; it breaks somewhere between the answers, and the next run finds out.
#[test]
fn moves_over_a_second_connection_that_breaks_are_neither_lost_nor_doubled() {
    let broken = [0, 300, 1_000, 2_000, 3_000].into_iter().filter(|further| {
        let (setup, proxy) = moved_in_many_folders(2);
        proxy.break_further(*further);
        let run = setup.sync();
        assert_tries_a_second(&proxy, *further);
        proxy.break_further(usize::MAX);
        let is_broken = run.code != Some(0);
        if is_broken {
            run.expect(4);
            setup.sync().expect(0);
        }
        assert_moved(&setup);
        setup.sync().expect(0).expect_nothing_done();
        is_broken
    });
    assert_ne!(broken.count(), 0);
}
