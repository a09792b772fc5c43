//! A server that lies: a small IMAP server over TLS with one mailbox, whose answers a test can replace. Others that a
//! rule lists are empty.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certs::Authority;

/// An answer that replaces the honest one.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Commands that hold this text, in capitals, are answered so.
    pub(crate) on: &'static str,
    /// The answer; `{tag}` stands for the command's tag, `{honest}` for what would have been answered.
    pub(crate) answer: &'static [u8],
    /// The connection is closed after it.
    pub(crate) close: bool,
}

/// How answers that are replaced are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Once.
    Once,
    /// Again and again, until the client has had enough.
    Endlessly,
    /// A byte in a tenth of a second, the last one again and again, until the client has had enough.
    Dripping,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    capabilities: &'static str,
    bodies: Vec<Vec<u8>>,
    /// Other mailboxes that a rule lists hold nothing; else the same messages.
    empty_others: bool,
    /// So many bytes more than they have messages are said to have.
    exaggeration: usize,
    rules: Vec<Rule>,
    manner: Manner,
    commands: Vec<String>,
}

type Connection = BufReader<StreamOwned<ServerConnection, TcpStream>>;

impl Scripted {
    /// Starts an honest server whose INBOX holds these messages, with UIDs from 1 on.
    pub(crate) fn start(bodies: Vec<Vec<u8>>) -> Scripted {
        Scripted::start_with(bodies, "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT")
    }

    /// The same with these capabilities, of which it knows CONDSTORE and QRESYNC, with HIGHESTMODSEQ 5, ESEARCH, those
    /// of
    /// `start`, and email ids: equal messages have the same.
    pub(crate) fn start_with(bodies: Vec<Vec<u8>>, capabilities: &'static str) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Shared {
            capabilities,
            bodies,
            empty_others: false,
            exaggeration: 0,
            rules: Vec::new(),
            manner: Manner::Once,
            commands: Vec::new(),
        }));
        let config = Arc::new(tls());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, serving) = (Arc::clone(&config), Arc::clone(&serving));
                thread::spawn(move || {
                    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    // A client that goes away ends its connection; that is no failure of the server.
                    serve(BufReader::new(tls), &serving).ok();
                });
            }
        });
        Scripted { port, shared }
    }

    /// Replaces the rules and forgets the commands heard.
    pub(crate) fn set_rules(&self, rules: Vec<Rule>) {
        self.set_manner(rules, Manner::Once);
    }

    /// Likewise, with a manner to answer by the rules.
    pub(crate) fn set_manner(&self, rules: Vec<Rule>, manner: Manner) {
        let mut shared = self.shared.lock().unwrap();
        (shared.rules, shared.manner, shared.commands) = (rules, manner, Vec::new());
    }

    /// Adds a message to the INBOX.
    pub(crate) fn deliver(&self, body: Vec<u8>) {
        self.shared.lock().unwrap().bodies.push(body);
    }

    /// Has nothing in other mailboxes than the INBOX from now on.
    pub(crate) fn empty_others(&self) {
        self.shared.lock().unwrap().empty_others = true;
    }

    /// Says of every message from now on that it has so many bytes more.
    pub(crate) fn exaggerate(&self, bytes: usize) {
        self.shared.lock().unwrap().exaggeration = bytes;
    }

    /// Returns the rules.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.shared.lock().unwrap().rules.clone()
    }

    /// Returns the commands heard, in capitals.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.lock().unwrap().commands.clone()
    }
}

fn tls() -> ServerConfig {
    let certificate = Authority::get().issue(&["localhost", "127.0.0.1"]);
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    config.with_safe_default_protocol_versions().unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap()
}

