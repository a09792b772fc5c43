//! Which folder of one side is which of the other, and which are to be created.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use super::snapshot::{LocalListing, LocalMaildir, RemoteListing};
use crate::model::{MailboxName, MailboxRow, Role};

/// What becomes of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// On both sides.
    Paired,
    /// To be created in the Maildir.
    CreateLocal,
    /// To be created on the server.
    CreateRemote,
    /// It was on both sides and has gone from the Maildir.
    GoneLocal,
    /// It was on both sides and has gone from the server.
    GoneRemote,
    /// It has gone from both.
    GoneBoth,
}

/// A folder that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its server name.
    pub name: MailboxName,
    /// Its local name.
    pub local: MailboxName,
    /// Its special use.
    pub role: Option<Role>,
    /// What becomes of it.
    pub fate: Fate,
}

/// Folders by names that servers without SPECIAL-USE give them.
const USUAL_NAMES: [(Role, &[&str]); 4] = [
    (Role::Trash, &["Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Papierkorb", "Corbeille"]),
    (Role::Junk, &["Junk", "Junk E-mail", "Junk Email", "Spam", "Bulk Mail"]),
    (Role::Drafts, &["Drafts", "Draft", "Entwürfe", "Brouillons"]),
    (Role::Sent, &["Sent", "Sent Items", "Sent Messages", "Sent Mail", "Gesendet"]),
];

/// Gives the usual folders their roles where the server names none.
pub fn infer_roles(listing: &mut RemoteListing) {
    let named: BTreeSet<Role> = listing.mailboxes.values().filter_map(|mailbox| mailbox.role).collect();
    for (role, names) in USUAL_NAMES.iter().filter(|(role, _)| !named.contains(role)) {
        let is = |name: &MailboxName, usual: &str| name.as_str().eq_ignore_ascii_case(usual);
        let first = names.iter().find_map(|usual| {
            let found = listing
                .mailboxes
                .iter()
                .find(|(name, mailbox)| is(name, usual) && mailbox.selectable && mailbox.role.is_none());
            found.map(|(name, _)| name.clone())
        });
        if let Some(mailbox) = first.and_then(|name| listing.mailboxes.get_mut(&name)) {
            mailbox.role = Some(*role);
        }
    }
}

/// Returns the role that a mailbox about to be created is known for by its name, if no other has it.
pub fn role_for(name: &MailboxName, listing: &RemoteListing) -> Option<Role> {
    let is_usual = |names: &[&str]| names.iter().any(|usual| name.as_str().eq_ignore_ascii_case(usual));
    let role = USUAL_NAMES.iter().find(|(_, names)| is_usual(names)).map(|(role, _)| *role);
    role.filter(|role| listing.mailboxes.values().all(|mailbox| mailbox.role != Some(*role)))
}

/// Pairs the folders of both sides. `listing` must be complete: what it lacks counts as gone.
pub fn pair_folders(
    rows: &[MailboxRow],
    listing: &RemoteListing,
    maildirs: &LocalListing,
    scope: &Scope,
) -> Vec<Folder> {
    let role_of = |name: &MailboxName| role_of(listing, name);
    let remote: BTreeMap<MailboxName, MailboxName> = listing
        .mailboxes
        .iter()
        .filter(|(name, mailbox)| mailbox.selectable && scope.takes_part(name, mailbox.role, mailbox.subscribed))
        .map(|(name, _)| (name.clone(), scope.local_name(name, role_of)))
        .collect();
    let local = server_names(listing, maildirs, scope);
    // What was never looked at on both sides can't have gone from one.
    let known: BTreeMap<&MailboxName, &MailboxRow> =
        rows.iter().filter(|row| row.watermark.is_some() || row.with_uid > 0).map(|row| (&row.name, row)).collect();
    let in_scope = |name: &&MailboxName| scope.takes_part(name, role_of(name), is_subscribed(listing, name));
    let names: BTreeSet<&MailboxName> =
        remote.keys().chain(local.keys()).chain(rows.iter().map(|row| &row.name).filter(in_scope)).collect();
    names
        .into_iter()
        .map(|name| Folder {
            name: name.clone(),
            local: remote.get(name).cloned().unwrap_or_else(|| scope.local_name(name, role_of)),
            role: role_of(name),
            fate: fate(remote.contains_key(name), local.contains_key(name), known.contains_key(name)),
        })
        .collect()
}

