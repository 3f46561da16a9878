//! Rows of a file, read through a map: each becomes a group of one line, is left out, or is
//! rejected with a reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use shared::fact::Kind;

use super::ImportError;
use super::expression::{Evaluator, Expression};
use super::lookup::{Lookups, Place};
use super::map::{KindSection, Map, ValueSection};
use super::source::Source;
use crate::api::views::Problem;
use crate::record::{GroupInput, LineInput, Moment};

/// A row of the file.
pub(super) struct Row {
    /// Where it begins; the header is line 1.
    pub(super) line: u64,
    pub(super) cells: csv::StringRecord,
    pub(super) outcome: RowOutcome,
}

/// What becomes of a row.
pub(super) enum RowOutcome {
    Movement(Box<GroupInput>),
    Filtered,
    Rejected(Problem),
}

/// A value of the map, bound to the file's header.
enum Value {
    Column(usize),
    Constant(String),
    Expression(Expression),
    Lookup { place: Place, key: usize, name: String },
}

struct Bound {
    value: Value,
    prefix: String,
}

/// What a field of the map sets.
type Setter = fn(&mut LineInput, String);

const FIELDS: &[(&str, Setter)] = &[
    ("item", |line, text| line.item = Some(text)),
    ("quantity", |line, text| line.quantity = Some(text)),
    ("unit", |line, text| line.unit = Some(text)),
    ("price", |line, text| line.price = Some(text)),
    ("cost", |line, text| line.cost = Some(text)),
    ("currency", |line, text| line.currency = Some(text)),
    ("partner", |line, text| line.partner = Some(text)),
    ("reason", |line, text| line.reason = Some(text)),
    ("refers_to", |line, text| line.refers_to = Some(text)),
    ("order", |line, text| line.order = Some(text)),
    ("site", |line, text| line.site = Some(text)),
    ("lot", |line, text| line.lot = Some(text)),
    ("serial", |line, text| line.serial = Some(text)),
    ("expiry", |line, text| line.expiry = Some(text)),
    ("document", |line, text| line.document = Some(text)),
    ("tax_code", |line, text| line.tax_code = Some(text)),
    ("status", |line, text| line.status = Some(text)),
    ("invoice_later", |line, text| line.invoice_later = text == "true"),
];

/// The values of one kind: what to set, from where.
type KindFields = Vec<(Setter, &'static str, Bound)>;

/// Reads rows.
pub(super) struct Rows<'a> {
    map: &'a Map,
    file: PathBuf,
    reader: csv::Reader<Source>,
    header: Vec<String>,
    length: u64,
    read: Arc<AtomicU64>,
    lookups: Arc<Lookups>,
    evaluator: Evaluator,
    key_columns: Vec<usize>,
    /// Everything read so far, where lines name rows.
    so_far: blake3::Hasher,
    filter: Option<Expression>,
    kind: Bound,
    fields: BTreeMap<String, KindFields>,
    time: Bound,
    zone: TimeZone,
    /// The last line of the row that was read last.
    last_line: u64,
    /// Many rows in a row have one date.
    last_time: Option<(String, Moment)>,
}

