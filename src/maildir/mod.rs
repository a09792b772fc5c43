//! The local side: Maildirs.

use std::path::PathBuf;

/// Where an account's Maildirs are and how they are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The root.
    pub root: PathBuf,
    /// The layout.
    pub layout: Layout,
    /// The recoverable trash: a directory outside the root.
    pub trash: PathBuf,
}

/// How folders become directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<root>/INBOX`, `<root>/Archive/2025`.
    Fs,
    /// The inbox is the root itself, others are `<root>/.Archive.2025`.
    MaildirPlusPlus,
}
