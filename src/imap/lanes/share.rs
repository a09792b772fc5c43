//! One sink for several connections. It takes one message at a time, so short ones are kept until they are whole, and a
//! long one has the sink to itself while it arrives: the others keep what they have read, and read no further.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::model::{Uid, UidSet};
use crate::store::{BodySink, FetchedMessage, LocalError};

/// A message longer than this is handed on as it arrives, if nobody else is handing one on.
const LONG: usize = 256 << 10;

/// What a connection keeps before it reads no further.
const MUCH: usize = 1 << 20;

/// The sink that all hand on to.
pub(super) struct Shared<'a>(RefCell<Inner<'a>>);

struct Inner<'a> {
    sink: &'a mut dyn BodySink,
    /// Somebody is handing on a long message.
    taken: bool,
    /// Whole messages that wait until that is done, and their bytes together.
    whole: VecDeque<(usize, Vec<u8>, FetchedMessage)>,
    bytes: usize,
    /// Those who read no further until then.
    waiting: Vec<Waker>,
}

impl<'a> Shared<'a> {
    /// Shares a sink.
    pub(super) fn new(sink: &'a mut dyn BodySink) -> Self {
        let (whole, waiting) = Default::default();
        Self(RefCell::new(Inner { sink, taken: false, whole, bytes: 0, waiting }))
    }
}

impl Inner<'_> {
    fn hand_on(&mut self, of: usize, bytes: &[u8], message: FetchedMessage) -> Result<(), LocalError> {
        self.sink.begin(of)?;
        self.sink.write(bytes)?;
        self.sink.finish(of, message)
    }

    /// Ends a long message, and hands on what has come meanwhile.
    fn free(&mut self) -> Result<(), LocalError> {
        self.taken = false;
        self.bytes = 0;
        self.waiting.drain(..).for_each(Waker::wake);
        std::mem::take(&mut self.whole)
            .into_iter()
            .try_for_each(|(of, bytes, message)| self.hand_on(of, &bytes, message))
    }
}

/// How far a connection is with its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has none.
    Idle,
    /// It is kept.
    Kept,
    /// It is handed on as it arrives.
    HandedOn,
}

/// The sink of one connection, for messages of one mailbox.
pub(super) struct Lane<'s, 'a> {
    shared: &'s Shared<'a>,
    of: usize,
    stage: Stage,
    kept: Vec<u8>,
    finished: UidSet,
}

impl<'s, 'a> Lane<'s, 'a> {
    /// Makes the sink for the mailbox that is this one of those asked for.
    pub(super) fn new(shared: &'s Shared<'a>, of: usize) -> Self {
        Self { shared, of, stage: Stage::Idle, kept: Vec::new(), finished: UidSet::new() }
    }

    /// Returns the messages that were taken.
    pub(super) fn finished(&self) -> &UidSet {
        &self.finished
    }
}

impl BodySink for Lane<'_, '_> {
    fn begin(&mut self, _: usize) -> Result<(), LocalError> {
        self.discard()?;
        self.stage = Stage::Kept;
        Ok(())
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        let mut shared = self.shared.0.borrow_mut();
        if self.stage == Stage::HandedOn {
            return shared.sink.write(wire);
        }
        self.kept.extend_from_slice(wire);
        if self.kept.len() > LONG && !shared.taken {
            (shared.taken, self.stage) = (true, Stage::HandedOn);
            shared.sink.begin(self.of)?;
            shared.sink.write(&std::mem::take(&mut self.kept))?;
        }
        Ok(())
    }

