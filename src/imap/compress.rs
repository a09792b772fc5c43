//! COMPRESS=DEFLATE (RFC 4978): whether, and when.
//!
//! Where the link is what is waited for, compressed mail is there sooner. Everywhere else compressing keeps two machines
//! busy for nothing, and asking for it costs a round trip. So a connection begins uncompressed, and a large fetch is
//! divided: if its first part comes in slowly, the rest is compressed, and comes over several connections.

use super::ImapStore;
use super::command::{Command, Connection};
use super::error::Error;
use super::gauge::Gauge;
use super::wire::Wire;
use crate::model::UidSet;
use crate::reconcile::snapshot::RemoteMessages;
use crate::store::Messages;

/// So many bytes must still be to come: at the rate of a link that is not quite slow they take two seconds. To compress
/// them costs two round trips.
const MANY: u64 = 4 << 20;

/// When to compress a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compress {
    /// When a large fetch shows that the link is slow. Never to this machine.
    #[default]
    Auto,
    /// From the log-in on.
    On,
    /// Never.
    Off,
}

/// What is known for deciding it.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// Something can be done about a slow link.
    measured: bool,
    /// One of it is to compress.
    may_compress: bool,
    /// Everything is compressed.
    compressed: bool,
    /// How many messages the server told the size of, and what they are together.
    told: (u64, u64),
}

impl Outlook {
    /// Takes the sizes that a look at a mailbox brought.
    pub(super) fn note(&mut self, messages: &RemoteMessages) {
        let (RemoteMessages::Full(messages) | RemoteMessages::Delta { changed: messages, .. }) = messages;
        for size in messages.values().filter_map(|message| message.size) {
            self.told = (self.told.0 + 1, self.told.1.saturating_add(size));
        }
    }

    /// Takes over what is so of another connection; what was told of messages stays.
    pub(super) fn go_on_with(&mut self, new: &Outlook) {
        (self.measured, self.may_compress, self.compressed) = (new.measured, new.may_compress, new.compressed);
    }

    /// Returns what a message has on the average, if any was told.
    fn average(&self) -> Option<u64> {
        self.told.1.checked_div(self.told.0).map(|average| average.max(1))
    }

    /// Returns how many of so many messages to fetch first, to see how fast they come.
    fn first(&self, count: u64) -> Option<u32> {
        let average = self.average().filter(|_| self.measured)?;
        let enough = count.saturating_mul(average) >= Gauge::TAKES + MANY;
        enough.then(|| u32::try_from(Gauge::TAKES / average + 1).unwrap_or(u32::MAX))
    }

    /// Returns how many messages are about so many bytes.
    pub(super) fn messages_in(&self, bytes: u64) -> u32 {
        u32::try_from(bytes / self.average().unwrap_or(1)).unwrap_or(u32::MAX).max(1)
    }

    /// Returns true if everything is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Returns true if so many messages are many bytes.
    fn is_much(&self, count: u64) -> bool {
        self.average().is_some_and(|average| count.saturating_mul(average) >= MANY)
    }
}

impl Connection {
    /// Asks for compression. Returns true if everything from here on is compressed.
    async fn compress(&mut self) -> Result<bool, Error> {
        let status = self.run_alone(Command::new("COMPRESS DEFLATE"), Wire::deflate).await?;
        match status.is_ok() {
            true => tracing::info!("the connection is compressed from here on"),
            false => tracing::debug!("the server offers COMPRESS and refuses it: {status}"),
        }
        Ok(status.is_ok())
    }
}

impl ImapStore {
    /// Compresses the connection fresh from log-in, if that is wanted and offered, or leaves it to be decided later.
    pub(super) async fn begin_compression(&mut self, wanted: Compress, to_this_machine: bool) -> Result<(), Error> {
        let offered = self.capabilities.has("COMPRESS=DEFLATE");
        self.outlook.may_compress = wanted == Compress::Auto && offered && !to_this_machine;
        self.outlook.measured = !to_this_machine && (self.outlook.may_compress || self.others.is_some());
        if wanted == Compress::On && offered {
            self.outlook.compressed = self.connection.compress().await?;
        }
        Ok(())
    }

    /// Divides what is to be fetched into what comes first, and is measured, and the rest. All comes first where there is
    /// nothing to decide.
    pub(super) fn divide(&mut self, asked: &[Messages]) -> (Vec<Messages>, Vec<Messages>) {
        let with = |messages: &Messages, uids: UidSet| Messages { uids, ..messages.clone() };
        let Some(mut room) = self.outlook.first(asked.iter().map(|messages| messages.uids.len()).sum()) else {
            return (asked.to_vec(), Vec::new());
        };
        self.connection.wire_mut().start_gauge();
        let first = |messages: &Messages| {
            let part = match room {
                0 => UidSet::new(),
                _ => messages.uids.chunks(room, usize::MAX).into_iter().next().unwrap_or_default(),
            };
            room = room.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
            (with(messages, messages.uids.difference(&part)), with(messages, part))
        };
        let (rest, first) = asked.iter().map(first).unzip();
        (first, rest)
    }

    /// Compresses the connection, if it may, where its gauge says that it is slow and the rest is many bytes. Returns true if
    /// that is so.
    pub(super) async fn compress_if_it_pays(&mut self, rest: &[Messages]) -> Result<bool, Error> {
        let slow = self.connection.wire().is_slow();
        tracing::debug!(slow, "the beginning of a large fetch has arrived");
        let pays = slow && self.outlook.is_much(rest.iter().map(|messages| messages.uids.len()).sum());
        if pays && std::mem::take(&mut self.outlook.may_compress) {
            self.outlook.compressed = self.connection.compress().await?;
        }
        Ok(pays)
    }
}

#[cfg(test)]
mod tests;
