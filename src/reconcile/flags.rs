//! Flags of one message: what the local side says, and what both sides should have.

use super::snapshot::{LocalEntry, LocalSnapshot};
use crate::model::{Flag, FlagDelta, FlagSet, Keyword, KeywordLetters, PermanentFlags};

/// What decides about flags in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagRules {
    /// `T` and `\Deleted` don't follow each other here: the server would purge at once.
    pub deleted_is_local: bool,
    /// What the server can store.
    pub permanent: PermanentFlags,
    /// The server allows no change.
    pub read_only: bool,
}

/// What is to be done about the flags of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagPlan {
    /// To be stored on the server.
    pub to_remote: FlagDelta,
    /// To be put on the file's name.
    pub to_local: FlagDelta,
    /// What the baseline holds afterwards: the server's flags. What the server can't store is not agreed on, so it
    /// stays a local addition, and what the file name has no room for is, so it is never taken for a local removal.
    pub agreed: FlagSet,
    /// What the Maildir wants stored and the mailbox can't store: it stays a difference.
    pub denied: FlagDelta,
}

impl FlagPlan {
    /// Returns true if neither side changes.
    pub fn changes_nothing(&self) -> bool {
        self.to_remote.is_empty() && self.to_local.is_empty()
    }

    /// Returns the plan without what the server refused of late: it stays a difference until it is tried again.
    pub fn without(mut self, refused: &FlagDelta) -> Self {
        let back = self.to_remote.intersection(refused);
        self.to_remote = self.to_remote.difference(&back);
        self.agreed = back.undo(&self.agreed);
        self
    }
}

/// Returns what the file's name means, seen from the baseline: what can't be known counts as unchanged. `agreed` are the
/// letters at the time of the baseline: a keyword that got its letter since may be missing from names for that alone. A
/// name from which letters were stripped means what it bore before.
fn local_flags(
    base: &FlagSet,
    entry: &LocalEntry,
    scan: &LocalSnapshot,
    rules: &FlagRules,
    agreed: &KeywordLetters,
    stripped: Option<&FlagSet>,
) -> FlagSet {
    let mut flags = entry.flags.clone();
    let silent = match (&scan.letters, stripped) {
        (Some(letters), None) => {
            base.keywords.iter().filter(|k| !expressible(letters, k) || !expressible(agreed, k)).collect()
        }
        (_, borne) => {
            borne.unwrap_or(base).keywords.iter().filter(|keyword| !keyword.is_forwarded()).collect::<Vec<_>>()
        }
    };
    flags.keywords.extend(silent.into_iter().cloned());
    without_purge(base, flags, rules)
}

/// Some mail programs drop all letters they don't know when they change another flag. All letters gone at once
/// together with another change is such a loss, not the user's wish; where a local Dovecot works it would be.
/// `agreed` are the letters at the time of the baseline. They count, too: those of now can't be known, or there are none
/// because their list is missing and the last name that bore one was stripped.
pub fn is_stripped(base: &FlagSet, entry: &LocalEntry, scan: &LocalSnapshot, agreed: &KeywordLetters) -> bool {
    let known = |keyword: &Keyword| scan.letters.iter().chain([agreed]).any(|all| all.letter(keyword).is_some());
    let lettered = |flags: &FlagSet| flags.keywords.iter().any(known);
    let forwarded = |flags: &FlagSet| flags.keywords.contains(&Keyword::forwarded());
    let others_changed = base.bits() != entry.flags.bits() || forwarded(base) != forwarded(&entry.flags);
    !scan.dovecot && others_changed && lettered(base) && !lettered(&entry.flags)
}

fn expressible(letters: &KeywordLetters, keyword: &Keyword) -> bool {
    keyword.is_forwarded() || letters.letter(keyword).is_some()
}

fn without_purge(base: &FlagSet, flags: FlagSet, rules: &FlagRules) -> FlagSet {
    match rules.deleted_is_local {
        true => flags.with(Flag::Deleted, base.has(Flag::Deleted)),
        false => flags,
    }
}

