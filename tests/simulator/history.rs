//! Random histories: mail on both sides, rounds of edits and struck runs, then peace, in which all must come right.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mailtide::cycle::Outcome;
use mailtide::model::{Circumstances, Flag, FlagSet, Keyword, MailboxName, PermanentFlags};
use mailtide::reconcile::policy::{Delete, HoldAnswer, KeepDeleted, MaxDelete, Options, Policy};
use mailtide::reconcile::report::{Counts, Report};
use mailtide::reconcile::scope::{Pattern, Scope};
use mailtide::reconcile::snapshot::Abilities;

use super::rng::Rng;
use super::schedule::{Chances, Rates, Schedule, Tally};
use super::server::{EmailIds, Server};
use super::users::{self, Habits};
use super::world::{Shared, World};
use super::{check, compare};

const DAY: i64 = 86_400;

/// A policy that holds nothing back.
pub(super) fn policy(delete: Delete) -> Policy {
    Policy {
        circumstances: Circumstances {
            server: "me at host".to_owned(),
            layout: "fs".to_owned(),
            root: "/root".to_owned(),
        },
        scope: Scope {
            include: vec![Pattern::Glob("*".to_owned())],
            exclude: Vec::new(),
            subscribed_only: false,
            local_names: Vec::new(),
        },
        delete,
        max_delete: MaxDelete { percent: 100, at_least: u64::MAX, at_most: u64::MAX },
        keep_deleted: KeepDeleted::Forever,
    }
}

fn a_world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let delete = rng.pick(&[Delete::Trash, Delete::Trash, Delete::Expunge, Delete::Flag, Delete::Never]).unwrap();
    let abilities = match rng.below(4) {
        0 => Abilities::default(),
        1 => Abilities { mod_seq: true, moves: true, uid_plus: true, deleted_is_final: false },
        _ => Abilities {
            mod_seq: rng.chance(500),
            moves: rng.chance(500),
            uid_plus: rng.chance(500),
            deleted_is_final: rng.chance(150),
        },
    };
    let mut server = Server::new(abilities);
    server.status = rng.chance(700);
    if rng.chance(200) {
        server.permanent = limited();
    }
    let mut policy = policy(delete);
    policy.keep_deleted = rng.pick(&[KeepDeleted::Forever, KeepDeleted::For(day() * 3), KeepDeleted::None]).unwrap();
    let (moves, renumber, removes_folders) = (rng.chance(300), rng.chance(300), rng.chance(300));
    let relocates = rng.chance(100);
    let mut world = World::new(server, policy, rng);
    let mut second = rng_of(seed);
    let (restore, partial, revokes) = (second.chance(100), second.chance(200), second.chance(150));
    if second.chance(150) {
        world.mishaps.drops = users::some_dropped(&mut second);
    }
    // Without STATUS a mailbox that has another's name can't be told from it.
    let renames = second.chance(200) && !(restore || relocates) && world.server.status;
    world.server.object_ids = second.chance(300);
    world.server.same_second = second.chance(150);
    let email_ids = [EmailIds::None, EmailIds::None, EmailIds::Each, EmailIds::Content];
    world.server.email_ids = second.pick(&email_ids).unwrap();
    // On a server that puts old mail back a copy is not told from what it put there.
    let copies = second.chance(400) && world.server.email_ids != EmailIds::None && !(restore || relocates);
    let strips = second.chance(200);
    let mut habits = Habits {
        moves,
        renumber,
        restore,
        removes_folders,
        relocates,
        revokes,
        partial,
        renames,
        copies,
        ..Habits::default()
    };
    (habits.strips, habits.turns_back) = (strips, second.chance(100));
    world.habits = habits;
    world.mishaps.dawdles = second.below(5);
    world
}

/// A second source of chance, so that a habit that few have changes nobody else's history.
fn rng_of(seed: u64) -> Rng {
    Rng::new(!seed)
}

fn day() -> std::time::Duration {
    std::time::Duration::from_secs(DAY.unsigned_abs())
}

/// A server that stores a few flags and makes no new keywords.
fn limited() -> PermanentFlags {
    let mut flags = FlagSet::of(&[Flag::Seen, Flag::Answered, Flag::Deleted, Flag::Draft]);
    flags.keywords.insert(Keyword::forwarded());
    PermanentFlags { flags, new_keywords: false }
}

