use proptest::prelude::*;

use super::*;

#[test]
fn url_of_a_client_keeps_scheme_host_and_path() {
    for (url, expected, reason) in [
        (
            "https://a.example/x",
            "https://a.example/x",
            "nothing to remove",
        ),
        (
            "https://a.example?x=1",
            "https://a.example",
            "query without path",
        ),
        ("https://a.example/#x", "https://a.example/", "fragment"),
        (
            "https://a.example/x;session=1/y",
            "https://a.example/x",
            "parameter",
        ),
        (
            "http://a.example:3000/x?mail=me@b.example",
            "http://a.example:3000/x",
            "@ in the query",
        ),
        (
            "http://a.example?mail=me@b.example",
            "http://a.example",
            "@ in the query, no port",
        ),
        ("https://u@a.example/", "https://a.example/", "user alone"),
        (
            "https://u:p@a@a.example/",
            "https://a.example/",
            "password with @",
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
        ("HTTPS://a.example/@x", "HTTPS://a.example/@x", "upper case"),
        ("http://[::1]:80/x?y", "http://[::1]:80/x", "IPv6 with port"),
        ("http://[::1]/x?y", "http://[::1]/x", "IPv6 without port"),
        (
            "http://u:p/w@a.example/",
            "http://",
            "no port after the colon",
        ),
        (
            "https://proxy.example/https://u:p@a.example/x",
            "https://proxy.example/https://a.example/x",
            "another URL in the path",
        ),
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
            "postgres://u:p/w@h:5432/db",
            "postgres://h:5432/db",
            "slash in password",
        ),
        ("redis://:secret", "redis://", "password without host"),
        (
            "mongodb://u:p@h1:1,h2:2/db",
            "mongodb://h1:1,h2:2/db",
            "several hosts",
        ),
        (
            "sqlserver://h:1433;password=p",
            "sqlserver://h:1433",
            "parameters of a database",
        ),
        ("s3://bucket/key", "s3://bucket/key", "another scheme"),
        ("s3://bucket/key@2", "s3://", "a user may end at the @"),
        ("/orders?x=1", "/orders", "path alone"),
        ("", "", "empty"),
    ] {
        assert_eq!(clean_url(url), expected, "{reason}: {url}");
    }
}

#[test]
fn each_url_of_a_text_is_cleaned_and_the_rest_of_the_text_stays() {
    for (text, expected, reason) in [
        ("no url: a?b#c", "no url: a?b#c", "other text"),
        ("a: b // c", "a: b // c", "no separator"),
        (
            "é(http://u:p@a/?q) then \"https://b#f\" end",
            "é(http://a/) then \"https://b\" end",
            "in brackets and quotes",
        ),
        ("x://", "x://", "nothing after the scheme"),
        ("://a?b", "://a", "no scheme"),
        (
            "at https://a/b, or c",
            "at https://a/b, or c",
            "nothing to remove",
        ),
        (
            "https://a?q='x')&y=z and on",
            "https://a and on",
            "quote and bracket in a query",
        ),
        (
            "url=https://a?q) end",
            "url=https://a end",
            "bracket opened elsewhere",
        ),
        (
            "(https://a?f(x) y) end",
            "(https://a) end",
            "brackets inside brackets",
        ),
        (
            "'https://a?f='x y'&k=z' end",
            "'https://a' end",
            "quotes inside quotes",
        ),
        (
            "\"https://a?q=x y",
            "\"https://a",
            "quote without counterpart",
        ),
        (
            r#"{"u":"https://a?x","v":"y?z"}"#,
            r#"{"u":"https://a"}"#,
            "up to the end of the word",
        ),
        (
            r#"{"u": "https://a?x", "v": "y?z"}"#,
            r#"{"u": "https://a", "v": "y?z"}"#,
            "with spaces",
        ),
        (
            r#"{"u":"https:\/\/a\/b?x"}"#,
            r#"{"u":"https:\/\/a\/b"}"#,
            "escaped slashes",
        ),
        (
            "connect amqp://app:p(w@mq.example/%2f failed",
            "connect amqp://mq.example/%2f failed",
            "bracket in a password",
        ),
        (
            "amqp://app:p w@mq.example/x end",
            "amqp:// end",
            "white space in a password",
        ),
        (
            "http://host:port/x is no URL",
            "http:// is no URL",
            "no port after the colon",
        ),
        (
            "https://u:p@a,https://b?x",
            "https://a,https://b",
            "two without white space",
        ),
        (
            "https://a,amqp://u:p@b end",
            "https:// end",
            "password in the second",
        ),
        (
            "https://a.example/x?mail=me@b.example end",
            "https:// end",
            "@ in the query after a full host name, which may be a user",
        ),
        (
            "https://a?mail=me@b.example end",
            "https:// end",
            "may be a user",
        ),
        ("https://a.example/@x end", "https:// end", "may be a user"),
    ] {
        assert_eq!(clean_urls(text), expected, "{reason}: {text}");
    }
}

/// One to three signs that a URL or the text around it may contain.
fn sign() -> impl Strategy<Value = String> {
    let ascii = prop::char::range('!', '~');
    let others = prop::sample::select(vec!['é', '“', '”', '»', '漢', '\u{301}']);
    let one = prop_oneof![8 => ascii, 1 => others];
    prop::collection::vec(one, 1..4).prop_map(String::from_iter)
}

/// Text that occurs nowhere else in these tests.
const SECRET: &str = "S3CR3T";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_before_the_at_sign_and_nothing_after_the_options_is_left(
        scheme in prop::sample::select(vec![
            "https", "HTTP", "wss", "amqp", "postgres", "redis+sentinel", "s3", "x-y.z",
        ]),
        user in prop::option::of("[a-z]{1,5}"),
        options in prop::sample::select(vec!["?", "#", ";"]),
        [a, b, c] in [sign(), sign(), sign()],
        in_options in any::<bool>(),
        around in prop::sample::select(vec![
            ("", ""), ("at ", " end"), ("(", ")"), ("[", "]: x"), ("{", "}."), ("<", ">"),
            ("\"", "\", x"), ("'", "'"), ("`", "`"), ("“", "”"), ("url=", ", x"), ("(\"", "\")"),
        ]),
        others in prop::sample::select(vec!["", "https://o.example/x ", "(x://u:p@o?q) "]),
    ) {
        let url = match (in_options, user) {
            (true, _) => format!("{scheme}://h.example/p{options}k={a}{SECRET}{b}{SECRET}{c}"),
            (false, Some(user)) => format!("{scheme}://{user}:p{a}{SECRET}{b}x@h.example/p{options}{c}"),
            (false, None) => format!("{scheme}://{SECRET}{a}{SECRET}{b}x@h.example/p"),
        };
        let text = format!("{others}{}{url}{}", around.0, around.1);
        let cleaned = clean_urls(&text);
        prop_assert!(!cleaned.contains(SECRET), "{text} -> {cleaned}");
        prop_assert_eq!(clean_urls(&cleaned), cleaned.as_ref(), "{}", text);
        // HTTP clients reject the other URLs.
        if in_options || !is_web(scheme) {
            prop_assert!(!clean_url(&url).contains(SECRET), "{url}");
        }
    }

    #[test]
    fn text_without_urls_stays_and_no_text_panics(text in ".*", urls in "[a-z:/@?.( \"']{0,60}") {
        if !text.contains('/') {
            prop_assert_eq!(clean_urls(&text), text.as_str());
        }
        let _ = (clean_urls(&text), clean_url(&text), clean_urls(&urls), clean_url(&urls));
    }
}
