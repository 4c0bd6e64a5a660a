//! The PROXY protocol's header, version 2, as a load balancer would send it (haproxy.org, proxy-protocol.txt, section 2.2).

use std::net::{Ipv4Addr, SocketAddrV4};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
/// AF_INET, SOCK_STREAM.
const TCP_OVER_IPV4: u8 = 0x11;

/// The header for a connection of `client` to `server`.
pub(crate) fn header(client: SocketAddrV4, server: SocketAddrV4) -> [u8; 28] {
    let mut header = [0; 28];
    header[..12].copy_from_slice(&SIGNATURE);
    header[12] = VERSION_AND_COMMAND;
    header[13] = TCP_OVER_IPV4;
    header[14..16].copy_from_slice(&12_u16.to_be_bytes());
    header[16..20].copy_from_slice(&client.ip().octets());
    header[20..24].copy_from_slice(&server.ip().octets());
    header[24..26].copy_from_slice(&client.port().to_be_bytes());
    header[26..28].copy_from_slice(&server.port().to_be_bytes());
    header
}

/// The client that connection `number` claims to come from: one of 203.0.113.0/24 (RFC 5737, for documentation).
pub(crate) fn client(number: u64) -> SocketAddrV4 {
    let [host, high, low, ..] = number.to_le_bytes();
    SocketAddrV4::new(
        Ipv4Addr::new(203, 0, 113, host),
        1024 + (u16::from(high) | u16::from(low & 0x3f) << 8),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_the_specification_draws() {
        let header = header(
            "203.0.113.7:1025".parse().unwrap(),
            "127.0.0.1:25".parse().unwrap(),
        );
        assert_eq!(
            &header[..12],
            b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
        );
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(header[16..], [203, 0, 113, 7, 127, 0, 0, 1, 4, 1, 0, 25]);
    }

    #[test]
    fn clients_are_many_and_stay_in_their_network() {
        let clients: std::collections::HashSet<_> = (0..10_000).map(client).collect();
        assert_eq!(clients.len(), 10_000);
        assert!(
            clients
                .iter()
                .all(|client| client.ip().octets()[..3] == [203, 0, 113] && client.port() >= 1024)
        );
    }
}
