//! How fast a link brings bytes, measured while something else is wanted of it.

use std::time::Duration;

/// Up to so many bytes a second a link counts as slow. One core deflates mail, text or base64, ten times as fast (zlib at
/// its usual level), so a server that brings less is not held up by deflating, and nearly always the link is what is
/// waited for. A server that is as slow by itself can't be told from a slow link; there compressing gains nothing, and
/// costs next to nothing.
const SLOW: u64 = 2 << 20;

/// Bytes that say nothing. TCP begins slowly, and doubles what is on its way with every round trip: behind these it is
/// as much as a link of [`SLOW`] needs to be full if a round trip takes a quarter of a second.
const WARM_UP: u64 = 512 << 10;

/// How many bytes must have come behind those for anything to be said.
const ENOUGH: u64 = 256 << 10;

/// Measures one burst. Only time spent waiting counts: where our own disk is what holds things up, no link is slow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gauge {
    began: u64,
    warm: Option<u64>,
    waited: Duration,
}

impl Gauge {
    /// How many bytes a measurement takes.
    pub(super) const TAKES: u64 = WARM_UP + 2 * ENOUGH;

    /// Starts a measurement, when so many bytes have arrived.
    pub(super) fn new(arrived: u64) -> Self {
        Self { began: arrived, ..Self::default() }
    }

    /// Notes that was waited for so long, and how many bytes have arrived since the connection was made.
    pub(super) fn note(&mut self, waited: Duration, arrived: u64) {
        match self.warm {
            Some(_) => self.waited += waited,
            None if arrived >= self.began + WARM_UP => self.warm = Some(arrived),
            None => {}
        }
    }

    /// Returns true if the link is slow; false too if too little came to tell.
    pub(super) fn is_slow(&self, arrived: u64) -> bool {
        let came = self.warm.map_or(0, |warm| arrived.saturating_sub(warm));
        came >= ENOUGH && u128::from(came) * 1000 < u128::from(SLOW) * self.waited.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = 16 << 10;

    /// Measures a burst of so many bytes, its parts coming after such waits.
    fn slow(bytes: u64, wait: impl Fn(u64) -> Duration) -> bool {
        let mut gauge = Gauge::new(1000);
        let mut arrived = 1000;
        while arrived < 1000 + bytes {
            arrived += PART;
            gauge.note(wait(arrived), arrived);
        }
        gauge.is_slow(arrived)
    }

    /// How long a part takes at so many bytes a second.
    fn at(rate: u64) -> Duration {
        Duration::from_secs(PART) / u32::try_from(rate).unwrap()
    }

    #[test]
    fn a_link_is_slow_below_the_rate_and_not_above() {
        assert!(slow(Gauge::TAKES, |_| at(SLOW / 10)));
        assert!(slow(Gauge::TAKES, |_| at(SLOW - SLOW / 10)));
        assert!(!slow(Gauge::TAKES, |_| at(SLOW + SLOW / 10)));
        assert!(!slow(Gauge::TAKES, |_| Duration::ZERO), "what was there already");
    }

    #[test]
    fn a_slow_beginning_says_nothing() {
        assert!(!slow(Gauge::TAKES, |arrived| if arrived < WARM_UP { at(SLOW / 10) } else { at(SLOW * 4) }));
    }

    #[test]
    fn too_little_says_nothing() {
        assert!(!slow(WARM_UP + ENOUGH / 2, |_| at(SLOW / 10)));
        assert!(!Gauge::new(5).is_slow(5));
    }
}
