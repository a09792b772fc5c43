//! One run over an account: observe both sides, diff, reconcile, guard, apply, commit; then again for what was
//! changed, until nothing is left to do.

mod absence;
mod ahead;
mod arrivals;
mod compare;
mod copies;
mod email_ids;
mod first;
mod folders;
mod gone;
mod holding;
mod identify;
mod last_copy;
mod moves;
mod observe;
mod overtaken;
mod plans;
mod renames;
mod renumber;
mod replaced;
pub mod restore;
mod root;
mod settle;
mod spots;
mod trash;
mod trial;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use self::holding::Holding;
use crate::apply::{Aftermath, Apply, Suspects, Terms};
use crate::model::{FlagSet, MailboxId, MailboxName, MailboxRow, MessageId, Role, Timestamp, UniqueName};
use crate::reconcile::flags::FlagRules;
use crate::reconcile::mailboxes::{Fate, Folder, Vanished};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::{HoldAnswer, Options, Policy};
pub use crate::reconcile::report::Event;
use crate::reconcile::report::Report;
use crate::reconcile::snapshot::{Abilities, LocalListing, RemoteListing};
pub use crate::store::Failure;
use crate::store::{Header, Journal, LocalStore, RemoteStore};
pub use ahead::{meanwhile, read_ahead};
pub use compare::{Compared, compare};
pub use settle::asks_quota;
pub use waiting::listed;

/// A run looks at what it changed itself up to this many times; what changes faster waits for the next run.
const PASSES: usize = 4;

/// Losses count together over this time, in seconds.
const LOSS_WINDOW: i64 = 24 * 3600;

/// An account: its two sides and its database.
#[derive(Debug)]
pub struct Account<R, L, J> {
    /// The server.
    pub remote: R,
    /// The Maildir.
    pub local: L,
    /// The database.
    pub journal: J,
}

/// How a run ended: what was done, and what ended it early.
#[derive(Debug)]
pub struct Outcome {
    /// What was done until then.
    pub report: Report,
    /// Why it ended before it was done.
    pub failure: Option<Failure>,
}

/// Brings both sides of an account in step.
///
/// With [`Options::dry_run`] neither side is changed; the journal is, so give a copy of the database.
pub async fn run<R: RemoteStore, L: LocalStore, J: Journal>(
    account: &mut Account<R, L, J>,
    policy: &Policy,
    options: &Options,
    now: Timestamp,
    progress: &dyn Fn(Event),
) -> Outcome {
    let mut run = Run::new(account, policy, options, now, progress);
    let failure = run.whole().await.err();
    Outcome { report: run.report, failure }
}

/// A run in progress.
struct Run<'a, R, L, J> {
    account: &'a mut Account<R, L, J>,
    policy: &'a Policy,
    options: &'a Options,
    now: Timestamp,
    progress: &'a dyn Fn(Event),
    report: Report,
    abilities: Abilities,
    /// This run has its number.
    numbered: bool,
    /// What is held.
    holding: Holding,
    /// Something was new on a side: the account may be fuller, or less full.
    found_news: bool,
    /// Files that the last pass uploaded, and the flags they were sent with.
    uploaded: BTreeMap<(MailboxId, UniqueName), FlagSet>,
    /// Messages that could not be moved: they go the long way, as a new message and a removal.
    unmovable: BTreeSet<MessageId>,
    /// Messages whose files others moved, as an earlier pass found.
    brought: BTreeSet<MessageId>,
    /// Files whose messages could not be copied: they are sent.
    uncopied: BTreeSet<(MailboxId, UniqueName)>,
    /// Files whose messages the last pass copied without proof.
    unproven: BTreeMap<MailboxId, BTreeSet<UniqueName>>,
    /// Files that were refused together with others, or were out when a connection was lost.
    suspects: Suspects,
    /// Mailboxes that have another name on a side: what is missing under the old one is elsewhere.
    elsewhere: BTreeSet<MailboxId>,
    /// Those of them that have it on the server.
    elsewhere_there: BTreeSet<MailboxId>,
    /// Mailboxes found on the server under other names by their ids, or with all that is known of them, none of it known
    /// to be another's: to follow them there loses nothing.
    whole_there: BTreeSet<MailboxId>,
    /// Mailboxes that were searched for under other names on the server.
    sought: BTreeSet<MailboxId>,
    /// Mailboxes under whose names others were found on the server, or nothing of them: what has the name now may have the numbers that were
    /// known, too, and none of the messages. Until those are compared, nothing that left other mailboxes is lost.
    robbed: BTreeSet<MailboxId>,
    /// Mailboxes whose names others may have got that have lost their own: that the numbers are those known says nothing.
    contested: BTreeSet<MailboxId>,
    /// Mailboxes that were numbered anew and not wholly found under their names: a pass followed what is elsewhere.
    stranded: BTreeSet<MailboxId>,
    /// Mailboxes that were looked at in full, and not all that was seen could be acted on: a look at what changed since
    /// would not show it again.
    in_full: BTreeSet<MailboxId>,
    /// Folders, by local name, about which nothing is decided because one of their sides can't be used, or because it
    /// can't be told which maildir is theirs: what lies in their maildirs may have come from elsewhere, and nothing is
    /// done for it.
    blind: BTreeSet<MailboxName>,
    /// Maildirs that could not be renamed, by the names that they have and by those that they were to get.
    stuck: BTreeSet<MailboxName>,
    /// Mailboxes whose maildirs those are: the name under which they are known may be neither of these.
    unrenamed: BTreeSet<MailboxId>,
    /// Mailboxes that are elsewhere, and of which only what was moved out of them here is left.
    left_over: BTreeSet<MailboxId>,
}

