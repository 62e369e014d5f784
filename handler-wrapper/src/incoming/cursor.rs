//! A cursor over JSON text that skips what nobody asks for. It builds nothing, copies nothing and
//! does not recurse, so that neither size nor nesting of a stranger's text costs more than one
//! look at each byte.
//!
//! It does not validate what it skips: text that is not JSON ends the search, or is searched as
//! far as it looks like JSON.

use std::borrow::Cow;

use super::blocks::{self, Strings};

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// The first byte of what comes next. Control characters are passed as if they were white
    /// space.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let byte = *self.json.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.at = blocks::find_visible(self.json, self.at + 1)?;
        self.json.get(self.at).copied()
    }

    /// Moves past `byte` if it comes next.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// In an object: moves to the value of the next member and gives its key, with its escapes.
    /// None, and past the object, when there are no more.
    pub(super) fn next_key(&mut self) -> Option<&'a [u8]> {
        self.find_key(Some)
    }

    /// The same for the next of those members whose key, with its escapes, `is` something. The
    /// others are passed with what is in them, as fast as what is skipped.
    #[inline]
    pub(super) fn find_key<T>(&mut self, is: impl Fn(&'a [u8]) -> Option<T>) -> Option<T> {
        let mut depth = 1;
        let mut start = None;
        for block in Strings::new(self.json, self.at) {
            if let Some(after) = block.depth_above(1, depth) {
                depth = after;
                continue;
            }
            let mut places = block.opening | block.closing | block.ends;
            while places != 0 {
                let bit = places & places.wrapping_neg();
                let at = block.at + places.trailing_zeros() as usize;
                places ^= bit;
                if block.opening & bit != 0 {
                    depth += 1;
                } else if block.closing & bit != 0 {
                    depth -= 1;
                    if depth == 0 {
                        self.at = at + 1;
                        return None;
                    }
                } else if depth == 1 {
                    let start = block.last_begin(bit).or(start);
                    let mut next = Self {
                        at: at + 1,
                        ..*self
                    };
                    // Without a colon it is a value.
                    if next.eat(b':')
                        && let Some(found) = start.and_then(|start| is(&self.json[start..at]))
                    {
                        *self = next;
                        return Some(found);
                    }
                }
            }
            start = block.last_begin(0).or(start);
        }
        self.at = self.json.len();
        None
    }

    /// In a list: moves to the next element. False, and past the list, when there are no more.
    pub(super) fn next_element(&mut self) -> bool {
        self.eat(b',');
        !self.eat(b']') && self.peek().is_some()
    }

    /// Moves past a string and gives what is between its quotes, with its escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = blocks::end_of_string(self.json, start)?;
        self.at = end + 1;
        Some(&self.json[start..end])
    }

    /// Moves past a value of any kind. None when it is none, or when the text ends in it: then to
    /// the end of the text, so that nobody looks for the value's end again.
    #[inline]
    pub(super) fn skip(&mut self) -> Option<()> {
        let first = self.peek()?;
        let start = self.at;
        let end = match first {
            b'"' => blocks::end_of_string(self.json, self.at + 1).map(|quote| quote + 1),
            b'{' | b'[' => end_of_nested(self.json, self.at).map(|bracket| bracket + 1),
            _ => blocks::find_end(self.json, self.at),
        };
        self.at = end.unwrap_or(self.json.len());
        (end? > start).then_some(())
    }
}

/// Place of the bracket that ends an object or a list, from that which begins it.
fn end_of_nested(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0;
    for block in Strings::new(text, at) {
        if let Some(after) = block.depth_above(0, depth) {
            depth = after;
            continue;
        }
        let mut places = block.opening | block.closing;
        while places != 0 {
            let bit = places & places.wrapping_neg();
            if block.opening & bit != 0 {
                depth += 1;
            } else {
                depth -= 1;
                if depth == 0 {
                    return Some(block.at + places.trailing_zeros() as usize);
                }
            }
            places ^= bit;
        }
    }
    None
}

