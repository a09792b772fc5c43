//! The connection that one sync leaves to the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::imap::ImapStore;

/// How long it is kept. Changes seldom come alone; between two that do, nothing is held that is not listened to.
const KEPT: Duration = Duration::from_secs(60);

/// A connection kept for a while: making one takes longer than most syncs, and servers count log-ins.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Kept(Arc<Mutex<Option<(ImapStore, AbortHandle)>>>);

impl Kept {
    /// Keeps a connection until it is asked for, or for a while.
    pub(in crate::cli) fn keep(&self, store: ImapStore) {
        let kept = self.clone();
        let farewell = tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            if let Some(store) = kept.take() {
                store.logout().await;
            }
        });
        self.replace(Some((store, farewell.abort_handle())));
    }

    /// Returns the connection that was kept, if it still carries anything.
    pub(in crate::cli) async fn renewed(&self) -> Option<ImapStore> {
        let (mut store, farewell) = self.replace(None)?;
        farewell.abort();
        match store.renew().await {
            Ok(()) => Some(store),
            Err(error) => {
                tracing::info!("another connection is made: {error}");
                None
            }
        }
    }

    /// Ends it, before its time: nothing more is to be expected.
    pub(super) fn dismiss(&self) {
        if let Some((store, farewell)) = self.replace(None) {
            farewell.abort();
            tokio::spawn(store.logout());
        }
    }

    /// Lets go of it: it will hardly carry anything any more.
    pub(super) fn let_go(&self) {
        if let Some((_, farewell)) = self.replace(None) {
            farewell.abort();
        }
    }

    fn take(&self) -> Option<ImapStore> {
        self.replace(None).map(|(store, _)| store)
    }

    fn replace(&self, new: Option<(ImapStore, AbortHandle)>) -> Option<(ImapStore, AbortHandle)> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), new)
    }
}
