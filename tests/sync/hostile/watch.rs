//! A server that lies to the daemon while it listens.

use std::time::{Duration, Instant};

use super::{PLAIN, last, pulled_from, rule};
use crate::support::daemon::Daemon;
use crate::support::scripted::{Manner, Rule, Scripted};

/// Waits until the daemon has begun to listen so often.
fn wait_until_it_listened(server: &Scripted, times: usize, what: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while server.commands().iter().filter(|command| command.contains("IDLE")).count() < times {
        assert!(Instant::now() < end, "{what}: {:?}", server.commands());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_it_hears_while_it_listens_costs_no_message_and_no_end() {
    let capabilities = format!("{PLAIN} IDLE").leak();
    let (setup, server) = pulled_from(3, capabilities);
    let before = setup.root.inbox().messages();
    let cases: [(Rule, Manner); 9] = [
        (rule("IDLE", b"+ idling\r\n* 1 EXPUNGE\r\n* VANISHED 1:*\r\n* 0 EXISTS\r\n"), Manner::Once),
        (rule("IDLE", b"+ idling\r\n* 99999999999999999999 EXISTS\r\n* X ((((\r\n\xff\xfe\r\n"), Manner::Once),
        (last("IDLE", b"+ idling\r\n* BYE enough\r\n"), Manner::Once),
        (last("IDLE", b"+ idl"), Manner::Once),
        (rule("IDLE", b"{tag} BAD what?\r\n"), Manner::Once),
        (rule("IDLE", b"{tag} OK that was short\r\n"), Manner::Once),
        (rule("IDLE", b"+ idling\r\n* 3 EXISTS\r\n"), Manner::Endlessly),
        (rule("IDLE", &[b'a'; 16_384]), Manner::Endlessly),
        (rule("IDLE", b"+ idling\r\n* 3 EXISTS"), Manner::Dripping),
    ];
    for (lie, manner) in cases {
        let what = format!("{:?} {manner:?}", super::shown(std::slice::from_ref(&lie)));
        server.set_manner(vec![lie], manner);
        let daemon = Daemon::start(&setup);
        wait_until_it_listened(&server, 2, &what);
        daemon.stop();
        assert_eq!(setup.root.inbox().messages(), before, "{what}");
        let commands = server.commands();
        let harmful = ["STORE", "EXPUNGE", "DELETE", "APPEND", "MOVE", "COPY", "RENAME"];
        let harm = commands.iter().find(|command| command.split(' ').any(|word| harmful.contains(&word)));
        assert_eq!(harm, None, "{what}");
    }
    server.set_rules(Vec::new());
    setup.sync().expect(0).expect_nothing_done();
}

#[test]
fn one_that_tells_again_and_again_that_it_cannot_tell_all_is_listened_to_by_idle() {
    let (setup, server) = pulled_from(3, format!("{PLAIN} IDLE NOTIFY").leak());
    server.set_rules(vec![rule("IDLE", b"+ idling\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n")]);
    let mut daemon = Daemon::start(&setup);
    daemon.wait_for("listening to one folder", |event| event["event"] == "listening" && event["reach"] == "inbox");
    let errors = daemon.told.iter().filter(|event| event.to_string().contains("notify-refused"));
    assert_eq!(errors.count(), 1, "{:?}", daemon.told);
    daemon.stop();
    server.set_rules(Vec::new());
    setup.sync().expect(0).expect_nothing_done();
}
