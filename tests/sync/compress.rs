//! `compress`: the same mail in fewer bytes, and only where it is wanted or pays.

use std::io::Write;

use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::proxy::Proxy;
use crate::support::setup::{Run, Setup, own_address};

/// Bytes that deflate can't shrink, as text.
fn dense(size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + state.to_le_bytes()[0] % 95
    };
    std::iter::repeat_with(byte).take(size).collect()
}

/// A user with this mail behind a proxy, without TLS, so that the proxy sees what mailtide counts.
fn behind_a_proxy(mails: &[Mail], compress: &str) -> (Setup, Proxy) {
    let mut setup = Setup::with_mail(Kind::Full, mails);
    let proxy = Proxy::start(setup.server.port);
    (setup.port, setup.tls) = (proxy.port, "none");
    setup.keys = format!("compress = \"{compress}\"");
    (setup, proxy)
}

/// Demands that the bytes told are those that passed, but for the goodbyes, of which nothing is told.
fn assert_told(run: &Run, proxy: &Proxy) {
    let goodbyes = proxy.passed().checked_sub(usize::try_from(run.bytes()).unwrap());
    let most = 150 * proxy.connections();
    assert!(goodbyes.is_some_and(|bytes| bytes < most), "{goodbyes:?} more passed: {}", run.stdout);
}

fn bytes_in(run: &Run) -> u64 {
    run.account()["bytes_in"].as_u64().unwrap()
}

#[test]
fn on_brings_the_same_mail_in_fewer_bytes() {
    let mails = [corpus::long(40, 20_000), corpus::odd(34)].concat();
    let size: usize = mails.iter().map(|mail| mail.body.len()).sum();
    for (compress, least, most) in [("off", size, size * 2), ("auto", size, size * 2), ("on", 1, size / 4)] {
        let (setup, proxy) = behind_a_proxy(&mails, compress);
        let run = setup.sync().expect(0);
        assert_told(&run, &proxy);
        assert!((least..most).contains(&usize::try_from(bytes_in(&run)).unwrap()), "{compress}: {}", run.stdout);
        setup.assert_equal();
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn on_sends_mail_in_fewer_bytes_and_whatever_its_size_at_once() {
    let (setup, proxy) = behind_a_proxy(&[], "on");
    setup.sync_in_step();
    for mail in corpus::long(40, 20_000) {
        setup.root.inbox().deliver(&mail.body, None, Some(mail.date));
    }
    proxy.heal();
    let run = setup.sync().expect(0);
    assert_told(&run, &proxy);
    assert!(run.bytes() < 200_000 && run.count("remote", "added") == 40, "{}", run.stdout);
    setup.assert_equal();
    // Literals of these sizes are where a compressor may keep something back.
    for size in [31_000, 31_800, 32_700, 63_500, 65_500] {
        let body = [corpus::plain(&format!("dense {size}")), dense(size), b"\n".to_vec()].concat();
        setup.root.inbox().deliver(&body, None, Some(DATE));
        setup.sync().expect(0);
    }
    setup.sync_in_step();
}

#[test]
fn on_works_inside_tls_and_where_it_is_not_offered() {
    for (kind, tls) in [(Kind::Full, "implicit"), (Kind::Full, "starttls"), (Kind::Bare, "implicit")] {
        let mut setup = Setup::with_mail(kind, &corpus::long(30, 20_000));
        setup.keys = "compress = \"on\"".to_owned();
        (setup.tls, setup.port) = (tls, if tls == "implicit" { setup.server.tls_port } else { setup.server.port });
        let run = setup.sync_in_step();
        assert_eq!(run.bytes() < 200_000, kind == Kind::Full, "{kind:?} {tls}: {}", run.stdout);
    }
}

#[test]
fn a_compressed_connection_cut_anywhere_loses_and_doubles_nothing() {
    let (setup, proxy) = behind_a_proxy(&corpus::long(20, 5_000), "on");
    let mut allowed = 300;
    loop {
        proxy.allow(allowed, crate::support::proxy::Fault::Cut);
        setup.root.inbox().create();
        let run = setup.sync();
        if run.code == Some(0) {
            break;
        }
        run.expect(4);
        allowed += 611;
    }
    proxy.heal();
    setup.sync_in_step();
    assert_eq!(setup.root.inbox().messages().len(), 20);
}

#[test]
fn auto_compresses_a_large_first_sync_over_a_slow_link_and_no_other() {
    let Some(address) = own_address() else {
        writeln!(std::io::stderr(), "skipped: this machine has no address but loopback").unwrap();
        return;
    };
    let mails = corpus::long(40, 250_000);
    let size: u64 = mails.iter().map(|mail| mail.body.len() as u64).sum();
    for (rate, shrinks) in [(Some(800_000), true), (None, false)] {
        let mut setup = Setup::with_mail(Kind::Full, &mails);
        let proxy = Proxy::start_on(address, setup.server.port);
        rate.inspect(|rate| proxy.slow_down(*rate));
        (setup.host, setup.port, setup.tls) = (address.to_string(), proxy.port, "none");
        setup.keys = "insecure_plaintext = true".to_owned();
        let run = setup.sync().expect(0);
        assert_told(&run, &proxy);
        assert_eq!(bytes_in(&run) < size / 3, shrinks, "{rate:?}: {}", run.stdout);
        setup.assert_equal();
        let again = setup.sync().expect(0).expect_nothing_done();
        assert!(again.account()["round_trips"].as_u64().unwrap() <= 6, "{}", again.stdout);
    }
}
