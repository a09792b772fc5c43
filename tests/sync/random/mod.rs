//! Random edits on both sides of real servers, while runs are killed and connections cut or stalled. In the end both sides
//! are equal, no message is lost or doubled, and nothing is left to do.
//!
//! What is edited and when trouble comes follows from a seed; how far a run has come by then is the machine's doing.
//!
//! ```text
//! MAILTIDE_REAL_SEED=7 cargo test --test integration sync::random     # one life
//! MAILTIDE_REAL_MINUTES=30 cargo test --test integration sync::random # lives for so long, from MAILTIDE_FIRST on
//! ```

mod edits;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::simulator::rng::Rng;
use crate::support::compare;
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::{Run, Setup};

/// How long the ordinary test run lives.
const TIME: Duration = Duration::from_secs(60);
/// How many lives are lived side by side: most of a life is waiting for stalled connections.
const AT_ONCE: usize = 6;

/// The three storages, and servers that can less.
const KINDS: [Kind; 5] = [Kind::Full, Kind::AnyName, Kind::Sdbox, Kind::Bare, Kind::NoUidplus];

const EXTENSIONS: [&str; 9] =
    ["QRESYNC", "CONDSTORE", "LIST-STATUS", "LIST-EXTENDED", "UIDPLUS", "MOVE", "LITERAL+", "ESEARCH", "UNSELECT"];

/// What was done to the messages, each known by its number.
#[derive(Debug, Default)]
struct Ledger {
    made: u32,
    /// How many further copies were made.
    copies: BTreeMap<u32, usize>,
    deleted_here: BTreeSet<u32>,
    deleted_there: BTreeSet<u32>,
    /// Messages that were on both sides when they were last in step.
    known: BTreeSet<u32>,
}

/// One account's life.
struct Life {
    setup: Setup,
    proxy: Proxy,
    rng: Rng,
    ledger: Ledger,
    folders: u32,
    story: Vec<String>,
}

/// Returns the number of a message.
fn number(body: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("This is random ")?;
    rest.split_once('.')?.0.parse().ok()
}

impl Life {
    fn begin(seed: u64) -> Life {
        let mut rng = Rng::new(seed);
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let mut setup = Setup::new(kind);
        setup.root.layout = if rng.chance(500) { Layout::Fs } else { Layout::PlusPlus };
        let disabled: Vec<&str> = match rng.below(3) {
            0 => EXTENSIONS.into_iter().filter(|_| rng.chance(400)).collect(),
            _ => Vec::new(),
        };
        setup.keys = format!("timeout = \"2s\"\ndisable = {disabled:?}");
        setup.sync = "max_delete = { percent = 100, at_least = 100000, at_most = 100000 }".to_owned();
        let proxy = Proxy::start(setup.port);
        setup.port = proxy.port;
        let story = vec![format!("{kind:?} {:?} without {disabled:?}", setup.root.layout)];
        let mut life = Life { setup, proxy, rng, ledger: Ledger::default(), folders: 0, story };
        (0..10).for_each(|_| life.append(&["INBOX"]));
        life.settle();
        life
    }

    fn round(&mut self) {
        for _ in 0..1 + self.rng.below(8) {
            match self.rng.chance(500) {
                true => self.edit_here(),
                false => self.edit_there(),
            }
        }
        let bytes = 2000 + self.rng.below(30_000);
        match self.rng.below(8) {
            0..3 => self.kill_after_bytes(bytes),
            3 | 4 => self.kill_after_time(),
            5 | 6 => self.run_into(bytes, Fault::Cut),
            _ => self.run_into(bytes, Fault::Stall),
        }
        self.proxy.heal();
    }

    fn spawn(&self) -> Child {
        self.setup.command(&["sync", "--json"]).spawn().unwrap()
    }

    /// Others deliver mail while a run is at work.
    fn disturb(&mut self) {
        for _ in 0..self.rng.below(3) {
            match self.rng.chance(500) {
                true => self.append(&["INBOX"]),
                false => self.deliver(&["INBOX"]),
            }
        }
    }