fn serve(mut connection: Connection, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let greeting = shared.lock().unwrap().answer("*", "GREETING", true);
    send_answer(&mut connection, &greeting)?;
    let (mut before, mut in_inbox) = (String::new(), true);
    while let Some(line) = command(&mut connection)? {
        if line.eq_ignore_ascii_case("DONE") {
            send(&mut connection, format!("{before} OK done\r\n").as_bytes())?;
            continue;
        }
        let (tag, words) = line.split_once(' ').unwrap_or((&line, ""));
        before = tag.to_owned();
        let words = words.to_uppercase();
        if words.starts_with("SELECT") || words.starts_with("EXAMINE") {
            in_inbox = words.contains("INBOX") || !shared.lock().unwrap().empty_others;
        }
        if words == "AUTHENTICATE LOGIN" {
            ask_for_user_and_password(&mut connection, shared)?;
        }
        let answer = shared.lock().unwrap().answer(tag, &words, in_inbox);
        send_answer(&mut connection, &answer)?;
        if answer.close {
            return Ok(());
        }
    }
    Ok(())
}

fn ask_for_user_and_password(connection: &mut Connection, shared: &Mutex<Shared>) -> std::io::Result<()> {
    for question in ["+ VXNlcm5hbWU6\r\n", "+ UGFzc3dvcmQ6\r\n"] {
        send(connection, question.as_bytes())?;
        let answer = command(connection)?.unwrap_or_default();
        shared.lock().unwrap().commands.push(answer.to_uppercase());
    }
    Ok(())
}

struct Answer {
    bytes: Vec<u8>,
    manner: Manner,
    close: bool,
}

