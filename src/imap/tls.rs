//! Which certificates are trusted: the platform's authorities and `ca_file`, or the one pinned.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::Settings;
use super::error::Error;

/// Checks the server's certificate, and remembers its fingerprint for the error message.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    seen: OnceLock<[u8; 32]>,
}

#[derive(Debug)]
enum Trust {
    /// Chain and name must be right.
    Authorities(Arc<WebPkiServerVerifier>),
    /// It must be this very certificate, by SHA-256.
    Pinned([u8; 32]),
}

impl Verifier {
    /// Returns the verifier that the settings ask for.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let trust = match settings.tls_fingerprint {
            Some(pin) => Trust::Pinned(pin),
            None => {
                let roots = Arc::new(authorities(settings.ca_file.as_deref())?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                Trust::Authorities(
                    verifier
                        .map_err(|error| Error::Protection(format!("no certificate authority can be used: {error}")))?,
                )
            }
        };
        Ok(Self { provider, trust, seen: OnceLock::new() })
    }

    /// Says why a handshake failed, with the fingerprint if it was the certificate.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match (tls_error, self.seen.get()) {
            (Some(TlsError::InvalidCertificate(_)), Some(seen)) if matches!(self.trust, Trust::Pinned(_)) => {
                format!("the server's certificate is not the one of tls_fingerprint (its fingerprint is {})", Hex(seen))
            }
            (Some(TlsError::InvalidCertificate(cause)), Some(seen)) => {
                let advice = "host must be the name it is for; a private authority belongs into ca_file";
                format!("the server's certificate is not trusted: {cause} (its fingerprint is {}; {advice})", Hex(seen))
            }
            (Some(TlsError::InvalidMessage(_)), _) => {
                format!("the server does not speak TLS here: {error}; perhaps it wants tls = \"starttls\"")
            }
            _ => format!("TLS could not be set up: {error}"),
        }
    }
}

