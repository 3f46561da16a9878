//! Sites over HTTP: added with a one-time code, revoked at once.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use shared::catalogue::Catalogue;
use shared::ids::{CompanyNo, SiteNo};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use crate::beside;
use crate::headquarters::Headquarters;
use crate::own_log::{Draft, DraftError};

/// A new site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteBody {
    /// Its code.
    pub code: String,
    /// Its name; the code where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Its company's code; the first company where absent.
    #[serde(default)]
    pub company: Option<String>,
}

/// A one-time code that turns a box into an installation of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteCode {
    /// The site's number.
    pub site: u32,
    /// The site's code.
    pub code: String,
    /// What `edge-node enrol` takes; single use, seven days.
    pub enrol: String,
}

/// A site as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteLine {
    /// Its number.
    pub number: u32,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its installations that may connect.
    pub devices: Vec<u32>,
    /// Its installations that were revoked.
    pub revoked: Vec<u32>,
    /// One of them is connected.
    pub connected: bool,
    /// Codes of the sites that may carry its data to HQ.
    pub carried_by: Vec<String>,
}

/// Who may carry a site's data to HQ, and HQ's answers back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CarrierBody {
    /// The code of the site that carries.
    pub by: String,
    /// Whether it may; from now on.
    pub allowed: bool,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new()
        .routes(routes!(site_list, site_add))
        .routes(routes!(site_code))
        .routes(routes!(site_revoke))
        .routes(routes!(site_carrier))
        .routes(routes!(site_handles))
}

/// Every site.
#[utoipa::path(get, path = "/api/sites", tag = "sites",
    responses((status = 200, body = Vec<SiteLine>)))]
async fn site_list(State(hq): State<Headquarters>) -> Json<Vec<SiteLine>> {
    let devices = hq.authority().devices();
    let catalogue = hq.published().catalogue();
    let line = |site: &shared::catalogue::Site| {
        let of_site =
            devices.iter().filter(|device| device.site == site.site && device.branch_of.is_none());
        let (revoked, active): (Vec<_>, Vec<_>) =
            of_site.partition(|device| device.revoked_at.is_some());
        SiteLine {
            number: site.site.0,
            code: site.code.clone(),
            name: site.name.clone(),
            connected: active.iter().any(|device| hq.link(device.device).connected),
            devices: active.iter().map(|device| device.device.0).collect(),
            revoked: revoked.iter().map(|device| device.device.0).collect(),
            carried_by: carriers(&catalogue, site.site),
        }
    };
    Json(catalogue.sites().map(line).collect())
}

/// Adds a site and gives a one-time code for its box.
#[utoipa::path(post, path = "/api/sites", tag = "sites", request_body = SiteBody,
    responses((status = 200, body = SiteCode), (status = 409, description = "the code is taken")))]
async fn site_add(
    State(hq): State<Headquarters>,
    Json(body): Json<SiteBody>,
) -> Result<Json<SiteCode>, ApiError> {
    let name = body.name.unwrap_or_else(|| body.code.clone());
    let next = hq.authority().site_next();
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        let stated = draft.known().sites().map(|site| site.site.0 + 1).max();
        let site = next.max(SiteNo(stated.unwrap_or(1)));
        draft.of_company(body.company.as_deref())?;
        draft.site(site, &body.code, &name)?;
        Ok::<_, DraftError>((draft.into_groups(), site))
    });
    let (_, site) = stated.await?;
    give_code(hq, site, body.code, name).await
}

/// Gives another one-time code for a site: for a new box, or when the first code is lost.
#[utoipa::path(post, path = "/api/sites/{code}/code", tag = "sites",
    responses((status = 200, body = SiteCode)))]
async fn site_code(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
) -> Result<Json<SiteCode>, ApiError> {
    let (site, name) = find(&hq, &code)?;
    give_code(hq, site, code, name).await
}

/// Revokes every installation of a site; live connections close at once, neighbours are told.
#[utoipa::path(post, path = "/api/sites/{code}/revoke", tag = "sites",
    responses((status = 200, body = Vec<u32>, description = "the installations revoked")))]
async fn site_revoke(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
) -> Result<Json<Vec<u32>>, ApiError> {
    let (site, _) = find(&hq, &code)?;
    let now = hq.clock().now();
    let authority = hq.authority().clone();
    let devices = blocking(move || authority.site_revoke(site, now)).await??;
    hq.agree_on_revoked().await?;
    Ok(Json(devices.into_iter().map(|device| device.0).collect()))
}

/// Lets a site carry another one's data, or no longer.
#[utoipa::path(post, path = "/api/sites/{code}/carriers", tag = "sites",
    request_body = CarrierBody,
    responses((status = 200, body = Vec<String>, description = "who may carry its data now")))]
async fn site_carrier(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
    Json(body): Json<CarrierBody>,
) -> Result<Json<Vec<String>>, ApiError> {
    let (site, _) = find(&hq, &code)?;
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.carrier(&code, &body.by, body.allowed)?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    stated.await?;
    Ok(Json(carriers(&hq.published().catalogue(), site)))
}

/// Codes of the sites that may carry a site's data.
fn carriers(catalogue: &Catalogue, site: SiteNo) -> Vec<String> {
    let of_site = catalogue.carriers().filter(|(of, _)| *of == site);
    of_site.filter_map(|(_, by)| Some(catalogue.site(by)?.code.clone())).collect()
}

/// Items that a site is told of from now on, by code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandledBody {
    /// The items' codes.
    pub items: Vec<String>,
}

/// Lets a site handle items, where it is told only those that it handles.
#[utoipa::path(post, path = "/api/sites/{code}/items", tag = "sites", request_body = HandledBody,
    responses((status = 200, body = HandledBody), (status = 409, description = "an item is unknown")))]
async fn site_handles(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
    Json(body): Json<HandledBody>,
) -> Result<Json<HandledBody>, ApiError> {
    let (site, _) = find(&hq, &code)?;
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        for code in &body.items {
            let item = draft.item_coded(code)?;
            draft.handled_item(site, item)?;
        }
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    stated.await?;
    Ok(Json(body))
}

pub(super) fn find(hq: &Headquarters, code: &str) -> Result<(SiteNo, String), ApiError> {
    let catalogue = hq.published().catalogue();
    let site = catalogue.site_by_code(code);
    let site = site.ok_or_else(|| {
        ApiError::missing(format!("there is no site '{code}': see 'hq-server site list'"))
    })?;
    Ok((site.site, site.name.clone()))
}

async fn give_code(
    hq: Headquarters,
    site: SiteNo,
    code: String,
    name: String,
) -> Result<Json<SiteCode>, ApiError> {
    let now = hq.clock().now();
    let stated = hq.published().catalogue().site(site).map(|site| site.company);
    let company = stated.unwrap_or(CompanyNo::FIRST);
    let enrol = blocking(move || hq.authority().site_add(site, &name, company, now)).await??;
    Ok(Json(SiteCode { site: site.0, code, enrol: enrol.to_string() }))
}

/// The register writes its file.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    beside::run(work).await.map_err(|error| ApiError::failed(error.to_string()))
}