    fn finish(&mut self, _: usize, message: FetchedMessage) -> Result<(), LocalError> {
        let mut shared = self.shared.0.borrow_mut();
        self.finished.insert(message.uid);
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::HandedOn => {
                let finished = shared.sink.finish(self.of, message);
                finished.and(shared.free())
            }
            _ if shared.taken => {
                shared.bytes += self.kept.len();
                shared.whole.push_back((self.of, std::mem::take(&mut self.kept), message));
                Ok(())
            }
            _ => {
                shared.hand_on(self.of, &self.kept, message)?;
                self.kept.clear();
                Ok(())
            }
        }
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.kept.clear();
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::HandedOn => {
                let mut shared = self.shared.0.borrow_mut();
                let discarded = shared.sink.discard();
                discarded.and(shared.free())
            }
            Stage::Idle | Stage::Kept => Ok(()),
        }
    }

    fn leave_out(&mut self, _: usize, uid: Uid, why: String) -> bool {
        self.shared.0.borrow_mut().sink.leave_out(self.of, uid, why)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.shared.0.borrow_mut();
        let much = self.kept.len() >= MUCH || shared.bytes >= MUCH;
        if !shared.taken || self.stage == Stage::HandedOn || !much {
            return Poll::Ready(());
        }
        if !shared.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            shared.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A connection given up in the middle of a long message leaves the sink to the others.
impl Drop for Lane<'_, '_> {
    fn drop(&mut self) {
        self.discard().unwrap_or_else(|error| tracing::debug!("a message cut short: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::{Kept, uid};
    use crate::model::FlagSet;
    use crate::store::LocalErrorKind;

    fn message(number: u32) -> FetchedMessage {
        FetchedMessage { uid: uid(number), flags: FlagSet::new(), date: None }
    }

    fn arrived(sink: &Kept) -> Vec<(u32, usize)> {
        sink.messages.iter().map(|(uid, body, _)| (*uid, body.len())).collect()
    }

    fn is_ready(lane: &mut Lane<'_, '_>) -> bool {
        lane.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn short_ones_are_handed_on_whole_and_a_long_one_alone() {
        let mut sink = Kept::default();
        let shared = Shared::new(&mut sink);
        let (mut one, mut other) = (Lane::new(&shared, 0), Lane::new(&shared, 1));
        one.begin(0).unwrap();
        one.write(&[1; 10]).unwrap();
        other.begin(0).unwrap();
        other.write(&[2; 20]).unwrap();
        one.finish(0, message(1)).unwrap();
        other.finish(0, message(2)).unwrap();
        one.begin(0).unwrap();
        one.write(&[1; LONG + 1]).unwrap();
        other.begin(0).unwrap();
        other.write(&[2; 30]).unwrap();
        other.finish(0, message(4)).unwrap();
        one.write(&[1; 1]).unwrap();
        one.finish(0, message(3)).unwrap();
        drop((one, other));
        assert_eq!(arrived(&sink), [(1, 10), (2, 20), (3, LONG + 2), (4, 30)]);
    }

    #[test]
    fn who_has_read_much_waits_for_a_long_one() {
        let mut sink = Kept::default();
        let shared = Shared::new(&mut sink);
        let (mut one, mut other) = (Lane::new(&shared, 0), Lane::new(&shared, 1));
        for lane in [&mut one, &mut other] {
            lane.begin(0).unwrap();
            lane.write(&[0; LONG + 1]).unwrap();
        }
        assert!(is_ready(&mut one) && is_ready(&mut other));
        other.write(&[0; MUCH]).unwrap();
        assert!(is_ready(&mut one) && !is_ready(&mut other));
        one.finish(0, message(1)).unwrap();
        assert!(is_ready(&mut other));
        other.write(&[0; 1]).unwrap();
        other.finish(0, message(2)).unwrap();
        drop((one, other));
        assert_eq!(arrived(&sink), [(1, LONG + 1), (2, LONG + MUCH + 2)]);
    }

    #[test]
    fn one_given_up_leaves_no_half_message_and_the_sink_to_the_others() {
        let mut sink = Kept::default();
        let shared = Shared::new(&mut sink);
        let (mut one, mut other) = (Lane::new(&shared, 0), Lane::new(&shared, 1));
        one.begin(0).unwrap();
        one.write(&[1; LONG + 1]).unwrap();
        other.begin(0).unwrap();
        other.write(&[2; 20]).unwrap();
        other.finish(0, message(2)).unwrap();
        assert!(other.finished().contains(uid(2)));
        drop(one);
        drop(other);
        assert_eq!((arrived(&sink), sink.open), (vec![(2, 20)], None));
    }

    #[test]
    fn what_the_sink_refuses_is_told() {
        let mut sink = Kept { fail_at: Some(1), ..Kept::default() };
        let shared = Shared::new(&mut sink);
        let mut one = Lane::new(&shared, 0);
        one.begin(0).unwrap();
        one.write(&[1; 10]).unwrap();
        assert_eq!(one.finish(0, message(1)).unwrap_err().kind, LocalErrorKind::Full);
    }
}