fn some_rates(rng: &mut Rng) -> Rates {
    let mut one = |rates: &[u32]| rng.pick(rates).unwrap_or_default();
    let (crash, fail, refuse) = (one(&[0, 0, 5, 20]), one(&[0, 0, 5, 20]), one(&[0, 0, 20, 100]));
    Rates { crash, fail, refuse, edit: one(&[0, 0, 10, 50]), blur: one(&[0, 0, 50]) }
}

pub(super) fn is_idle(report: &Report) -> bool {
    let nothing = Counts::default();
    report.local == nothing && report.remote == nothing && report.adopted == 0 && report.held.is_empty()
}

/// Where a policy holds nothing back, the user means what the first sync uploads.
pub(super) fn run(shared: &Shared, schedule: Schedule, options: &Options) -> Option<Outcome> {
    let mut options = options.clone();
    {
        let mut world = shared.world();
        world.ledger.synced = true;
        if options.holds == HoldAnswer::Keep && world.policy.max_delete.at_least == u64::MAX && !world.book.united {
            options.holds = HoldAnswer::Accept;
        }
    }
    let options = &options;
    shared.world().say(|| format!("run: {options:?}, {:?}", schedule.rates()));
    shared.run(schedule, options)
}

/// One run without trouble.
pub(super) fn calm_run(shared: &Shared, options: &Options) -> Report {
    let outcome = run(shared, Schedule::Calm, options);
    match outcome {
        Some(Outcome { report, failure: None }) => report,
        Some(Outcome { failure: Some(failure), .. }) => {
            shared.world().complain(format!("a run without trouble failed: {failure}"));
            Report::default()
        }
        None => panic!("a run without trouble died"),
    }
}

/// A dry run, on a copy of the database, must change nothing.
fn dry_run(shared: &Shared, answer: HoldAnswer) -> Report {
    let both = || {
        let world = shared.world();
        (world.picture(), world.maildir.marker.clone())
    };
    let before = both();
    let book = shared.world().book.clone();
    let report = calm_run(shared, &Options { dry_run: true, holds: answer, ..Options::default() });
    shared.world().book = book;
    if before != both() {
        shared.world().complain("a dry run changed something".to_owned());
    }
    report
}

/// Runs without trouble, and before so much time has passed that all is looked at anyway: what was decided about what has
/// changed leaves nothing for a look at everything to find. Where something waits for its time nothing can be said.
fn overlook_nothing(shared: &Shared) {
    let run = || calm_run(shared, &Options { holds: HoldAnswer::Accept, ..Options::default() });
    let is_settled = |report: &Report| is_idle(report) && report.problems.is_empty() && report.waiting.is_empty();
    let settled = (0..4).any(|_| is_settled(&run()));
    let world = shared.world();
    // What is saved in place shows in a full look only, as do others' `\Deleted` without UIDPLUS, a backup put back, and what
    // letters mean that nobody explained when they were seen.
    let saved = world.ledger.stories.values().any(|story| story.outdated.is_some());
    let hidden = saved || world.habits.restore || world.tally.blurs > 0;
    let told = settled && !hidden && world.server.abilities.uid_plus && world.book.failures.is_empty();
    drop(world);
    if told {
        idle_run(shared, true);
    }
}

/// Once something has come or gone, a run ten minutes later records how full the account is.
fn full_as_recorded(shared: &Shared) {
    shared.world().now.0 += 600;
    idle_run(shared, false);
    let mut world = shared.world();
    let (recorded, now) = (world.book.quota, world.server.usage());
    if recorded != now {
        world.complain(format!("the account is as full as {now:?}, and {recorded:?} is recorded"));
    }
}

/// Runs without trouble until nothing is left to do. Only one run may have something to do.
pub(super) fn settle(shared: &Shared) {
    shared.world().now.0 += 40 * DAY;
    shared.world().mishaps.read_only.clear();
    let said = dry_run(shared, HoldAnswer::Keep);
    let mut first = None;
    for _ in 0..3 {
        let report = calm_run(shared, &Options { holds: HoldAnswer::Accept, ..Options::default() });
        let idle = is_idle(&report);
        first.get_or_insert(report);
        if idle {
            break;
        }
    }
    // What is saved in place and is no draft any more shows in a full look only.
    let saved = shared.world().ledger.stories.values().any(|story| story.outdated.is_some());
    if saved {
        calm_run(shared, &Options { full: true, holds: HoldAnswer::Accept, ..Options::default() });
    }
    let did = first.unwrap_or_default();
    if (&said.local, &said.remote) != (&did.local, &did.remote) {
        let did = format!("the run did {:?} {:?}", did.local, did.remote);
        shared.world().say(|| format!("the dry run said {:?} {:?}, {did}", said.local, said.remote));
    }
    idle_run(shared, false);
    // Without UIDPLUS a removal waits for others' `\Deleted` to go, which only a look at everything shows.
    if shared.world().server.abilities.uid_plus {
        idle_run(shared, true);
    }
    full_as_recorded(shared);
    compare::in_step(shared);
}

