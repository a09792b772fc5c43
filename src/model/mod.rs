//! The words of the trade as types. Pure: no files, sockets, clocks, databases or randomness.

pub mod clock;
pub mod failure;
pub mod flag;
pub mod identity;
pub mod keyword;
pub mod local;
pub mod mailbox;
pub mod message;
pub mod quota;
pub mod side;
pub mod uid;

pub use clock::Clock;
pub use failure::FailureCode;
pub use flag::{Flag, FlagDelta, FlagSet, PermanentFlags};
pub use identity::IdentityHasher;
pub use keyword::{Keyword, Keywords};
pub use local::{Circumstances, DirId, DirStamp, FileStat, KeywordLetters, Marker, Stamp};
pub use mailbox::{MailboxId, MailboxName, MailboxRow, Role, Watermark};
pub use message::{
    EmailId, Fingerprint, Identity, MessageHash, MessageId, MessageRow, Timestamp, Tombstone, UniqueName,
};
pub use quota::{Quota, Usage};
pub use side::Side;
pub use uid::{ModSeq, Uid, UidSet, UidValidity};
