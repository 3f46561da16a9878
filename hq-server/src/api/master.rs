//! Master data over HTTP. Lists in, all of a list or nothing of it.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use shared::fact::Kind;
use shared::fact::statement::{AccountType, PolicyKind};
use shared::ids::{Capture, CompanyNo};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use super::whose::{Company, Whose};
use crate::headquarters::Headquarters;
use crate::own_log::{Draft, DraftError, ItemDraft, MappingDraft, PartnerDraft};

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recorded {
    /// The numbers given, in the order of the request; empty where the things have none.
    pub numbers: Vec<u32>,
    /// The facts that say it.
    #[schema(example = json!(["1-42"]))]
    pub captures: Vec<String>,
    /// Why some of it has no effect yet: it takes effect by itself once what is missing is stated.
    #[serde(default)]
    pub waits: Vec<String>,
}

/// A new item, or one as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemBody {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its category's code.
    #[serde(default = "default_category")]
    pub category: String,
    /// Its base unit.
    #[serde(default = "default_unit")]
    pub unit: String,
    /// Decimals of its smallest unit.
    #[serde(default)]
    pub decimals: u8,
    /// Sold, never stocked.
    #[serde(default)]
    pub service: bool,
    /// Cost of one unit before anything else is known.
    #[serde(default)]
    pub cost: Option<String>,
}

fn default_category() -> String {
    "goods".to_owned()
}

fn default_unit() -> String {
    "EA".to_owned()
}

/// Another unit of an item: one of it is numerator / denominator base units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitBody {
    /// The unit.
    pub unit: String,
    /// Above the line.
    pub numerator: u64,
    /// Below the line.
    #[serde(default = "one")]
    pub denominator: u64,
}

const fn one() -> u64 {
    1
}

/// What one base unit of an item weighs and takes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasureBody {
    /// Kilograms.
    #[serde(default)]
    pub weight: Option<String>,
    /// Litres.
    #[serde(default)]
    pub volume: Option<String>,
    /// From this day on, YEAR-MONTH-DAY; from the beginning where absent.
    #[serde(default)]
    pub from: Option<String>,
}

/// A new partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerBody {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// May be sold to.
    #[serde(default)]
    pub customer: bool,
    /// May be bought from.
    #[serde(default)]
    pub supplier: bool,
}

/// A new category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoryBody {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// A new reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The only movement kind it is for.
    #[serde(default)]
    pub movement: Option<String>,
}

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountBody {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// `asset`, `liability`, `equity`, `income` or `expense`.
    #[serde(rename = "type")]
    pub account_type: String,
}

/// A new mapping rule: the account that takes a role, where the conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingBody {
    /// The role's word.
    pub role: String,
    /// The account's code.
    pub account: String,
    /// Only for this category.
    #[serde(default)]
    pub category: Option<String>,
    /// Only at this site.
    #[serde(default)]
    pub site: Option<String>,
    /// Only for this movement kind.
    #[serde(default)]
    pub movement: Option<String>,
    /// Only for this reason.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A policy: of the company, or of all sites or one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// Its word.
    pub policy: String,
    /// The word of the company's choice, or the figure that sites are given.
    #[schema(value_type = String)]
    pub setting: Setting,
    /// Only at this site.
    #[serde(default)]
    pub site: Option<String>,
    /// From this day on, YEAR-MONTH-DAY; from now on where absent.
    #[serde(default)]
    pub from: Option<String>,
}

/// A policy's setting, written as a word or as a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Figure(i64),
    /// A word, or a number in quotes.
    Word(String),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Figure(figure) => write!(f, "{figure}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// A company's policy as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyLine {
    /// Its word.
    pub policy: String,
    /// What the company chose.
    pub setting: String,
    /// What it can choose.
    pub choices: Vec<String>,
}

/// Something with a number, a code and a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamedLine {
    /// Its number.
    pub number: u32,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemLine {
    /// Its number.
    pub number: u32,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its category's code.
    pub category: String,
    /// Its base unit.
    pub unit: String,
    /// Decimals of its smallest unit.
    pub decimals: u8,
    /// Sold, never stocked.
    pub service: bool,
    /// Cost of one unit before anything else is known.
    pub cost: Option<String>,
    /// What one base unit weighs, in kilograms.
    #[serde(default)]
    pub weight: Option<String>,
    /// What one base unit takes up, in litres.
    #[serde(default)]
    pub volume: Option<String>,
}

/// A partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerLine {
    /// Its number.
    pub number: u32,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// May be sold to.
    pub customer: bool,
    /// May be bought from.
    pub supplier: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountLine {
    /// Its number.
    pub number: u32,
    /// Its company's code.
    pub company: String,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What it is in the statements.
    #[serde(rename = "type")]
    pub account_type: String,
    /// The role it takes, where a mapping names it.
    pub role: Option<String>,
}

