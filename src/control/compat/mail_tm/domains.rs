//! Domains in which anybody may have an account.

use super::asked::{PAGE, page};
use super::format::{Format, Kind, Linked, date};
use super::{Answer, BAD_PAGE};
use crate::clock::WallClock;
use crate::control::Settings;
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::policy::plans::ANONYMOUS;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use std::sync::Arc;

/// A domain.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Domain {
    #[serde(flatten)]
    linked: Option<Linked>,
    id: String,
    domain: String,
    is_active: bool,
    is_private: bool,
    created_at: String,
    updated_at: String,
}

/// Those of whoever shows no key: this API has no way to show one before it lists domains.
fn domains(settings: &Settings) -> impl Iterator<Item = &str> {
    let plan = settings.plans.plan(ANONYMOUS);
    settings.plans.domains(plan, &settings.recipients)
}

fn view(app: &App, name: &str, id: String, linked: Option<Linked>, wall: &WallClock) -> Domain {
    let began = date(wall, app.compat.mail_tm.began);
    Domain {
        linked,
        id,
        domain: name.to_owned(),
        is_active: true,
        is_private: false,
        created_at: began.clone(),
        updated_at: began,
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let format = Format::wanted(&headers);
    let page = page(query.as_deref()).ok_or(BAD_PAGE)?;
    let settings = app.settings.load();
    let wall = app.cores.wall();
    let total = domains(&settings).count();
    let shown = domains(&settings).skip((page - 1) * PAGE).take(PAGE);
    let members: Vec<Domain> = shown
        .map(|name| {
            let id = app.compat.mail_tm.ids.domain(name);
            let linked = format.listed(Kind::Domain, &id);
            view(&app, name, id, linked, &wall)
        })
        .collect();
    Ok(format.page(Kind::Domain, page, total, members))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let format = Format::wanted(&headers);
    let settings = app.settings.load();
    let mut all = domains(&settings);
    let found = all.find(|name| app.compat.mail_tm.ids.domain(name) == id);
    let name = found.ok_or(Problem::NoSuchRoute)?;
    let linked = format.linked(Kind::Domain, &id);
    let view = view(&app, name, id, linked, &app.cores.wall());
    Ok(format.answer(StatusCode::OK, &view))
}
