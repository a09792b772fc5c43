//! Moves on their way over one connection, or over two: each takes from a different end what comes next, so that they
//! seldom need the same mailbox at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::command::{Command, Handler};
use super::super::error::Error;
use super::super::response::{Status, Untagged};
use super::super::select::Selection;
use super::super::transfer::Proofs;
use crate::store::Lane;

/// Moves from so many mailboxes take two connections. A server works on one command of each at a time, and some need longer
/// for a MOVE the more mailboxes were changed a moment ago, as a Dovecot that counts them for its quota.
const MANY: usize = 16;

/// What a command is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// The SELECT in front of this move and those after it from the same mailbox.
    Select(usize),
    /// A part of this move.
    Move(usize),
}

/// The moves from one mailbox: its SELECT and what comes behind it.
pub(super) type Group = Vec<(Use, Command)>;

/// What came of one move.
#[derive(Default)]
pub(super) struct Outcome {
    /// Which of the moves has the SELECT in front of it.
    pub(super) selected_by: usize,
    pub(super) selection: Selection,
    pub(super) proofs: Proofs,
    pub(super) refused: Option<Status>,
    pub(super) failed: Option<Error>,
}

/// All that is to be moved.
pub(super) struct Work {
    left: RefCell<VecDeque<Group>>,
    /// How many groups are out, over any connection.
    out: Cell<usize>,
    outcomes: RefCell<Vec<Outcome>>,
}

impl Work {
    pub(super) fn new(groups: VecDeque<Group>, outcomes: Vec<Outcome>) -> Self {
        Self { left: RefCell::new(groups), out: Cell::new(0), outcomes: RefCell::new(outcomes) }
    }

    /// Returns true if two connections should be used.
    pub(super) fn is_large(&self) -> bool {
        self.left.borrow().len() >= MANY
    }

    /// Returns true if everything has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.left.borrow().is_empty()
    }

    /// Returns what came of it.
    pub(super) fn outcomes(self) -> Vec<Outcome> {
        self.outcomes.into_inner()
    }

    fn take(&self, lane: Lane) -> Option<Group> {
        let mut left = self.left.borrow_mut();
        let group = match lane {
            Lane::First => left.pop_front(),
            Lane::Second => left.pop_back(),
        }?;
        self.out.set(self.out.get() + 1);
        Some(group)
    }

    /// Shows what has come of a move so far.
    pub(super) fn see(&self, of: usize, see: impl FnOnce(&Outcome)) {
        self.outcomes.borrow().get(of).map(see);
    }

    fn note(&self, of: usize, note: impl FnOnce(&mut Outcome)) {
        self.outcomes.borrow_mut().get_mut(of).map(note);
    }
}

/// The moves that take one of the connections.
pub(super) struct Moving<'w> {
    work: &'w Work,
    lane: Lane,
    uses: Vec<Use>,
    /// How many commands of each group that is out are not answered yet.
    out: VecDeque<usize>,
    pace: Pace,
}

impl<'w> Moving<'w> {
    /// Takes everything, or half of what there is, and more of it by and by.
    pub(super) fn new(work: &'w Work, lane: Lane, alone: bool) -> Self {
        let left = work.left.borrow().len();
        let pace = Pace::new(if alone { left } else { left.div_ceil(2) });
        Self { work, lane, uses: Vec::new(), out: VecDeque::new(), pace }
    }

    /// Returns which move the last SELECT is in front of.
    pub(super) fn last_selected(&self) -> Option<usize> {
        self.uses.iter().rev().find_map(|one| match one {
            Use::Select(of) => Some(*of),
            Use::Move(_) => None,
        })
    }
}

