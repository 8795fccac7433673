//! `POST /api/users/{id}/refresh`: asks Clerk for one user, and answers with the row.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::auth::Operator;
use super::fields::Rows;
use super::filters::{self, OneQuery};
use super::users::User;
use crate::clerk::tables;
use crate::http::problem::{Code, Problem};
use crate::refresh::RefreshError;

/// Asks Clerk for one user, and applies the answer.
///
/// One request to Clerk's Backend API, with `CLERK_SECRET_KEY`. The answer is applied under the rule that events follow: a newer row is not changed, a deleted one stays deleted. Requests for one ID at the same time share one request to Clerk.
#[utoipa::path(
    post, path = "/api/users/{id}/refresh", tag = "users",
    params(("id" = String, Path, description = "Clerk ID, user_…"), OneQuery),
    responses(
        (status = 200, description = "The user, as `GET /api/users/{id}` answers", body = User),
        (status = 409, description = "`clerk_key_missing`, `not_synced`"),
        (status = 429, description = "`clerk_rate_limited`"),
        (status = 502, description = "`clerk_object_invalid`"),
        (status = 503, description = "`clerk_unavailable`, `paused`"),
    )
)]
pub async fn refresh_user(
    operator: Operator,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let fields = filters::one(Rows::One(&tables::users::TABLE), request.query_string())?;
    let fields = fields.for_token(true)?;
    let row = operator.admin.refresher.refresh(&id).await;
    let row = row.map_err(problem)?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(fields.pick(&*row).get().to_owned()))
}

fn problem(error: RefreshError) -> Problem {
    let detail = error.to_string();
    match error {
        RefreshError::NoUserId | RefreshError::UnknownAtClerk => {
            Problem::new(Code::NotFound, detail)
        }
        RefreshError::NotSynced => Problem::new(Code::NotSynced, detail),
        RefreshError::KeyMissing => Problem::new(
            Code::ClerkKeyMissing,
            format!("{detail}. Then restart; if the key is in `.env` or a file, SIGHUP is enough"),
        ),
        RefreshError::Paused => Problem::new(Code::Paused, detail),
        RefreshError::TooMany { retry_after, .. } => {
            Problem::new(Code::ClerkRateLimited, detail).after(retry_after)
        }
        RefreshError::ClerkAway { retry_after, .. } => {
            Problem::new(Code::ClerkUnavailable, detail).after(retry_after)
        }
        RefreshError::ClerkRefuses(_) => Problem::new(Code::ClerkUnavailable, detail),
        RefreshError::Unstorable { .. } => Problem::new(Code::ClerkObjectInvalid, detail),
        RefreshError::Store(error) => error.into(),
    }
}
