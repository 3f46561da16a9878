//! The API's document is committed, so that every change of the API shows in a diff.
//! `UPDATE_OPENAPI=1 cargo test -p hq-server --test openapi` writes it anew.

mod common;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use common::{Hands, init};
use hq_server::api::{Access, router};
use shared::fact::statement::CostScope;
use tower::ServiceExt as _;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    let request = Request::get("/openapi.json").body(Body::empty()).expect("a request");
    let answer = router(&hq, Access::Loopback).oneshot(request).await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let bytes = to_bytes(answer.into_body(), 1 << 24).await.expect("reads");
    let served: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    hq.close().await;
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        let text = serde_json::to_string_pretty(&served).expect("JSON");
        std::fs::write(FILE, text + "\n").expect("writes");
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    let committed: serde_json::Value = serde_json::from_str(&committed).unwrap_or_default();
    let same = committed == served;
    assert!(same, "the API differs from openapi.json: run this test with UPDATE_OPENAPI=1");
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    let router = router(&hq, Access::Token("secret".to_owned()));
    let ask = |path: &str, token: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).expect("a request");
        let router = router.clone();
        async move { router.oneshot(request).await.expect("answers").status() }
    };
    for path in ["/", "/api/status", "/api/reports/trial-balance", "/openapi.json", "/events"] {
        assert_eq!(ask(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ask(path, Some("guess")).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(ask("/api/status", Some("secret")).await, StatusCode::OK);
    hq.close().await;
}
