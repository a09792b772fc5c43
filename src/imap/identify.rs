//! Identifies messages by hashing what is fetched of them, without keeping it.

use std::collections::BTreeMap;

use super::ImapStore;
use super::error::Error;
use super::fetch::Wanted;
use crate::model::identity::IdentityHasher;
use crate::model::{Identity, MailboxName, Uid, UidSet, UidValidity};
use crate::store::{BodySink, FetchedMessage, LocalError};

const HEADER: Wanted =
    Wanted { items: "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])", section: "BODY[HEADER]", flags: false };
const WHOLE: Wanted = Wanted { items: "(UID INTERNALDATE BODY.PEEK[])", section: "BODY[]", flags: false };

/// Hashes each message.
struct Identifier {
    whole: bool,
    hasher: IdentityHasher,
    identities: BTreeMap<Uid, Identity>,
}

impl Identifier {
    fn hasher(whole: bool) -> IdentityHasher {
        if whole { IdentityHasher::whole() } else { IdentityHasher::header_only() }
    }
}

impl BodySink for Identifier {
    fn begin(&mut self) -> Result<(), LocalError> {
        self.hasher = Self::hasher(self.whole);
        Ok(())
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.hasher.update(wire);
        Ok(())
    }

    fn finish(&mut self, message: FetchedMessage) -> Result<(), LocalError> {
        let hasher = std::mem::replace(&mut self.hasher, Self::hasher(self.whole));
        self.identities.insert(message.uid, hasher.finish(message.date));
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.begin()
    }
}

impl ImapStore {
    /// Identifies messages. From the header alone, the size is the server's RFC822.SIZE.
    pub(super) async fn identify_messages(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        whole: bool,
    ) -> Result<BTreeMap<Uid, Identity>, Error> {
        let mut identifier = Identifier { whole, hasher: Identifier::hasher(whole), identities: BTreeMap::new() };
        let wanted = if whole { WHOLE } else { HEADER };
        let sizes = self.fetch_bodies(mailbox, validity, uids, wanted, &mut identifier).await?;
        if !whole {
            for (uid, identity) in &mut identifier.identities {
                identity.size = sizes.get(uid).copied().unwrap_or(identity.size);
            }
        }
        Ok(identifier.identities)
    }
}
