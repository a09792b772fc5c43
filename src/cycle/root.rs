//! The root of the Maildir: is it there, and is it the one that the database speaks of?

use super::Run;
use crate::model::{Marker, Quota, Side};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::{Held, Reason};
use crate::store::{Failure, Header, Intent, Journal, LocalStore, Record, RemoteStore, Root};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns true if the root can be worked with; else holds the whole account.
    ///
    /// The database's run number is one ahead of the marker's, or the same after a crash between the two. Anything
    /// else means that one of them was restored or belongs to another: then what the database knows of messages
    /// counts as lost, both sides are united, and nothing is removed. So does it if the configuration names another
    /// server, layout or path than before.
    pub(super) fn admit_root(&mut self, header: &Header) -> Result<bool, Failure> {
        let root = self.account.local.root()?;
        let (before, now) = (header.circumstances.as_ref(), &self.policy.circumstances);
        let moved = before.is_some_and(|before| before.root != now.root);
        let may_be_new = header.run == 0 || moved || self.options.holds == HoldAnswer::Undo;
        if matches!(root, Root::Missing | Root::Unmarked { .. }) && !may_be_new {
            self.hold_all(header)?;
            return Ok(false);
        }
        let is_ours = matches!(&root, Root::Marked(marker) if is_ours(header, marker));
        let same_layout = before.is_none_or(|before| before.layout == now.layout);
        if before.is_some_and(|before| before.server != now.server) {
            self.start_over(header, Extent::Server)?;
        } else if !(is_ours && same_layout) {
            self.start_over(header, Extent::Maildir)?;
        } else if before != Some(now) {
            self.account.journal.commit(&[Record::Circumstances(now.clone())])?;
        }
        Ok(true)
    }

    /// A journaled append is let go of, too: as a row it would make a file that is missing look removed. What it sent is
    /// found by its content like everything else. Of another server's UIDs nothing is kept. What was to take a message's
    /// place is another file now, or none: the message counts like any other.
    fn start_over(&mut self, header: &Header, extent: Extent) -> Result<(), Failure> {
        let intents = self.account.journal.intents()?;
        let void = |intent: &Intent| match intent {
            Intent::Append { .. }
            | Intent::Rename { .. }
            | Intent::Relabel { .. }
            | Intent::Flags { .. }
            | Intent::Remove { .. } => true,
            Intent::Download { .. } | Intent::Copy { .. } => extent == Extent::Server,
        };
        let void = intents.iter().filter(|(_, intent)| void(intent));
        let mut records: Vec<Record> = void.map(|(id, _)| Record::Settled(*id)).collect();
        for row in self.account.journal.mailboxes()? {
            let messages = self.account.journal.messages(row.id)?;
            records.extend(messages.iter().filter(|row| row.is_outdated()).map(|row| Record::Forget(row.id)));
        }
        records.push(Record::ForgetAll);
        if extent == Extent::Server {
            records.extend([Record::OtherServer, Record::Quota(Quota::default(), None)]);
        }
        records.push(Record::Circumstances(self.policy.circumstances.clone()));
        self.account.journal.commit(&records)?;
        match self.options.dry_run {
            true => Ok(()),
            false => self.number(header),
        }
    }

    fn hold_all(&mut self, header: &Header) -> Result<(), Failure> {
        let count = self.account.journal.mailboxes()?.iter().map(|row| row.with_uid).sum();
        let reason = Reason::RootMissing;
        let earlier = header.holds.iter().find(|hold| hold.reason == reason.as_str());
        let since = earlier.map_or(self.now, |hold| hold.since);
        self.report.hold(Held { folder: None, side: Side::Local, reason, count, since });
        Ok(())
    }

    /// Numbers a run that is about to change something.
    pub(super) fn number_run(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        if self.numbered || plans.iter().all(MailboxPlan::is_empty) {
            return Ok(());
        }
        let header = self.account.journal.header()?;
        self.number(&header)
    }

    /// The token in the database first, then the marker, durably, then the number in the database. A marker that a run
    /// cut short wrote already stays as it is.
    fn number(&mut self, header: &Header) -> Result<(), Failure> {
        self.numbered = true;
        let is_written = |marker: &Marker| *marker == next_marker(header);
        if !matches!(self.account.local.root()?, Root::Marked(marker) if is_written(&marker)) {
            self.account.journal.commit(&[Record::NewToken])?;
            let header = self.account.journal.header()?;
            self.account.local.mark(&next_marker(&header))?;
        }
        Ok(self.account.journal.commit(&[Record::Run(header.run + 1)])?)
    }
}

/// What a baseline has become worthless about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The Maildir is another, or in another state, than it speaks of.
    Maildir,
    /// The server is another.
    Server,
}

/// Returns true if the marker is of the state that the database speaks of.
pub(super) fn is_ours(header: &Header, marker: &Marker) -> bool {
    let follows = marker.run.checked_add(1) == Some(header.run) && marker.token == header.token;
    (follows && marker.database == header.database) || *marker == next_marker(header)
}

/// The marker of a run that is about to change something.
fn next_marker(header: &Header) -> Marker {
    Marker { database: header.database.clone(), run: header.run, token: header.next_token.clone() }
}
