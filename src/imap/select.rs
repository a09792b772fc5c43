//! SELECT and EXAMINE, and what they say about a mailbox.

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::response::{Code, Status, Untagged};
use crate::model::{MailboxName, ModSeq, PermanentFlags, UidValidity, Watermark};

/// The mailbox that is selected for changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// Which.
    pub(super) mailbox: MailboxName,
    /// Its UIDVALIDITY, which can't change while it is selected.
    pub(super) validity: UidValidity,
}

/// What the answers to a SELECT say.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// How many messages there are; kept up to date with what is heard later.
    pub(super) exists: Option<u32>,
    /// UIDVALIDITY
    pub(super) validity: Option<UidValidity>,
    /// UIDNEXT
    pub(super) uid_next: Option<u32>,
    /// HIGHESTMODSEQ
    pub(super) mod_seq: Option<ModSeq>,
    /// PERMANENTFLAGS
    pub(super) permanent: Option<PermanentFlags>,
    /// The tagged answer.
    pub(super) answer: Option<Status>,
}

impl Selection {
    /// Takes what is data about the mailbox. `[CLOSED]` means that everything before was about the last one.
    pub(super) fn take(&mut self, data: &Untagged) {
        match data {
            Untagged::Exists(count) => self.exists = Some(*count),
            Untagged::Status(status) if status.code_name() == "CLOSED" => *self = Self::default(),
            Untagged::Status(status) => match &status.code {
                Some(Code::UidValidity(validity)) => self.validity = Some(*validity),
                Some(Code::UidNext(next)) => self.uid_next = Some(*next),
                Some(Code::HighestModSeq(value)) => self.mod_seq = *value,
                Some(Code::PermanentFlags(permanent)) => self.permanent = Some(permanent.clone()),
                _ => {}
            },
            _ => {}
        }
    }

    /// Returns UIDVALIDITY and EXISTS if the SELECT succeeded and said them.
    pub(super) fn verified(&self) -> Result<(UidValidity, u32), Error> {
        match (&self.answer, self.validity, self.exists) {
            (Some(answer), Some(validity), Some(exists)) if answer.is_ok() => Ok((validity, exists)),
            (Some(answer), None, _) if answer.is_ok() => Err(Error::Unusable(
                "the server gave no UIDVALIDITY, without which no message can be told from another".to_owned(),
            )),
            (Some(answer), ..) if answer.is_ok() => {
                Err(Error::Unusable("the server did not say how many messages there are".to_owned()))
            }
            (Some(answer), ..) => Err(Error::Refused(answer.clone())),
            (None, ..) => Err(Error::Unusable("the server did not select it".to_owned())),
        }
    }

    /// Checks that UIDs of this UIDVALIDITY mean the messages of this mailbox.
    pub(super) fn check(&self, asked: UidValidity) -> Result<(), Error> {
        match self.verified()?.0 {
            now if now == asked => Ok(()),
            now => Err(Error::UidValidity { asked, now }),
        }
    }

    /// Returns true if nothing can be changed in the mailbox.
    pub(super) fn read_only(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.code_name() == "READ-ONLY")
    }
}

/// Keeps what a SELECT brings apart from what the commands before it do.
struct Ahead<'a> {
    inner: &'a mut dyn Handler,
    /// The SELECT.
    at: usize,
    selection: Selection,
}

impl Handler for Ahead<'_> {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        if at < self.at {
            return self.inner.untagged(at, data);
        }
        self.selection.take(&data);
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        if at < self.at {
            self.inner.completed(at, status);
        }
    }
}

impl ImapStore {
    /// Returns the command that selects a mailbox; `since` asks for what changed since then (RFC 7162 section 3.2.5).
    pub(super) fn select_command(
        &self,
        verb: &str,
        mailbox: &MailboxName,
        since: Option<&Watermark>,
    ) -> Result<Command, Error> {
        let command = Command::new(verb).string(&self.names.wire(mailbox)?, &self.capabilities);
        Ok(match since.and_then(|since| Some((since.uid_validity, since.mod_seq?))) {
            Some((validity, mod_seq)) if self.qresync => command.text(&format!(" (QRESYNC ({validity} {mod_seq}))")),
            _ if self.capabilities.mod_seq() && !self.qresync => command.text(" (CONDSTORE)"),
            _ => command,
        })
    }

    /// Returns true if the mailbox is selected, so that its UIDs can be used at once.
    pub(super) fn has_selected(&self, mailbox: &MailboxName, validity: UidValidity) -> bool {
        self.selected.as_ref().is_some_and(|now| now.mailbox == *mailbox && now.validity == validity)
    }

    /// Selects a mailbox if it isn't selected, and makes sure that the UIDs mean its messages. Nothing that changes
    /// messages may be sent before this.
    pub(super) async fn select(&mut self, mailbox: &MailboxName, validity: UidValidity) -> Result<(), Error> {
        self.introduce().await?;
        if let Some(at) = self.upcoming.iter().position(|next| next == mailbox) {
            self.upcoming.drain(..=at);
        }
        if self.has_selected(mailbox, validity) {
            return Ok(());
        }
        let command = self.select_command("SELECT", mailbox, None)?;
        self.about_to_select();
        let mut selection = Selection::default();
        let answers = self.connection.run(vec![command], &mut |_, data: Untagged| selection.take(&data)).await?;
        selection.answer = answers.into_iter().next();
        self.selected(mailbox, &selection);
        selection.check(validity)
    }

    /// Runs commands that are the last to be sent to the selected mailbox, with the SELECT of the next one behind them: one
    /// round trip a mailbox instead of two. What it says is checked by [`ImapStore::select`] as ever.
    pub(super) async fn run_last(
        &mut self,
        mut commands: Vec<Command>,
        handler: &mut dyn Handler,
    ) -> Result<Vec<Status>, Error> {
        let Some((next, command)) = self.next_select() else { return self.run_then_look(commands, handler).await };
        let mut ahead = Ahead { inner: handler, at: commands.len(), selection: Selection::default() };
        commands.push(command);
        self.about_to_select();
        let mut answers = self.connection.run(commands, &mut ahead).await?;
        let mut selection = ahead.selection;
        selection.answer = answers.pop();
        self.selected(&next, &selection);
        Ok(answers)
    }

    fn next_select(&mut self) -> Option<(MailboxName, Command)> {
        let next = self.upcoming.pop_front()?;
        let command = self.select_command("SELECT", &next, None).ok()?;
        Some((next, command))
    }

    /// Forgets which mailbox is selected, before a command that selects another.
    pub(super) fn about_to_select(&mut self) {
        (self.selected, self.within) = (None, true);
    }

    /// Leaves the selected mailbox, if one is: servers may refuse to delete or rename it.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        self.selected = None;
        if std::mem::take(&mut self.within) {
            let leave = if self.capabilities.has("UNSELECT") { "UNSELECT" } else { "EXAMINE INBOX" };
            self.connection.run(vec![Command::new(leave)], &mut |_, _| {}).await?;
        }
        Ok(())
    }

    /// Remembers which mailbox is selected, unless what went behind has selected another.
    pub(super) fn selected(&mut self, mailbox: &MailboxName, selection: &Selection) {
        let verified = selection.verified().ok().filter(|_| !self.connection.has_early());
        self.selected = verified.map(|(validity, _)| Selected { mailbox: mailbox.clone(), validity });
    }
}
