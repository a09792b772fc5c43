//! What mailtide promises, tried with the binary on real servers.

mod bad_luck;
mod crash;
mod damage;
mod deletions;
mod first;
mod flags;
mod folders;
mod holds;
mod hostile;
mod new_mail;
mod restore;
mod support_works;
