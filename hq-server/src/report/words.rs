//! The words of reports and pages, one hand-kept file per language in Fluent's syntax. Knows no
//! report; invariant: every language has the same messages with the same arguments.
//!
//! Only messages of one line and `{ $name }` arguments are read, so the files stay open to the
//! Fluent tools of translators without a resolver in the binary.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// 简体中文.
    #[default]
    Chinese,
    /// English.
    English,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::Chinese, Self::English];

    /// The BCP 47 tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// What its readers call it.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::Chinese => "中文",
            Self::English => "English",
        }
    }

    /// The language of a tag such as `en`, `en-GB` or `zh-Hans`.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_', ';', ',']).next()?.trim();
        match primary.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// Its words.
    pub fn words(self) -> &'static Words {
        static CHINESE: LazyLock<Words> =
            LazyLock::new(|| Words::read(include_str!("../../locales/zh-CN.ftl")));
        static ENGLISH: LazyLock<Words> =
            LazyLock::new(|| Words::read(include_str!("../../locales/en.ftl")));
        match self {
            Self::Chinese => &CHINESE,
            Self::English => &ENGLISH,
        }
    }
}

/// The messages of one language.
#[derive(Debug)]
pub struct Words {
    messages: BTreeMap<&'static str, &'static str>,
}

impl Words {
    fn read(source: &'static str) -> Self {
        let messages = source
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, text)| (key.trim(), text.trim()))
            .collect();
        Self { messages }
    }

    /// A message without arguments. A key nobody wrote shows as itself; a test finds those.
    pub fn of<'a>(&'a self, key: &'a str) -> &'a str {
        self.messages.get(key).copied().unwrap_or(key)
    }

    /// A message of the family `family`, for a word of the system: `kind` and `receipt` give
    /// `kind-receipt`. A word that no language has yet shows as itself.
    pub fn of_family<'a>(&'a self, family: &str, word: &'a str) -> &'a str {
        let key = format!("{family}-{}", word.replace(['_', ' '], "-"));
        self.messages.get(key.as_str()).copied().unwrap_or(word)
    }

    /// A message with the argument `$n`.
    pub fn with(&self, key: &str, n: impl Display) -> String {
        self.of(key).replace("{ $n }", &n.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> =
            text.split("{ ").skip(1).filter_map(|rest| rest.split(" }").next()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn every_language_has_the_same_messages() {
        let [first, rest @ ..] = Language::ALL.map(Language::words);
        for other in rest {
            let keys = |words: &Words| words.messages.keys().copied().collect::<Vec<_>>();
            assert_eq!(keys(first), keys(other));
            for (key, text) in &first.messages {
                assert_eq!(arguments(text), arguments(other.of(key)), "arguments of {key}");
                assert!(!text.is_empty() && !other.of(key).is_empty(), "{key} is empty");
            }
        }
    }

    #[test]
    fn tags_find_their_language() {
        let cases = [
            ("en", Some(Language::English)),
            ("en-GB,en;q=0.9", Some(Language::English)),
            ("zh-Hans", Some(Language::Chinese)),
            ("de", None),
            ("", None),
        ];
        for (tag, expected) in cases {
            assert_eq!(Language::from_tag(tag), expected, "{tag}");
        }
    }

    /// Keys stand in templates and sources as `of("key")` or `with("key", ..)`.
    #[test]
    fn every_key_in_use_has_a_message() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        for folder in ["templates", "src/web", "src/report"] {
            gather(&root.join(folder), &mut sources);
        }
        let words = Language::Chinese.words();
        let mut seen = 0;
        for source in &sources {
            for opening in [".of(\"", ".with(\""] {
                for rest in source.split(opening).skip(1) {
                    let key = rest.split('"').next().unwrap_or_default();
                    assert!(words.messages.contains_key(key), "no message for '{key}'");
                    seen += 1;
                }
            }
        }
        assert!(
            seen > 100,
            "the scan found only {seen} keys: has the way of writing them changed?"
        );
    }

    fn gather(folder: &std::path::Path, sources: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                gather(&path, sources);
            } else if !path.ends_with("words.rs") {
                sources.push(std::fs::read_to_string(&path).expect("a text file"));
            }
        }
    }

    #[test]
    fn every_word_of_the_facts_has_a_message() {
        use shared::fact::kind::Kind;
        let words = Language::English.words();
        let has = |family: &str, word: &str| {
            let key = format!("{family}-{}", word.replace('_', "-"));
            assert!(words.messages.contains_key(key.as_str()), "no message for {key}");
        };
        for kind in Kind::ALL {
            has("kind", kind.word());
        }
    }
}