impl<'a> Rows<'a> {
    /// Opens the file, reads its header and binds the map to it.
    pub(super) fn open(map: &'a Map, file: &Path, zone: &TimeZone) -> Result<Self, ImportError> {
        let fail = |why: String| ImportError::File { file: file.to_owned(), why };
        let source = Source::open(file).map_err(|error| fail(error.to_string()))?;
        let (length, read) = (source.length(), source.counter());
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(map.delimiter_byte()?)
            .flexible(true)
            .from_reader(source);
        let header = reader.headers().map_err(|error| match error.kind() {
            csv::ErrorKind::Utf8 { .. } => {
                fail("its first line is no UTF-8: save the file as UTF-8".to_owned())
            }
            _ => fail(error.to_string()),
        })?;
        if header.is_empty() {
            return Err(fail("it is empty; its first line names the columns".to_owned()));
        }
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if let Some(twice) =
            header.iter().enumerate().find(|(at, name)| header[..*at].contains(name))
        {
            return Err(fail(format!("two columns are named '{}'", twice.1)));
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let lookups = Arc::new(Lookups::read(&map.lookup, folder)?);
        let evaluator = Evaluator::new(map.parameters.clone(), Arc::clone(&lookups));
        let binder = Binder { header: &header, lookups: &lookups, evaluator: &evaluator };
        let wrong = |why: String| map.wrong(why);
        let zone = match &map.time.zone {
            None => zone.clone(),
            Some(name) => TimeZone::get(name).map_err(|_| {
                wrong(format!("'{name}' is no time zone: write one like Asia/Shanghai"))
            })?,
        };
        let key_columns = map.key.columns.iter().map(|name| binder.column(name));
        let key_columns = key_columns.collect::<Result<_, _>>().map_err(wrong)?;
        let filter =
            map.filter.as_ref().map(|filter| evaluator.compile(&filter.condition, &header));
        let filter = filter.transpose().map_err(wrong)?;
        let kind = binder.bind("kind", &map.kind.value).map_err(wrong)?;
        let time = binder.bind("time", &map.time.value).map_err(wrong)?;
        check_kinds(&map.kind).map_err(wrong)?;
        let fields = binder.fields(map).map_err(wrong)?;
        Ok(Self {
            map,
            file: file.to_owned(),
            reader,
            header: header.clone(),
            length,
            read,
            lookups: Arc::clone(&lookups),
            key_columns,
            so_far: blake3::Hasher::new(),
            filter,
            kind,
            fields,
            time,
            zone,
            last_line: 1,
            last_time: None,
            evaluator,
        })
    }

    /// Bytes of the file on disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.length
    }

