//! What the integration tests are made of: private servers, another client, the user's Maildir, and the binary.

pub(crate) mod certs;
pub(crate) mod compare;
pub(crate) mod corpus;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod dovecot;
pub(crate) mod imap;
pub(crate) mod maildir;
pub(crate) mod meddler;
pub(crate) mod proxy;
pub(crate) mod scripted;
pub(crate) mod setup;
