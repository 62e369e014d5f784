//! The checks on small trees, each with a fault in it or without one.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Plan, against, circles_in, too_many_entries};
use crate::source::Crate;

/// Writes files, given as pairs of path and text, and reads the crate whose root is `src/lib.rs`.
fn plant(files: &[(&str, &str)]) -> (TempDir, Crate) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let source = Crate::read(&folder.path().join("src/lib.rs"));
    (folder, source)
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let (folder, source) = plant(files);
    circles_in(&source, folder.path())
}

#[track_caller]
fn assert_circle(files: &[(&str, &str)], expected: &str) {
    assert_eq!(circles(files), [expected]);
}

#[test]
fn circle_of_two_is_found_with_its_lines() {
    assert_circle(
        &[
            ("src/lib.rs", "mod a;\nmod b;"),
            ("src/a.rs", "use crate::b::B;\npub struct A(B);"),
            (
                "src/b.rs",
                "pub struct B;\n\n\nimpl From<crate::a::A> for B {}",
            ),
        ],
        "2 files import each other:\n  \
         src/a.rs:1: imports `B` from src/b.rs\n  \
         src/b.rs:4: imports `A` from src/a.rs",
    );
}

#[test]
fn circle_of_three_is_found_without_the_files_around_it() {
    assert_circle(
        &[
            ("src/lib.rs", "mod a; mod b; mod c; mod leaf; mod user;"),
            ("src/a.rs", "use crate::b::f; pub fn a() { f() }"),
            ("src/b.rs", "pub fn f() { super::c::g() }"),
            (
                "src/c.rs",
                "use crate::{a::a, leaf::leaf}; pub fn g() { leaf(); a() }",
            ),
            ("src/leaf.rs", "pub fn leaf() {}"),
            ("src/user.rs", "use super::a; fn user() { a::a() }"),
        ],
        "3 files import each other:\n  \
         src/a.rs:1: imports `f` from src/b.rs\n  \
         src/b.rs:1: imports `g` from src/c.rs\n  \
         src/c.rs:1: imports `a` from src/a.rs",
    );
}

