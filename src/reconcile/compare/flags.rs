//! Flags of a pair: what one side has and the other not, as far as it could be otherwise.

use crate::model::{Flag, FlagDelta, FlagSet, Keyword, MessageRow};
use crate::reconcile::flags::{FlagRules, has_room};
use crate::reconcile::snapshot::{LocalEntry, LocalSnapshot, RemoteMessage};

/// What one side has and the other not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Only on the file's name.
    pub(super) here: FlagSet,
    /// Only on the server.
    pub(super) there: FlagSet,
    /// Both sides agree, and the baseline has other flags.
    pub(super) recorded: bool,
    /// Something is on one side because the other can't have it.
    pub(super) confined: bool,
}

impl Gap {
    /// Compares the flags of a file, of a message and of the row that pairs them.
    pub(super) fn new(
        row: &MessageRow,
        entry: &LocalEntry,
        message: &RemoteMessage,
        scan: &LocalSnapshot,
        rules: &FlagRules,
    ) -> Self {
        let comparable = |flags: FlagSet| comparable(flags, scan, rules);
        let here = comparable(entry.flags.difference(&message.flags));
        let there = comparable(message.flags.difference(&entry.flags));
        let unsent = here.difference(&storable(rules, &here));
        // Taken off the file's name, and the server can't take it off; or the name has no room for it.
        let removed = intersection(&there, &row.flags);
        let mut unfetched = removed.difference(&storable(rules, &removed));
        unfetched.keywords.extend(there.keywords.iter().filter(|keyword| !has_room(scan, keyword)).cloned());
        let (here, there) = (here.difference(&unsent), there.difference(&unfetched));
        let agree = here.is_empty() && there.is_empty();
        let recorded = agree && comparable(row.flags.clone()) != comparable(message.flags.clone());
        Gap { here, there, recorded, confined: !unsent.is_empty() || !unfetched.is_empty() }
    }

    /// Returns what of it the server refused of late, and what it did not.
    pub(super) fn split(self, refused: &FlagDelta) -> (Gap, Gap) {
        let (here, there) = (intersection(&self.here, &refused.add), intersection(&self.there, &refused.remove));
        let rest = Gap { here: self.here.difference(&here), there: self.there.difference(&there), ..self };
        (Gap { here, there, ..Gap::default() }, rest)
    }

    /// Returns true if no side has what the other has not.
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.there.is_empty()
    }

    /// Returns what differs, in words.
    pub(super) fn words(&self) -> String {
        let sides = [("here", &self.here), ("on the server", &self.there)];
        let parts = sides.into_iter().filter(|(_, flags)| !flags.is_empty());
        parts.map(|(side, flags)| format!("only {side}: {flags}")).collect::<Vec<_>>().join("; ")
    }
}

/// Leaves out what neither has to follow nor can be known.
fn comparable(mut flags: FlagSet, scan: &LocalSnapshot, rules: &FlagRules) -> FlagSet {
    if rules.deleted_is_local {
        flags.set(Flag::Deleted, false);
    }
    if scan.letters.is_none() {
        flags.keywords.retain(Keyword::is_forwarded);
    }
    flags
}

fn storable(rules: &FlagRules, flags: &FlagSet) -> FlagSet {
    if rules.read_only { FlagSet::new() } else { rules.permanent.storable(flags) }
}

fn intersection(one: &FlagSet, other: &FlagSet) -> FlagSet {
    one.difference(&one.difference(other))
}
