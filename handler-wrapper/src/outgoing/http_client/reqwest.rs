//! Middleware for `reqwest`.

use http::Extensions;
use reqwest::{Request, Response, Url, redirect::Policy};
use reqwest_middleware::{Error, Middleware, Next, Result};
use tracestitch_wire::document::{Cause, clean_url};

use super::requests::{TraceRequests, record_answer};
use crate::{
    support::diagnostics,
    trace::{capture::Recorded, subsegment::Subsegment},
};

/// Records each request. Add it last, so that it sees each attempt of a middleware that retries.
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

/// Limits the warning to one: a missing [`TraceRequests::redirects`] affects every request.
static LED_AWAY: diagnostics::Once = diagnostics::Once::new();

impl TraceRequests {
    /// Records the URL that answered, if a redirect led there.
    fn record_redirect(&self, call: &Subsegment, carries: bool, asked: &Url, answered: &Url) {
        let answered_by = clean_url(answered.as_str());
        if clean_url(asked.as_str()) == answered_by {
            return;
        }
        let [from, to] = [asked, answered].map(|url| url.host_str().unwrap_or_default());
        if carries && self.leaves_trusted_hosts(from, to) {
            LED_AWAY.warn(format_args!(
                "a redirect took the trace header to {to:?}, which `propagate_to` or \
                 `ignore` excludes; build the `reqwest` client with `.redirect(trace_requests.redirects())`"
            ));
        }
        call.amend(|document| {
            let key = "answered_by".into();
            document.put_metadata("tracestitch".into(), key, answered_by.into());
        });
    }

    /// Returns true if a header that `from` may have must not reach `to`. Only the client's own
    /// redirect policy can prevent it.
    pub(super) fn leaves_trusted_hosts(&self, from: &str, to: &str) -> bool {
        self.is_trusted(from) && !self.is_trusted(to)
    }

    /// Returns a policy for [`ClientBuilder::redirect`](reqwest::ClientBuilder::redirect). It follows
    /// at most 10 redirects, only to hosts that may have the headers. A redirect to another host is
    /// returned as the response.
    ///
    /// By default a client repeats all headers, also to hosts that
    /// [`propagate_to`](Self::propagate_to) does not name or that are [ignored](Self::ignore). Only
    /// its policy can prevent this. The first such redirect causes one warning on standard error.
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
            if settings.is_trusted(host) {
                Policy::default().redirect(attempt)
            } else {
                attempt.stop()
            }
        })
    }
}

/// Returns the cause of a failed request. The error's predicates are more precise than its type.
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
