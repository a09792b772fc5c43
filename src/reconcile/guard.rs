//! Removals that look like an accident are held: set aside, named, and carried out or undone when the user says so.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{FlagChange, LocalRemoval, MailboxPlan, RemoteRemoval, Removal, Upload};
use super::policy::{HoldAnswer, MaxDelete};
use super::report::{Held, Reason};
use crate::model::{Flag, MailboxId, Role, Side, Timestamp};

/// What the guard measures losses against.
#[derive(Debug)]
pub struct Guard<'a> {
    /// The limits.
    pub limits: MaxDelete,
    /// How many messages each mailbox of the account had at last agreement.
    pub census: &'a BTreeMap<MailboxId, u64>,
    /// How many of them were removed on account of each side within the last 24 hours.
    pub lost: &'a BTreeMap<(MailboxId, Side), u64>,
    /// How many were held of each mailbox on account of each side when it was last looked at: what it has lost stays held
    /// until the user answers, and it counts also where a plan says nothing of it.
    pub held: &'a BTreeMap<(MailboxId, Side), u64>,
    /// What the user says.
    pub answer: HoldAnswer,
    /// Now.
    pub now: Timestamp,
}

impl Guard<'_> {
    /// Takes out of the plans what looks like an accident on either side, or turns it round, and returns what that was.
    pub fn review(&self, plans: &mut [MailboxPlan]) -> Vec<(MailboxId, Held)> {
        let mut found = Vec::new();
        // Of what was set aside already a plan says nothing.
        let told: BTreeSet<MailboxId> = plans.iter().filter(|plan| !plan.held).map(|plan| plan.mailbox).collect();
        for side in [Side::Local, Side::Remote] {
            for at in self.suspicious(plans, &told, side) {
                let Some(plan) = plans.get_mut(at) else { continue };
                let losses = (plan.mailbox, self.losses(plan, side));
                match self.answer {
                    HoldAnswer::Keep => set_aside(plan, side),
                    HoldAnswer::Accept => continue,
                    HoldAnswer::Undo => undo(plan, side),
                }
                found.push(losses);
            }
        }
        found
    }

    /// Returns the plans whose losses on one side are too many: by share of their folder and together by number, or by
    /// number alone; and those of which losses were held before.
    fn suspicious(&self, plans: &[MailboxPlan], told: &BTreeSet<MailboxId>, side: Side) -> Vec<usize> {
        let watched: Vec<(usize, &MailboxPlan)> =
            plans.iter().enumerate().filter(|(_, plan)| is_watched(plan)).collect();
        let mut losses: BTreeMap<MailboxId, u64> = self
            .lost
            .iter()
            .filter(|((_, lost_on), _)| *lost_on == side)
            .map(|((mailbox, _), count)| (*mailbox, *count))
            .collect();
        for plan in plans.iter().filter(|plan| !is_watched(plan)) {
            losses.remove(&plan.mailbox);
        }
        for (_, plan) in &watched {
            let lost = losses.entry(plan.mailbox).or_default();
            *lost = lost.saturating_sub(counted_before(plan, side)) + losses_now(plan, side);
        }
        for ((mailbox, on), count) in self.held {
            if *on == side && !told.contains(mailbox) {
                *losses.entry(*mailbox).or_default() += count;
            }
        }
        let counted = |mailbox: &MailboxId, count: u64| self.is_large_share(*mailbox, count, side);
        let together: u64 =
            losses.iter().filter(|(mailbox, count)| counted(mailbox, **count)).map(|(_, count)| count).sum();
        let too_many = losses.values().sum::<u64>() > self.limits.at_most;
        let of = |plan: &MailboxPlan| losses.get(&plan.mailbox).copied().unwrap_or_default();
        watched
            .into_iter()
            .filter(|(_, plan)| losses_now(plan, side) > 0)
            .filter(|(_, plan)| {
                let is_held = self.held.contains_key(&(plan.mailbox, side));
                is_held || too_many || (together >= self.limits.at_least && counted(&plan.mailbox, of(plan)))
            })
            .map(|(at, _)| at)
            .collect()
    }

    fn is_large_share(&self, mailbox: MailboxId, count: u64, side: Side) -> bool {
        let earlier = self.lost.get(&(mailbox, side)).copied().unwrap_or_default();
        let had = self.census.get(&mailbox).copied().unwrap_or_default() + earlier;
        count * 100 > had * u64::from(self.limits.percent)
    }

    fn losses(&self, plan: &MailboxPlan, side: Side) -> Held {
        Held {
            folder: Some(plan.name.clone()),
            side,
            reason: Reason::MassDelete,
            count: losses_now(plan, side),
            since: self.now,
        }
    }
}

