//! Large downloads over several connections: many servers give each connection only so much, however fast the link is.
//!
//! Where the beginning of a large fetch comes slowly, the rest is divided into pieces of work. The store's own connection
//! and further ones, made for this and closed afterwards, take one after the other, until all are done. What a further
//! connection could not do, the store's own does, and it decides what came of it.

mod share;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use tokio::sync::Notify;

use self::share::{Lane, Shared};
use super::error::Error;
use super::fetch::{PER_COMMAND, WHOLE};
use super::names::Names;
use super::{Compress, ImapStore, Settings, connect};
use crate::store::{BodySink, Messages, Traffic};

/// How many bytes a piece of work is about: a second of a link that is not quite slow.
const PIECE: u64 = 2 << 20;

/// How long a further connection is waited for that has nothing left to do. What it brings is counted.
const GRACE: Duration = Duration::from_secs(1);

/// What came of a fetch, for each mailbox.
type Outcomes = Vec<Result<(), Error>>;

/// Messages to be fetched from one mailbox, which is this one of those asked for.
#[derive(Debug)]
struct Piece {
    of: usize,
    messages: Messages,
}

/// All that is to be done.
#[derive(Debug)]
struct Work {
    left: RefCell<VecDeque<Piece>>,
    /// Whoever is still being connected is needed no more.
    none_left: Notify,
    /// What further connections could not do, for the store's own.
    given_back: RefCell<Vec<Piece>>,
    outcomes: RefCell<Outcomes>,
    /// What went over further connections.
    traffic: RefCell<Traffic>,
    /// One could not be made.
    refused: Cell<bool>,
}

impl Work {
    /// Divides what was asked for; so many messages make a piece.
    fn new(asked: &[Messages], messages: u32) -> Self {
        let pieces = asked.iter().enumerate().flat_map(|(of, asked)| {
            let chunks = asked.uids.chunks(messages, PER_COMMAND.1).into_iter();
            chunks.map(move |uids| Piece { of, messages: Messages { uids, ..asked.clone() } })
        });
        Self {
            left: RefCell::new(pieces.collect()),
            none_left: Notify::new(),
            given_back: RefCell::default(),
            outcomes: RefCell::new(asked.iter().map(|_| Ok(())).collect()),
            traffic: RefCell::default(),
            refused: Cell::new(false),
        }
    }

    fn take(&self) -> Option<Piece> {
        let piece = self.left.borrow_mut().pop_front();
        if piece.is_none() {
            self.none_left.notify_waiters();
        }
        piece
    }

    fn take_back(&self) -> Option<Piece> {
        self.given_back.borrow_mut().pop()
    }

    /// Notes the first error of each mailbox.
    fn done(&self, of: usize, outcome: Result<(), Error>) {
        if let Some(known) = self.outcomes.borrow_mut().get_mut(of).filter(|known| known.is_ok()) {
            *known = outcome;
        }
    }

    /// Counts what went over a connection.
    fn count(&self, store: &ImapStore) {
        let Traffic { bytes_in, bytes_out, .. } = store.connection.wire().traffic();
        let mut all = self.traffic.borrow_mut();
        all.bytes_in += bytes_in;
        all.bytes_out += bytes_out;
    }
}

impl ImapStore {
    /// Fetches whole messages, in one burst or, if they are many bytes from another machine, in two: how fast the first come
    /// decides what is done about the rest.
    pub(super) async fn fetch_messages(
        &mut self,
        asked: &[Messages],
        sink: &mut dyn BodySink,
    ) -> Result<Outcomes, Error> {
        let (first, rest) = self.divide(asked);
        let outcomes = self.fetch_alone(&first, sink).await?;
        if rest.iter().all(|messages| messages.uids.is_empty()) {
            return Ok(outcomes);
        }
        let slow = self.compress_if_it_pays(&rest).await?;
        let others = self.others.clone().filter(|_| slow);
        let later = match others {
            Some(others) => self.fetch_together(&rest, &others, sink).await?,
            None => self.fetch_alone(&rest, sink).await?,
        };
        Ok(outcomes.into_iter().zip(later).map(|(first, later)| first.and(later)).collect())
    }

