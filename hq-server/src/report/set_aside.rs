//! Facts that the books let wait because something they need is missing: what, where, why. Each
//! posts by itself once the reason is gone.

use serde::{Deserialize, Serialize};
use shared::fact::statement::Stamp;
use shared::ids::Capture;
use utoipa::ToSchema;

use super::figure::{Moment, Named, as_text_or_none};
use super::lens::Lens;
use super::part::{Opens, Part};
use crate::books::Waiting;

/// Groups that wait, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// How many groups wait.
    pub count: u64,
    /// The groups of the page.
    pub rows: Vec<SetAsideGroup>,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// Facts that were recorded together and wait together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAsideGroup {
    /// The first fact, where this version can read it.
    #[serde(with = "as_text_or_none")]
    #[schema(value_type = Option<String>, example = "3-1042")]
    pub capture: Option<Capture>,
    /// The word of its kind, or its number where this version does not know it.
    pub kind: String,
    /// Where it was recorded.
    pub site: Named,
    /// Its place in the site's log.
    pub seq: u64,
    /// How many facts the group has.
    pub facts: u64,
    /// When HQ received it.
    #[schema(value_type = String)]
    pub received_at: Moment,
    /// Why it waits, and what to do.
    pub why: String,
    /// Where nobody knows when it happened, what is known of when it was recorded.
    #[serde(default)]
    pub between: Option<Between>,
}

/// What is known of a time in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Between {
    /// After this, where an earlier fact of the log tells.
    #[schema(value_type = Option<String>)]
    pub since: Option<Moment>,
    /// Before this.
    #[schema(value_type = String)]
    pub until: Moment,
}

impl Between {
    /// In words.
    pub fn text(&self) -> String {
        let since = self.since.map(Moment::text).unwrap_or_default();
        format!("{since} – {}", self.until.text()).trim_start().to_owned()
    }
}

impl SetAside {
    /// What waits.
    pub fn of(lens: &Lens<'_>, page: u64) -> Self {
        Self::page_of(lens, &lens.books.waiting().map(|(_, group)| group).collect::<Vec<_>>(), page)
    }

    /// Of what waits that whose time is in doubt, site by site in the order of the logs.
    pub fn in_doubt(lens: &Lens<'_>, page: u64) -> Self {
        let mut groups: Vec<&Waiting> = lens.books.in_doubt().map(|it| it.group).collect();
        groups.sort_by_key(|group| (group.site, group.log, group.first));
        Self::page_of(lens, &groups, page)
    }

    fn page_of(lens: &Lens<'_>, groups: &[&Waiting], page: u64) -> Self {
        let part = Part::of(groups.len() as u64, page, Opens::AtTop);
        let rows = groups[part.range()].iter();
        Self {
            count: groups.len() as u64,
            rows: rows.map(|group| SetAsideGroup::of(lens, group)).collect(),
            page: part.page,
            pages: part.pages,
        }
    }
}

impl SetAsideGroup {
    fn of(lens: &Lens<'_>, group: &Waiting) -> Self {
        let first = &group.facts[0];
        let kind = first.kind().map(|kind| kind.word().to_owned());
        Self {
            capture: Stamp::parse(first).ok().map(|stamp| stamp.capture),
            kind: kind.unwrap_or_else(|| first.kind_no().0.to_string()),
            site: lens.site(group.site),
            seq: group.first.0,
            facts: group.facts.len() as u64,
            received_at: lens.moment(group.received_at),
            why: lens.books.reason(group).to_string(),
            between: lens.books.doubt_of(group).map(|doubt| Between {
                since: doubt.since.map(|since| lens.moment(since)),
                until: lens.moment(doubt.until),
            }),
        }
    }
}
