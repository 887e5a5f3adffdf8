//! A port that is one's own.

use std::{
    fs::{File, TryLockError, create_dir_all},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Below the ports that the kernel gives to outgoing connections and to whoever asks for any:
/// `net.ipv4.ip_local_port_range` in ip(7), 32,768 to 60,999 unless it is set otherwise.
const PORTS: RangeInclusive<u16> = 10_000..=29_999;

/// A port of the loopback, this owner's until it is dropped: also while nobody listens there, because a server is
/// down and comes back, no other test takes it, whichever process that runs in.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked (flock(2)), which ends with the process if nothing else ends it.
    _claim: File,
}

impl Port {
    /// One that nobody listens on.
    ///
    /// # Panics
    /// When there is none.
    pub fn any() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let count = PORTS.end() - PORTS.start() + 1;
        // Processes begin far apart, so that they seldom try one that another has.
        let from = std::process::id().wrapping_mul(7_919) % u32::from(count);
        let from = u16::try_from(from).expect("less than the count of ports");
        (0..count)
            .map(|_| PORTS.start() + (from + NEXT.fetch_add(1, Relaxed) % count) % count)
            .find_map(Port::claim)
            .expect("there is a free port")
    }

    fn claim(number: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join("maru-test-ports");
        create_dir_all(&folder).expect("a directory can be made");
        let claim = File::create(folder.join(number.to_string())).expect("a file can be made");
        match claim.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Error(e)) => panic!("a file can be locked: {e}"),
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Port { number, _claim: claim })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where a server on it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_a_port_that_is_taken_though_nobody_listens_there() {
        let port = Port::any();
        assert!(Port::claim(port.number()).is_none());
        let number = port.number();
        drop(port);
        assert!(Port::claim(number).is_some());
    }

    #[test]
    fn a_port_that_a_stranger_listens_on_is_not_taken() {
        let number = Port::any().number();
        let _stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        assert!(Port::claim(number).is_none());
    }
}