/// Postings that would find no account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MappingGaps {
    /// Nothing is missing.
    pub complete: bool,
    /// What is missing, as sentences.
    pub missing: Vec<String>,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new()
        .routes(routes!(item_list, item_add, item_change))
        .routes(routes!(unit_add))
        .routes(routes!(measure_set))
        .routes(routes!(partner_list, partner_add))
        .routes(routes!(category_list, category_add))
        .routes(routes!(reason_list, reason_add))
        .routes(routes!(account_list, account_add))
        .routes(routes!(mapping_add))
        .routes(routes!(mapping_check))
        .routes(routes!(policy_list, policy_set))
}

pub(super) fn recorded(captures: &[Capture], numbers: Vec<u32>) -> Json<Recorded> {
    let captures = captures.iter().map(ToString::to_string).collect();
    Json(Recorded { numbers, captures, waits: Vec::new() })
}

/// Drafts, records, and waits until it is posted.
pub(super) async fn state(
    hq: &Headquarters,
    make: impl FnOnce(&mut Draft) -> Result<Vec<u32>, DraftError>,
) -> Result<Json<Recorded>, ApiError> {
    state_of(hq, Whose(CompanyNo::FIRST), make).await
}

/// As [`state`], of a company.
async fn state_of(
    hq: &Headquarters,
    Whose(company): Whose,
    make: impl FnOnce(&mut Draft) -> Result<Vec<u32>, DraftError>,
) -> Result<Json<Recorded>, ApiError> {
    let done = hq.own_log().record(|published, _| {
        let mut draft = Draft::of(&published.catalogue(), company);
        let numbers = make(&mut draft)?;
        draft.check(published.ledgers().books.settings())?;
        Ok::<_, DraftError>((draft.into_groups(), numbers))
    });
    let (captures, numbers) = done.await?;
    Ok(recorded(&captures, numbers))
}

impl From<ItemBody> for ItemDraft {
    fn from(body: ItemBody) -> Self {
        let ItemBody { code, name, category, unit, decimals, service, cost } = body;
        Self { code, name, category, unit, decimals, service, cost }
    }
}

/// Every item.
#[utoipa::path(get, path = "/api/items", tag = "master",
    responses((status = 200, body = Vec<ItemLine>)))]
async fn item_list(State(hq): State<Headquarters>) -> Json<Vec<ItemLine>> {
    let catalogue = hq.published().catalogue();
    let (ledgers, now) = (hq.published().ledgers(), hq.clock().now());
    let settings = ledgers.books.settings();
    let line = |item: &shared::catalogue::Item| ItemLine {
        weight: settings.weight(item.item, now).map(|figure| figure.to_string()),
        volume: settings.volume(item.item, now).map(|figure| figure.to_string()),
        number: item.item.0,
        code: item.code.clone(),
        name: item.name.clone(),
        category: catalogue
            .category(item.category)
            .map_or_else(String::new, |category| category.code.clone()),
        unit: item.unit.to_string(),
        decimals: item.decimals,
        service: item.service,
        cost: item.fallback_cost.map(|cost| cost.figure.to_string()),
    };
    Json(catalogue.items().map(line).collect())
}

/// Adds items.
#[utoipa::path(post, path = "/api/items", tag = "master", request_body = Vec<ItemBody>,
    responses((status = 200, body = Recorded), (status = 409, description = "a code is taken")))]
async fn item_add(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<ItemBody>>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, |draft| {
        bodies.into_iter().map(|body| draft.item(&body.into()).map(|item| item.0)).collect()
    })
    .await
}

/// Changes items: what is said holds from now on; base unit and decimals can't change.
#[utoipa::path(put, path = "/api/items", tag = "master", request_body = Vec<ItemBody>,
    responses((status = 200, body = Recorded)))]
async fn item_change(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<ItemBody>>,
) -> Result<Json<Recorded>, ApiError> {
    let now = hq.clock().now();
    state(&hq, |draft| {
        draft.valid_from(now);
        let change = |body: ItemBody| draft.item_change(&body.into()).map(|item| item.0);
        bodies.into_iter().map(change).collect()
    })
    .await
}

/// Adds another unit of an item.
#[utoipa::path(post, path = "/api/items/{code}/units", tag = "master", request_body = UnitBody,
    responses((status = 200, body = Recorded)))]
async fn unit_add(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
    Json(body): Json<UnitBody>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, |draft| {
        draft.unit(&code, &body.unit, body.numerator, body.denominator)?;
        Ok(Vec::new())
    })
    .await
}

