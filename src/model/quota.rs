//! How full an account is on its server (RFC 9208).

use serde::{Deserialize, Serialize};

/// What a server allows, and what is used of it. Where several limits apply to the inbox, of each kind the one that is
/// nearest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Room for messages, in bytes.
    pub storage: Option<Usage>,
    /// The number of messages.
    pub messages: Option<Usage>,
}

/// A limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How much is used. May be more than allowed.
    pub used: u64,
    /// How much is allowed.
    pub limit: u64,
}

impl Quota {
    /// Takes in the limits of another quota root: of each kind the fuller one counts.
    pub fn merge(&mut self, other: Quota) {
        self.storage = Usage::fuller(self.storage, other.storage);
        self.messages = Usage::fuller(self.messages, other.messages);
    }
}

impl Usage {
    fn fuller(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
        let share = |usage: &Usage, limit: u64| u128::from(usage.used) * u128::from(limit);
        match (one, other) {
            (Some(one), Some(other)) if share(&one, other.limit) < share(&other, one.limit) => Some(other),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_roots_the_fuller_one_counts() {
        let usage = |used, limit| Some(Usage { used, limit });
        let mut quota = Quota { storage: usage(5, 10), messages: None };
        quota.merge(Quota { storage: usage(9, 20), messages: usage(1, 2) });
        assert_eq!(quota, Quota { storage: usage(5, 10), messages: usage(1, 2) });
        quota.merge(Quota { storage: usage(u64::MAX, u64::MAX), messages: usage(0, 0) });
        assert_eq!(quota, Quota { storage: usage(u64::MAX, u64::MAX), messages: usage(1, 2) });
    }
}
