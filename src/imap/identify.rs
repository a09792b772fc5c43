//! Identifies messages by hashing what is fetched of them, without keeping it.

use super::ImapStore;
use super::error::Error;
use super::fetch::{Sizes, Wanted};
use crate::model::identity::IdentityHasher;
use crate::store::{BodySink, FetchedMessage, Identities, LocalError, Messages};

const HEADER: Wanted =
    Wanted { items: "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])", section: "BODY[HEADER]", flags: false };
const WHOLE: Wanted = Wanted { items: "(UID INTERNALDATE BODY.PEEK[])", section: "BODY[]", flags: false };

/// Hashes each message.
struct Identifier {
    whole: bool,
    hasher: IdentityHasher,
    identities: Vec<Identities>,
}

impl Identifier {
    fn hasher(whole: bool) -> IdentityHasher {
        if whole { IdentityHasher::whole() } else { IdentityHasher::header_only() }
    }
}

impl BodySink for Identifier {
    fn begin(&mut self, _: usize) -> Result<(), LocalError> {
        self.discard()
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.hasher.update(wire);
        Ok(())
    }

    fn finish(&mut self, of: usize, message: FetchedMessage) -> Result<(), LocalError> {
        let hasher = std::mem::replace(&mut self.hasher, Self::hasher(self.whole));
        if let Some(identities) = self.identities.get_mut(of) {
            identities.insert(message.uid, hasher.finish(message.date));
        }
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.hasher = Self::hasher(self.whole);
        Ok(())
    }
}

impl ImapStore {
    /// Identifies messages. From the header alone, the size is the server's RFC822.SIZE.
    pub(super) async fn identify_messages(
        &mut self,
        messages: &[Messages],
        whole: bool,
    ) -> Result<Vec<Result<Identities, Error>>, Error> {
        let identities = messages.iter().map(|_| Identities::new()).collect();
        let mut identifier = Identifier { whole, hasher: Identifier::hasher(whole), identities };
        let wanted = if whole { WHOLE } else { HEADER };
        let told = self.fetch_bodies(messages, wanted, &mut identifier).await?;
        let sized = |(mut identities, sizes): (Identities, Result<Sizes, Error>)| {
            let sizes = sizes?;
            for (uid, identity) in &mut identities {
                identity.size = sizes.get(uid).copied().filter(|_| !whole).unwrap_or(identity.size);
            }
            Ok(identities)
        };
        Ok(identifier.identities.into_iter().zip(told).map(sized).collect())
    }
}
