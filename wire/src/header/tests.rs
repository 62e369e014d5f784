use proptest::prelude::*;

use super::*;

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

#[test]
fn parser_is_lenient_where_the_official_sdks_are() {
    for (text, printed, reason) in [
        (
            "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
            "canonical",
        ),
        (
            "Sampled=0;Parent=53995c3f42cd8ad8;Root=<R>",
            "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=0",
            "any order",
        ),
        (
            "root=<R>;PARENT=53995C3F42CD8AD8;sampled=1",
            "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
            "any case",
        ),
        (
            " Root = <R> ; Sampled = 1 ",
            "Root=<R>;Sampled=1",
            "white space",
        ),
        (
            "Root=<R>;;garbage;Sampled=1;",
            "Root=<R>;Sampled=1",
            "empty parts and parts without =",
        ),
        (
            "Root=<R>;Sampled=?",
            "Root=<R>;Sampled=?",
            "decision requested",
        ),
        ("Root=<R>;Sampled=true", "Root=<R>", "undefined decision"),
        ("Root=<R>;Sampled=", "Root=<R>", "empty decision"),
        ("Root=<R>", "Root=<R>", "root only"),
        (
            "Self=1-1-1;Root=<R>",
            "Root=<R>",
            "Self describes the previous hop",
        ),
        (
            "Root=<R>;Sampled=1;Lineage=28b1e350:0%7C74085691:0",
            "Root=<R>;Sampled=1;Lineage=28b1e350:0%7C74085691:0",
            "encoded lineage unchanged",
        ),
        (
            "Root=<R>;Lineage=1:a|2:b;CalledFrom=app;a=b=c",
            "Root=<R>;Lineage=1:a|2:b;CalledFrom=app;a=b=c",
            "other fields in order",
        ),
        (
            "Root=<R>;x=\u{1b}[31m;y=é;z=1",
            "Root=<R>;z=1",
            "characters that no header can carry",
        ),
    ] {
        let header: TraceHeader = text
            .replace("<R>", ROOT)
            .parse()
            .unwrap_or_else(|error| panic!("{reason}: {error}"));
        assert_eq!(header.to_string(), printed.replace("<R>", ROOT), "{reason}");
    }
}

#[test]
fn header_with_invalid_or_repeated_ids_is_invalid() {
    let semicolons = ";".repeat(65536);
    for (text, reason) in [
        ("", "empty"),
        (&*semicolons, "64 KB of separators"),
        ("Parent=53995c3f42cd8ad8;Sampled=1", "no Root"),
        ("Root=;Sampled=1", "empty Root"),
        (
            "Root=1-00000000-000000000000000000000000;Sampled=1",
            "placeholder for no trace",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=nothexnothexnoth",
            "Parent not hex",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=",
            "empty Parent",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Root=x",
            "second Root malformed",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Root=1-5759e988-000000000000000000000001",
            "two different Roots",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;sampled=0",
            "two decisions",
        ),
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1,x=1;Root=1-5759e988-000000000000000000000001",
            "joined at a field that is not of the format",
        ),
    ] {
        assert!(
            text.parse::<TraceHeader>().is_err(),
            "no error although {reason}"
        );
    }
}

#[test]
fn first_valid_one_of_joined_headers_is_parsed_whole() {
    let [one, other] = [ROOT, "1-5759e988-000000000000000000000001"];
    for (text, expected, reason) in [
        (
            "Root=<1>;Parent=53995c3f42cd8ad8;Sampled=1,Root=<2>;Parent=4c721bf33e3caf8f;Sampled=0",
            "Root=<1>;Parent=53995c3f42cd8ad8;Sampled=1",
            "two complete ones",
        ),
        (
            "Root=<1>, Self=1-1-1;Root=<2>;Sampled=1",
            "Root=<1>",
            "two of different fields",
        ),
        ("Sampled=1,root=<2>", "Root=<2>", "the first without a Root"),
        (
            "Root=x,Root=<2>;Sampled=0",
            "Root=<2>;Sampled=0",
            "the first malformed",
        ),
        ("Root=<1>,Parent=1", "Root=<1>", "the second malformed"),
        (
            "Root=<1>;a=b,c;Sampled=1",
            "Root=<1>;Sampled=1;a=b,c",
            "a comma in a value",
        ),
    ] {
        let text = text.replace("<1>", one).replace("<2>", other);
        let header = text.parse::<TraceHeader>().map(|header| header.to_string());
        let expected = expected.replace("<1>", one).replace("<2>", other);
        assert_eq!(header.as_deref(), Ok(&*expected), "{reason}");
    }
}