    /// How many of them are read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The next row; `None` at the end. An error where the file can't be read any further.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, ImportError> {
        let mut bytes = csv::ByteRecord::new();
        let more = self.reader.read_byte_record(&mut bytes);
        let more = more.map_err(|error| ImportError::BreaksOff {
            file: self.file.clone(),
            line: self.last_line,
            why: error.to_string(),
        })?;
        if !more {
            return Ok(None);
        }
        let line = bytes.position().map_or(0, csv::Position::line);
        let breaks = bytes.as_slice().split(|byte| *byte == b'\n').count() - 1;
        self.last_line = line + breaks as u64;
        if self.map.key.line {
            for cell in &bytes {
                self.so_far.update(&(cell.len() as u64).to_le_bytes());
                self.so_far.update(cell);
            }
            self.so_far.update(&[0xff]);
        }
        let (cells, outcome) = match csv::StringRecord::from_byte_record(bytes) {
            Ok(cells) => {
                let outcome = self.outcome(line, &cells);
                (cells, outcome)
            }
            Err(error) => {
                let cells = csv::StringRecord::from_byte_record_lossy(error.into_byte_record());
                (
                    cells,
                    RowOutcome::Rejected(malformed("the row is no UTF-8: save the file as UTF-8")),
                )
            }
        };
        Ok(Some(Row { line, cells, outcome }))
    }

    fn outcome(&mut self, line: u64, cells: &csv::StringRecord) -> RowOutcome {
        if cells.len() != self.header.len() {
            let (found, wanted, last) = (cells.len(), self.header.len(), self.last_line);
            let message = if last > line {
                format!(
                    "lines {line} to {last} read as one row of {found} cells, the header has {wanted}: \
                     a quote that opens a cell is not closed"
                )
            } else {
                format!(
                    "the row has {found} cells, the header {wanted}: look for a delimiter or a quote \
                     too many"
                )
            };
            return RowOutcome::Rejected(malformed(&message));
        }
        match self.movement(cells) {
            Ok(Some(group)) => RowOutcome::Movement(Box::new(group)),
            Ok(None) => RowOutcome::Filtered,
            Err(why) => RowOutcome::Rejected(malformed(&why)),
        }
    }

    fn movement(&mut self, cells: &csv::StringRecord) -> Result<Option<GroupInput>, String> {
        if let Some(filter) = &self.filter
            && !self.evaluator.holds(filter, cells)?
        {
            return Ok(None);
        }
        let kind = self.kind(cells)?;
        let occurred_at = self.moment(cells)?;
        let mut line = LineInput { kind, ..LineInput::default() };
        let fields = self.fields.get(&line.kind).or_else(|| self.fields.get(""));
        for (set, name, bound) in fields.into_iter().flatten() {
            let text = self.text(bound, cells).map_err(|why| format!("{name}: {why}"))?;
            if let Some(text) = text {
                set(&mut line, text);
            }
        }
        let key = Some(self.row_key(cells)?);
        Ok(Some(GroupInput {
            key,
            person: None,
            occurred_at: Some(occurred_at),
            lines: vec![line],
        }))
    }

    fn text(&self, bound: &Bound, cells: &csv::StringRecord) -> Result<Option<String>, String> {
        let cell = |index: usize| cells.get(index).unwrap_or("").trim();
        let found = match &bound.value {
            Value::Column(index) => Some(cell(*index).to_owned()),
            Value::Constant(text) => Some(text.clone()),
            Value::Expression(expression) => self.evaluator.text(expression, cells)?,
            Value::Lookup { place, key, name } => {
                let key = cell(*key);
                if key.is_empty() {
                    return Ok(None);
                }
                let found = self.lookups.cell(place, key);
                Some(
                    found.ok_or_else(|| format!("look-up '{name}' has no row '{key}'"))?.to_owned(),
                )
            }
        };
        let found = found.filter(|text| !text.is_empty());
        Ok(found.map(|text| {
            if bound.prefix.is_empty() { text } else { format!("{}{text}", bound.prefix) }
        }))
    }

    fn kind(&self, cells: &csv::StringRecord) -> Result<String, String> {
        let text = self.text(&self.kind, cells)?.unwrap_or_default();
        match &self.map.kind.values {
            None => Ok(text),
            Some(values) => values
                .get(&text)
                .cloned()
                .ok_or_else(|| format!("the map's [kind] says nothing of '{text}'")),
        }
    }

    fn moment(&mut self, cells: &csv::StringRecord) -> Result<Moment, String> {
        let text = self.text(&self.time, cells).map_err(|why| format!("time: {why}"))?;
        let text = text.ok_or("the row has no time")?;
        if let Some((known, moment)) = &self.last_time
            && *known == text
        {
            return Ok(*moment);
        }
        let instant = instant(&self.map.time.format, &text, &self.zone).map_err(|error| {
            format!("'{text}' is no time of the form {}: {error}", self.map.time.format)
        })?;
        let at = shared::time::Timestamp(instant.as_millisecond());
        let moment = Moment { at, offset: crate::record::offset_in(&self.zone, at) };
        self.last_time = Some((text, moment));
        Ok(moment)
    }

    /// Names the row for ever.
    fn row_key(&self, cells: &csv::StringRecord) -> Result<String, String> {
        if self.map.key.line {
            let hash = self.so_far.finalize().to_hex();
            return Ok(format!("import/{}/line/{}", self.map.name, &hash[..32]));
        }
        let mut key = format!("import/{}", self.map.name);
        for column in &self.key_columns {
            let cell = cells.get(*column).unwrap_or("").trim();
            if cell.is_empty() {
                return Err(format!("the key column '{}' is empty", self.header[*column]));
            }
            key.push('/');
            key.push_str(&cell.replace('/', "//"));
        }
        if key.len() > 200 {
            let hash = blake3::hash(key.as_bytes()).to_hex();
            key = format!("import/{}/long/{hash}", self.map.name);
        }
        Ok(key)
    }
}

