//! Where an account's secret comes from, and getting it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use toml::Spanned;

use super::error::Flaw;
use super::raw::{self, Command, OAuth2Value};
use crate::imap::Credential;

/// How long a command may take: its user may have to unlock a key first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a command's output is waited for once it has ended: what it left running in the background, such as an
/// agent, may keep the pipe open for ever.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The longest output of a command that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;

/// Where an account's secret comes from.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The configuration file.
    Password(SecretString),
    /// The first line that a command prints.
    PasswordCommand(Command),
    /// An OAuth2 access token: the first line that a command prints.
    TokenCommand(Command),
}

/// Why a command brought no secret. Never holds what it printed on stdout.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It could not be started, or not be listened to.
    #[error("{command} could not be run: {error}")]
    Run {
        /// The key of the configuration.
        command: &'static str,
        /// The system's words.
        error: io::Error,
    },
    /// It failed.
    #[error("{command} failed ({status}){said}")]
    Failed {
        /// The key of the configuration.
        command: &'static str,
        /// Its exit status.
        status: ExitStatus,
        /// What it printed on stderr, after a colon.
        said: String,
    },
    /// It took too long.
    #[error("{command} did not end within {} s", limit.as_secs())]
    TimedOut {
        /// The key of the configuration.
        command: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// Its first line can't be a secret.
    #[error("{command} printed {what}")]
    Unfit {
        /// The key of the configuration.
        command: &'static str,
        /// Why not.
        what: &'static str,
    },
}

impl Secret {
    /// Gets the secret, by running the command if there is one.
    pub async fn ask(&self) -> Result<Credential, SecretError> {
        self.ask_within(PATIENCE).await
    }

    /// Returns true if asking again may bring another secret: access tokens expire.
    pub fn renews(&self) -> bool {
        matches!(self, Secret::TokenCommand(_))
    }

    async fn ask_within(&self, limit: Duration) -> Result<Credential, SecretError> {
        match self {
            Secret::Password(password) => Ok(Credential::Password(password.clone())),
            Secret::PasswordCommand(command) => {
                first_line(command, "password_command", limit).await.map(Credential::Password)
            }
            Secret::TokenCommand(command) => {
                first_line(command, "oauth2.token_command", limit).await.map(Credential::Token)
            }
        }
    }
}

async fn first_line(command: &Command, key: &'static str, limit: Duration) -> Result<SecretString, SecretError> {
    let failed = |error| SecretError::Run { command: key, error };
    let child = spawn(command).map_err(failed)?;
    let (output, said, status) = tokio::time::timeout(limit, listen(child))
        .await
        .map_err(|_| SecretError::TimedOut { command: key, limit })?
        .map_err(failed)?;
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        let said = if said.trim().is_empty() { String::new() } else { format!(": {}", said.trim()) };
        return Err(SecretError::Failed { command: key, status, said });
    }
    let line = output.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(SecretError::Unfit { command: key, what: "an empty first line" }),
        Ok(text) if text.contains('\0') => Err(SecretError::Unfit { command: key, what: "a NUL" }),
        Ok(text) => Ok(text.into()),
        Err(_) => Err(SecretError::Unfit { command: key, what: "something that is not UTF-8" }),
    }
}

impl Command {
    /// Returns the process to start.
    ///
    /// # Errors
    /// It names no program.
    pub fn process(&self) -> io::Result<tokio::process::Command> {
        match self {
            Command::Shell(line) => {
                let mut shell = tokio::process::Command::new("sh");
                shell.arg("-c").arg(line);
                Ok(shell)
            }
            Command::Argv(words) => {
                let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut process = tokio::process::Command::new(program);
                process.args(arguments);
                Ok(process)
            }
        }
    }
}

/// The command is killed when the child is dropped, so an interrupted or timed out one does not linger.
fn spawn(command: &Command) -> io::Result<Child> {
    let mut process = command.process()?;
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
}

pub(super) type Output = Zeroizing<Vec<u8>>;

/// Returns what a command printed, and how it ended.
pub(super) async fn listen(mut child: Child) -> io::Result<(Output, Output, ExitStatus)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut output, mut said) = (room(), room());
    let mut reading = Box::pin(async { tokio::try_join!(take(stdout, &mut output), take(stderr, &mut said)) });
    let status = tokio::select! {
        read = &mut reading => {
            read?;
            child.wait().await?
        }
        status = child.wait() => {
            let status = status?;
            if let Ok(read) = tokio::time::timeout(AFTERMATH, &mut reading).await {
                read?;
            }
            status
        }
    };
    drop(reading);
    Ok((output, said, status))
}

/// Returns memory that is never moved while it is filled, so that no copy stays behind.
fn room() -> Output {
    Zeroizing::new(Vec::with_capacity(LONGEST))
}

