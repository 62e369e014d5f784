//! Decimal digits without `format!`: three times are printed for every subsegment.

/// Returns the eight digits of `value`, which must be below 100,000,000. All are computed at once:
/// the word is divided into parts, and each step splits every part into quotient and remainder.
#[inline]
pub(crate) fn encode(value: u32) -> [u8; 8] {
    let value = u64::from(value);
    let split = |parts: u64, quotients: u64, divisor: u64, bits: u32| {
        quotients | ((parts - divisor * quotients) << bits)
    };
    let fours = split(value, value / 10_000, 10_000, 32);
    // A multiplication and a shift divide exactly, because each part is below 10,000, then 100.
    let hundredths = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = split(fours, hundredths, 100, 16);
    let tenths = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = split(twos, tenths, 10, 8);
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_of_each_size_are_split() {
        for part in 0..10_000 {
            for value in [part, 10_000 * part, 10_000 * part + part, 99_999_999 - part] {
                assert_eq!(encode(value), *format!("{value:08}").as_bytes());
            }
        }
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(value in 0..100_000_000_u32) {
            prop_assert_eq!(encode(value).to_vec(), format!("{value:08}").into_bytes());
        }
    }
}