/// Trash and Junk are emptied as a matter of course: nothing lost there counts, now or later.
pub fn is_watched(plan: &MailboxPlan) -> bool {
    !matches!(plan.role, Some(Role::Trash | Role::Junk))
}

/// Returns how many messages a plan removes because this side lost them; flagged `\Deleted` counts.
pub fn losses_now(plan: &MailboxPlan, side: Side) -> u64 {
    let removed = match side {
        Side::Local => plan.remove_remote.iter().filter(|removal| is_loss(removal)).count(),
        Side::Remote => plan.remove_local.len(),
    };
    let flagged = plan.flags.iter().filter(|change| deletes(change, side)).count();
    (removed + flagged) as u64
}

/// Returns how many of a plan's losses may have counted already, when they were flagged `\Deleted`.
fn counted_before(plan: &MailboxPlan, side: Side) -> u64 {
    match side {
        Side::Local => 0,
        Side::Remote => plan.remove_local.iter().filter(|removal| !is_news(removal)).count() as u64,
    }
}

/// Returns true if a removal was announced by nothing before.
pub fn is_news(removal: &LocalRemoval) -> bool {
    !removal.entry.flags.has(Flag::Deleted)
}

/// What the server keeps counts too: the Maildir lost it, and it would never come back. Of what has a new version there
/// only drafts are no losses: other files hardly ever change, but by accident.
fn is_loss(removal: &RemoteRemoval) -> bool {
    match removal.how {
        Removal::Purge | Removal::Moved => false,
        Removal::Trash | Removal::Expunge => true,
        Removal::Flag | Removal::Keep => removal.moved_to.is_none(),
    }
}

/// Returns true if a change brings over a `\Deleted` that this side set: that is as good as a removal.
pub fn deletes(change: &FlagChange, side: Side) -> bool {
    match side {
        Side::Local => change.flags.to_remote.add.has(Flag::Deleted),
        Side::Remote => change.flags.to_local.add.has(Flag::Deleted),
    }
}

/// Takes the losses of one side out of a plan and pins the mailbox, so that they are seen again.
pub fn set_aside(plan: &mut MailboxPlan, side: Side) {
    plan.held = true;
    match side {
        Side::Local => plan.remove_remote.retain(|removal| !is_loss(removal)),
        Side::Remote => plan.remove_local.clear(),
    }
    plan.flags.retain(|change| !deletes(change, side));
}

/// Takes the uploads out of a plan and pins the mailbox, so that they are seen again.
pub fn hold_uploads(plan: &mut MailboxPlan) {
    plan.held = true;
    plan.upload.clear();
}

/// Turns the losses of one side into their restoration from the other.
fn undo(plan: &mut MailboxPlan, side: Side) {
    match side {
        Side::Local => {
            let (lost, kept): (Vec<_>, Vec<_>) = plan.remove_remote.drain(..).partition(is_loss);
            plan.remove_remote = kept;
            plan.download.extend(lost.into_iter().map(|removal| removal.uid));
        }
        Side::Remote => {
            for LocalRemoval { row, unique, entry } in plan.remove_local.drain(..) {
                plan.forget.push(row);
                plan.upload.push(Upload { unique, entry, leaves: None });
            }
        }
    }
    for change in plan.flags.iter_mut().filter(|change| deletes(change, side)) {
        undelete(change, side);
    }
}

