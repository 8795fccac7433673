//! Row-level security by organization, exactly as the page writes it: who sees which rows, on real
//! PostgreSQL, while events of members are applied.

use clerk_sync::clerk::SignedEvent;
use clerk_sync::store::Store;
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, Row};

use super::fixture::{self, ADA, ORGANIZATION};
use super::page::{self, Page};
use super::statements::{PRELUDE, blocks, run};
use crate::support::app::Place;

const ALAN: &str = "user_2abcAlan";
const GRACE: &str = "user_2abcGrace";
const OTHER: &str = "org_2abcOther";

/// The blocks of the page that have this text in them, run in their order.
async fn run_of_page(connection: &mut PgConnection, text: &str) {
    let page = Page::read(&page::root().join("docs/organizations.md"));
    let mut blocks = blocks(&page, "sql");
    blocks.retain(|block| block.text.contains(text));
    assert!(!blocks.is_empty(), "no block has {text}");
    let mut faults = String::new();
    run::<Postgres>(connection, &page, &blocks, &mut faults).await;
    assert!(faults.is_empty(), "{faults}");
}

/// Runs a statement as a signed-in person with these claims, as the page does.
async fn ask(
    connection: &mut PgConnection,
    claims: &Value,
    sql: &str,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin().await.unwrap();
    let set = "select set_config('request.jwt.claims', $1, true)";
    let set = sqlx::query(set).bind(claims.to_string());
    set.execute(&mut *transaction).await.unwrap();
    transaction
        .execute("set local role authenticated")
        .await
        .unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let rows = rows.fetch_all(&mut *transaction).await;
    // Nothing that is tried stays.
    transaction.rollback().await.unwrap();
    rows
}

/// The titles that a person sees.
async fn seen(connection: &mut PgConnection, claims: &Value) -> Vec<String> {
    let sql = "select title from public.documents order by title";
    let rows = ask(connection, claims, sql).await.unwrap();
    rows.iter().map(|row| row.get("title")).collect()
}

async fn apply(store: &Store, event: SignedEvent) {
    store.apply(&plan(&[event])).await.unwrap();
}

fn membership(event: &str, what: &str, id: &str, whom: [&str; 3], at: i64) -> SignedEvent {
    let event_type = format!("organizationMembership.{what}");
    fixture::membership(event, &event_type, id, whom, at)
}

const OURS: &[&str] = &["Notes", "Plan"];

#[tokio::test(flavor = "multi_thread")]
async fn members_see_the_rows_of_their_organizations_and_no_one_else_does() {
    let place = Place::servers().await;
    let store = place.store();
    fixture::fill(&store).await;
    let mut connection = place.database().connect().await;
    // What the page makes, and the roles, which belong to the whole server, are gone at the end.
    let mut page = connection.begin().await.unwrap();
    page.execute(PRELUDE).await.unwrap();
    run_of_page(&mut page, "function auth.jwt()").await;
    run_of_page(&mut page, "function private.my_organizations()").await;
    run_of_page(&mut page, "create table public.documents").await;
    let documents = format!(
        "insert into public.documents (organization_id, title)
         values ('{ORGANIZATION}', 'Plan'), ('{ORGANIZATION}', 'Notes'), ('{OTHER}', 'Theirs')"
    );
    page.execute(AssertSqlSafe(documents)).await.unwrap();

    let is = |user: &str| json!({ "sub": user });
    assert_eq!(seen(&mut page, &is(ADA)).await, OURS);
    assert_eq!(seen(&mut page, &is(ALAN)).await, OURS, "joined again");
    for stranger in [
        is(GRACE),
        is("user_unknown"),
        json!({}),
        json!({"sub": null}),
    ] {
        assert!(seen(&mut page, &stranger).await.is_empty(), "{stranger}");
    }

    // The old membership ends once more, late: the new one stays.
    let alan = [ORGANIZATION, ALAN, "org:member"];
    let late = membership("msg_late", "deleted", "orgmem_2abcAlan", alan, 5);
    apply(&store, late).await;
    assert_eq!(seen(&mut page, &is(ALAN)).await, OURS);
    let left = membership("msg_left", "deleted", "orgmem_2abcAlanAgain", alan, 30);
    apply(&store, left).await;
    assert!(seen(&mut page, &is(ALAN)).await.is_empty(), "who left");
    assert_eq!(seen(&mut page, &is(ADA)).await, OURS, "who stays");
    let again = membership("msg_again", "created", "orgmem_third", alan, 40);
    apply(&store, again).await;
    assert_eq!(seen(&mut page, &is(ALAN)).await, OURS, "who joined again");
    let elsewhere = [OTHER, ALAN, "org:member"];
    let second = membership("msg_other", "created", "orgmem_other", elsewhere, 50);
    apply(&store, second).await;
    assert_eq!(
        seen(&mut page, &is(ALAN)).await,
        ["Notes", "Plan", "Theirs"]
    );

    // Rows are written to one's own organizations alone.
    let insert = |organization: &str| {
        format!(
            "insert into public.documents (organization_id, title) values ('{organization}', 'New') returning title"
        )
    };
    let rows = ask(&mut page, &is(ADA), &insert(ORGANIZATION)).await;
    assert_eq!(rows.unwrap().len(), 1);
    let refused = ask(&mut page, &is(ADA), &insert(OTHER)).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "42501");
    // The tables themselves are closed to the role.
    let table = "select user_id from clerk.organization_memberships";
    assert!(ask(&mut page, &is(ADA), table).await.is_err());

    run_of_page(&mut page, "private.organizations_that_i_manage()").await;
    let delete = "delete from public.documents returning title";
    let deleted = async |page: &mut PgConnection, user: &str| {
        ask(page, &is(user), delete).await.unwrap().len()
    };
    assert_eq!(deleted(&mut page, ADA).await, 2, "an admin");
    assert_eq!(deleted(&mut page, ALAN).await, 0, "a member");

    run_of_page(&mut page, "of_the_active_organization").await;
    let active = |organization: &str| json!({"sub": ALAN, "o": {"id": organization}});
    assert_eq!(seen(&mut page, &active(ORGANIZATION)).await, OURS);
    assert_eq!(seen(&mut page, &active(OTHER)).await, ["Theirs"]);
    assert!(
        seen(&mut page, &is(ALAN)).await.is_empty(),
        "none is active"
    );
    assert!(seen(&mut page, &active("org_of_others")).await.is_empty());
    // What the page warns of.
    let wrong = "select auth.jwt() ->> 'o.id' as id";
    let rows = ask(&mut page, &active(OTHER), wrong).await.unwrap();
    assert_eq!(rows[0].get::<Option<String>, _>("id"), None);

    // The organization is deleted at Clerk, without an event of its memberships.
    let body = json!({
        "type": "organization.deleted", "timestamp": crate::support::history::EPOCH_MS + 60,
        "data": {"id": ORGANIZATION, "deleted": true, "object": "organization"},
    });
    let gone = crate::support::history::event("msg_gone", body.to_string());
    apply(&store, gone).await;
    assert!(seen(&mut page, &active(ORGANIZATION)).await.is_empty());
    page.rollback().await.unwrap();
}
