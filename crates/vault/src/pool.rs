//! The threads that hash, compress and seal.
//!
//! Work of milliseconds has no place on the threads of an async runtime: every timer and socket
//! would wait for it. One pool, sized by the machine, also keeps several sessions from using more
//! CPU than there is.
//!
//! # Invariants
//! Jobs start in the order they came. The queue is not bounded here: whoever submits holds a
//! permit of its own. Dropping the pool lets the queued jobs run and then ends the threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct CpuPool {
    shared: Arc<Shared>,
    /// Empty: jobs run at once, on the thread that submits them.
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Shared {
    /// The queue is whole at every unlock, so a panic elsewhere does not spoil it.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl CpuPool {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let mut pool = Self {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("vault-{number}"))
                .spawn(move || run_jobs(&shared))
                .map_err(|error| Error::system("start a worker thread").because(error))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// A pool without threads, so that a simulation has one history for each seed.
    #[cfg(test)]
    pub(crate) fn inline() -> Self {
        Self {
            shared: Arc::default(),
            threads: Vec::new(),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Runs a job some time later.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        if self.threads.is_empty() {
            return job();
        }
        self.shared.queue().jobs.push_back(Box::new(job));
        self.shared.wake.notify_one();
    }

    /// Runs a job; the receiver gets what it gives, or an error when it panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.spawn(move || {
            // The receiver is gone when the caller lost interest.
            let _unwanted = sender.send(job());
        });
        receiver
    }
}

/// A job that panics must not take its thread with it: the pool would shrink unseen.
fn run_jobs(shared: &Shared) {
    while let Some(job) = shared.next() {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a job of the vault's thread pool panicked");
        }
    }
}

impl Drop for CpuPool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_all();
        let this = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last owner may be a job of this very pool: a thread cannot wait for itself.
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!("a thread of the vault's pool panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_is_reported_and_the_pool_lives_on() {
        let pool = CpuPool::new(1).unwrap();
        assert!(pool.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
