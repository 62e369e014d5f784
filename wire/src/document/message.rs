//! Error messages without values that they quote.

use std::borrow::Cow;

use super::url::clean_urls;

/// Most characters of a [`first_clause`].
const CLAUSE_LENGTH: usize = 120;

/// Labels before the message of an error, as PostgreSQL, `tokio-postgres`, `sqlx` and the AWS SDK
/// for Rust write them.
const LABELS: [&str; 8] = [
    "ERROR",
    "FATAL",
    "PANIC",
    "db error",
    "error returned from database",
    "service error",
    "unhandled error",
    "Error",
];

/// Returns the message of an error or panic without the secrets that it may quote.
///
/// URLs lose user, query and fragment, because HTTP clients put the whole URL into their errors.
/// The text from a line `DETAIL:` on is removed: there PostgreSQL lists the values that violate a
/// constraint.
///
/// ```
/// use tracestitch_wire::document::clean_message;
///
/// let message = "ERROR: duplicate key\nDETAIL: Key (email)=(me@example.com) already exists.";
/// assert_eq!(clean_message(message), "ERROR: duplicate key");
/// ```
pub fn clean_message(message: &str) -> Cow<'_, str> {
    let end = message.find("\nDETAIL:").unwrap_or(message.len());
    clean_urls(&message[..end])
}

/// Returns the message of an error or panic of the function itself, without values that it quotes.
///
/// Most errors repeat the text of the error that caused them, and services, databases and parsers
/// quote values in theirs: `Duplicate entry 'me@example.com'`, `invalid type: string "secret"`. The
/// text between quotes is replaced by `?`, and so are values after `)=`, as PostgreSQL writes them.
/// If the end of a value is ambiguous, more is left out: it reaches up to the last closing quote of
/// the message, or without one to the end of the message. The name in serde's ``missing field `name` ``
/// stays, because it comes from the code. The rest is cleaned as in [`clean_message`].
///
/// ```
/// use tracestitch_wire::document::without_quoted;
///
/// assert_eq!(without_quoted("no order 'o-1' in stock"), "no order '?' in stock");
/// assert_eq!(without_quoted("the shop can't deliver"), "the shop can't deliver");
/// ```
pub fn without_quoted(message: &str) -> String {
    let message = clean_message(message);
    let mut kept = String::with_capacity(message.len());
    let mut rest = &*message;
    while let Some((begin, close)) = quoted(rest) {
        let value = &rest[begin..];
        if rest[..begin].ends_with("missing field `")
            && let Some(end) = value.find('`')
        {
            let end = begin + end + 1;
            kept.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        kept.push_str(&rest[..begin]);
        kept.push('?');
        let Some(end) = value.rfind(close) else {
            kept.push('…');
            return kept;
        };
        let end = begin + end + close.len_utf8();
        kept.push(close);
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

/// Returns the place behind the first opening quote of `text`, and the sign that closes it.
fn quoted(text: &str) -> Option<(usize, char)> {
    let mut signs = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, sign)) = signs.next() {
        let after = signs.peek().map(|(_, sign)| *sign);
        let close = match sign {
            '"' | '`' => Some(sign),
            '“' => Some('”'),
            '„' => Some('“'),
            '‘' => Some('’'),
            '«' => Some('»'),
            '(' if text[..at].ends_with(")=") => Some(')'),
            '\'' if !is_apostrophe(before, after) => Some(sign),
            _ => None,
        };
        if let Some(close) = close {
            return Some((at + sign.len_utf8(), close));
        }
        before = sign;
    }
    None
}

/// Returns true for a quote between letters, as in "can't".
fn is_apostrophe(before: char, after: Option<char>) -> bool {
    before.is_alphabetic() && after.is_some_and(char::is_alphabetic)
}

/// Returns the first clause of a message that a service or database wrote, at most 120 characters.
///
/// Such messages quote values of the request: keys of items, values of rows. A value is most often
/// in quotes or brackets or follows a colon, so the clause ends before the first of these; it also
/// ends at a comma, a semicolon, an equals sign, the end of a sentence and the end of the line.
/// `ERROR: ` and labels of known clients stay before it. Words that may be values become `?`: with
/// a digit and more than three characters, with a sign such as `@` or `/`, or longer than 40
/// characters. An ellipsis shows that the message goes on.
///
/// ```
/// use tracestitch_wire::document::first_clause;
///
/// assert_eq!(
///     first_clause("One or more parameter values were invalid: Type mismatch for key 4711"),
///     "One or more parameter values were invalid…",
/// );
/// assert_eq!(first_clause("ERROR: Duplicate entry 'me' for key 'email'"), "ERROR: Duplicate entry…");
/// assert_eq!(first_clause("Customer 47110815 does not exist."), "Customer ? does not exist.");
/// ```
pub fn first_clause(message: &str) -> String {
    let message = message.trim();
    let mut rest = message;
    while let Some(next) = behind_label(rest) {
        rest = next;
    }
    let end = clause_end(rest);
    let mut clause = message[..message.len() - rest.len()].to_owned();
    let mut is_whole = end == rest.len();
    for (index, word) in rest[..end].split_whitespace().enumerate() {
        let word = if may_be_value(word) { "?" } else { word };
        if clause.chars().count() + word.chars().count() >= CLAUSE_LENGTH {
            is_whole = false;
            break;
        }
        if index > 0 {
            clause.push(' ');
        }
        clause.push_str(word);
    }
    if !is_whole {
        clause.push('…');
    }
    clause
}

/// Returns the text behind a label: one of [`LABELS`], or the code of a database as `sqlx` and MySQL
/// write it, `(code: 2067) ` or `1062 (23000): `.
fn behind_label(text: &str) -> Option<&str> {
    let code = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric());
        let end = end.unwrap_or(text.len());
        (1..=5).contains(&end).then_some(end)
    };
    let word = || {
        let label = |label| text.strip_prefix(label)?.strip_prefix(": ");
        LABELS.iter().find_map(|known| label(*known))
    };
    let of_sqlite = || {
        let text = text.strip_prefix("(code: ")?;
        text[code(text)?..].strip_prefix(") ")
    };
    let of_mysql = || {
        let text = text.strip_prefix("ERROR ").unwrap_or(text);
        let number = code(text).filter(|end| text[..*end].bytes().all(|b| b.is_ascii_digit()))?;
        let text = text[number..].strip_prefix(" (")?;
        text[code(text)?..].strip_prefix("): ")
    };
    word().or_else(of_sqlite).or_else(of_mysql)
}

