//! How to reach a server.

use std::fs::File;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::error::Flaw;
use super::paths::Places;
use super::raw;
use super::values::{choice, duration, expand, nonzero, required};
use crate::imap::{self, Compress, Credential, Tls};

/// How to reach a server: [`imap::Settings`] without the secret, which is asked for when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Further certificates to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the one certificate to trust.
    pub tls_fingerprint: Option<[u8; 32]>,
    /// Allow an unprotected connection to other than loopback addresses.
    pub insecure_plaintext: bool,
    /// The longest wait for anything the server owes us.
    pub timeout: Duration,
    /// At most so many connections at once.
    pub connections: u8,
    /// When to compress.
    pub compress: Compress,
    /// Extensions not to use, in upper case.
    pub disable: Vec<String>,
    /// User name.
    pub user: String,
}

impl Server {
    /// Returns the settings to connect with.
    pub fn with(&self, credential: Credential) -> imap::Settings {
        imap::Settings {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls,
            ca_file: self.ca_file.clone(),
            tls_fingerprint: self.tls_fingerprint,
            insecure_plaintext: self.insecure_plaintext,
            timeout: self.timeout,
            connections: self.connections,
            compress: self.compress,
            disable: self.disable.clone(),
            user: self.user.clone(),
            credential,
        }
    }
}

const COMPRESS: [(&str, Option<Compress>); 3] =
    [("auto", Some(Compress::Auto)), ("on", Some(Compress::On)), ("off", Some(Compress::Off))];

/// Checks how an account's server is reached. `account` is the place of the account.
pub(super) fn check(raw: &raw::Account, account: &Range<usize>, places: &Places) -> Result<Server, Flaw> {
    choice(raw.protocol.as_ref(), "protocol", &[("imap", Some(())), ("pop3", None)], ())?;
    let tls_words = [("implicit", Some(Tls::Implicit)), ("starttls", Some(Tls::StartTls)), ("none", Some(Tls::None))];
    let tls = choice(raw.tls.as_ref(), "tls", &tls_words, Tls::Implicit)?;
    let default_port = if tls == Tls::Implicit { 993 } else { 143 };
    let host = required(raw.host.as_ref(), "host", account, char::is_whitespace)?;
    let insecure_plaintext = raw.insecure_plaintext.unwrap_or(false);
    if tls == Tls::None && !insecure_plaintext && !is_loopback(&host) {
        let at = raw.tls.as_ref().map_or_else(|| account.clone(), Spanned::span);
        let message = format!("the connection to {host} would not be protected");
        return Err(Flaw::new(
            at,
            message,
            "use \"implicit\" or \"starttls\", or allow it with insecure_plaintext = true",
        ));
    }
    Ok(Server {
        host,
        port: raw.port.as_ref().map_or(Ok(default_port), |port| nonzero(port, "port"))?,
        tls,
        ca_file: raw.ca_file.as_ref().map(|path| ca_file(path, places)).transpose()?,
        tls_fingerprint: raw.tls_fingerprint.as_ref().map(fingerprint).transpose()?,
        insecure_plaintext,
        timeout: raw.timeout.as_ref().map_or(Ok(Duration::from_secs(60)), timeout)?,
        connections: raw.connections.as_ref().map_or(Ok(4), |count| nonzero(count, "connections"))?,
        compress: choice(raw.compress.as_ref(), "compress", &COMPRESS, Compress::default())?,
        disable: raw.disable.iter().flatten().map(|word| word.to_ascii_uppercase()).collect(),
        user: required(raw.user.as_ref(), "user", account, |_| false)?,
    })
}

/// This machine by a name that can mean no other.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn ca_file(value: &Spanned<String>, places: &Places) -> Result<PathBuf, Flaw> {
    let path = expand(value, places)?;
    match File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => {
            let message = format!("ca_file {} can't be read: {error}", path.display());
            Err(Flaw::new(
                value.span(),
                message,
                "correct the path, or remove ca_file to trust the system's authorities",
            ))
        }
    }
}

fn fingerprint(value: &Spanned<String>) -> Result<[u8; 32], Flaw> {
    let digits: Option<String> =
        value.get_ref().strip_prefix("sha256:").map(|hex| hex.chars().filter(|&c| c != ':').collect());
    digits.as_deref().and_then(from_hex).ok_or_else(|| {
        let hint = "write sha256: and the 64 hexadecimal digits of the certificate's SHA-256, colons allowed";
        Flaw::new(value.span(), "this is no certificate fingerprint", hint)
    })
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let nibbles: Vec<u8> =
        digits.chars().map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = nibbles.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    bytes.try_into().ok().filter(|_| nibbles.len() == 64)
}

fn timeout(value: &Spanned<String>) -> Result<Duration, Flaw> {
    let hint = "use a time such as \"60s\" or \"2min\"";
    let time = duration(value, "timeout", hint)?;
    match time.is_zero() {
        true => Err(Flaw::new(value.span(), "timeout can't be 0", hint)),
        false => Ok(time),
    }
}
