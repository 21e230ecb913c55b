//! Where to listen.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system keeps waiting for us.
const BACKLOG: u32 = 1024;

/// An address and port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A port on all addresses, of IPv6 and IPv4.
    All(u16),
    /// A host, or an address, and a port.
    Host(String),
}

impl Address {
    /// Reads `host:port`, `address:port` or `:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: wants an address and a port, such as 127.0.0.1:8443, [::1]:8443 or :8443"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let bare_ipv6 = host.contains(':') && !host.starts_with('[');
        if bare_ipv6 || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(if host.is_empty() {
            Self::All(port)
        } else {
            Self::Host(text.to_owned())
        })
    }

    /// Starts to listen. Port 0 takes a free one.
    pub(crate) fn bind(&self) -> Result<(TcpListener, SocketAddr), String> {
        let listener = match self {
            Self::All(port) => {
                bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port))).or_else(|error| match error
                    .kind()
                {
                    // A machine without IPv6.
                    io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                        bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))
                    }
                    _ if error.raw_os_error() == Some(EAFNOSUPPORT) => {
                        bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))
                    }
                    _ => Err(error),
                })
            }
            Self::Host(text) => text.to_socket_addrs().and_then(|addresses| {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in addresses {
                    match bind(address) {
                        Ok(listener) => return Ok(listener),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }),
        };
        listener
            .and_then(|listener| {
                let address = listener.local_addr()?;
                Ok((listener, address))
            })
            .map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &io::Error) -> String {
        let what = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
            }
            io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
            _ => error.to_string(),
        };
        format!("cannot listen on {self}: {what}")
    }
}

/// Address family not supported by protocol, as Linux numbers it.
const EAFNOSUPPORT: i32 = 97;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart must not wait for connections of the one before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(port) => write!(f, "port {port}"),
            Self::Host(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read() {
        let host = |text: &str| Ok(Address::Host(text.to_owned()));
        assert_eq!(Address::parse(":8443"), Ok(Address::All(8443)));
        assert_eq!(Address::parse("127.0.0.1:0"), host("127.0.0.1:0"));
        assert_eq!(Address::parse("[::1]:1"), host("[::1]:1"));
        assert_eq!(Address::parse("localhost:1"), host("localhost:1"));
        for wrong in ["8443", "", "a:b", "::1:443", "a b:1", "127.0.0.1:70000"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_explained() {
        let (_listener, address) = Address::parse("127.0.0.1:0").unwrap().bind().unwrap();
        let error = Address::parse(&address.to_string())
            .unwrap()
            .bind()
            .unwrap_err();
        assert_eq!(
            error,
            format!("cannot listen on {address}: another program listens there")
        );
    }
}
