//! Who may call: anybody on this machine, everybody else with the token. Knows no route.
//!
//! A page on another origin must not act for whoever looks at it: what changes something needs a
//! JSON body or no body, which a plain form can't send, and a `Host` that the caller chose.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;

/// What a caller must show.
#[derive(Clone, Debug)]
pub enum Access {
    /// Only this machine can reach the address.
    Loopback,
    /// The token, as a bearer or as the password of a browser's own prompt.
    Token(String),
}

/// Lets a request through, or says what is missing.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    match &access {
        Access::Loopback if !is_local(headers) => {
            return (
                StatusCode::FORBIDDEN,
                "this address is served to this machine only: call it as localhost or 127.0.0.1",
            )
                .into_response();
        }
        Access::Token(token) if !shows(headers, token) => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"HQ: the password is the token\"")];
            let text = "show the token of api.token: 'Authorization: Bearer TOKEN'";
            return (StatusCode::UNAUTHORIZED, ask, text).into_response();
        }
        _ => {}
    }
    if !is_safe(request.method()) && is_cross_site(headers) {
        let text = "requests that change something must not come from another site's page";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Guards against names of other machines that were pointed at this one.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    if let Some(bearer) = value.strip_prefix("Bearer ") {
        return same(bearer.trim(), token);
    }
    let basic = value.strip_prefix("Basic ").and_then(|basic| BASE64.decode(basic.as_bytes()).ok());
    let basic = basic.and_then(|bytes| String::from_utf8(bytes).ok());
    basic.is_some_and(|basic| basic.split_once(':').is_some_and(|(_, shown)| same(shown, token)))
}

/// Takes the same time wherever the two differ.
fn same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header"));
        headers
    }

    #[test]
    fn the_token_is_shown_either_way() {
        let basic = format!("Basic {}", BASE64.encode(b"anyone:secret"));
        for (value, expected) in [
            ("Bearer secret", true),
            ("Bearer other", false),
            ("Bearer ", false),
            (basic.as_str(), true),
            ("Basic !!!", false),
        ] {
            assert_eq!(shows(&headers("authorization", value), "secret"), expected, "{value}");
        }
        assert!(!shows(&HeaderMap::new(), "secret"));
    }

    #[test]
    fn only_own_names_and_own_pages() {
        for (host, expected) in [
            ("localhost:7780", true),
            ("127.0.0.1", true),
            ("[::1]:1", true),
            ("evil.example:7780", false),
        ] {
            assert_eq!(is_local(&headers("host", host)), expected, "{host}");
        }
        assert!(is_cross_site(&headers("sec-fetch-site", "cross-site")));
        assert!(!is_cross_site(&headers("sec-fetch-site", "same-origin")));
        assert!(!is_cross_site(&HeaderMap::new()));
    }
}