fn any_header() -> impl Strategy<Value = String> {
    let fields = (
        1u128..,
        proptest::option::of(1u64..),
        "[01?x]?",
        "(;[a-z]{1,3}=[a-z,]{0,3})?",
    );
    fields.prop_map(|(root, parent, sampled, others)| {
        let root = format!("{root:032x}");
        let parent = parent.map_or(String::new(), |id| format!(";Parent={id:016x}"));
        let (epoch, unique) = root.split_at(8);
        format!("Root=1-{epoch}-{unique}{parent};Sampled={sampled}{others}")
    })
}

proptest! {
    #[test]
    fn limited_header_keeps_its_trace(
        others in "([A-Za-z]{1,9}=[!-:<-~]{0,60};){0,30}(Lineage=[0-9a-f:|]{1,40})?",
        most in 0..700usize,
    ) {
        let text = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;{others}");
        let header: Result<TraceHeader, _> = text.parse();
        prop_assume!(header.is_ok());
        let header = header.unwrap();
        let limited = header.clone().within(most);
        prop_assert_eq!(limited.root, header.root);
        prop_assert_eq!((limited.parent, limited.sampling), (header.parent, header.sampling));
        let printed = limited.to_string();
        prop_assert!(printed.len() <= most.max(74), "{}", printed);
        let kept: Vec<&str> = limited.others().split(';').filter(|field| !field.is_empty()).collect();
        let mut all = header.others().split(';');
        prop_assert!(kept.iter().all(|field| all.any(|other| other == *field)));
        if printed.len() < header.to_string().len() && most >= 74 + 50 && others.contains("Lineage") {
            prop_assert!(printed.contains("Lineage"), "{}", printed);
        }
        prop_assert_eq!(printed.parse::<TraceHeader>().unwrap(), limited);
    }

    #[test]
    fn joined_headers_never_mix(
        headers in proptest::collection::vec(any_header(), 2..4),
        separator in "[,;] ?",
    ) {
        let parsed = headers.join(&separator).parse::<TraceHeader>();
        let whole = || headers.iter().filter_map(|header| header.parse().ok());
        if let Ok(parsed) = parsed {
            prop_assert!(whole().any(|header: TraceHeader| header == parsed), "{parsed}");
        }
    }

    #[test]
    fn printing_and_parsing_are_inverse(
        parent in proptest::option::of(1u64..),
        decision in 0..4usize,
        others in proptest::collection::vec(("[A-Za-z]{1,8}", "[ -:<-~]{0,20}"), 0..4),
    ) {
        let fields: Vec<_> = others.iter().map(|(k, v)| format!("x{k}={v}")).collect();
        let parent = parent.map(|id| format!(";Parent={id:016x}")).unwrap_or_default();
        let decision = ["", ";Sampled=0", ";Sampled=1", ";Sampled=?"][decision];
        let header: TraceHeader =
            format!("Root={ROOT}{parent}{decision};{}", fields.join(";")).parse().unwrap();
        prop_assert_eq!(header.to_string().parse::<TraceHeader>(), Ok(header));
    }

    #[test]
    fn any_text_gives_a_header_value_or_an_error(text in ".*") {
        if let Ok(header) = text.parse::<TraceHeader>() {
            prop_assert!(is_printable(&header.to_string()));
        }
        if let Ok(header) = format!("Root={ROOT};{text}").parse::<TraceHeader>() {
            prop_assert!(is_printable(&header.to_string()));
        }
    }
}