/// Returns the TLS configuration with this verifier.
pub(super) fn client_config(verifier: Arc<Verifier>) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Protection(format!("TLS can't be used: {error}")))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Collects the platform's authorities and those of the file. A platform without any is no error if the file has one.
fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (_, unusable) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(unusable, errors = native.errors.len(), "platform certificates loaded");
    if let Some(path) = ca_file {
        let failed = |error: &dyn fmt::Display| Error::Protection(format!("ca_file {}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
    }
    Ok(roots)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let seen = *self.seen.get_or_init(|| Sha256::digest(end_entity).into());
        match &self.trust {
            Trust::Authorities(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Trust::Pinned(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::block_on;
    use crate::imap::{Credential, Settings, Tls, connect};
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    fn server_config(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }

    fn settings(port: u16) -> Settings {
        Settings {
            host: "localhost".to_owned(),
            port,
            tls: Tls::Implicit,
            ca_file: None,
            tls_fingerprint: None,
            insecure_plaintext: false,
            timeout: Duration::from_secs(5),
            connections: 1,
            compress: crate::imap::Compress::Off,
            disable: Vec::new(),
            user: "user".to_owned(),
            credential: Credential::Password("secret".to_owned().into()),
        }
    }

    /// Starts a server with a certificate for `name` and returns what the client makes of it, and its log of one line.
    async fn meet(name: &str, adjust: impl FnOnce(&mut Settings, &rcgen::Certificate)) -> Result<(), String> {
        meet_with(rcgen::CertificateParams::new([name.to_owned()]).unwrap(), adjust).await
    }

    async fn meet_with(
        params: rcgen::CertificateParams,
        adjust: impl FnOnce(&mut Settings, &rcgen::Certificate),
    ) -> Result<(), String> {
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let config = server_config(&cert, &signing_key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(listener.local_addr().unwrap().port());
        adjust(&mut settings, &cert);
        let server = async {
            let stream = listener.accept().await.unwrap().0;
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                let _sent = stream.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n").await;
                let _sent = stream.flush().await;
            }
        };
        let (store, ()) = tokio::join!(connect(&settings), server);
        store.map(drop).map_err(|error| error.to_string())
    }

    fn pin(settings: &mut Settings, certificate: &rcgen::Certificate) {
        settings.tls_fingerprint = Some(Sha256::digest(certificate.der()).into());
    }

    #[test]
    fn the_pinned_certificate_is_trusted_and_no_other() {
        block_on(async {
            assert_eq!(meet("elsewhere", pin).await, Ok(()));
            let other = meet("localhost", |settings, _| settings.tls_fingerprint = Some([1; 32])).await.unwrap_err();
            assert!(other.contains("not the one of tls_fingerprint (its fingerprint is sha256:"), "{other}");
        });
    }

    #[test]
    fn an_expired_certificate_and_one_of_the_future_are_refused_and_told() {
        block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ca.pem");
            let known = |settings: &mut Settings, certificate: &rcgen::Certificate| {
                std::fs::write(&path, certificate.pem()).unwrap();
                settings.ca_file = Some(path.clone());
            };
            for (from, to) in [(1975, 2020), (2120, 4096)] {
                let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
                params.not_before = rcgen::date_time_ymd(from, 1, 1);
                params.not_after = rcgen::date_time_ymd(to, 1, 1);
                let error = meet_with(params.clone(), known).await.unwrap_err();
                assert!(error.contains("expired") || error.contains("not valid yet"), "{error}");
                assert_eq!(meet_with(params, pin).await, Ok(()), "pinned, it is trusted whatever it says");
            }
        });
    }

    /// What came in the clear could be an attacker's: a way to log in that only it offered is not used.
    #[test]
    fn what_was_said_before_starttls_is_forgotten() {
        block_on(async {
            let (params, key) =
                (rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap(), rcgen::KeyPair::generate().unwrap());
            let cert = params.self_signed(&key).unwrap();
            let config = server_config(&cert, &key);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut settings = settings(listener.local_addr().unwrap().port());
            settings.tls = Tls::StartTls;
            pin(&mut settings, &cert);
            let server = async {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                stream.write_all(b"* OK [CAPABILITY IMAP4rev1 STARTTLS SASL-IR AUTH=PLAIN] x\r\n").await.unwrap();
                let mut asked = String::new();
                stream.read_line(&mut asked).await.unwrap();
                let tag = asked.split(' ').next().unwrap().to_owned();
                stream.write_all(format!("{tag} OK go\r\n").as_bytes()).await.unwrap();
                let secure = TlsAcceptor::from(Arc::new(config)).accept(stream.into_inner()).await.unwrap();
                let (mut secure, mut heard) = (BufReader::new(secure), String::new());
                secure.read_line(&mut heard).await.unwrap();
                let tag = heard.split(' ').next().unwrap().to_owned();
                let answer = format!("* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n{tag} OK x\r\n");
                secure.write_all(answer.as_bytes()).await.unwrap();
                secure.flush().await.unwrap();
                let _end = secure.read_line(&mut heard).await;
                heard
            };
            let (outcome, heard) = tokio::join!(connect(&settings), server);
            let error = outcome.map(drop).unwrap_err().to_string();
            assert!(error.contains("no way to log in"), "{error}");
            assert!(heard.trim_end().ends_with(" CAPABILITY") && heard.lines().count() == 1, "{heard}");
        });
    }

    #[test]
    fn a_stranger_is_refused_with_its_fingerprint_and_ca_file_makes_it_known() {
        block_on(async {
            let mut seen = String::new();
            let stranger = meet("localhost", |_, certificate| {
                seen = Hex(&Sha256::digest(certificate.der()).into()).to_string();
            });
            let error = stranger.await.unwrap_err();
            assert!(error.contains("not trusted") && error.contains(&seen), "{error}");
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ca.pem");
            let known = |settings: &mut Settings, certificate: &rcgen::Certificate| {
                std::fs::write(&path, certificate.pem()).unwrap();
                settings.ca_file = Some(path.clone());
            };
            assert_eq!(meet("localhost", known).await, Ok(()));
            let error = meet("elsewhere", known).await.unwrap_err();
            assert!(error.contains("not trusted"), "{error}");
            let error = meet("localhost", |settings, _| settings.ca_file = Some("/nonexistent.pem".into())).await;
            assert!(error.unwrap_err().contains("ca_file /nonexistent.pem"));
        });
    }
}
