//! Large downloads over several connections: many servers give each connection only so much, however fast the link is.
//!
//! Where the beginning of a large fetch comes slowly, the rest is divided into pieces of work. The store's own connection
//! and further ones, made for this and closed afterwards, take one after the other, until all are done. What a further
//! connection could not do, the store's own does, and it decides what came of it.

mod further;
mod share;

use std::cell::RefCell;
use std::collections::VecDeque;

use futures_util::future::{try_join, try_join_all};

use self::further::Further;
use self::share::{Lane, Shared};
use super::error::Error;
use super::fetch::{PER_COMMAND, WHOLE};
use super::{ImapStore, Settings};
use crate::store::{BodySink, Messages};

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
struct Work<'a> {
    further: &'a Further,
    left: RefCell<VecDeque<Piece>>,
    /// What further connections could not do, for the store's own.
    given_back: RefCell<Vec<Piece>>,
    outcomes: RefCell<Outcomes>,
}

impl<'a> Work<'a> {
    /// Divides what was asked for; so many messages make a piece.
    fn new(asked: &[Messages], messages: u32, further: &'a Further) -> Self {
        let pieces = asked.iter().enumerate().flat_map(|(of, asked)| {
            let chunks = asked.uids.chunks(messages, PER_COMMAND.1).into_iter();
            chunks.map(move |uids| Piece { of, messages: Messages { uids, ..asked.clone() } })
        });
        Self {
            further,
            left: RefCell::new(pieces.collect()),
            given_back: RefCell::default(),
            outcomes: RefCell::new(asked.iter().map(|_| Ok(())).collect()),
        }
    }

    fn take(&self) -> Option<Piece> {
        let piece = self.left.borrow_mut().pop_front();
        if piece.is_none() {
            self.further.is_needed_no_more();
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
        let further = Further::new(others, self);
        let work = Work::new(asked, self.outlook.messages_in(PIECE), &further);
        let shared = Shared::new(sink);
        let pieces = work.left.borrow().len();
        let count = usize::from(others.connections).min(pieces).saturating_sub(1);
        tracing::info!(pieces, connections = count + 1, "the server is slow: a large fetch is divided");
        let helping = (0..count).map(|_| Box::pin(help(&work, &shared)));
        let mut done = try_join(self.carry_out(&work, &shared), try_join_all(helping)).await.map(drop);
        if done.is_ok() {
            // What others gave back.
            done = self.carry_out(&work, &shared).await;
        }
        let outcomes = work.outcomes.into_inner();
        self.count_further(further);
        done.map(|()| outcomes)
    }

    /// Does what is left, piece by piece.
    async fn carry_out(&mut self, work: &Work<'_>, shared: &Shared<'_>) -> Result<(), Error> {
        while let Some(piece) = work.take().or_else(|| work.take_back()) {
            let mut lane = Lane::new(shared, piece.of);
            let fetched = self.fetch_alone(std::slice::from_ref(&piece.messages), &mut lane).await?;
            fetched.into_iter().for_each(|outcome| work.done(piece.of, outcome));
        }
        Ok(())
    }

    /// Does what is left as far as it can, and gives back the rest.
    async fn help_out(&mut self, work: &Work<'_>, shared: &Shared<'_>) -> Result<(), Error> {
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

/// Does what is left over a further connection. Only what concerns the Maildir is an error.
async fn help(work: &Work<'_>, shared: &Shared<'_>) -> Result<(), Error> {
    let is_late = || work.left.borrow().is_empty();
    match work.further.lend(is_late, async |store| store.help_out(work, shared).await).await {
        Some(Err(error @ Error::Local(_))) => return Err(error),
        Some(Err(error)) => tracing::info!("a further connection is given up: {error}"),
        Some(Ok(())) | None => {}
    }
    Ok(())
}
