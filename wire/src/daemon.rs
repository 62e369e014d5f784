//! Address of the X-Ray daemon, as in `AWS_XRAY_DAEMON_ADDRESS`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::Error;

/// Time after which a name that did not resolve is looked up again.
pub const RETRY_LOOKUP: Duration = Duration::from_secs(30);

/// Time after which a name that resolved is looked up again, because the daemon may have moved.
pub const REFRESH_LOOKUP: Duration = Duration::from_secs(60);

/// Host and UDP port of the daemon.
///
/// Parses the forms of the official SDKs: `host:port`, or `tcp:host:port udp:host:port` in either
/// order, from which the UDP part is used. An IPv6 address is in brackets. The host is not
/// resolved.
///
/// Source: X-Ray developer guide, "Configuring the X-Ray daemon".
///
/// ```
/// use tracestitch_wire::daemon::DaemonAddress;
///
/// let address: DaemonAddress = "tcp:127.0.0.1:2001 udp:127.0.0.1:2000".parse()?;
/// assert_eq!(address.to_string(), "127.0.0.1:2000");
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonAddress {
    host: Box<str>,
    port: u16,
}

impl DaemonAddress {
    /// Host name or IP address, the latter without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, if the host is an IP address. A name must be resolved: see
    /// [`preferred`].
    ///
    /// ```
    /// use tracestitch_wire::daemon::DaemonAddress;
    ///
    /// let address: DaemonAddress = "[::1]:2000".parse()?;
    /// assert_eq!(address.numeric(), "[::1]:2000".parse().ok());
    /// let name: DaemonAddress = "daemon.internal:2000".parse()?;
    /// assert_eq!(name.numeric(), None);
    /// # Ok::<(), tracestitch_wire::Error>(())
    /// ```
    pub fn numeric(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

/// Chooses one of the addresses to which the daemon's name resolved: the first IPv4 address, or the
/// first address if there is none.
///
/// By default the daemon listens on IPv4 (X-Ray developer guide, "Configuring the X-Ray daemon"),
/// but resolvers list IPv6 first. For `localhost` that address has no listener.
///
/// ```
/// use tracestitch_wire::daemon::preferred;
///
/// let found = ["[::1]:2000", "127.0.0.1:2000"].map(|text| text.parse().unwrap());
/// assert_eq!(preferred(found), "127.0.0.1:2000".parse().ok());
/// ```
pub fn preferred(addresses: impl IntoIterator<Item = SocketAddr>) -> Option<SocketAddr> {
    addresses.into_iter().min_by_key(SocketAddr::is_ipv6)
}

/// Address that a socket binds to before it connects to `daemon`: any interface, any free port, of
/// the daemon's address family.
///
/// ```
/// use tracestitch_wire::daemon::local_for;
///
/// assert_eq!(local_for("127.0.0.1:2000".parse()?), "0.0.0.0:0".parse()?);
/// assert_eq!(local_for("[::1]:2000".parse()?), "[::]:0".parse()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn local_for(daemon: SocketAddr) -> SocketAddr {
    let any: IpAddr = match daemon {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, 0)
}

impl FromStr for DaemonAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split_whitespace().collect();
        let udp = match parts[..] {
            [single] => Some(single.strip_prefix("udp:").unwrap_or(single)),
            [first, second] => match (first.strip_prefix("tcp:"), second.strip_prefix("tcp:")) {
                (Some(_), None) => second.strip_prefix("udp:"),
                (None, Some(_)) => first.strip_prefix("udp:"),
                _ => None,
            },
            _ => None,
        };
        udp.and_then(host_and_port).ok_or_else(|| {
            Error::expected(
                "a daemon address host:port or tcp:host:port udp:host:port",
                text,
            )
        })
    }
}

fn host_and_port(text: &str) -> Option<DaemonAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|v6| v6.parse::<Ipv6Addr>().is_ok())?,
        None => host,
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let valid = !host.is_empty() && (host.contains(':') == text.starts_with('['));
    (valid && host.chars().all(|c| named(c) || c == ':')).then(|| DaemonAddress {
        host: host.into(),
        port,
    })
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_ipv4_address_is_preferred() {
        const NONE: [&str; 0] = [];
        let [v4, other_v4] = ["127.0.0.1:1", "127.0.0.2:1"];
        let [v6, other_v6] = ["[::1]:1", "[::2]:1"];
        for (addresses, expected, reason) in [
            (&[v6, v4][..], Some(v4), "IPv4 behind IPv6"),
            (&[v4, other_v4], Some(v4), "the first"),
            (&[v6, other_v6], Some(v6), "the first, if none is IPv4"),
            (&NONE, None, "a name without an address"),
        ] {
            let addresses = addresses.iter().map(|text| text.parse().unwrap());
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(preferred(addresses), expected, "{reason}");
        }
    }

    #[test]
    fn addresses_are_parsed_in_the_forms_of_the_official_sdks() {
        for (text, expected, reason) in [
            (
                "169.254.79.129:2000",
                Some("169.254.79.129:2000"),
                "as Lambda sets it",
            ),
            (
                "udp:127.0.0.1:2000 tcp:127.0.0.1:2001",
                Some("127.0.0.1:2000"),
                "UDP first",
            ),
            ("tcp:a:1\tudp:b:2", Some("b:2"), "any white space"),
            ("udp:127.0.0.1:2000", Some("127.0.0.1:2000"), "UDP alone"),
            (
                "daemon.internal:2000",
                Some("daemon.internal:2000"),
                "a name",
            ),
            ("[::1]:2000", Some("[::1]:2000"), "IPv6"),
            ("::1:2000", None, "IPv6 without brackets is ambiguous"),
            ("tcp:127.0.0.1:2000", None, "no UDP part"),
            ("127.0.0.1", None, "no port"),
            ("127.0.0.1:0", None, "port 0"),
            ("127.0.0.1:70000", None, "port out of range"),
            (":2000", None, "no host"),
            ("", None, "empty"),
            ("udp:a:1 udp:b:2", None, "two UDP parts"),
            ("a b c", None, "three parts"),
            ("ho\u{1b}st:1", None, "control character"),
        ] {
            let found = text
                .parse::<DaemonAddress>()
                .ok()
                .map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{reason}: {text}");
        }
    }
}
