//! What mailtide promises, tried with the binary on real servers.

mod bad_luck;
mod circumstances;
mod compare;
mod crash;
mod damage;
mod deletions;
mod drafts;
mod first;
mod flags;
mod folders;
mod gone;
mod holds;
mod hooks;
mod hostile;
mod moves;
mod names;
mod new_mail;
mod partial;
mod renames;
mod restore;
mod status;
mod support_works;
mod uidvalidity;
mod unsyncable;
mod watch;
