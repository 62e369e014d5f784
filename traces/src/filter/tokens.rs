//! The words, signs and values of filter expressions, each with the white space after it.

use winnow::ascii::{Caseless, multispace0};
use winnow::combinator::{alt, cut_err, delimited, not, peek, preceded, repeat, separated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{any, take_while};

use super::syntax::Compare;

/// Commits to a parser: if it fails, the whole expression is invalid, and this was expected.
pub(super) fn expect<'a, O>(
    expected: &'static str,
    parser: impl ModalParser<&'a str, O, ContextError>,
) -> impl ModalParser<&'a str, O, ContextError> {
    cut_err(parser).context(StrContext::Expected(StrContextValue::Description(expected)))
}

/// Returns the error for a value that was read, but is invalid.
pub(super) fn invalid(expected: &'static str) -> ErrMode<ContextError> {
    let mut error = ContextError::new();
    error.push(StrContext::Expected(StrContextValue::Description(expected)));
    ErrMode::Cut(error)
}

pub(super) fn space<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    multispace0.parse_next(input)
}

/// Parses a sign with the white space after it.
pub(super) fn sign<'a>(text: &'static str) -> impl ModalParser<&'a str, &'a str, ContextError> {
    (text, space).take()
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | ':' | '/' | '@')
}

/// Parses one of the words of the language, in any case, with the white space after it.
pub(super) fn word<'a>(text: &'static str) -> impl ModalParser<&'a str, (), ContextError> {
    (Caseless(text), not(take_while(1, is_word)), space).void()
}

pub(super) fn boolean(input: &mut &str) -> ModalResult<bool> {
    let quoted = delimited(
        "\"",
        alt(("true".value(true), "false".value(false))),
        sign("\""),
    );
    alt((word("true").value(true), word("false").value(false), quoted)).parse_next(input)
}

pub(super) fn comparison(input: &mut &str) -> ModalResult<Compare> {
    alt((
        sign("!=").value(Compare::NotEqual),
        sign("<=").value(Compare::AtMost),
        sign(">=").value(Compare::AtLeast),
        sign("=").value(Compare::Equal),
        sign("<").value(Compare::Less),
        sign(">").value(Compare::Greater),
    ))
    .parse_next(input)
}

/// Parses a decimal number, without the words `inf` and `NaN`.
pub(super) fn number(input: &mut &str) -> ModalResult<f64> {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let starts = peek(any.verify(|c: &char| c.is_ascii_digit() || matches!(c, '-' | '.')));
    let number = preceded(starts, take_while(1.., digits));
    let number = number.verify_map(|text: &str| text.parse().ok());
    (number, not(take_while(1, is_word)), space)
        .map(|(number, ..)| number)
        .parse_next(input)
}

/// Parses values between parentheses, with commas between them.
pub(super) fn list<'a, T>(
    expected: &'static str,
    value: impl ModalParser<&'a str, T, ContextError>,
    input: &mut &'a str,
) -> ModalResult<Vec<T>> {
    expect("a list in parentheses", sign("(")).parse_next(input)?;
    let values = separated(1.., expect(expected, value), sign(",")).parse_next(input)?;
    expect("a comma or a closing parenthesis", sign(")")).parse_next(input)?;
    Ok(values)
}

/// Parses a text in quotes, in which a backslash precedes quotes and backslashes.
pub(super) fn text(input: &mut &str) -> ModalResult<String> {
    let plain = take_while(1.., |c: char| c != '"' && c != '\\').map(str::to_owned);
    let escaped = preceded('\\', any).map(|c: char| match c {
        '"' | '\\' => c.to_string(),
        other => format!("\\{other}"),
    });
    let parts = repeat(0.., alt((plain, escaped))).fold(String::new, |mut all, part: String| {
        all.push_str(&part);
        all
    });
    delimited('"', parts, expect("a closing quote", sign("\""))).parse_next(input)
}

/// Parses a text without quotes: the guide has one in an example.
pub(super) fn bare(input: &mut &str) -> ModalResult<String> {
    let bare = (take_while(1.., is_word), space);
    bare.map(|(text, _): (&str, _)| text.to_owned())
        .parse_next(input)
}

pub(super) fn between_parentheses<'a, T>(
    input: &mut &'a str,
    content: impl ModalParser<&'a str, T, ContextError>,
) -> ModalResult<T> {
    let open = expect("an opening parenthesis", sign("("));
    let close = expect("a closing parenthesis", sign(")"));
    delimited(open, content, close).parse_next(input)
}
