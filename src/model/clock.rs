//! Tells when the machine was suspended: meanwhile the wall clock goes on and the monotonic one does not.

use std::time::Duration;

/// The clocks drift, and are set right now and then; less than this is no suspension.
const TOLERANCE: Duration = Duration::from_secs(10);

/// Compares the clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// The wall clock's lead over the monotonic one.
    lead: Option<i128>,
}

impl Clock {
    /// Takes both clocks' times, each since any beginning of its own. Returns true if the wall clock has run ahead since
    /// the last call: the machine was suspended, or the clock was set, which does no harm to be taken for it.
    pub fn jumped(&mut self, monotonic: Duration, wall: Duration) -> bool {
        let nanoseconds = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        let lead = nanoseconds(wall) - nanoseconds(monotonic);
        let before = self.lead.replace(lead);
        before.is_some_and(|before| lead - before > nanoseconds(TOLERANCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wall_clock_that_runs_ahead_is_a_suspension() {
        let mut clock = Clock::default();
        let mut at = |monotonic, wall| clock.jumped(Duration::from_secs(monotonic), Duration::from_secs(wall));
        assert!(!at(100, 5000), "the first look");
        assert!(!at(105, 5005));
        assert!(!at(110, 5012), "set right by two seconds");
        assert!(at(115, 8617), "an hour asleep");
        assert!(!at(120, 8622), "told once");
        assert!(!at(125, 100), "a clock set back");
        assert!(!at(130, 105));
    }
}