    async fn fetch_alone(&mut self, asked: &[Messages], sink: &mut dyn BodySink) -> Result<Outcomes, Error> {
        let fetched = self.fetch_bodies(asked, WHOLE, sink).await?;
        Ok(fetched.into_iter().map(|part| part.map(drop)).collect())
    }

    /// Fetches everything over as many connections as there may be.
    async fn fetch_together(
        &mut self,
        asked: &[Messages],
        others: &Settings,
        sink: &mut dyn BodySink,
    ) -> Result<Outcomes, Error> {
        let work = Work::new(asked, self.outlook.messages_in(PIECE));
        let shared = Shared::new(sink);
        let pieces = work.left.borrow().len();
        let count = usize::from(others.connections).min(pieces).saturating_sub(1);
        tracing::info!(pieces, connections = count + 1, "the server is slow: a large fetch is divided");
        let compress = if self.outlook.is_compressed() { Compress::On } else { others.compress };
        let others = Settings { compress, connections: 1, ..others.clone() };
        let names = self.names.clone();
        let helping = (0..count).map(|_| Box::pin(help(&others, &names, &work, &shared)));
        let mut done = try_join(self.carry_out(&work, &shared), try_join_all(helping)).await.map(drop);
        if done.is_ok() {
            // What others gave back.
            done = self.carry_out(&work, &shared).await;
        }
        let Traffic { bytes_in, bytes_out, .. } = work.traffic.into_inner();
        self.elsewhere.bytes_in += bytes_in;
        self.elsewhere.bytes_out += bytes_out;
        if work.refused.get() {
            self.others = None;
        }
        done.map(|()| work.outcomes.into_inner())
    }

    /// Does what is left, piece by piece.
    async fn carry_out(&mut self, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
        while let Some(piece) = work.take().or_else(|| work.take_back()) {
            let mut lane = Lane::new(shared, piece.of);
            let fetched = self.fetch_alone(std::slice::from_ref(&piece.messages), &mut lane).await?;
            fetched.into_iter().for_each(|outcome| work.done(piece.of, outcome));
        }
        Ok(())
    }

    /// Does what is left as far as it can, and gives back the rest.
    async fn help_out(&mut self, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
        while let Some(piece) = work.take() {
            let mut lane = Lane::new(shared, piece.of);
            let fetched = self.fetch_alone(std::slice::from_ref(&piece.messages), &mut lane).await;
            if !matches!(&fetched, Ok(outcomes) if outcomes.iter().all(Result::is_ok)) {
                let uids = piece.messages.uids.difference(lane.finished());
                let rest = Piece { messages: Messages { uids, ..piece.messages }, ..piece };
                work.given_back.borrow_mut().push(rest);
            }
            fetched?;
        }
        Ok(())
    }
}

/// Makes a further connection, and does with it what is left. Only what concerns the Maildir is an error.
async fn help(settings: &Settings, names: &Names, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
    let late = async {
        work.none_left.notified().await;
        tokio::time::sleep(GRACE).await;
    };
    let connected = tokio::select! {
        biased;
        connected = connect(settings) => connected,
        () = late => return Ok(()),
    };
    let mut store = match connected {
        Ok(store) => store,
        Err(error) => {
            tracing::info!("no further connection: {error}");
            work.refused.set(true);
            return Ok(());
        }
    };
    let too_late = work.left.borrow().is_empty();
    let helped = match if too_late { Ok(()) } else { store.introduce_with(names.clone()).await } {
        Ok(()) => store.help_out(work, shared).await,
        Err(error) => Err(error),
    };
    work.count(&store);
    match helped {
        Err(error @ Error::Local(_)) => return Err(error),
        Err(error) => tracing::info!("a further connection is given up: {error}"),
        Ok(()) => store.logout().await,
    }
    Ok(())
}
