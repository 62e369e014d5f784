//! The parser of filter expressions.

use serde_json::Value;
use winnow::ascii::Caseless;
use winnow::combinator::{alt, delimited, eof, opt, peek, repeat, separated};
use winnow::error::{StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::take_while;

use super::error::FilterError;
use super::syntax::{
    AnnotationTest, Compare, Expression, FlagKey, Group, NumberKey, Part, Target, TextKey, TextTest,
};
use super::tokens::{
    bare, between_parentheses, boolean, comparison, expect, invalid, is_word, list, number, sign,
    space, text, word,
};
use crate::model::Cause;

/// Deepest nesting of parentheses and braces. The parser calls itself for each level.
const NESTING: usize = 64;

const FLAGS: [(&str, FlagKey); 10] = [
    ("ok", FlagKey::Ok),
    ("error", FlagKey::Error),
    ("throttle", FlagKey::Throttle),
    ("fault", FlagKey::Fault),
    ("partial", FlagKey::Partial),
    ("inferred", FlagKey::Inferred),
    ("first", FlagKey::First),
    ("last", FlagKey::Last),
    ("remote", FlagKey::Remote),
    ("root", FlagKey::Root),
];
const NUMBERS: [(&str, NumberKey); 5] = [
    ("responsetime", NumberKey::ResponseTime),
    ("duration", NumberKey::Duration),
    ("http.status", NumberKey::Status),
    ("index", NumberKey::Index),
    ("coverage", NumberKey::Coverage),
];
const TEXTS: [(&str, TextKey); 11] = [
    ("http.url", TextKey::Url),
    ("http.method", TextKey::Method),
    ("http.useragent", TextKey::UserAgent),
    ("http.clientip", TextKey::ClientIp),
    ("user", TextKey::User),
    ("name", TextKey::Name),
    ("type", TextKey::Type),
    ("message", TextKey::Message),
    ("availabilityzone", TextKey::AvailabilityZone),
    ("instance.id", TextKey::InstanceId),
    ("resource.arn", TextKey::ResourceArn),
];
const CAUSES: [(&str, Cause); 3] = [
    ("fault", Cause::Fault),
    ("error", Cause::Error),
    ("responsetime", Cause::ResponseTime),
];
const PARTS: [(&str, Part); 3] = [
    ("service", Part::Service),
    ("entity", Part::Entity),
    ("exception", Part::Exception),
];

const KEYWORD: &str = "a keyword, such as fault, duration, http.status, user, annotation.key, \
     service(\"name\"), edge(\"from\", \"to\"), rootcause.fault.entity or group.name";

/// Parses a filter expression.
///
/// # Errors
///
/// Returns the position of the first fault and the expected form.
pub fn parse(text: &str) -> Result<Expression, FilterError> {
    if let Some(offset) = too_deep(text) {
        let expected = format!("at most {NESTING} levels of parentheses and braces");
        return Err(FilterError::at(text, offset, expected));
    }
    let whole = (space, any_of, expect("AND, OR or the end", eof));
    let mut whole = whole.map(|(_, expression, _)| expression);
    whole.parse(text).map_err(|error| {
        let expected = error.inner().context().find_map(|context| match context {
            StrContext::Expected(StrContextValue::Description(expected)) => Some(*expected),
            _ => None,
        });
        FilterError::at(text, error.offset(), expected.unwrap_or(KEYWORD))
    })
}

/// Returns the offset of the first parenthesis or brace that is too deep.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING {
            return Some(offset);
        }
    }
    None
}

/// Expressions with `OR` between them.
fn any_of(input: &mut &str) -> ModalResult<Expression> {
    let parts: Vec<_> = separated(1.., all_of, word("or")).parse_next(input)?;
    Ok(flat(parts, Expression::Or))
}

/// Expressions with `AND` between them, or nothing.
fn all_of(input: &mut &str) -> ModalResult<Expression> {
    let first = expect(KEYWORD, one).parse_next(input)?;
    let mut parts = vec![first];
    loop {
        if opt(word("and")).parse_next(input)?.is_some() {
            parts.push(expect(KEYWORD, one).parse_next(input)?);
        } else if input.is_empty()
            || input.starts_with([')', '}'])
            || opt(peek(word("or"))).parse_next(input)?.is_some()
        {
            return Ok(flat(parts, Expression::And));
        } else {
            parts.push(expect("AND, OR or the end", one).parse_next(input)?);
        }
    }
}

