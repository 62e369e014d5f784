use super::*;
use crate::tests::header::ROOT;

const ORDERS: Candidate<'_> = Candidate {
    function: "order-api",
    source: "http",
    path: Some("/orders/7"),
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000 + 5)
}

fn decide(rules: &str, candidate: Candidate<'_>) -> Option<Sampling> {
    let rules: SamplingRules = rules.parse().unwrap();
    Some(rules.begin(None, candidate, at(1))?.sampling)
}

#[test]
fn first_rule_that_holds_decides() {
    let (yes, no) = (Some(Sampling::Sampled), Some(Sampling::NotSampled));
    let sqs = Candidate {
        source: "sqs",
        path: None,
        ..ORDERS
    };
    for (rules, candidate, expected) in [
        ("", ORDERS, None),
        ("rate=1", ORDERS, yes),
        ("rate=0", ORDERS, no),
        ("path=/health; rate=1", ORDERS, yes),
        ("path=/orders/*; rate=1", ORDERS, no),
        ("path=/orders/*; rate=1", sqs, yes),
        ("source=sqs rate=1", ORDERS, None),
        ("source=SQS rate=1", sqs, yes),
        ("function=order-* source=http rate=1", ORDERS, yes),
        ("function=invoice-* rate=1", ORDERS, None),
        (" ; reservoir=1 ;", ORDERS, yes),
    ] {
        assert_eq!(decide(rules, candidate), expected, "{rules}");
    }
}

#[test]
fn reservoir_is_filled_each_second() {
    let rules: SamplingRules = "reservoir=2".parse().unwrap();
    let taken = |second| {
        let header = rules.begin(None, ORDERS, at(second)).unwrap();
        header.sampling == Sampling::Sampled
    };
    let taken: Vec<bool> = [1, 1, 1, 2, 2, 2, 9].map(taken).to_vec();
    assert_eq!(taken, [true, true, false, true, true, false, true]);
}

/// The count of one second must not run into the next.
#[test]
fn reservoir_works_with_any_size_in_any_second() {
    let rules: SamplingRules = format!("reservoir={}", u32::MAX).parse().unwrap();
    let rule = &rules.0[0];
    rule.used
        .store(7 << 32 | u64::from(u32::MAX - 1), Ordering::Relaxed);
    for (second, expected, reason) in [
        (7, true, "the last one"),
        (7, false, "used up"),
        (6, true, "the clock was put back"),
        (7, true, "and forth"),
        (u64::from(u32::MAX), true, "far in the future"),
        (0, true, "a clock that was never set"),
    ] {
        assert_eq!(rule.take(at(second)), expected, "{reason}");
        assert_eq!(rule.used.load(Ordering::Relaxed) >> 32, second, "{reason}");
    }
}

/// 4,000 draws at a quarter have a standard deviation of 27.
#[test]
fn rate_is_the_share_that_is_recorded() {
    let rules: SamplingRules = "rate=0.25".parse().unwrap();
    let recorded = (0..4000)
        .filter_map(|_| rules.begin(None, ORDERS, at(1)))
        .filter(|header| header.sampling == Sampling::Sampled)
        .count();
    assert!((800..1200).contains(&recorded), "{recorded}");
}

#[test]
fn generator_of_the_program_is_not_used() {
    let rules: SamplingRules = "rate=0.5".parse().unwrap();
    let draw = || {
        let header = rules.begin(None, ORDERS, at(1)).unwrap();
        header.sampling == Sampling::Sampled
    };
    let drawn = |seed| -> Vec<bool> {
        fastrand::seed(seed);
        (0..64).map(|_| draw()).collect()
    };
    assert_ne!(
        drawn(42),
        drawn(42),
        "a seed of the program repeats nothing"
    );
    fastrand::seed(42);
    let expected = fastrand::u64(..);
    fastrand::seed(42);
    draw();
    assert_eq!(fastrand::u64(..), expected, "and its sequence goes on");
}

#[test]
fn decision_is_never_changed() {
    let rules: SamplingRules = "rate=1".parse().unwrap();
    for (header, expected) in [
        (
            format!("Root={ROOT};Sampled=0"),
            format!("Root={ROOT};Sampled=0"),
        ),
        (
            format!("Root={ROOT};x=1"),
            format!("Root={ROOT};Sampled=1;x=1"),
        ),
        (
            format!("Root={ROOT};Sampled=?"),
            format!("Root={ROOT};Sampled=1"),
        ),
    ] {
        let decided = rules.decide(header.parse().unwrap(), ORDERS, at(1));
        assert_eq!(decided.to_string(), expected);
    }
}

#[test]
fn patterns_match_the_whole_text() {
    for (pattern, text, expected) in [
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("/a*", "/ab", true),
        ("*b", "/ab", true),
        ("/*/b", "/a/b", true),
        ("/*/b", "/a/b/c", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("", "", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*aa*a*", "aa", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn invalid_rules_are_rejected() {
    for text in [
        "rate=2",
        "rate=x",
        "reservoir=-1",
        "rate",
        "color=red",
        "rate=NaN",
        "source=pigeon rate=1",
        "path= rate=1",
        "function= order-* rate=1",
        "reservoir=4294967296",
        "reservoir=1.5",
        "rate=inf",
        "rate=-0.1",
        "rate=",
    ] {
        assert!(text.parse::<SamplingRules>().is_err(), "{text}");
    }
}