/// The text of a string, None when it is not UTF-8 or has an escape that is none.
pub(super) fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    if !raw.contains(&b'\\') {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn skips_whatever_looks_like_json() {
        for (json, reason) in [
            (r#""a\"b\\" ,"#, "a string with escapes"),
            (r#""\\\"\"\\\\" ,"#, "a string of escapes"),
            (r#""" ,"#, "an empty string"),
            (r#"{"a":[{"b":"}]"},[]],"c":{}} ,"#, "brackets in a string"),
            ("-1.5e3 ,", "a number"),
            ("null,", "a literal"),
            ("[[[[]]]],", "nesting"),
        ] {
            let mut cursor = Cursor::new(json.as_bytes());
            assert!(cursor.skip().is_some(), "{reason}");
            assert!(cursor.eat(b','), "{reason}");
        }
    }

    #[test]
    fn text_that_ends_too_early_ends_the_search() {
        let deep = "[".repeat(100_000);
        for json in [
            "", " ", "\"", "\"a\\", "{", "{\"a\"", "[1", "}", "]", ",", &deep,
        ] {
            assert!(Cursor::new(json.as_bytes()).skip().is_none(), "{json:.20}");
        }
    }

    #[test]
    fn steps_of_any_length_find_the_same() {
        for length in 0..200 {
            let filler = "1".repeat(length);
            for json in [
                format!("[{filler}],"),
                format!("\"{filler}\","),
                format!("[[{filler}{{\"{filler}\"}}]],"),
                format!("\"{}\\\"{filler}\",", "\\\\".repeat(length)),
                format!("1{filler},"),
                format!("1{},", " ".repeat(length)),
                format!("{}[]{},", "\n".repeat(length), " ".repeat(length)),
            ] {
                let mut cursor = Cursor::new(json.as_bytes());
                assert!(cursor.skip().is_some() && cursor.eat(b','), "{json}");
            }
        }
    }

    /// Text of what matters to the search, at any distance from the borders of blocks.
    fn any_text(rng: &mut fastrand::Rng) -> String {
        let pieces = [
            "\"", "\\", "\\\"", "{", "]", ":", ",", " ", "é", "\n", "\u{1}", "words",
        ];
        let mut text = String::new();
        for _ in 0..rng.usize(0..12) {
            let piece = pieces[rng.usize(..pieces.len())];
            text.push_str(&piece.repeat(rng.usize(1..6) * rng.usize(1..14)));
        }
        text
    }

    fn any_value(rng: &mut fastrand::Rng, depth: u8) -> Value {
        let few = rng.usize(0..6);
        match rng.u8(if depth == 0 { 0..4 } else { 0..6 }) {
            0 => Value::Null,
            1 => rng.i64(..).into(),
            2 | 3 => any_text(rng).into(),
            4 => (0..few).map(|_| any_value(rng, depth - 1)).collect(),
            _ => (0..few)
                .map(|_| (any_text(rng), any_value(rng, depth - 1)))
                .collect(),
        }
    }

    #[test]
    fn skips_what_serde_json_writes() {
        let mut rng = fastrand::Rng::with_seed(20_261_122);
        for round in 0..3_000 {
            let value = any_value(&mut rng, 4);
            let mut json = value.to_string();
            if rng.bool() {
                json = serde_json::to_string_pretty(&value).unwrap();
            }
            let text = format!("{json} , \\\"\"[");
            let mut cursor = Cursor::new(text.as_bytes());
            cursor.skip();
            assert!(cursor.eat(b','), "round {round}: {text}");
            assert_eq!(cursor.at, json.len() + 2, "round {round}: {text}");

            let Value::Object(members) = value else {
                continue;
            };
            let text = |raw| unescape(raw).unwrap().into_owned();
            let mut cursor = Cursor::new(json.as_bytes());
            assert!(cursor.eat(b'{'));
            let mut keys = Vec::new();
            while let Some(key) = cursor.next_key() {
                keys.push(text(key));
                let start = cursor.at;
                cursor.skip();
                let found: Value =
                    serde_json::from_slice(&json.as_bytes()[start..cursor.at]).unwrap();
                assert_eq!(
                    found,
                    members[keys.last().unwrap()],
                    "round {round}: {json}"
                );
            }
            assert_eq!(cursor.at, json.len(), "round {round}: {json}");
            keys.sort();
            assert!(keys.iter().eq(members.keys()), "round {round}: {json}");

            // With the others passed over, and nothing found that is no key of the object.
            for wanted in keys {
                let mut cursor = Cursor::new(json.as_bytes());
                cursor.eat(b'{');
                let found = cursor.find_key(|raw| (text(raw) == wanted).then_some(()));
                assert!(found.is_some(), "round {round}: {wanted} in {json}");
                let start = cursor.at;
                cursor.skip();
                let found: Value =
                    serde_json::from_slice(&json.as_bytes()[start..cursor.at]).unwrap();
                assert_eq!(found, members[&wanted], "round {round}: {wanted} in {json}");
            }
        }
    }

    #[test]
    fn members_and_elements() {
        let mut cursor = Cursor::new(br#" { "a" : [ 1 , "x" ] , "b" : null } !"#);
        assert!(cursor.eat(b'{'));
        assert_eq!(cursor.next_key(), Some(&b"a"[..]));
        assert!(cursor.eat(b'['));
        assert!(cursor.next_element() && cursor.skip().is_some());
        assert!(cursor.next_element());
        assert_eq!(cursor.string(), Some(&b"x"[..]));
        assert!(!cursor.next_element());
        assert_eq!(cursor.next_key(), Some(&b"b"[..]));
        assert!(cursor.skip().is_some());
        assert_eq!(cursor.next_key(), None);
        assert_eq!(cursor.peek(), Some(b'!'));
    }
}