fn flat(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

/// An expression with any number of `!` or `NOT` before it.
fn one(input: &mut &str) -> ModalResult<Expression> {
    let negations: usize = repeat(0.., alt((sign("!").void(), word("not")))).parse_next(input)?;
    let expression = if negations == 0 {
        operand(input)?
    } else {
        expect(KEYWORD, operand).parse_next(input)?
    };
    Ok(if negations % 2 == 1 {
        Expression::Not(Box::new(expression))
    } else {
        expression
    })
}

fn operand(input: &mut &str) -> ModalResult<Expression> {
    let inside = delimited(
        sign("("),
        any_of,
        expect("a closing parenthesis", sign(")")),
    );
    alt((inside, keyword)).parse_next(input)
}

fn keyword(input: &mut &str) -> ModalResult<Expression> {
    let start = *input;
    let found = take_while(1.., is_word).parse_next(input)?;
    let name = found.to_ascii_lowercase();
    space.parse_next(input)?;
    if name == "annotation" {
        let inside = take_while(1.., |c: char| c != ']' && c != '"' && !c.is_control());
        let key = alt((text, inside.map(|key: &str| key.trim().to_owned())));
        let open = expect("annotation.key or annotation[key]", sign("["));
        let key = expect("the key of an annotation", key);
        let key = delimited(open, key, expect("]", sign("]"))).parse_next(input)?;
        return annotation(key, input);
    }
    if name.starts_with("annotation.") && name.len() > "annotation.".len() {
        return annotation(found["annotation.".len()..].to_owned(), input);
    }
    if let Some(key) = lookup(&FLAGS, &name) {
        return flag(key, input);
    }
    if let Some(key) = lookup(&NUMBERS, &name) {
        return number_keyword(key, input);
    }
    if let Some(key) = lookup(&TEXTS, &name) {
        return Ok(match opt(text_test).parse_next(input)? {
            Some(test) => Expression::Text(key, test),
            None => Expression::TextSet(key),
        });
    }
    match name.as_str() {
        "service" => {
            let target = between_parentheses(input, opt(target))?.unwrap_or_default();
            Ok(Expression::Service(target, braces(input)?))
        }
        "edge" => {
            let comma = expect("a comma and the called service", sign(","));
            let expected = "the name of the calling service, or id(..)";
            let pair = (expect(expected, target), comma, expect(expected, target));
            let (from, _, to) = between_parentheses(input, pair)?;
            Ok(Expression::Edge(from, to, braces(input)?))
        }
        "group.name" => Ok(Expression::Group(Group::Name(equal_text(input)?))),
        "group.arn" => Ok(Expression::Group(Group::Arn(equal_text(input)?))),
        "rootcause.json" | "json" => {
            expect("=", sign("=")).parse_next(input)?;
            json(input).map(Expression::RootCauseJson)
        }
        "insight.id" | "insight.state" | "insight.category" => {
            *input = start;
            Err(invalid(
                "a keyword that can be evaluated here: insights exist only in AWS",
            ))
        }
        name => {
            let part = name.strip_prefix("rootcause.").and_then(|path| {
                let (cause, part) = path.split_once('.')?;
                Some((lookup(&CAUSES, cause)?, lookup(&PARTS, part)?))
            });
            let Some((cause, part)) = part else {
                *input = start;
                return Err(invalid(KEYWORD));
            };
            Ok(Expression::RootCause(cause, part, braces(input)?))
        }
    }
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, key)| *key)
}

fn flag(key: FlagKey, input: &mut &str) -> ModalResult<Expression> {
    let equal = alt((sign("!=").value(false), sign("=").value(true)));
    let Some(equal) = opt(equal).parse_next(input)? else {
        return Ok(Expression::Flag(key, true));
    };
    let value = expect("true or false", boolean).parse_next(input)?;
    Ok(Expression::Flag(key, value == equal))
}

fn number_keyword(key: NumberKey, input: &mut &str) -> ModalResult<Expression> {
    if let Some(compare) = opt(comparison).parse_next(input)? {
        let value = expect("a number", number).parse_next(input)?;
        return Ok(Expression::Number(key, compare, value));
    }
    if opt(word("in")).parse_next(input)?.is_some() {
        return Ok(Expression::NumberIn(key, list("a number", number, input)?));
    }
    Ok(Expression::NumberSet(key))
}

