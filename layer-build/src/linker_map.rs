//! Sizes of crates in the binary, read from the linker's map.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

/// Number of crates that are listed by name.
const NAMED: usize = 8;

/// Returns one line with the crates that have the most bytes of code, and their shares.
pub(crate) fn shares(map: &Path) -> Result<String> {
    let text = match fs::read_to_string(map) {
        Ok(text) => text,
        // The linker writes it, and does not run if nothing has changed.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(format!(
                "code by crate: unknown, because {} is missing (run cargo clean, then cargo layer)",
                map.display()
            ));
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", map.display())),
    };
    let sizes = by_crate(&text);
    let total: u64 = sizes.values().sum();
    let mut ordered: Vec<_> = sizes.into_iter().collect();
    ordered.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), name.clone()));
    let named: Vec<_> = ordered
        .iter()
        .take(NAMED)
        .map(|(name, size)| format!("{name} {} %", (size * 100 + total / 2) / total.max(1)))
        .collect();
    Ok(format!(
        "code by crate: {}, the rest {} %",
        named.join(", "),
        (ordered
            .iter()
            .skip(NAMED)
            .map(|(_, size)| size)
            .sum::<u64>()
            * 100)
            / total.max(1)
    ))
}

/// Adds up the bytes of the functions of each crate. A line of the map is address, load address, size
/// and alignment (hexadecimal except the alignment), then a name. Names of symbols are indented most
/// and have no parenthesis.
fn by_crate(map: &str) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for line in map.lines() {
        let mut columns = line.split_whitespace().skip(2);
        let (Some(size), Some(_), Some(name)) = (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        // Input sections: `file:(.text.name)`.
        let Some(symbol) = name
            .split_once(":(.text")
            .and_then(|(_, rest)| rest.strip_suffix(')'))
        else {
            continue;
        };
        let Ok(size) = u64::from_str_radix(size, 16) else {
            continue;
        };
        *sizes
            .entry(crate_of(symbol.trim_start_matches('.')))
            .or_default() += size;
    }
    sizes
}

/// Returns the crate of a symbol, which is the first name in it. An implementation for a type of
/// another crate, `<a::T as b::U>::f`, belongs to the type's crate.
fn crate_of(symbol: &str) -> String {
    let symbol = symbol.strip_prefix("unlikely.").unwrap_or(symbol);
    if !symbol.starts_with("_ZN") && !symbol.starts_with("_R") {
        return "libc".to_owned();
    }
    let plain = rustc_demangle::demangle(symbol).to_string();
    let path = plain.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path
        .trim_start_matches("mut ")
        .trim_start_matches("const ")
        .trim_start_matches("dyn ");
    let name: String = path
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    match name.as_str() {
        "core" | "alloc" | "std" | "" => "std".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added_up_by_crate() {
        let map = "\
     VMA      LMA     Size Align Out     In      Symbol
  1000   1000      300    16 .text
  1000   1000      100    16         /t/a.o:(.text._ZN5tokio7runtime4task17h0123456789abcdefE)
  1000   1000      100     1                 tokio::runtime::task
  1100   1100       20    16         /t/a.o:(.text.unlikely._ZN4core9panicking5panic17h0123456789abcdefE)
  1120   1120       10    16         libc.a(memcpy.o):(.text.memcpy)
  1130   1130       10    16         libc.a(x.o):(.text)
  2000   2000       40     8         /t/a.o:(.rodata.x)
";
        let expected = [("libc", 0x20), ("std", 0x20), ("tokio", 0x100)];
        let found = by_crate(map);
        let found: Vec<_> = found
            .iter()
            .map(|(name, size)| (name.as_str(), *size))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn symbols_belong_to_the_first_crate_in_their_name() {
        for (symbol, expected, reason) in [
            ("memcpy", "libc", "not Rust"),
            (
                "_ZN51_$LT$hyper..Error$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
                "hyper",
                "an implementation belongs to its type",
            ),
            ("_RNvCs1234_7mycrate3foo", "mycrate", "the newer mangling"),
        ] {
            assert_eq!(crate_of(symbol), expected, "{reason}");
        }
    }
}
