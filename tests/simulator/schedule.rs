//! When and how a call is struck, and what a history is made of.

use std::collections::BTreeSet;
use std::fmt;

use mailtide::store::RemoteErrorKind;

use super::rng::Rng;

/// How often things happen, per mille of calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// The run dies before or after the call.
    pub(super) crash: u32,
    /// The call fails, having done its work or not.
    pub(super) fail: u32,
    /// A call to the server fails, besides: it says NO, BAD or BYE, or nothing any more.
    pub(super) refuse: u32,
    /// Somebody else edits before the call.
    pub(super) edit: u32,
    /// A look brings less than it could: a restless scan, a full answer for a delta, no STATUS, no stamp.
    pub(super) blur: u32,
}

/// A crash at a known place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CrashAt {
    /// The call's number in its run, from 0.
    pub(super) step: u64,
    /// After the call has done its work, not before.
    pub(super) after: bool,
    /// A power cut: what was not made durable may be lost.
    pub(super) power: bool,
}

impl CrashAt {
    /// Returns the crash that strikes the run after this one, at some call or other.
    pub(super) fn followed(self) -> Self {
        Self { step: Rng::new(self.step).next() % (self.step + 20), ..self }
    }
}

/// What is heard of a call to the server instead of OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    No(RemoteErrorKind),
    Bad(RemoteErrorKind),
    Bye,
    Nothing,
}

/// A refusal at a known place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RefuseAt {
    /// The call's number among those to the server in its run, from 1.
    pub(super) call: u64,
    /// After the call has done its work, not before.
    pub(super) after: bool,
    pub(super) heard: Heard,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    Calm,
    Crash(CrashAt),
    Refuse(RefuseAt),
    Random(Rates),
}

impl Schedule {
    pub(super) fn rates(&self) -> Rates {
        match self {
            Schedule::Random(rates) => *rates,
            Schedule::Calm | Schedule::Crash(_) | Schedule::Refuse(_) => Rates::default(),
        }
    }
}

/// How often the server said what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) no: u64,
    pub(super) bad: u64,
    pub(super) bye: u64,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Histories lived.
    pub(super) histories: u64,
    /// Calls of the engine that reached the gate.
    pub(super) steps: u64,
    /// Runs that died.
    pub(super) crashes: u64,
    /// Calls that failed, their work done or not.
    pub(super) failures: u64,
    /// What the server said of some of them.
    pub(super) told: Told,
    /// Looks that brought less than they could.
    pub(super) blurs: u64,
    /// Edits by others, between runs and within.
    pub(super) edits: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.failures += other.failures;
        self.told.no += other.told.no;
        self.told.bad += other.told.bad;
        self.told.bye += other.told.bye;
        self.blurs += other.blurs;
        self.edits += other.edits;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { histories, steps, crashes, failures, told: Told { no, bad, bye }, blurs, edits } = self;
        write!(
            f,
            "{histories} histories, {steps} steps, {crashes} crashes, {} faults ({failures} calls failed, of these {no} \
             with NO, {bad} with BAD, {bye} with BYE; {blurs} looks brought less than they could), {edits} edits by \
             others",
            failures + blurs
        )
    }
}

/// What happens by chance in a history, each known by the state of chance just before it, which stays the same when
/// another is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Chances {
    /// What is left out.
    pub(super) left_out: BTreeSet<u64>,
    /// What happened, in order.
    pub(super) happened: Vec<u64>,
}

impl Chances {
    /// Returns true if what is about to happen is not to be left out.
    pub(super) fn allow(&mut self, id: u64) -> bool {
        let allowed = !self.left_out.contains(&id);
        self.happened.extend(allowed.then_some(id));
        allowed
    }
}
