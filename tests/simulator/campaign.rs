//! Many histories at once, the numbers of what happened in them, and short histories for what goes wrong.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Lived, history, tell};
use super::schedule::{Tally, Told};

/// What the ordinary test run lives at least.
const SEEDS: u64 = 6000;
const STEPS: u64 = 1_000_000;

/// How often a history is lived again to find a shorter one, at most.
const ATTEMPTS: usize = 2000;
/// How many failures a campaign tells the story of.
const STORIES: usize = 3;

/// When enough histories have been lived.
#[derive(Debug, Clone, Copy)]
enum Enough {
    Histories(u64),
    HistoriesAndSteps(u64, u64),
    Time(Duration),
}

#[derive(Debug, Default)]
struct Outcome {
    tally: Tally,
    /// Seeds that broke a promise.
    failed: Vec<u64>,
}

impl Enough {
    fn is_reached(self, tally: &Tally, started: Instant) -> bool {
        match self {
            Enough::Histories(count) => tally.histories >= count,
            Enough::HistoriesAndSteps(count, steps) => tally.histories >= count && tally.steps >= steps,
            Enough::Time(time) => started.elapsed() >= time,
        }
    }
}

/// Lives histories from a seed on, on all processors. Ends early at the first failure if asked to.
fn campaign(first: u64, enough: Enough, until_failure: bool) -> Outcome {
    let (next, outcome, started) = (AtomicU64::new(first), Mutex::new(Outcome::default()), Instant::now());
    let work = || loop {
        {
            let so_far = outcome.lock().unwrap();
            if enough.is_reached(&so_far.tally, started) || until_failure && !so_far.failed.is_empty() {
                return;
            }
        }
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let lived = history(seed, BTreeSet::new(), false);
        let mut outcome = outcome.lock().unwrap();
        outcome.tally.add(&lived.tally);
        outcome.failed.extend((!lived.broken.is_empty()).then_some(seed));
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let mut outcome = outcome.into_inner().unwrap();
    outcome.failed.sort_unstable();
    outcome
}

/// Finds what can be left out of a history that goes wrong, so that it still does: the larger half first, then ever
/// smaller parts.
fn shrink(seed: u64, mut fails: impl FnMut(BTreeSet<u64>) -> Option<Lived>) -> BTreeSet<u64> {
    let Some(mut shortest) = fails(BTreeSet::new()) else { panic!("seed {seed} breaks nothing") };
    let (mut part, mut attempts) = (shortest.chances.happened.len(), 0);
    while part > 0 {
        let mut at = 0;
        while at < shortest.chances.happened.len() && attempts < ATTEMPTS {
            let happened = &shortest.chances.happened;
            let mut left_out = shortest.chances.left_out.clone();
            left_out.extend(happened.iter().skip(at).take(part));
            attempts += 1;
            match fails(left_out) {
                Some(shorter) => shortest = shorter,
                None => at += part,
            }
        }
        part /= 2;
    }
    shortest.chances.left_out
}

/// Returns the shortest story that was found for a seed that breaks a promise.
fn short_story(seed: u64) -> String {
    let fails = |left_out| Some(history(seed, left_out, false)).filter(|lived| !lived.broken.is_empty());
    tell(seed, shrink(seed, fails))
}

/// Says something that is seen although tests' output is held back.
fn announce(words: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{words}\n").as_bytes()).unwrap();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_keep_the_promises() {
    if let Some(seed) = number("MAILTIDE_SEED") {
        let fails = !history(seed, BTreeSet::new(), false).broken.is_empty();
        panic!("{}", if fails { short_story(seed) } else { tell(seed, BTreeSet::new()) });
    }
    let first = number("MAILTIDE_FIRST").unwrap_or(0);
    let (minutes, seeds) = (number("MAILTIDE_MINUTES"), number("MAILTIDE_SEEDS"));
    let enough = match (minutes, seeds) {
        (Some(minutes), _) => Enough::Time(Duration::from_secs(minutes * 60)),
        (None, Some(seeds)) => Enough::Histories(seeds),
        (None, None) => Enough::HistoriesAndSteps(SEEDS, STEPS),
    };
    let (started, survey) = (Instant::now(), minutes.is_some() || number("MAILTIDE_SURVEY").is_some());
    let Outcome { tally, failed } = campaign(first, enough, !survey);
    announce(&format!("simulator: {tally}, {} failures, in {} s", failed.len(), started.elapsed().as_secs()));
    failed.iter().for_each(|seed| announce(&format!("failed: MAILTIDE_SEED={seed}")));
    if !failed.is_empty() {
        let stories: Vec<String> = failed.iter().take(STORIES).map(|seed| short_story(*seed)).collect();
        panic!("{} of {} histories broke a promise\n{}", failed.len(), tally.histories, stories.join("\n\n"));
    }
    let Told { no, bad, bye } = tally.told;
    let everything = [tally.crashes, tally.failures, no, bad, bye, tally.blurs, tally.edits];
    assert!(minutes.is_some() || seeds.is_some() || tally.steps >= STEPS && everything.iter().all(|count| *count > 0));
}

/// A made-up promise, that a run never dies in a history with edits, is broken by little.
#[test]
fn a_history_that_goes_wrong_is_made_short() {
    let edits_and_dies = |lived: &Lived| lived.tally.crashes > 0 && lived.tally.edits > 0;
    let long = |seed: &u64| {
        let lived = history(*seed, BTreeSet::new(), false);
        edits_and_dies(&lived) && lived.chances.happened.len() > 20
    };
    let seed = (0..).find(long).unwrap();
    let fails = |left_out| Some(history(seed, left_out, false)).filter(edits_and_dies);
    let lived = history(seed, shrink(seed, fails), false);
    assert!(edits_and_dies(&lived));
    // A round, the crash in it, an edit, perhaps in another round, and perhaps one without which the run ends before it dies.
    assert!(lived.chances.happened.len() <= 5, "{:?}", lived.tally);
}
