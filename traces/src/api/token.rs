//! The token of the next page: a place in the list of traces.

use super::error::ApiError;
use crate::store::Position;

/// Writes the place after which the next page begins.
pub(super) fn write(position: Position) -> String {
    format!("v1-{:x}-{:x}", position.at.to_bits(), position.key)
}

/// Reads a token that [`write`] has written.
pub(super) fn read(token: Option<&str>) -> Result<Option<Position>, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let parse = || {
        let (at, key) = token.strip_prefix("v1-")?.split_once('-')?;
        let at = f64::from_bits(u64::from_str_radix(at, 16).ok()?);
        let key = i64::from_str_radix(key, 16).ok()?;
        at.is_finite().then_some(Position { at, key })
    };
    parse().map(Some).ok_or_else(|| {
        let short: String = token.chars().take(40).collect();
        ApiError::invalid(format!(
            "NextToken is {short:?}, expected the NextToken of a former answer"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_returns_the_place_it_was_made_from() {
        for at in [0.0, 1_700_000_000.123_456, 253_402_300_799.0] {
            let position = Position { at, key: 77 };
            assert_eq!(read(Some(&write(position))).unwrap(), Some(position));
        }
        assert_eq!(read(None).unwrap(), None);
    }

    #[test]
    fn foreign_token_is_an_invalid_request() {
        for token in [
            "v1-zz-1",
            "v1-7ff0000000000000-1",
            "x",
            "v1-0-1-2",
            "'; DROP TABLE traces",
        ] {
            assert!(read(Some(token)).is_err(), "{token}");
        }
    }
}
