//! Further connections that listen, each to one folder: for the folders that the configuration names in full, on servers
//! that tell of no more than one folder by one connection because they have no NOTIFY.

use std::convert::Infallible;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::ears::Ears;
use super::keep::{Keeper, LASTING, Missed, Orders, Plan, chance, hear, of_error, told};
use crate::imap::Reach;
use crate::model::MailboxName;
use crate::store::RemoteStore;

/// Listens for ever.
pub(super) async fn listen<K: Keeper>(keeper: &K, plan: &Plan, ears: &Ears, orders: Orders) {
    join_all(plan.named().iter().map(|mailbox| attend(keeper, plan, ears, mailbox, orders.clone()))).await;
    std::future::pending::<()>().await;
}

/// Listens to one folder whenever the first connection listens to no more than one, which it finds out.
async fn attend<K: Keeper>(keeper: &K, plan: &Plan, ears: &Ears, mailbox: &MailboxName, mut orders: Orders) {
    let (mut backoff, mut reach) = (Backoff::default(), ears.reach.subscribe());
    while reach.wait_for(|reach| *reach == Some(Reach::One)).await.is_ok() {
        let begun = Instant::now();
        let missed = tokio::select! {
            missed = session(keeper, plan, ears, mailbox) => missed,
            _ = reach.wait_for(|reach| *reach != Some(Reach::One)) => continue,
            () = told(&mut orders.resumed) => {
                backoff.forget();
                continue;
            }
        };
        let ended = match missed {
            Ok(never) => match never {},
            Err(Missed::Connect(ended)) => ended,
            Err(Missed::Listen(error)) => {
                tracing::debug!(folder = %mailbox, %error, "not listened to");
                of_error(&error)
            }
            Err(Missed::Mute) => return,
        };
        if begun.elapsed() >= LASTING {
            backoff.forget();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.note(ended, chance()).unwrap_or_default()) => {}
            () = orders.hope(ended) => backoff.forget(),
        }
    }
}

async fn session<K: Keeper>(keeper: &K, plan: &Plan, ears: &Ears, mailbox: &MailboxName) -> Result<Infallible, Missed> {
    let mut store = keeper.connect().await.map_err(Missed::Connect)?;
    // The server's spelling of the name.
    store.list().await.map_err(Missed::Listen)?;
    let watch = store.watch(mailbox.clone(), false, plan.patience).await.map_err(Missed::Listen)?;
    ears.connect();
    hear(watch, plan, ears).await
}
