//! MOVEs from one or many mailboxes in one burst, each behind the SELECT of its mailbox.
//!
//! But for this and `errands`, nothing that changes messages is sent before the SELECT is answered. Here the mailboxes were
//! listed a moment ago, and what a MOVE does can be undone: the SELECT in front of it tells whether the UIDs meant what was asked
//! for, COPYUID where everything went, so that what was not meant goes back. Where a SELECT fails no mailbox is selected,
//! and the MOVE behind it is refused (RFC 9051 section 6.3.2).

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::modify::RANGES;
use super::response::{Status, Untagged};
use super::select::Selection;
use super::transfer::Proofs;
use crate::model::{MailboxName, UidSet};
use crate::store::{Messages, Transfer};

/// What is moved from one mailbox to another.
pub(super) type Move = (Messages, MailboxName);

/// What a command of the burst is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// The SELECT in front of this move and those after it from the same mailbox.
    Select(usize),
    /// A part of this move.
    Move(usize),
}

/// What came of one move.
#[derive(Default)]
struct Outcome {
    /// Which of the moves has the SELECT in front of it.
    selected_by: usize,
    selection: Selection,
    proofs: Proofs,
    refused: Option<Status>,
    failed: Option<Error>,
}

struct Burst {
    uses: Vec<Use>,
    outcomes: Vec<Outcome>,
}

impl Handler for Burst {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        match self.uses.get(at) {
            Some(Use::Select(one)) => {
                if let Some(one) = self.outcomes.get_mut(*one) {
                    one.selection.take(&data);
                }
            }
            Some(Use::Move(one)) => {
                if let (Some(one), Untagged::Status(status)) = (self.outcomes.get_mut(*one), data) {
                    one.proofs.note(&status);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        match self.uses.get(at) {
            Some(Use::Select(one)) => {
                if let Some(one) = self.outcomes.get_mut(*one) {
                    one.selection.answer = Some(status.clone());
                }
            }
            Some(Use::Move(one)) => {
                if let Some(one) = self.outcomes.get_mut(*one) {
                    one.proofs.note(status);
                    one.proofs.end();
                    one.refused = one.refused.take().or_else(|| (!status.is_ok()).then(|| status.clone()));
                }
            }
            None => {}
        }
    }
}

impl ImapStore {
    /// Moves messages between mailboxes. Without MOVE and COPYUID nothing could be undone.
    pub(super) fn moves_in_one_burst(&self) -> bool {
        self.capabilities.has("MOVE") && self.capabilities.has("UIDPLUS")
    }

    /// Moves messages from many mailboxes, in one burst.
    pub(super) async fn move_all_messages(&mut self, moves: &[Move]) -> Result<Vec<Result<Transfer, Error>>, Error> {
        self.introduce().await?;
        let mut burst = Burst { uses: Vec::new(), outcomes: moves.iter().map(|_| Outcome::default()).collect() };
        let commands = self.move_commands(moves, &mut burst);
        self.about_to_select();
        if !commands.is_empty() {
            self.run_then_look(commands, &mut burst).await?;
        }
        let Burst { uses, mut outcomes } = burst;
        let last = uses.iter().rev().find_map(|one| match one {
            Use::Select(one) => Some(*one),
            Use::Move(_) => None,
        });
        if let Some((last, (messages, _))) = last.and_then(|last| Some((outcomes.get(last)?, moves.get(last)?))) {
            self.selected(&messages.mailbox, &last.selection);
        }
        let checked: Vec<Option<Error>> = outcomes
            .iter()
            .zip(moves)
            .map(|(one, (messages, _))| outcomes.get(one.selected_by)?.selection.check(messages.validity).err())
            .collect();
        for (outcome, wrong) in outcomes.iter_mut().zip(checked) {
            outcome.failed = outcome.failed.take().or(wrong);
        }
        let mut results = Vec::with_capacity(moves.len());
        for (outcome, (messages, target)) in outcomes.into_iter().zip(moves) {
            results.push(self.settle_move(outcome, messages, target).await?);
        }
        Ok(results)
    }

