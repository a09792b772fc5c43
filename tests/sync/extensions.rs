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
    for word in ["QRESYNC", "COMPRESS=DEFLATE"] {
        assert!(shown(&setup).contains(&word.to_owned()));
    }
    disabled(&mut setup, &["qresync", "NO-SUCH-EXTENSION", "compress"]);
    let left = shown(&setup);
    assert!(!left.contains(&"COMPRESS=DEFLATE".to_owned()), "{left:?}");
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

/// On Gmail a message is listed once for each of its labels.
#[test]
fn what_the_server_calls_by_one_email_id_is_fetched_once() {
    let body = |text: &str| String::from_utf8(corpus::plain(text)).unwrap().replace('\n', "\r\n").into_bytes();
    for (capability, capabilities) in [
        ("OBJECTID", "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT OBJECTID"),
        ("X-GM-EXT-1", "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT X-GM-EXT-1"),
    ] {
        for used in [true, false] {
            let server = Scripted::start_with(vec![body("one"), body("two"), body("one")], capabilities);
            let mut setup = Setup::new(Kind::Full);
            setup.port = server.port;
            disabled(&mut setup, if used { &[] } else { std::slice::from_ref(&capability) });
            let local = setup.sync().expect(0).account()["local"].clone();
            let (added, copied) = (local["added"].as_u64(), local["copied"].as_u64());
            assert_eq!((added, copied), if used { (Some(2), Some(1)) } else { (Some(3), Some(0)) }, "{capability}");
            let all = setup.root.inbox().messages();
            assert_eq!(all.len(), 3, "{capability}");
            let fetches: Vec<String> =
                server.commands().into_iter().filter(|command| command.starts_with("UID FETCH")).collect();
            let asked = |what: &str| fetches.iter().any(|command| command.contains(what));
            assert_eq!(asked("EMAILID") || asked("X-GM-MSGID"), used, "{fetches:?}");
            let bodies = if used { "UID FETCH 1:2 " } else { "UID FETCH 1:3 " };
            let carried = fetches.iter().filter(|command| command.contains("BODY.PEEK["));
            assert!(carried.clone().count() == 1 && carried.clone().all(|one| one.starts_with(bodies)), "{fetches:?}");
            setup.sync().expect(0);
            assert_eq!(setup.root.inbox().messages(), all);
        }
    }
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
        "X-GM-EXT-1",
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
