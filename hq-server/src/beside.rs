//! What people ask for and takes its time, beside the event loop: reports, files, documents. Knows no
//! question. Invariant: it never has more than half of the threads that wait for disks, so sites are
//! served whatever people ask.

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

use crate::runtime::BLOCKING_THREADS_MAX;

static FREE: Semaphore = Semaphore::const_new(BLOCKING_THREADS_MAX / 2);

/// Begins something once there is room; it goes on although nobody waits for it any more.
pub(crate) async fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let place = FREE.acquire().await.expect("nobody closes it");
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    })
}

/// Does something; an error where it panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    start(work).await.await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn people_leave_threads_for_sites() {
        let threads = crate::runtime::threads().expect("threads");
        threads.block_on(async {
            let (go_on, waits) = mpsc::channel::<()>();
            let waits = std::sync::Arc::new(std::sync::Mutex::new(waits));
            let question = || {
                let waits = std::sync::Arc::clone(&waits);
                // Until the sender is gone.
                run(move || drop(waits.lock().map(|waits| waits.recv())))
            };
            let questions = (0..2 * BLOCKING_THREADS_MAX).map(|_| tokio::spawn(question()));
            let questions: Vec<_> = questions.collect();
            while FREE.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let of_a_site = tokio::task::spawn_blocking(|| ());
            let served = tokio::time::timeout(Duration::from_secs(20), of_a_site).await;
            drop(go_on);
            assert!(served.is_ok(), "a site waits for pages");
            for question in questions {
                question.await.expect("no panic").expect("no panic");
            }
        });
    }
}
