//! URLs without the parts that carry secrets.

use std::borrow::Cow;

/// `url` without user, password, query and fragment.
///
/// ```
/// use tracestitch_wire::document::clean_url;
///
/// assert_eq!(
///     clean_url("https://me:secret@shop.example:8443/orders/1?token=x#top"),
///     "https://shop.example:8443/orders/1",
/// );
/// ```
pub fn clean_url(url: &str) -> Cow<'_, str> {
    let (url, options) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.into();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if options.contains('@') && !rest.contains('@') && !has_port(authority) {
        // A password with a bare question mark or hash: what is left of it stands before that.
        return format!("{scheme}://").into();
    }
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}").into(),
        // A password may hold a bare slash; then what looks like the path holds the host.
        None => match path.rsplit_once('@') {
            Some((_, host)) if !has_port(authority) => format!("{scheme}://{host}").into(),
            _ => url.into(),
        },
    }
}

/// True when what follows a colon is a port, or nothing does.
fn has_port(authority: &str) -> bool {
    authority
        .rsplit_once(':')
        .is_none_or(|(_, port)| port.parse::<u16>().is_ok())
}

/// `text` with each URL in it [cleaned](clean_url).
///
/// ```
/// use tracestitch_wire::document::clean_urls;
///
/// assert_eq!(
///     clean_urls("error sending request for url (https://shop.example/a?token=x)"),
///     "error sending request for url (https://shop.example/a)",
/// );
/// ```
pub fn clean_urls(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let start = rest[..at].rfind(|c| !scheme(c)).map_or(0, |before| {
            before + rest[before..].chars().next().map_or(0, char::len_utf8)
        });
        let after = at + "://".len();
        let end = rest[after..]
            .find(|c: char| c.is_whitespace() || "()<>\"'`".contains(c))
            .map_or(rest.len(), |length| after + length);
        cleaned.push_str(&rest[..start]);
        cleaned.push_str(&clean_url(&rest[start..end]));
        rest = &rest[end..];
    }
    cleaned.push_str(rest);
    cleaned.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_may_be_secret() {
        for (url, expected, reason) in [
            (
                "https://a.example/x",
                "https://a.example/x",
                "nothing to lose",
            ),
            (
                "https://a.example?x=1",
                "https://a.example",
                "query without path",
            ),
            ("https://a.example/#x", "https://a.example/", "fragment"),
            (
                "postgres://me:se#cret@db/orders",
                "postgres://",
                "hash in password",
            ),
            (
                "mysql://me:se?cret@db/orders",
                "mysql://",
                "question mark in password",
            ),
            (
                "http://a.example:3000/x?mail=me@b.example",
                "http://a.example:3000/x",
                "a port, and @ in the query",
            ),
            (
                "http://a.example?mail=me@b.example",
                "http://a.example",
                "no port, and @ in the query",
            ),
            ("https://u@a.example/", "https://a.example/", "user alone"),
            (
                "https://u:p@a@a.example/",
                "https://a.example/",
                "password with @",
            ),
            (
                "postgres://u:p/w@h:5432/db",
                "postgres://h:5432/db",
                "password with slash",
            ),
            (
                "https://a.example/@x",
                "https://a.example/@x",
                "@ in the path",
            ),
            (
                "http://a:80/@x/y",
                "http://a:80/@x/y",
                "@ in the path after a port",
            ),
            ("/orders?x=1", "/orders", "path alone"),
            ("", "", "empty"),
        ] {
            assert_eq!(clean_url(url), expected, "{reason}");
        }
    }

    #[test]
    fn texts_lose_it_in_each_url() {
        for (text, expected, reason) in [
            ("no url: a?b#c", "no url: a?b#c", "other text stays"),
            (
                "é(http://u:p@a/?q) then \"https://b#f\" end",
                "é(http://a/) then \"https://b\" end",
                "two, delimited",
            ),
            ("x://", "x://", "nothing after it"),
            ("://a?b", "://a", "no scheme"),
        ] {
            assert_eq!(clean_urls(text), expected, "{reason}");
        }
    }
}
