//! `disable`: server extensions not to use. Everything works without them, slower.

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::scripted::Scripted;
use crate::support::setup::Setup;

fn disabled(setup: &mut Setup, words: &[&str]) {
    setup.keys = format!("disable = {words:?}");
}

#[test]
fn what_is_disabled_is_not_used_and_no_capability_that_check_shows() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let shown = |setup: &Setup| -> Vec<String> {
        let check = setup.run(&["check", "--json"]).expect(0);
        let words = check.account()["capabilities"].as_array().unwrap().clone();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert!(shown(&setup).contains(&"QRESYNC".to_owned()));
    disabled(&mut setup, &["qresync", "NO-SUCH-EXTENSION"]);
    let left = shown(&setup);
    assert!(!left.contains(&"QRESYNC".to_owned()) && left.contains(&"CONDSTORE".to_owned()), "{left:?}");
    setup.sync_in_step();
}

#[test]
fn a_server_never_hears_of_what_is_disabled() {
    let body = String::from_utf8(corpus::plain("one")).unwrap().replace('\n', "\r\n").into_bytes();
    let server = Scripted::start_with(vec![body], "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS ENABLE CONDSTORE QRESYNC");
    let mut setup = Setup::new(Kind::Full);
    setup.port = server.port;
    let heard = |setup: &Setup, word: &str| {
        server.set_rules(Vec::new());
        setup.sync().expect(0);
        server.commands().iter().any(|command| command.contains(word))
    };
    assert!(heard(&setup, "ENABLE QRESYNC"));
    disabled(&mut setup, &["QRESYNC"]);
    assert!(heard(&setup, "ENABLE CONDSTORE") && !heard(&setup, "QRESYNC"));
    disabled(&mut setup, &["CONDSTORE"]);
    assert!(!heard(&setup, "ENABLE"));
}

#[test]
fn mail_goes_both_ways_whatever_is_disabled() {
    let all = [
        "QRESYNC",
        "CONDSTORE",
        "ENABLE",
        "ESEARCH",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "SPECIAL-USE",
        "NAMESPACE",
        "UIDPLUS",
        "MOVE",
        "LITERAL+",
        "LITERAL-",
        "BINARY",
        "UNSELECT",
        "ID",
        "SASL-IR",
        "OBJECTID",
    ];
    let each = all.iter().map(std::slice::from_ref);
    for words in each.chain([&all[..], &all[..2], &all[4..7], &all[8..10]]) {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(12));
        disabled(&mut setup, words);
        setup.imap().create(&["Archive"]);
        setup.sync_in_step();
        setup.append(&["INBOX"], &corpus::odd(3)[2..]);
        setup.imap().store(&["INBOX"], "3", "+FLAGS (\\Flagged work)");
        setup.imap().expunge(&["INBOX"], "1");
        let inbox = setup.root.inbox();
        inbox.deliver(&corpus::plain("from here"), Some("S"), Some(DATE));
        inbox.set_flags(&inbox.find("message 5."), "FR");
        let moved = inbox.find("message 7.").path;
        std::fs::rename(&moved, setup.root.folder(&["Archive"]).0.join("cur").join(moved.file_name().unwrap()))
            .unwrap();
        let run = setup.sync();
        assert_eq!(run.code, Some(0), "{words:?}: {} {}", run.stdout, run.stderr);
        setup.sync_in_step();
        assert_eq!(setup.root.inbox().messages().len(), 12, "{words:?}");
    }
}