/// Merges the flags of a message that both sides hold. `known` are those of its row, of which the server may have
/// stored less than was sent, and `borne` what the file's name bore when they were agreed on; `remote` is `None` if the
/// server's are as in the baseline; `agreed` are the letters at the time of the baseline.
pub fn plan_flags(
    base: &FlagSet,
    (known, borne): (&FlagSet, &FlagSet),
    entry: &LocalEntry,
    remote: Option<&FlagSet>,
    scan: &LocalSnapshot,
    rules: &FlagRules,
    agreed: &KeywordLetters,
) -> FlagPlan {
    let stripped = is_stripped(borne, entry, scan, agreed);
    let local = local_flags(base, entry, scan, rules, agreed, stripped.then_some(borne));
    let remote = remote.map_or_else(|| base.clone(), |flags| without_purge(base, flags.clone(), rules));
    let merged = FlagSet::merge(base, &local, &remote);
    // What the server refused tells it again; what the row shows does so only until it is agreed on.
    let named = if stripped && is_stripped(known, entry, scan, agreed) { &entry.flags } else { base };
    plan_towards(&merged, named, entry, &remote, scan, rules)
}

/// Unites the flags of a message found on both sides without a baseline.
pub fn plan_union(entry: &LocalEntry, remote: &FlagSet, scan: &LocalSnapshot, rules: &FlagRules) -> FlagPlan {
    let agreed = KeywordLetters::new();
    let stripped = is_stripped(remote, entry, scan, &agreed);
    let local = local_flags(remote, entry, scan, rules, &agreed, stripped.then_some(remote));
    let merged = local.union(remote);
    plan_towards(&merged, &FlagSet::new(), entry, remote, scan, rules)
}

/// `named`: what counts as being on the name where letters can't be known.
fn plan_towards(
    merged: &FlagSet,
    named: &FlagSet,
    entry: &LocalEntry,
    remote: &FlagSet,
    scan: &LocalSnapshot,
    rules: &FlagRules,
) -> FlagPlan {
    let wish = remote.delta_to(merged);
    let to_remote = match rules.read_only {
        true => FlagDelta::default(),
        false => FlagDelta { add: rules.permanent.storable(&wish.add), remove: rules.permanent.storable(&wish.remove) },
    };
    let denied = wish.difference(&to_remote);
    let mut agreed = to_remote.apply(remote);
    let mut to_local = entry.flags.delta_to(merged);
    if rules.deleted_is_local {
        to_local.add.set(Flag::Deleted, false);
        to_local.remove.set(Flag::Deleted, false);
    }
    if scan.letters.is_none() {
        agreed.keywords.retain(|keyword| {
            keyword.is_forwarded() || named.keywords.contains(keyword) || entry.flags.keywords.contains(keyword)
        });
    }
    to_local.add.keywords.retain(|keyword| has_room(scan, keyword));
    FlagPlan { to_remote, to_local, agreed, denied }
}

/// Returns true if the keyword can be put on a file's name: it has a letter, or there is one left.
pub(super) fn has_room(scan: &LocalSnapshot, keyword: &Keyword) -> bool {
    let Some(letters) = &scan.letters else { return keyword.is_forwarded() };
    expressible(letters, keyword) || letters.iter().count() < KeywordLetters::CAPACITY
}

/// Returns the flags a new file is to be appended with.
pub fn upload_flags(entry: &LocalEntry, rules: &FlagRules) -> FlagSet {
    without_purge(&FlagSet::new(), rules.permanent.storable(&entry.flags), rules)
}

