//! Forms of names and ids.

use std::sync::LazyLock;

use regex::Regex;

/// Matches a character that no name contains. The schema's pattern for a name is
/// `^[\p{L}\p{N}\p{Z}_.:/%&#=+\-@]{1,200}$`: it spells the classes out as ranges, and
/// `java_pattern` beside it names them.
static FOREIGN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[^\p{L}\p{N}\p{Z}_.:/%&#=+\-@]").expect("the pattern is constant and valid")
});

/// Returns why X-Ray refuses a name, or `None` for a valid name.
pub(super) fn name_problem(name: &str) -> Option<String> {
    if let Some(foreign) = FOREIGN.find(name) {
        let foreign = foreign.as_str();
        return Some(format!(
            "{name:?} contains {foreign:?}, which X-Ray does not accept"
        ));
    }
    match name.chars().count() {
        1..=200 => None,
        length => Some(format!("{length} characters, expected 1 to 200")),
    }
}

/// Returns whether a text is 16 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    is_hexadecimal(text, 16)
}

/// Returns whether a text is a trace id: version 1, seconds since 1970, 24 random digits.
pub(super) fn is_trace_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], ["1", time, random] if is_hexadecimal(time, 8)
        && is_hexadecimal(random, 24))
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