    /// Returns the commands. A name that can't be sent fails alone.
    fn move_commands(&self, moves: &[Move], burst: &mut Burst) -> Vec<Command> {
        let (mut commands, mut last): (Vec<Command>, Option<(usize, &MailboxName)>) = (Vec::new(), None);
        for (at, ((messages, target), outcome)) in moves.iter().zip(&mut burst.outcomes).enumerate() {
            let named = self.names.wire(target);
            let select = self.select_command("SELECT", &messages.mailbox, None);
            let (raw, select) = match (named, select) {
                (Ok(raw), Ok(select)) => (raw, select),
                (Err(error), _) | (_, Err(error)) => {
                    outcome.failed = Some(error);
                    continue;
                }
            };
            let by = last.filter(|(_, mailbox)| **mailbox == messages.mailbox).map_or(at, |(by, _)| by);
            if by == at {
                commands.push(select);
                burst.uses.push(Use::Select(at));
            }
            outcome.selected_by = by;
            last = Some((by, &messages.mailbox));
            for part in messages.uids.chunks(u32::MAX, RANGES) {
                commands.push(Command::new(format!("UID MOVE {part}")).string(&raw, &self.capabilities));
                burst.uses.push(Use::Move(at));
            }
        }
        commands
    }

    async fn settle_move(
        &mut self,
        outcome: Outcome,
        messages: &Messages,
        target: &MailboxName,
    ) -> Result<Result<Transfer, Error>, Error> {
        let Outcome { proofs, refused, failed, .. } = outcome;
        let transfer = proofs.transfer(&messages.uids);
        let Some(wrong) = failed else {
            return Ok(refused.map_or(Ok(transfer), |refused| Err(Error::Refused(refused))));
        };
        if let (Error::UidValidity { .. }, Transfer::Proven(validity, pairs)) = (&wrong, &transfer) {
            let uids: UidSet = pairs.iter().map(|(_, new)| *new).collect();
            tracing::warn!(mailbox = %messages.mailbox, "it was replaced a moment ago; what was moved from it goes back");
            self.transfer("UID MOVE", target, *validity, &uids, &messages.mailbox).await?;
        }
        Ok(Err(wrong))
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, of_a, of_b, scripted, uid};
    use crate::model::UidValidity;
    use crate::store::{RemoteErrorKind, RemoteStore, Transfer};

    const A: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";

    fn proven(pairs: &[(u32, u32)]) -> Transfer {
        Transfer::Proven(UidValidity(8), pairs.iter().map(|&(from, to)| (uid(from), uid(to))).collect())
    }

    #[test]
    fn many_mailboxes_take_one_round_trip() {
        block_on(async {
            let b = "* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", A),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 11] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("UID MOVE 2 \"D\"", "$ NO [TRYCREATE] x\r\n"),
                ("SELECT \"B\"", b),
                ("UID MOVE 4:5 \"C\"", "* OK [COPYUID 8 4:5 12:13] x\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE", "UIDPLUS"], script);
            let moves = [(of_a(&[1]), name("C")), (of_a(&[2]), name("D")), (of_b(&[4, 5]), name("C"))];
            let mut moved = store.move_all(&moves).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap(), proven(&[(4, 12), (5, 13)]));
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::NoSuchMailbox);
            assert_eq!(moved.pop().unwrap().unwrap(), proven(&[(1, 11)]));
            assert_eq!(store.traffic().round_trips, 1);
            assert!(store.has_selected(&name("B"), UidValidity(5)));
        });
    }

    #[test]
    fn what_was_moved_from_another_mailbox_of_that_name_goes_back() {
        block_on(async {
            let other = "* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\n$ OK x\r\n";
            let goal = "* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", other),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 11] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"C\"", goal),
                ("UID MOVE 11 \"A\"", "* OK [COPYUID 99 11 10] x\r\n* 9 EXPUNGE\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE", "UIDPLUS"], script);
            let mut moved = store.move_all(&[(of_a(&[1]), name("C"))]).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::UidValidityChanged);
        });
    }

    #[test]
    fn without_copyuid_each_select_is_answered_first() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\n$ OK x\r\n"),
                ("SELECT \"B\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n"),
                ("UID MOVE 4 \"C\"", "$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE"], script);
            let mut moved = store.move_all(&[(of_a(&[1]), name("C")), (of_b(&[4]), name("C"))]).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap(), Transfer::Unproven);
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::UidValidityChanged);
        });
    }
}
