//! Copies of tables from one file to another, as of one commit.

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use super::FileError;

/// Copies every row of a table.
pub(crate) fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), FileError> {
    let rows = from.open_table(table)?;
    let mut copies = to.open_table(table)?;
    for row in rows.iter()? {
        let (key, value) = row?;
        copies.insert(key.value(), value.value())?;
    }
    Ok(())
}