/// The account as listed: its folders, each with its row, and what both sides said of them.
struct Scene {
    header: Header,
    listing: RemoteListing,
    maildirs: LocalListing,
    folders: Vec<Folder>,
    /// Mailboxes that are to be looked at because an earlier pass of this run changed them.
    again: BTreeSet<MailboxId>,
    first: bool,
    /// Folders that a dry run would rename, under the names that they have.
    to_be_renamed: Vec<Folder>,
    /// The names under which folders were known that were found to have others.
    renamed: Vec<MailboxName>,
    /// Folders that vanished, and whose messages may have moved.
    trial: Vec<Vanished>,
}

impl Scene {
    fn new(header: Header, listing: RemoteListing, maildirs: LocalListing) -> Self {
        let (folders, again, to_be_renamed, renamed, trial) = Default::default();
        Scene { header, listing, maildirs, folders, again, first: true, to_be_renamed, renamed, trial }
    }

    /// Returns what a folder is next to those that a dry run would rename: if another has its name on one side still, it is
    /// only on the other.
    fn besides_renamed(&self, folder: Folder) -> Option<Folder> {
        let is_other_there = self.to_be_renamed.iter().any(|other| other.name == folder.name);
        let is_other_here = self.to_be_renamed.iter().any(|other| other.local == folder.local);
        let (is_there, is_here) =
            (self.listing.mailboxes.contains_key(&folder.name), self.maildirs.find(&folder.local).is_some());
        match (is_other_there, is_other_here) {
            (false, false) => Some(folder),
            (true, false) if is_here => Some(Folder { fate: Fate::CreateRemote, ..folder }),
            (false, true) if is_there => Some(Folder { fate: Fate::CreateLocal, ..folder }),
            _ => None,
        }
    }

    /// Returns true for a mailbox that has gone from the server and is to be followed.
    fn is_gone(&self, name: &MailboxName) -> bool {
        self.folders.iter().any(|folder| folder.name == *name && folder.fate == Fate::GoneRemote)
    }
}

