//! Work that ends with the handler although other code still holds it.

use std::fmt;
use std::sync::{Mutex, PoisonError, Weak};

/// Work that ends with a trace's outermost document.
pub(crate) trait Follower: fmt::Debug + Send + Sync {
    /// Ends the work. The outermost document is about to end.
    fn end(&self);
}

/// The followers of one trace.
#[derive(Debug, Default)]
pub(crate) struct Followers(Mutex<Vec<Weak<dyn Follower>>>);

impl Followers {
    pub(crate) fn add(&self, follower: Weak<dyn Follower>) {
        self.lock().push(follower);
    }

    /// Ends all followers, latest first: inner work ends before the work around it.
    pub(crate) fn end(&self) {
        let followers = std::mem::take(&mut *self.lock());
        for follower in followers.iter().rev().filter_map(Weak::upgrade) {
            follower.end();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Follower>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
