//! Calls the hooks of `mailtide watch`, beside the syncs and never in their way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::tell::Teller;
use crate::cli::account::Run;
use crate::cli::hooks::{self, Happened};
use crate::config::{Account, Hooks};

/// What happens within this time is told together.
const TOGETHER: Duration = Duration::from_millis(200);

/// Gathers what happened until the hooks have been told.
#[derive(Debug, Clone)]
pub(super) struct Bell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hooks: Mutex<Arc<Hooks>>,
    happened: Mutex<Happened>,
    rung: Notify,
}

impl Bell {
    /// Returns one for these hooks.
    pub(super) fn new(hooks: Hooks) -> Self {
        Self(Arc::new(Inner { hooks: Mutex::new(Arc::new(hooks)), happened: Mutex::default(), rung: Notify::new() }))
    }

    /// Returns the hooks.
    pub(super) fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(&self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls others from now on. One that is running goes on, and what nobody was told yet these are.
    pub(super) fn replace(&self, hooks: Hooks) {
        *self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hooks);
    }

    /// Takes in what a sync did.
    pub(super) fn add(&self, account: &Account, run: &Run) {
        if !hooks::wanted(&self.hooks()) || !run.report.did_anything() {
            return;
        }
        // Files are read for it: other accounts must not wait.
        let mut happened = Happened::default();
        happened.add(account, run);
        self.0.happened.lock().unwrap_or_else(PoisonError::into_inner).merge(happened);
        self.0.rung.notify_one();
    }

    /// Calls the hooks, one after the other, for ever. What happens while they run they are told afterwards.
    pub(super) async fn attend(&self, teller: &Teller) {
        loop {
            self.0.rung.notified().await;
            tokio::time::sleep(TOGETHER).await;
            let happened = std::mem::take(&mut *self.0.happened.lock().unwrap_or_else(PoisonError::into_inner));
            if happened.is_empty() {
                continue;
            }
            for trouble in hooks::after(&self.hooks(), happened).await {
                teller.trouble(None, &trouble);
            }
        }
    }
}
