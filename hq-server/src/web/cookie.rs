//! Choices that a reader's browser remembers for a year. Knows no choice.

use axum::http::{HeaderName, HeaderValue, header};

/// What a request's cookies say by a name.
pub(super) fn find<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// The header that remembers a value of plain letters and digits.
pub(super) fn set(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    let text = format!("{name}={value}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
    (header::SET_COOKIE, HeaderValue::from_str(&text).expect("plain ASCII is a header's value"))
}