fn fate(remote: bool, local: bool, known: bool) -> Fate {
    match (remote, local, known) {
        (true, true, _) => Fate::Paired,
        (true, false, false) => Fate::CreateLocal,
        (false, true, false) => Fate::CreateRemote,
        (true, false, true) => Fate::GoneLocal,
        (false, true, true) => Fate::GoneRemote,
        (false, false, _) => Fate::GoneBoth,
    }
}

/// A folder that has gone from one side, and how many of the messages in it both sides had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// The folder: [`Fate::GoneLocal`] or [`Fate::GoneRemote`].
    pub folder: Folder,
    /// How many of its messages the baseline has files of.
    pub messages: u64,
    /// It is known to be elsewhere, under a name that it can't be given on the other side.
    pub elsewhere: bool,
}

/// Tells for each folder whether its going looks like an accident.
///
/// Maildirs hardly ever go on purpose while there is mail in them, and where one went by accident, empty ones beside it
/// did too. On the server folders are deleted as a matter of course: more than `limit` messages are too many for a folder
/// with those below it. On one that is `renumbered` any message is: it may be another server, and never have had the folder.
pub fn accidents(vanished: &[&Vanished], limit: u64, renumbered: bool) -> Vec<bool> {
    let limit = if renumbered { 0 } else { limit };
    let here = |one: &Vanished| one.folder.fate == Fate::GoneLocal;
    let lost = |one: &Vanished| if one.elsewhere { 0 } else { one.messages };
    let mail_here = vanished.iter().any(|one| here(one) && lost(one) > 0);
    let is_within = |one: &Vanished, top: &MailboxName| one.folder.name == *top || one.folder.name.is_below(top);
    let there = || vanished.iter().filter(|one| !here(one));
    let top_of = |one: &Vanished| {
        let above = there().map(|other| &other.folder.name).filter(|name| is_within(one, name));
        above.min_by_key(|name| name.as_str().len()).cloned()
    };
    let together =
        |top: &MailboxName| there().filter(|other| is_within(other, top)).map(|other| lost(other)).sum::<u64>();
    vanished
        .iter()
        .map(|one| match here(one) {
            true => mail_here && !one.elsewhere,
            false => top_of(one).is_some_and(|top| together(&top) > limit),
        })
        .collect()
}

/// Returns true if the server numbers the messages of a mailbox anew: the account may have been set up again there.
pub fn is_renumbered(rows: &[MailboxRow], listing: &RemoteListing) -> bool {
    rows.iter().any(|row| {
        let status = listing.mailboxes.get(&row.name).and_then(|listed| listed.status);
        matches!((row.uid_validity, status), (Some(before), Some(now)) if now.uid_validity != before)
    })
}

/// Returns the maildirs that take part by their server names. A maildir whose server name would get another local name
/// is a stranger: left alone.
fn server_names<'a>(
    listing: &RemoteListing,
    maildirs: &'a LocalListing,
    scope: &Scope,
) -> BTreeMap<MailboxName, &'a LocalMaildir> {
    let mut names = BTreeMap::new();
    for maildir in &maildirs.maildirs {
        let Some(name) = server_name(&maildir.name, listing, scope) else { continue };
        if scope.takes_part(&name, role_of(listing, &name), is_subscribed(listing, &name)) {
            names.insert(name, maildir);
        }
    }
    names
}

/// Returns the server's name of a maildir; `None` for a stranger.
pub fn server_name(local: &MailboxName, listing: &RemoteListing, scope: &Scope) -> Option<MailboxName> {
    let holder = |role: Role| {
        listing.mailboxes.iter().find(|(_, mailbox)| mailbox.role == Some(role)).map(|(name, _)| name.clone())
    };
    let is_there = |name: &MailboxName| listing.mailboxes.contains_key(name);
    scope.server_name(local, |name| role_of(listing, name), holder, is_there)
}

fn role_of(listing: &RemoteListing, name: &MailboxName) -> Option<Role> {
    listing.mailboxes.get(name).and_then(|mailbox| mailbox.role)
}

/// A folder that the server doesn't have is ours to subscribe to.
fn is_subscribed(listing: &RemoteListing, name: &MailboxName) -> bool {
    listing.mailboxes.get(name).is_none_or(|mailbox| mailbox.subscribed)
}