impl<'a, R: RemoteStore, L: LocalStore, J: Journal> Run<'a, R, L, J> {
    fn new(
        account: &'a mut Account<R, L, J>,
        policy: &'a Policy,
        options: &'a Options,
        now: Timestamp,
        progress: &'a dyn Fn(Event),
    ) -> Self {
        let (report, abilities, elsewhere, stuck, unrenamed, left_over) = Default::default();
        let (elsewhere_there, whole_there, sought, robbed, contested, stranded, in_full) = Default::default();
        let (uploaded, unmovable, brought, uncopied, unproven, suspects, blind) = Default::default();
        Run {
            account,
            policy,
            options,
            now,
            progress,
            report,
            abilities,
            numbered: false,
            holding: Holding::default(),
            found_news: false,
            uploaded,
            unmovable,
            brought,
            uncopied,
            unproven,
            suspects,
            elsewhere,
            elsewhere_there,
            whole_there,
            sought,
            robbed,
            contested,
            stranded,
            in_full,
            blind,
            stuck,
            unrenamed,
            left_over,
        }
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    async fn whole(&mut self) -> Result<(), Failure> {
        let header = self.account.journal.header()?;
        if !self.admit_root(&header)? {
            return self.keep_holds(&header);
        }
        let header = self.account.journal.header()?;
        self.take_up_holds(&header.holds)?;
        if asks_quota(&header, self.options, self.now) {
            self.account.remote.ask_quota();
        }
        let mut scene = self.list(header).await?;
        let mut passes = 0;
        while passes < PASSES {
            // How often that happens is limited by how often a run connects.
            let was_cut_short = self.pass(&mut scene).await?;
            if scene.again.is_empty() || self.options.dry_run {
                break;
            }
            passes += usize::from(!was_cut_short);
            scene.first = false;
        }
        self.report_unfinished(&scene)?;
        self.finish(&scene)
    }

    /// Returns true if a connection was lost in the middle of it.
    async fn pass(&mut self, scene: &mut Scene) -> Result<bool, Failure> {
        let unsettled = self.recover(scene).await?;
        self.count_copies()?;
        let views = self.observe(scene, &unsettled).await?;
        scene.again.clear();
        let mut plans: Vec<MailboxPlan> = views.iter().map(observe::Sight::plan).collect();
        if !self.options.dry_run {
            keep_out_of_gone(scene, &mut plans);
        }
        scene.keep_out_of_missing(&mut plans);
        self.tell_stuck(&views, &plans, scene.first);
        let mut undecided = self.pair_moves(&views, &mut plans).await?;
        self.pair_copies(scene, &views, &mut plans).await?;
        undecided.extend(self.judge_vanished(scene, &mut plans)?);
        undecided.extend(views.iter().filter(|sight| sight.displaced).map(|sight| sight.row.id));
        self.defer_removals(scene, &views, &mut plans).await?;
        self.hold_first_uploads(scene, &views, &mut plans);
        self.guard(scene, &views, &mut plans)?;
        let trash = self.trash_target(scene, &views, &mut plans).await?;
        if self.options.dry_run {
            self.report.plan_mailboxes(&plans);
            self.plan_arrivals_in_trash(scene, &plans);
            self.plan_gone(scene, &views, &plans);
            return Ok(false);
        }
        self.number_run(&plans)?;
        self.announce(&plans);
        let terms = Terms {
            now: self.date(&scene.header),
            keep: self.policy.keep_deleted,
            moves: self.abilities.moves,
            accepted: self.options.holds == HoldAnswer::Accept,
            trash,
        };
        let trash = terms.trash.as_ref().and_then(|target| target.mailbox);
        let looks = self.next_looks(scene, &views, &plans, &undecided, trash)?;
        let mut apply = self.means(terms);
        apply.looks = looks;
        apply.grounds = views.iter().filter_map(|sight| Some((sight.row.id, sight.ground()?))).collect();
        apply.letters = views.iter().map(|sight| (sight.row.id, sight.letters())).collect();
        apply.run(&plans).await?;
        let Apply { aftermath, letters, uploaded, unmovable, uncopied, unproven, suspects, .. } = apply;
        self.uploaded = uploaded;
        self.unmovable.extend(unmovable);
        self.uncopied.extend(uncopied);
        self.unproven = unproven;
        self.suspects = suspects;
        scene.again.extend(self.settle(&views, &plans, &aftermath, &letters)?);
        scene.again.extend(undecided);
        let is_scanned_again = |sight: &observe::Sight| scene.again.contains(&sight.row.id) && sight.agreed.is_listed();
        for sight in views.into_iter().filter(is_scanned_again) {
            self.account.local.take_back(&sight.row.local, sight.scan);
        }
        self.conclude_gone(scene).await?;
        Ok(aftermath.values().any(|after| after.cut_short))
    }

    /// Counts the copies made without proof that are known by now.
    fn count_copies(&mut self) -> Result<(), Failure> {
        for (mailbox, files) in std::mem::take(&mut self.unproven) {
            let rows = self.account.journal.messages(mailbox)?;
            let copied = rows.iter().filter(|row| row.unique.as_ref().is_some_and(|unique| files.contains(unique)));
            self.report.remote.copied += copied.count() as u64;
        }
        Ok(())
    }

    async fn recover(&mut self, scene: &Scene) -> Result<BTreeSet<MailboxId>, Failure> {
        if self.options.dry_run {
            return Ok(BTreeSet::new());
        }
        let rows = self.account.journal.mailboxes()?;
        let place = |row: MailboxRow| {
            let rules = self.flag_rules(&row, role_of(scene, &row.name));
            let listed = scene.listing.mailboxes.contains_key(&row.name);
            (row.id, crate::apply::recover::Place { row, rules, listed })
        };
        let places: BTreeMap<MailboxId, crate::apply::recover::Place> = rows.into_iter().map(place).collect();
        let terms = Terms {
            now: self.date(&scene.header),
            keep: self.policy.keep_deleted,
            moves: self.abilities.moves,
            accepted: false,
            trash: None,
        };
        let mut apply = self.means(terms);
        let unsettled = apply.recover(&places).await?;
        self.suspects = apply.suspects;
        Ok(unsettled)
    }

    fn means(&mut self, terms: Terms) -> Apply<'_, R, L, J> {
        let Account { remote, local, journal } = &mut *self.account;
        Apply {
            remote,
            local,
            journal,
            report: &mut self.report,
            progress: self.progress,
            terms,
            grounds: BTreeMap::new(),
            letters: BTreeMap::new(),
            uploaded: BTreeMap::new(),
            given: BTreeSet::new(),
            unmovable: BTreeSet::new(),
            uncopied: BTreeSet::new(),
            unproven: BTreeMap::new(),
            suspects: self.suspects.clone(),
            moved: BTreeMap::new(),
            stored: BTreeMap::new(),
            expunged: BTreeMap::new(),
            unrecorded: Vec::new(),
            looks: Vec::new(),
            aftermath: BTreeMap::new(),
        }
    }

