//! Which folders take part (`folders.*` of the configuration), and under which local names.

use crate::model::{MailboxName, Role};

/// A pattern of folder names: `*` any text, `/` too; `?` one character; every other character is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `role:sent`
    Role(Role),
    /// A glob over the whole name.
    Glob(String),
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
    /// Server folder, by name or role, and the local name for it and its children.
    pub local_names: Vec<(Pattern, MailboxName)>,
}
