//! Which language a reader gets: `?lang=`, else the choice made before, else what the browser
//! asks for, else Chinese.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::{HeaderName, HeaderValue, header, request::Parts};

use super::cookie;
use crate::report::words::Language;

const COOKIE: &str = "warebook_lang";

/// The reader's language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) language: Language,
    /// It was chosen by `?lang=` and is to be remembered.
    pub(super) now: bool,
}

impl Chosen {
    /// The header that remembers the choice.
    pub(super) fn cookie(self) -> Option<(HeaderName, HeaderValue)> {
        self.now.then(|| cookie::set(COOKIE, self.language.tag()))
    }
}

impl<S: Sync> FromRequestParts<S> for Chosen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let asked = parts.uri.query().and_then(asked_for);
        let text =
            |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let remembered = || text(header::COOKIE).and_then(remembered);
        let accepted = || text(header::ACCEPT_LANGUAGE).and_then(accepted);
        let language = asked.or_else(remembered).or_else(accepted).unwrap_or_default();
        Ok(Self { language, now: asked.is_some() })
    }
}

fn asked_for(query: &str) -> Option<Language> {
    let tag = query.split('&').find_map(|pair| pair.strip_prefix("lang="))?;
    Language::from_tag(tag)
}

fn remembered(cookies: &str) -> Option<Language> {
    Language::from_tag(cookie::find(cookies, COOKIE)?)
}

/// The first language in the browser's list that we have; browsers list by preference.
fn accepted(list: &str) -> Option<Language> {
    list.split(',').map(str::trim).find_map(Language::from_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_list_goes_by_preference() {
        assert_eq!(accepted("de-DE,en;q=0.8,zh;q=0.5"), Some(Language::English));
        assert_eq!(accepted("zh-TW,en;q=0.8"), Some(Language::Chinese));
        assert_eq!(accepted("fr"), None);
        assert_eq!(remembered("a=b; warebook_lang=en"), Some(Language::English));
        assert_eq!(asked_for("page=2&lang=zh-CN"), Some(Language::Chinese));
    }
}
