//! Refusals on their way out: the one place where they get a status code.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::authority::SiteError;
use crate::gateway::intake::IntakeError;
use crate::headquarters::RevokedError;
use crate::own_log::{DraftError, FinanceError, RecordError};

/// What went wrong, in a sentence to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    /// The status code.
    pub status: StatusCode,
    /// What is wrong and what to do next.
    pub text: String,
}

/// The body of a refusal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// The sentence to show.
    error: String,
}

impl ApiError {
    /// What was asked for is not there.
    pub fn missing(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, text: text.into() }
    }

    /// What was asked makes no sense here.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, text: text.into() }
    }

    /// The installation failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(Problem { error: self.text })).into_response()
    }
}

/// The status of a refusal by what was refused.
trait Refusal: std::fmt::Display {
    fn status(&self) -> StatusCode;
}

impl Refusal for DraftError {
    fn status(&self) -> StatusCode {
        match self {
            Self::DuplicateCode { .. } => StatusCode::CONFLICT,
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl Refusal for FinanceError {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPartner(_) | Self::UnknownAccount(_) | Self::NotInBooks(_) => {
                StatusCode::NOT_FOUND
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl<E: Refusal> From<RecordError<E>> for ApiError {
    fn from(error: RecordError<E>) -> Self {
        match error {
            RecordError::Refused(refused) => {
                Self { status: refused.status(), text: refused.to_string() }
            }
            RecordError::TooLong(_) | RecordError::TooManyLines => Self::refused(error.to_string()),
            RecordError::Intake(error) => error.into(),
            RecordError::NotPosted(_) => Self::failed(error.to_string()),
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<RevokedError> for ApiError {
    fn from(error: RevokedError) -> Self {
        Self::failed(format!(
            "revoked, and neighbours are not told yet ({error}): HQ tells them when it starts again, \
             or when this is asked for once more"
        ))
    }
}

impl From<SiteError> for ApiError {
    fn from(error: SiteError) -> Self {
        Self::refused(error.to_string())
    }
}