/// The instant of a text: by its own offset where it states one, else in `zone`; a date alone is its
/// first moment.
fn instant(format: &str, text: &str, zone: &TimeZone) -> Result<jiff::Timestamp, jiff::Error> {
    let parsed = jiff::fmt::strtime::parse(format, text)?;
    if let Ok(instant) = parsed.to_timestamp() {
        return Ok(instant);
    }
    let civil =
        parsed.to_datetime().or_else(|_| parsed.to_date().map(|date| date.at(0, 0, 0, 0)))?;
    zone.to_timestamp(civil)
}

fn malformed(message: &str) -> Problem {
    Problem { code: "bad_row".to_owned(), message: message.to_owned(), line: None }
}

/// What the map itself calls a kind is one: else every row would be refused.
fn check_kinds(section: &KindSection) -> Result<(), String> {
    let constant = section.value.constant.iter().filter(|_| section.values.is_none());
    let values = section.values.iter().flat_map(|values| values.values());
    constant.chain(values).try_for_each(|kind| check_kind(kind, "[kind]"))
}

fn check_kind(kind: &str, place: &str) -> Result<(), String> {
    if Kind::from_word(kind).is_some_and(Kind::is_movement) {
        return Ok(());
    }
    let words: Vec<&str> =
        Kind::ALL.iter().filter(|kind| kind.is_movement()).map(|kind| kind.word()).collect();
    let nearest = crate::config::nearest(kind, &words);
    let hint = nearest.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
    Err(format!("there is no movement kind '{kind}' ({place}){hint}"))
}

/// Binds names of the map to a file.
struct Binder<'a> {
    header: &'a [String],
    lookups: &'a Lookups,
    evaluator: &'a Evaluator,
}

impl Binder<'_> {
    fn column(&self, name: &str) -> Result<usize, String> {
        self.header.iter().position(|each| each == name).ok_or_else(|| {
            let names: Vec<&str> = self.header.iter().map(String::as_str).collect();
            let nearest = crate::config::nearest(name, &names);
            let hint = nearest.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
            format!("the file has no column '{name}'{hint}")
        })
    }

    fn bind(&self, field: &str, section: &ValueSection) -> Result<Bound, String> {
        let ValueSection { column, constant, expression, lookup, key, prefix } = section;
        let value = match (column, constant, expression, lookup, key) {
            (Some(name), None, None, None, None) => Value::Column(self.column(name)?),
            (None, Some(text), None, None, None) => Value::Constant(text.clone()),
            (None, None, Some(text), None, None) => {
                Value::Expression(self.evaluator.compile(text, self.header)?)
            }
            (Some(column), None, None, Some(name), Some(key)) => Value::Lookup {
                place: self.lookups.place(name, column)?,
                key: self.column(key)?,
                name: name.clone(),
            },
            _ => {
                return Err(format!(
                    "'{field}' has one of: column; constant; expression; lookup with key and column"
                ));
            }
        };
        Ok(Bound { value, prefix: prefix.clone().unwrap_or_default() })
    }

    /// For every kind that the map speaks of its fields; under "" those of all others.
    fn fields(&self, map: &Map) -> Result<BTreeMap<String, KindFields>, String> {
        let mut bound = BTreeMap::new();
        let none = BTreeMap::new();
        let kinds = map.kinds.iter().map(|(kind, fields)| (kind.as_str(), fields));
        for (kind, own) in kinds.chain([("", &none)]) {
            if !kind.is_empty() {
                check_kind(kind, &format!("[kinds.{kind}]"))?;
            }
            let mut merged = map.fields.clone();
            merged.extend(own.clone());
            let fields = merged.iter().map(|(name, section)| {
                let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
                let (name, set) =
                    FIELDS.iter().find(|(known, _)| known == name).ok_or_else(|| {
                        format!("there is no field '{name}', only: {}", known.join(", "))
                    })?;
                Ok((*set, *name, self.bind(name, section)?))
            });
            bound.insert(kind.to_owned(), fields.collect::<Result<_, String>>()?);
        }
        Ok(bound)
    }
}
