//! The map: TOML that says what the columns of a file mean. Parsed here; bound to a file's header
//! in `rows`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImportError;

/// A map as it stands in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Map {
    /// 1.
    version: u32,
    /// Part of every row's key: rows of one name and key are one movement.
    pub(super) name: String,
    /// Between cells; a comma where absent.
    #[serde(default)]
    delimiter: Option<String>,
    /// Named values that the command line may replace.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) key: KeySection,
    pub(super) time: TimeSection,
    #[serde(default)]
    pub(super) filter: Option<FilterSection>,
    pub(super) kind: KindSection,
    /// Second files, by name.
    #[serde(default)]
    pub(super) lookup: BTreeMap<String, LookupSection>,
    /// Fields of every kind.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, ValueSection>,
    /// Fields of one kind; they go before those of every kind.
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, BTreeMap<String, ValueSection>>,
    #[serde(skip)]
    file: PathBuf,
}

/// What names a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySection {
    /// The cells that name it.
    #[serde(default)]
    pub(super) columns: Vec<String>,
    /// Its line, and everything before it: for files whose rows have no name. A file that grew goes
    /// on where it ended.
    #[serde(default)]
    pub(super) line: bool,
}

/// When the movement happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeSection {
    #[serde(flatten)]
    pub(super) value: ValueSection,
    /// How it is written: %Y-%m-%d %H:%M:%S.
    pub(super) format: String,
    /// The zone it is written in; the node's where absent.
    #[serde(default)]
    pub(super) zone: Option<String>,
}

/// Which rows count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterSection {
    /// A condition; rows for which it does not hold are left out.
    #[serde(rename = "where")]
    pub(super) condition: String,
}

/// Which kind of movement a row is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KindSection {
    #[serde(flatten)]
    pub(super) value: ValueSection,
    /// What the cell says to a kind; the cell is the kind where absent.
    #[serde(default)]
    pub(super) values: Option<BTreeMap<String, String>>,
}

/// A second file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookupSection {
    /// Relative to the folder of the imported file.
    pub(super) file: PathBuf,
    /// The column whose cell is looked up.
    pub(super) key: String,
    /// The columns that are kept.
    pub(super) columns: Vec<String>,
    /// Between cells; a comma where absent.
    #[serde(default)]
    delimiter: Option<String>,
}

/// Where a value comes from: exactly one of column, constant, expression, lookup.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ValueSection {
    /// A cell. With `lookup` the cell whose text is looked up is `key`.
    #[serde(default)]
    pub(super) column: Option<String>,
    /// Always this.
    #[serde(default)]
    pub(super) constant: Option<String>,
    /// Computed.
    #[serde(default)]
    pub(super) expression: Option<String>,
    /// A cell of a second file: its name.
    #[serde(default)]
    pub(super) lookup: Option<String>,
    /// With `lookup`: the cell that is looked up.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// Before what was found.
    #[serde(default)]
    pub(super) prefix: Option<String>,
}

fn delimiter(text: Option<&str>) -> Result<u8, String> {
    match text.map(str::as_bytes) {
        None => Ok(b','),
        Some([byte]) => Ok(*byte),
        Some(_) => Err("a delimiter is one character, for example ';' or \"\\t\"".to_owned()),
    }
}

impl LookupSection {
    pub(super) fn delimiter_byte(&self) -> Result<u8, String> {
        delimiter(self.delimiter.as_deref())
    }
}

impl Map {
    /// Reads a map and sets its parameters: NAME=VALUE.
    pub(super) fn read(file: &Path, parameters: &[String]) -> Result<Self, ImportError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ImportError::File { file: file.to_owned(), why: error.to_string() })?;
        Self::parse(file, &text, parameters)
            .map_err(|why| ImportError::Map { map: file.to_owned(), why })
    }

    fn parse(file: &Path, text: &str, parameters: &[String]) -> Result<Self, String> {
        let mut map: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        file.clone_into(&mut map.file);
        if map.version != 1 {
            return Err(format!(
                "version {} is not known: this program reads version 1",
                map.version
            ));
        }
        let plain = |name: &str| !name.is_empty() && !name.contains('/') && name.len() <= 60;
        if !plain(&map.name) {
            return Err("a map's name has 1 to 60 bytes without '/'".to_owned());
        }
        if map.key.columns.is_empty() != map.key.line {
            return Err("[key] has either 'columns' or 'line = true'".to_owned());
        }
        for parameter in parameters {
            let (name, value) = parameter
                .split_once('=')
                .ok_or_else(|| format!("'{parameter}' is no parameter: write --set NAME=VALUE"))?;
            let known: Vec<&str> = map.parameters.keys().map(String::as_str).collect();
            if !known.contains(&name) {
                return Err(format!(
                    "the map has no parameter '{name}', only: {}",
                    known.join(", ")
                ));
            }
            map.parameters.insert(name.to_owned(), value.to_owned());
        }
        Ok(map)
    }

    pub(super) fn delimiter_byte(&self) -> Result<u8, ImportError> {
        delimiter(self.delimiter.as_deref()).map_err(|why| self.wrong(why))
    }

    /// An error of this map.
    pub(super) fn wrong(&self, why: impl Into<String>) -> ImportError {
        ImportError::Map { map: self.file.clone(), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
name = "m"
[parameters]
site = "0"
[key]
columns = ["Id"]
[time]
column = "Date"
format = "%Y-%m-%d"
[kind]
constant = "receipt"
[fields]
item = { column = "Item" }
"#;

    #[test]
    fn slips_are_named() {
        let parse = |text: &str, parameters: &[&str]| {
            let parameters: Vec<String> = parameters.iter().map(|&text| text.to_owned()).collect();
            Map::parse(Path::new("m.toml"), text, &parameters)
        };
        assert_eq!(
            parse(GOOD, &["site=2"]).map(|map| map.parameters["site"].clone()),
            Ok("2".to_owned())
        );
        for (from, to, parameters, expected) in [
            ("version = 1", "version = 3", &[][..], "version 3 is not known"),
            ("name = \"m\"", "name = \"a/b\"", &[], "without '/'"),
            ("columns = [\"Id\"]", "", &[], "either 'columns' or 'line"),
            ("[filter]\n", "", &["sit=2"], "no parameter 'sit', only: site"),
            ("[filter]\n", "", &["site"], "write --set NAME=VALUE"),
            ("[parameters]", "[parameter]", &[], "unknown field `parameter`"),
        ] {
            let found = parse(&GOOD.replace(from, to), parameters).expect_err(to);
            assert!(found.contains(expected), "{found}");
        }
    }
}
