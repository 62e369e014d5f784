//! Text in blocks of 64 bytes, each looked at as a whole: what a byte is becomes a bit of a `u64`,
//! and what depends on the bytes before it (is a quote escaped, is a bracket in a string) becomes
//! arithmetic on such words instead of a branch for every byte. The method is that of Langdale and
//! Lemire, "Parsing Gigabytes of JSON per Second" (2019), section 3.1.
//!
//! The vectors are of `wide`: the compiler makes the same instructions of plain loops over bytes
//! only by halves, and none when it optimises for size.

use memchr::memchr;
use wide::u8x16;

/// Bytes in a block.
pub(super) const SIZE: usize = u64::BITS as usize;

/// Every other place, for the parity of runs of backslashes.
const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;

#[derive(Debug, Clone, Copy)]
struct Block<'a>(&'a [u8; SIZE]);

impl<'a> Block<'a> {
    /// The bytes from `at`. Where the text ends they are filled up with spaces, in `last`. None
    /// where it has ended.
    #[inline(always)]
    fn of(text: &'a [u8], at: usize, last: &'a mut [u8; SIZE]) -> Option<Self> {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some(bytes) = rest.first_chunk() {
            return Some(Self(bytes));
        }
        *last = [b' '; SIZE];
        last[..rest.len()].copy_from_slice(rest);
        Some(Self(last))
    }

    #[inline(always)]
    fn vectors(self) -> [u8x16; SIZE / 16] {
        let (vectors, _) = self.0.as_chunks();
        std::array::from_fn(|nth| u8x16::new(vectors[nth]))
    }

    /// Where the bytes are for which `is` has bits: the first in the lowest bit.
    #[inline(always)]
    fn bits(self, is: impl Fn(u8x16) -> u8x16) -> u64 {
        let vectors = self.vectors().into_iter().rev();
        vectors.fold(0, |bits, bytes| {
            bits << 16 | u64::from(is(bytes).to_bitmask())
        })
    }

    /// Whether there are any such bytes: less work than to say where they are.
    #[inline(always)]
    fn any(self, is: impl Fn(u8x16) -> u8x16) -> bool {
        let [first, second, third, fourth] = self.vectors();
        (is(first) | is(second) | is(third) | is(fourth)).to_bitmask() != 0
    }

    /// Where `byte` is.
    #[inline(always)]
    fn equal(self, byte: u8) -> u64 {
        self.bits(equal(byte))
    }

    /// Where brackets of both kinds open, and where they close.
    #[inline(always)]
    fn brackets(self) -> (u64, u64) {
        let (opening, closing) = (either(b'{'), either(b'}'));
        if self.any(|bytes| opening(bytes) | closing(bytes)) {
            (self.bits(opening), self.bits(closing))
        } else {
            (0, 0)
        }
    }
}

#[inline(always)]
fn equal(byte: u8) -> impl Fn(u8x16) -> u8x16 {
    move |bytes| bytes.simd_eq(u8x16::splat(byte))
}

/// Brackets of both kinds differ in one bit.
#[inline(always)]
fn either(byte: u8) -> impl Fn(u8x16) -> u8x16 {
    move |bytes| (bytes | u8x16::splat(0x20)).simd_eq(u8x16::splat(byte))
}

/// The first place from `at` at which `is` has bits.
#[inline(always)]
fn find(text: &[u8], mut at: usize, is: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let mut last = [0; SIZE];
    loop {
        let block = Block::of(text, at, &mut last)?;
        if block.any(&is) {
            return Some(at + block.bits(is).trailing_zeros() as usize);
        }
        at += SIZE;
    }
}

/// The first place from `at` of anything but spaces and control characters.
pub(super) fn find_visible(text: &[u8], at: usize) -> Option<usize> {
    find(text, at, |bytes| {
        bytes.max(u8x16::splat(b'!')).simd_eq(bytes)
    })
}

/// The first place from `at` at which a value without quotes and brackets ends.
pub(super) fn find_end(text: &[u8], at: usize) -> Option<usize> {
    find(text, at, |bytes| equal(b',')(bytes) | either(b'}')(bytes))
}