fn send_answer(connection: &mut Connection, answer: &Answer) -> std::io::Result<()> {
    match answer.manner {
        Manner::Once => send(connection, &answer.bytes),
        Manner::Endlessly => loop {
            send(connection, &answer.bytes)?;
        },
        Manner::Dripping => {
            let last = answer.bytes.last().unwrap();
            for byte in answer.bytes.iter().chain(std::iter::repeat(last)) {
                send(connection, &[*byte])?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}

fn send(connection: &mut Connection, bytes: &[u8]) -> std::io::Result<()> {
    connection.get_mut().write_all(bytes)?;
    connection.get_mut().flush()
}

/// Reads a command; its literals are read and left out.
fn command(connection: &mut Connection) -> std::io::Result<Option<String>> {
    let mut command = String::new();
    loop {
        let mut line = Vec::new();
        if connection.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        command.push_str(&line);
        let literal = line.rsplit_once('{').and_then(|(_, size)| size.strip_suffix('}'));
        let Some(literal) = literal.map(str::to_owned) else { return Ok(Some(command)) };
        if !literal.ends_with('+') {
            send(connection, b"+ go on\r\n")?;
        }
        let mut bytes = vec![0; literal.trim_end_matches('+').parse().unwrap()];
        connection.read_exact(&mut bytes)?;
    }
}

impl Shared {
    /// Answers a command, or the connection itself.
    fn answer(&mut self, tag: &str, words: &str, in_inbox: bool) -> Answer {
        self.commands.push(words.to_owned());
        let honest = self.honest(tag, words, in_inbox);
        match self.rules.iter().find(|rule| words.contains(rule.on)) {
            Some(rule) => {
                let bytes = replace(rule.answer, b"{tag}", tag.as_bytes());
                Answer { bytes: replace(&bytes, b"{honest}", &honest), manner: self.manner, close: rule.close }
            }
            None => Answer { bytes: honest, manner: Manner::Once, close: words == "LOGOUT" },
        }
    }

    fn honest(&self, tag: &str, words: &str, in_inbox: bool) -> Vec<u8> {
        let (count, capabilities) = (if in_inbox { self.bodies.len() } else { 0 }, self.capabilities);
        let next = count + 1;
        let (mod_seq, mod_seq_code) = match capabilities.contains("CONDSTORE") {
            true => (" HIGHESTMODSEQ 5", "* OK [HIGHESTMODSEQ 5] highest\r\n"),
            false => ("", ""),
        };
        let data = match words.split(' ').next().unwrap_or_default() {
            "GREETING" => return format!("* OK [CAPABILITY {capabilities}] ready\r\n").into_bytes(),
            "CAPABILITY" => format!("* CAPABILITY {capabilities}\r\n").into_bytes(),
            "ENABLE" => b"* ENABLED QRESYNC\r\n".to_vec(),
            "LIST" if words.ends_with("\"\" \"\"") => b"* LIST (\\Noselect) \"/\" \"\"\r\n".to_vec(),
            "LIST" => b"* LIST () \"/\" INBOX\r\n".to_vec(),
            "LSUB" => b"* LSUB () \"/\" INBOX\r\n".to_vec(),
            "STATUS" => {
                format!("* STATUS INBOX (MESSAGES {count} UIDNEXT {next} UIDVALIDITY 7{mod_seq})\r\n").into_bytes()
            }
            "SELECT" | "EXAMINE" => format!(
                "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* {count} EXISTS\r\n* 0 RECENT\r\n\
                 * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] limited\r\n\
                 * OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT {next}] next\r\n{mod_seq_code}"
            )
            .into_bytes(),
            "UID" if !in_inbox => Vec::new(),
            "UID" if words.starts_with("UID FETCH") => self.fetch(words),
            "UID" if words.starts_with("UID SEARCH") => self.search(words),
            "LOGOUT" => b"* BYE gone\r\n".to_vec(),
            _ => Vec::new(),
        };
        [data, format!("{tag} OK done\r\n").into_bytes()].concat()
    }

    fn search(&self, words: &str) -> Vec<u8> {
        let set = words.rsplit(' ').next().unwrap_or_default();
        let found: Vec<String> =
            (1..=self.bodies.len()).filter(|uid| holds(set, *uid)).map(|uid| uid.to_string()).collect();
        match words.contains("RETURN") {
            true => format!("* ESEARCH UID ALL {}\r\n", found.join(",")).into_bytes(),
            false => format!("* SEARCH {}\r\n", found.join(" ")).into_bytes(),
        }
    }

    fn fetch(&self, words: &str) -> Vec<u8> {
        let set = words.split(' ').nth(2).unwrap_or_default();
        let mut out = Vec::new();
        for (at, body) in self.bodies.iter().enumerate().filter(|(at, _)| holds(set, at + 1)) {
            let uid = at + 1;
            let part = words.split_once("BODY.PEEK[").and_then(|(_, rest)| rest.split_once(']')).map(|(part, _)| part);
            let size = body.len();
            let told = size + self.exaggeration;
            out.extend(format!("* {uid} FETCH (UID {uid} FLAGS (\\Seen) RFC822.SIZE {told}").into_bytes());
            out.extend(b" INTERNALDATE \"02-Mar-2020 08:00:00 +0000\"");
            let first = self.bodies.iter().position(|other| other == body).unwrap_or(at);
            if words.contains(" EMAILID") {
                out.extend(format!(" EMAILID (M{first})").into_bytes());
            }
            if words.contains(" X-GM-MSGID") {
                out.extend(format!(" X-GM-MSGID {}", 1_278_455_344_230_334_865 + first).into_bytes());
            }
            if let Some(part) = part {
                let end = body.windows(4).position(|four| four == b"\r\n\r\n").map_or(size, |at| at + 4);
                let sent = if part.starts_with("HEADER") { &body[..end] } else { &body[..] };
                out.extend(format!(" BODY[{part}] {{{}}}\r\n", sent.len()).into_bytes());
                out.extend(sent);
            }
            out.extend(b")\r\n");
        }
        out
    }
}

fn holds(set: &str, uid: usize) -> bool {
    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
    set.split(',').any(|range| match range.split_once(':') {
        Some((first, last)) => (number(first)..=number(last)).contains(&uid),
        None => number(range) == uid,
    })
}

fn replace(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    match text.windows(what.len()).position(|window| window == what) {
        Some(at) => [&text[..at], with, &text[at + what.len()..]].concat(),
        None => text.to_vec(),
    }
}
