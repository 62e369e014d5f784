//! Values that can be recorded as the cause of a fault.

use std::any::Any;
use std::error::Error;

use lambda_runtime::Diagnostic;
use tracestitch_wire::document::{Cause, Exception, clean_message};

#[cfg(feature = "anyhow")]
use crate::support::backtrace;
use crate::support::user_code;

/// An error, with its chain of sources, as the reason of a failure.
///
/// Implemented for every [`std::error::Error`], for boxed errors (such as
/// [`lambda_runtime::Error`]) and, with the features `anyhow` and `eyre`, for `anyhow::Error` and
/// `eyre::Report`. `Kind` keeps the implementations apart, because the compiler assumes that a box
/// of an error may implement `Error` in future. It is always inferred, never written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be recorded as the cause of a fault",
    label = "neither an error nor a box of one",
    note = "expected a type that implements `std::error::Error`, or `lambda_runtime::Error`",
    note = "`anyhow::Error` and `eyre::Report` need tracestitch's feature `anyhow` or `eyre`"
)]
pub trait Failure<Kind>: sealed::Sealed<Kind> {
    #[doc(hidden)]
    fn cause(&self) -> Cause;
}

mod sealed {
    pub trait Sealed<Kind> {}
}

/// [`Failure`] by [`std::error::Error`].
#[derive(Debug)]
pub struct ByError;

/// [`Failure`] by a pointer to an error.
#[derive(Debug)]
pub struct ByPointer;

impl<E: Error + 'static> sealed::Sealed<ByError> for E {}
impl<E: Error + 'static> Failure<ByError> for E {
    fn cause(&self) -> Cause {
        Cause::from_error(self)
    }
}

macro_rules! by_pointer {
    ($($pointer:ty),*) => {$(
        impl sealed::Sealed<ByPointer> for $pointer {}
        impl Failure<ByPointer> for $pointer {
            fn cause(&self) -> Cause {
                Cause::from_error(&**self)
            }
        }
    )*};
}

by_pointer!(
    Box<dyn Error + Send + Sync>,
    Box<dyn Error + Send>,
    Box<dyn Error>
);
#[cfg(feature = "eyre")]
by_pointer!(eyre::Report);

#[cfg(feature = "anyhow")]
impl sealed::Sealed<ByPointer> for anyhow::Error {}
/// Adds the stack at which the error was made, if `RUST_BACKTRACE` made `anyhow` capture it.
#[cfg(feature = "anyhow")]
impl Failure<ByPointer> for anyhow::Error {
    fn cause(&self) -> Cause {
        let mut cause = Cause::from_error(&**self);
        if let Some(exception) = cause.exceptions.first_mut() {
            backtrace::put_stack(exception, backtrace::frames(self.backtrace()));
        }
        cause
    }
}

/// Converts a handler's error into a cause for the trace and a diagnostic for Lambda.
///
/// A handler may fail with any type that converts into a [`Diagnostic`]. Error types that
/// `lambda_runtime` converts keep their chain of sources. A type with a conversion of the user's is
/// recorded as that conversion describes it.
pub(crate) fn of_handler<E: Into<Diagnostic> + 'static>(error: E) -> (Cause, Diagnostic) {
    let chain = user_code::contained(|| chain_of(&error)).flatten();
    let diagnostic: Diagnostic = error.into();
    let cause = chain.unwrap_or_else(|| {
        let kind = diagnostic.error_type.clone();
        let message = clean_message(&diagnostic.error_message).into_owned();
        Cause::from_exception(Exception::new(kind, message))
    });
    (cause, diagnostic)
}

