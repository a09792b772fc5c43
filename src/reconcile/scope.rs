//! Which folders take part (`folders.*` of the configuration), and under which local names.

use std::fmt;

use crate::model::{MailboxName, Role};

/// A pattern of folder names: `*` any text, `/` too; `?` one character; every other character is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `role:sent`
    Role(Role),
    /// A glob over the whole name.
    Glob(String),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It would match nothing.
    #[error("an empty pattern matches no folder")]
    Empty,
    /// `role:` is followed by no role.
    #[error("\"{0}\" is no role; the roles are all, archive, drafts, flagged, important, junk, sent and trash")]
    UnknownRole(String),
}

impl Pattern {
    /// Reads a pattern. A leading `inbox` is written `INBOX`, as the folder's name is (RFC 9051 section 5.1).
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(word) = text.strip_prefix("role:") {
            return Role::parse(word).map(Pattern::Role).ok_or_else(|| PatternError::UnknownRole(word.to_owned()));
        }
        let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
        match (first.eq_ignore_ascii_case(MailboxName::INBOX), rest) {
            _ if text.is_empty() => Err(PatternError::Empty),
            (true, None) => Ok(Pattern::Glob(MailboxName::INBOX.to_owned())),
            (true, Some(rest)) => Ok(Pattern::Glob(format!("{}/{rest}", MailboxName::INBOX))),
            (false, _) => Ok(Pattern::Glob(text.to_owned())),
        }
    }

    /// Returns true if the pattern matches a folder of this name and role.
    pub fn matches(&self, name: &MailboxName, role: Option<Role>) -> bool {
        match self {
            Pattern::Role(wanted) => role == Some(*wanted),
            Pattern::Glob(glob) => glob_matches(glob, name.as_str()),
        }
    }

    /// Returns the one folder that the pattern can match, if there is only one.
    pub fn literal(&self) -> Option<MailboxName> {
        match self {
            Pattern::Glob(text) if !text.contains(['*', '?']) => MailboxName::parse(text),
            Pattern::Glob(_) | Pattern::Role(_) => None,
        }
    }

    /// Returns true if the pattern means this folder and no other: its role or its name in full.
    fn names(&self, name: &MailboxName, role: Option<Role>) -> bool {
        match self {
            Pattern::Role(wanted) => role == Some(*wanted),
            Pattern::Glob(text) => text == name.as_str(),
        }
    }
}

/// Writes the pattern as the configuration has it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Role(role) => write!(f, "role:{}", role.as_str()),
            Pattern::Glob(glob) => f.write_str(glob),
        }
    }
}

/// Matches in one pass: after a mismatch only the last `*` takes one character more, so the time is at most the product
/// of the lengths.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob.chars(), text.chars());
    let mut retry = None;
    loop {
        let mut next = glob.clone();
        match (next.next(), text.clone().next()) {
            (Some('*'), _) => {
                glob = next;
                retry = Some((glob.clone(), text.clone()));
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                glob = next;
                text.next();
            }
            _ => {
                let Some((after_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (glob, text) = (after_star.clone(), from.clone());
            }
        }
    }
}

/// The folder rules of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Folders that take part.
    pub include: Vec<Pattern>,
    /// Folders that don't; wins.
    pub exclude: Vec<Pattern>,
    /// Only subscribed folders take part.
    pub subscribed_only: bool,
    /// Server folder, by full name (every character is itself here) or role, and the local name for it and its
    /// children.
    pub local_names: Vec<(Pattern, MailboxName)>,
}

/// Every folder takes part, under its own name.
impl Default for Scope {
    fn default() -> Self {
        Self {
            include: vec![Pattern::Glob("*".to_owned())],
            exclude: Vec::new(),
            subscribed_only: false,
            local_names: Vec::new(),
        }
    }
}

/// What decides whether a folder takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It takes part, by this pattern of `include`.
    Included(&'a Pattern),
    /// It doesn't, by this pattern of `exclude`.
    Excluded(&'a Pattern),
    /// It doesn't: no pattern of `include` matches.
    NotIncluded,
    /// It doesn't: folders of this role repeat mail that lies elsewhere, and `include` does not name it.
    LeftOut(Role),
    /// It doesn't: `subscribed_only` is set and the user is not subscribed to it.
    Unsubscribed,
}

impl Decision<'_> {
    /// Returns true if the folder takes part.
    pub fn takes_part(self) -> bool {
        matches!(self, Decision::Included(_))
    }
}

