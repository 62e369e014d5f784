//! Lower-case hexadecimal without `format!`: six ids are printed for every subsegment.

/// Returns the eight digits of `value`. All are computed at once: each digit moves into a byte of
/// its own, to which the character `0` is added and, from 10 on, the distance to `a`.
#[inline]
pub(crate) fn encode(value: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut digits = u64::from(value);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((digits + 6 * EACH) >> 4) & EACH;
    let characters = digits + u64::from(b'0') * EACH + letters * u64::from(b'a' - b'0' - 10);
    characters.to_be_bytes()
}

/// Parses hex digits of either case into `out`. Returns `None` unless `text` has exactly two digits
/// for each byte.
pub(crate) fn decode(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(())
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}
