//! The signals that would kill.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;

/// Whether the next signal kills: one for the process, as are its signals.
static DEADLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Tells when a signal asks to stop.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<Exit>>);

/// Makes a file that gets larger than the user may have it (`ulimit -f`) an error instead of the end.
pub(super) fn outlive_large_files() {
    // Where it can't be handled it kills, as it does everywhere.
    flag::register(SIGXFSZ, Arc::default()).ok();
}

/// Returns whether the next signal kills, which each signal makes true.
fn deadly() -> io::Result<&'static AtomicBool> {
    if let Some(deadly) = DEADLY.get() {
        return Ok(deadly);
    }
    let deadly = Arc::default();
    for signal in [SIGINT, SIGTERM] {
        // In this order, or the first would kill.
        flag::register_conditional_default(signal, Arc::clone(&deadly))?;
        flag::register(signal, Arc::clone(&deadly))?;
    }
    Ok(DEADLY.get_or_init(|| deadly))
}

impl Stop {
    /// Starts to watch for the signals, instead of dying by them. The second one kills: this thread may hang in a system
    /// call, or wait for a reader of what it prints.
    pub(super) fn on_signals() -> io::Result<Self> {
        deadly()?.store(false, Ordering::Relaxed);
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

    /// Lets signals kill again, once nothing is under way any more.
    pub(super) fn release() {
        if let Some(deadly) = DEADLY.get() {
            deadly.store(true, Ordering::Relaxed);
        }
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
