//! Errors of a database.

/// An error of a database, named for what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Retry: the database is away, busy or full.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Isolate: something in the write can never be stored.
    #[error("the database refuses the write: {text}")]
    Rejected {
        /// `events.error_code`, such as `sqlstate_22P05`.
        code: String,
        /// What the database reports.
        text: String,
    },
    /// Stop, operator action required: the schema, a grant, a password, a certificate. A remedy in
    /// the text follows a `; `.
    #[error("the database cannot be used: {0}")]
    Incompatible(String),
}

/// How every error of a schema that is not this program's starts.
pub const NO_SCHEMA: &str = "its schema is missing or old: run `clerk-sync migrate`";

impl StoreError {
    /// The text of the fault without SQLSTATE and object, so that all statements that fail for one
    /// reason have the same text.
    pub fn fault(&self) -> String {
        match self {
            Self::Incompatible(text) if text.starts_with(NO_SCHEMA) => NO_SCHEMA.into(),
            _ => self.to_string(),
        }
    }

    /// The kind of the error, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Rejected { .. } => "rejected",
            Self::Incompatible(_) => "incompatible",
        }
    }
}
