//! Large downloads from a server that gives each connection only so much.

use std::io::Write;

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
