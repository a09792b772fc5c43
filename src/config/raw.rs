//! The configuration file as written (DESIGN.md section 9), with the place of every value.
//!
//! Every key of the format is here. Those of later work are read as [`Later`], so that they are told from misspelt ones.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Visitor};
use toml::Spanned;

/// A value with its place.
pub type Value<T> = Option<Spanned<T>>;

/// A key that is known and not supported yet.
pub type Later = Option<Spanned<IgnoredAny>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where databases and recoverable mail are.
    pub state_dir: Value<String>,
    /// What accounts start from.
    #[serde(default)]
    pub defaults: Account,
    /// Commands run around a sync.
    #[serde(default)]
    pub hooks: Hooks,
    /// Groups of accounts.
    pub groups: Later,
    /// The accounts.
    #[serde(default)]
    pub accounts: BTreeMap<Spanned<String>, Spanned<Account>>,
}

/// `[accounts.NAME]`, and `[defaults]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Account {
    pub protocol: Value<String>,
    pub host: Value<String>,
    pub port: Value<u16>,
    pub tls: Value<String>,
    pub user: Value<String>,
    pub password: Value<Password>,
    pub password_command: Value<Command>,
    #[serde(default)]
    pub oauth2: BTreeMap<Spanned<String>, OAuth2Value>,
    pub keyring: Later,
    pub enabled: Option<bool>,
    pub ca_file: Value<String>,
    pub tls_fingerprint: Value<String>,
    pub insecure_plaintext: Option<bool>,
    pub timeout: Value<String>,
    pub connections: Value<u8>,
    pub compress: Value<String>,
    pub disable: Option<Vec<String>>,
    pub maildir: Option<Maildir>,
    pub folders: Option<Folders>,
    pub sync: Option<Sync>,
    pub watch: Option<Watch>,
    pub rules: Later,
    pub pop3: Later,
}

/// The value of a key of `oauth2`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OAuth2Value {
    /// Of `token_command`.
    Command(Command),
    /// Of any other: which ones there will be is open.
    Later(IgnoredAny),
}

/// `[accounts.NAME.maildir]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Maildir {
    pub path: Value<String>,
    pub layout: Value<String>,
}

