//! Removal of credentials, queries and fragments from URLs, alone or inside other text.

use std::borrow::Cow;
use std::ops::Range;

/// Signs that begin the query, fragment or parameters of a URL. Some databases take user and
/// password as parameters (`sqlserver://host;password=..`).
const OPTIONS: [char; 3] = ['?', '#', ';'];

/// Signs that end the authority of a URL. The backslash precedes slashes that JSON escapes
/// (`http:\/\/`).
const AUTHORITY_END: [char; 5] = ['/', '\\', '?', '#', ';'];

/// Signs that may follow a closing bracket or quote in the same word.
const PUNCTUATION: [char; 6] = ['.', ',', ':', ';', '!', '?'];

/// Opening signs and their counterparts.
const PAIRS: [(char, char); 10] = [
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('<', '>'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('‘', '’'),
    ('«', '»'),
];

/// Returns `url` without user, password, query, fragment and parameters.
///
/// `url` is one that an HTTP client has accepted, or one from a configuration. With the schemes
/// `http`, `https`, `ws` and `wss` the authority ends at the first slash (RFC 3986, section 3.2).
/// With other schemes a password may hold a bare `/` or `?`; if that leaves unclear where the host
/// begins, only the scheme is kept.
///
/// ```
/// use tracestitch_wire::document::clean_url;
///
/// assert_eq!(
///     clean_url("https://me:secret@shop.example:8443/orders/1?token=x#top"),
///     "https://shop.example:8443/orders/1",
/// );
/// assert_eq!(clean_url("amqp://app:se?cret@mq.example/"), "amqp://");
/// ```
pub fn clean_url(url: &str) -> Cow<'_, str> {
    let Some(separator) = separator(url) else {
        return before(url, &OPTIONS).into();
    };
    let (scheme, rest) = url.split_at(separator.end);
    let place = if is_web(&url[..separator.start]) {
        let (authority, path) = split_authority(rest);
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        is_host(host).then(|| (host, before(path, &OPTIONS)))
    } else {
        place(rest)
    };
    let Some((host, path)) = place else {
        return scheme.into();
    };
    // The path of a proxy may contain another URL.
    match clean_urls(path) {
        Cow::Borrowed(path) if host.len() + path.len() == rest.len() => url.into(),
        path => [scheme, host, &path].concat().into(),
    }
}

/// Returns `text` with every URL in it reduced to scheme, host and path.
///
/// The end of a URL in free text is ambiguous, because brackets, quotes and commas may be part of
/// it. This function assumes that it extends to the next white space or, after an opening bracket
/// or quote, to the counterpart at the end of a word. It removes everything from the first `?`, `#`
/// or `;` on. If the text before an `@` may be something other than user and password, it keeps the
/// scheme only.
///
/// ```
/// use tracestitch_wire::document::clean_urls;
///
/// assert_eq!(
///     clean_urls("error sending request for url (https://shop.example/a?token=x): timed out"),
///     "error sending request for url (https://shop.example/a): timed out",
/// );
/// assert_eq!(
///     clean_urls("GET https://shop.example/a?$filter=startswith(mail,'x')&key=y failed"),
///     "GET https://shop.example/a failed",
/// );
/// ```
pub fn clean_urls(text: &str) -> Cow<'_, str> {
    let Some(mut found) = separator(text) else {
        return text.into();
    };
    let last_at = text.rfind('@').unwrap_or(0);
    let mut cleaned = String::with_capacity(text.len());
    let mut done = 0;
    loop {
        let start = scheme_start(text, done..found.start);
        let opening = text[done..start].chars().next_back();
        let pair = PAIRS.iter().find(|(open, _)| Some(*open) == opening);
        let end = match pair {
            Some(pair) => closed_at(text, found.end, *pair),
            None => word_end(text, found.end),
        };
        let rest = &text[found.end..end];
        cleaned.push_str(&text[done..found.end]);
        if end <= last_at && !is_host(split_authority(rest).0) {
            // The password may contain white space. Or the `@` may belong to other text.
            done = word_end(text, last_at);
        } else {
            if let Some((host, path)) = place(rest) {
                cleaned.push_str(host);
                cleaned.push_str(path);
            }
            done = end;
        }
        match separator(&text[done..]) {
            Some(next) => found = done + next.start..done + next.end,
            None => break,
        }
    }
    cleaned.push_str(&text[done..]);
    cleaned.into()
}

