//! The words for what is held back. What is held for the same reason is told together, so that three hundred folders
//! don't hide the rest; `--json` has each of them.

use super::Trouble;
use crate::cli::exit::Exit;
use crate::cli::render::{count, moment};
use crate::config::Account;
use crate::model::{MailboxName, Side};
use crate::reconcile::report::{Held, Reason};

/// How many of the folders held for the same reason are named.
const NAMED: usize = 3;

impl Trouble {
    /// What was set aside: one trouble for each reason and side.
    pub(in crate::cli) fn held(account: &Account, held: &[Held]) -> Vec<Self> {
        let mut kinds: Vec<Vec<&Held>> = Vec::new();
        for one in held {
            match kinds.iter_mut().find(|kind| kind.iter().all(|other| is_alike(one, other))) {
                Some(kind) => kind.push(one),
                None => kinds.push(vec![one]),
            }
        }
        kinds.iter().filter_map(|kind| Self::held_alike(account, kind)).collect()
    }

    fn held_alike(account: &Account, alike: &[&Held]) -> Option<Self> {
        let (first, others) = alike.split_first()?;
        let sum = Held {
            count: alike.iter().map(|held| held.count).sum(),
            since: alike.iter().map(|held| held.since).min().unwrap_or(first.since),
            ..(*first).clone()
        };
        let names: Vec<&MailboxName> = alike.iter().filter_map(|held| held.folder.as_ref()).collect();
        let (message, hint) = (words(account, &sum, !others.is_empty()), hint(account, sum.reason));
        let message = if others.is_empty() { message } else { format!("{}: {message}", some(&names)) };
        let folder = sum.folder.as_ref().filter(|_| others.is_empty());
        Some(Self::new(Exit::Held, sum.reason.as_str(), message, hint).at_folder(folder))
    }

    /// There is no Maildir where there was one.
    pub(in crate::cli) fn root_missing(account: &Account) -> Self {
        let message = format!("{}; nothing was changed", root_is_missing(account));
        Self::new(Exit::Held, Reason::RootMissing.as_str(), message, hint(account, Reason::RootMissing))
    }
}

fn is_alike(one: &Held, other: &Held) -> bool {
    (one.reason, one.side) == (other.reason, other.side)
}

/// Names the first of several folders.
fn some(names: &[&MailboxName]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more, see --json"),
    };
    format!("{} folders ({}{more})", names.len(), named.join(", "))
}

fn root_is_missing(account: &Account) -> String {
    format!("{} is missing, not mounted or not the Maildir of before", account.maildir.root.display())
}

fn words(account: &Account, held: &Held, several: bool) -> String {
    let since = moment(held.since);
    let (lost, kept) = match held.side {
        Side::Local => ("the Maildir", "the server"),
        Side::Remote => ("the server", "the Maildir"),
    };
    let messages = count(held.count, "message", "messages");
    let all = if held.count == 1 { "it" } else { "them" };
    let (folders, are) = if several { ("them", "they are") } else { ("it", "it is") };
    match held.reason {
        Reason::RootMissing => format!("{}, since {since}; nothing was changed", root_is_missing(account)),
        Reason::MassDelete => {
            format!("{messages} gone from {lost}, since {since}; that may be an accident, so {kept} keeps {all}")
        }
        Reason::MaildirVanished | Reason::FolderRemoved => {
            format!("gone from {lost}, since {since}; {kept} keeps {folders}, with {messages}")
        }
        Reason::FirstUpload if held.count == 0 => {
            format!("this first sync would create {folders} on the server; for now {are} in the Maildir only")
        }
        Reason::FirstUpload => {
            let stay = if held.count == 1 { "it stays" } else { "they stay" };
            format!("this first sync would upload {messages} that the server does not have; {stay} in the Maildir only")
        }
        Reason::NoTrash => format!(
            "{messages} gone from {lost}, since {since}, and the server has no Trash to move {all} to; it keeps {all} \
             where {}",
            if held.count == 1 { "it is" } else { "they are" }
        ),
        Reason::UidValidity => format!(
            "the server numbers the messages anew, since {since}, and {messages} known before can't be found there; \
             all is left as it is on both sides"
        ),
    }
}

