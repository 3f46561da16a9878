//! `note`, `transfer`, `count-sheet` and `document`: what people coordinate. Knows no file and no
//! rule: what is shown and refused is the API's.

use clap::{Args, Subcommand};
use shared::document::{DocumentKind, field};

use super::CliError;
use super::access::Access;
use super::output::Output;
use crate::api::documents::{EditInput, FigureInput, PutInput, SheetInput, kind_of};

#[derive(Debug, Subcommand)]
pub(super) enum NoteCommand {
    /// Show this site's notes.
    List,
    /// Note something of an item, or of anything else. Where two people noted different things
    /// apart, both are shown until one of them, or anybody, notes what holds.
    Set(NoteArgs),
}

#[derive(Debug, Args)]
pub(super) struct NoteArgs {
    /// The item's code.
    #[arg(long, value_name = "CODE", required_unless_present = "topic", conflicts_with = "topic")]
    item: Option<String>,
    /// What it is about, if not an item.
    #[arg(long, value_name = "WORD")]
    topic: Option<String>,
    /// The note.
    text: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum TransferCommand {
    /// Show transfers that this site sent or is to receive.
    List,
    /// Show one: goods, and what people say of it.
    Show {
        /// Its ship movement, for example 3-1042.
        ship: String,
    },
    /// Say something of a transfer to whoever is at its other end.
    Set(TransferArgs),
}

#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Its ship movement, for example 3-1042.
    ship: String,
    /// When the goods are expected.
    #[arg(long, value_name = "TEXT")]
    expected: Option<String>,
    /// Who carries them.
    #[arg(long, value_name = "TEXT")]
    carrier: Option<String>,
    /// Anything else.
    #[arg(long, value_name = "TEXT")]
    remark: Option<String>,
    /// What is different from what was shipped, of a line: its ship movement and what it is.
    #[arg(long, num_args = 2, value_names = ["SHIP", "TEXT"])]
    difference: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CountSheetCommand {
    /// Begin a sheet; counts go into it, and its figures become facts once people agree.
    New {
        /// What it is called.
        title: String,
    },
    /// Show this site's sheets.
    List,
    /// Show one: who counted what, and where people differ.
    Show {
        /// Its number, for example 3-1.
        sheet: String,
    },
    /// Put a counter's figure.
    Count {
        /// Who counted.
        #[arg(long, value_name = "NAME")]
        counter: String,
        #[command(flatten)]
        figure: FigureArgs,
    },
    /// Say which figure holds where counters differ.
    Settle {
        #[command(flatten)]
        figure: FigureArgs,
    },
    /// Record what people agreed or settled on, as counts at the time they were counted.
    Record {
        /// Its number, for example 3-1.
        sheet: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct FigureArgs {
    /// The sheet's number, for example 3-1.
    sheet: String,
    /// The item's code.
    item: String,
    /// How much there is, in the item's unit.
    figure: String,
    /// Lot or batch.
    #[arg(long, value_name = "LOT")]
    lot: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum SharedCommand {
    /// Show shared documents.
    List {
        /// Only those of a kind: transfer, order, count-sheet, notes.
        #[arg(long)]
        kind: Option<String>,
    },
    /// Show one.
    Show {
        /// Its name, for example notes:5; what follows its number may be left out.
        id: String,
    },
    /// Put a text at a key; it replaces what is seen there, and so settles what differs.
    Set {
        /// Its name, for example order:1-9:5.
        id: String,
        /// The key, for example remark.
        key: String,
        /// The text.
        text: String,
    },
    /// Show edits that HQ refused: each left its document, and its author may make it anew.
    Refused,
}

fn name(kind: DocumentKind, number: &str) -> String {
    let word = kind.word();
    if number.starts_with(word) { number.to_owned() } else { format!("{word}:{number}") }
}

fn put(key: impl Into<String>, text: impl Into<String>) -> PutInput {
    PutInput { key: key.into(), text: text.into() }
}

impl NoteCommand {
    pub(super) fn run(&self, access: &Access, output: Output) -> Result<(), CliError> {
        let id = DocumentKind::SiteNotes.word();
        match self {
            Self::List => output.document_or_none(access.document(id)),
            Self::Set(NoteArgs { item, topic, text }) => {
                let key = match (item, topic) {
                    (Some(code), _) => format!("{}{code}", field::ITEM),
                    (None, topic) => format!("{}{}", field::TOPIC, topic.as_deref().unwrap_or("")),
                };
                let edit = EditInput { puts: vec![put(key, text)] };
                output.document(&access.document_edit(id, &edit)?);
                Ok(())
            }
        }
    }
}

impl TransferCommand {
    pub(super) fn run(&self, access: &Access, output: Output) -> Result<(), CliError> {
        let kind = DocumentKind::Transfer;
        match self {
            Self::List => output.documents(&access.documents(Some(kind))?),
            Self::Show { ship } => output.document(&access.document(&name(kind, ship))?),
            Self::Set(args) => {
                let said = [
                    (field::EXPECTED, &args.expected),
                    (field::CARRIER, &args.carrier),
                    (field::REMARK, &args.remark),
                ];
                let said =
                    said.iter().filter_map(|(key, text)| text.as_ref().map(|text| put(*key, text)));
                let mut puts: Vec<_> = said.collect();
                if let [ship, text] = &args.difference[..] {
                    puts.push(put(format!("{}{ship}", field::DIFFERENCE), text));
                }
                if puts.is_empty() {
                    let text = "say something: --expected, --carrier, --remark or --difference";
                    return Err(CliError::new(2, "usage", text));
                }
                let edited = access.document_edit(&name(kind, &args.ship), &EditInput { puts });
                output.document(&edited?);
            }
        }
        Ok(())
    }
}

impl CountSheetCommand {
    pub(super) fn run(&self, access: &Access, output: Output) -> Result<(), CliError> {
        let kind = DocumentKind::CountSheet;
        let figure = |args: &FigureArgs, counter: Option<&String>| {
            let input = FigureInput {
                item: args.item.clone(),
                lot: args.lot.clone(),
                counter: counter.cloned(),
                figure: args.figure.clone(),
            };
            access.sheet_figure(&name(kind, &args.sheet), &input)
        };
        match self {
            Self::New { title } => {
                output.document(&access.sheet_begin(&SheetInput { title: title.clone() })?);
            }
            Self::List => output.documents(&access.documents(Some(kind))?),
            Self::Show { sheet } => output.document(&access.document(&name(kind, sheet))?),
            Self::Count { counter, figure: args } => {
                output.document(&figure(args, Some(counter))?);
            }
            Self::Settle { figure: args } => output.document(&figure(args, None)?),
            Self::Record { sheet } => {
                let recorded = access.sheet_record(&name(kind, sheet))?;
                let line = format!("recorded: {}", recorded.captures.join(", "));
                output.say(&line, &recorded);
            }
        }
        Ok(())
    }
}

impl SharedCommand {
    pub(super) fn run(&self, access: &Access, output: Output) -> Result<(), CliError> {
        match self {
            Self::List { kind } => {
                let kind = kind_of(kind.as_deref());
                let kind = kind.map_err(|why| CliError::new(2, "usage", why))?;
                output.documents(&access.documents(kind)?);
            }
            Self::Show { id } => output.document(&access.document(id)?),
            Self::Set { id, key, text } => {
                let edit = EditInput { puts: vec![put(key, text)] };
                output.document(&access.document_edit(id, &edit)?);
            }
            Self::Refused => output.refused_edits(&access.refused_edits()?),
        }
        Ok(())
    }
}
