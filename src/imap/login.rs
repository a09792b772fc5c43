//! From a host name to a connection that is logged in. async-imap does the talking, behind a [`Gate`].

use std::future::Future;
use std::time::Duration;

use async_imap::Client;
use secrecy::ExposeSecret;

use super::ahead::Ahead;
use super::capability::Capabilities;
use super::connect;
use super::error::{Error, refusal_kind};
use super::gate::Gate;
use super::response::{Condition, Status};
use super::sasl::{Exchange, Listeners, Mechanism};
use super::wire::{Transport, Wire};
use super::{Credential, Settings, Tls, quirk};
use crate::store::{RemoteErrorKind, Traffic};

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct LoggedIn {
    /// Its framing.
    pub(super) wire: Wire,
    /// What the server can do for this user.
    pub(super) capabilities: Capabilities,
    /// The server is on this machine.
    pub(super) to_this_machine: bool,
}

/// Connects and logs in. Where that is known to be heard, what is to be asked first goes behind the log-in: `sent` says
/// whether it did.
pub(super) async fn log_in(settings: &Settings, ahead: Option<&Ahead>, sent: &mut bool) -> Result<LoggedIn, Error> {
    let (stream, peer) = connect::tcp(settings).await?;
    let to_this_machine = peer.ip().to_canonical().is_loopback();
    let listeners = match settings.tls {
        Tls::Implicit | Tls::StartTls => Listeners::Nobody,
        Tls::None if to_this_machine => Listeners::NoWay,
        Tls::None => Listeners::Anyone,
    };
    if listeners == Listeners::Anyone && !settings.insecure_plaintext {
        return Err(Error::Protection(format!(
            "{} is another machine and the connection would not be protected (tls = \"none\")",
            settings.host
        )));
    }
    let mut stream: Box<dyn Transport> = Box::new(stream);
    if settings.tls == Tls::Implicit {
        stream = connect::tls(settings, stream).await?;
    }
    let mut gate = Gate::new(Wire::new(stream, settings.timeout, Traffic::default()));
    let greeting = greet(&mut gate, settings.timeout).await?;
    if settings.tls == Tls::StartTls {
        gate = start_tls(gate, settings, greeting).await?;
    }
    let (wire, capabilities) = authenticate(gate, settings, listeners, ahead, sent).await?;
    Ok(LoggedIn { wire, capabilities, to_this_machine })
}

/// Waits for the greeting.
async fn greet(gate: &mut Gate, timeout: Duration) -> Result<Status, Error> {
    let mut client = Client::new(&mut *gate);
    let read = within(timeout, client.read_response()).await;
    let greeting = gate.heard().greeting.clone();
    match greeting {
        Some(greeting) if greeting.condition == Condition::Bye => Err(Error::Unwilling(greeting.text)),
        Some(greeting) => Ok(greeting),
        None => Err(failure(gate, read.err())),
    }
}

/// Goes over to TLS. What was said before is forgotten: anyone could have said it. PREAUTH would leave nothing to
/// protect and is refused (RFC 9051 section 11.1).
async fn start_tls(mut gate: Gate, settings: &Settings, greeting: Status) -> Result<Gate, Error> {
    if greeting.condition == Condition::PreAuth {
        return Err(Error::Protection("the server skips the log-in (PREAUTH), so STARTTLS can't be used".to_owned()));
    }
    let asked = command(&mut gate, "STARTTLS", settings.timeout).await?;
    if !asked.is_ok() {
        return Err(Error::Protection(format!("the server does not offer STARTTLS ({asked})")));
    }
    let (stream, traffic) = gate.into_wire().into_stream()?;
    let stream = connect::tls(settings, stream).await?;
    let mut gate = Gate::new(Wire::new(stream, settings.timeout, traffic));
    gate.heard().greeting = Some(greeting);
    Ok(gate)
}

/// Sends a command without arguments and returns the tagged answer.
async fn command(gate: &mut Gate, name: &str, timeout: Duration) -> Result<Status, Error> {
    gate.heard().answer = None;
    let mut client = Client::new(&mut *gate);
    let done = within(timeout, client.run_command_and_check_ok(name, None)).await;
    gate.heard().answer.take().ok_or_else(|| failure(gate, done.err()))
}

