//! New mail on either side.

use crate::support::compare;
use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

#[test]
fn new_mail_travels_both_ways_and_keeps_its_date() {
    for kind in [Kind::Full, Kind::Bare, Kind::NoUidplus] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(3));
        setup.sync_in_step();
        for (at, mail) in corpus::odd(34).iter().enumerate().filter(|(at, _)| at % 17 != 1) {
            setup.root.inbox().deliver(&mail.body, (at % 3 == 0).then_some("FS"), Some(mail.date));
        }
        setup.append(&["INBOX"], &corpus::ordinary(12)[8..]);
        setup.root.folder(&["Sent"]).deliver(&corpus::plain("sent"), Some("S"), Some(DATE - 5));
        let run = setup.sync_in_step();
        assert_eq!((run.count("remote", "added"), run.count("local", "added")), (33, 4), "{kind:?}: {}", run.stdout);
        assert_eq!(setup.imap().messages(&["Sent"])[0].date, DATE - 5);
        assert_eq!(setup.imap().messages(&["INBOX"]).len(), 3 + 32 + 4);
    }
}

#[test]
fn an_upload_with_a_nul_reaches_the_server_or_is_named() {
    let setup = Setup::new(Kind::Full);
    setup.sync_in_step();
    setup.root.inbox().deliver(b"Subject: nul\n\nbefore \0 after\n", None, Some(DATE));
    let run = setup.sync();
    let there = setup.imap().messages(&["INBOX"]).len();
    match run.code {
        Some(0) => assert_eq!(there, 1),
        Some(1) => assert!(run.account()["errors"][0]["path"].is_string() && there == 0, "{}", run.stdout),
        other => panic!("{other:?}: {}", run.stderr),
    }
    assert_eq!(setup.root.inbox().messages().len(), 1);
    assert_eq!(setup.sync().code, run.code);
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), there);
}

#[test]
fn a_sync_of_one_folder_leaves_the_others_alone() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.append(&["Sent"], &corpus::ordinary(2));
    setup.sync_in_step();
    setup.append(&["INBOX"], &corpus::odd(2));
    setup.append(&["Sent"], &corpus::odd(2));
    setup.run(&["sync", "--json", "test/Sent"]).expect(0);
    assert_eq!(setup.root.folder(&["Sent"]).messages().len(), 4);
    assert_eq!(setup.root.inbox().messages().len(), 3);
    setup.sync_in_step();
}

#[test]
fn what_is_no_message_is_not_uploaded() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(1));
    setup.sync_in_step();
    let cur = setup.root.inbox().0.join("cur");
    for name in [".hidden", "#autosave#", "backup~", "empty:2,S"] {
        std::fs::write(cur.join(name), if name.starts_with("empty") { "" } else { "Subject: no\n\nno\n" }).unwrap();
    }
    std::fs::create_dir(cur.join("directory")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", cur.join("link:2,S")).unwrap();
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), 1);
}

#[test]
fn a_dry_run_changes_nothing_and_tells_what_a_run_would_do() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(8));
    setup.sync = "delete = \"expunge\"".to_owned();
    let dry = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
    assert_eq!(dry.count("local", "added"), 8, "{}", dry.stdout);
    assert!(!setup.root.path.exists(), "the root was made");
    setup.sync_in_step();

    setup.append(&["INBOX"], &corpus::odd(2));
    let inbox = setup.root.inbox();
    inbox.deliver(&corpus::plain("up"), None, Some(DATE));
    inbox.set_flags(&inbox.find("message 1."), "FS");
    std::fs::remove_file(inbox.find("message 2.").path).unwrap();
    setup.root.folder(&["Made", "here"]).create();
    let (there, here) = (compare::of_server(&mut setup.imap()), inbox.messages());
    let dry = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
    assert_eq!(compare::of_server(&mut setup.imap()), there);
    assert_eq!(inbox.messages(), here);
    assert!(dry.account()["plan"].as_array().unwrap().len() >= 5, "{}", dry.stdout);

    let real = setup.sync().expect(0);
    for side in ["local", "remote"] {
        assert_eq!(dry.account()[side], real.account()[side], "{}\n{}", dry.stdout, real.stdout);
    }
}
