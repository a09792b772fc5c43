//! The root of the Maildir: is it there, and is it the one that the database speaks of?

use super::Run;
use crate::model::{Marker, Side};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::{Held, Reason};
use crate::store::{Failure, Header, Intent, Journal, LocalStore, Record, RemoteStore, Root};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns true if the root can be worked with; else holds the whole account.
    ///
    /// The database's run number is one ahead of the marker's, or the same after a crash between the two. Anything
    /// else means that one of them was restored or belongs to another: then what the database knows of messages
    /// counts as lost, both sides are united, and nothing is removed.
    pub(super) fn admit_root(&mut self, header: &Header) -> Result<bool, Failure> {
        let fresh = header.run == 0;
        match self.account.local.root()? {
            Root::Marked(marker) if self.is_ours(header, &marker) => Ok(true),
            Root::Marked(_) | Root::Missing | Root::Unmarked { .. } if fresh => self.start_over(header).map(|()| true),
            Root::Marked(_) => self.start_over(header).map(|()| true),
            Root::Missing | Root::Unmarked { .. } if self.options.holds == HoldAnswer::Undo => {
                self.start_over(header).map(|()| true)
            }
            Root::Missing | Root::Unmarked { .. } => {
                self.hold_all(header)?;
                Ok(false)
            }
        }
    }

    pub(super) fn is_ours(&self, header: &Header, marker: &Marker) -> bool {
        marker.database == header.database && (marker.run == header.run || marker.run + 1 == header.run)
    }

    /// A journaled append is let go of, too: as a row it would make a file that is missing look removed. What it sent is
    /// found by its content like everything else.
    fn start_over(&mut self, header: &Header) -> Result<(), Failure> {
        let intents = self.account.journal.intents()?;
        let appends = intents.iter().filter(|(_, intent)| matches!(intent, Intent::Append { .. }));
        let mut records: Vec<Record> = appends.map(|(id, _)| Record::Settled(*id)).collect();
        records.push(Record::ForgetAll);
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

    /// The marker first, durably, then the database.
    fn number(&mut self, header: &Header) -> Result<(), Failure> {
        self.numbered = true;
        self.account.local.mark(&Marker { database: header.database.clone(), run: header.run })?;
        Ok(self.account.journal.commit(&[Record::Run(header.run + 1)])?)
    }
}
