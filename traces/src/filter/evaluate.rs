//! Evaluation of filter expressions over a trace.

use serde_json::Value;

use super::subject::{Element, Subject};
use super::syntax::{AnnotationTest, Expression, Part, Target, TextTest};
use crate::model::{Callee, Cause, CauseService, Kind, Node, Trace, root_cause};

/// Returns whether a trace matches an expression. A [`Group`](super::Group) matches nothing; see
/// [`Expression::with_groups`].
///
/// ```
/// use tracestitch_traces::filter::{matches, parse};
/// use tracestitch_traces::model::{Document, Trace};
///
/// let id = "1-581cf771-a006649127e371903a2de979";
/// let document = serde_json::json!({"trace_id": id, "id": "00000000000000aa", "name": "shop",
///     "start_time": 1.0, "end_time": 3.5});
/// let trace = Trace::build(id, &[Document::read(document).unwrap()]);
/// assert!(matches(&parse("ok duration > 2")?, &trace));
/// # Ok::<(), tracestitch_traces::filter::FilterError>(())
/// ```
#[must_use]
pub fn matches(expression: &Expression, trace: &Trace) -> bool {
    holds(expression, Subject::Trace(trace))
}

fn holds(expression: &Expression, subject: Subject<'_>) -> bool {
    match expression {
        Expression::And(parts) => parts.iter().all(|part| holds(part, subject)),
        Expression::Or(parts) => parts.iter().any(|part| holds(part, subject)),
        Expression::Not(part) => !holds(part, subject),
        Expression::Flag(key, value) => subject.flag(*key) == *value,
        Expression::Number(key, compare, value) => {
            let found = subject.number(*key);
            found.is_some_and(|found| compare.holds(found, *value))
        }
        Expression::NumberIn(key, values) => {
            let found = subject.number(*key);
            found.is_some_and(|found| values.contains(&found))
        }
        Expression::NumberSet(key) => subject.number(*key).is_some(),
        Expression::Text(key, test) => {
            let texts = subject.texts(*key);
            any_text(test, texts.iter().map(String::as_str))
        }
        Expression::TextSet(key) => !subject.texts(*key).is_empty(),
        Expression::Annotation(key, test) => annotation(test, &subject.annotations(key)),
        Expression::Service(target, filter) => subject
            .trace()
            .is_some_and(|trace| service(trace, target, filter.as_deref())),
        Expression::Edge(from, to, filter) => subject
            .trace()
            .is_some_and(|trace| edge(trace, from, to, filter.as_deref())),
        Expression::RootCause(cause, part, filter) => subject
            .trace()
            .is_some_and(|trace| in_root_cause(trace, *cause, *part, filter.as_deref())),
        Expression::RootCauseJson(json) => subject
            .trace()
            .is_some_and(|trace| has_root_cause(trace, json)),
        Expression::Group(_) => false,
    }
}

/// Returns whether one of several values meets a condition. For `!=` all must differ.
fn any_text<'a>(test: &TextTest, mut texts: impl Iterator<Item = &'a str>) -> bool {
    match test {
        TextTest::NotEqual(_) => {
            let mut texts = texts.peekable();
            texts.peek().is_some() && texts.all(|text| test.holds(text))
        }
        _ => texts.any(|text| test.holds(text)),
    }
}

fn annotation(test: &AnnotationTest, values: &[&Value]) -> bool {
    match test {
        AnnotationTest::Set => values
            .iter()
            .any(|value| !value.is_null() && **value != false),
        AnnotationTest::Flag(flag) => values.iter().any(|value| **value == *flag),
        AnnotationTest::Text(test) => any_text(test, values.iter().filter_map(|it| it.as_str())),
        AnnotationTest::Number(compare, number) => {
            let mut numbers = values.iter().filter_map(|value| value.as_f64());
            numbers.any(|found| compare.holds(found, *number))
        }
        AnnotationTest::NumberIn(numbers) => {
            let mut found = values.iter().filter_map(|value| value.as_f64());
            found.any(|found| numbers.contains(&found))
        }
    }
}

fn passes(filter: Option<&Expression>, subject: Subject<'_>) -> bool {
    filter.is_none_or(|filter| holds(filter, subject))
}

fn service(trace: &Trace, target: &Target, filter: Option<&Expression>) -> bool {
    let mut segments = trace.nodes().filter(|node| node.kind != Kind::Subsegment);
    segments.any(|segment| {
        is_segment_of(target, segment) && passes(filter, Subject::Segment(trace, segment))
    }) || trace
        .unanswered_calls()
        .any(|call| is_callee_of(target, call) && passes(filter, Subject::Callee(trace, call)))
}

