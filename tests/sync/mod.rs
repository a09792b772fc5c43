//! What mailtide promises, tried with the binary on real servers.

mod support_works;
