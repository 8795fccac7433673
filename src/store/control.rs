//! The control of applying: a switch that pauses it, and a limit of its rate. Both are settings in
//! the database, so all workers obey, and both survive restarts.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::time::Time;
use super::{Store, StoreError};
use crate::clerk::Timestamp;
use crate::clock::now;

/// The names of the settings.
const PAUSE: &str = "pause";
const RATE_LIMIT: &str = "rate_limit";

/// Longest reason of a pause, in characters.
pub const REASON_MAX: usize = 200;

/// The highest rate limit, in events per second: far above what any database applies.
pub const RATE_MAX: u32 = 1_000_000;

/// What limits the applying of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Control {
    /// The pause; null while events are applied.
    pub paused: Option<Pause>,
    /// Most events per second that all workers together apply; null without a limit.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub rate_limit: Option<NonZeroU32>,
}

/// A pause of applying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pause {
    /// Since when.
    pub paused_at: Time,
    /// Why, if the person said so.
    pub reason: Option<String>,
    /// What it was paused with: a command or an address.
    pub paused_by: String,
}

/// The pause as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredPause {
    /// In milliseconds since 1970.
    paused_at: i64,
    reason: Option<String>,
    paused_by: String,
}

#[derive(Serialize, Deserialize)]
struct StoredLimit {
    events_per_second: NonZeroU32,
}

impl Pause {
    /// Reads a reason as a person gives it: one line. An empty one is none.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn read_reason(text: &str) -> Result<Option<String>, &'static str> {
        let text = text.trim();
        if text.chars().count() > REASON_MAX || text.chars().any(char::is_control) {
            return Err("give one line of up to 200 characters");
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// Reads a rate limit.
///
/// # Errors
/// Says what would be right.
pub fn read_rate(text: &str) -> Result<NonZeroU32, &'static str> {
    let rate = text.trim().parse().ok();
    rate.filter(|rate: &NonZeroU32| rate.get() <= RATE_MAX)
        .ok_or("give events per second, from 1 to 1000000")
}

impl Control {
    /// Reads the rows of the settings.
    fn of(rows: Vec<(String, String)>) -> Result<Self, StoreError> {
        let mut control = Self::default();
        for (name, value) in rows {
            let newer = |_| {
                StoreError::Incompatible(format!(
                    "a newer clerk-sync has written its setting {name}: use that one"
                ))
            };
            if name == PAUSE {
                let stored: Option<StoredPause> = serde_json::from_str(&value).map_err(newer)?;
                control.paused = stored.and_then(|stored| {
                    Some(Pause {
                        paused_at: Time(Timestamp::from_ms(stored.paused_at)?),
                        reason: stored.reason,
                        paused_by: stored.paused_by,
                    })
                });
            } else {
                let stored: Option<StoredLimit> = serde_json::from_str(&value).map_err(newer)?;
                control.rate_limit = stored.map(|stored| stored.events_per_second);
            }
        }
        Ok(control)
    }
}

impl Store {
    /// What limits the applying of events.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn control(&self) -> Result<Control, StoreError> {
        let rows = self.query(|sql| &sql.control, &[], read_setting).await?;
        Control::of(self.check_visible("settings", rows).await?)
    }

    /// The same for a worker, by the connections that its writes use: those of readers may be busy,
    /// and a pause must be seen all the same. Rows that row-level security hides are not noticed.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn control_before_write(&self) -> Result<Control, StoreError> {
        let Self::Postgres(store) = self else {
            return self.control().await;
        };
        let rows = store.control_before_write().await?;
        let rows = rows.into_iter().map(DatabaseRow::Postgres);
        let rows: Result<_, _> = rows.map(|row| read_setting(&row)).collect();
        Control::of(rows.map_err(|error| self.error(error))?)
    }

    /// Has all workers stop applying. If it is paused already, that pause stays as it is. Returns
    /// the pause, and whether it is new.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn pause(
        &self,
        reason: Option<String>,
        paused_by: String,
    ) -> Result<(Pause, bool), StoreError> {
        if let Some(pause) = self.control().await?.paused {
            return Ok((pause, false));
        }
        let pause = Pause {
            paused_at: Time(now()),
            reason,
            paused_by,
        };
        let stored = StoredPause {
            paused_at: pause.paused_at.0.ms(),
            reason: pause.reason.clone(),
            paused_by: pause.paused_by.clone(),
        };
        self.set_json(PAUSE, &Some(stored)).await?;
        Ok((pause, true))
    }

    /// Has all workers apply again. Returns the pause that this ends; `None` if there was none.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn resume(&self) -> Result<Option<Pause>, StoreError> {
        let paused = self.control().await?.paused;
        if paused.is_some() {
            self.set_json(PAUSE, &None::<StoredPause>).await?;
        }
        Ok(paused)
    }

    /// Sets or removes the limit of events per second. Returns the one before.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn set_rate_limit(
        &self,
        limit: Option<NonZeroU32>,
    ) -> Result<Option<NonZeroU32>, StoreError> {
        let before = self.control().await?.rate_limit;
        if before != limit {
            let stored = limit.map(|events_per_second| StoredLimit { events_per_second });
            self.set_json(RATE_LIMIT, &stored).await?;
        }
        Ok(before)
    }

    async fn set_json(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let value = serde_json::to_string(value)
            .map_err(|error| StoreError::Incompatible(error.to_string()))?;
        self.set(name, &value).await
    }
}

fn read_setting(row: &DatabaseRow) -> Result<(String, String), sqlx::Error> {
    Ok((row.get("name")?, row.get("value")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(Pause::read_reason("  "), Ok(None));
        assert_eq!(Pause::read_reason(" a b "), Ok(Some("a b".into())));
        assert!(Pause::read_reason(&"é".repeat(REASON_MAX)).is_ok());
        assert!(Pause::read_reason(&"é".repeat(REASON_MAX + 1)).is_err());
        assert!(Pause::read_reason("a\nb").is_err());
    }

    #[test]
    fn a_rate_is_a_number_above_0() {
        assert_eq!(read_rate(" 50 ").map(NonZeroU32::get), Ok(50));
        for wrong in ["0", "-1", "1000001", "1.5", "", "many"] {
            assert!(read_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_named() {
        let row = |value: &str| Control::of(vec![("pause".into(), value.into())]);
        assert_eq!(row("null").ok(), Some(Control::default()));
        let error = row("7").unwrap_err().to_string();
        assert!(
            error.contains("a newer clerk-sync has written its setting pause"),
            "{error}"
        );
    }
}