fn edge(trace: &Trace, from: &Target, to: &Target, filter: Option<&Expression>) -> bool {
    trace.nodes().filter(|node| node.is_call()).any(|call| {
        let mut called = trace
            .children(call)
            .filter(|node| node.kind != Kind::Subsegment);
        let caller = trace.segment(call);
        let is_called = is_callee_of(to, call) || called.any(|segment| is_segment_of(to, segment));
        is_called
            && caller.is_some_and(|caller| is_segment_of(from, caller))
            && passes(filter, Subject::Call(trace, call))
    })
}

fn is_segment_of(target: &Target, segment: &Node) -> bool {
    let account = segment.text(&["aws", "account_id"]);
    fits(
        target,
        &[&segment.name],
        segment.origin().unwrap_or_default(),
        account,
    )
}

/// An inferred service is found by the name of its resource and by the name of the call.
fn is_callee_of(target: &Target, call: &Node) -> bool {
    let callee = Callee::of(call);
    let account = call.text(&["aws", "account_id"]);
    let service = format!("AWS::{}", call.name);
    let names = [callee.name.as_str(), call.name.as_str()];
    fits(target, &names, &callee.kind, account)
        || (call.namespace() == Some("aws") && fits(target, &names, &service, account))
}

fn fits(target: &Target, names: &[&str], kind: &str, account: Option<&str>) -> bool {
    let name = target.name.as_deref();
    name.is_none_or(|name| names.contains(&name))
        && target.kind.as_deref().is_none_or(|wanted| wanted == kind)
        && target
            .account
            .as_deref()
            .is_none_or(|wanted| account == Some(wanted))
}

fn in_root_cause(trace: &Trace, cause: Cause, part: Part, filter: Option<&Expression>) -> bool {
    let Some(services) = root_cause(trace, cause) else {
        return false;
    };
    let mut elements: Vec<Element> = match part {
        Part::Service => services.iter().map(of_service).collect(),
        Part::Entity => services.iter().flat_map(of_entities).collect(),
        Part::Exception => services.iter().flat_map(of_exceptions).collect(),
    };
    let count = elements.len();
    elements.iter_mut().enumerate().any(|(index, element)| {
        element.index = index;
        element.is_last = index + 1 == count;
        passes(filter, Subject::Element(element))
    })
}

fn of_service(service: &CauseService) -> Element {
    Element {
        name: service.name.clone(),
        kind: service.kind.clone(),
        is_inferred: service.is_inferred,
        is_root: service.is_root,
        ..Element::default()
    }
}

fn of_entities(service: &CauseService) -> impl Iterator<Item = Element> {
    service.entities.iter().map(|entity| Element {
        name: entity.name.clone(),
        messages: entity
            .exceptions
            .iter()
            .map(|it| it.message.clone())
            .collect(),
        is_remote: entity.is_remote,
        coverage: Some(entity.coverage),
        ..of_service(service)
    })
}

fn of_exceptions(service: &CauseService) -> impl Iterator<Item = Element> {
    let exceptions = service
        .entities
        .iter()
        .flat_map(|entity| &entity.exceptions);
    exceptions.map(|exception| Element {
        name: exception.kind.clone(),
        messages: vec![exception.message.clone()],
        is_remote: exception.remote,
        ..of_service(service)
    })
}

/// Returns whether one of the trace's root causes has the services, and in them the entities, that
/// one of the elements of `json` names, in the same order.
fn has_root_cause(trace: &Trace, json: &Value) -> bool {
    let causes = [Cause::Fault, Cause::Error, Cause::ResponseTime];
    let causes: Vec<_> = causes
        .iter()
        .filter_map(|cause| root_cause(trace, *cause))
        .collect();
    let wanted = json.as_array().into_iter().flatten();
    wanted
        .filter_map(|cause| cause["Services"].as_array())
        .any(|services| causes.iter().any(|cause| is_cause(cause, services)))
}

fn is_cause(cause: &[CauseService], wanted: &[Value]) -> bool {
    let named = |wanted: &Value, name: &str| wanted["Name"].as_str().is_none_or(|it| it == name);
    let is_service = |(service, wanted): (&CauseService, &Value)| {
        let path = wanted["EntityPath"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        named(wanted, &service.name)
            && (path.is_empty() || path.len() == service.entities.len())
            && path
                .iter()
                .zip(&service.entities)
                .all(|(it, entity)| named(it, &entity.name))
    };
    cause.len() == wanted.len() && cause.iter().zip(wanted).all(is_service)
}
