//! Messages that the server does not give, or take: one of them stops no other, and the user is told which it is.

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::meddler::Meddler;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::{Run, Setup};

use super::{last, made, pulled, rule};

/// Three messages pulled, and three new on a server that answers by these rules.
fn with_three_new(rules: Vec<Rule>) -> (Setup, Scripted) {
    let (setup, server) = pulled();
    for number in 4..=6 {
        server.deliver(format!("Subject: new\r\n\r\nThis is {number}.\r\n").into_bytes());
    }
    server.set_rules(rules);
    (setup, server)
}

/// Demands that a run brought all but the fifth message, and told so in these words.
fn assert_lacks_the_fifth(run: Run, setup: &Setup, words: &str) {
    let run = run.expect(1);
    let error = &run.account()["errors"][0];
    assert_eq!((&error["code"], &error["uid"]), (&"message-unavailable".into(), &5.into()), "{}", run.stdout);
    assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    assert_eq!(run.count("local", "added"), 2, "{}", run.stdout);
    assert_eq!(setup.root.inbox().messages().len(), 5);
}

/// Demands that the fifth is not asked for until its time has come, is listed meanwhile, and comes then.
fn comes_another_day(setup: &mut Setup, server: &Scripted, words: &str) {
    server.set_rules(server.rules());
    setup.sync().expect(0).expect_nothing_done();
    assert!(!server.commands().iter().any(|command| command.contains("BODY.PEEK[]")), "{:?}", server.commands());
    let listed = setup.run(&["check"]);
    assert!(listed.stdout.contains(words), "{listed:?}");
    server.set_rules(Vec::new());
    setup.entrance = ["faketime", "-f", "+25h"].map(str::to_owned).to_vec();
    assert_eq!(setup.sync().expect(0).count("local", "added"), 1);
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!(setup.root.inbox().messages().len(), 6);
}

/// Dovecot closes the connection where a file that it keeps compressed is damaged.
#[test]
fn a_message_over_which_the_server_closes_the_connection_stops_no_other() {
    for closing in [&b"* 5 FETCH (UID 5 FLAGS () BODY[] {900}\r\nSubj"[..], b"* BYE Internal error\r\n", b""] {
        let (mut setup, server) = with_three_new(vec![last("UID FETCH 4:6 ", closing), last("UID FETCH 5 ", closing)]);
        let run = setup.sync();
        assert_lacks_the_fifth(run, &setup, "it closes the connection over it");
        comes_another_day(&mut setup, &server, "it closes the connection over it");
    }
}

#[test]
fn a_connection_that_breaks_once_in_a_message_costs_nothing() {
    let (setup, server) =
        with_three_new(vec![last("UID FETCH 4:6 ", b"* 4 FETCH (UID 4 FLAGS () BODY[] {900}\r\nSubj")]);
    assert_eq!(setup.sync().expect(0).count("local", "added"), 3);
    let greetings = server.commands().iter().filter(|command| *command == "GREETING").count();
    assert_eq!((greetings, setup.root.inbox().messages().len()), (2, 6));
    setup.sync().expect(0).expect_nothing_done();
}

/// What the server closes the connection over is remembered even if the run got no further.
#[test]
fn many_messages_over_which_the_server_closes_the_connection_are_found_run_by_run() {
    let rules = ["UID FETCH 4", "UID FETCH 5", "UID FETCH 6"].map(|on| last(on, b""));
    let (setup, server) = with_three_new(rules.to_vec());
    server.deliver(b"Subject: new\r\n\r\nThis is 7.\r\n".to_vec());
    let codes: Vec<Option<i32>> = (0..4).map(|_| setup.sync().code).collect();
    assert_eq!((codes, setup.root.inbox().messages().len()), (vec![Some(4), Some(4), Some(1), Some(0)], 4));
}

/// Exchange refuses messages that it can't convert.
#[test]
fn a_message_that_is_refused_stops_no_other() {
    for refusal in ["NO [SERVERBUG] Internal error occurred.", "NO The requested message could not be converted"] {
        let refuse = |on| made(on, format!("{{tag}} {refusal}\r\n"));
        let (mut setup, server) = with_three_new(vec![refuse("UID FETCH 4:6 "), refuse("UID FETCH 5 ")]);
        let run = setup.sync();
        assert_lacks_the_fifth(run, &setup, refusal);
        comes_another_day(&mut setup, &server, refusal);
    }
}

/// For all that is known then, the server gives no message at all just now.
#[test]
fn where_nothing_comes_it_is_asked_for_again_soon_and_the_message_named() {
    let (setup, server) = pulled();
    server.deliver(b"Subject: new\r\n\r\nThis is new.\r\n".to_vec());
    server.set_rules(vec![rule("UID FETCH 4 ", b"{tag} NO [SERVERBUG] Internal error occurred.\r\n")]);
    for _ in 0..2 {
        let run = setup.sync().expect(1);
        assert!(
            run.account()["errors"][0]["message"].as_str().unwrap().contains("message 4: the server said"),
            "{run:?}"
        );
    }
    server.set_rules(Vec::new());
    assert_eq!(setup.sync().expect(0).count("local", "added"), 1);
}

/// Gateways that bear no large message end the connection in the middle of it, and with it the answers to what went before.
#[test]
fn a_message_over_which_the_connection_ends_when_it_is_sent_stops_no_other() {
    for (kind, large) in [(Kind::Full, &[200_000, 300_000][..]), (Kind::NoUidplus, &[200_000])] {
        let mut setup = Setup::with_mail(kind, &corpus::ordinary(3));
        setup.sync_in_step();
        let meddler = Meddler::start(setup.server.port);
        (setup.port, setup.tls) = (meddler.port, "none");
        meddler.limit(Some(100_000));
        let deliver = |subject: &str, size: usize| {
            let body = [corpus::plain(subject), vec![b'x'; size]].concat();
            setup.root.inbox().deliver(&body, None, Some(DATE));
        };
        (0..150).for_each(|number| deliver(&format!("before {number}"), 100));
        large.iter().for_each(|size| deliver("too large", *size));
        (0..35).for_each(|number| deliver(&format!("behind {number}"), 100));
        setup.sync().expect(4);
        let run = setup.sync().expect(1);
        let account = run.account();
        let errors = account["errors"].as_array().unwrap();
        assert_eq!(errors.len(), large.len(), "{}", run.stdout);
        for error in errors {
            assert_eq!(error["code"], "message-refused", "{}", run.stdout);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("closes the connection over this message"), "{}", run.stdout);
        }
        assert_eq!(setup.imap().messages(&["INBOX"]).len(), 3 + 185, "{kind:?}");
        let run = setup.sync().expect(0).expect_nothing_done();
        assert_eq!(run.account()["waiting"].as_array().unwrap().len(), large.len(), "{}", run.stdout);
        meddler.limit(None);
        setup.entrance = ["faketime", "-f", "+25h"].map(str::to_owned).to_vec();
        assert_eq!(setup.sync().expect(0).count("remote", "added"), large.len() as u64);
        setup.sync_in_step();
    }
}
