//! Listening sockets.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A socket that listens on `address` beside the other cores' ones (SO_REUSEPORT): the kernel spreads
/// connections over them. It may be bound again at once after a restart (SO_REUSEADDR). What it accepts
/// sends small writes at once (TCP_NODELAY is inherited).
///
/// # Errors
/// When the address cannot be had.
pub fn listen_shared(address: SocketAddr, backlog: u32) -> io::Result<Socket> {
    let socket = make(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// A socket that listens on `address` alone.
///
/// # Errors
/// When the address cannot be had.
pub fn listen_alone(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = make(address)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// An address that nobody else listens on.
#[derive(Debug)]
pub struct Claim {
    /// The address; its port is never 0.
    pub address: SocketAddr,
    /// Keeps a port that the kernel chose from being given to somebody else, until the cores listen there.
    _holder: Option<Socket>,
}

/// Makes sure that nobody else listens on `address`, and finds the port that 0 stands for. Keep the claim until everybody
/// who shares the address listens.
///
/// With SO_REUSEPORT alone a second mayfly would start beside the first and take half of its mail.
///
/// # Errors
/// When somebody else listens there, or the address cannot be had.
pub fn claim(address: SocketAddr) -> io::Result<Claim> {
    let socket = make(address)?;
    let chosen_by_kernel = address.port() == 0;
    if chosen_by_kernel {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)?;
    let address = socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no internet address"))?;
    Ok(Claim {
        address,
        _holder: chosen_by_kernel.then_some(socket),
    })
}

fn make(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; `[::]` must not take them.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// What `net.core.somaxconn` leaves of a backlog.
#[must_use]
pub fn effective_backlog(backlog: u32) -> u32 {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .map_or(backlog, |limit: u32| backlog.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anywhere() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn cores_share_an_address_and_strangers_do_not() {
        let claim_of_a_port = claim(anywhere()).expect("a free port");
        let address = claim_of_a_port.address;
        let first = listen_shared(address, 16).expect("the first core");
        let second = listen_shared(address, 16).expect("the second core");
        let refused = claim(address).expect_err("a second process");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop((first, second, claim_of_a_port));
        claim(address).expect("free again at once");
    }
}
