//! SASL through rsasl: which mechanism, and the exchange.

use async_imap::Authenticator;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, Session, SessionError};
use rsasl::property::{AuthId, OAuthBearerToken, Password};
use secrecy::{ExposeSecret, SecretString};

use super::capability::Capabilities;
use super::error::Error;
use super::{Credential, Settings};

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616.
    Plain,
    /// The LOGIN command (RFC 9051 section 6.2.3).
    Command,
    /// The SASL mechanism that came before PLAIN.
    Login,
    /// RFC 7628.
    OAuthBearer,
    /// What Google and Microsoft had before RFC 7628.
    XOAuth2,
}

/// Who may listen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listeners {
    /// Anyone on the way.
    Anyone,
    /// Nobody: it is encrypted.
    Nobody,
    /// Nobody: there is no way, the server is on this machine.
    NoWay,
}

impl Mechanism {
    /// Returns the strongest mechanism that the server offers for this kind of secret. Where anyone may listen, only one
    /// that doesn't tell the secret. On this machine the one of the fewest round trips.
    pub(super) fn best(capabilities: &Capabilities, credential: &Credential, listeners: Listeners) -> Option<Self> {
        use Mechanism::{Command, Login, OAuthBearer, Plain, ScramSha1, ScramSha256, XOAuth2};
        let candidates: &[Mechanism] = match credential {
            Credential::Password(_) if listeners == Listeners::NoWay => {
                &[Plain, Command, ScramSha256, ScramSha1, Login]
            }
            Credential::Password(_) => &[ScramSha256, ScramSha1, Plain, Command, Login],
            Credential::Token(_) => &[OAuthBearer, XOAuth2],
        };
        let exposed = listeners == Listeners::Anyone;
        let mut candidates = candidates.iter().copied().filter(|mechanism| !exposed || mechanism.is_scram());
        candidates.find(|mechanism| match mechanism {
            Command => !capabilities.has("LOGINDISABLED"),
            _ => capabilities.has(&format!("AUTH={}", mechanism.name())),
        })
    }

    /// Returns its name, as in `AUTH=`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::Plain => "PLAIN",
            Mechanism::Command | Mechanism::Login => "LOGIN",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
        }
    }

    /// Returns true if all that the client says fits in one line, given that the first response may go with the command.
    pub(super) fn is_one_line(self, at_once: bool) -> bool {
        matches!(self, Mechanism::Command) || matches!(self, Mechanism::Plain) && at_once
    }

    /// Returns true if the server has to prove something too.
    pub(super) fn is_scram(self) -> bool {
        matches!(self, Mechanism::ScramSha256 | Mechanism::ScramSha1)
    }
}

/// One exchange.
pub(super) struct Exchange {
    mechanism: Mechanism,
    session: Session,
    initial: Option<Vec<u8>>,
    finished: bool,
    failure: Option<String>,
}

/// Answers rsasl's questions.
struct Answers {
    user: String,
    secret: SecretString,
}

impl SessionCallback for Answers {
    fn callback(&self, _: &SessionData, _: &Context<'_>, request: &mut Request<'_>) -> Result<(), SessionError> {
        request
            .satisfy::<AuthId>(&self.user)?
            .satisfy::<Password>(self.secret.expose_secret().as_bytes())?
            .satisfy::<OAuthBearerToken>(self.secret.expose_secret())?;
        Ok(())
    }
}

impl Exchange {
    /// Starts an exchange and prepares what the client says first.
    pub(super) fn start(mechanism: Mechanism, settings: &Settings) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Login(format!("{}: {error}", mechanism.name()));
        let (Credential::Password(secret) | Credential::Token(secret)) = &settings.credential;
        let answers = Answers { user: settings.user.clone(), secret: secret.clone() };
        let config = SASLConfig::builder().with_default_mechanisms().with_callback(answers);
        let config = config.map_err(|error| failed(&error))?;
        let name = Mechname::parse(mechanism.name().as_bytes()).map_err(|error| failed(&error))?;
        let session = SASLClient::new(config).start_suggested(&[name]).map_err(|error| failed(&error))?;
        let mut exchange = Self { mechanism, session, initial: None, finished: false, failure: None };
        if exchange.session.are_we_first() {
            exchange.initial = Some(exchange.step(None));
            if let Some(failure) = exchange.failure.take() {
                return Err(failed(&failure));
            }
        }
        Ok(exchange)
    }

    /// Takes the client's first message in base64, if it may be sent with the command (SASL-IR).
    pub(super) fn initial_response(&mut self, at_once: bool) -> Option<String> {
        let initial = if at_once { self.initial.take() } else { None }?;
        Some(if initial.is_empty() { "=".to_owned() } else { STANDARD.encode(initial) })
    }

    /// Says whether the exchange itself went well, whatever the server answered.
    pub(super) fn verdict(self) -> Result<(), Error> {
        match self.failure {
            Some(failure) => Err(Error::Login(format!("{}: {failure}", self.mechanism.name()))),
            None if self.mechanism.is_scram() && !self.finished => {
                Err(Error::Protection("the server did not prove that it knows the password".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn step(&mut self, challenge: Option<&[u8]>) -> Vec<u8> {
        let mut answer = Vec::new();
        match self.session.step(challenge, &mut answer) {
            Ok(state) => self.finished = state.is_finished(),
            Err(error) => self.failure = Some(error.to_string()),
        }
        answer
    }
}

impl Authenticator for &mut Exchange {
    type Response = Vec<u8>;

    fn process(&mut self, challenge: &[u8]) -> Vec<u8> {
        if let Some(initial) = self.initial.take() {
            return initial;
        }
        match self.mechanism {
            // A challenge is the server's error here, and asks for this before the tagged NO (RFC 7628 section 3.2.3).
            Mechanism::OAuthBearer => vec![1],
            Mechanism::XOAuth2 => Vec::new(),
            _ if self.failure.is_some() => Vec::new(),
            _ => self.step(Some(challenge)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_others_listen_the_secret_is_not_told() {
        let server = |words: &[&str]| Capabilities::new(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        let all = server(&["IMAP4REV1", "AUTH=PLAIN", "AUTH=SCRAM-SHA-1", "AUTH=OAUTHBEARER"]);
        let plain = server(&["IMAP4REV1", "AUTH=PLAIN", "AUTH=LOGIN"]);
        let password = Credential::Password("secret".to_owned().into());
        let token = Credential::Token("secret".to_owned().into());
        assert_eq!(Mechanism::best(&all, &password, Listeners::Anyone), Some(Mechanism::ScramSha1));
        assert_eq!(Mechanism::best(&plain, &password, Listeners::Anyone), None);
        assert_eq!(Mechanism::best(&all, &token, Listeners::Anyone), None);
        assert_eq!(Mechanism::best(&plain, &password, Listeners::Nobody), Some(Mechanism::Plain));
        assert_eq!(Mechanism::best(&all, &password, Listeners::Nobody), Some(Mechanism::ScramSha1));
        assert_eq!(Mechanism::best(&all, &password, Listeners::NoWay), Some(Mechanism::Plain));
    }
}
