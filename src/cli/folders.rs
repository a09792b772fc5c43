//! `mailtide folders`: both sides' folders, their roles, how they map, and which pattern decides.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use serde::Serialize;

use super::args::{self, Globals};
use super::connect::connect;
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::json::{self, ErrorJson};
use super::output::Output;
use super::stop::Stop;
use super::{configuration, render, run_all, select};
use crate::config::Account;
use crate::maildir::Maildir;
use crate::model::{MailboxName, Role};
use crate::reconcile::mailboxes::infer_roles;
use crate::reconcile::scope::{Decision, Scope};
use crate::reconcile::snapshot::{ListedMailbox, LocalListing, RemoteListing};
use crate::store::{LocalError, LocalStore, RemoteStore, Root};

/// One folder, on either side or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Folder {
    /// Its name on the server, or what it would be there; `None` if it can't be there.
    server: Option<String>,
    /// Its name in the Maildir, or what it would be there.
    local: String,
    role: Option<&'static str>,
    on_server: bool,
    in_maildir: bool,
    selectable: bool,
    subscribed: bool,
    takes_part: bool,
    decided_by: String,
}

/// An account's folders.
#[derive(Debug)]
struct Listed {
    name: String,
    folders: Vec<Folder>,
    troubles: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct ListedJson {
    name: String,
    status: &'static str,
    exit_code: u8,
    mapping: Vec<Folder>,
    errors: Vec<ErrorJson>,
}

/// Runs the command.
pub(super) fn main(args: &args::Folders, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let (listed, errors) = match run(args, globals) {
        Ok(listed) => (listed, Vec::new()),
        Err(trouble) => (Vec::new(), vec![trouble]),
    };
    let exit = Exit::of_all(listed.iter().map(Listed::exit).chain(errors.iter().map(|trouble| trouble.exit)));
    if args.json {
        json::print(output, started, exit, &errors, listed.into_iter().map(Listed::json).collect());
        return exit;
    }
    for account in &listed {
        account.print(output);
    }
    output.complain(None, &errors);
    exit
}

fn run(args: &args::Folders, globals: &Globals) -> Result<Vec<Listed>, Trouble> {
    let config = configuration(globals)?;
    let accounts = select::accounts(&config, &args.account)?;
    run_all(|stop| accounts.into_iter().map(|account| list(account, stop.clone())).collect())
}

async fn list(account: &Account, stop: Stop) -> Listed {
    let name = account.name.clone();
    let found = match stop.guard(look(account)).await {
        Ok(found) => found,
        Err(exit) => Err(Trouble::stopped(exit, Rest::Untouched)),
    };
    match found {
        Ok((folders, troubles)) => Listed { name, folders, troubles },
        Err(trouble) => Listed { name, folders: Vec::new(), troubles: vec![trouble] },
    }
}

async fn look(account: &Account) -> Result<(Vec<Folder>, Vec<Trouble>), Trouble> {
    let local = local_listing(account).map_err(|error| Trouble::local(account, &error, Rest::Untouched))?;
    let mut remote = connect(account).await?;
    let mut server = remote.list().await.map_err(|error| Trouble::remote(account, &error, Rest::Untouched))?;
    infer_roles(&mut server);
    remote.logout().await;
    let scope = &account.policy.scope;
    let rejected = server.rejected.iter().chain(&local.rejected);
    let mut troubles: Vec<Trouble> = rejected.map(|(name, why)| Trouble::rejected_folder(name, why)).collect();
    troubles.extend(clashes(scope, &server));
    Ok((mapping(scope, &server, &local), troubles))
}

fn local_listing(account: &Account) -> Result<LocalListing, LocalError> {
    let mut maildir = Maildir::new(account.maildir.clone());
    match maildir.root()? {
        Root::Missing => Ok(LocalListing::default()),
        Root::Unmarked { .. } | Root::Marked(_) => maildir.list(),
    }
}

fn clashes(scope: &Scope, server: &RemoteListing) -> Vec<Trouble> {
    let taking_part = server.mailboxes.iter().filter(|(name, listed)| takes_part(scope, name, listed));
    let clashes = scope.clashes(taking_part.map(|(name, _)| name.clone()), |name| role_of(server, name));
    clashes.iter().map(|(one, other)| Trouble::local_name_clash(one, other)).collect()
}

fn takes_part(scope: &Scope, name: &MailboxName, listed: &ListedMailbox) -> bool {
    listed.selectable && scope.takes_part(name, listed.role, listed.subscribed)
}

fn role_of(server: &RemoteListing, name: &MailboxName) -> Option<Role> {
    server.mailboxes.get(name).and_then(|listed| listed.role)
}

/// Puts the two sides' folders together: those of the server first, then those that are only local.
fn mapping(scope: &Scope, server: &RemoteListing, local: &LocalListing) -> Vec<Folder> {
    let in_maildir: BTreeSet<&MailboxName> = local.maildirs.iter().map(|maildir| &maildir.name).collect();
    let role_of = |name: &MailboxName| role_of(server, name);
    let mut local_names = BTreeMap::new();
    let mut folders = Vec::new();
    for (name, listed) in &server.mailboxes {
        let local = scope.local_name(name, role_of);
        folders.push(on_server(scope, name, listed, &local, in_maildir.contains(&local)));
        local_names.insert(local, name);
    }
    let holder =
        |role| server.mailboxes.iter().find(|(_, listed)| listed.role == Some(role)).map(|(name, _)| name.clone());
    let only_local = in_maildir.into_iter().filter(|name| !local_names.contains_key(name));
    let is_there = |name: &MailboxName| server.mailboxes.contains_key(name);
    let server_name = |name: &MailboxName| scope.server_name(name, role_of, holder, is_there);
    folders.extend(only_local.map(|name| only_in_maildir(scope, name, server_name(name).as_ref())));
    folders
}

fn on_server(scope: &Scope, name: &MailboxName, listed: &ListedMailbox, local: &MailboxName, there: bool) -> Folder {
    let decision = scope.decide(name, listed.role, listed.subscribed);
    Folder {
        server: Some(name.to_string()),
        local: local.to_string(),
        role: listed.role.map(Role::as_str),
        on_server: true,
        in_maildir: there,
        selectable: listed.selectable,
        subscribed: listed.subscribed,
        takes_part: listed.selectable && decision.takes_part(),
        decided_by: if listed.selectable { decision.to_string() } else { "holds only other folders".to_owned() },
    }
}

fn only_in_maildir(scope: &Scope, local: &MailboxName, server: Option<&MailboxName>) -> Folder {
    let decision = server.map(|name| scope.decide(name, None, true));
    Folder {
        server: server.map(ToString::to_string),
        local: local.to_string(),
        role: None,
        on_server: false,
        in_maildir: true,
        selectable: true,
        subscribed: false,
        takes_part: decision.is_some_and(Decision::takes_part),
        decided_by: decision.map_or_else(
            || "its namesake on the server has another local name".to_owned(),
            |decision| decision.to_string(),
        ),
    }
}

impl Listed {
    fn exit(&self) -> Exit {
        Exit::of_all(self.troubles.iter().map(|trouble| trouble.exit))
    }