impl Handler for Moving<'_> {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        match (self.uses.get(at), data) {
            (Some(Use::Select(of)), data) => self.work.note(*of, |one| one.selection.take(&data)),
            (Some(Use::Move(of)), Untagged::Status(status)) => self.work.note(*of, |one| one.proofs.note(&status)),
            _ => {}
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        match self.uses.get(at) {
            Some(Use::Select(of)) => self.work.note(*of, |one| one.selection.answer = Some(status.clone())),
            Some(Use::Move(of)) => self.work.note(*of, |one| {
                one.proofs.note(status);
                one.proofs.end();
                one.refused = one.refused.take().or_else(|| (!status.is_ok()).then(|| status.clone()));
            }),
            None => return,
        }
        let Some(unanswered) = self.out.front_mut() else { return };
        *unanswered -= 1;
        if *unanswered == 0 {
            self.out.pop_front();
            self.work.out.set(self.work.out.get() - 1);
            self.pace.done();
        }
    }

    fn more(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while self.out.len() < self.pace.room() {
            let Some(group) = self.work.take(self.lane) else { break };
            self.out.push_back(group.len());
            for (what, command) in group {
                self.uses.push(what);
                commands.push(command);
            }
        }
        commands
    }

    fn is_over(&self) -> bool {
        self.work.is_sent() && self.work.out.get() == self.out.len()
    }
}

/// How many groups to have out: so many at first, then as many as the server answers in the time that an answer takes.
struct Pace {
    at_first: usize,
    began: Instant,
    /// When the first group was answered, and how many were since.
    first: Option<Instant>,
    since: u32,
}

/// Out besides what is on its way to the server and back: what it works on, and what comes next.
const AT_WORK: usize = 2;

impl Pace {
    fn new(at_first: usize) -> Self {
        Self { at_first, began: Instant::now(), first: None, since: 0 }
    }

    /// Hears that a group was answered.
    fn done(&mut self) {
        match self.first {
            None => self.first = Some(Instant::now()),
            Some(_) => self.since += 1,
        }
    }

    fn room(&self) -> usize {
        match self.first.filter(|_| self.since > 0) {
            None => self.at_first,
            Some(first) => room(first - self.began, first.elapsed() / self.since),
        }
    }
}

/// Returns how many groups to have out where the first answer took so long, and each further one so long.
fn room(first: Duration, each: Duration) -> usize {
    let on_their_way = first.as_micros().checked_div(each.as_micros()).unwrap_or(u128::MAX);
    usize::try_from(on_their_way).unwrap_or(usize::MAX).saturating_add(AT_WORK)
}

#[cfg(test)]
mod tests {
    use super::super::super::response::Condition;
    use super::*;

    /// Moves from so many mailboxes, each of which is a SELECT and a MOVE.
    fn work(mailboxes: usize) -> Work {
        let group = |of| vec![(Use::Select(of), Command::new("SELECT")), (Use::Move(of), Command::new("UID MOVE"))];
        Work::new((0..mailboxes).map(group).collect(), (0..mailboxes).map(|_| Outcome::default()).collect())
    }

    /// Answers so many commands, from this one on.
    fn answer(moving: &mut Moving<'_>, commands: std::ops::Range<usize>) {
        let done = Status { condition: Condition::Ok, code: None, text: String::new() };
        commands.for_each(|at| moving.completed(at, &done));
    }

    #[test]
    fn each_is_taken_once_and_it_is_over_when_nothing_is_out_in_the_other_lane() {
        let work = work(5);
        let mut first = Moving::new(&work, Lane::First, false);
        assert_eq!(first.more().len(), 2 * 3, "half of them");
        let mut second = Moving::new(&work, Lane::Second, false);
        assert_eq!(second.more().len(), 2);
        answer(&mut first, 0..6);
        assert_eq!(first.more().len(), 2);
        assert!(work.is_sent() && first.more().is_empty() && second.more().is_empty());
        answer(&mut second, 0..1);
        assert!(!first.is_over(), "a look now would not see what the second lane does");
        answer(&mut second, 1..2);
        assert!(first.is_over());
        answer(&mut first, 6..8);
        assert_eq!((first.last_selected(), second.last_selected()), (Some(3), Some(4)));
        let is_told = |one: &Outcome| one.selection.answer.is_some() && one.refused.is_none();
        assert!(work.outcomes().iter().all(is_told));
    }

    #[test]
    fn alone_it_takes_all() {
        let work = work(5);
        assert_eq!(Moving::new(&work, Lane::First, true).more().len(), 2 * 5);
    }

    #[test]
    fn as_much_is_out_as_keeps_the_server_busy() {
        let millis = Duration::from_millis;
        assert_eq!(room(millis(10), millis(10)), 3, "near");
        assert_eq!(room(millis(60), millis(10)), 8, "far");
        assert_eq!(room(millis(60), Duration::ZERO), usize::MAX, "all at once");
    }
}