/// `[accounts.NAME.folders]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Folders {
    pub include: Option<Vec<Spanned<String>>>,
    pub exclude: Option<Vec<Spanned<String>>>,
    pub subscribed_only: Option<bool>,
    #[serde(default)]
    pub local_names: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `[accounts.NAME.sync]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Sync {
    pub mode: Value<String>,
    pub delete: Value<String>,
    pub keep_deleted: Value<String>,
    pub max_delete: Option<MaxDelete>,
    pub max_message_size: Later,
    pub bodies: Later,
    pub keep_local: Later,
}

/// `sync.max_delete`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct MaxDelete {
    pub percent: Value<u8>,
    pub at_least: Option<u64>,
    pub at_most: Option<u64>,
}

/// `[accounts.NAME.watch]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Watch {
    pub folders: Option<Vec<Spanned<String>>>,
    pub poll: Value<String>,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented where the format is")]
pub struct Hooks {
    pub before_sync: Value<Command>,
    pub on_new_mail: Value<Command>,
    pub on_change: Value<Command>,
}

/// A command: a string for `sh -c`, or program and arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a string (run by sh -c) or an array of strings (program and arguments)")]
pub enum Command {
    /// Run by `sh -c`.
    Shell(String),
    /// Run as it is.
    Argv(Vec<String>),
}

/// A password. A value of another type is refused without being repeated in the error.
#[derive(Debug, Clone)]
pub struct Password(pub SecretString);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

impl Visitor<'_> for PasswordVisitor {
    type Value = Password;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Password, E> {
        Ok(Password(text.into()))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Password, E> {
        Err(E::custom("expected a string in quotes"))
    }
}

impl Account {
    /// Returns this account with what it leaves out taken from `defaults`: tables merge key by key, other values
    /// replace. One that names a source of its secret takes none from the defaults.
    pub fn over(self, defaults: &Account) -> Account {
        let own_secret = self.names_secret();
        let rest = if own_secret { defaults.clone().without_secret() } else { defaults.clone() };
        Account {
            protocol: self.protocol.or(rest.protocol),
            host: self.host.or(rest.host),
            port: self.port.or(rest.port),
            tls: self.tls.or(rest.tls),
            user: self.user.or(rest.user),
            password: self.password.or(rest.password),
            password_command: self.password_command.or(rest.password_command),
            oauth2: merge_map(self.oauth2, rest.oauth2),
            keyring: self.keyring.or(rest.keyring),
            enabled: self.enabled.or(rest.enabled),
            ca_file: self.ca_file.or(rest.ca_file),
            tls_fingerprint: self.tls_fingerprint.or(rest.tls_fingerprint),
            insecure_plaintext: self.insecure_plaintext.or(rest.insecure_plaintext),
            timeout: self.timeout.or(rest.timeout),
            connections: self.connections.or(rest.connections),
            compress: self.compress.or(rest.compress),
            disable: self.disable.or(rest.disable),
            maildir: merge(self.maildir, rest.maildir, Maildir::over),
            folders: merge(self.folders, rest.folders, Folders::over),
            sync: merge(self.sync, rest.sync, Sync::over),
            watch: merge(self.watch, rest.watch, Watch::over),
            rules: self.rules.or(rest.rules),
            pop3: self.pop3.or(rest.pop3),
        }
    }

    fn names_secret(&self) -> bool {
        self.password.is_some() || self.password_command.is_some() || !self.oauth2.is_empty()
    }

    fn without_secret(self) -> Account {
        Account { password: None, password_command: None, oauth2: BTreeMap::new(), ..self }
    }
}

fn merge<T>(own: Option<T>, default: Option<T>, over: impl FnOnce(T, T) -> T) -> Option<T> {
    match (own, default) {
        (Some(own), Some(default)) => Some(over(own, default)),
        (own, default) => own.or(default),
    }
}

/// A key keeps the place where its value is from.
fn merge_map<T>(
    own: BTreeMap<Spanned<String>, T>,
    mut rest: BTreeMap<Spanned<String>, T>,
) -> BTreeMap<Spanned<String>, T> {
    rest.retain(|key, _| !own.contains_key(key));
    rest.extend(own);
    rest
}

impl Maildir {
    fn over(self, rest: Maildir) -> Maildir {
        Maildir { path: self.path.or(rest.path), layout: self.layout.or(rest.layout) }
    }
}

impl Folders {
    fn over(self, rest: Folders) -> Folders {
        Folders {
            include: self.include.or(rest.include),
            exclude: self.exclude.or(rest.exclude),
            subscribed_only: self.subscribed_only.or(rest.subscribed_only),
            local_names: merge_map(self.local_names, rest.local_names),
        }
    }
}

impl Sync {
    fn over(self, rest: Sync) -> Sync {
        Sync {
            mode: self.mode.or(rest.mode),
            delete: self.delete.or(rest.delete),
            keep_deleted: self.keep_deleted.or(rest.keep_deleted),
            max_delete: merge(self.max_delete, rest.max_delete, MaxDelete::over),
            max_message_size: self.max_message_size.or(rest.max_message_size),
            bodies: self.bodies.or(rest.bodies),
            keep_local: self.keep_local.or(rest.keep_local),
        }
    }
}

impl Watch {
    fn over(self, rest: Watch) -> Watch {
        Watch { folders: self.folders.or(rest.folders), poll: self.poll.or(rest.poll) }
    }
}

impl MaxDelete {
    fn over(self, rest: MaxDelete) -> MaxDelete {
        MaxDelete {
            percent: self.percent.or(rest.percent),
            at_least: self.at_least.or(rest.at_least),
            at_most: self.at_most.or(rest.at_most),
        }
    }
}