/// A run when nothing happened since the last.
pub(super) fn idle_run(shared: &Shared, full: bool) {
    let before = shared.world().picture();
    let report = calm_run(shared, &Options { full, ..Options::default() });
    let after = shared.world().picture();
    if !is_idle(&report) || before != after {
        shared.world().complain(format!("nothing to do, yet a run (full: {full}) did {report:?}"));
    }
}

/// Which folders a run is about: mostly all.
fn some_folders(shared: &Shared) -> Vec<MailboxName> {
    let mut world = shared.world();
    let partial = world.habits.partial && world.rng.chance(500);
    (0..if partial { 1 + world.rng.below(2) } else { 0 }).map(|_| users::a_folder(&mut world)).collect()
}

/// A run that may be struck, then edits.
fn round(shared: &Shared) {
    let rates = some_rates(&mut shared.world().rng);
    let full = shared.world().rng.chance(100);
    let options = Options { full, only: some_folders(shared), ..Options::default() };
    drop(run(shared, Schedule::Random(rates), &options));
    if shared.world().rng.chance(100) {
        drop(dry_run(shared, HoldAnswer::Keep));
    }
    if shared.world().rng.chance(100) {
        compare::harmless_repair(shared);
    }
    let edits = shared.world().rng.below(6);
    for _ in 0..edits {
        users::edit(&mut shared.world());
    }
    if shared.world().habits.revokes {
        users::change_rights(&mut shared.world());
    }
    if shared.world().habits.relocates && shared.world().rng.chance(300) {
        users::relocate(&mut shared.world());
    }
    if shared.world().habits.restore && users::back_up_or_restore(&mut shared.world()) {
        // What is done by UID while the server goes back may hit another message: no client can help that.
        drop(run(shared, Schedule::Calm, &Options::default()));
    }
    let days = i64::try_from(shared.world().rng.below(4)).unwrap();
    let mut world = shared.world();
    // No later than the peace at the end begins.
    world.now.0 += if world.habits.turns_back && world.rng.chance(400) { -days * DAY } else { days * DAY };
}

fn live(shared: &Shared) {
    users::special_folders(&mut shared.world());
    users::initial_mail(&mut shared.world());
    let rounds = 1 + shared.world().rng.below(4);
    for _ in 0..rounds {
        let begun = shared.world().begin();
        if let Some(outer) = begun {
            round(shared);
            shared.world().rng = outer;
        }
    }
    if shared.world().rng.chance(500) {
        overlook_nothing(shared);
    }
    settle(shared);
}

/// How a history went.
#[derive(Debug)]
pub(super) struct Lived {
    /// What was broken.
    pub(super) broken: Vec<String>,
    /// What happened, if it was to be told.
    pub(super) log: Vec<String>,
    /// What happened by chance.
    pub(super) chances: Chances,
    pub(super) tally: Tally,
}

/// Lives one history, some things left out.
pub(super) fn history(seed: u64, left_out: BTreeSet<u64>, told: bool) -> Lived {
    let mut world = a_world(seed);
    world.log = told.then(Vec::new);
    world.chances.left_out = left_out;
    let shared = Shared::new(world);
    let lived = catch_unwind(AssertUnwindSafe(|| live(&shared)));
    let mut broken = check::broken(&shared.world());
    if let Err(panic) = lived {
        broken.push(format!("it panicked: {:?}", panic.downcast_ref::<String>()));
    }
    let mut world = shared.world();
    world.tally.histories = 1;
    let (log, chances) = (world.log.take().unwrap_or_default(), std::mem::take(&mut world.chances));
    Lived { broken, log, chances, tally: world.tally }
}

/// Returns the story of a history: what kind of world it was in, what happened, and what was broken.
pub(super) fn tell(seed: u64, left_out: BTreeSet<u64>) -> String {
    let lived = history(seed, left_out, true);
    let world = a_world(seed);
    let (server, policy) = (world.server.abilities, world.policy.delete);
    format!(
        "seed {seed}: {server:?} status {} email ids {:?} delete {policy:?}\n{}\nbroken: {:#?}",
        world.server.status,
        world.server.email_ids,
        lived.log.join("\n"),
        lived.broken
    )
}
