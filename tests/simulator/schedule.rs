//! When and how a call is struck.

/// How often things happen, per mille of calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// The run dies before or after the call.
    pub(super) crash: u32,
    /// The call fails, having done its work or not.
    pub(super) fail: u32,
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

#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    Calm,
    Crash(CrashAt),
    Random(Rates),
}

impl Schedule {
    pub(super) fn rates(&self) -> Rates {
        match self {
            Schedule::Random(rates) => *rates,
            Schedule::Calm | Schedule::Crash(_) => Rates::default(),
        }
    }
}