/// Returns the flags that the new version of a message is to be appended with: those of both sides merged. Who removed
/// the old one there did not know the new one, so only the file's own `\Deleted` counts.
pub fn united_flags(
    base: &FlagSet,
    entry: &LocalEntry,
    remote: Option<&FlagSet>,
    scan: &LocalSnapshot,
    rules: &FlagRules,
    agreed: &KeywordLetters,
) -> FlagSet {
    let wish = plan_flags(base, (base, base), entry, remote, scan, rules, agreed).to_remote;
    let merged = wish.apply(remote.unwrap_or(base));
    rules.permanent.storable(&merged).with(Flag::Deleted, upload_flags(entry, rules).has(Flag::Deleted))
}

/// Returns the flags that a downloaded message's name gets.
pub fn download_flags(remote: &FlagSet, rules: &FlagRules) -> FlagSet {
    without_purge(&FlagSet::new(), remote.clone(), rules)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::reconcile::snapshot::Entries;

    fn rules() -> FlagRules {
        FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only: false }
    }

    fn words(words: &[&str]) -> FlagSet {
        FlagSet::from_parts(0, words.iter().filter_map(|word| Keyword::new(word)))
    }

    fn entry(flags: FlagSet) -> LocalEntry {
        LocalEntry { in_new: false, info: "2,".into(), inode: 1, flags }
    }

    fn scan(keywords: &[&str]) -> LocalSnapshot {
        let mut letters = KeywordLetters::new();
        for (letter, word) in (b'a'..).zip(keywords) {
            letters.assign(letter, Keyword::new(word).unwrap());
        }
        LocalSnapshot {
            entries: Entries::new(),
            quiet: true,
            stamp: None,
            directory: None,
            letters: Some(letters),
            dovecot: false,
            duplicates: vec![],
        }
    }

    /// Plans where no letter is newer than the baseline.
    fn planned(
        base: &FlagSet,
        entry: &LocalEntry,
        remote: Option<&FlagSet>,
        scan: &LocalSnapshot,
        rules: &FlagRules,
    ) -> FlagPlan {
        plan_flags(
            base,
            (base, base),
            entry,
            remote,
            scan,
            rules,
            scan.letters.as_ref().unwrap_or(&KeywordLetters::new()),
        )
    }

    #[test]
    fn a_keyword_that_got_its_letter_since_is_put_on_the_name_and_never_removed() {
        let (base, bare, lettered) = (words(&["work", "more"]), entry(words(&["work"])), scan(&["work", "more"]));
        let before = scan(&["work"]).letters.unwrap();
        let plan = plan_flags(&base, (&base, &base), &bare, None, &lettered, &rules(), &before);
        assert_eq!(plan.to_remote, FlagDelta::default());
        assert_eq!(plan.to_local, FlagDelta { add: words(&["more"]), remove: FlagSet::new() });
        let later = planned(&base, &bare, None, &lettered, &rules());
        assert_eq!(later.to_remote.remove, words(&["more"]), "taken off once the name bore it");
    }

    #[test]
    fn what_the_server_refused_is_left_out_and_not_agreed_on() {
        let both = FlagSet::of(&[Flag::Seen, Flag::Flagged]).union(&words(&["work"]));
        let (base, file) = (words(&["old"]), entry(both));
        let refused =
            FlagDelta { add: FlagSet::of(&[Flag::Flagged]).union(&words(&["work"])), remove: words(&["old"]) };
        let plan = planned(&base, &file, None, &scan(&["work", "old"]), &rules()).without(&refused);
        assert_eq!(plan.to_remote, FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: FlagSet::new() });
        assert_eq!(plan.agreed, FlagSet::of(&[Flag::Seen]).union(&words(&["old"])));
        assert!(plan.to_local.is_empty());
    }

    #[test]
    fn a_program_that_strips_letters_while_it_marks_as_read_removes_no_keyword() {
        let (base, seen) = (words(&["work"]), entry(FlagSet::of(&[Flag::Seen])));
        let plan = planned(&base, &seen, None, &scan(&["work"]), &rules());
        assert_eq!(plan.to_remote, FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: FlagSet::new() });
        assert_eq!(plan.to_local, FlagDelta { add: words(&["work"]), remove: FlagSet::new() });
    }

    #[test]
    fn a_keyword_removed_alone_is_removed() {
        let plan = planned(&words(&["work"]), &entry(FlagSet::new()), None, &scan(&["work"]), &rules());
        assert_eq!(plan.to_remote.remove, words(&["work"]));
    }

    #[test]
    fn a_keyword_without_a_letter_is_never_removed() {
        let plan = planned(&words(&["work"]), &entry(FlagSet::new()), None, &scan(&[]), &rules());
        assert!(plan.to_remote.is_empty());
    }

    #[test]
    fn letters_of_unknown_meaning_change_no_keyword() {
        let mut torn = scan(&[]);
        torn.letters = None;
        let plan = planned(&words(&["work"]), &entry(FlagSet::new()), Some(&words(&["work", "home"])), &torn, &rules());
        assert!(plan.changes_nothing());
    }

    #[test]
    fn what_the_server_cannot_store_stays_local_and_is_planned_once_at_most() {
        let narrow =
            FlagRules { permanent: PermanentFlags { flags: FlagSet::of(&Flag::ALL), new_keywords: false }, ..rules() };
        let tagged = entry(words(&["work"]));
        let plan = planned(&FlagSet::new(), &tagged, None, &scan(&["work"]), &narrow);
        assert!(plan.changes_nothing());
        assert_eq!(plan.agreed, FlagSet::new());
    }

    #[test]
    fn t_and_deleted_do_not_follow_each_other_in_trash() {
        let trash = FlagRules { deleted_is_local: true, ..rules() };
        let plan = planned(&FlagSet::new(), &entry(FlagSet::of(&[Flag::Deleted])), None, &scan(&[]), &trash);
        assert!(plan.changes_nothing());
        let plan =
            planned(&FlagSet::new(), &entry(FlagSet::new()), Some(&FlagSet::of(&[Flag::Deleted])), &scan(&[]), &trash);
        assert!(plan.changes_nothing());
    }

    #[test]
    fn the_27th_keyword_is_kept_on_the_server_and_not_planned_again() {
        let names: Vec<String> = (0..26).map(|n| format!("k{n}")).collect();
        let full = scan(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let plan = planned(&FlagSet::new(), &entry(FlagSet::new()), Some(&words(&["more"])), &full, &rules());
        assert!(plan.changes_nothing());
        assert_eq!(plan.agreed, words(&["more"]));
        assert!(planned(&plan.agreed, &entry(FlagSet::new()), None, &full, &rules()).changes_nothing());
    }

    proptest! {
        /// So `View` need not ask.
        #[test]
        fn where_all_say_the_same_nothing_is_to_be_done(
            (bits, tagged) in (0u8..32, subsequence(vec!["work", "home", "$Forwarded"], 0..4)),
            lettered in proptest::option::of(subsequence(vec!["work", "home"], 0..3)),
            agreed in subsequence(vec!["work", "home"], 0..3),
            (seen, dovecot, deleted_is_local, read_only, new_keywords) in any::<(bool, bool, bool, bool, bool)>(),
            storable in 0u8..32,
        ) {
            let flags = FlagSet::from_parts(bits, words(&tagged).keywords.iter().cloned());
            let letters = lettered.map(|lettered| scan(&lettered).letters.unwrap());
            let found = LocalSnapshot { letters, dovecot, ..scan(&[]) };
            let permanent = PermanentFlags { flags: FlagSet::from_parts(storable, []), new_keywords };
            let rules = FlagRules { deleted_is_local, permanent, read_only };
            let before = scan(&agreed).letters.unwrap();
            let remote = seen.then_some(&flags);
            let plan = plan_flags(&flags, (&flags, &flags), &entry(flags.clone()), remote, &found, &rules, &before);
            prop_assert!(plan.changes_nothing() && plan.denied.is_empty(), "{plan:?}");
            prop_assert_eq!(plan.agreed, flags);
        }
    }
}