    fn announce(&self, plans: &[MailboxPlan]) {
        for plan in plans.iter().filter(|plan| !plan.is_empty()) {
            tracing::info!(
                folder = %plan.name,
                download = plan.download.len(),
                upload = plan.upload.len(),
                move_remote = plan.move_remote.len(),
                move_local = plan.move_local.len(),
                flags = plan.flags.len(),
                remove_local = plan.remove_local.len(),
                remove_remote = plan.remove_remote.len(),
                "planned"
            );
        }
        let sum = |count: fn(&MailboxPlan) -> usize| plans.iter().map(count).sum::<usize>() as u64;
        (self.progress)(Event::Planned {
            download: sum(|plan| plan.download.len()),
            upload: sum(|plan| plan.upload.len()),
            other: sum(|plan| plan.adopt.len() + plan.flags.len() + plan.remove_local.len() + plan.remove_remote.len())
                + sum(|plan| plan.move_local.len() + plan.move_remote.len())
                + sum(|plan| plan.copy_local.len() + plan.copy_remote.len()),
        });
    }

    /// In Trash and on Gmail a server purges at once what gets `\Deleted`.
    fn flag_rules(&self, row: &MailboxRow, role: Option<Role>) -> FlagRules {
        FlagRules {
            deleted_is_local: self.abilities.deleted_is_final || role == Some(Role::Trash),
            permanent: row.permanent.clone(),
            read_only: row.read_only,
        }
    }
}

/// In a mailbox that is no more nothing can be put. What is new in its maildir brings it back, once the rest is gone.
fn keep_out_of_gone(scene: &Scene, plans: &mut [MailboxPlan]) {
    let gone = scene.folders.iter().filter(|folder| folder.fate == Fate::GoneRemote).map(|folder| &folder.name);
    let gone: BTreeSet<&MailboxName> = gone.collect();
    for plan in plans.iter_mut().filter(|plan| gone.contains(&plan.name)) {
        plan.upload.clear();
    }
}

fn role_of(scene: &Scene, name: &MailboxName) -> Option<Role> {
    scene.listing.mailboxes.get(name).and_then(|mailbox| mailbox.role)
}