fn chain_of(error: &dyn Any) -> Option<Cause> {
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(error.cause());
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error>>() {
        return Some(error.cause());
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return Some(Cause::from_error(error));
    }
    #[cfg(feature = "anyhow")]
    if let Some(error) = error.downcast_ref::<anyhow::Error>() {
        return Some(error.cause());
    }
    #[cfg(feature = "eyre")]
    if let Some(error) = error.downcast_ref::<eyre::Report>() {
        return Some(error.cause());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the messages of the chain that a handler's error leaves.
    fn messages<E: Into<Diagnostic> + 'static>(error: E) -> Vec<String> {
        let (cause, _) = of_handler(error);
        let exceptions = cause.exceptions.into_iter();
        exceptions
            .map(|exception| exception.message.as_str().to_owned())
            .collect()
    }

    /// An error whose own code unwraps its writes, and formats a source that the runtime does not.
    struct Unwrapping;

    impl std::fmt::Debug for Unwrapping {
        #[allow(clippy::unwrap_used, reason = "the fault under test")]
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            for _ in 0..100_000 {
                f.write_str("Unwrapping { and more of it }").unwrap();
            }
            Ok(())
        }
    }

    impl std::fmt::Display for Unwrapping {
        #[allow(clippy::unwrap_used, reason = "the fault under test")]
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no stock").unwrap();
            Ok(())
        }
    }

    impl Error for Unwrapping {}

    #[test]
    fn error_that_unwraps_its_writes_is_recorded_as_any_other() {
        let cause = Failure::cause(&Unwrapping);
        assert_eq!(cause.exceptions[0].kind.as_str(), "Unwrapping");
        assert_eq!(messages(std::io::Error::other(Unwrapping)), ["no stock"]);
        let boxed: Box<dyn Error + Send + Sync> = Unwrapping.into();
        assert_eq!(messages(boxed), ["no stock"]);
    }

    /// The runtime formats the outermost error alone.
    #[test]
    fn source_that_panics_does_not_change_the_handlers_error() {
        #[derive(Debug)]
        struct Broken;
        impl std::fmt::Display for Broken {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("no message")
            }
        }
        impl Error for Broken {}
        #[derive(Debug)]
        struct Outer(Broken);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("outer")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let boxed: Box<dyn Error + Send + Sync> = Outer(Broken).into();
        let (cause, diagnostic) = of_handler(boxed);
        assert_eq!(diagnostic.error_message, "outer");
        assert_eq!(cause.exceptions[0].message.as_str(), "outer");
    }

    #[derive(Debug)]
    struct NotPriced(std::num::ParseIntError);

    impl std::fmt::Display for NotPriced {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("not priced")
        }
    }

    impl Error for NotPriced {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn errors_keep_their_chain() {
        let io = || std::io::Error::other(NotPriced("x".parse::<i32>().unwrap_err()));
        let expected = ["not priced", "invalid digit found in string"];
        assert_eq!(messages(io()), expected);
        let boxed: Box<dyn Error> = io().into();
        assert_eq!(messages(boxed), expected);
        let boxed: Box<dyn Error + Send + Sync> = io().into();
        assert_eq!(messages(boxed), expected);
        assert_eq!(messages("no stock"), ["no stock"]);
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn anyhow_keeps_its_chain() {
        use anyhow::Context;

        let failed = "x".parse::<i32>().context("read quantity").unwrap_err();
        assert_eq!(failed.cause().exceptions.len(), 2);
        let expected = ["read quantity", "invalid digit found in string"];
        assert_eq!(messages(failed), expected);
    }

    /// The environment decides whether there is a stack, so the test starts itself again in another
    /// process.
    #[cfg(feature = "anyhow")]
    #[test]
    fn anyhow_brings_its_stack() {
        const INSIDE: &str = "TRACESTITCH_TEST_STACK";
        if std::env::var_os(INSIDE).is_some() {
            let exception = anyhow::anyhow!("no stock").cause().exceptions.remove(0);
            let own = exception.stack.iter().find(|frame| {
                let label = frame.label.as_str();
                label.contains("anyhow_brings_its_stack")
            });
            assert!(own.is_some(), "{exception:?}");
            return;
        }
        let inside = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trace::failure::tests::anyhow_brings_its_stack"])
            .env(INSIDE, "1")
            .env("RUST_LIB_BACKTRACE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }

    #[cfg(feature = "eyre")]
    #[test]
    fn eyre_keeps_its_chain() {
        use eyre::WrapErr;

        let failed = "x".parse::<i32>().wrap_err("read quantity").unwrap_err();
        assert_eq!(failed.cause().exceptions.len(), 2);
        let expected = ["read quantity", "invalid digit found in string"];
        assert_eq!(messages(failed), expected);
    }
}
