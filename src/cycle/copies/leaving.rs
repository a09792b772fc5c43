//! Files that are to go from the Maildir while another message of their content has no file where anybody looked.

use std::collections::BTreeSet;

use super::Known;
use super::there::Seen;
use crate::cycle::plans::Plans;
use crate::cycle::settle::unfinished;
use crate::cycle::{Run, Scene};
use crate::model::MessageRow;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Leaves such files where they are. A message moved on both sides while its old folder could not be seen has a row in
    /// both, and its file may have come back from the new one. With both in sight it is followed; removed now, it would be
    /// missing there, and be removed from the server, too.
    pub(super) fn await_homes(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        if all.plans.iter().all(|plan| plan.remove_local.is_empty()) || self.has_seen_all(scene, all)? {
            return Ok(());
        }
        let rows = all.rows();
        let leaving = all.plans.iter().flat_map(|plan| &plan.remove_local);
        let leaving: Vec<&MessageRow> = leaving.filter_map(|removal| rows.get(&removal.row).copied()).collect();
        let mut strange = BTreeSet::new();
        for row in leaving {
            for other in self.alike(row)? {
                let seen = self.is_seen(scene, all, known, &other)?;
                let Some(plan) = all.of(row.mailbox).filter(|_| seen != Seen::Now) else { continue };
                plan.remove_local.retain(|removal| removal.row != row.id);
                plan.unknown = true;
                match seen {
                    Seen::Now | Seen::WithNextPass => scene.again.extend([row.mailbox, other.mailbox]),
                    Seen::WithAnotherRun => strange.extend([(row.mailbox, other.mailbox)]),
                }
            }
        }
        for (here, from) in strange.iter().filter_map(|(here, from)| known.rows.get(here).zip(known.rows.get(from))) {
            let why = format!("its files may have come from {}, which this sync does nothing for", from.name);
            self.report.problem(unfinished(&here.name, &why));
        }
        Ok(())
    }

    /// Returns true if what a first pass over all folders did not look at is as it was listed.
    fn has_seen_all(&mut self, scene: &Scene, all: &Plans<'_>) -> Result<bool, Failure> {
        let whole = scene.first && self.options.only.is_empty() && self.blind.is_empty();
        let quiet = all.sights.iter().all(|sight| sight.scan.quiet);
        Ok(whole && quiet && !self.has_stirred(scene, all.plans)?)
    }

    /// Returns the other messages of a message's content.
    fn alike(&mut self, row: &MessageRow) -> Result<Vec<MessageRow>, Failure> {
        let Some((size, content)) = row.size.zip(row.content) else { return Ok(Vec::new()) };
        let mut others = self.account.journal.messages_of_size(size)?;
        others.retain(|other| other.id != row.id && other.content == Some(content));
        Ok(others)
    }
}