/// The first place from `at` of a quote, or of what may be a bracket: not of white space, digits
/// and commas.
fn find_structure(text: &[u8], at: usize) -> Option<usize> {
    find(text, at, |bytes| {
        bytes.max(u8x16::splat(b'[')).simd_eq(bytes) | bytes.simd_eq(u8x16::splat(b'"'))
    })
}

/// Place of the quote that ends a string, from the first byte of its text.
pub(super) fn end_of_string(text: &[u8], at: usize) -> Option<usize> {
    let mut strings = Strings {
        inside: u64::MAX,
        ..Strings::new(text, at)
    };
    let mut last = [0; SIZE];
    loop {
        let (_, ends) = strings.next_block(&mut last)?;
        if ends != 0 {
            return Some(strings.at - SIZE + ends.trailing_zeros() as usize);
        }
    }
}

/// What JSON is built of in one block, outside of strings but for the quotes.
#[derive(Debug)]
pub(super) struct Structure {
    /// Place of the block's first byte.
    pub(super) at: usize,
    /// Brackets that open.
    pub(super) opening: u64,
    /// Brackets that close.
    pub(super) closing: u64,
    /// Quotes that begin a string.
    pub(super) begins: u64,
    /// Quotes that end one.
    pub(super) ends: u64,
}

impl Structure {
    /// Where the text begins that is the last before the place of `bit`, or without one, in the
    /// block: behind its quote.
    #[inline]
    pub(super) fn last_begin(&self, bit: u64) -> Option<usize> {
        let before = self.begins & bit.wrapping_sub(1);
        (before != 0).then(|| self.at + SIZE - before.leading_zeros() as usize)
    }

    /// The depth after the block, of that before it, if it is above `least` in all of it.
    #[inline]
    pub(super) fn depth_above(&self, least: usize, depth: usize) -> Option<usize> {
        if depth <= least {
            return None;
        }
        let (opened, closed) = (self.opening.count_ones(), self.closing.count_ones());
        (closed as usize + least < depth).then(|| depth + opened as usize - closed as usize)
    }
}

/// The blocks of a text that have structure, from a place that is in no string.
#[derive(Debug)]
pub(super) struct Strings<'a> {
    text: &'a [u8],
    /// Where the next block is.
    at: usize,
    /// All bits if it begins in a string.
    inside: u64,
    /// One if its first byte is escaped.
    escaped: u64,
}

impl<'a> Strings<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            inside: 0,
            escaped: 0,
        }
    }

    /// The next block, and its quotes that begin or end a string.
    #[inline]
    fn next_block<'b>(&mut self, last: &'b mut [u8; SIZE]) -> Option<(Block<'b>, u64)>
    where
        'a: 'b,
    {
        let mut quotes = Block::of(self.text, self.at, last)?.equal(b'"');
        if quotes == 0 && self.inside != 0 {
            // A search for the quote alone is the fastest there is.
            self.at += SIZE;
            self.at += memchr(b'"', self.text.get(self.at..)?)?;
            self.escaped = u64::from(backslashes_before(&self.text[..self.at]) % 2 == 1);
            quotes = Block::of(self.text, self.at, last)?.equal(b'"');
        }
        let block = Block::of(self.text, self.at, last)?;
        self.at += SIZE;
        if quotes == 0 {
            // Outside of strings there are no backslashes.
            return Some((block, 0));
        }
        let backslashes = block.equal(b'\\');
        if self.escaped | backslashes == 0 {
            return Some((block, quotes));
        }
        let escapes = self.escapes(backslashes);
        Some((block, quotes & !escapes))
    }

    /// The places that are escaped by a backslash before them. A backslash that is escaped does
    /// not escape: of a run of them it is every other one that does. The subtraction carries
    /// through all of a run at once.
    fn escapes(&mut self, backslashes: u64) -> u64 {
        let starts = backslashes & !self.escaped;
        let series = ((starts << 1) | ODD).wrapping_sub(starts) ^ ODD;
        let escaped = series ^ (backslashes | self.escaped);
        self.escaped = (series & backslashes) >> 63;
        escaped
    }

    /// The places from each string's first quote to before its last.
    #[inline]
    fn texts(&mut self, delimiters: u64) -> u64 {
        // Each bit becomes the parity of those up to it.
        let mut parity = delimiters;
        for distance in [1, 2, 4, 8, 16, 32] {
            parity ^= parity << distance;
        }
        parity ^= self.inside;
        self.inside = 0_u64.wrapping_sub(parity >> 63);
        parity
    }
}

