//! SIGINT and SIGTERM.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;

/// Tells when a signal asks to stop.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<Exit>>);

impl Stop {
    /// Starts to watch for the signals, instead of dying by them.
    pub(super) fn on_signals() -> io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = interrupt.recv() => Exit::Interrupted,
                _ = terminate.recv() => Exit::Terminated,
            };
            sender.send_replace(Some(exit));
            // While the sender lives, those who wait are not told that no signal can come any more.
            std::future::pending::<()>().await;
        });
        Ok(Self(receiver))
    }

    /// Returns one that no signal reaches, and what tells it to stop.
    pub(super) fn on_demand() -> (watch::Sender<Option<Exit>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Waits for the future, or drops it when a signal comes and returns how the run ends then. A dropped future leaves
    /// what a crash would leave, and every store is made for that.
    pub(super) async fn guard<T>(&self, future: impl Future<Output = T>) -> Result<T, Exit> {
        let mut signal = self.0.clone();
        tokio::select! {
            biased;
            Some(exit) = async { signal.wait_for(Option::is_some).await.ok().and_then(|exit| *exit) } => Err(exit),
            result = future => Ok(result),
        }
    }
}
