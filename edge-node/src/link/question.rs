//! What a person at the node asks HQ for, and waits for. Knows no connection. Invariant: a question is
//! answered by the session that took it, or its asker sees that nobody answers.

use std::time::Duration;

use shared::ids::ItemNo;
use shared::sync::Found;
use tokio::sync::{mpsc, oneshot};

/// How long HQ may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many questions may wait.
const QUEUE_MAX: usize = 16;

/// Something for HQ.
#[derive(Debug)]
pub enum Question {
    /// Items whose code or name has a text in it.
    LookUp(String, oneshot::Sender<Found>),
    /// The site handles these items from now on; HQ tells them as it tells others.
    Handle(Vec<ItemNo>, oneshot::Sender<()>),
}

/// HQ did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HQ does not answer now: see 'edge-node status', and try again once the link is online")]
pub struct NoAnswer;

/// Asks HQ through the link.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Question>);

/// Questions on their way to a session.
pub type Questions = mpsc::Receiver<Question>;

/// Both ends.
pub fn questions() -> (Asker, Questions) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (Asker(sender), receiver)
}

impl Asker {
    /// Items at HQ whose code or name has `text` in it.
    pub async fn look_up(&self, text: String) -> Result<Found, NoAnswer> {
        self.ask(|answer| Question::LookUp(text, answer)).await
    }

    /// Lets the site handle items; done once HQ was told.
    pub async fn handle(&self, items: Vec<ItemNo>) -> Result<(), NoAnswer> {
        self.ask(|answer| Question::Handle(items, answer)).await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(question(answer)).map_err(|_| NoAnswer)?;
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| NoAnswer)?.map_err(|_| NoAnswer)
    }
}
