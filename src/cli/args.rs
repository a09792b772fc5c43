//! The command line (DESIGN.md section 8).

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::shelf::{Id, Since};
use crate::model::MailboxName;

/// Keeps Maildirs and IMAP accounts in step, both ways.
#[derive(Debug, Parser)]
#[command(name = "mailtide", version, about, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Globals {
    /// Configuration file [default: $MAILTIDE_CONFIG, else $XDG_CONFIG_HOME/mailtide/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Tell more on stderr; repeat for still more
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,
    /// Print nothing unless something is wrong
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring accounts in step, both ways, once
    Sync(Sync),
    /// Keep accounts in step until stopped: the daemon
    Watch(Watch),
    /// Show how accounts and their folders stand
    Status(Status),
    /// Show both sides' folders, how they map, and which pattern decides
    Folders(Folders),
    /// Check configuration, connection, log-in, Maildir and database
    Check(Check),
    /// List what sync removed from the Maildir, or bring it back
    Restore(Restore),
}

impl Command {
    /// Returns true if the result is to be printed as JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Command::Sync(args) => args.json,
            Command::Watch(args) => args.json,
            Command::Status(args) => args.json,
            Command::Folders(args) => args.json,
            Command::Check(args) => args.json,
            Command::Restore(args) => args.json,
        }
    }
}

#[derive(Debug, Default, Args)]
pub(super) struct Sync {
    /// Accounts, or single folders of them [default: every enabled account]
    #[arg(value_name = "ACCOUNT[/FOLDER]")]
    pub(super) targets: Vec<String>,
    /// Change nothing anywhere; say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Look at everything, whatever change tokens and directory times say
    #[arg(long)]
    pub(super) full: bool,
    /// Wait while another mailtide holds the account, for ever or for as long as TIME says (30s, 5min)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    pub(super) wait: Option<Option<humantime::Duration>>,
    /// Carry out what is held back on the accounts named: it was meant
    #[arg(long, requires = "targets", conflicts_with = "undo_held")]
    pub(super) accept_held: bool,
    /// Put what is held as missing back on the side that lost it, on the accounts named
    #[arg(long, requires = "targets")]
    pub(super) undo_held: bool,
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Accounts [default: every enabled account]
    #[arg(value_name = "ACCOUNT")]
    pub(super) accounts: Vec<String>,
    /// Print one JSON object per line for everything that happens
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Accounts [default: every enabled account]
    #[arg(value_name = "ACCOUNT")]
    pub(super) accounts: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Folders {
    /// Account [default: every enabled account]
    pub(super) account: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Accounts [default: every enabled account]
    #[arg(value_name = "ACCOUNT")]
    pub(super) accounts: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Leave the server alone
    #[arg(long)]
    pub(super) offline: bool,
    /// Compare both sides and the database, message by message, and change nothing
    ///
    /// Compared of every message: on the server its header block, size, date, flags and keywords; in the Maildir its whole
    /// content with what was recorded when it was transferred, its time, flags and keywords. A body is fetched only where
    /// the header leaves a doubt. Ends with 1 if anything differs or could not be compared.
    #[arg(long, conflicts_with = "offline")]
    pub(super) compare: bool,
    /// Compare, and let go of what the database has wrong, so that the next sync matches it anew; touches no mail
    #[arg(long, conflicts_with = "offline")]
    pub(super) repair: bool,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What to bring back: a message by its number, all that one run removed (run-NUMBER), or `all` that the options
    /// select [default: only list it]
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<Id>,
    /// Account [default: every enabled account]
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Only what lay in this folder or below it; where a message lay in an unknown folder, the folder to put it in
    #[arg(long, value_name = "FOLDER", value_parser = folder)]
    pub(super) folder: Option<MailboxName>,
    /// Only what was removed since then: 2d, 3h, 2026-11-22 (UTC), 2026-11-22T01:02:03Z
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<Since>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn folder(text: &str) -> Result<MailboxName, &'static str> {
    MailboxName::parse(text).ok_or("write a folder as `mailtide folders` prints it")
}
