//! Stacks of source lines, read from the standard library's backtraces.

use std::backtrace::{Backtrace, BacktraceStatus};

use tracestitch_wire::document::{Exception, StackFrame};

/// Largest number of frames of one stack. Outer frames matter least: they are left out and counted.
const MAX_FRAMES: usize = 32;

/// Puts as much of `stack` on `exception` as there is room for.
pub(crate) fn put_stack(exception: &mut Exception, mut stack: Vec<StackFrame>) {
    let left_out = stack.len().saturating_sub(MAX_FRAMES);
    exception.truncated = (left_out > 0).then_some(left_out);
    stack.truncate(MAX_FRAMES);
    exception.stack = stack;
}

/// True if `frame` is in this line of this file, however much of the path each names.
pub(crate) fn is_at(frame: &StackFrame, file: &str, line: u32) -> bool {
    let path = frame.path.as_str().trim_start_matches("./");
    frame.line == line && !path.is_empty() && (path.ends_with(file) || file.ends_with(path))
}

/// Returns the frames that have a source line, innermost first. The standard library shows a stack
/// only as text: a line `<n>: <function>`, then one `at <path>:<line>:<column>`.
pub(crate) fn frames(backtrace: &Backtrace) -> Vec<StackFrame> {
    match backtrace.status() {
        BacktraceStatus::Captured => read_frames(&backtrace.to_string()),
        _ => Vec::new(),
    }
}

fn read_frames(text: &str) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    let mut label = "";
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            let mut parts = place.rsplitn(3, ':');
            let (_column, line, path) = (parts.next(), parts.next(), parts.next());
            if let (Some(Ok(line)), Some(path)) = (line.map(str::parse), path) {
                frames.push(StackFrame {
                    path: path.to_owned().into(),
                    line,
                    label: label.to_owned().into(),
                });
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            label = function;
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_from_text() {
        let text = "   0: one::two\n             at ./src/a.rs:7:5\n   1: no_debug_info\n   \
                    2: <impl X for Y>::three\n             at /b c.rs:8:1\nnoise at x\n";
        let frames: Vec<_> = read_frames(text)
            .into_iter()
            .map(|frame| (frame.label, frame.path, frame.line))
            .collect();
        assert_eq!(
            frames,
            [
                ("one::two".into(), "./src/a.rs".into(), 7),
                ("<impl X for Y>::three".into(), "/b c.rs".into(), 8),
            ]
        );
    }

    #[test]
    fn stack_is_cut_to_its_inner_frames() {
        for (frames, kept, truncated) in [(0, 0, None), (32, 32, None), (35, 32, Some(3))] {
            let frame = |line| StackFrame {
                path: "a.rs".into(),
                line,
                label: "f".into(),
            };
            let mut exception = Exception::new("panic", "");
            put_stack(&mut exception, (0..frames).map(frame).collect());
            assert_eq!(exception.stack.len(), kept, "{frames}");
            assert_eq!(exception.truncated, truncated, "{frames}");
            assert!(exception.stack.first().is_none_or(|frame| frame.line == 0));
        }
    }
}
