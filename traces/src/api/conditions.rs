//! The part of a filter expression that the store's indexes can decide.

use crate::filter::{AnnotationTest, Compare, Expression, FlagKey, NumberKey, TextTest};
use crate::store::{Comparison, Condition, Indexed};

/// Conditions that every match of an expression meets.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conditions {
    pub(super) list: Vec<Condition>,
    /// True if every trace that meets the conditions matches the expression.
    pub(super) is_exact: bool,
}

impl Conditions {
    /// Returns the conditions of an expression.
    pub(super) fn of(expression: &Expression) -> Self {
        let exact = |condition| Self {
            list: vec![condition],
            is_exact: true,
        };
        match expression {
            Expression::And(parts) => {
                let mut all = Self {
                    list: Vec::new(),
                    is_exact: true,
                };
                for part in parts.iter().map(Self::of) {
                    all.list.extend(part.list);
                    all.is_exact &= part.is_exact;
                }
                all
            }
            Expression::Annotation(key, test) => {
                let value = match test {
                    AnnotationTest::Text(TextTest::Equal(text)) => Indexed::Text(text.clone()),
                    AnnotationTest::Number(Compare::Equal, number) => Indexed::Number(*number),
                    AnnotationTest::Flag(flag) => Indexed::Flag(*flag),
                    _ => return Self::default(),
                };
                exact(Condition::Annotation(key.clone(), value))
            }
            Expression::Number(NumberKey::Duration, compare, seconds) => {
                let comparison = match compare {
                    Compare::AtLeast => Comparison::AtLeast,
                    Compare::Greater => Comparison::MoreThan,
                    Compare::AtMost => Comparison::AtMost,
                    Compare::Less => Comparison::LessThan,
                    Compare::Equal | Compare::NotEqual => return Self::default(),
                };
                exact(Condition::Lasts(comparison, *seconds))
            }
            // An expression asks for the flags of the root, the condition for the flags of any node.
            Expression::Flag(FlagKey::Fault | FlagKey::Error | FlagKey::Throttle, true) => Self {
                list: vec![Condition::Failed],
                is_exact: false,
            },
            _ => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::parse;

    #[test]
    fn only_comparisons_that_the_index_decides_are_exact() {
        for (text, count, is_exact) in [
            (r#"annotation.order = "A-1""#, 1, true),
            (
                r#"annotation.order = "A-1" AND duration > 2 AND annotation.gift = true"#,
                3,
                true,
            ),
            (r#"annotation.order = "A-1" AND service("shop")"#, 1, false),
            (r#"annotation.order = "A-1" OR duration > 2"#, 0, false),
            (r#"!annotation.order = "A-1""#, 0, false),
            (r#"annotation.order CONTAINS "A""#, 0, false),
            ("fault = true", 1, false),
            ("duration = 2", 0, false),
        ] {
            let found = Conditions::of(&parse(text).unwrap());
            assert_eq!(
                (found.list.len(), found.is_exact),
                (count, is_exact),
                "{text}"
            );
        }
    }
}