/// [`clean_urls`] for owned text.
pub(super) fn cleaned(text: Cow<'static, str>) -> Cow<'static, str> {
    let cleaned = match clean_urls(&text) {
        Cow::Owned(cleaned) => Some(cleaned),
        Cow::Borrowed(_) => None,
    };
    cleaned.map_or(text, Cow::Owned)
}

/// Finds the first `://`, also with backslashes before the slashes.
fn separator(text: &str) -> Option<Range<usize>> {
    // Most texts have no colon, and a search for a byte costs a fraction of one for a character.
    if !text.as_bytes().contains(&b':') {
        return None;
    }
    text.match_indices(':').find_map(|(start, _)| {
        let mut rest = &text[start + 1..];
        for _ in 0..2 {
            rest = rest.trim_start_matches('\\').strip_prefix('/')?;
        }
        Some(start..text.len() - rest.len())
    })
}

/// Finds the beginning of the scheme that ends with `range`.
fn scheme_start(text: &str, range: Range<usize>) -> usize {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let before = text[range.clone()].trim_end_matches(is_sign);
    range.start + before.len()
}

/// Finds the next white space from `start` on, or the end of the text.
fn word_end(text: &str, start: usize) -> usize {
    let length = text[start..].find(char::is_whitespace);
    length.map_or(text.len(), |length| start + length)
}

/// Finds the closing sign of a pair that was opened before `start`: the first one that is not the
/// counterpart of a later opening sign, and that only punctuation and other closing signs separate
/// from the end of its word. Without one, returns the end of the text.
fn closed_at(text: &str, start: usize, (open, close): (char, char)) -> usize {
    let (mut depth, mut closed, mut before) = (0, None, ' ');
    for (at, sign) in text[start..].char_indices() {
        let opens =
            sign == open && (open != close || before.is_whitespace() || "([{,=:".contains(before));
        if sign.is_whitespace() && closed.is_some() {
            break;
        } else if opens && closed.is_none() {
            depth += 1;
        } else if sign == close && depth > 0 {
            depth -= 1;
        } else if sign == close {
            closed = closed.or(Some(start + at));
        } else if !PUNCTUATION.contains(&sign) && PAIRS.iter().all(|(_, close)| sign != *close) {
            closed = None;
        }
        before = sign;
    }
    closed.unwrap_or(text.len())
}

/// Splits the part of a URL after its scheme into host with port, and path. Returns `None` if they
/// may be a part of the password.
fn place(rest: &str) -> Option<(&str, &str)> {
    let kept = before(rest, &OPTIONS);
    let (authority, path) = split_authority(kept);
    let (host, path) = match rest.rfind('@') {
        None => (authority, path),
        // After user and password, which may contain a bare slash.
        Some(at) if at < authority.len() || at < kept.len() && !is_host(authority) => {
            split_authority(&kept[at + 1..])
        }
        // In the query, such as an email address, or in a password with such a sign.
        Some(_) => return None,
    };
    is_host(host).then_some((host, path))
}

fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(before(rest, &AUTHORITY_END).len())
}

fn before<'a>(text: &'a str, signs: &[char]) -> &'a str {
    text.find(signs).map_or(text, |at| &text[..at])
}

fn is_web(scheme: &str) -> bool {
    let schemes = ["http", "https", "ws", "wss"];
    schemes.iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

/// Returns true if `authority` is a list of hosts, each with or without a port. Otherwise it may be
/// user and password.
fn is_host(authority: &str) -> bool {
    authority.split(',').all(|host| {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, ""),
        };
        let is_ipv6 = name.starts_with('[') && name.ends_with(']');
        (is_ipv6 || !name.contains(':')) && (port.is_empty() || port.parse::<u16>().is_ok())
    })
}

#[cfg(test)]
mod tests;
