//! Connections beside the store's own, made for one task and closed after it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::Notify;

use super::super::list::introduction;
use super::super::names::Names;
use super::super::{Compress, ImapStore, Settings, connect_asking};
use crate::store::{Lane, Traffic};

/// How long one is waited for that has nothing left to do. What it brings is counted.
const GRACE: Duration = Duration::from_secs(1);

/// How to make further connections for a task, and what came of them.
#[derive(Debug)]
pub(in crate::imap) struct Further {
    settings: Settings,
    /// What the server can do: the introduction goes behind the log-in.
    capabilities: String,
    names: Names,
    /// Whoever is still being connected is needed no more.
    no_more: Notify,
    /// What went over them.
    traffic: RefCell<Traffic>,
    /// One could not be made.
    refused: Cell<bool>,
}

impl Further {
    /// Connections to the same server.
    pub(in crate::imap) fn new(settings: &Settings, beside: &ImapStore) -> Self {
        let compress = if beside.outlook.is_compressed() { Compress::On } else { settings.compress };
        let settings = Settings { compress, connections: 1, ..settings.clone() };
        let (capabilities, names) = (beside.recorded_capabilities(), beside.names.clone());
        let (no_more, traffic, refused) = Default::default();
        Self { settings, capabilities, names, no_more, traffic, refused }
    }

    /// Says that nothing is left to do for one that is still being connected.
    pub(in crate::imap) fn is_needed_no_more(&self) {
        self.no_more.notify_waiters();
    }

    /// Makes a connection, does something with it unless it is too late then, and closes it. Returns nothing if there is no
    /// connection to be had.
    pub(in crate::imap) async fn lend<T>(
        &self,
        is_late: impl Fn() -> bool,
        work: impl AsyncFnOnce(&mut ImapStore) -> T,
    ) -> Option<T> {
        let needless = async {
            self.no_more.notified().await;
            tokio::time::sleep(GRACE).await;
        };
        let connected = tokio::select! {
            biased;
            connected = connect_asking(&self.settings, &self.capabilities, introduction) => connected,
            () = needless => return None,
        };
        let mut store = match connected {
            // Once it is lost, what is left is for the store's own.
            Ok(store) => ImapStore { settings: None, ..store },
            Err(error) => {
                tracing::info!("no further connection: {error}");
                self.refused.set(true);
                return None;
            }
        };
        let introduced = if is_late() { None } else { Some(store.introduce_with(self.names.clone()).await) };
        let done = match introduced {
            Some(Ok(())) => Some(work(&mut store).await),
            Some(Err(error)) => {
                tracing::info!("a further connection is given up: {error}");
                None
            }
            None => None,
        };
        self.count(&store);
        store.logout().await;
        done
    }

    fn count(&self, store: &ImapStore) {
        let Traffic { bytes_in, bytes_out, .. } = store.connection.wire().traffic();
        let mut all = self.traffic.borrow_mut();
        all.bytes_in += bytes_in;
        all.bytes_out += bytes_out;
    }
}

impl ImapStore {
    /// Does something over this connection and, if one can be had before it is too late, over another beside it. The first
    /// goes on when the second fails, which is an error all the same: of what was out over it nothing is known.
    pub(in crate::imap) async fn over_two<E>(
        &mut self,
        others: &Settings,
        is_late: impl Fn() -> bool,
        work: impl AsyncFn(&mut ImapStore, Lane) -> Result<(), E>,
    ) -> Result<(), E> {
        let further = Further::new(others, self);
        let first = async {
            let done = work(self, Lane::First).await;
            further.is_needed_no_more();
            done
        };
        let second = further.lend(is_late, async |store| work(store, Lane::Second).await);
        let (first, second) = join(first, Box::pin(second)).await;
        self.count_further(further);
        first.and(second.unwrap_or(Ok(())))
    }

    /// Counts what went over further connections. Where one could not be made no other is tried.
    pub(in crate::imap) fn count_further(&mut self, further: Further) {
        let Traffic { bytes_in, bytes_out, .. } = further.traffic.into_inner();
        self.elsewhere.bytes_in += bytes_in;
        self.elsewhere.bytes_out += bytes_out;
        if further.refused.get() {
            self.others = None;
        }
    }
}
