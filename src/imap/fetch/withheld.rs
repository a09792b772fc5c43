//! Messages that the server does not give: it refuses them, or closes the connection over them.
//!
//! Where a whole command was refused, its messages are asked for one by one. So they are over a new connection where one
//! was lost in the middle of a command: a line can break at any message, but hardly twice at the same.

use super::{Bodies, Sent};
use crate::imap::error::{Error, refusal_kind};
use crate::imap::response::Status;
use crate::model::{Uid, UidSet};
use crate::store::RemoteErrorKind;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    /// One of these was being sent when the connection was lost; of which part they are.
    suspects: Option<(usize, UidSet)>,
    /// What was refused when it was asked for alone.
    refused: Vec<(usize, Uid, Status)>,
}

impl Withheld {
    /// After the connection was lost, and not for want of a network: leaves out the message that was being sent, if it was
    /// so before as well. Returns false if the others are of no use without it.
    pub(super) fn hang_up(&mut self, bodies: &mut Bodies<'_>, said: Option<&str>) -> bool {
        let Some(Sent { of, chunk: Some(chunk), .. }) = bodies.commands.iter().find(|sent| sent.answer.is_none())
        else {
            return true;
        };
        let (of, chunk) = (*of, chunk.clone());
        let Some(part) = bodies.parts.get_mut(of) else { return true };
        let left = chunk.difference(&part.delivered);
        match (self.suspects.take(), only(&left)) {
            (Some((before, suspects)), Some(uid)) if before == of && suspects.contains(uid) => {
                part.left_out.insert(uid);
                let said = said.map(|text| format!(", and says: {text}")).unwrap_or_default();
                bodies.sink.inner.leave_out(of, uid, format!("it closes the connection over it{said}"))
            }
            _ => {
                self.suspects = Some((of, left));
                true
            }
        }
    }

    /// Returns what is to be asked for next, of each part: what was refused, or was being sent when the connection was lost,
    /// message by message; what was not answered as before.
    pub(super) fn divide(&mut self, bodies: &Bodies<'_>) -> Vec<Vec<UidSet>> {
        let mut chunks: Vec<Vec<UidSet>> = bodies.parts.iter().map(|_| Vec::new()).collect();
        let mut heard = true;
        for Sent { of, chunk, answer } in &bodies.commands {
            let was_heard = std::mem::replace(&mut heard, answer.is_some());
            let (Some(part), Some(chunks), Some(chunk)) = (bodies.parts.get(*of), chunks.get_mut(*of), chunk) else {
                continue;
            };
            let left = chunk.difference(&part.delivered).difference(&part.left_out);
            if part.failed.is_some() || left.is_empty() {
                continue;
            }
            match answer {
                Some(answer) if !is_refusal(answer) => {}
                Some(answer) => match only(chunk) {
                    Some(uid) => self.refused.push((*of, uid, answer.clone())),
                    None => chunks.extend(left.chunks(1, 1)),
                },
                None if was_heard => chunks.extend(left.chunks(1, 1)),
                None => chunks.push(left),
            }
        }
        chunks
    }

    /// Says what was refused. If nothing came it need not be due to the messages.
    pub(super) fn tell(self, bodies: &mut Bodies<'_>) {
        let gives = bodies.parts.iter().any(|part| !part.delivered.is_empty());
        for (of, uid, answer) in self.refused {
            let Some(part) = bodies.parts.get_mut(of).filter(|part| part.failed.is_none()) else { continue };
            let is_damage = refusal_kind(&answer) == RemoteErrorKind::Refused || answer.code_name() == "SERVERBUG";
            if !(gives && is_damage && bodies.sink.inner.leave_out(of, uid, format!("it says: {answer}"))) {
                part.failed = Some(Error::Withheld(uid, answer));
            }
        }
    }
}

/// Returns the one message of a set.
fn only(uids: &UidSet) -> Option<Uid> {
    uids.iter().next().filter(|_| uids.len() == 1)
}

/// A refusal because messages are gone by now is none (RFC 5530).
fn is_refusal(answer: &Status) -> bool {
    !answer.is_ok() && answer.code_name() != "EXPUNGEISSUED"
}
