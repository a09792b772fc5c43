//! What earlier runs and passes left for the plan to remember, and what it leaves itself: changes that can't be carried
//! out.

use std::collections::BTreeMap;

use super::flags::FlagPlan;
use crate::model::{FlagDelta, FlagSet, KeywordLetters, MessageRow, Uid, UniqueName};

/// What is remembered of one mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Changes of flags that the server refused and that wait, by file.
    pub refused: BTreeMap<UniqueName, FlagDelta>,
    /// All that it refused, waiting or due: the names of the files show it, and the rows don't.
    pub untaken: BTreeMap<UniqueName, FlagDelta>,
    /// Files that this run uploaded and whose messages were not looked at since, with the flags sent.
    pub fresh: BTreeMap<UniqueName, FlagSet>,
    /// The keyword letters under which the rows were agreed on.
    pub letters: KeywordLetters,
}

/// Local changes of one mailbox that can't be carried out on the server as it is. They stay a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stuck {
    /// New files.
    pub files: Vec<UniqueName>,
    /// Messages whose files are gone.
    pub removals: Vec<Uid>,
    /// Flags and keywords.
    pub flags: FlagDelta,
}

impl Memory {
    /// Returns the flags that a message's change is measured from. Those that we sent with it and that are not there when
    /// it is first seen were never stored: that is no removal.
    pub fn base(&self, row: &MessageRow, unique: &UniqueName, seen: Option<&FlagSet>) -> FlagSet {
        match seen.zip(self.fresh.get(unique)) {
            Some((seen, sent)) => row.flags.difference(&sent.difference(seen)),
            None => row.flags.clone(),
        }
    }

    /// Returns the plan without what the server refused of late.
    pub fn apply(&self, flags: FlagPlan, unique: &UniqueName) -> FlagPlan {
        match self.refused.get(unique) {
            Some(refused) => flags.without(refused),
            None => flags,
        }
    }
}

/// Returns what a file's name bore when these flags of its message were agreed on: also what the server refused.
pub fn borne(flags: &FlagSet, unique: &UniqueName, untaken: &BTreeMap<UniqueName, FlagDelta>) -> FlagSet {
    untaken.get(unique).map_or_else(|| flags.clone(), |untaken| untaken.apply(flags))
}

impl Stuck {
    /// Returns true if everything can be carried out.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removals.is_empty() && self.flags.is_empty()
    }
}