/// Finds the end of the first clause of `text`.
fn clause_end(text: &str) -> usize {
    let mut signs = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, sign)) = signs.next() {
        let after = signs.peek().map(|(_, sign)| *sign);
        let ends = match sign {
            '\n' | '\r' | '(' | '[' | '{' | '<' | '=' | '"' | '`' | '“' | '„' | '‘' | '«' => {
                true
            }
            '\'' | '’' => !is_apostrophe(before, after),
            ':' | ';' | ',' => after.is_none_or(char::is_whitespace),
            '.' | '!' | '?' => after.is_some_and(char::is_whitespace),
            _ => false,
        };
        if ends {
            return text[..at].trim_end().len();
        }
        before = sign;
    }
    text.len()
}

/// Returns true if `word` looks like a value rather than a word of a sentence.
fn may_be_value(word: &str) -> bool {
    let length = word.chars().count();
    let has_digit = word.contains(|c: char| c.is_numeric());
    let has_sign = word.contains([
        '@', '/', '\\', '%', '&', '#', '$', '+', '*', '|', '~', '^', ':', '_',
    ]);
    has_digit && length > 3 || has_sign || length > 40
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_clause_is_kept_without_values() {
        for (message, expected, reason) in [
            (
                "The conditional request failed",
                "The conditional request failed",
                "one clause",
            ),
            ("Rate exceeded.", "Rate exceeded.", "full stop at the end"),
            (
                "The queue does not exist. Use x",
                "The queue does not exist…",
                "two sentences",
            ),
            (
                "Requested resource not found: Table: S",
                "Requested resource not found…",
                "colon",
            ),
            (
                "1 validation error detected: Value 'S'",
                "1 validation error detected…",
                "number",
            ),
            (
                "Duplicate entry 'S' for key 'k'",
                "Duplicate entry…",
                "quoted value",
            ),
            (
                "Duplicate entry 'S's' for key 'k'",
                "Duplicate entry…",
                "quote in a value",
            ),
            ("Can't read `S`", "Can't read…", "apostrophe"),
            (
                "ERROR: duplicate key value violates unique constraint \"k\"",
                "ERROR: duplicate key value violates unique constraint…",
                "PostgreSQL",
            ),
            (
                "db error: ERROR: invalid input syntax for type integer: \"S\"",
                "db error: ERROR: invalid input syntax for type integer…",
                "two labels",
            ),
            (
                "User: arn:aws:iam::1:user/S is not",
                "User…",
                "a label that is not known",
            ),
            (
                "UNIQUE constraint failed: orders.id",
                "UNIQUE constraint failed…",
                "SQLite",
            ),
            (
                "error returned from database: (code: 2067) UNIQUE constraint failed: orders.id",
                "error returned from database: (code: 2067) UNIQUE constraint failed…",
                "SQLite by sqlx",
            ),
            (
                "error returned from database: 1062 (23000): Duplicate entry 'S' for key 'k'",
                "error returned from database: 1062 (23000): Duplicate entry…",
                "MySQL by sqlx",
            ),
            (
                "ERROR 1062 (23000): Duplicate entry 'S' for key 'k'",
                "ERROR 1062 (23000): Duplicate entry…",
                "MySQL",
            ),
            ("(code: S) failed", "(code: S) failed", "a short code"),
            ("(code: SECRET) failed", "…", "no code"),
            ("no user S@x.example found", "no user ? found", "address"),
            ("token S3CR3T expired", "token ? expired", "digits"),
            ("cannot reach https://h/?k=S", "cannot reach ?…", "URL"),
            ("a=S", "a…", "pair"),
            ("(S) failed", "…", "nothing before the value"),
            ("first\nS", "first…", "lines"),
            ("", "", "empty"),
        ] {
            assert_eq!(first_clause(message), expected, "{reason}");
        }
        let long = "word ".repeat(100);
        let clause = first_clause(&long);
        assert!(
            clause.ends_with("word…") && clause.chars().count() <= 121,
            "{clause}"
        );
    }

    #[test]
    fn quoted_values_are_left_out_of_own_messages() {
        for (message, expected, reason) in [
            ("no stock", "no stock", "no value"),
            (
                "Duplicate entry 'S' for key 'k'",
                "Duplicate entry '?'",
                "two values",
            ),
            (
                "Duplicate entry 'S's' for key",
                "Duplicate entry '?' for key",
                "quote in a value",
            ),
            (
                "can't read 'S",
                "can't read '?…",
                "a quote that is not closed",
            ),
            (
                "invalid type: string \"S\", expected u32 at line 1",
                "invalid type: string \"?\", expected u32 at line 1",
                "serde",
            ),
            (
                "missing field `orderId` at line 1",
                "missing field `orderId` at line 1",
                "a name in the code",
            ),
            (
                "unknown variant `S`, expected `A`",
                "unknown variant `?`",
                "any other name",
            ),
            (
                "Key (email)=(S) exists",
                "Key (email)=(?) exists",
                "PostgreSQL",
            ),
            ("„S“ and «S»", "„?“ and «?»", "quotes of other languages"),
            (
                "get https://u:S@h/?k=S failed",
                "get https://h/ failed",
                "URL",
            ),
        ] {
            assert_eq!(without_quoted(message), expected, "{reason}");
        }
    }

    proptest! {
        /// Any printable sign may be in the value, also the quote itself.
        #[test]
        fn quoted_value_is_never_in_an_own_message(
            before in "[a-z ]{0,20}",
            quotes in prop::sample::select(vec!["''", "\"\"", "``", "“”", "„“", "‘’", "«»"]),
            value in "[!-~]{0,4}SECRET[!-~]{0,4}",
            after in "[ -~]{0,20}",
        ) {
            let quotes: Vec<char> = quotes.chars().collect();
            let message = format!("{before} {}{value}{}{after}", quotes[0], quotes[1]);
            let kept = without_quoted(&message);
            prop_assert!(!kept.contains("SECRET"), "{message} -> {kept}");
        }

        #[test]
        fn quoted_value_is_never_kept(
            before in "[a-z ]{0,20}",
            quotes in prop::sample::select(vec!["''", "\"\"", "``", "()", "[]", "“”", "<>", "{}"]),
            value in "[!-~]{0,4}SECRET[!-~]{0,4}",
            after in "[ -~]{0,20}",
        ) {
            let quotes: Vec<char> = quotes.chars().collect();
            let message = format!("{before} {}{value}{}{after}", quotes[0], quotes[1]);
            let clause = first_clause(&message);
            prop_assert!(!clause.contains("SECRET"), "{message} -> {clause}");
        }

        #[test]
        fn no_message_panics_or_becomes_long(message in ".{0,300}") {
            prop_assert!(first_clause(&message).chars().count() <= 121);
        }
    }
}