fn hint(account: &Account, reason: Reason) -> String {
    let name = &account.name;
    let (accept, undo) = (format!("mailtide sync --accept-held {name}"), format!("mailtide sync --undo-held {name}"));
    match reason {
        Reason::RootMissing => format!("mount or restore it and sync again; or, to fill it from the server: {undo}"),
        Reason::MassDelete | Reason::MaildirVanished | Reason::FolderRemoved => {
            format!("if that was meant: {accept}; to put back what is gone: {undo}")
        }
        Reason::FirstUpload => {
            format!("if this is the right Maildir for the account: {accept}; else move the mail elsewhere")
        }
        Reason::NoTrash => format!(
            "create a Trash folder on the server, or set sync.delete; to delete there for good, without a Trash: \
             {accept}; to put back what is gone: {undo}"
        ),
        Reason::UidValidity => {
            format!("see what the server did to it; to unite both sides, uploading what is only here: {undo}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::account;
    use super::*;
    use crate::model::Timestamp;

    fn held(folder: &str, side: Side, reason: Reason, count: u64) -> Held {
        Held { folder: MailboxName::parse(folder), side, reason, count, since: Timestamp(1_795_309_323) }
    }

    #[test]
    fn a_hold_says_what_is_missing_where_and_both_ways_out() {
        let troubles = Trouble::held(&account(), &[held("INBOX", Side::Local, Reason::MassDelete, 812)]);
        let [trouble] = &troubles[..] else { panic!("{troubles:?}") };
        assert_eq!((trouble.exit, trouble.code), (Exit::Held, "mass-delete"));
        assert_eq!(trouble.place.folder, Some(MailboxName::inbox()));
        assert_eq!(
            trouble.message,
            "812 messages gone from the Maildir, since 2026-11-22T01:02:03Z; that may be an accident, so the server \
             keeps them"
        );
        assert_eq!(
            trouble.hint,
            "if that was meant: mailtide sync --accept-held work; to put back what is gone: mailtide sync --undo-held \
             work"
        );
        let root =
            Trouble::held(&account(), &[Held { folder: None, ..held("x", Side::Local, Reason::RootMissing, 9) }]);
        assert!(root[0].message.starts_with("/home/me/Mail/work is missing"), "{}", root[0].message);
        assert!(!root[0].hint.contains("--accept-held"), "nothing can accept a missing root");
    }

    #[test]
    fn folders_held_for_the_same_reason_are_told_together() {
        let mut all: Vec<Held> =
            (0..300).map(|n| held(&format!("Lists/{n}"), Side::Local, Reason::MaildirVanished, 40)).collect();
        all.insert(7, held("Work", Side::Remote, Reason::FolderRemoved, 1));
        all.extend(["a", "b"].map(|name| held(name, Side::Remote, Reason::FirstUpload, 0)));
        let told = Trouble::held(&account(), &all);
        let lines: Vec<(Option<&str>, &str)> = told
            .iter()
            .map(|trouble| (trouble.place.folder.as_ref().map(MailboxName::as_str), trouble.message.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                (
                    None,
                    "300 folders (Lists/0, Lists/1, Lists/2 and 297 more, see --json): gone from the Maildir, since \
                     2026-11-22T01:02:03Z; the server keeps them, with 12000 messages"
                ),
                (
                    Some("Work"),
                    "gone from the server, since 2026-11-22T01:02:03Z; the Maildir keeps it, with 1 message"
                ),
                (
                    None,
                    "2 folders (a, b): this first sync would create them on the server; for now they are in the \
                     Maildir only"
                ),
            ]
        );
    }
}
