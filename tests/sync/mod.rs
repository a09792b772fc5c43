//! What mailtide promises, tried with the binary on real servers.

mod bad_luck;
mod crash;
mod deletions;
mod drafts;
mod first;
mod flags;
mod folders;
mod holds;
mod hostile;
mod new_mail;
mod support_works;