/// Reads as far as there is room. What is longer is cut off by closing the pipe.
async fn take(pipe: Option<impl AsyncRead + Unpin>, output: &mut Output) -> io::Result<()> {
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(LONGEST as u64);
        while output.len() < LONGEST && pipe.read_buf(&mut **output).await? > 0 {}
    }
    Ok(())
}

/// Checks that an account has exactly one secret. `account` is the place of the account.
pub(super) fn check(
    password: raw::Value<raw::Password>,
    password_command: raw::Value<Command>,
    mut oauth2: BTreeMap<Spanned<String>, OAuth2Value>,
    account: &Range<usize>,
) -> Result<Secret, Flaw> {
    let mut found = Vec::new();
    found.extend(password.map(|value| (value.span(), Secret::Password(value.into_inner().0))));
    if let Some(value) = password_command {
        found.push((value.span(), Secret::PasswordCommand(runnable(value.span(), value.into_inner())?)));
    }
    while let Some((key, value)) = oauth2.pop_first() {
        let OAuth2Value::Command(command) = value else {
            return Err(Flaw::new(
                key.span(),
                "oauth2.token_command must be a string or an array of strings",
                COMMANDS,
            ));
        };
        found.push((key.span(), Secret::TokenCommand(runnable(key.span(), command)?)));
    }
    let second = found.get(1).map(|(span, _)| span.clone());
    match (found.into_iter().next(), second) {
        (Some((_, secret)), None) => Ok(secret),
        (_, Some(span)) => Err(Flaw::new(span, "this account has more than one secret", ONE_SECRET)),
        (None, None) => Err(Flaw::new(account.clone(), "this account has no password_command", ONE_SECRET)),
    }
}

const COMMANDS: &str = "write a string (run by sh -c) or an array of strings (program and arguments)";
const ONE_SECRET: &str = "give it exactly one of password_command, password and oauth2.token_command";

/// Refuses a command that names no program.
pub(super) fn runnable(span: Range<usize>, command: Command) -> Result<Command, Flaw> {
    let empty = match &command {
        Command::Shell(line) => line.trim().is_empty(),
        Command::Argv(words) => words.first().is_none_or(String::is_empty),
    };
    match empty {
        true => Err(Flaw::new(span, "this command is empty", COMMANDS)),
        false => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn ask(command: Command, limit: Duration) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = runtime.block_on(Secret::PasswordCommand(command).ask_within(limit));
        match asked {
            Ok(Credential::Password(secret) | Credential::Token(secret)) => Ok(secret.expose_secret().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn shell(line: &str) -> Result<String, String> {
        ask(Command::Shell(line.into()), PATIENCE)
    }

    #[test]
    fn the_first_line_is_the_secret() {
        assert_eq!(shell("printf 's3 cret \\r\\nuser: me\\n'"), Ok("s3 cret ".into()));
        assert_eq!(shell("printf x"), Ok("x".into()));
        let words = ["printf", "%s", "$HOME 'x'"].map(String::from).to_vec();
        assert_eq!(ask(Command::Argv(words), PATIENCE), Ok("$HOME 'x'".into()));
    }

    #[test]
    fn a_command_that_fails_tells_why_and_never_what_it_printed() {
        assert_eq!(
            shell("echo s3cret; echo locked >&2; exit 3"),
            Err("password_command failed (exit status: 3): locked".into())
        );
        assert_eq!(shell("exit 1"), Err("password_command failed (exit status: 1)".into()));
        assert_eq!(shell("echo; echo x"), Err("password_command printed an empty first line".into()));
        assert_eq!(shell("true"), Err("password_command printed an empty first line".into()));
        let missing = ask(Command::Argv(vec!["/nonexistent/pass".into()]), PATIENCE).unwrap_err();
        assert!(missing.starts_with("password_command could not be run: "), "{missing}");
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let limit = Duration::from_secs(10);
        let left = "sleep 15 & echo agent >&2; echo s3cret";
        assert_eq!(ask(Command::Shell(left.into()), limit), Ok("s3cret".into()));
        let failed = "sleep 15 & echo locked >&2; exit 1";
        assert_eq!(
            ask(Command::Shell(failed.into()), limit),
            Err("password_command failed (exit status: 1): locked".into())
        );
    }

    #[test]
    fn a_command_that_hangs_or_floods_is_ended() {
        let limit = Duration::from_millis(50);
        let hung = ask(Command::Argv(vec!["sleep".into(), "600".into()]), limit);
        assert_eq!(hung, Err("password_command did not end within 0 s".into()));
        assert!(shell("yes").unwrap_err().contains("failed"), "a flood ends with a closed pipe");
    }
}
