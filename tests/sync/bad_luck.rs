//! What goes wrong on this machine and on the way: a clear error, the documented exit code, nothing lost.

use std::fs;
use std::net::TcpListener;

use crate::support::compare;
use crate::support::corpus::{self, DATE};
use crate::support::disk::Disk;
use crate::support::dovecot::{Kind, PASSWORD};
use crate::support::maildir::Maildir;
use crate::support::setup::{Run, Setup};

/// An account in step, and then new mail on both sides.
fn with_work() -> Setup {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.sync_in_step();
    add_work(&setup);
    setup
}

fn add_work(setup: &Setup) {
    setup.append(&["INBOX"], &corpus::odd(3));
    setup.root.inbox().deliver(&corpus::plain("up"), Some("S"), Some(DATE));
}

/// Demands that a run fails with this code, says why, and changes nothing on either side.
fn expect_failure(setup: &Setup, code: i32, words: &[&str]) -> Run {
    let before = (compare::of_server(&mut setup.imap()), compare::of_root(&setup.root));
    let run = setup.sync().expect(code);
    assert_eq!((compare::of_server(&mut setup.imap()), compare::of_root(&setup.root)), before);
    let error = &run.account()["errors"][0];
    let text = format!("{} {}", error["message"], error["hint"]).to_lowercase();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    let plain = setup.run(&["sync"]).expect(code);
    assert!(plain.stderr.contains("test"), "the account is not named: {plain:?}");
    run
}

/// Dovecot closes the connection where it can't read a file that it keeps compressed.
#[test]
fn a_message_that_is_damaged_on_the_server_is_named_and_stops_no_other() {
    let setup = with_work();
    let stored = Maildir(setup.server.home(&setup.user).join("Maildir")).messages();
    let damaged = stored.iter().max_by_key(|entry| entry.content.len()).unwrap();
    // No new file: the server would take that for another message.
    fs::write(&damaged.path, b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff").unwrap();
    for file in setup.root.inbox().messages() {
        fs::remove_file(file.path).unwrap();
    }
    fs::remove_dir_all(setup.database().parent().unwrap()).unwrap();
    let run = setup.sync().expect(1);
    let error = &run.account()["errors"][0];
    assert_eq!(error["code"], "message-unavailable", "{}", run.stdout);
    assert_eq!(setup.root.inbox().messages().len(), stored.len() - 1, "{}", run.stdout);
    setup.sync().expect(0).expect_nothing_done();
}

#[test]
fn a_wrong_password() {
    let mut setup = with_work();
    setup.password = "wrong";
    expect_failure(&setup, 3, &["refused", "password"]);
    setup.password = PASSWORD;
    setup.sync_in_step();
}

#[test]
fn a_certificate_that_is_not_trusted_or_for_another_host() {
    let mut setup = with_work();
    setup.trusted = false;
    expect_failure(&setup, 4, &["certificate"]);
    setup.trusted = true;
    setup.sync_in_step();
    let setup = Setup::with_mail(Kind::WrongHost, &corpus::ordinary(1));
    expect_failure(&setup, 4, &["certificate"]);
}

#[test]
fn a_connection_refused() {
    let mut setup = with_work();
    let right = setup.port;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    setup.port = listener.local_addr().unwrap().port();
    drop(listener);
    expect_failure(&setup, 4, &["127.0.0.1"]);
    setup.port = right;
    setup.sync_in_step();
}

#[test]
fn a_server_without_tls_where_tls_is_asked_for() {
    let mut setup = with_work();
    let right = setup.port;
    setup.port = setup.server.port;
    setup.keys = "timeout = \"5s\"".to_owned();
    expect_failure(&setup, 4, &["tls"]);
    setup.port = right;
    setup.sync_in_step();
}

/// `damage` tries all kinds of it; here there is work to be done besides.
#[test]
fn a_corrupt_database() {
    for damage in [&b"this is no database, but it is long enough to be taken for one by its size"[..], &[0; 5000]] {
        let setup = with_work();
        fs::write(setup.database(), damage).unwrap();
        for left in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{left}", setup.database().display())).ok();
        }
        let run = setup.sync().expect(1);
        assert_eq!(run.account()["errors"][0]["code"], "database-rebuilt");
        assert_eq!((run.count("remote", "added"), run.count("local", "added")), (1, 3), "{}", run.stdout);
        setup.sync().expect(0).expect_nothing_done();
        setup.sync_in_step();
    }
}

