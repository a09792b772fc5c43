//! Somebody between us and the server who can't break TLS: the handshake is held up, STARTTLS is kept from happening,
//! or something is slipped in around it (the "NO STARTTLS" attacks).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::bounded;
use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::meddler::{Meddler, Plan};
use crate::support::setup::{Run, Setup};

/// A server in the clear: what it says first, and what to each line; `{tag}` stands for that line's tag. Then it
/// listens.
fn in_the_clear(greeting: &'static str, answers: &'static [&'static str]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    serving(move |mut stream, heard| {
        stream.write_all(greeting.as_bytes())?;
        for answer in answers {
            let line = hear_line(&mut stream, heard)?;
            let tag = line.split(' ').next().unwrap_or_default();
            stream.write_all(answer.replace("{tag}", tag).as_bytes())?;
        }
        while !hear_line(&mut stream, heard)?.is_empty() {}
        Ok(())
    })
}

/// Serves each connection so. Returns the port, and what is heard.
fn serving(
    serve: impl Fn(TcpStream, &Mutex<Vec<u8>>) -> std::io::Result<()> + Send + Sync + 'static,
) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // The client may go at any time.
            serve(stream, &hearing).ok();
        }
    });
    (port, heard)
}

/// Hears a line; of a handshake nothing to its end.
fn hear_line(stream: &mut TcpStream, heard: &Mutex<Vec<u8>>) -> std::io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.last() != Some(&b'\n') && stream.read(&mut byte)? > 0 {
        if line.is_empty() && byte[0] == HANDSHAKE[0] {
            stream.read_to_end(&mut line)?;
            return Ok(String::new());
        }
        line.push(byte[0]);
        heard.lock().unwrap().push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// An account in step with an honest server, and new mail on both sides.
fn with_work(tls: &'static str) -> Setup {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.sync_in_step();
    setup.tls = tls;
    setup.keys = "timeout = \"1s\"".to_owned();
    setup.entrance = bounded();
    setup.append(&["INBOX"], &corpus::odd(1));
    setup.root.inbox().deliver(&corpus::plain("up"), Some("S"), Some(corpus::DATE));
    setup
}

/// Demands that a run on such a server ends in time, with these words, that nothing is changed, and that no command but
/// these was sent to it.
fn is_refused(setup: &mut Setup, (port, heard): (u16, Arc<Mutex<Vec<u8>>>), words: &str, commands: &[&str]) -> Run {
    setup.port = port;
    let before = (setup.root.inbox().messages(), setup.imap().messages(&["INBOX"]));
    let started = Instant::now();
    let run = setup.sync().expect(4);
    assert!(started.elapsed() < Duration::from_secs(20), "{words}: {:?}", started.elapsed());
    assert!(run.account()["errors"].to_string().contains(words), "no {words:?} in {}", run.stdout);
    assert_eq!((setup.root.inbox().messages(), setup.imap().messages(&["INBOX"])), before, "{words}");
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    let lines: Vec<&str> = heard.lines().map(|line| line.split_once(' ').map_or(line, |(_, words)| words)).collect();
    assert_eq!(lines, commands, "{words}");
    run
}

/// The head of a handshake message in a record as long as records may be.
const HANDSHAKE: [u8; 9] = [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc];

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let mut setup = with_work("implicit");
    let words = "the handshake was not over within 1 s";
    let mute = |mut stream: TcpStream, _: &Mutex<Vec<u8>>| stream.read_to_end(&mut Vec::new()).map(drop);
    is_refused(&mut setup, serving(mute), words, &[]);
    let drip = |mut stream: TcpStream, _: &Mutex<Vec<u8>>| {
        for byte in HANDSHAKE.into_iter().chain(std::iter::repeat(0)) {
            stream.write_all(&[byte])?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    is_refused(&mut setup, serving(drip), words, &[]);
    setup.tls = "starttls";
    let after_starttls = move |mut stream: TcpStream, heard: &Mutex<Vec<u8>>| {
        stream.write_all(b"* OK ready\r\n")?;
        let line = hear_line(&mut stream, heard)?;
        stream.write_all(format!("{} OK go on\r\n", line.split(' ').next().unwrap_or_default()).as_bytes())?;
        thread::sleep(Duration::from_millis(50));
        drip(stream, heard)
    };
    is_refused(&mut setup, serving(after_starttls), words, &["STARTTLS"]);
    (setup.port, setup.tls, setup.keys) = (setup.server.tls_port, "implicit", String::new());
    setup.sync_in_step();
}

#[test]
fn without_starttls_nothing_is_said_in_the_clear() {
    let mut setup = with_work("starttls");
    let open = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN] ready\r\n";
    for (greeting, answers, words) in [
        (open, &["{tag} NO not here\r\n"][..], "does not offer STARTTLS (NO not here)"),
        (open, &["{tag} BAD unknown command\r\n"], "does not offer STARTTLS (BAD unknown command)"),
        (open, &["* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} BAD unknown\r\n"], "does not offer STARTTLS"),
        (open, &["* BYE not for you\r\n{tag} NO no\r\n"], "does not offer STARTTLS"),
        // It agrees, and goes on in the clear.
        (open, &["{tag} OK go on\r\n"], "the handshake was not over within 1 s"),
    ] {
        is_refused(&mut setup, in_the_clear(greeting, answers), words, &["STARTTLS"]);
    }
    let known = "* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] welcome back\r\n";
    is_refused(&mut setup, in_the_clear(known, &[]), "PREAUTH", &[]);
    is_refused(&mut setup, in_the_clear("* BYE [ALERT] dial 1-900\r\n", &[]), "dial 1-900", &[]);
    (setup.port, setup.tls, setup.keys) = (setup.server.port, "starttls", String::new());
    setup.sync_in_step();
}

#[test]
fn what_comes_behind_the_answer_to_starttls_ends_it() {
    let mut setup = with_work("starttls");
    for injected in [
        &["{tag} OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"][..],
        &["{tag} OK go on\r\n* LIST () \"/\" evil\r\n"],
        &["{tag} OK go on\r\n* PREAUTH welcome\r\nA0002 OK logged in\r\n"],
        &["{tag} OK go on\r\n* "],
        &["* OK [ALERT] dial 1-900\r\n{tag} OK go on\r\nA0002 OK [CAPABILITY IMAP4rev1] done\r\n"],
    ] {
        let run =
            is_refused(&mut setup, in_the_clear("* OK ready\r\n", injected), "as an attacker would", &["STARTTLS"]);
        assert!(!run.stdout.contains("1-900") && !run.stderr.contains("1-900"), "{run:?}");
    }
}

/// The rest is an honest server.
#[test]
fn what_comes_in_front_of_the_answer_to_starttls_counts_for_nothing() {
    let mut setup = with_work("starttls");
    setup.keys = String::new();
    let meddler = Meddler::start(setup.server.port);
    setup.port = meddler.port;
    for lies in [
        "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n* ENABLED QRESYNC\r\n",
        "* LIST () \"/\" evil\r\n* STATUS evil (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)\r\n* OK [ALERT] dial 1-900\r\n",
        "* 0 EXISTS\r\n* VANISHED 1:*\r\n* 1 EXPUNGE\r\n* OK [UIDVALIDITY 5] x\r\n* BYE [ALERT] dial 1-900\r\n",
        "* OK [REFERRAL imap://evil.example.org/] go there\r\n* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n",
    ] {
        meddler.plan(Plan { on: "STARTTLS", before: Box::new(|| {}), lies });
        let run = setup.sync().expect(0);
        assert!(meddler.is_done());
        assert!(!run.stdout.contains("1-900") && !run.stderr.contains("1-900"), "{run:?}");
        setup.assert_equal();
        assert!(setup.recoverable().is_empty(), "{lies}");
        assert!(!setup.root.folder(&["evil"]).0.exists());
        setup.sync().expect(0).expect_nothing_done();
    }
}
