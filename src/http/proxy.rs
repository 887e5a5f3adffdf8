//! Whose address a request comes from, when proxies stand between.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Most hops that are walked back; longer chains are somebody's invention.
const HOPS: usize = 16;

/// Is this one of the proxies that the configuration trusts? An IPv4 address in IPv6's clothes, as a
/// dual-stack socket shows it, counts as IPv4.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The address that a request comes from: the peer's, and where that is a trusted proxy, what it says in
/// `X-Forwarded-For`, from right to left, until somebody who is not trusted.
///
/// Each proxy appends the address that it saw, so whatever is left of an untrusted address may be invented, and
/// so may everything when the peer is not trusted. An entry that is no address ends the walk at the proxy
/// that wrote it.
pub(super) fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut hops = forwarded_for.rev().flat_map(|value| value.rsplit(|b| *b == b',')).take(HOPS);
    let mut address = peer.to_canonical();
    while is_trusted(address, trusted)
        && let Some(before) = hops.next().and_then(read)
    {
        address = before;
    }
    address
}

/// An address as proxies write it: bare, with a port, or IPv6 in brackets with or without a port.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || hop.parse().ok().as_ref().map(SocketAddr::ip);
    hop.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn client(peer: &str, forwarded_for: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let forwarded_for = forwarded_for.iter().map(|value| value.as_bytes());
        client_address(peer.parse().unwrap(), forwarded_for, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_but_a_trusted_proxy() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn what_the_client_itself_wrote_is_not_believed() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.7"], &trusted), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["10.9.9.9, 198.51.100.7"], &trusted), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.7, 10.0.0.2"], &trusted), "198.51.100.7");
        assert_eq!(
            client("2001:db8::1", &["1.1.1.1,198.51.100.7 ,\t2001:db8::2,10.0.0.2"], &trusted),
            "198.51.100.7"
        );
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        let trusted = ["10.0.0.0/8"];
        for wrong in
            ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "1.2.3.4/8", "\"1.2.3.4\"", "01.2.3.4", "é"]
        {
            assert_eq!(
                client("10.0.0.1", &[&format!("1.1.1.1, {wrong}")], &trusted),
                "10.0.0.1",
                "{wrong:?}"
            );
            assert_eq!(client("10.0.0.1", &[&format!("1.1.1.1, {wrong}, 10.0.0.2")], &trusted), "10.0.0.2");
        }
        let long = vec!["10.0.0.3"; 10_000].join(",");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", &long], &trusted), "10.0.0.3");
    }

    #[test]
    fn all_the_spellings_of_an_address_are_read() {
        for (spelling, address) in [
            ("198.51.100.7:443", "198.51.100.7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
        ] {
            assert_eq!(client("::ffff:10.0.0.1", &[spelling], &["10.0.0.0/8"]), address);
        }
        assert!(is_trusted("::ffff:10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()]));
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_it_is_seen_as_itself(
            lies in vec(select(&["1.1.1.1", "10.0.0.5", "", "x", "[::1]:1", ",,", " , 10.0.0.1 ,"][..]), 0..6),
            proxies in 0..4usize,
        ) {
            let mut values = lies;
            values.push("198.51.100.7");
            values.extend(std::iter::repeat_n("10.0.0.2", proxies));
            let joined = values.join(",");
            prop_assert_eq!(client("10.0.0.1", &values, &["10.0.0.0/8"]), "198.51.100.7");
            prop_assert_eq!(client("10.0.0.1", &[&joined], &["10.0.0.0/8"]), "198.51.100.7");
        }
    }
}
