//! Finds the place of a fault by its code, and puts the faulty code there.

/// Finds begin and end of a place's code in a text: the only place with this code, however it
/// is indented and wrapped.
///
/// # Errors
/// When there is no such place, or more than one.
pub(crate) fn find(text: &str, code: &str) -> Result<(usize, usize), usize> {
    let solid = |text: &str| -> Vec<(usize, char)> {
        let indices = text.char_indices();
        indices.filter(|(_, c)| !c.is_whitespace()).collect()
    };
    let (text, code) = (solid(text), solid(code));
    let is_here = |window: &&[(usize, char)]| {
        let mut pairs = window.iter().zip(&code);
        pairs.all(|((_, one), (_, other))| one == other)
    };
    let mut places = text.windows(code.len()).filter(is_here);
    match (places.next(), places.count()) {
        (Some(place), 0) => {
            let (last, c) = place[place.len() - 1];
            Ok((place[0].0, last + c.len_utf8()))
        }
        (first, more) => Err(usize::from(first.is_some()) + more),
    }
}

/// The faulty code, with the switch of the fault called `name` in place of `PLANTED` and
/// `PLANTED_EVERY(n)`. `module` is the path of the switches.
pub(crate) fn with_switch(code: &str, module: &str, name: &str) -> String {
    let every = format!("{module}::every(\"{name}\", ");
    let is = format!("{module}::is(\"{name}\")");
    code.replace("PLANTED_EVERY(", &every)
        .replace("PLANTED", &is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_found_however_it_is_wrapped() {
        let text = "fn f() {\n    a.b(\n        c,\n    );\n}\n";
        assert_eq!(find(text, "a.b(c,);"), Ok((13, 35)));
        assert_eq!(find(text, "a.b(d);"), Err(0));
        assert_eq!(find("x; x; x;", "x;"), Err(3));
    }

    #[test]
    fn switches_have_the_name_of_the_fault() {
        let code = with_switch("if PLANTED_EVERY(3) || PLANTED {}", "m", "f");
        assert_eq!(code, r#"if m::every("f", 3) || m::is("f") {}"#);
    }
}