/// Sets what one base unit of an item weighs and takes up: what is absent stays as it is.
#[utoipa::path(post, path = "/api/items/{code}/measure", tag = "master",
    request_body = MeasureBody, responses((status = 200, body = Recorded)))]
async fn measure_set(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
    Json(body): Json<MeasureBody>,
) -> Result<Json<Recorded>, ApiError> {
    let from = super::finance::day(body.from.as_ref())?;
    state(&hq, |draft| {
        if let Some(from) = draft.start_of(from) {
            draft.valid_from(from);
        }
        draft.item_measure(&code, body.weight.as_deref(), body.volume.as_deref())?;
        Ok(Vec::new())
    })
    .await
}

/// Every partner.
#[utoipa::path(get, path = "/api/partners", tag = "master",
    responses((status = 200, body = Vec<PartnerLine>)))]
async fn partner_list(State(hq): State<Headquarters>) -> Json<Vec<PartnerLine>> {
    let catalogue = hq.published().catalogue();
    let line = |partner: &shared::catalogue::Partner| PartnerLine {
        number: partner.partner.0,
        code: partner.code.clone(),
        name: partner.name.clone(),
        customer: partner.customer,
        supplier: partner.supplier,
    };
    Json(catalogue.partners().map(line).collect())
}

/// Adds partners.
#[utoipa::path(post, path = "/api/partners", tag = "master", request_body = Vec<PartnerBody>,
    responses((status = 200, body = Recorded), (status = 409, description = "a code is taken")))]
async fn partner_add(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<PartnerBody>>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, |draft| {
        let add = |body: PartnerBody| {
            let PartnerBody { code, name, customer, supplier } = body;
            draft.partner(&PartnerDraft { code, name, customer, supplier }).map(|number| number.0)
        };
        bodies.into_iter().map(add).collect()
    })
    .await
}

/// Every category.
#[utoipa::path(get, path = "/api/categories", tag = "master",
    responses((status = 200, body = Vec<NamedLine>)))]
async fn category_list(State(hq): State<Headquarters>) -> Json<Vec<NamedLine>> {
    let catalogue = hq.published().catalogue();
    let line = |category: &shared::catalogue::Category| NamedLine {
        number: category.category.0,
        code: category.code.clone(),
        name: category.name.clone(),
    };
    Json(catalogue.categories().map(line).collect())
}

/// Adds categories.
#[utoipa::path(post, path = "/api/categories", tag = "master", request_body = Vec<CategoryBody>,
    responses((status = 200, body = Recorded), (status = 409, description = "a code is taken")))]
async fn category_add(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<CategoryBody>>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, |draft| {
        let add = |body: CategoryBody| draft.category(&body.code, &body.name).map(|no| no.0);
        bodies.into_iter().map(add).collect()
    })
    .await
}

/// Every reason.
#[utoipa::path(get, path = "/api/reasons", tag = "master",
    responses((status = 200, body = Vec<NamedLine>)))]
async fn reason_list(State(hq): State<Headquarters>) -> Json<Vec<NamedLine>> {
    let catalogue = hq.published().catalogue();
    let line = |reason: &shared::catalogue::Reason| NamedLine {
        number: reason.reason.0,
        code: reason.code.clone(),
        name: reason.name.clone(),
    };
    Json(catalogue.reasons().map(line).collect())
}

/// Adds reasons.
#[utoipa::path(post, path = "/api/reasons", tag = "master", request_body = Vec<ReasonBody>,
    responses((status = 200, body = Recorded), (status = 409, description = "a code is taken")))]
async fn reason_add(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<ReasonBody>>,
) -> Result<Json<Recorded>, ApiError> {
    let kinds = bodies.iter().map(|body| body.movement.as_deref().map(movement).transpose());
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    state(&hq, |draft| {
        let add = |(body, kind): (ReasonBody, Option<Kind>)| {
            draft.reason(&body.code, &body.name, kind).map(|number| number.0)
        };
        bodies.into_iter().zip(kinds).map(add).collect()
    })
    .await
}

fn movement(word: &str) -> Result<Kind, ApiError> {
    Kind::from_word(word).filter(|kind| kind.is_movement()).ok_or_else(|| {
        let words = Kind::ALL.iter().filter(|kind| kind.is_movement()).map(|kind| kind.word());
        let words = words.collect::<Vec<_>>().join(", ");
        ApiError::refused(format!("'{word}' is no movement kind: write one of {words}"))
    })
}

/// Every account of a company with the role it takes.
#[utoipa::path(get, path = "/api/accounts", tag = "master", params(Company),
    responses((status = 200, body = Vec<AccountLine>)))]
