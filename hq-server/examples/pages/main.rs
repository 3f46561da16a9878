//! Serves the pages over a made-up trading month that goes on trading, to look at them without an
//! installation: `cargo run -p hq-server --example pages [ADDRESS]`.

mod papers;
mod sample;

use std::sync::Arc;
use std::time::Duration;

use hq_server::clock::Clock;
use hq_server::web::books_desk::BooksDesk;
use hq_server::web::desk::Desk;
use sample::Sample;
use shared::ids::CompanyNo;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:7480"));
    let clock = Clock::system();
    let sample = Sample::trading_month(clock.now());
    let (links, ticking) = (Arc::clone(&sample), clock.clone());
    let desk: Arc<dyn Desk> = Arc::new(BooksDesk {
        company: CompanyNo::FIRST,
        books: sample.clone(),
        archive: sample.clone(),
        documents: Arc::new(papers::shared_documents(clock.now())),
        links: Arc::new(move || links.links(ticking.now())),
        clock: clock.clone(),
        changes: sample.changes.clone(),
    });
    let (reports, _document) = hq_server::web::read_api(Arc::clone(&desk)).split_for_parts();
    let pages = hq_server::web::pages(desk).merge(reports);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(2));
        loop {
            tick.tick().await;
            sample.one_more(clock.now());
        }
    });
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, pages).await
}
