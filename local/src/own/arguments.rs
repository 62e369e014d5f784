//! What the command line says.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use tracestitch_wire::header::TraceHeader;

use super::Own;

/// That of the example functions; Lambda's own default of 3 seconds is little for a debug build.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Own {
    /// The function that these arguments describe:
    /// `[--env NAME[=VALUE]]... [--timeout SECONDS] [--trace HEADER] [--extension PATH] PROGRAM
    /// [EVENT]...`
    ///
    /// A variable without a value gets the one that it has here.
    ///
    /// ```
    /// use tracestitch_local::own::Own;
    ///
    /// let own = Own::from_arguments(&["--env", "TABLE_NAME=orders", "bootstrap", "event.json"])?;
    /// assert_eq!(own.variables, [("TABLE_NAME".to_owned(), "orders".to_owned())]);
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What was expected in place of an argument that cannot be read.
    pub fn from_arguments(arguments: &[&str]) -> Result<Self, String> {
        let mut own = Self {
            program: PathBuf::new(),
            events: Vec::new(),
            variables: Vec::new(),
            timeout: TIMEOUT,
            trace_header: None,
            extension: None,
        };
        let mut arguments = arguments.iter().copied();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} lacks its value"))
            };
            match argument {
                "--env" => own.variables.push(variable(value()?)?),
                "--timeout" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
                    let seconds = seconds
                        .ok_or_else(|| format!("--timeout is {text:?}, expected whole seconds"))?;
                    own.timeout = Duration::from_secs(seconds);
                }
                "--trace" => {
                    let text = value()?;
                    if let Err(error) = text.parse::<TraceHeader>() {
                        return Err(format!("--trace: {error}"));
                    }
                    own.trace_header = Some(text.to_owned());
                }
                "--extension" => own.extension = Some(value()?.into()),
                option if option.starts_with("--") => {
                    return Err(format!(
                        "{option} is unknown, expected --env, --timeout, --trace or --extension"
                    ));
                }
                program if own.program.as_os_str().is_empty() => own.program = program.into(),
                event => own.events.push(event.into()),
            }
        }
        if own.program.as_os_str().is_empty() {
            return Err("no program is named, expected the path of a function's binary".to_owned());
        }
        Ok(own)
    }
}

/// `NAME=VALUE`, or the name of a variable of this process.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(error) => Err(format!("--env {text} has no value, and here: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1";

    #[test]
    fn arguments_that_are_understood() {
        let own = Own::from_arguments(&[
            "--timeout",
            "3",
            "--env",
            "A=b=c",
            "--trace",
            HEADER,
            "target/debug/mine",
            "--extension",
            "ext",
            "--env",
            "PATH",
            "one.json",
            "two.json",
        ]);
        let path = env::var("PATH").unwrap();
        let variables = [("A", "b=c"), ("PATH", &*path)];
        let expected = Own {
            program: "target/debug/mine".into(),
            events: vec!["one.json".into(), "two.json".into()],
            variables: variables.map(|(n, v)| (n.into(), v.into())).to_vec(),
            timeout: Duration::from_secs(3),
            trace_header: Some(HEADER.to_owned()),
            extension: Some("ext".into()),
        };
        assert_eq!(own, Ok(expected));
    }

    #[test]
    fn arguments_that_are_not() {
        for (arguments, said) in [
            (&[][..], "no program"),
            (&["--env"], "--env lacks its value"),
            (&["--env", "NOT_SET_ANYWHERE", "p"], "NOT_SET_ANYWHERE"),
            (&["--timeout", "1.5", "p"], "expected whole seconds"),
            (&["--timeout", "0", "p"], "expected whole seconds"),
            (&["--trace", "1-2", "p"], "--trace: expected"),
            (&["--sam", "p"], "--sam is unknown, expected --env"),
        ] {
            let error = Own::from_arguments(arguments).unwrap_err();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }
}
