//! Large downloads over several connections: many servers give each connection only so much, however fast the link is.
//!
//! Where the beginning of a large fetch comes slowly, the rest is divided into pieces of work. The store's own connection
//! and further ones, made for this and closed afterwards, take one after the other, until all are done. What a further
//! connection can't do, or can't be made for, the store's own does.

mod share;

use std::cell::RefCell;
use std::collections::VecDeque;

use futures_util::future::{try_join, try_join_all};

use self::share::{Lane, Shared};
use super::error::Error;
use super::fetch::{PER_COMMAND, WHOLE};
use super::names::Names;
use super::{Compress, ImapStore, Settings, connect};
use crate::store::{BodySink, Messages, Traffic};

/// How many bytes a piece of work is about: a second of a link that is not quite slow.
const PIECE: u64 = 2 << 20;

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
    outcomes: RefCell<Outcomes>,
    /// What went over the connections that are closed by now.
    traffic: RefCell<Traffic>,
}

impl Work {
    /// Divides what was asked for; so many messages make a piece.
    fn new(asked: &[Messages], messages: u32) -> Self {
        let pieces = asked.iter().enumerate().flat_map(|(of, asked)| {
            let chunks = asked.uids.chunks(messages, PER_COMMAND.1).into_iter();
            chunks.map(move |uids| Piece { of, messages: Messages { uids, ..asked.clone() } })
        });
        let outcomes = asked.iter().map(|_| Ok(())).collect();
        Self { left: RefCell::new(pieces.collect()), outcomes: RefCell::new(outcomes), traffic: RefCell::default() }
    }

    fn take(&self) -> Option<Piece> {
        self.left.borrow_mut().pop_front()
    }

    fn put_back(&self, piece: Piece) {
        self.left.borrow_mut().push_front(piece);
    }

    /// Notes the first error of each mailbox.
    fn done(&self, of: usize, outcome: Result<(), Error>) {
        if let Some(known) = self.outcomes.borrow_mut().get_mut(of).filter(|known| known.is_ok()) {
            *known = outcome;
        }
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
        let others = Settings { compress, ..others.clone() };
        let names = self.names.clone();
        let helping = (0..count).map(|_| Box::pin(help(&others, &names, &work, &shared)));
        try_join(self.carry_out(&work, &shared), try_join_all(helping)).await?;
        // What others gave back.
        self.carry_out(&work, &shared).await?;
        let Traffic { bytes_in, bytes_out, .. } = work.traffic.into_inner();
        self.elsewhere.bytes_in += bytes_in;
        self.elsewhere.bytes_out += bytes_out;
        Ok(work.outcomes.into_inner())
    }

    /// Does what is left, piece by piece.
    async fn carry_out(&mut self, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
        while let Some(piece) = work.take() {
            let mut lane = Lane::new(shared, piece.of);
            let fetched = self.fetch_alone(std::slice::from_ref(&piece.messages), &mut lane).await?;
            fetched.into_iter().for_each(|outcome| work.done(piece.of, outcome));
        }
        Ok(())
    }

    /// Does what is left until something goes wrong, and gives back what was not done.
    async fn help_out(&mut self, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
        while let Some(piece) = work.take() {
            let mut lane = Lane::new(shared, piece.of);
            let fetched = self.fetch_alone(std::slice::from_ref(&piece.messages), &mut lane).await;
            if let Err(error) = fetched.and_then(|outcomes| outcomes.into_iter().collect::<Result<(), Error>>()) {
                let uids = piece.messages.uids.difference(lane.finished());
                work.put_back(Piece { messages: Messages { uids, ..piece.messages }, ..piece });
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Makes a further connection and does with it what is left. Only what concerns the Maildir is an error.
async fn help(settings: &Settings, names: &Names, work: &Work, shared: &Shared<'_>) -> Result<(), Error> {
    let mut store = match connect(settings).await {
        Ok(store) => store,
        Err(error) => {
            tracing::info!("no further connection: {error}");
            return Ok(());
        }
    };
    store.names = names.clone();
    let outcome = store.help_out(work, shared).await;
    let traffic = store.connection.wire().traffic();
    {
        let mut all = work.traffic.borrow_mut();
        all.bytes_in += traffic.bytes_in;
        all.bytes_out += traffic.bytes_out;
    }
    match outcome {
        Err(error @ Error::Local(_)) => return Err(error),
        Err(error) => tracing::info!("a further connection is given up: {error}"),
        Ok(()) => store.logout().await,
    }
    Ok(())
}
