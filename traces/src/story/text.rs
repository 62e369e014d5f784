//! A story as text.

use std::fmt;

use super::hop::{Hop, HopKind, Story};
use crate::text::{milliseconds, printable, time};

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, duration) = (time(self.start), milliseconds(self.duration));
        let traces = match self.traces.len() {
            1 => "1 trace".to_owned(),
            count => format!("{count} traces"),
        };
        writeln!(f, "story of {traces}  {start}  {duration}")?;
        let slowest = self.slowest.and_then(|index| self.hops.get(index));
        if let Some(hop) = slowest {
            let own = milliseconds(hop.own.unwrap_or_default());
            writeln!(f, "slowest: {} {}  {own}", kind(hop), printable(&hop.name))?;
        }
        let failed = self.first_failure.and_then(|index| self.hops.get(index));
        match failed.and_then(|hop| Some((hop, hop.failures.first()?))) {
            Some((hop, reason)) => {
                let (kind, name, reason) = (kind(hop), printable(&hop.name), printable(reason));
                writeln!(f, "first failure: {kind} {name}  {reason}")?;
            }
            None => writeln!(f, "no failure")?,
        }
        writeln!(f)?;
        self.hops.iter().try_for_each(|hop| write_hop(f, self, hop))
    }
}

fn kind(hop: &Hop) -> &'static str {
    match hop.kind {
        HopKind::Request => "request",
        HopKind::Function => "function",
        HopKind::Service => "service",
        HopKind::Queue => "queue",
        HopKind::DeadLetterQueue => "dead-letter queue",
        HopKind::Topic => "topic",
        HopKind::Bus => "bus",
    }
}

fn write_hop(f: &mut fmt::Formatter<'_>, story: &Story, hop: &Hop) -> fmt::Result {
    let mut parts = vec![
        format!("+{}", milliseconds(hop.start - story.start)),
        format!("{} {}", kind(hop), printable(&hop.name)),
    ];
    parts.extend(hop.status.map(|status| format!("status {status}")));
    parts.push(match (hop.kind, hop.duration) {
        (HopKind::Queue | HopKind::DeadLetterQueue, Some(waited)) if hop.message_id.is_some() => {
            format!("waited {}", milliseconds(waited))
        }
        (_, Some(duration)) => milliseconds(duration),
        (_, None) => "in progress".to_owned(),
    });
    let receive = hop.receive_count.map(|count| format!("receive {count}"));
    parts.extend(receive);
    if matches!(hop.kind, HopKind::Queue | HopKind::DeadLetterQueue) {
        let id = hop.message_id.as_deref().map(printable);
        parts.extend(id.map(|id| format!("message {id}")));
    } else {
        parts.push(format!("{} of {}", printable(&hop.id), hop.trace_id));
    }
    writeln!(f, "{}", parts.join("  "))?;
    if let Some(invocation) = &hop.invocation {
        let duration = invocation.duration.map(milliseconds).unwrap_or_default();
        let line = format!("invocation {}  {duration}", printable(&invocation.trace_id));
        writeln!(f, "    {}", line.trim_end())?;
        for failure in &invocation.failures {
            writeln!(f, "    ! {}", printable(failure))?;
        }
    }
    for failure in &hop.failures {
        writeln!(f, "    ! {}", printable(failure))?;
    }
    if let Some(note) = &hop.note {
        writeln!(f, "    ({note})")?;
    }
    Ok(())
}