impl Iterator for Strings<'_> {
    type Item = Structure;

    #[inline]
    fn next(&mut self) -> Option<Structure> {
        let mut last = [0; SIZE];
        loop {
            let (block, delimiters) = self.next_block(&mut last)?;
            if delimiters == 0 && self.inside != 0 {
                continue;
            }
            let texts = self.texts(delimiters);
            let (opening, closing) = block.brackets();
            let (opening, closing) = (opening & !texts, closing & !texts);
            if delimiters | opening | closing != 0 {
                return Some(Structure {
                    at: self.at - SIZE,
                    opening,
                    closing,
                    begins: delimiters & texts,
                    ends: delimiters & !texts,
                });
            }
            self.at = find_structure(self.text, self.at)?;
        }
    }
}

/// Length of the run of backslashes at the end of `text`.
fn backslashes_before(text: &[u8]) -> usize {
    let (rest, blocks) = text.as_rchunks();
    let full = blocks.iter().rev();
    let full = full.take_while(|block| Block(block).equal(b'\\') == u64::MAX);
    let full = full.count();
    let last = match blocks.len().checked_sub(full + 1) {
        Some(last) => &blocks[last][..],
        None => rest,
    };
    full * SIZE + last.iter().rev().take_while(|byte| **byte == b'\\').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brackets outside of strings, and the quotes of these, byte by byte.
    fn structure(text: &str) -> Vec<(usize, char)> {
        let (mut found, mut inside, mut escaped) = (Vec::new(), false, false);
        for (at, byte) in text.char_indices() {
            let is_quote = byte == '"' && !escaped;
            let is_bracket = !inside && "{}[]".contains(byte);
            escaped = inside && byte == '\\' && !escaped;
            inside ^= is_quote;
            if is_quote || is_bracket {
                found.push((at, byte));
            }
        }
        found
    }

    fn structure_by_blocks(text: &str) -> Vec<(usize, char)> {
        let mut found = Vec::new();
        for block in Strings::new(text.as_bytes(), 0) {
            for bit in 0..SIZE {
                let is = |bits: u64| bits >> bit & 1 == 1;
                if is(block.opening | block.closing | block.begins | block.ends) {
                    found.push((block.at + bit, char::from(text.as_bytes()[block.at + bit])));
                }
                let quote = is(block.begins | block.ends);
                assert!(!quote || !is(block.opening | block.closing));
                assert!(!is(block.opening) || "{[".contains(found[found.len() - 1].1));
                assert!(!is(block.closing) || "}]".contains(found[found.len() - 1].1));
            }
        }
        found
    }

    #[test]
    fn finds_what_a_look_at_each_byte_finds() {
        let mut rng = fastrand::Rng::with_seed(20_261_123);
        let outside = ["{", "[", "]", "}", ",", ":", " ", "-1.5e3", "null", "\n"];
        let inside = ["\\\\", "\\\"", "\\n", "{", "]", "words", "é", "\\u0022"];
        let any = |rng: &mut fastrand::Rng, pieces: &[&str]| {
            let piece = pieces[rng.usize(..pieces.len())];
            piece.repeat(match rng.u8(0..8) {
                0 => rng.usize(1..400),
                _ => rng.usize(1..4),
            })
        };
        for _ in 0..3_000 {
            let mut text = String::new();
            for _ in 0..rng.usize(0..20) {
                text.push_str(&any(&mut rng, &outside));
                text.push('"');
                for _ in 0..rng.usize(0..4) {
                    text.push_str(&any(&mut rng, &inside));
                }
                text.push('"');
            }
            assert_eq!(structure_by_blocks(&text), structure(&text), "{text}");
        }
    }

    #[test]
    fn runs_of_backslashes_of_any_length() {
        for length in 0..300 {
            let text = format!("{}{}", "x".repeat(length % 7), "\\".repeat(length));
            assert_eq!(backslashes_before(text.as_bytes()), length);
            let quoted = format!("{text}\"");
            let end = end_of_string(quoted.as_bytes(), 0);
            assert_eq!(end.is_some(), length % 2 == 0, "{length}");
        }
    }
}
