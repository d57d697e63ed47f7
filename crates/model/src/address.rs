//! Client addresses and the networks that a key may be used from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One entry of an allowlist: an address, or a network without host bits.
///
/// IPv4-mapped IPv6 is read as the IPv4 that it means (RFC 4291 §2.5.5.2), so that a list cannot be passed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpRange(IpNet);

/// Why a text is no address or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpRangeError {
    /// Neither an address nor a network.
    #[error("not an IPv4 or IPv6 address or CIDR network")]
    Invalid,
    /// A network with bits set behind its prefix, such as `10.0.0.1/8`: probably not what was meant.
    #[error("has bits set behind its prefix length")]
    HostBits,
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, IpRangeError> {
        let net = if text.contains('/') {
            text.parse::<IpNet>().map_err(|_| IpRangeError::Invalid)?
        } else {
            IpNet::from(text.parse::<IpAddr>().map_err(|_| IpRangeError::Invalid)?)
        };
        if net.network() != net.addr() {
            return Err(IpRangeError::HostBits);
        }
        Ok(Self(unmapped(net)))
    }
}

fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(addr, length)| Ipv4Net::new(addr, length).ok()).map_or(net, IpNet::V4)
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            fmt::Display::fmt(&self.0.addr(), f)
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

impl fmt::Debug for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for IpRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An allowlist ready to be asked: disjoint intervals in order, so that a thousand entries cost ten comparisons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressSet(Box<[(u128, u128)]>);

impl AddressSet {
    /// Merges the ranges.
    pub fn new(ranges: &[IpRange]) -> Self {
        let mut intervals: Vec<(u128, u128)> =
            ranges.iter().map(|range| (number(range.0.network()), number(range.0.broadcast()))).collect();
        intervals.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged.into())
    }

    /// Whether the address lies in one of the ranges.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

/// IPv4 stands where its mapped form stands in IPv6.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[&str]) -> AddressSet {
        AddressSet::new(&ranges.iter().map(|range| range.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_range_is_shown_as_it_is_meant() {
        for (given, shown) in [
            ("172.16.0.0/12", "172.16.0.0/12"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:DB8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(given.parse::<IpRange>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.0/33",
            "fe80::1%eth0",
            "10.0.0.0/",
            "/8",
            "a.b.c.d",
            "0x7f.0.0.1",
            " 10.0.0.1",
        ] {
            assert_eq!(text.parse::<IpRange>(), Err(IpRangeError::Invalid), "{text}");
        }
        assert_eq!("10.0.0.1/8".parse::<IpRange>(), Err(IpRangeError::HostBits));
    }

    #[test]
    fn a_mapped_address_is_the_address_that_it_means() {
        assert!(set(&["10.0.0.0/8"]).contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!set(&["::/1"]).contains("fe80::1".parse().unwrap()));
        assert!(!set(&["10.0.0.0/8"]).contains("11.0.0.0".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn the_merged_set_agrees_with_asking_every_range(
            ranges in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32), 0..20), probes in prop::collection::vec(any::<[u8; 4]>(), 20)
        ) {
            let ranges: Vec<IpRange> = ranges.iter().map(|(bytes, length)| {
                let net = Ipv4Net::new((*bytes).into(), *length).unwrap().trunc();
                net.to_string().parse().unwrap()
            }).collect();
            let merged = AddressSet::new(&ranges);
            let edges = ranges.iter().flat_map(|range| [range.0.network(), range.0.broadcast()]);
            for address in probes.iter().map(|bytes| IpAddr::from(*bytes)).chain(edges) {
                prop_assert_eq!(merged.contains(address), ranges.iter().any(|range| range.0.contains(&address)));
            }
        }
    }
}
