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
    while let Some(next) = LABELS
        .iter()
        .find_map(|label| rest.strip_prefix(label)?.strip_prefix(": "))
    {
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
            // Not an apostrophe, as in "can't".
            '\'' | '’' => !(before.is_alphabetic() && after.is_some_and(char::is_alphabetic)),
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

    proptest! {
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
