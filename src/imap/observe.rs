//! Observes mailboxes: SELECT and the fetches behind it, for many mailboxes in one burst.
//!
//! What comes back is taken only if it is proven complete: the UIDs then known must be as many as EXISTS says. A delta
//! that is not becomes a full look, and a full look that is not is repeated.

mod look;

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::response::{Status, Untagged};
use super::select::Selection;
use crate::reconcile::snapshot::RemoteRequest;
use crate::store::Observed;
use look::{Look, Next, Way};

/// How often a mailbox is looked at in full before it is given up: others may be changing it all the time.
const FULL_LOOKS: u8 = 3;

/// The looks of one burst. Data belongs to the look whose command is the oldest without an answer.
struct Looks<'a> {
    looks: Vec<Look<'a>>,
    /// For each command its look, and whether it is the SELECT.
    commands: Vec<(usize, bool)>,
}

impl Handler for Looks<'_> {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        if let Some(&(owner, selecting)) = self.commands.get(at)
            && let Some(look) = self.looks.get_mut(owner)
        {
            look.take(data, selecting);
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        if let Some(&(owner, selecting)) = self.commands.get(at)
            && let Some(look) = self.looks.get_mut(owner)
        {
            look.completed(status, selecting);
        }
    }
}

impl ImapStore {
    /// Observes mailboxes, all in one burst; those that need a second look in another.
    pub(super) async fn observe_mailboxes(&mut self, requests: &[RemoteRequest]) -> Result<Vec<Observed>, Error> {
        self.introduce().await?;
        let mut observed: Vec<Option<Observed>> = requests.iter().map(|_| None).collect();
        let mut looks: Vec<Look<'_>> =
            requests.iter().enumerate().map(|(at, request)| Look::new(at, request, self.way(request))).collect();
        while !looks.is_empty() {
            let mut again = Vec::new();
            for look in self.look(looks, &mut observed).await? {
                let (at, mailbox) = (look.at, look.request.mailbox.clone());
                let outcome = match look.conclude(self.capabilities.mod_seq()) {
                    Next::Done(snapshot) => Ok(snapshot),
                    Next::Again(look) if look.fulls <= FULL_LOOKS => {
                        again.push(*look);
                        continue;
                    }
                    Next::Again(_) => Err(Error::Unusable(format!(
                        "what the server listed did not add up, {FULL_LOOKS} times; nothing was concluded from it"
                    ))),
                    Next::Failed(error) => Err(error),
                };
                note(&mut observed, at, Observed { outcome: outcome.map_err(|e| doing(e, &mailbox)), mailbox });
            }
            looks = again;
        }
        Ok(observed.into_iter().flatten().collect())
    }

    /// Returns the cheapest way to learn what changed since the watermark.
    fn way(&self, request: &RemoteRequest) -> Way {
        match request.since {
            Some(since) if since.uid_next > 0 && since.mod_seq.is_some() && self.qresync => Way::QResync(since),
            Some(since) if since.uid_next > 0 && since.mod_seq.is_some() && self.capabilities.mod_seq() => {
                Way::CondStore(since)
            }
            Some(since) if since.uid_next > 0 => Way::Flags(since),
            _ => Way::Full,
        }
    }

    /// Sends one burst and returns the looks with what was seen. A mailbox whose name can't be sent fails at once.
    async fn look<'a>(
        &mut self,
        looks: Vec<Look<'a>>,
        observed: &mut [Option<Observed>],
    ) -> Result<Vec<Look<'a>>, Error> {
        let mut burst = Looks { looks: Vec::with_capacity(looks.len()), commands: Vec::new() };
        let mut commands = Vec::new();
        for look in looks {
            let mailbox = &look.request.mailbox;
            match self.select_command(look.verb(), mailbox, look.since()) {
                Err(error) => {
                    let outcome = Err(doing(error, mailbox));
                    note(observed, look.at, Observed { mailbox: mailbox.clone(), outcome });
                }
                Ok(select) => {
                    let owner = burst.looks.len();
                    let behind = look.fetches(self.capabilities.has("ESEARCH"));
                    burst.commands.push((owner, true));
                    burst.commands.extend(behind.iter().map(|_| (owner, false)));
                    commands.push(select);
                    commands.extend(behind.into_iter().map(Command::new));
                    burst.looks.push(look);
                }
            }
        }
        self.selected = None;
        if !commands.is_empty() {
            self.connection.run(commands, &mut burst).await?;
        }
        if let Some(last) = burst.looks.last().filter(|look| look.verb() == "SELECT") {
            self.selected(&last.request.mailbox, &last.selection);
        }
        Ok(burst.looks)
    }
}

fn doing(error: Error, mailbox: &crate::model::MailboxName) -> crate::store::RemoteError {
    error.doing(format!("looking at {mailbox}"))
}

fn note(observed: &mut [Option<Observed>], at: usize, what: Observed) {
    if let Some(slot) = observed.get_mut(at) {
        *slot = Some(what);
    }
}
