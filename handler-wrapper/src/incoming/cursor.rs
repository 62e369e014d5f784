//! A cursor over JSON text that skips what nobody asks for. It builds nothing, copies nothing and
//! does not recurse, so that neither size nor nesting of a stranger's text costs more than one
//! look at each byte.
//!
//! It does not validate what it skips: text that is not JSON ends the search, or is searched as
//! far as it looks like JSON.

use std::borrow::Cow;

use memchr::memchr;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
    /// Keys and skipped strings so far.
    seen: u32,
    /// Whether a text may hold what is looked for, by a quicker look than that at its structure.
    hope: Option<fn(&[u8]) -> bool>,
}

/// Strings after which the rest is asked for hope. Fewer are skipped as fast as they are asked.
const PATIENCE: u32 = 64;

/// Bytes that are looked at one by one before larger steps are worth it.
const NEAR: usize = 16;

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self {
            json,
            at: 0,
            seen: 0,
            hope: None,
        }
    }

    /// The same, that ends the search where `hope` says that what is looked for is not in the rest.
    pub(super) fn hoping(json: &'a [u8], hope: fn(&[u8]) -> bool) -> Self {
        Self {
            hope: Some(hope),
            ..Self::new(json)
        }
    }

    /// True, and at the end of the text, when there is no hope in what comes next.
    fn is_hopeless(&mut self) -> bool {
        self.seen = self.seen.saturating_add(1);
        let hope = self.hope.filter(|_| self.seen == PATIENCE);
        let hopeless = hope.is_some_and(|hope| !hope(self.json.get(self.at..).unwrap_or_default()));
        if hopeless {
            self.at = self.json.len();
        }
        hopeless
    }

    /// The first byte of what comes next.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.json.get(self.at..)?;
        self.at += rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
        self.json.get(self.at).copied()
    }

    /// Moves past `byte` if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// In an object: moves to the value of the next member and gives its key, with its escapes.
    /// None, and past the object, when there are no more.
    pub(super) fn next_key(&mut self) -> Option<&'a [u8]> {
        self.eat(b',');
        if self.eat(b'}') || self.is_hopeless() {
            return None;
        }
        let key = self.string()?;
        self.eat(b':').then_some(key)
    }

    /// In a list: moves to the next element. False, and past the list, when there are no more.
    pub(super) fn next_element(&mut self) -> bool {
        self.eat(b',');
        !self.eat(b']') && self.peek().is_some()
    }

    /// Moves past a string and gives what is between its quotes, with its escapes.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        if !self.eat(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            // A search for the quote alone is faster than one for quotes and backslashes: the
            // backslashes that may escape it stand right before it.
            let end = self.at + quote(self.json.get(self.at..)?)?;
            self.at = end + 1;
            let text = &self.json[start..end];
            let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes.is_multiple_of(2) {
                return Some(text);
            }
        }
    }

    /// Moves past a value of any kind. None when the text ends in it, or it is none.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let rest = self.json.get(self.at..)?;
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}' | b']'))
                    .filter(|length| *length > 0)?;
                self.at += length;
                Some(())
            }
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.at += structure(self.json.get(self.at..)?)?;
            match self.json[self.at] {
                b'"' => {
                    if self.is_hopeless() {
                        return None;
                    }
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Place of the next quote. Most strings are shorter than the call of a vectorised search is worth.
fn quote(text: &[u8]) -> Option<usize> {
    let near = &text[..text.len().min(NEAR)];
    let found = near.iter().position(|byte| *byte == b'"');
    found.or_else(|| Some(near.len() + memchr(b'"', &text[near.len()..])?))
}

/// Place of the next quote or bracket. What has none for long, such as a list of numbers, is
/// passed in steps that the compiler makes vector instructions of.
fn structure(text: &[u8]) -> Option<usize> {
    let near = &text[..text.len().min(NEAR)];
    if let Some(found) = near.iter().position(is_structure) {
        return Some(found);
    }
    let mut at = near.len();
    for step in text[at..].chunks_exact(NEAR) {
        if step
            .iter()
            .fold(false, |any, byte| any | is_structure(byte))
        {
            break;
        }
        at += NEAR;
    }
    Some(at + text[at..].iter().position(is_structure)?)
}

/// Brackets of both kinds differ in one bit.
fn is_structure(byte: &u8) -> bool {
    *byte == b'"' || matches!(*byte | 0x20, b'{' | b'}')
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
        for length in 0..3 * NEAR {
            let filler = "1".repeat(length);
            for json in [
                format!("[{filler}],"),
                format!("\"{filler}\","),
                format!("[[{filler}{{\"{filler}\"}}]],"),
                format!("\"{}\\\"{filler}\",", "\\\\".repeat(length)),
            ] {
                let mut cursor = Cursor::new(json.as_bytes());
                assert!(cursor.skip().is_some() && cursor.eat(b','), "{json}");
            }
        }
    }

    #[test]
    fn without_hope_the_search_ends() {
        let list = format!("[{}0],", "\"a\",".repeat(2 * PATIENCE as usize));
        for (hope, ends) in [(false, true), (true, false)] {
            let hope: fn(&[u8]) -> bool = if hope { |_| true } else { |_| false };
            let mut cursor = Cursor::hoping(list.as_bytes(), hope);
            assert_eq!(cursor.skip().is_none(), ends);
            assert_eq!(cursor.peek().is_none(), ends);
        }
        let few = Cursor::hoping(b"[\"a\"],", |_| false).skip();
        assert!(few.is_some(), "not worth the question");
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
