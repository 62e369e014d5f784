use super::*;

#[test]
fn literals_are_removed() {
    for (query, expected, reason) in [
        ("select 1", "select ?", "number"),
        ("-1.5e-3 * .5 * 0xFF", "-? * ? * ?", "kinds of numbers"),
        (
            "where a = 'x' and b = $1",
            "where a = ? and b = $1",
            "placeholder of PostgreSQL",
        ),
        (
            "where a = ? and b = :b",
            "where a = ? and b = :b",
            "other placeholders",
        ),
        ("where a='it''s'", "where a=?", "doubled quote"),
        ("in ('a', 'b',3)", "in (?)", "list"),
        ("values ('a'), ('b')", "values (?), (?)", "rows"),
        ("table1.col2 = 3", "table1.col2 = ?", "digits in names"),
        ("e'it\\'s' or x", "e?", "a backslash: the end is not known"),
        (
            "x = 'it\\' or y = 'z'",
            "x = ?",
            "one that only some take for an escape",
        ),
        ("x = 'open", "x = ?", "not closed"),
        ("x = $$a 'b$$ and y", "x = ? and y", "dollar quotes"),
        (
            "x = $t$a $$ b$t$ and y",
            "x = ? and y",
            "dollar quotes with a tag",
        ),
        ("x = $t$a", "x = ?", "dollar quotes that are not closed"),
        ("q'[it's]' or y = 'z'", "?", "Oracle"),
        ("a -- 'secret'\nand b", "a and b", "comment"),
        ("a /* 'secret' */ and b", "a and b", "comment within"),
        (
            "a /* /* */ 'x' */ b 'y'",
            "a ?",
            "nested comments: dialects differ",
        ),
        ("a /*/ x */ and b", "a and b", "a slash that ends nothing"),
        ("a /* open", "a ?", "comment that is not closed"),
        ("  a\n\t b  ", "a b", "white space"),
        ("`my 1` = 1", "`my 1` = ?", "name of MySQL"),
        ("ärger = 'ö'", "ärger = ?", "other scripts"),
        ("'", "?", "a quote alone"),
        ("$", "$", "a dollar alone"),
        ("", "", "nothing"),
    ] {
        for dialect in [Dialect::Postgres, Dialect::Other] {
            assert_eq!(sanitize(query, dialect), expected, "{query}: {reason}");
        }
    }
}

#[test]
fn quotes_hashes_and_brackets_depend_on_the_dialect() {
    for (query, postgres, other) in [
        ("\"my 1\" = 1", "\"my 1\" = ?", "? = ?"),
        ("a #>> '{b}' # c", "a #>> ? # c", "a ?"),
        ("a['b'] = 'c'", "a[?] = ?", "a?"),
    ] {
        assert_eq!(sanitize(query, Dialect::Postgres), postgres);
        assert_eq!(sanitize(query, Dialect::Other), other);
    }
}

/// Some signs begin a comment or a name in one dialect only.
#[test]
fn literal_is_dropped_where_dialects_differ() {
    for (query, expected, reason) in [
        (
            "select [it's] from t where a = 'SECRET'",
            "select ?",
            "name of SQL Server",
        ),
        (
            "select [my col], a[1] from t",
            "select [my col], a[?] from t",
            "no quote in it",
        ),
        (
            "select * from #t where a = 'x\nSECRET'",
            "select * from ?",
            "its temporary table",
        ),
        (
            "select 5--1, 'x\nSECRET'",
            "select ??",
            "a minus of MySQL, twice",
        ),
        (
            "a = 5 -- it's\nand b",
            "a = ? and b",
            "a comment in all of them",
        ),
        (
            "a # no quote\nand b",
            "a and b",
            "nothing that could be shown",
        ),
    ] {
        let kept = sanitize(query, Dialect::Other);
        assert_eq!(kept, expected, "{reason}");
    }
}

#[test]
fn dollar_in_a_name_begins_no_literal() {
    for (query, postgres, other, reason) in [
        (
            "x$$ $$SECRET$$",
            "x$$ ?",
            "?",
            "name that ends in two dollars",
        ),
        (
            "x$a$ $a$SECRET$a$ b",
            "x$a$ ? b",
            "?",
            "name that ends like a tag",
        ),
        ("v$session", "v$session", "v$session", "one dollar"),
        ("1$$SECRET$$", "?", "?", "number before a literal"),
        ("1x$$ $$SECRET$$", "?", "?", "name after a number"),
        (
            "$1$$SECRET$$, $1$",
            "?",
            "?",
            "placeholder before a literal",
        ),
    ] {
        for (dialect, expected) in [(Dialect::Postgres, postgres), (Dialect::Other, other)] {
            let kept = sanitize(query, dialect);
            assert!(!kept.contains("SECRET"), "{kept}: {reason}");
            assert_eq!(kept, expected, "{reason}");
        }
    }
}

#[test]
fn brackets_are_searched_once() {
    for close in ["", "]"] {
        let searched = |length: usize| {
            let query = format!("{}{}{close}", "[".repeat(900), "x".repeat(length));
            let mut sanitizer = Sanitizer::new(&query, Dialect::Other);
            sanitizer.run();
            (sanitizer.searched, query.len())
        };
        for length in [10_000, 100_000] {
            let (searched, length) = searched(length);
            assert!(searched <= length, "{searched} of {length} bytes");
        }
    }
}

#[test]
fn reading_ends_when_enough_is_kept() {
    let query = format!("insert into t values {}", "('a'), ".repeat(100_000));
    let kept = sanitize(&query, Dialect::Postgres);
    assert!(
        kept.chars().count() > 250 && kept.len() < 2000,
        "{}",
        kept.len()
    );
}

/// Cuts a query with quotes of every kind at every place.
#[test]
fn no_prefix_of_a_query_shows_a_literal() {
    let query = "select 'SECRET' , E'SEC\\'RET', $$SECRET$$, $a$SECRET$a$ /* SECRET */, \
                 N'SECRET''SECRET', x'5EC' -- SECRET\n from t where a = \"SECRET\" and b = 5";
    for end in 0..=query.len() {
        let kept = sanitize(&query[..end], Dialect::Other);
        assert!(!kept.contains("SEC"), "{kept}");
    }
}
