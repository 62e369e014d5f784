//! A log in memory.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Lines of JSON. Clones write to the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&log).unwrap().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
