//! Getting the secret, connecting and logging in.

use std::cell::RefCell;

use secrecy::SecretString;

use super::error::{Rest, Trouble};
use crate::config::secret::SecretError;
use crate::config::{Account, Secret};
use crate::imap::{self, Credential, ImapStore, Recalled};
use crate::store::{RemoteError, RemoteErrorKind};

/// Keeps the password that a command gave, so that it is not asked again and again, until a server refuses it.
#[derive(Debug, Default)]
pub(super) struct Memory(RefCell<Option<SecretString>>);

impl Memory {
    /// Returns the secret to use: a password kept is as good as one from the configuration.
    fn recall(&self, secret: &Secret) -> Secret {
        self.0.borrow().clone().map_or_else(|| secret.clone(), Secret::Password)
    }

    /// Keeps a password that a server took; tokens expire, and are asked for every time.
    fn keep(&self, secret: &Secret, credential: &Credential) {
        if let (Secret::PasswordCommand(_), Credential::Password(password)) = (secret, credential) {
            self.0.replace(Some(password.clone()));
        }
    }

    fn forget(&self) {
        self.0.replace(None);
    }
}

/// Gets the secret, connects and logs in.
pub(super) async fn connect(account: &Account) -> Result<ImapStore, Trouble> {
    connect_remembering(account, None, &Recalled::default()).await
}

/// As [`connect`]; with a memory the password is asked for once.
pub(super) async fn connect_remembering(
    account: &Account,
    memory: Option<&Memory>,
    recalled: &Recalled,
) -> Result<ImapStore, Trouble> {
    let attempt = async |credential: Credential| {
        let connected = imap::connect_recalling(&account.server.with(credential.clone()), recalled).await;
        match (&connected, memory) {
            (Ok(_), Some(memory)) => memory.keep(&account.secret, &credential),
            (Err(error), Some(memory)) if error.kind == RemoteErrorKind::Login => memory.forget(),
            _ => {}
        }
        connected
    };
    let secret = memory.map_or_else(|| account.secret.clone(), |memory| memory.recall(&account.secret));
    match with_secret(&secret, attempt).await {
        Ok(result) => result.map_err(|error| Trouble::remote(account, &error, Rest::Untouched)),
        Err(error) => Err(Trouble::secret(&error)),
    }
}

/// Tries to log in. An access token may have expired: it is asked for once more when it is refused.
async fn with_secret<T>(
    secret: &Secret,
    attempt: impl AsyncFn(Credential) -> Result<T, RemoteError>,
) -> Result<Result<T, RemoteError>, SecretError> {
    match attempt(secret.ask().await?).await {
        Err(error) if error.kind == RemoteErrorKind::Login && secret.renews() => Ok(attempt(secret.ask().await?).await),
        result => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Command;
    use secrecy::ExposeSecret;
    use std::path::Path;

    /// Logs in with a secret that changes with every asking, on a server that accepts only some; returns those it saw.
    fn tried(secret: &Secret, accepted: &str) -> (bool, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = RefCell::new(Vec::new());
        let attempt = async |credential| {
            let (Credential::Password(text) | Credential::Token(text)) = credential;
            seen.borrow_mut().push(text.expose_secret().to_owned());
            match text.expose_secret() == accepted {
                true => Ok(()),
                false => Err(RemoteError::new(RemoteErrorKind::Login, "no")),
            }
        };
        let result = runtime.block_on(with_secret(secret, attempt)).unwrap();
        (result.is_ok(), seen.into_inner())
    }

    fn counting(dir: &Path) -> Command {
        Command::Shell(format!("echo x >> {0}/n; wc -l < {0}/n | tr -d ' '", dir.display()))
    }

    #[test]
    fn a_refused_token_is_asked_for_once_more_and_a_password_is_not() {
        for (accepted, tries) in [("1", &["1"][..]), ("2", &["1", "2"]), ("3", &["1", "2"])] {
            let dir = tempfile::tempdir().unwrap();
            let expected = (tries.last() == Some(&accepted), tries.iter().map(ToString::to_string).collect());
            assert_eq!(tried(&Secret::TokenCommand(counting(dir.path())), accepted), expected);
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tried(&Secret::PasswordCommand(counting(dir.path())), "2"), (false, vec!["1".to_owned()]));
    }

    #[test]
    fn a_password_is_asked_for_until_a_server_takes_one_and_a_token_every_time() {
        let (memory, dir) = (Memory::default(), tempfile::tempdir().unwrap());
        let password = Secret::PasswordCommand(counting(dir.path()));
        let token = Secret::TokenCommand(counting(dir.path()));
        memory.keep(&token, &Credential::Token("t".into()));
        assert!(matches!(memory.recall(&token), Secret::TokenCommand(_)));
        memory.keep(&password, &Credential::Password("p".into()));
        assert!(matches!(memory.recall(&password), Secret::Password(kept) if kept.expose_secret() == "p"));
        memory.forget();
        assert!(matches!(memory.recall(&password), Secret::PasswordCommand(_)));
    }
}
