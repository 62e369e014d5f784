//! A cursor over JSON text that skips what nobody asks for. It builds nothing, copies nothing and
//! does not recurse, so that neither size nor nesting of a stranger's text costs more than one
//! look at each byte.
//!
//! It does not validate what it skips: text that is not JSON ends the search, or is searched as
//! far as it looks like JSON.

use std::borrow::Cow;

use memchr::memchr2;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
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
        if self.eat(b'}') {
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
            let rest = self.json.get(self.at..)?;
            let found = memchr2(b'"', b'\\', rest)?;
            if rest[found] == b'"' {
                let text = &self.json[start..self.at + found];
                self.at += found + 1;
                return Some(text);
            }
            self.at += found + 2;
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
            let rest = self.json.get(self.at..)?;
            self.at += rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
            match self.json[self.at] {
                b'"' => {
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