async fn account_list(
    State(hq): State<Headquarters>,
    Whose(company): Whose,
) -> Json<Vec<AccountLine>> {
    let ledgers = hq.published().ledgers();
    let catalogue = hq.published().catalogue();
    let code = |no| catalogue.company(no).map(|company| company.code.clone());
    let line = |account: &shared::catalogue::Account| AccountLine {
        number: account.account.0,
        company: code(account.company).unwrap_or_default(),
        code: account.code.clone(),
        name: account.name.clone(),
        account_type: account.account_type.word().to_owned(),
        role: ledgers.books.settings().role_of(account.account).map(|role| role.word().to_owned()),
    };
    Json(catalogue.accounts().filter(|account| account.company == company).map(line).collect())
}

/// Adds accounts.
#[utoipa::path(post, path = "/api/accounts", tag = "master", request_body = Vec<AccountBody>,
    params(Company),
    responses((status = 200, body = Recorded), (status = 409, description = "a code is taken")))]
async fn account_add(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(bodies): Json<Vec<AccountBody>>,
) -> Result<Json<Recorded>, ApiError> {
    let types = bodies.iter().map(|body| account_type(&body.account_type));
    let types = types.collect::<Result<Vec<_>, _>>()?;
    state_of(&hq, whose, |draft| {
        let add = |(body, account_type): (AccountBody, AccountType)| {
            draft.account(&body.code, &body.name, account_type).map(|number| number.0)
        };
        bodies.into_iter().zip(types).map(add).collect()
    })
    .await
}

fn account_type(word: &str) -> Result<AccountType, ApiError> {
    (1..=5).filter_map(AccountType::from_number).find(|each| each.word() == word).ok_or_else(|| {
        ApiError::refused(format!(
            "'{word}' is no account type: write asset, liability, equity, income or expense"
        ))
    })
}

/// Adds mapping rules. The books refuse a rule that gives a proved account a second role.
#[utoipa::path(post, path = "/api/mappings", tag = "master", request_body = Vec<MappingBody>,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn mapping_add(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(bodies): Json<Vec<MappingBody>>,
) -> Result<Json<Recorded>, ApiError> {
    state_of(&hq, whose, |draft| {
        for body in bodies {
            let MappingBody { role, account, category, site, movement, reason } = body;
            let rule = MappingDraft { role, account, category, site, movement, reason };
            draft.mapping(&rule)?;
        }
        Ok(Vec::new())
    })
    .await
}

/// Whether every posting that can come finds its account.
#[utoipa::path(get, path = "/api/mappings/check", tag = "master",
    responses((status = 200, body = MappingGaps)))]
async fn mapping_check(State(hq): State<Headquarters>) -> Json<MappingGaps> {
    let missing = hq.mapping_gaps();
    Json(MappingGaps { complete: missing.is_empty(), missing })
}

/// What the company chose of its policies, as it holds now.
#[utoipa::path(get, path = "/api/policies", tag = "master", params(Company),
    responses((status = 200, body = Vec<PolicyLine>)))]
async fn policy_list(
    State(hq): State<Headquarters>,
    Whose(company): Whose,
) -> Json<Vec<PolicyLine>> {
    let now = hq.clock().now();
    let ledgers = hq.published().ledgers();
    let settings = ledgers.books.settings();
    let line = |policy: &PolicyKind| PolicyLine {
        policy: policy.word().to_owned(),
        setting: settings.chosen(company, *policy, now).unwrap_or_default().to_owned(),
        choices: policy.choices().into_iter().map(ToOwned::to_owned).collect(),
    };
    let of_company = PolicyKind::ALL.iter().filter(|policy| policy.is_of_company());
    Json(of_company.map(line).collect())
}

/// Sets a policy, from now on or from a day on.
#[utoipa::path(post, path = "/api/policies", tag = "master", request_body = PolicyBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn policy_set(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<PolicyBody>,
) -> Result<Json<Recorded>, ApiError> {
    let policy = PolicyKind::from_word(&body.policy).ok_or_else(|| {
        let words: Vec<_> = PolicyKind::ALL.iter().map(|policy| policy.word()).collect();
        let words = words.join(", ");
        ApiError::refused(format!("'{}' is no policy: write one of {words}", body.policy))
    })?;
    let (day, now) = (super::finance::day(body.from.as_ref())?, hq.clock().now());
    state_of(&hq, whose, |draft| {
        draft.valid_from(draft.start_of(day).unwrap_or(now));
        draft.policy(policy, &body.setting.to_string(), body.site.as_deref())?;
        Ok(Vec::new())
    })
    .await
}