/// Says what decides, in the words of the configuration.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Included(pattern) => write!(f, "include \"{pattern}\""),
            Decision::Excluded(pattern) => write!(f, "exclude \"{pattern}\""),
            Decision::NotIncluded => f.write_str("no pattern of include"),
            Decision::LeftOut(role) => write!(f, "left out unless include names \"role:{}\"", role.as_str()),
            Decision::Unsubscribed => f.write_str("subscribed_only"),
        }
    }
}

impl Scope {
    /// Returns true if a folder takes part. A folder that is only local has no role and counts as subscribed.
    pub fn takes_part(&self, name: &MailboxName, role: Option<Role>, subscribed: bool) -> bool {
        self.decide(name, role, subscribed).takes_part()
    }

    /// Returns true if a folder takes part or, where its role is not known, may: a pattern of `include` that needs one counts
    /// as met, one of `exclude` does not. It counts as subscribed.
    pub fn may_take_part(&self, name: &MailboxName) -> bool {
        let included = |pattern: &Pattern| matches!(pattern, Pattern::Role(_)) || pattern.matches(name, None);
        self.include.iter().any(included) && !self.exclude.iter().any(|pattern| pattern.matches(name, None))
    }

    /// Returns whether a folder takes part, and what decides it.
    pub fn decide(&self, name: &MailboxName, role: Option<Role>, subscribed: bool) -> Decision<'_> {
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(name, role)) {
            return Decision::Excluded(pattern);
        }
        let repeats = role.filter(|role| matches!(role, Role::Flagged | Role::Important));
        let included = match repeats {
            Some(_) => self.include.iter().find(|pattern| pattern.names(name, role)),
            None => self.include.iter().find(|pattern| pattern.matches(name, role)),
        };
        match (included, repeats) {
            (None, Some(role)) => Decision::LeftOut(role),
            (None, None) => Decision::NotIncluded,
            (Some(_), _) if self.subscribed_only && !subscribed => Decision::Unsubscribed,
            (Some(pattern), _) => Decision::Included(pattern),
        }
    }

    /// Returns true if `exclude` has a pattern for something that can't be a folder.
    pub fn excludes(&self, name: &str) -> bool {
        self.exclude.iter().any(|pattern| matches!(pattern, Pattern::Glob(glob) if glob_matches(glob, name)))
    }

    /// Returns the local name of a server folder: the rule for the folder itself or for the nearest folder above it
    /// decides; by name before by role. `role_of` tells the roles of the server's folders.
    pub fn local_name(&self, name: &MailboxName, role_of: impl Fn(&MailboxName) -> Option<Role>) -> MailboxName {
        let mut at = Some(name.clone());
        while let Some(folder) = at {
            if let Some(local) = self.rule(&folder, role_of(&folder)) {
                return name.rebased(&folder, local).unwrap_or_else(|| name.clone());
            }
            at = folder.parent();
        }
        name.clone()
    }

    /// Returns the server's name of a local folder, or `None` if no server folder can have that local name: its
    /// namesake on the server has another. `role_of` as above; `holder` tells which server folder has a role, `is_there`
    /// which names the server has. Where it lacks the folder of a rule and has another of the local name, that one is
    /// meant: a rule that is of use to another account only must move nothing here.
    pub fn server_name(
        &self,
        local: &MailboxName,
        role_of: impl Fn(&MailboxName) -> Option<Role>,
        holder: impl Fn(Role) -> Option<MailboxName>,
        is_there: impl Fn(&MailboxName) -> bool,
    ) -> Option<MailboxName> {
        let is_idle = |server: &MailboxName, target: &MailboxName| {
            !is_there(server) && is_there(target) && self.local_name(target, &role_of) == *target
        };
        let by_rule = self.local_names.iter().filter_map(|(folder, target)| {
            let server = match folder {
                Pattern::Role(role) => holder(*role)?,
                Pattern::Glob(name) => MailboxName::parse(name)?,
            };
            local.rebased(target, &server).filter(|_| !is_idle(&server, target))
        });
        let is_ours = |server: &MailboxName| self.local_name(server, &role_of) == *local;
        by_rule.chain([local.clone()]).find(is_ours)
    }

    /// Returns pairs of server folders that would have the same local name: an error before anything is touched.
    pub fn clashes(
        &self,
        names: impl IntoIterator<Item = MailboxName>,
        role_of: impl Fn(&MailboxName) -> Option<Role>,
    ) -> Vec<(MailboxName, MailboxName)> {
        let mut seen = std::collections::BTreeMap::new();
        let mut clashes = Vec::new();
        for name in names {
            if let Some(earlier) = seen.insert(self.local_name(&name, &role_of), name.clone()) {
                clashes.push((earlier, name));
            }
        }
        clashes
    }

    fn rule(&self, name: &MailboxName, role: Option<Role>) -> Option<&MailboxName> {
        let by_name = self.local_names.iter().find(|(folder, _)| folder.names(name, None));
        by_name.or_else(|| self.local_names.iter().find(|(folder, _)| folder.names(name, role))).map(|(_, local)| local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text).unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn renaming(rules: &[(&str, &str)]) -> Scope {
        let local_names = rules.iter().map(|(from, to)| (Pattern::parse(from).unwrap(), name(to))).collect();
        Scope { local_names, ..Scope::default() }
    }

    fn german(folder: &MailboxName) -> Option<Role> {
        (folder.as_str() == "Gesendet").then_some(Role::Sent)
    }

    fn german_holder(role: Role) -> Option<MailboxName> {
        (role == Role::Sent).then(|| name("Gesendet"))
    }

    fn naive(glob: &[char], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => naive(rest, text) || text.split_first().is_some_and(|(_, t)| naive(glob, t)),
            (Some((g, rest)), Some((t, tail))) if *g == '?' || g == t => naive(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_the_plain_definition_does(glob in "[ab/é*?]{0,8}", text in "[ab/é]{0,10}") {
            let (g, t): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(glob_matches(&glob, &text), naive(&g, &t), "{} on {}", glob, text);
        }

        #[test]
        fn a_server_name_found_leads_back_to_the_local_name(local in "(Sent|Gesendet|A|B)(/(A|Sent))?") {
            let scope = renaming(&[("role:sent", "Sent"), ("A", "B/A")]);
            if let Some(server) = scope.server_name(&name(&local), german, german_holder, |_| false) {
                prop_assert_eq!(scope.local_name(&server, german), name(&local));
            }
        }

        #[test]
        fn a_local_name_leads_back_to_a_server_name(server in "(Sent|Gesendet|A|B)(/(A|Sent))?") {
            let scope = renaming(&[("role:sent", "Outbox"), ("A", "B/C")]);
            let local = scope.local_name(&name(&server), german);
            let found = scope.server_name(&local, german, german_holder, |known| *known == name(&server));
            prop_assert_eq!(found, Some(name(&server)));
        }
    }

    #[test]
    fn long_patterns_take_no_exponential_time() {
        assert!(!glob_matches(&"*a".repeat(200), &"a".repeat(150)));
    }

    #[test]
    fn every_other_character_is_itself() {
        for literal in ["[Gmail]/All Mail", "a{b}", "a\\b", "!x", "100%"] {
            let pattern = Pattern::parse(literal).unwrap();
            assert!(pattern.matches(&name(literal), None), "{literal}");
            assert_eq!(pattern.to_string(), literal);
        }
        assert!(!Pattern::parse("[ab]").unwrap().matches(&name("a"), None));
        assert!(!Pattern::parse("sent").unwrap().matches(&name("Sent"), None));
    }

    #[test]
    fn patterns_are_checked_and_the_inbox_has_one_spelling() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("role:spam"), Err(PatternError::UnknownRole("spam".into())));
        assert_eq!(Pattern::parse("role:Sent"), Ok(Pattern::Role(Role::Sent)));
        assert!(Pattern::parse("inbox").unwrap().matches(&MailboxName::inbox(), None));
        assert!(Pattern::parse("Inbox/*").unwrap().matches(&name("INBOX/a"), None));
    }

    #[test]
    fn exclude_wins_and_the_deciding_pattern_is_told() {
        let scope = Scope {
            include: patterns(&["Work*", "*"]),
            exclude: patterns(&["Lists/*", "role:junk"]),
            ..Scope::default()
        };
        let told = |folder, role| scope.decide(&name(folder), role, true).to_string();
        assert_eq!(told("Workshop", None), "include \"Work*\"");
        assert_eq!(told("Lists/a/b", None), "exclude \"Lists/*\"");
        assert_eq!(told("Lists", None), "include \"*\"");
        assert_eq!(told("Spam", Some(Role::Junk)), "exclude \"role:junk\"");
        let narrow = Scope { include: patterns(&["INBOX"]), ..Scope::default() };
        assert_eq!(narrow.decide(&name("Sent"), None, true), Decision::NotIncluded);
    }

    #[test]
    fn where_roles_are_not_known_a_folder_may_take_part_by_any() {
        let scope = |include, exclude| Scope {
            include: patterns(&[include]),
            exclude: patterns(&[exclude, "role:junk"]),
            ..Scope::default()
        };
        let sent = name("Sent");
        assert!(scope("role:sent", "Lists/*").may_take_part(&sent) && scope("*", "Lists/*").may_take_part(&sent));
        assert!(!scope("role:sent", "S*").may_take_part(&sent) && !scope("INBOX", "Lists/*").may_take_part(&sent));
    }

    #[test]
    fn flagged_and_important_take_part_only_when_named() {
        let starred = name("[Gmail]/Starred");
        for (include, takes_part) in
            [("*", false), ("[Gmail]/*", false), ("role:flagged", true), ("[Gmail]/Starred", true), ("role:all", false)]
        {
            let scope = Scope { include: patterns(&[include]), ..Scope::default() };
            assert_eq!(scope.takes_part(&starred, Some(Role::Flagged), true), takes_part, "{include}");
        }
        let everything = Scope::default();
        assert_eq!(everything.decide(&name("x"), Some(Role::Important), true), Decision::LeftOut(Role::Important));
        assert!(everything.takes_part(&name("All Mail"), Some(Role::All), true));
    }

    #[test]
    fn unsubscribed_folders_are_out_only_on_request() {
        let scope = Scope { subscribed_only: true, ..Scope::default() };
        assert_eq!(scope.decide(&name("a"), None, false), Decision::Unsubscribed);
        assert!(scope.takes_part(&name("a"), None, true));
        assert!(Scope::default().takes_part(&name("a"), None, false));
    }

    #[test]
    fn local_names_carry_children_along() {
        let scope = renaming(&[("role:sent", "Sent"), ("Gesendet/2020", "Old")]);
        let local = |folder| scope.local_name(&name(folder), german).as_str().to_owned();
        assert_eq!(local("Gesendet"), "Sent");
        assert_eq!(local("Gesendet/2021/a"), "Sent/2021/a");
        assert_eq!(local("Gesendet/2020/a"), "Old/a");
        assert_eq!(local("Gesendetes"), "Gesendetes");
    }

    #[test]
    fn a_local_folder_whose_namesake_is_called_otherwise_has_no_server_name() {
        let scope = renaming(&[("role:sent", "Sent")]);
        let server = |local| scope.server_name(&name(local), german, german_holder, |_| false);
        assert_eq!(server("Sent/new"), Some(name("Gesendet/new")));
        assert_eq!(server("Gesendet"), None);
        assert_eq!(server("Other"), Some(name("Other")));
        assert_eq!(scope.server_name(&name("Sent"), |_| None, |_| None, |_| false), Some(name("Sent")));
    }

    #[test]
    fn a_rule_whose_folder_the_server_lacks_takes_nothing_from_the_one_that_has_the_local_name() {
        let scope = renaming(&[("[Gmail]/Sent Mail", "Sent")]);
        let server = |local, there: &[&str]| {
            let is_there = |known: &MailboxName| there.contains(&known.as_str());
            scope.server_name(&name(local), |_| None, |_| None, is_there).unwrap().to_string()
        };
        assert_eq!(["Sent", "Sent/2020"].map(|local| server(local, &["Sent"])), ["Sent", "Sent/2020"]);
        assert_eq!(server("Sent/2020", &["[Gmail]/Sent Mail"]), "[Gmail]/Sent Mail/2020");
        assert_eq!(server("Sent", &[]), "[Gmail]/Sent Mail");
    }

    #[test]
    fn two_server_folders_with_one_local_name_clash() {
        let scope = renaming(&[("role:sent", "Sent")]);
        let names = ["Gesendet", "Sent", "INBOX"].map(name);
        assert_eq!(scope.clashes(names, german), [(name("Gesendet"), name("Sent"))]);
    }
}
