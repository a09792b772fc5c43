//! mailtide keeps local Maildirs and IMAP accounts in step, in both directions.
//!
//! This page is the map of the house. Three promises outrank every feature: nothing is ever lost, nothing is ever
//! doubled, and what the user is told is true.
//!
//! # The flow
//!
//! ```text
//!  observe local ─┐
//!                 ├─► reconcile (pure) ─► plan ─► apply ─► commit baseline
//!  observe remote ┘         ▲                        │ journal
//!        baseline (SQLite) ─┘◄───────────────────────┘
//! ```
//!
//! [`cycle::run`] is that picture as code. One run spans the account. It makes up to four passes: what a pass changed
//! on the server is looked at again by the next, and what equals the baseline then is our own echo. While the server is
//! waited for, maildirs are read ([`cycle::read_ahead`]): which side is seen first decides nothing. Two commands go beside
//! it: [`cycle::compare`] looks as a run does and decides nothing, [`cycle::restore`] brings mail back from the
//! recoverable trash for the next run to find.
//!
//! # Where things are
//!
//! The modules are listed in the direction of the flow, and each may use those below it only; a test holds the arrows.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | commands, output, exit codes; the one place that finds words for errors |
//! | [`config`] | the configuration file, checked before anything is touched |
//! | [`daemon`] | when accounts are synced that are watched; listens to servers and Maildirs |
//! | [`cycle`] | one run over an account |
//! | [`maildir`] | the local side: the only module that knows file names |
//! | [`imap`] | the remote side: the only module that knows the wire |
//! | [`apply`] | carries plans out, one journaled step at a time; explains leftover intents |
//! | [`state`] | SQLite: the only module that speaks SQL |
//! | [`store`] | the interfaces between the engine and the three above |
//! | [`reconcile`] | decisions, pure: snapshots and baseline in, plan out |
//! | [`model`] | the words of the trade as types, pure |
//!
//! # What keeps the promises
//!
//! - **The baseline never claims more than is durable.** A row says that both sides have a message, and that its flags
//!   are those of the server as of the mailbox's watermark. It is written after the file and its directory entry are on
//!   disk, or after the server proved that it has the message.
//! - **Intents.** Where a crash between deed and record could not be told from a user's doing, an intent is written
//!   first. [`apply::recover`] reads leftover intents before anything is observed.
//! - **"Could not look" is never "nothing there".** A failed look is an error, never an empty snapshot: success is only
//!   our own tagged OK, a delta is checked against the mailbox's count, a scan of a directory that was changed meanwhile
//!   proves no absence.
//! - **Watermarks and stamps** are stored only when everything seen before them was acted on. What was held, failed or
//!   could not be seen pins them, so that it is seen again.
//! - **Moves.** What left one folder and arrived in another is paired across all mailboxes before anything counts as
//!   removed or new ([`reconcile::moves`]); a message's row goes with it, so that changes on either side are still measured
//!   from what was agreed on. It stays where it was until both sides are in the new place: what a crash leaves looks like
//!   a move that users made on both sides. Where the server names contents, its names tell, and no header is fetched; two
//!   messages of one name and different size are two, and a file that is not what was recorded is none of them.
//! - **Folders** are told by what they are, not by their names ([`reconcile::renames`]). Nothing else says what of a rename
//!   is still to be done, so it can be cut short anywhere.
//! - **Removals** come after everything that adds, in all folders; what leaves the Maildir goes to a recoverable trash
//!   first; a folder leaves last, once it was seen empty. A message missing from one folder may be in another that was
//!   looked at too early: then its removal waits.
//! - **Holds.** What looks like an accident is taken out of the plan, named, and recorded with its time; it pins its
//!   mailbox, so that every run meets it again until the user answers. Messages are held by [`reconcile::guard`] and for
//!   want of a Trash, folders that vanished by [`reconcile::mailboxes::accidents`], after a trial in which what was moved
//!   out of them is followed, mailboxes hardly known again by
//!   [`reconcile::renumber::is_suspicious`], first uploads and a missing root by [`cycle`].
//! - **Identity** is a file's unique name on one side and UIDVALIDITY + UID on the other, paired by the baseline. Where
//!   there is no baseline, content decides ([`reconcile::adopt`]); where its UIDs mean nothing any more, content finds
//!   the rows again ([`reconcile::renumber`]); no marker is ever written into a message.
//! - **A baseline of other circumstances is none.** The root's marker and the recorded server, path and layout say
//!   whether the database speaks of what is there; if not, or if it is damaged, both sides are united and nothing is
//!   removed. Tombstones survive that: what must never come back still does not.
//! - **What can't be carried out waits.** It is recorded, told once, tried again daily and listed in between, so that
//!   the steady state of every setting plans nothing ([`reconcile::memory`]).
//! - **A server is not believed what it can't mean.** Lines, literals, nesting, counts and waiting have limits; what a look
//!   brings must add up, or nothing is concluded from it. `disable` takes away the extensions that a server has wrong.
//! - **A new version goes up first.** What it replaces leaves the server once the new one is proven there
//!   ([`reconcile::replace`]).
//!
//! # What proves it
//!
//! Decisions have properties, tried on random baselines and edits ([`reconcile`]). The engine lives random histories on
//! in-memory sides that can crash, fail or change at every call; a seed replays them. The binary is run on real servers
//! and on lying ones, killed and cut off at any moment. `tests/README.md` tells how, and how to replay a seed;
//! `SECURITY.md` which attacks are tried.

pub mod cli;
pub mod config;
pub mod cycle;
pub mod daemon;
// The braces: these never see each other.
pub mod apply;
pub mod imap;
pub mod maildir;
pub mod state;
// The interfaces, the decisions, the words.
pub mod model;
pub mod reconcile;
pub mod store;
