//! Whose request it is when it came through a reverse proxy.
//!
//! Each proxy appends the address that it got the request from to `X-Forwarded-For`. Only what proxies of ours have
//! appended is worth anything, so the list is read from its end: the last address that is not itself one of our proxies
//! is the client. What stands before it was written by the client.

#![forbid(unsafe_code)]

use crate::policy::network::Network;
use hyper::HeaderMap;
use std::net::IpAddr;

/// Where proxies write whom they speak for.
const FIELD: &str = "x-forwarded-for";

/// Whether this peer is one of our proxies.
pub(super) fn is_trusted(peer: IpAddr, proxies: &[Network]) -> bool {
    proxies.iter().any(|proxy| proxy.contains(peer))
}

/// The client behind a peer, as far as our proxies vouch for it.
pub(super) fn client_of(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all(FIELD).iter().collect::<Vec<_>>();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(client, proxies) {
            break;
        }
        let address = std::str::from_utf8(hop).map(|text| text.trim().parse());
        let Ok(Ok(address)) = address else {
            // One of our proxies wrote something that names nobody: it answers for it itself.
            break;
        };
        client = address;
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], client: &str) {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FIELD, line.parse().expect("a value"));
        }
        let found = client_of(address(peer), &headers, &proxies);
        assert_eq!(found, address(client), "{peer} {lines:?}");
    }

    #[test]
    fn the_client_is_whom_the_nearest_of_our_proxies_has_seen() {
        check("10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        check("::1", &["2001:db8::7"], "2001:db8::7");
        check("10.0.0.1", &["192.0.2.7, 10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &["192.0.2.7", "10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn what_a_client_writes_itself_is_worth_nothing() {
        check("192.0.2.7", &["198.51.100.1"], "192.0.2.7");
        check("10.0.0.1", &["198.51.100.1, 192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &["10.0.0.9", "192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &["nonsense, 192.0.2.7"], "192.0.2.7");
    }

    #[test]
    fn a_proxy_that_names_nobody_answers_for_itself() {
        check("10.0.0.1", &[], "10.0.0.1");
        for line in ["", "unknown", "192.0.2.7:80", "192.0.2.7,", "\u{fc}"] {
            check("10.0.0.1", &[line], "10.0.0.1");
        }
        check("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2");
    }
}