/// Returns the capabilities heard last, or asks for them; without those that are not to be used.
async fn capabilities(gate: &mut Gate, settings: &Settings) -> Result<Capabilities, Error> {
    if gate.heard().capabilities.is_none() {
        let answer = command(gate, "CAPABILITY", settings.timeout).await?;
        if !answer.is_ok() {
            return Err(Error::Refused(answer));
        }
    }
    Ok(usable(gate.heard().capabilities.clone().unwrap_or_default(), settings))
}

/// Returns capabilities without those that are not to be used.
pub(super) fn usable(capabilities: Capabilities, settings: &Settings) -> Capabilities {
    let broken = quirk::broken(&settings.host).iter().map(|&word| word.to_owned());
    let disabled: Vec<String> = settings.disable.iter().cloned().chain(broken).collect();
    capabilities.without(&disabled)
}

async fn authenticate(
    mut gate: Gate,
    settings: &Settings,
    listeners: Listeners,
    ahead: Option<&Ahead>,
    sent: &mut bool,
) -> Result<(Wire, Capabilities), Error> {
    let known_already = gate.heard().greeting.as_ref().is_some_and(|status| status.condition == Condition::PreAuth);
    let before = capabilities(&mut gate, settings).await?;
    if known_already {
        return Ok((gate.into_wire(), before));
    }
    gate.heard().capabilities = None;
    gate.heard().answer = None;
    let mechanism = Mechanism::best(&before, &settings.credential, listeners);
    let mechanism = mechanism.ok_or_else(|| nothing_fits(&before, listeners))?;
    tracing::info!(mechanism = mechanism.name(), "logging in");
    let at_once = before.has("SASL-IR");
    let hears_ahead = mechanism.is_one_line(at_once) && gate.heard().greeting.as_ref().is_some_and(quirk::hears_ahead);
    let ahead = ahead.filter(|_| hears_ahead);
    if let Some(ahead) = ahead {
        gate.send_behind(ahead.bytes());
        *sent = true;
    }
    let ended = match mechanism {
        Mechanism::Command => login_command(&mut gate, settings).await,
        _ => exchange(&mut gate, settings, mechanism, at_once).await,
    };
    let answer = gate.heard().answer.take();
    match (ended, answer) {
        (Ok(()), Some(answer)) if answer.is_ok() => {}
        (_, Some(answer)) if !answer.is_ok() => return Err(turned_away(settings, &answer)),
        (Err(error @ (Error::Login(_) | Error::Protection(_))), Some(_)) => return Err(error),
        // An exchange cut short proves nothing about either side.
        (Err(Error::Protection(_)), None) => return Err(failure(&mut gate, None)),
        (ended, _) => return Err(failure(&mut gate, ended.err())),
    }
    // To ask for them now would be to hear the answers to what was sent behind.
    let told = gate.heard().capabilities.is_some();
    let capabilities = match ahead.filter(|_| !told) {
        Some(ahead) => ahead.recalled.clone(),
        None => capabilities(&mut gate, settings).await?,
    };
    Ok((gate.into_wire(), capabilities))
}

