//! Lists of users and events, in every order that an index has.

use std::num::NonZeroU32;

use sqlx::SqlStr;

use super::bind::Bind;
use super::event_status::Status;
use super::filter::{Cursor, EventFilter, Listing, Page, UserFilter};
use super::queries::statement;
use super::read::{first, read_user, texts};
use super::rows::{EventRow, TableRow};
use super::search::Search;
use super::sort::{Part, Sort, sqlite_key};
use super::sqlite::lowercase::fold;
use super::template::Dialect;
use super::{Store, StoreError, sqlite};

/// From so many users without a value on, SQLite reads all users by their IDs until a page is full.
/// Fewer are sorted. One in a thousand of a million.
const NULLS_COMMON_FROM: u32 = 1000;

impl Store {
    /// Users by `clerk_id`, newest first: Clerk's IDs grow with time.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn users(
        &self,
        filter: &UserFilter,
        page: &Page,
    ) -> Result<Listing<TableRow>, StoreError> {
        self.users_in(Sort::NEWEST_USERS, filter, page, true).await
    }

    /// The same without `data`, by far the longest column: it is not read at all.
    ///
    /// # Errors
    /// See `users`.
    pub async fn users_without_data(
        &self,
        filter: &UserFilter,
        page: &Page,
    ) -> Result<Listing<TableRow>, StoreError> {
        self.users_in(Sort::NEWEST_USERS, filter, page, false).await
    }

    /// Users in any order; those without a value in its column come last. A search, `q`, has the
    /// usual order alone.
    ///
    /// # Errors
    /// See `users`.
    pub async fn users_in(
        &self,
        sort: Sort,
        filter: &UserFilter,
        page: &Page,
        with_data: bool,
    ) -> Result<Listing<TableRow>, StoreError> {
        let wanted = i64::from(page.limit.get()) + 1;
        let after = page.after.as_ref();
        let Some(column) = sort.nullable_column() else {
            let rows = self.some_users(sort, Part::Values, filter, after, wanted, with_data);
            let rows = self.check_visible("users", rows.await?).await?;
            return Ok(Listing::of(rows, page, |row| row.cursor(sort)));
        };
        let (mut rows, mut after_null) = (Vec::new(), after);
        if !matches!(after, Some(Cursor::Sorted { value: None, .. })) {
            let values = self.some_users(sort, Part::Values, filter, after, wanted, with_data);
            (rows, after_null) = (values.await?, None);
        }
        let left = wanted - i64::try_from(rows.len()).unwrap_or(wanted);
        if left > 0 {
            let are_common = self.are_nulls_common(column).await?;
            let nulls = Part::Nulls { are_common };
            let nulls = self.some_users(sort, nulls, filter, after_null, left, with_data);
            rows.extend(nulls.await?);
        }
        let rows = self.check_visible("users", rows).await?;
        Ok(Listing::of(rows, page, |row| row.cursor(sort)))
    }

    async fn some_users(
        &self,
        sort: Sort,
        part: Part,
        filter: &UserFilter,
        after: Option<&Cursor>,
        limit: i64,
        with_data: bool,
    ) -> Result<Vec<TableRow>, StoreError> {
        let is_sqlite = matches!(self, Self::Sqlite(_));
        let search = filter.q.as_deref().and_then(Search::of);
        let is_common = match &search {
            Some(search) => Some(self.is_common(search).await?),
            None => None,
        };
        let (sql, leads) = match self {
            Self::Postgres(_) => match is_common {
                None => (include_str!("postgres/users.sql"), true),
                Some(false) => (include_str!("postgres/users_by_search.sql"), true),
                Some(true) => (include_str!("postgres/users_by_search_in_order.sql"), true),
            },
            Self::Sqlite(_) => sqlite::statements::users(filter, is_common, sort),
        };
        let (id, value) = match after {
            Some(Cursor::User { clerk_id }) => (Some(&**clerk_id), None),
            Some(Cursor::Sorted { value, id, .. }) => (Some(&**id), value.as_deref()),
            Some(Cursor::Event { .. } | Cursor::Row { .. } | Cursor::Act { .. }) | None => {
                (None, None)
            }
        };
        let address = |text: &str| if is_sqlite { fold(text) } else { text.into() };
        let mut binds: Vec<Bind<'_>> = vec![
            filter.email.as_deref().map(address).into(),
            filter.phone.as_deref().into(),
            filter.username.as_deref().into(),
            filter.external_id.as_deref().into(),
            filter.deleted.into(),
            id.into(),
            limit.into(),
            filter
                .ids
                .as_ref()
                .map(|ids| ids.iter().map(String::as_str).collect::<Vec<_>>())
                .into(),
            Some(with_data).into(),
        ];
        match (&search, sort.nullable_column()) {
            (Some(search), _) => binds.extend(search.binds(is_sqlite)),
            (None, Some("email")) => binds.push(value.map(address).into()),
            (None, Some(_)) => binds.push(value.into()),
            (None, None) => {}
        }
        let statement = self.list_statement(sql, sort, part, leads);
        self.query_statement(statement, &binds, read_user).await
    }

    /// Whether many users have no value in the column. PostgreSQL knows it by itself.
    async fn are_nulls_common(&self, column: &str) -> Result<bool, StoreError> {
        if matches!(self, Self::Postgres(_)) {
            return Ok(false);
        }
        let sql = include_str!("sqlite/users_without.sql");
        let count = statement(sql.replace("<key>", &sqlite_key(column)));
        let binds = [NULLS_COMMON_FROM.into()];
        let counted = self.query_statement(count, &binds, |row| row.count("users"));
        Ok(first(counted.await?) >= Some(NULLS_COMMON_FROM.into()))
    }

    /// Rows of `events` by time of receipt, newest first, without their payloads.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn events(
        &self,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listing<EventRow>, StoreError> {
        self.events_in(Sort::NEWEST_EVENTS, filter, page).await
    }

    /// The same in any order.
    ///
    /// # Errors
    /// See `events`.
    pub async fn events_in(
        &self,
        sort: Sort,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listing<EventRow>, StoreError> {
        let sql = match self {
            Self::Postgres(_) => include_str!("postgres/events.sql"),
            Self::Sqlite(_) => sqlite::statements::events(filter),
        };
        let [received_at, event_id] = page.after_event();
        let binds = [
            filter.status.map(|status| status.as_str()).into(),
            filter.event_type.as_deref().into(),
            filter.clerk_id.as_deref().into(),
            filter.since.into(),
            filter.until.into(),
            received_at,
            event_id,
            (i64::from(page.limit.get()) + 1).into(),
            filter.error_code.as_deref().into(),
            filter.ids.as_deref().map_or(Bind::Texts(None), texts),
        ];
        let statement = self.list_statement(sql, sort, Part::Values, true);
        let rows = self
            .query_statement(statement, &binds, EventRow::read)
            .await?;
        let rows = self.check_visible("events", rows).await?;
        Ok(Listing::of(rows, page, |row| row.cursor(sort)))
    }

    /// The IDs of the failed events that were received just after this one, and just before it.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn failed_beside(
        &self,
        event: &EventRow,
    ) -> Result<(Option<String>, Option<String>), StoreError> {
        let filter = EventFilter {
            status: Some(Status::Failed),
            ..EventFilter::default()
        };
        let next = async |sort: Sort| {
            let page = Page {
                limit: NonZeroU32::MIN,
                after: event.cursor(sort),
            };
            let events = self.events_in(sort, &filter, &page).await?;
            Ok::<_, StoreError>(first(events.rows).map(|event| event.event_id))
        };
        tokio::try_join!(next(Sort::OLDEST_EVENTS), next(Sort::NEWEST_EVENTS))
    }

    fn list_statement(&self, sql: &str, sort: Sort, part: Part, leads: bool) -> SqlStr {
        let dialect = match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        };
        let marks = sort.marks(dialect, part, leads);
        let marks: Vec<_> = marks.iter().map(|(mark, text)| (*mark, &**text)).collect();
        match self {
            Self::Postgres(store) => store.list(sql, &marks),
            Self::Sqlite(_) => statement(sqlite::statements::render(sql, &marks)),
        }
    }
}
