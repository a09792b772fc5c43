//! `[accounts.NAME.folders]`: patterns and local names.

use std::collections::BTreeMap;

use toml::Spanned;

use super::error::Flaw;
use super::raw;
use crate::model::MailboxName;
use crate::reconcile::scope::{Pattern, Scope};

/// Checks the folder rules of an account.
pub(super) fn check(raw: raw::Folders) -> Result<Scope, Flaw> {
    let usual = Scope::default();
    Ok(Scope {
        include: raw.include.map_or(Ok(usual.include), |texts| texts.iter().map(pattern).collect())?,
        exclude: raw.exclude.map_or(Ok(usual.exclude), |texts| texts.iter().map(pattern).collect())?,
        subscribed_only: raw.subscribed_only.unwrap_or(usual.subscribed_only),
        local_names: local_names(&raw.local_names)?,
    })
}

/// Reads a folder pattern.
pub(super) fn pattern(text: &Spanned<String>) -> Result<Pattern, Flaw> {
    let hint = "patterns are folder names as `mailtide folders` prints them, with * and ?, or role:NAME";
    Pattern::parse(text.get_ref()).map_err(|error| Flaw::new(text.span(), error.to_string(), hint))
}

fn local_names(raw: &BTreeMap<Spanned<String>, Spanned<String>>) -> Result<Vec<(Pattern, MailboxName)>, Flaw> {
    let mut taken: BTreeMap<MailboxName, &str> = BTreeMap::new();
    let mut rules = Vec::new();
    for (server, local) in raw {
        let rule = (folder(server)?, name(local)?);
        if let Some(other) = taken.insert(rule.1.clone(), server.get_ref()) {
            let message = format!("{other:?} and {:?} would both be called {:?}", server.get_ref(), local.get_ref());
            return Err(Flaw::new(local.span(), message, "give them different local names"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn folder(text: &Spanned<String>) -> Result<Pattern, Flaw> {
    match pattern(text)? {
        Pattern::Glob(_) => name(text).map(|name| Pattern::Glob(name.as_str().to_owned())),
        role @ Pattern::Role(_) => Ok(role),
    }
}

fn name(text: &Spanned<String>) -> Result<MailboxName, Flaw> {
    let fits = |name: &MailboxName| !name.as_str().contains(char::is_control);
    MailboxName::parse(text.get_ref()).filter(fits).ok_or_else(|| {
        let message = format!("{:?} can't be the name of a folder", text.get_ref());
        Flaw::new(text.span(), message, "write its parts with single / between them")
    })
}
