//! Server-sent events: where the books stand for programs, and the dashboard's fragments for the
//! page. Every event says the whole state it speaks of, so that one lost harms nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template as _;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::Desks;
use super::desk::{Change, Posted};
use super::language::Chosen;
use super::pages::LiveDashboard;
use super::whose::Reader;
use crate::beside;

/// A connection says something at least this often, so that both ends notice when it is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Fragments follow each other no faster: what changes in between comes in one.
const GATHER: Duration = Duration::from_millis(100);

/// Figures of freshness age without any posting: the page gets them again at least this often.
const REFRESH: Duration = Duration::from_secs(15);

type Stream = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;

fn stream(events: mpsc::Receiver<Result<Event, Infallible>>) -> Stream {
    Sse::new(ReceiverStream::new(events)).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// Where the books stand, after every commit.
#[utoipa::path(
    get,
    path = "/events",
    tag = "read",
    responses((status = 200, content_type = "text/event-stream", body = Posted,
        description = "event `posted`; its id is the place in the sequence; the first one names \
                       every site, later ones the sites that moved"))
)]
pub(super) async fn events(State(desk): State<Desks>) -> Stream {
    let (to, from) = mpsc::channel(64);
    tokio::spawn(tell_positions(desk, to));
    stream(from)
}

async fn tell_positions(desk: Desks, to: mpsc::Sender<Result<Event, Infallible>>) {
    let mut changes = desk.changes();
    let mut next = Arc::new(desk.posted());
    loop {
        if to.send(Ok(posted_event(&next))).await.is_err() {
            return;
        }
        next = loop {
            match changes.recv().await {
                Ok(Change::Posted(posted)) => break posted,
                Ok(Change::Links) => {}
                Err(RecvError::Lagged(_)) => break Arc::new(desk.posted()),
                Err(RecvError::Closed) => return,
            }
        };
    }
}

fn posted_event(posted: &Posted) -> Event {
    Event::default()
        .event("posted")
        .id(posted.position.to_string())
        .json_data(posted)
        .expect("numbers have a JSON form")
}

/// The moving parts of the dashboard, for the page's own script.
pub(super) async fn dashboard_events(reader: Reader, chosen: Chosen) -> Stream {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(tell_dashboard(reader.desk, chosen, to));
    stream(from)
}

async fn tell_dashboard(desk: Desks, chosen: Chosen, to: mpsc::Sender<Result<Event, Infallible>>) {
    let mut changes = desk.changes();
    loop {
        let Some(event) = dashboard_event(Arc::clone(&desk), chosen).await else { return };
        if to.send(Ok(event)).await.is_err() {
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            more = next_change(&mut changes) => if !more { return },
        }
    }
}

/// Returns when the page needs another fragment, and not before [`GATHER`] is over. False when
/// there will be no more changes.
async fn next_change(changes: &mut broadcast::Receiver<Change>) -> bool {
    let mut moved = false;
    let gather = async {
        loop {
            match changes.recv().await {
                Err(RecvError::Closed) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => moved = true,
            }
        }
    };
    if timeout(GATHER, gather).await.is_ok() {
        return false;
    }
    moved || !matches!(timeout(REFRESH, changes.recv()).await, Ok(Err(RecvError::Closed)))
}

async fn dashboard_event(desk: Desks, chosen: Chosen) -> Option<Event> {
    let made = beside::run(move || {
        let dashboard = desk.dashboard().map_err(|error| error.to_string())?;
        let position = dashboard.position;
        let html = LiveDashboard::new(dashboard, chosen.language).render();
        Ok::<_, String>((position, html.map_err(|error| error.to_string())?))
    });
    match made.await.map_err(|error| error.to_string()).and_then(|made| made) {
        Ok((position, html)) => Some(Event::default().id(position.to_string()).data(html)),
        Err(error) => {
            tracing::error!(error, "the live dashboard stops: the page has to be loaded again");
            None
        }
    }
}