    fn json(self) -> ListedJson {
        let exit = self.exit();
        ListedJson {
            name: self.name,
            status: exit.status(),
            exit_code: exit.code(),
            mapping: self.folders,
            errors: self.troubles.iter().map(ErrorJson::of).collect(),
        }
    }

    fn print(&self, output: &Output) {
        let titles = ["on the server", "role", "in the Maildir", "takes part", "decided by"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(self.folders.iter().map(Folder::row));
        output.say(format_args!("{}:", self.name));
        for line in render::table(&rows).iter().filter(|_| rows.len() > 1) {
            output.say(format_args!("  {line}"));
        }
        output.complain(Some(&self.name), &self.troubles);
    }
}

impl Folder {
    fn row(&self) -> Vec<String> {
        let place = |name: &str, there: bool| match (there, self.takes_part) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{name} (not yet)"),
            (false, false) => "-".to_owned(),
        };
        vec![
            self.server.as_deref().map_or_else(|| "-".to_owned(), |name| place(name, self.on_server)),
            self.role.unwrap_or("-").to_owned(),
            place(&self.local, self.in_maildir),
            if self.takes_part { "yes" } else { "no" }.to_owned(),
            self.decided_by.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DirId;
    use crate::reconcile::scope::Pattern;
    use crate::reconcile::snapshot::{Abilities, LocalMaildir};

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text).unwrap()
    }

    fn server(mailboxes: &[(&str, Option<Role>)]) -> RemoteListing {
        let listed = |role| ListedMailbox { role, selectable: true, subscribed: true, object_id: None, status: None };
        RemoteListing {
            mailboxes: mailboxes.iter().map(|&(text, role)| (name(text), listed(role))).collect(),
            rejected: Vec::new(),
            abilities: Abilities::default(),
            capabilities: String::new(),
        }
    }

    fn maildirs(names: &[&str]) -> LocalListing {
        let directory = DirId { device: 1, inode: 1 };
        let maildir = |text: &&str| LocalMaildir { name: name(text), stamp: None, directory };
        let maildirs = names.iter().map(maildir).collect();
        LocalListing { maildirs, rejected: Vec::new() }
    }

    #[test]
    fn both_sides_are_shown_with_what_decides() {
        let scope = Scope {
            exclude: vec![Pattern::parse("Lists/*").unwrap()],
            local_names: vec![(Pattern::parse("role:sent").unwrap(), name("Sent"))],
            ..Scope::default()
        };
        let server = server(&[("INBOX", None), ("Gesendet", Some(Role::Sent)), ("Lists/a", None)]);
        let folders = mapping(&scope, &server, &maildirs(&["INBOX", "Sent/2025", "Gesendet", "Notes"]));
        let rows: Vec<String> = folders.iter().map(|folder| folder.row().join(" | ")).collect();
        assert_eq!(
            rows,
            [
                "Gesendet | sent | Sent (not yet) | yes | include \"*\"",
                "INBOX | - | INBOX | yes | include \"*\"",
                "Lists/a | - | - | no | exclude \"Lists/*\"",
                "- | - | Gesendet | no | its namesake on the server has another local name",
                "Notes (not yet) | - | Notes | yes | include \"*\"",
                "Gesendet/2025 (not yet) | - | Sent/2025 | yes | include \"*\"",
            ]
        );
    }

    #[test]
    fn folders_that_would_share_a_local_name_are_told() {
        let local_names = vec![(Pattern::parse("role:sent").unwrap(), name("Sent"))];
        let scope = Scope { local_names, ..Scope::default() };
        let server = server(&[("Gesendet", Some(Role::Sent)), ("Sent", None)]);
        assert_eq!(clashes(&scope, &server).len(), 1);
        let scope = Scope { exclude: vec![Pattern::parse("Sent").unwrap()], ..scope };
        assert_eq!(clashes(&scope, &server), []);
    }
}