#[test]
fn a_read_only_maildir() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    let visible = setup.path().join("Mail");
    fs::create_dir(&visible).unwrap();
    let Some(mut disk) = Disk::mount("50m", &visible) else { return };
    setup.entrance = disk.entrance();
    setup.root.path = disk.path();
    setup.sync_in_step();
    add_work(&setup);
    disk.set_read_only(true);
    expect_failure(&setup, 7, &["read-only"]);
    disk.set_read_only(false);
    setup.sync_in_step();
}

#[test]
fn a_maildir_that_nothing_can_be_put_into_keeps_only_itself_back() {
    let setup = with_work();
    setup.imap().create(&["Archive"]);
    setup.sync_in_step();
    let tmp = setup.root.folder(&["Archive"]).0.join("tmp");
    fs::remove_dir(&tmp).unwrap();
    fs::write(&tmp, "no directory").unwrap();
    for folder in ["INBOX", "Archive"] {
        setup.append(&[folder], &corpus::odd(2));
    }
    let run = setup.sync().expect(1);
    assert_eq!(setup.root.inbox().messages().len(), 16, "{}", run.stdout);
    let error = &run.account()["errors"][0];
    assert_eq!((error["code"].as_str(), error["folder"].as_str()), (Some("local-item"), Some("Archive")));
    fs::remove_file(&tmp).unwrap();
    setup.sync_in_step();
    assert_eq!(setup.root.folder(&["Archive"]).messages().len(), 2);
}

#[test]
fn a_full_disk() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.append(&["INBOX"], &corpus::odd(68));
    let visible = setup.path().join("Mail");
    fs::create_dir(&visible).unwrap();
    let Some(mut disk) = Disk::mount("1m", &visible) else { return };
    setup.entrance = disk.entrance();
    setup.root.path = disk.path();
    let before = compare::of_server(&mut setup.imap());
    let run = setup.sync().expect(7);
    let message = run.account()["errors"][0]["message"].as_str().unwrap().to_lowercase();
    assert!(message.contains("space"), "{message}");
    assert_eq!(compare::of_server(&mut setup.imap()), before);
    disk.resize("50m");
    setup.sync_in_step();
    assert_eq!(setup.root.inbox().messages().len(), 78);
}

#[test]
fn a_limit_on_the_size_of_files() {
    let mut setup = with_work();
    setup.append(&["Sent"], &corpus::long(1, 2 << 20));
    let unlimited = std::mem::take(&mut setup.entrance);
    setup.entrance = ["sh", "-c", "ulimit -f 2048; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    expect_failure(&setup, 7, &["file too large"]);
    setup.entrance = unlimited;
    setup.sync_in_step();
}

#[test]
fn a_full_disk_under_the_database() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(300));
    let state = setup.path().join("state");
    fs::create_dir(&state).unwrap();
    let Some(mut disk) = Disk::mount("128k", &state) else { return };
    setup.entrance = disk.entrance();
    setup.sync().expect(7);
    disk.resize("50m");
    setup.sync_in_step();
    assert_eq!(setup.root.inbox().messages().len(), 300);
}

#[test]
fn a_configuration_cut_off_in_the_middle() {
    let setup = with_work();
    let mut command = setup.command(&["sync"]);
    let config = setup.path().join("config.toml");
    let whole = fs::read_to_string(&config).unwrap();
    let before = (compare::of_server(&mut setup.imap()), compare::of_root(&setup.root));
    fs::write(&config, whole.split_once("user =").unwrap().0.to_owned() + "user = \"al").unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("config.toml:6:"), "{words}");
    assert_eq!((compare::of_server(&mut setup.imap()), compare::of_root(&setup.root)), before);
}

#[test]
fn check_and_folders_look_and_change_nothing() {
    let setup = with_work();
    let before = (compare::of_server(&mut setup.imap()), compare::of_root(&setup.root));
    let run = setup.run(&["check"]).expect(0);
    assert!(run.stdout.contains("QRESYNC"), "capabilities are listed: {run:?}");
    setup.run(&["check", "--offline"]).expect(0);
    let run = setup.run(&["folders"]).expect(0);
    assert!(run.stdout.contains("INBOX") && run.stdout.contains("Trash"), "{run:?}");
    assert_eq!((compare::of_server(&mut setup.imap()), compare::of_root(&setup.root)), before);
}
