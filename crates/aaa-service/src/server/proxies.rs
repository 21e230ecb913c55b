//! Whom a request comes from, where proxies that are trusted stand in front.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::Document;

const TRUSTED: &str = "trusted_proxies";

/// Where proxies write down whom they speak for, each behind the one before.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks whose hosts are believed when they say whom they speak for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads which they are; what is wrong goes to the document's problems.
    pub(crate) fn read(document: &Document) -> Self {
        let top = document.top();
        let mut networks = Vec::new();
        for (index, text) in top.list(TRUSTED).iter().enumerate() {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            match address.or_else(|_| text.parse::<IpNet>()) {
                Ok(network) if network.prefix_len() == 0 => top.problem(
                    &format!("{TRUSTED}[{index}]"),
                    "is everybody; then anybody could say who they are",
                ),
                Ok(network) => networks.push(network),
                Err(_) => top.problem(
                    &format!("{TRUSTED}[{index}]"),
                    "wants a network such as 10.1.2.0/24 or 2001:db8::/48, or one address",
                ),
            }
        }
        Self(networks)
    }

    /// The address that a request comes from: the nearest that is none of a trusted proxy's. It has port 0 where a proxy has told it.
    ///
    /// Each proxy adds at the end whom it was spoken to by. What stands before the first that nobody vouches for may be made up.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = peer;
        if !self.trusts(peer.ip()) {
            return client;
        }
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(value) = value.to_str() else {
                return client;
            };
            for hop in value.rsplit(',') {
                let Some(address) = address(hop.trim()) else {
                    return client;
                };
                client = SocketAddr::new(address, 0);
                if !self.trusts(address) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let alone = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = alone.unwrap_or(hop).parse::<IpAddr>();
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn proxies(networks: &str) -> Proxies {
        let text = format!("{{\"trusted_proxies\": {networks}}}");
        let document = Document::parse("a.json", text.as_bytes()).unwrap();
        let proxies = Proxies::read(&document);
        document.finish().unwrap();
        proxies
    }

    /// Who it is when this one connects with these headers.
    fn client(proxies: &Proxies, peer: &str, headers: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(FORWARDED_FOR, HeaderValue::from_str(header).unwrap());
        }
        let client = proxies.client(SocketAddr::new(peer.parse().unwrap(), 4711), &map);
        client.ip().to_string()
    }

    #[test]
    fn nobody_is_believed_unless_configured() {
        for proxies in [Proxies::default(), proxies("\"10.0.0.0/8\"")] {
            assert_eq!(
                client(&proxies, "192.0.2.1", &["198.51.100.7"]),
                "192.0.2.1"
            );
        }
    }

    #[test]
    fn the_nearest_that_is_no_proxy_is_the_client() {
        let proxies = proxies("[\"10.0.0.0/8\", \"2001:db8::/32\"]");
        for (headers, expected) in [
            (&[][..], "10.0.0.1"),
            (&["198.51.100.7"], "198.51.100.7"),
            // The client itself wrote the first; the proxy added the second.
            (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            // Two proxies, one behind the other.
            (&["203.0.113.9, 198.51.100.7, 10.2.3.4"], "198.51.100.7"),
            (&["198.51.100.7", "2001:db8::1"], "198.51.100.7"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["[2001:0db9::1]:4711"], "2001:db9::1"),
            (&["[2001:db9::1]"], "2001:db9::1"),
            (&["::ffff:198.51.100.7, ::ffff:10.9.9.9"], "198.51.100.7"),
            // All are proxies: the farthest asks for itself.
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ] {
            assert_eq!(
                client(&proxies, "10.0.0.1", headers),
                expected,
                "{headers:?}"
            );
        }
        assert_eq!(
            client(&proxies, "::ffff:10.0.0.1", &["198.51.100.7"]),
            "198.51.100.7"
        );
    }

    #[test]
    fn what_is_no_address_ends_the_road() {
        let proxies = proxies("\"10.0.0.0/8\"");
        for (headers, expected) in [
            (&["unknown"][..], "10.0.0.1"),
            (&["198.51.100.7, "], "10.0.0.1"),
            (&["198.51.100.7, _hidden, 10.2.3.4"], "10.2.3.4"),
            (&["198.51.100.7, 10.2.3.4 10.2.3.5"], "10.0.0.1"),
        ] {
            assert_eq!(
                client(&proxies, "10.0.0.1", headers),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let text = br#"{"trusted_proxies": ["10.0.0.0/33", "0.0.0.0/0"]}"#;
        let document = Document::parse("a.json", text).unwrap();
        Proxies::read(&document);
        assert_eq!(
            document.finish().unwrap_err().to_string(),
            "a.json: 2 problems\n  \
             trusted_proxies[0]   wants a network such as 10.1.2.0/24 or 2001:db8::/48, or one address\n  \
             trusted_proxies[1]   is everybody; then anybody could say who they are"
        );
    }
}
