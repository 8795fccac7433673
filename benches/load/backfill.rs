//! `clerk-sync backfill` from a list of users on loopback.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, bail};
use serde_json::value::RawValue;
use sqlx::Executor;

use crate::bench::Bench;
use crate::crowd::Crowd;
use crate::program::{Program, UsageWatch};

/// The URLs of the list begin with this.
const BASE: &str = "/v1";

/// Users who differ in more than their ID.
const TEMPLATES: u64 = 500;

const KEY: &str = "sk_live_abcdefghijklmnopqrstuvwxyz0123456789";

/// Longest wait for the end of a backfill.
const PATIENCE: Duration = Duration::from_secs(300);

/// An empty table, filled; and what that costs.
pub async fn backfill(bench: &mut Bench) -> anyhow::Result<()> {
    let users = bench.scale.listed_users;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["--serve-list", &users.to_string()]);
    let list = Program::start(command)?;
    let database = match bench.filled.take() {
        Some(database) => database,
        None => bench.place.database("filled").await?,
    };
    database.pool.execute("truncate clerk.users").await?;

    let mut command = bench.place.command("backfill", Some(&database))?;
    command.args(["users", "--restart", "--json"]);
    command
        .env("CLERK_API_URL", format!("http://{}{BASE}", list.address))
        .env("CLERK_SECRET_KEY", KEY);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = std::time::Instant::now();
    let mut child = command.spawn()?;
    let usage = UsageWatch::over(child.id());
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let (took, usage) = (began.elapsed(), usage.samples());
    let rows: i64 = sqlx::query_scalar("select count(*) from clerk.users")
        .fetch_one(&database.pool)
        .await?;
    if !ended.success() || rows != i64::from(users) {
        bail!("the backfill ended with {ended} and {rows} rows of {users}");
    }
    bench
        .figures
        .add("backfill.rate", f64::from(users) / took.as_secs_f64());
    bench
        .figures
        .add("backfill.processor_us", usage.micros_each(users.into()));
    bench.figures.add("backfill.memory_mb", usage.memory_peak());
    bench.filled = Some(database);
    list.stop().await
}

/// A user object without its ID.
struct Template {
    before: String,
    after: String,
}

impl Template {
    fn of(seed: u64) -> anyhow::Result<Self> {
        let event = Crowd::first_of(seed);
        let envelope: HashMap<&str, &RawValue> = serde_json::from_slice(event.body())?;
        let user = envelope.get("data").context("an event without data")?.get();
        let name = "\"id\":\"user_";
        let place = user.find(name).context("a user without an ID")? + "\"id\":\"".len();
        let end = place + user[place..].find('"').context("an ID without an end")?;
        Ok(Self {
            before: user[..place].to_owned(),
            after: user[end..].to_owned(),
        })
    }
}

/// Serves a list of so many users as Clerk's Backend API does, until it is killed.
pub async fn serve_list(users: u32) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let templates = (0..TEMPLATES)
        .map(Template::of)
        .collect::<Result<Vec<_>, _>>()?;
    let templates = web::Data::new(templates);
    eprintln!(
        "{}",
        serde_json::json!({"address": listener.local_addr()?.to_string()})
    );
    let server = HttpServer::new(move || {
        App::new()
            .app_data(templates.clone())
            .app_data(web::Data::new(users))
            .route(&format!("{BASE}/users"), web::get().to(page))
            .route(
                &format!("{BASE}/users/count"),
                web::get().to(move || async move {
                    HttpResponse::Ok().json(serde_json::json!({"total_count": users}))
                }),
            )
    });
    Ok(server.workers(1).listen(listener)?.run().await?)
}

async fn page(
    query: web::Query<HashMap<String, String>>,
    templates: web::Data<Vec<Template>>,
    users: web::Data<u32>,
) -> HttpResponse {
    let limit = query
        .get("limit")
        .and_then(|limit| limit.parse::<u32>().ok())
        .unwrap_or(10);
    let after = query
        .get("starting_after")
        .and_then(|id| id.strip_prefix("user_")?.parse::<u32>().ok());
    let from = after.map_or(0, |number| number + 1);
    let mut body = String::from("[");
    for number in from..(from + limit).min(**users) {
        let template = &templates[number as usize % templates.len()];
        if number > from {
            body.push(',');
        }
        body.push_str(&template.before);
        body.push_str(&format!("user_{number:027}"));
        body.push_str(&template.after);
    }
    body.push(']');
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body)
}