fn text_test(input: &mut &str) -> ModalResult<TextTest> {
    if opt(word("in")).parse_next(input)?.is_some() {
        return Ok(TextTest::In(list("a text in quotes", text, input)?));
    }
    let make = alt((
        sign("!=").value(TextTest::NotEqual as fn(String) -> TextTest),
        sign("=").value(TextTest::Equal as fn(String) -> TextTest),
        word("contains").value(TextTest::Contains as fn(String) -> TextTest),
        word("beginswith").value(TextTest::BeginsWith as fn(String) -> TextTest),
        word("endswith").value(TextTest::EndsWith as fn(String) -> TextTest),
    ))
    .parse_next(input)?;
    let text = expect("a text in quotes", alt((text, bare))).parse_next(input)?;
    Ok(make(text))
}

fn annotation(key: String, input: &mut &str) -> ModalResult<Expression> {
    let test = annotation_test(input)?;
    Ok(Expression::Annotation(key, test))
}

fn annotation_test(input: &mut &str) -> ModalResult<AnnotationTest> {
    let before = *input;
    if let Some(compare) = opt(comparison).parse_next(input)? {
        if let Some(value) = opt(number).parse_next(input)? {
            return Ok(AnnotationTest::Number(compare, value));
        }
        let truth = alt((word("true").value(true), word("false").value(false)));
        let equal = match compare {
            Compare::Equal => true,
            Compare::NotEqual => false,
            _ => return Err(invalid("a number")),
        };
        if let Some(value) = opt(truth).parse_next(input)? {
            return Ok(AnnotationTest::Flag(value == equal));
        }
        *input = before;
    } else if opt(word("in")).parse_next(input)?.is_some() {
        if opt(peek((sign("("), number))).parse_next(input)?.is_some() {
            return Ok(AnnotationTest::NumberIn(list("a number", number, input)?));
        }
        *input = before;
    }
    let test = opt(text_test).parse_next(input)?;
    Ok(test.map_or(AnnotationTest::Set, AnnotationTest::Text))
}

fn equal_text(input: &mut &str) -> ModalResult<String> {
    expect("=", sign("=")).parse_next(input)?;
    expect("a text in quotes", text).parse_next(input)
}

/// Parses a name, or `id(name: "..", type: "..", account.id: "..")`.
fn target(input: &mut &str) -> ModalResult<Target> {
    let name = text.map(|name| Target {
        name: Some(name),
        ..Target::default()
    });
    alt((name, id)).parse_next(input)
}

fn id(input: &mut &str) -> ModalResult<Target> {
    (Caseless("id"), space).parse_next(input)?;
    let members: Vec<(usize, String)> =
        between_parentheses(input, separated(1.., member, sign(",")))?;
    let mut target = Target::default();
    for (which, value) in members {
        match which {
            0 => target.name = Some(value),
            1 => target.kind = Some(value),
            _ => target.account = Some(value),
        }
    }
    Ok(target)
}

/// Parses one member of `id()`: 0 for the name, 1 for the type, 2 for the account.
fn member(input: &mut &str) -> ModalResult<(usize, String)> {
    let key = |name, which: usize| (Caseless(name), space, sign(":")).value(which);
    let keys = alt((key("name", 0), key("type", 1), key("account.id", 2)));
    let which = expect("name:, type: or account.id:", keys).parse_next(input)?;
    let value = expect("a text in quotes", text).parse_next(input)?;
    Ok((which, value))
}

/// Parses an optional filter between braces; an empty one is no filter.
fn braces(input: &mut &str) -> ModalResult<Option<Box<Expression>>> {
    if opt(sign("{")).parse_next(input)?.is_none() || opt(sign("}")).parse_next(input)?.is_some() {
        return Ok(None);
    }
    let filter = any_of(input)?;
    expect("a closing brace", sign("}")).parse_next(input)?;
    Ok(Some(Box::new(filter)))
}

/// Parses `#` and a JSON value.
fn json(input: &mut &str) -> ModalResult<Value> {
    const EXPECTED: &str = "# and a JSON array of root causes";
    expect(EXPECTED, sign("#")).parse_next(input)?;
    let text = *input;
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let Some(Ok(value)) = values.next() else {
        return Err(invalid(EXPECTED));
    };
    *input = &text[values.byte_offset()..];
    space.parse_next(input)?;
    Ok(value)
}
