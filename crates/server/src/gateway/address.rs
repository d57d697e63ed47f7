//! Where the client is: `X-Forwarded-For`, walked from the right past the proxies that are trusted.
//!
//! The last entry was written by the gateway that asks. What stands left of the first address that nobody vouches for may be
//! the client's own invention and is never looked at.

use std::net::{IpAddr, SocketAddr};

use keywright_model::address::AddressSet;

/// The client's address. `None` when nobody said it, or a trusted proxy wrote what is no address: then no list of
/// addresses lets the key in.
pub(super) fn client(headers: &[(&str, &str)], trusted: &AddressSet) -> Option<IpAddr> {
    let copies: Vec<&str> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
        .map(|(_, value)| *value)
        .collect();
    let mut farthest = None;
    for entry in copies.iter().rev().flat_map(|copy| copy.rsplit(',')) {
        let address = parsed(entry.trim())?;
        farthest = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    farthest
}

/// An address, as some proxies write it with its port. Zones and anything else are refused.
fn parsed(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.map_or_else(
        || text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip())),
        |inner| inner.parse().ok().filter(IpAddr::is_ipv6),
    );
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(copies: &[&str], expected: Option<&str>) {
        let trusted = AddressSet::new(&["10.0.0.0/8", "fd00::/8"].map(|range| range.parse().unwrap()));
        let headers: Vec<_> = copies.iter().map(|copy| ("X-Forwarded-For", *copy)).collect();
        let expected: Option<IpAddr> = expected.map(|text| text.parse().unwrap());
        assert_eq!(client(&headers, &trusted), expected, "{copies:?}");
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        check(&[], None);
        check(&["203.0.113.9"], Some("203.0.113.9"));
        check(&["1.1.1.1, 203.0.113.9"], Some("203.0.113.9"));
        check(&["1.1.1.1, 203.0.113.9, 10.0.0.1, 10.9.9.9"], Some("203.0.113.9"));
        check(&["1.1.1.1", "203.0.113.9, 10.0.0.1"], Some("203.0.113.9"));
        check(&["203.0.113.9", "10.0.0.1"], Some("203.0.113.9"));
        check(&["10.0.0.2, 10.0.0.1"], Some("10.0.0.2"));
        check(&["10.0.0.2", "fd00::1"], Some("10.0.0.2"));
    }

    #[test]
    fn what_a_client_forges_on_the_left_changes_nothing() {
        for forged in ["10.0.0.1", "127.0.0.1", "garbage", "", ",,,", "203.0.113.1, 10.0.0.3", "\"x\"", "%00"]
        {
            check(&[&format!("{forged}, 203.0.113.9")], Some("203.0.113.9"));
            check(&[forged, "203.0.113.9, 10.0.0.1"], Some("203.0.113.9"));
        }
    }

    #[test]
    fn an_address_has_few_spellings_and_a_mapped_one_is_what_it_means() {
        check(&["203.0.113.9:4711"], Some("203.0.113.9"));
        check(&["[2001:db8::1]:4711"], Some("2001:db8::1"));
        check(&["[2001:db8::1]"], Some("2001:db8::1"));
        check(&["::ffff:203.0.113.9"], Some("203.0.113.9"));
        check(&["8.8.8.8, ::ffff:10.0.0.1"], Some("8.8.8.8"));
        for unknown in [
            "",
            "unknown",
            "010.0.0.1",
            "1.2.3",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "1.2.3.4:",
            "8.8.8.8, _x",
            "8.8.8.8,",
        ] {
            check(&[unknown], None);
        }
    }
}
