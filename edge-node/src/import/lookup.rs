//! Second files that a map looks things up in: read whole, only the columns that are asked for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::ImportError;
use super::map::LookupSection;
use super::source;

/// All look-ups of a map, by name.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    tables: BTreeMap<String, Table>,
}

/// One second file.
#[derive(Debug)]
struct Table {
    /// The cells of all rows, one after another.
    cells: Vec<Box<str>>,
    columns: Vec<String>,
    /// Key to the row's number.
    rows: HashMap<Box<str>, usize>,
}

/// A column of a look-up, found once.
#[derive(Clone, Debug)]
pub(super) struct Place {
    table: String,
    column: usize,
}

impl Lookups {
    /// Reads every second file of the map, relative to `folder`.
    pub(super) fn read(
        sections: &BTreeMap<String, LookupSection>,
        folder: &Path,
    ) -> Result<Self, ImportError> {
        let read = |(name, section): (&String, &LookupSection)| {
            Ok((name.clone(), Table::read(section, folder)?))
        };
        Ok(Self { tables: sections.iter().map(read).collect::<Result<_, ImportError>>()? })
    }

    /// Where a column of a look-up stands, or what is wrong with the names.
    pub(super) fn place(&self, name: &str, column: &str) -> Result<Place, String> {
        let known = || self.tables.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let table = self.tables.get(name);
        let table =
            table.ok_or_else(|| format!("there is no look-up '{name}', only: {}", known()))?;
        let column = table.columns.iter().position(|each| each == column).ok_or_else(|| {
            format!(
                "look-up '{name}' has no column '{column}': name it in its 'columns', which are: {}",
                table.columns.join(", ")
            )
        })?;
        Ok(Place { table: name.to_owned(), column })
    }

    /// The cell of the row with this key; `None` where there is no such row.
    pub(super) fn cell(&self, place: &Place, key: &str) -> Option<&str> {
        let table = self.tables.get(&place.table)?;
        let row = table.rows.get(key.trim())?;
        table.cells.get(row * table.columns.len() + place.column).map(AsRef::as_ref)
    }

    /// As [`Lookups::cell`], by name.
    pub(super) fn find(&self, name: &str, key: &str, column: &str) -> Result<Option<&str>, String> {
        Ok(self.cell(&self.place(name, column)?, key))
    }
}

impl Table {
    fn read(section: &LookupSection, folder: &Path) -> Result<Self, ImportError> {
        let file = folder.join(&section.file);
        let fail = |why: String| ImportError::File { file: file.clone(), why };
        let source = source::Source::open(&file).map_err(|error| fail(error.to_string()))?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(section.delimiter_byte().map_err(&fail)?)
            .from_reader(source);
        let header = reader.headers().map_err(|error| fail(error.to_string()))?.clone();
        let find = |name: &String| {
            header.iter().position(|each| each.trim() == name).ok_or_else(|| {
                fail(format!(
                    "there is no column '{name}', only: {}",
                    header.iter().collect::<Vec<_>>().join(", ")
                ))
            })
        };
        let key = find(&section.key)?;
        let wanted: Vec<usize> = section.columns.iter().map(find).collect::<Result<_, _>>()?;
        let mut table =
            Self { cells: Vec::new(), columns: section.columns.clone(), rows: HashMap::new() };
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| fail(error.to_string()))? {
            let key: Box<str> = record.get(key).unwrap_or("").trim().into();
            let row = table.cells.len() / wanted.len().max(1);
            if table.rows.insert(key.clone(), row).is_some() {
                return Err(fail(format!("the key '{key}' stands in two rows")));
            }
            let cell = |index: &usize| record.get(*index).unwrap_or("").trim().into();
            table.cells.extend(wanted.iter().map(cell));
        }
        Ok(table)
    }
}
