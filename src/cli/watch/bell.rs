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
    hooks: Hooks,
    happened: Mutex<Happened>,
    rung: Notify,
}

impl Bell {
    /// Returns one for these hooks.
    pub(super) fn new(hooks: Hooks) -> Self {
        Self(Arc::new(Inner { hooks, happened: Mutex::default(), rung: Notify::new() }))
    }

    /// Returns the hooks.
    pub(super) fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// Takes in what a sync did.
    pub(super) fn add(&self, account: &Account, run: &Run) {
        if !hooks::wanted(&self.0.hooks) || !run.report.did_anything() {
            return;
        }
        self.0.happened.lock().unwrap_or_else(PoisonError::into_inner).add(account, run);
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
            for trouble in hooks::after(&self.0.hooks, happened).await {
                teller.trouble(None, &trouble);
            }
        }
    }
}
