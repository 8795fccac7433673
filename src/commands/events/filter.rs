//! The arguments that select events.

use clap::builder::NonEmptyStringValueParser;

use crate::clerk::Timestamp;
use crate::commands::arguments::read_time;
use crate::store::{EventFilter, Status};

/// The arguments that select events.
#[derive(Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Type, such as user.updated
    #[arg(long = "type", value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    event_type: Option<String>,
    /// Clerk ID of the row that it is about, such as user_… or org_…
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Failed with this code, such as unrouted
    #[arg(long, value_name = "CODE", value_parser = NonEmptyStringValueParser::new())]
    error_code: Option<String>,
    /// Received at this time or later: 2026-11-23, 2026-11-23T16:00:00Z, or an age such as 90s,
    /// 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Timestamp>,
}

impl FilterArgs {
    /// Whether none of them is given.
    pub fn is_empty(&self) -> bool {
        let texts = [&self.event_type, &self.user, &self.error_code];
        let times = [self.since, self.until];
        texts.iter().all(|text| text.is_none()) && times.iter().all(Option::is_none)
    }

    /// The filter, with this status.
    pub fn with_status(self, status: Option<Status>) -> EventFilter {
        // Only failed events have a code, and there is an index for them.
        let status = status.or(self.error_code.as_ref().map(|_| Status::Failed));
        let Self {
            event_type,
            user: clerk_id,
            error_code,
            since,
            until,
        } = self;
        EventFilter {
            status,
            event_type,
            clerk_id,
            error_code,
            ids: None,
            since,
            until,
        }
    }
}
