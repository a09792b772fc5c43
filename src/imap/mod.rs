//! The remote side: IMAP.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// How to reach an account's server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name or address, as certificates are checked against it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Further certificates to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the one end-entity certificate (DER) to trust, instead of the chain and the name.
    pub tls_fingerprint: Option<[u8; 32]>,
    /// Allow an unprotected connection to other than loopback addresses.
    pub insecure_plaintext: bool,
    /// The longest wait for anything the server owes us.
    pub timeout: Duration,
    /// At most so many connections at once.
    pub connections: u8,
    /// User name.
    pub user: String,
    /// What proves it.
    pub credential: Credential,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS.
    StartTls,
    /// Not at all.
    None,
}

/// A secret to log in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A password.
    Password(SecretString),
    /// An OAuth2 access token.
    Token(SecretString),
}
