//! What was asked of a store and is not answered yet. Knows no store. Invariant: a question reaches
//! the store's queue when it is asked; an answer is seen only when somebody looks for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Question<T> = Pin<Box<dyn Future<Output = T>>>;

/// See the module.
pub(super) struct Asked<T> {
    open: Vec<Question<T>>,
    ready: Vec<T>,
}

impl<T> std::fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self { open: Vec::new(), ready: Vec::new() }
    }
}

fn look<T>(question: &mut Question<T>) -> Option<T> {
    match question.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl<T> Asked<T> {
    /// Asks.
    pub(super) fn ask(&mut self, question: impl Future<Output = T> + 'static) {
        let mut question: Question<T> = Box::pin(question);
        match look(&mut question) {
            Some(answer) => self.ready.push(answer),
            None => self.open.push(question),
        }
    }

    /// Whether something waits for the store.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty() || !self.ready.is_empty()
    }

    /// What is answered by now, in the order asked.
    pub(super) fn answers(&mut self) -> Vec<T> {
        let mut answers = std::mem::take(&mut self.ready);
        self.open.retain_mut(|question| match look(question) {
            Some(answer) => {
                answers.push(answer);
                false
            }
            None => true,
        });
        answers
    }
}

/// Waits for one answer, serving the store meanwhile; `None` where it never comes.
pub(super) fn answered<T>(
    question: impl Future<Output = T>,
    mut serve: impl FnMut() -> bool,
) -> Option<T> {
    let mut question = std::pin::pin!(question);
    loop {
        let polled = question.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        if !serve() {
            return None;
        }
    }
}