fn undelete(change: &mut FlagChange, side: Side) {
    let (kept, lost) = match side {
        Side::Local => (&mut change.flags.to_remote, &mut change.flags.to_local),
        Side::Remote => (&mut change.flags.to_local, &mut change.flags.to_remote),
    };
    kept.add.set(Flag::Deleted, false);
    lost.remove.set(Flag::Deleted, true);
    change.flags.agreed.set(Flag::Deleted, false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FlagSet, MailboxName, MessageId, PermanentFlags, Uid, UniqueName};
    use crate::reconcile::flags::FlagRules;
    use crate::reconcile::snapshot::LocalEntry;

    const ME: MailboxId = MailboxId(1);

    fn plan(lost: u32, role: Option<Role>) -> MailboxPlan {
        let rules = FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only: false };
        let removal = |n| RemoteRemoval {
            row: MessageId(i64::from(n)),
            uid: Uid::new(n).unwrap(),
            how: Removal::Trash,
            moved_to: None,
        };
        MailboxPlan {
            remove_remote: (1..=lost).map(removal).collect(),
            ..MailboxPlan::nothing(ME, MailboxName::inbox(), role, rules)
        }
    }

    fn review(lost: u32, had: u64, earlier: u64, role: Option<Role>, answer: HoldAnswer) -> (u64, MailboxPlan) {
        let mut plans = [plan(lost, role)];
        let census = [(ME, had)].into();
        let past = [((ME, Side::Local), earlier)].into();
        let (limits, held) = (MaxDelete::default(), BTreeMap::new());
        let guard = Guard { limits, census: &census, lost: &past, held: &held, answer, now: Timestamp(7) };
        let held = guard.review(&mut plans).iter().map(|(_, held)| held.count).sum();
        let [plan] = plans;
        (held, plan)
    }

    fn held(lost: u32, had: u64, earlier: u64) -> u64 {
        review(lost, had, earlier, None, HoldAnswer::Keep).0
    }

    #[test]
    fn a_folder_emptied_is_held() {
        assert_eq!(held(200, 200, 0), 200);
    }

    #[test]
    fn a_few_messages_or_a_small_share_are_not() {
        assert_eq!(held(49, 49, 0), 0);
        assert_eq!(held(200, 1000, 0), 0);
    }

    #[test]
    fn slices_add_up_over_a_day() {
        assert_eq!(held(40, 160, 40), 40);
    }

    #[test]
    fn very_many_are_held_whatever_their_share() {
        assert_eq!(held(2001, 100_000, 0), 2001);
    }

    #[test]
    fn trash_may_be_emptied() {
        assert_eq!(review(200, 200, 0, Some(Role::Trash), HoldAnswer::Keep).0, 0);
    }

    #[test]
    fn accepted_goes_on_and_undone_comes_back() {
        let (held, plan) = review(200, 200, 0, None, HoldAnswer::Accept);
        assert_eq!((held, plan.remove_remote.len()), (0, 200));
        let (held, plan) = review(200, 200, 0, None, HoldAnswer::Undo);
        assert_eq!((held, plan.remove_remote.len(), plan.download.len()), (200, 0, 200));
    }

    /// Two folders lost 30 of 40 messages each; a plan tells of one of them only.
    #[test]
    fn what_is_held_elsewhere_counts_and_what_was_held_stays_so() {
        let other = MailboxId(2);
        for (earlier, lost, expected) in
            [(vec![], 30, 0), (vec![(other, 30)], 30, 30), (vec![(other, 19)], 30, 0), (vec![(ME, 30)], 1, 1)]
        {
            let mut plans = [plan(lost, None)];
            let census = [(ME, 40), (other, 40)].into();
            let held = earlier.into_iter().map(|(mailbox, count)| ((mailbox, Side::Local), count)).collect();
            let (limits, answer, lost) = (MaxDelete::default(), HoldAnswer::Keep, BTreeMap::new());
            let guard = Guard { limits, census: &census, lost: &lost, held: &held, answer, now: Timestamp(7) };
            let found: u64 = guard.review(&mut plans).iter().map(|(_, held)| held.count).sum();
            assert_eq!(found, expected, "{held:?}");
        }
    }

    /// What is held on one side says nothing of the other, on which all is back.
    #[test]
    fn what_was_held_and_is_back_does_not_count() {
        let other = MailboxId(2);
        let rules = FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only: false };
        let entry = LocalEntry { in_new: true, info: "".into(), inode: 1, flags: FlagSet::new() };
        let removal = |n: u32| LocalRemoval {
            row: MessageId(i64::from(n)),
            unique: UniqueName::new(&format!("{n}.x")).unwrap(),
            entry: entry.clone(),
        };
        let lists = MailboxPlan {
            remove_local: (1..=30).map(removal).collect(),
            ..MailboxPlan::nothing(other, MailboxName::parse("Lists").unwrap(), None, rules)
        };
        let mut plans = [plan(30, None), lists];
        let census = [(ME, 40), (other, 40)].into();
        let held = [((ME, Side::Local), 30), ((ME, Side::Remote), 30)].into();
        let (limits, answer, lost) = (MaxDelete::default(), HoldAnswer::Keep, BTreeMap::new());
        let guard = Guard { limits, census: &census, lost: &lost, held: &held, answer, now: Timestamp(7) };
        let found: Vec<MailboxId> = guard.review(&mut plans).into_iter().map(|(mailbox, _)| mailbox).collect();
        assert_eq!((found, plans[1].remove_local.len()), (vec![ME], 30));
    }
}
