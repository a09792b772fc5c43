//! From a host name to a connection that is logged in. async-imap does the talking, behind a [`Gate`].

use std::future::Future;
use std::time::Duration;

use async_imap::Client;
use secrecy::ExposeSecret;

use super::capability::Capabilities;
use super::connect;
use super::error::Error;
use super::gate::Gate;
use super::response::{Condition, Status};
use super::sasl::{Exchange, Mechanism};
use super::wire::{Transport, Wire};
use super::{Credential, Settings, Tls};
use crate::store::Traffic;

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct LoggedIn {
    /// Its framing.
    pub(super) wire: Wire,
    /// What the server can do for this user.
    pub(super) capabilities: Capabilities,
}

/// Connects and logs in.
pub(super) async fn log_in(settings: &Settings) -> Result<LoggedIn, Error> {
    let (stream, peer) = connect::tcp(settings).await?;
    if settings.tls == Tls::None && !peer.ip().is_loopback() && !settings.insecure_plaintext {
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
    authenticate(gate, settings).await
}

/// Waits for the greeting.
async fn greet(gate: &mut Gate, timeout: Duration) -> Result<Status, Error> {
    let mut client = Client::new(&mut *gate);
    let read = within(timeout, client.read_response()).await;
    let greeting = gate.heard().greeting.clone();
    match greeting {
        Some(greeting) if greeting.condition == Condition::Bye => Err(Error::Lost(Some(greeting.text))),
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

/// Returns the capabilities heard last, or asks for them.
async fn capabilities(gate: &mut Gate, timeout: Duration) -> Result<Capabilities, Error> {
    if gate.heard().capabilities.is_none() {
        let answer = command(gate, "CAPABILITY", timeout).await?;
        if !answer.is_ok() {
            return Err(Error::Refused(answer));
        }
    }
    Ok(gate.heard().capabilities.clone().unwrap_or_default())
}

async fn authenticate(mut gate: Gate, settings: &Settings) -> Result<LoggedIn, Error> {
    let known_already = gate.heard().greeting.as_ref().is_some_and(|status| status.condition == Condition::PreAuth);
    let before = capabilities(&mut gate, settings.timeout).await?;
    if known_already {
        return Ok(LoggedIn { wire: gate.into_wire(), capabilities: before });
    }
    gate.heard().capabilities = None;
    gate.heard().answer = None;
    let mechanism = Mechanism::strongest(&before, &settings.credential).ok_or_else(|| nothing_fits(&before))?;
    tracing::debug!(mechanism = mechanism.name(), "logging in");
    let ended = match mechanism {
        Mechanism::Command => login_command(&mut gate, settings).await,
        _ => exchange(&mut gate, settings, mechanism, before.has("SASL-IR")).await,
    };
    let answer = gate.heard().answer.take();
    match (ended, answer) {
        (Ok(()), Some(answer)) if answer.is_ok() => {}
        (_, Some(answer)) if !answer.is_ok() => return Err(turned_away(settings, &answer)),
        (Err(error @ (Error::Login(_) | Error::Protection(_))), _) => return Err(error),
        (ended, _) => return Err(failure(&mut gate, ended.err())),
    }
    let capabilities = capabilities(&mut gate, settings.timeout).await?;
    Ok(LoggedIn { wire: gate.into_wire(), capabilities })
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

/// Tells a wrong secret from a server that can't let anyone in now (RFC 5530).
fn turned_away(settings: &Settings, answer: &Status) -> Error {
    match answer.code_name() {
        "UNAVAILABLE" | "INUSE" | "LIMIT" | "THROTTLED" | "SERVERBUG" => Error::Lost(Some(answer.to_string())),
        _ => Error::Login(format!("the server refused user {}: {answer}", settings.user)),
    }
}

fn nothing_fits(capabilities: &Capabilities) -> Error {
    let offered: Vec<&str> = capabilities.words().filter(|word| word.starts_with("AUTH=")).collect();
    let login = if capabilities.has("LOGINDISABLED") { "LOGINDISABLED" } else { "" };
    Error::Login(format!("the server offers no way to log in with this kind of secret ({} {login})", offered.join(" ")))
}
