//! Patterns of host names.

use std::sync::Arc;

use crate::support::diagnostics;

/// Patterns of host names: a whole name, `*.` and the end of names, or `*` for all.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(Arc<[String]>);

impl Hosts {
    pub(super) fn new(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| host.into().to_ascii_lowercase());
        let hosts: Arc<[String]> = hosts.collect();
        for pattern in hosts.iter().filter(|pattern| !is_pattern(pattern)) {
            diagnostics::warn(format_args!(
                "host pattern {pattern:?} matches no host: expected a host name without scheme, \
                 port and path, `*.` and the end of host names, or `*`"
            ));
        }
        Self(hosts)
    }

    pub(super) fn have(&self, host: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let host = host.to_ascii_lowercase();
        self.0
            .iter()
            .any(|pattern| match pattern.strip_prefix('*') {
                Some("") => true,
                Some(end) => host.len() > end.len() && end.starts_with('.') && host.ends_with(end),
                None => *pattern == host,
            })
    }
}

/// Returns true if some host can match `pattern`, which is in lower case.
fn is_pattern(pattern: &str) -> bool {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let is_ipv6 = name.starts_with('[') && name.ends_with(']');
    pattern == "*" || is_ipv6 || !name.is_empty() && !name.contains(['*', '/', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_as_a_whole() {
        for (pattern, host, expected, reason) in [
            ("a.example", "a.example", true, "equal"),
            ("A.example", "a.EXAMPLE", true, "case does not count"),
            ("a.example", "b.a.example", false, "no wildcard"),
            ("*.a.example", "b.a.example", true, "under it"),
            ("*.a.example", "c.b.a.example", true, "at any depth"),
            ("*.a.example", "a.example", false, "not under it"),
            ("*.a.example", "evil-a.example", false, "another domain"),
            ("*.a.example", ".a.example", false, "no name under it"),
            (
                "*a.example",
                "evil-a.example",
                false,
                "a wildcard stands for labels",
            ),
            ("*", "a.example", true, "all hosts"),
        ] {
            assert_eq!(
                Hosts::new([pattern]).have(host),
                expected,
                "{pattern} {host}: {reason}"
            );
        }
    }

    #[test]
    fn pattern_that_matches_no_host_is_noticed() {
        for (pattern, expected) in [
            ("*", true),
            ("*.example.com", true),
            ("shop.example", true),
            ("[::1]", true),
            ("", false),
            ("*.", false),
            ("*example.com", false),
            ("a.*.example", false),
            ("https://a.example", false),
            ("a.example:443", false),
            ("a.example/path", false),
        ] {
            assert_eq!(is_pattern(pattern), expected, "{pattern}");
        }
    }
}
