//! Tells when this machine gets a way out: an address or a route (rtnetlink(7)). Elsewhere than on Linux, never.

use std::io;

#[cfg(target_os = "linux")]
pub use linux::Network;

/// Listens to the system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Network;

#[cfg(not(target_os = "linux"))]
impl Network {
    /// Begins to listen.
    ///
    /// # Errors
    /// None.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for ever.
    pub async fn changed(&mut self) {
        std::future::pending().await
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, socket_with};
    use tokio::net::UnixDatagram;

    use super::io;

    /// The groups that tell of addresses and of routes, of both IPv4 and IPv6 (`RTMGRP_` in linux/rtnetlink.h).
    const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

    /// The protocol's number is 0.
    const NETLINK_ROUTE: Option<Protocol> = None;

    /// `RTM_NEWADDR` and `RTM_NEWROUTE`.
    const NEWS: [u16; 2] = [20, 24];

    /// A message's header has this many bytes, the next message begins at a multiple of four (netlink(7)).
    const HEADER: usize = 16;

    /// Listens to the system. To receive from any socket for datagrams is the same; tokio has none for netlink.
    #[derive(Debug)]
    pub struct Network(UnixDatagram);

    impl Network {
        /// Begins to listen.
        ///
        /// # Errors
        /// What the system says where it lets nobody listen.
        pub fn new() -> io::Result<Self> {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, NETLINK_ROUTE)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(Self(UnixDatagram::from_std(socket.into())?))
        }

        /// Waits for news; for ever if none can be had any more. To stop waiting loses none.
        pub async fn changed(&mut self) {
            let mut buffer = vec![0; 8192];
            loop {
                match self.0.recv(&mut buffer).await {
                    Ok(len) if !brings_news(buffer.get(..len).unwrap_or_default()) => {}
                    // What did not fit into its queue was dropped.
                    Err(error) if Errno::from_io_error(&error) != Some(Errno::NOBUFS) => {
                        tracing::debug!(%error, "the system tells nothing of the network");
                        return std::future::pending().await;
                    }
                    _ => return,
                }
            }
        }
    }

    fn brings_news(mut messages: &[u8]) -> bool {
        while let Some(&[a, b, c, d, kind @ .., _, _, _, _, _, _, _, _, _, _]) = messages.first_chunk::<HEADER>() {
            if NEWS.contains(&u16::from_ne_bytes(kind)) {
                return true;
            }
            let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            messages = messages.get(len.max(HEADER).saturating_add(3) & !3..).unwrap_or_default();
        }
        false
    }

    #[cfg(test)]
    mod tests {
        use std::process::Command;
        use std::time::Duration;

        use super::*;

        fn message(kind: u16, length: u32) -> Vec<u8> {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(usize::try_from(length).unwrap().clamp(HEADER, 64).next_multiple_of(4), 0);
            bytes
        }

        #[test]
        fn only_what_is_new_is_news_wherever_it_stands() {
            let (gone, new) = (message(25, 29), message(24, 36));
            assert!(!brings_news(&gone));
            assert!(brings_news(&[&gone[..], &gone, &new].concat()));
            assert!(brings_news(&message(20, 16)));
            assert!(!brings_news(&new[..15]), "cut short");
            for length in [0, 3, u32::MAX] {
                assert!(!brings_news(&message(25, length)), "a length that can't be");
            }
        }

        /// Run by the test below, in a network of its own that is down.
        #[test]
        #[ignore = "needs a network of its own"]
        fn within() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut network = Network::new().unwrap();
                let soon = Duration::from_millis(50);
                assert!(tokio::time::timeout(soon, network.changed()).await.is_err(), "nothing happened");
                assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
                network.changed().await;
            });
        }

        #[test]
        fn an_interface_that_comes_up_is_told() {
            let apart = || {
                let mut command = Command::new("unshare");
                command.args(["--map-root-user", "--net", "timeout", "60"]);
                command
            };
            let allowed = apart().arg("true").output().unwrap();
            if !allowed.status.success() {
                // In most containers nobody may have a network of his own.
                assert!(String::from_utf8_lossy(&allowed.stderr).starts_with("unshare: "), "{allowed:?}");
                return;
            }
            let within = "daemon::network::linux::tests::within";
            let mut command = apart();
            command.arg(std::env::current_exe().unwrap());
            let output = command.args([within, "--exact", "--ignored"]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
    }
}