#[test]
fn two_circles_are_reported_apart() {
    let found = circles(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        (
            "src/b.rs",
            "use crate::a::A; use crate::c::C; pub struct B;",
        ),
        ("src/c.rs", "use crate::d::D; pub struct C;"),
        ("src/d.rs", "use crate::c::C; pub struct D;"),
    ]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn parent_and_child_may_import_one_way() {
    for (parent, child) in [
        ("mod child; pub struct P;", "use super::P;"),
        ("mod child; pub use child::C;", "pub struct C;"),
        ("mod child; use self::child::C;", "pub struct C;"),
    ] {
        let files = [
            ("src/lib.rs", "mod parent;"),
            ("src/parent.rs", parent),
            ("src/parent/child.rs", child),
        ];
        assert!(circles(&files).is_empty(), "{parent} {child}");
    }
    assert_circle(
        &[
            ("src/lib.rs", "mod parent;"),
            ("src/parent.rs", "mod child;\npub struct P(child::C);"),
            ("src/parent/child.rs", "pub struct C;\nfn p(_: super::P) {}"),
        ],
        "2 files import each other:\n  \
         src/parent/child.rs:2: imports `P` from src/parent.rs\n  \
         src/parent.rs:2: imports `C` from src/parent/child.rs",
    );
}

/// The import of a name that another module re-exports is an import of the file that defines it.
#[test]
fn re_exports_lead_to_the_defining_file() {
    for (facade, user) in [
        ("mod b; pub use self::b::B;", "use crate::f::B;"),
        (
            "mod b; pub use self::b::B as Other;",
            "use crate::f::Other;",
        ),
        ("mod b; pub use self::b::*;", "use crate::f::B;"),
        (
            "mod b; pub use self::b::*;",
            "use crate::f::*; fn f(_: B) {}",
        ),
        (
            "mod b; pub mod g { pub use super::b::B; }",
            "use crate::f::g::B;",
        ),
        ("mod b; pub use self::b as c;", "use crate::f::c::B;"),
    ] {
        let files = [
            ("src/lib.rs", "mod a; mod f;"),
            ("src/a.rs", &format!("{user} pub struct A;")),
            ("src/f.rs", facade),
            ("src/f/b.rs", "use crate::a::A; pub struct B;"),
        ];
        let found = circles(&files).concat();
        let expected = [
            " from src/f/b.rs",
            "src/f/b.rs:1: imports `A` from src/a.rs",
        ];
        let complete = expected.iter().all(|line| found.contains(line));
        assert!(
            complete && !found.contains("src/f.rs"),
            "{facade} {user}: {found}"
        );
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    for code in [
        "fn f() { crate::b::g(); }",
        "fn f() { let _ = [crate::b::B::new()]; }",
        "fn f(_: &[Option<crate::b::B>]) {}",
        "fn f<T: crate::b::T>() {}",
        "impl crate::b::T for A {}",
        "type B = crate::b::B;",
        "fn f() { println!(\"{}\", crate::b::g()); }",
        "fn f() { assert!(matches!(1, n if n > [super::b::N][0])); }",
        "fn f() { use crate::b; b::g() }",
        "fn f() { match 1 { crate::b::N => {} _ => {} } }",
        "macro_rules! m { () => { $crate::b::g() } }",
        "mod inner { use super::super::b::B; }",
        "use crate::b::B as _;",
        "use crate::{b::{self, B}};",
        "use crate::b; fn f() { b::g() }",
        "use crate::*; fn f() { b::g() }",
        "fn f() { crate::made_by_a_macro_of_b() }",
    ] {
        let files = [
            ("src/lib.rs", "mod a; mod b; pub use b::*;"),
            ("src/a.rs", &format!("{code} pub struct A;")),
            (
                "src/b.rs",
                "use crate::a::A; made! {} pub struct B; pub fn g() {} pub trait T {} pub const N: u8 = 1;",
            ),
        ];
        let found = circles(&files);
        let lib = code.contains("made_by");
        assert_eq!(found.len(), usize::from(!lib), "{code}: {found:?}");
    }
}

#[test]
fn macros_by_example_belong_to_the_file_that_defines_them() {
    assert_circle(
        &[
            ("src/lib.rs", "mod parent;"),
            (
                "src/parent.rs",
                "macro_rules! rows { () => {} }\nmod child;\nuse child::C;",
            ),
            ("src/parent/child.rs", "pub struct C; rows!();"),
        ],
        "2 files import each other:\n  \
         src/parent/child.rs:1: imports `rows` from src/parent.rs\n  \
         src/parent.rs:3: imports `C` from src/parent/child.rs",
    );
}

/// Names of another crate are to be taken from that crate, not from a file that imports it, too.
#[test]
fn a_name_of_another_crate_is_an_import_of_the_file_it_is_taken_from() {
    assert_circle(
        &[
            ("src/lib.rs", "mod parent;"),
            (
                "src/parent.rs",
                "use std::sync::Arc;\nmod child;\nuse child::C;",
            ),
            ("src/parent/child.rs", "use super::Arc; pub struct C;"),
        ],
        "2 files import each other:\n  \
         src/parent/child.rs:1: imports `Arc` from src/parent.rs\n  \
         src/parent.rs:3: imports `C` from src/parent/child.rs",
    );
}

#[test]
fn inline_tests_import_what_they_like() {
    for code in [
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(all(test, feature = \"x\"))] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B;",
        "#[cfg(test)] fn f() { crate::b::g() }",
        "pub struct S; impl S { #[cfg(test)] fn f() { crate::b::g() } }",
        "struct S { #[cfg(test)] b: crate::b::B }",
    ] {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", &format!("{code} pub struct A;")),
            ("src/b.rs", "use crate::a::A; pub struct B; pub fn g() {}"),
        ];
        assert!(circles(&files).is_empty(), "{code}");
    }
    for code in [
        "#[cfg(not(test))] use crate::b::B;",
        "#[cfg(any(test, feature = \"x\"))] use crate::b::B;",
        "#[cfg(feature = \"test\")] use crate::b::B;",
    ] {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", &format!("{code} pub struct A;")),
            ("src/b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(circles(&files).len(), 1, "{code}");
    }
}

/// A file may take a name from its test file, for other tests.
#[test]
fn variable_named_like_a_test_helper_is_not_an_import() {
    let files = [
        ("src/lib.rs", "mod a;"),
        (
            "src/a.rs",
            "#[cfg(test)] mod tests; #[cfg(test)] pub use tests::config;
             pub fn f(config: &str) { config.len(); }",
        ),
        (
            "src/a/tests.rs",
            "use super::f; pub fn config() { f(\"\") }",
        ),
    ];
    assert!(circles(&files).is_empty());
}

#[test]
fn test_files_are_part_of_the_structure() {
    let helpers = "mod x; pub fn help(_: x::X) {}";
    assert_circle(
        &[
            ("src/lib.rs", "#[cfg(test)] mod helpers;"),
            ("src/helpers.rs", helpers),
            (
                "src/helpers/x.rs",
                "pub struct X; fn x() { crate::helpers::help(X) }",
            ),
        ],
        "2 files import each other:\n  \
         src/helpers/x.rs:1: imports `help` from src/helpers.rs\n  \
         src/helpers.rs:1: imports `X` from src/helpers/x.rs",
    );
}

#[test]
fn modules_are_found_in_every_place_that_rust_allows() {
    for (lib, file) in [
        ("mod a; mod b;", "src/b.rs"),
        ("mod a; mod b;", "src/b/mod.rs"),
        ("mod a; mod c { pub mod b; } use c::b;", "src/c/b.rs"),
        (
            "mod a; #[path = \"else/where.rs\"] mod b;",
            "src/else/where.rs",
        ),
        ("mod a; mod r#b;", "src/b.rs"),
    ] {
        let files = [
            ("src/lib.rs", lib),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            (file, "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(circles(&files).len(), 1, "{lib}");
    }
}

const PLAN: &Plan = &[
    ("lib", &["top"]),
    ("top", &["core"]),
    ("core", &["base"]),
    ("base", &[]),
];

#[track_caller]
fn assert_against_plan(files: &[(&str, &str)], expected: &[&str]) {
    let (folder, source) = plant(files);
    let found = against(PLAN, &source, &folder.path().join("src"), folder.path());
    assert_eq!(found, expected);
}

#[test]
fn rooms_may_import_all_that_lies_below_them() {
    assert_against_plan(
        &[
            (
                "src/lib.rs",
                "mod base; mod core; mod top; pub use core::inner::C;",
            ),
            (
                "src/top.rs",
                "use crate::base::B; use crate::core::inner::C;",
            ),
            ("src/core.rs", "pub mod inner;"),
            (
                "src/core/inner.rs",
                "use crate::base; pub struct C(base::B);",
            ),
            ("src/base.rs", "pub struct B; #[cfg(test)] mod tests;"),
            (
                "src/base/tests.rs",
                "use crate::top;  use crate::core::inner::C;",
            ),
        ],
        &[],
    );
}

#[test]
fn arrow_against_the_plan_is_found_with_its_line() {
    assert_against_plan(
        &[
            ("src/lib.rs", "mod base; mod core;"),
            ("src/core/mod.rs", "pub struct C;"),
            ("src/base/mod.rs", "mod deep;"),
            ("src/base/deep.rs", "\nuse crate::core::C;"),
        ],
        &["src/base/deep.rs:2: imports `C` from src/core/mod.rs: \
           the plan has no way from `base` to `core`"],
    );
    assert_against_plan(
        &[
            ("src/lib.rs", "mod top;\npub struct Root;"),
            ("src/top.rs", "fn f(_: crate::Root) {}"),
        ],
        &["src/top.rs:1: imports `Root` from src/lib.rs: \
           the plan has no way from `top` to `lib`"],
    );
}

#[test]
fn room_that_the_plan_lacks_is_found() {
    assert_against_plan(
        &[("src/lib.rs", "mod attic;"), ("src/attic.rs", "")],
        &["src/attic.rs:1: `attic` is not in the plan"],
    );
}

#[test]
fn entries_beyond_the_limit_are_listed() {
    let (folder, _) = plant(&[("src/lib.rs", ""), ("src/a/b.rs", ""), ("src/a/c.rs", "")]);
    let folder: &Path = &folder.path().join("src");
    assert_eq!(too_many_entries(folder, 2), None);
    let found = too_many_entries(folder, 1).unwrap();
    assert!(
        found.ends_with("src: 2 entries, at most 1: a, lib.rs"),
        "{found}"
    );
}