    fn kill_after_bytes(&mut self, bytes: usize) {
        self.story.push(format!("killed after {bytes} bytes"));
        self.proxy.allow(bytes, Fault::Stall);
        let mut child = self.spawn();
        self.disturb();
        self.proxy.wait_until_used_up(|| child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn kill_after_time(&mut self) {
        let time = Duration::from_millis(u64::try_from(self.rng.below(400)).unwrap());
        self.story.push(format!("killed after {time:?}"));
        self.proxy.heal();
        let mut child = self.spawn();
        self.disturb();
        sleep(time);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn run_into(&mut self, bytes: usize, fault: Fault) {
        self.story.push(format!("{fault:?} after {bytes} bytes"));
        self.proxy.allow(bytes, fault);
        let child = self.spawn();
        self.disturb();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1 | 4 | 5)), "{}\n{words} {output:?}", self.told());
        self.story.push(format!("  = {words}"));
    }

    fn told(&self) -> String {
        self.story.join("\n")
    }

    /// Syncs until nothing is left to do, saying yes to what is held.
    fn settle(&mut self) {
        self.proxy.heal();
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..6 {
            let run = self.setup.run(&["sync", "--json", "--accept-held", "test"]);
            let account = run.account();
            let idle = |side: &str| account[side].as_object().unwrap().values().all(|count| *count == 0);
            let done = run.code == Some(0) && idle("local") && idle("remote") && account["adopted"] == 0;
            runs.push(run);
            if done {
                break;
            }
        }
        let last = runs.last().unwrap();
        let words = || runs.iter().map(|run| format!("{} {}", run.stdout, run.stderr)).collect::<Vec<_>>().join("\n");
        assert!(last.code == Some(0) && runs.len() < 6, "never in step:\n{}\n{}", self.told(), words());
        let found = compare::compare(&mut self.setup.imap(), &self.setup.root);
        assert!(found.is_empty(), "not equal: {}\n{}\n{}", found.join("\n"), self.told(), words());
        self.count(&words());
        self.story.push("in step".to_owned());
    }

    /// Demands that no message is lost and none doubled.
    fn count(&mut self, words: &str) {
        let (mut live, mut kept) = (BTreeMap::<u32, Vec<String>>::new(), BTreeSet::new());
        let mut imap = self.setup.imap();
        for folder in imap.folders() {
            let components: Vec<&str> = folder.iter().map(String::as_str).collect();
            for number in imap.messages(&components).iter().filter_map(|message| number(&message.body)) {
                match components == ["Trash"] {
                    true => drop(kept.insert(number)),
                    false => live.entry(number).or_default().push(folder.join("/")),
                }
            }
        }
        kept.extend(self.setup.recoverable().iter().filter_map(|body| number(body)));
        for number in 0..self.ledger.made {
            let places = live.get(&number).cloned().unwrap_or_default();
            let count = places.len();
            let most = 1 + self.ledger.copies.get(&number).copied().unwrap_or(0);
            let context = || format!("message {number}, now in {places:?}:\n{}\n{words}", self.told());
            assert!(count <= most, "doubled: {}", context());
            let [here, there] =
                [&self.ledger.deleted_here, &self.ledger.deleted_there].map(|set| set.contains(&number));
            let may_be_gone = here && there || (here || there) && !self.ledger.known.contains(&number);
            let found = count > 0 || (here || there) && kept.contains(&number);
            assert!(found || may_be_gone, "lost: {}", context());
        }
        self.ledger.known = live.keys().copied().collect();
    }
}

/// Lives so many rounds, settling now and then.
fn live(seed: u64) {
    let mut life = Life::begin(seed);
    for _ in 0..3 {
        for _ in 0..1 + life.rng.below(3) {
            life.round();
        }
        life.settle();
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_edits_with_runs_killed_and_connections_broken() {
    if let Some(seed) = variable("MAILTIDE_REAL_SEED") {
        return live(seed);
    }
    let time = variable("MAILTIDE_REAL_MINUTES").map_or(TIME, |minutes| Duration::from_secs(60 * minutes));
    let (next, started) = (AtomicU64::new(variable("MAILTIDE_FIRST").unwrap_or(0)), Instant::now());
    let (lives, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while started.elapsed() < time && failed.lock().unwrap().is_empty() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match std::panic::catch_unwind(|| live(seed)) {
                Ok(()) => drop(lives.fetch_add(1, Ordering::Relaxed)),
                Err(_) => failed.lock().unwrap().push(seed),
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let words = format!("real servers: {} lives\n", lives.into_inner());
    std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes()).unwrap();
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "MAILTIDE_REAL_SEED={failed:?}");
}