async fn login_command(gate: &mut Gate, settings: &Settings) -> Result<(), Error> {
    let Credential::Password(password) = &settings.credential else { return Ok(()) };
    let client = Client::new(gate);
    let session = within(settings.timeout, client.login(&settings.user, password.expose_secret())).await?;
    match session {
        Err((async_imap::error::Error::Validate(_), _)) => {
            Err(Error::Login("the user name or the password holds a line end, which IMAP can't send".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Runs a SASL exchange (RFC 9051 section 6.2.2, RFC 4959).
async fn exchange(gate: &mut Gate, settings: &Settings, mechanism: Mechanism, at_once: bool) -> Result<(), Error> {
    let mut exchange = Exchange::start(mechanism, settings)?;
    let command = match exchange.initial_response(at_once) {
        Some(initial) => format!("AUTHENTICATE {} {initial}", mechanism.name()),
        None => format!("AUTHENTICATE {}", mechanism.name()),
    };
    if mechanism.is_scram() {
        gate.end_early(if at_once { 1 } else { 2 });
    }
    let client = Client::new(gate);
    let session = within(settings.timeout, client.authenticate(command_arguments(&command), &mut exchange)).await?;
    drop(session);
    exchange.verdict()
}

/// Returns what async-imap puts behind the word AUTHENTICATE that it writes itself.
fn command_arguments(command: &str) -> &str {
    command.strip_prefix("AUTHENTICATE ").unwrap_or(command)
}

async fn within<F: Future>(timeout: Duration, future: F) -> Result<F::Output, Error> {
    tokio::time::timeout(timeout, future).await.map_err(|_| Error::Silent(timeout))
}

/// Returns why there is no answer: what ended the connection, or the deadline.
fn failure(gate: &mut Gate, error: Option<Error>) -> Error {
    let heard = gate.heard();
    match (heard.error.take().or(error), heard.bye.take()) {
        (Some(Error::Lost(_)) | None, bye @ Some(_)) => Error::Lost(bye),
        (Some(error), _) => error,
        (None, None) => Error::Lost(None),
    }
}

/// Tells a wrong secret from a server that asks to be left alone for now (RFC 5530).
fn turned_away(settings: &Settings, answer: &Status) -> Error {
    match refusal_kind(answer) {
        RemoteErrorKind::Busy => Error::Unwilling(answer.to_string()),
        _ => Error::Login(format!("the server refused user {}: {answer}", settings.user)),
    }
}

fn nothing_fits(capabilities: &Capabilities, listeners: Listeners) -> Error {
    let offered: Vec<&str> = capabilities.words().filter(|word| word.starts_with("AUTH=")).collect();
    let login = if capabilities.has("LOGINDISABLED") { "LOGINDISABLED" } else { "" };
    let way = if listeners == Listeners::Anyone { " over a connection that is not protected" } else { "" };
    let offered = offered.join(" ");
    Error::Login(format!("the server offers no way to log in with this kind of secret{way} ({offered} {login})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::{EMPTY_LINE, Step, block_on, serve};
    use crate::imap::{Recalled, connect as connect_store, connect_recalling};
    use crate::store::{RemoteError, RemoteStore};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// `\0user\0secret` in base64.
    const PLAIN: &str = "AHVzZXIAc2VjcmV0";

    fn settings(port: u16, tls: Tls) -> Settings {
        Settings {
            host: "127.0.0.1".to_owned(),
            port,
            tls,
            ca_file: None,
            tls_fingerprint: Some([0; 32]),
            insecure_plaintext: false,
            timeout: Duration::from_secs(5),
            connections: 1,
            compress: crate::imap::Compress::Auto,
            disable: vec!["X-UNWANTED".to_owned()],
            user: "user".to_owned(),
            credential: Credential::Password("secret".to_owned().into()),
        }
    }

    async fn attempt(tls: Tls, credential: Option<Credential>, script: Vec<Step>) -> Result<Vec<String>, RemoteError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(listener.local_addr().unwrap().port(), tls);
        settings.credential = credential.unwrap_or(settings.credential);
        let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, script).await });
        let store = connect_store(&settings).await;
        server.await.unwrap();
        store.map(|store| store.capabilities())
    }

    fn kind(outcome: Result<Vec<String>, RemoteError>) -> RemoteErrorKind {
        outcome.unwrap_err().kind
    }

    #[test]
    fn plain_at_once_or_step_by_step_whatever_the_server_adds() {
        block_on(async {
            let script = vec![
                ("", "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] h\u{e9}llo\r\n"),
                (
                    leak(format!("AUTHENTICATE PLAIN {PLAIN}")),
                    "* OK [ALERT]\u{e9}\r\n* XYZ ((\r\n\r\n* CAPABILITY X\r\n$ OK [CAPABILITY IMAP4rev1 MOVE X-UNWANTED] \u{fc}\r\n",
                ),
            ];
            assert_eq!(attempt(Tls::None, None, script).await.unwrap(), ["IMAP4REV1", "MOVE"]);
            for prompt in ["+\r\n", "+ \r\n", "+ go on, please\r\n"] {
                let script = vec![
                    ("", "* OK hello\r\n"),
                    ("CAPABILITY", "* CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\r\n$ OK x\r\n"),
                    ("AUTHENTICATE PLAIN", prompt),
                    (PLAIN, "A0001 OK x\r\n"),
                    ("CAPABILITY", "* CAPABILITY IMAP4rev1\r\n$ OK x\r\n"),
                ];
                assert_eq!(attempt(Tls::None, None, script).await.unwrap(), ["IMAP4REV1"], "{prompt}");
            }
        });
    }

    #[test]
    fn the_login_command_is_the_last_resort_and_may_be_disabled() {
        block_on(async {
            let script = vec![
                ("", "* OK [CAPABILITY IMAP4rev1] x\r\n"),
                ("LOGIN \"user\" \"secret\"", "$ NO [AUTHENTICATIONFAILED] no\r\n"),
            ];
            let error = attempt(Tls::None, None, script).await.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Login);
            let words = "connecting to 127.0.0.1: the server refused user user: NO [AUTHENTICATIONFAILED] no";
            assert_eq!(error.to_string(), words);
            let script = vec![
                ("", "* OK [CAPABILITY IMAP4rev1] x\r\n"),
                ("LOGIN \"user\" \"secret\"", "$ NO [UNAVAILABLE] later\r\n"),
            ];
            assert_eq!(kind(attempt(Tls::None, None, script).await), RemoteErrorKind::Busy);
            let script = vec![("", "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x\r\n")];
            assert_eq!(kind(attempt(Tls::None, None, script).await), RemoteErrorKind::Login);
        });
    }

    #[test]
    fn tokens_are_refused_with_the_answer_the_mechanism_wants() {
        block_on(async {
            for (mechanism, first, answer) in [
                ("OAUTHBEARER", "biwsAWF1dGg9QmVhcmVyIHRvawEB", "AQ=="),
                ("XOAUTH2", "dXNlcj11c2VyAWF1dGg9QmVhcmVyIHRvawEB", EMPTY_LINE),
            ] {
                let greeting = leak(format!("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH={mechanism}] x\r\n"));
                let token = Credential::Token("tok".to_owned().into());
                let mut script = vec![("", greeting)];
                script.push((leak(format!("AUTHENTICATE {mechanism} {first}")), "+ eyJzdGF0dXMiOiI0MDAifQ==\r\n"));
                script.push((answer, "A0001 NO expired\r\n"));
                assert_eq!(kind(attempt(Tls::None, Some(token), script).await), RemoteErrorKind::Login);
            }
        });
    }

    #[test]
    fn a_server_that_proves_nothing_is_not_trusted_with_scram() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let settings = settings(listener.local_addr().unwrap().port(), Tls::None);
            let server = async {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                stream
                    .write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGINDISABLED AUTH=SCRAM-SHA-256] x\r\n")
                    .await
                    .unwrap();
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert!(line.starts_with("A0001 AUTHENTICATE SCRAM-SHA-256 "), "{line}");
                stream.write_all(b"A0001 OK [CAPABILITY IMAP4rev1] come in\r\n").await.unwrap();
                stream
            };
            let (_server, store) = tokio::join!(server, connect_store(&settings));
            assert!(store.unwrap_err().to_string().ends_with("did not prove that it knows the password"));
        });
    }

    #[test]
    fn starttls_cannot_be_skipped_or_slipped_into() {
        block_on(async {
            for (greeting, answer, words) in [
                ("* PREAUTH [CAPABILITY IMAP4rev1] in\r\n", None, "PREAUTH"),
                ("* OK x\r\n", Some("$ BAD what\r\n"), "does not offer STARTTLS"),
                ("* OK x\r\n", Some("$ OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"), "as an attacker would"),
            ] {
                let mut script = vec![("", greeting)];
                script.extend(answer.map(|answer| ("STARTTLS", answer)));
                let error = attempt(Tls::StartTls, None, script).await.unwrap_err();
                assert_eq!(error.kind, RemoteErrorKind::Unreachable);
                assert!(error.to_string().contains(words), "{error}");
            }
        });
    }

    #[test]
    fn no_greeting_and_silence_are_unreachable_and_bye_is_a_wish_to_be_left_alone() {
        block_on(async {
            let greeted = async |greeting| attempt(Tls::None, None, vec![("", greeting)]).await.unwrap_err();
            for greeting in ["* OK", ""] {
                assert_eq!(greeted(greeting).await.kind, RemoteErrorKind::Unreachable);
            }
            let error = greeted("* BYE too many connections\r\n").await;
            assert_eq!(error.kind, RemoteErrorKind::Busy);
            assert!(error.to_string().contains("too many"), "{error}");
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut silent = settings(listener.local_addr().unwrap().port(), Tls::Implicit);
            silent.timeout = Duration::from_millis(20);
            assert_eq!(connect_store(&silent).await.unwrap_err().kind, RemoteErrorKind::Unreachable);
        });
    }

    #[test]
    fn a_server_that_stopped_listening_is_heard_to_its_end() {
        block_on(async {
            let (deaf, _) = tokio::io::duplex(16);
            let stream = tokio::io::join(&b"* OK x\r\n* BYE restarting\r\n"[..], deaf);
            let timeout = Duration::from_secs(5);
            let mut gate = Gate::new(Wire::new(Box::new(stream), timeout, Traffic::default()));
            assert!(greet(&mut gate, timeout).await.unwrap().is_ok());
            let error = command(&mut gate, "CAPABILITY", timeout).await.unwrap_err();
            assert_eq!(error.to_string(), "the connection was lost; the server said: restarting");
        });
    }

    #[test]
    fn what_comes_with_the_login_answer_is_not_lost() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let settings = settings(listener.local_addr().unwrap().port(), Tls::None);
            let server = async {
                let mut stream = listener.accept().await.unwrap().0;
                stream.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] x\r\n* BYE and go").await.unwrap();
                stream.write_all(b"ne\r\n").await.unwrap();
                let mut rest = Vec::new();
                // The client ends with a reset.
                let _end = stream.read_to_end(&mut rest).await;
                rest
            };
            let client = async {
                let mut logged_in = log_in(&settings, None, &mut false).await.unwrap();
                while !logged_in.wire.next(None).unwrap() {
                    logged_in.wire.progress().await.unwrap();
                }
                logged_in.wire.take_reply().text
            };
            let (rest, text) = tokio::join!(server, client);
            assert_eq!((rest.as_slice(), text.as_slice()), (&b""[..], &b"* BYE and gone"[..]));
        });
    }

    const IN: &str = "A0001 OK [CAPABILITY IMAP4rev1 LIST-EXTENDED LIST-STATUS] in";
    const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Dovecot (Debian) ready.\r\n";
    const LIST: &str = "LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY))";
    const SPECIAL: &str = "LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY))";

    /// What came of a log-in and a listing.
    #[derive(Debug, PartialEq, Eq)]
    struct Found {
        names: Vec<String>,
        round_trips: u64,
        /// What is to be recorded of the server.
        recorded: String,
    }

    fn found(names: &[&str], round_trips: u64, recorded: &str) -> Found {
        Found { names: strings(names), round_trips, recorded: recorded.to_owned() }
    }

    /// Logs in with what was recorded of a server, and lists its folders. It plays one script on each connection.
    async fn listed(recorded: &str, scripts: Vec<Vec<Step>>) -> Result<Found, RemoteError> {
        listed_with(Recalled { capabilities: recorded.to_owned(), asks_quota: false }, scripts).await
    }

    async fn listed_with(recalled: Recalled, scripts: Vec<Vec<Step>>) -> Result<Found, RemoteError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(listener.local_addr().unwrap().port(), Tls::None);
        settings.timeout = Duration::from_secs(1);
        let server = tokio::spawn(async move {
            for script in scripts {
                serve(listener.accept().await.unwrap().0, script).await;
            }
        });
        let mut store = connect_recalling(&settings, &recalled).await?;
        if recalled.asks_quota {
            store.ask_quota();
        }
        let listing = store.list().await?;
        server.await.unwrap();
        let names = listing.mailboxes.keys().map(ToString::to_string).collect();
        Ok(Found { names, round_trips: store.traffic().round_trips, recorded: listing.capabilities })
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    const RECORDED: &str = "IMAP4REV1 LIST-EXTENDED LIST-STATUS";

    fn log_in_line() -> &'static str {
        leak(format!("AUTHENTICATE PLAIN {PLAIN}"))
    }

    #[test]
    fn what_is_asked_first_goes_behind_the_log_in() {
        block_on(async {
            for answer in [IN, "A0001 OK in"] {
                let answers = format!("{answer}\r\n* LIST () \"/\" A\r\n$ OK x\r\n");
                let script = vec![("", GREETING), (log_in_line(), ""), (LIST, leak(answers))];
                assert_eq!(listed(RECORDED, vec![script]).await.unwrap(), found(&["A"], 1, RECORDED), "{answer}");
            }
        });
    }

    #[test]
    fn how_full_the_account_is_is_asked_behind_the_log_in_if_at_all() {
        block_on(async {
            let recorded = "IMAP4REV1 LIST-EXTENDED LIST-STATUS QUOTA";
            for asks_quota in [false, true] {
                let mut script = vec![("", GREETING), (log_in_line(), ""), (LIST, "")];
                script.extend(asks_quota.then_some(("GETQUOTAROOT \"INBOX\"", "")));
                let entered = format!("A0001 OK [CAPABILITY {recorded}] in");
                let answers = format!("{entered}\r\n{}$ OK x\r\n", if asks_quota { "m1 OK x\r\n" } else { "" });
                script.last_mut().unwrap().1 = leak(answers);
                let recalled = Recalled { capabilities: recorded.to_owned(), asks_quota };
                assert_eq!(listed_with(recalled, vec![script]).await.unwrap(), found(&[], 1, recorded));
            }
        });
    }

    #[test]
    fn what_was_asked_in_words_that_are_no_more_right_is_heard_out_and_asked_again() {
        block_on(async {
            let words = "A0001 OK [CAPABILITY IMAP4rev1 LIST-EXTENDED LIST-STATUS SPECIAL-USE] in\r\n";
            let script = vec![
                ("", GREETING),
                (log_in_line(), words),
                (LIST, "* LIST () \"/\" Old\r\n$ OK x\r\n"),
                (SPECIAL, "* LIST () \"/\" New\r\n$ OK x\r\n"),
            ];
            let recorded = format!("{RECORDED} SPECIAL-USE");
            assert_eq!(listed(RECORDED, vec![script]).await.unwrap(), found(&["New"], 2, &recorded));
        });
    }

    /// A proxy may be in front of it that does either.
    #[test]
    fn what_a_server_drops_or_ends_the_connection_over_goes_behind_no_log_in_again() {
        block_on(async {
            let recorded = format!("{RECORDED} !AHEAD");
            let entered = leak(format!("{IN}\r\n"));
            let list = (LIST, "* LIST () \"/\" A\r\n$ OK x\r\n");
            let drops = vec![("", GREETING), (log_in_line(), ""), (LIST, entered), list];
            assert_eq!(listed(RECORDED, vec![drops]).await.unwrap(), found(&["A"], 2, &recorded));
            let ends_at_once = vec![("", GREETING), (log_in_line(), ""), (LIST, "")];
            let ends_later = vec![("", GREETING), (log_in_line(), ""), (LIST, entered)];
            let without = vec![("", GREETING), (log_in_line(), entered), list];
            for ends in [ends_at_once, ends_later] {
                let found = listed(RECORDED, vec![ends, without.clone()]).await.unwrap();
                assert_eq!((&found.names, &found.recorded), (&strings(&["A"]), &recorded));
            }
            assert_eq!(listed(&recorded, vec![without]).await.unwrap(), found(&["A"], 2, &recorded));
        });
    }

    #[test]
    fn who_is_not_let_in_is_told_so_whatever_came_behind() {
        block_on(async {
            let answers = "A0001 NO [AUTHENTICATIONFAILED] no\r\n$ BAD not logged in\r\n";
            let script = vec![("", GREETING), (log_in_line(), ""), (LIST, answers)];
            assert_eq!(listed(RECORDED, vec![script]).await.unwrap_err().kind, RemoteErrorKind::Login);
        });
    }

    /// Of another server nobody knows whether it hears that, nor with a log-in of several steps.
    #[test]
    fn nothing_goes_behind_the_log_in_where_that_may_be_lost() {
        block_on(async {
            let other = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Courier ready.\r\n";
            let steps = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot ready.\r\n";
            let entered = leak(format!("{IN}\r\n"));
            let list = (LIST, "* LIST () \"/\" A\r\n$ OK x\r\n");
            let script = vec![("", other), (log_in_line(), entered), list];
            assert_eq!(listed(RECORDED, vec![script]).await.unwrap(), found(&["A"], 2, RECORDED));
            let script = vec![("", steps), ("AUTHENTICATE PLAIN", "+\r\n"), (PLAIN, entered), list];
            assert_eq!(listed(RECORDED, vec![script]).await.unwrap(), found(&["A"], 3, RECORDED));
        });
    }

    fn leak(text: String) -> &'static str {
        Box::leak(text.into_boxed_str())
    }
}
