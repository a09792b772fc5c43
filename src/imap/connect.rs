//! Makes connections: TCP, and TLS as the settings demand.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Settings;
use super::error::Error;
use super::tls::{self, Verifier};
use super::wire::Transport;

/// Connects by TCP.
pub(super) async fn tcp(settings: &Settings) -> Result<(TcpStream, SocketAddr), Error> {
    let failed = |cause| Error::Connect { host: settings.host.clone(), port: settings.port, cause };
    let connecting = TcpStream::connect((settings.host.as_str(), settings.port));
    let stream = match tokio::time::timeout(settings.timeout, connecting).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err(failed(std::io::ErrorKind::TimedOut.into())),
    };
    stream.set_nodelay(true).map_err(failed)?;
    // When this process dies, what it has not sent yet dies with it: the next run must not compete with it.
    stream.set_zero_linger().map_err(failed)?;
    let peer = stream.peer_addr().map_err(failed)?;
    Ok((stream, peer))
}

/// Shakes hands for TLS on a stream.
pub(super) async fn tls(settings: &Settings, stream: Box<dyn Transport>) -> Result<Box<dyn Transport>, Error> {
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| Error::Protection(format!("{:?} is no name that a certificate could bear", settings.host)))?;
    let verifier = Arc::new(Verifier::new(settings)?);
    let config = tls::client_config(Arc::clone(&verifier))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match tokio::time::timeout(settings.timeout, handshake).await {
        Err(_) => {
            let limit = settings.timeout.as_secs();
            Err(Error::Protection(format!("TLS could not be set up: the handshake was not over within {limit} s")))
        }
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Error::Protection(verifier.explain(&error))),
    }
}
