//! Around `reqwest`.

use http::Extensions;
use reqwest::{Request, Response, Url, redirect::Policy};
use reqwest_middleware::{Error, Middleware, Next, Result};
use tracestitch_wire::document::{Cause, clean_url};

use super::{TraceRequests, record_answer};
use crate::{
    support::diagnostics,
    trace::{capture::Recorded, subsegment::Subsegment},
};

/// Add it last, so that it sees each attempt of a middleware that retries.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tracestitch::http_client::TraceRequests;
///
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(TraceRequests::new())
///     .build();
/// ```
#[async_trait::async_trait]
impl Middleware for TraceRequests {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let (method, url) = (request.method().clone(), request.url().clone());
        let host = url.host_str().unwrap_or("remote");
        let call = self.begin(&method, host, url.as_str(), request.headers_mut());
        let carries = call.context.trace_header().is_some();
        let work = next.run(request, extensions);
        Recorded::new(
            call.context,
            call.subsegment,
            work,
            |outcome, subsegment| {
                match &outcome {
                    Ok(response) => {
                        record_answer(subsegment, response.status(), response.headers());
                        self.record_redirect(subsegment, carries, &url, response.url());
                    }
                    Err(error) => subsegment.fail_with(|| cause(error)),
                }
                outcome
            },
        )
        .await
    }
}

/// Given once: who forgot [`TraceRequests::redirects`] did so at each request.
static LED_AWAY: diagnostics::Once = diagnostics::Once::new();

impl TraceRequests {
    /// Says who answered, if the client was led there.
    fn record_redirect(&self, call: &Subsegment, carries: bool, asked: &Url, answered: &Url) {
        let answered_by = clean_url(answered.as_str());
        if clean_url(asked.as_str()) == answered_by {
            return;
        }
        let [from, to] = [asked, answered].map(|url| url.host_str().unwrap_or_default());
        if carries && self.is_led_away(from, to) {
            LED_AWAY.warn(format_args!(
                "a redirect took the trace header to {to:?}, which is not to have it: the client \
                 of `reqwest` needs `.redirect(trace_requests.redirects())`"
            ));
        }
        call.amend(|document| {
            let key = "answered_by".into();
            document.put_metadata("tracestitch".into(), key, answered_by.into());
        });
    }

    /// True when a header that was given to one host must not come to the other. Only the client's
    /// own policy can keep it from that.
    pub(super) fn is_led_away(&self, from: &str, to: &str) -> bool {
        self.is_told(from) && !self.is_told(to)
    }

    /// For [`ClientBuilder::redirect`](reqwest::ClientBuilder::redirect): follows redirects, 10 at
    /// most, only to hosts that are given the headers. Of one to another host, the redirect itself
    /// is the answer.
    ///
    /// By itself a client takes all headers along, also to hosts that
    /// [`propagate_to`](Self::propagate_to) does not name, and only its policy can keep it
    /// from that: the first time that it happens is told in one warning on standard error. To what
    /// is [ignored](Self::ignore) they are not given either.
    ///
    /// ```
    /// use tracestitch::http_client::TraceRequests;
    ///
    /// let trace = TraceRequests::new().propagate_to(["*.internal.example"]);
    /// let client = reqwest::Client::builder().redirect(trace.redirects()).build()?;
    /// let client = reqwest_middleware::ClientBuilder::new(client).with(trace).build();
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    pub fn redirects(&self) -> Policy {
        let settings = self.clone();
        Policy::custom(move |attempt| {
            let host = attempt.url().host_str().unwrap_or_default();
            if settings.is_told(host) {
                Policy::default().redirect(attempt)
            } else {
                attempt.stop()
            }
        })
    }
}

/// The error's own names say less than its predicates.
fn cause(error: &Error) -> Cause {
    let mut cause = Cause::from_error(error);
    if let (Error::Reqwest(error), Some(exception)) = (error, cause.exceptions.first_mut()) {
        exception.kind = if error.is_timeout() {
            "Timeout".into()
        } else if error.is_connect() {
            "NoConnection".into()
        } else {
            "reqwest::Error".into()
        };
    }
    cause
}
