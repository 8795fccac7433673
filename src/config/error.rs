//! What is wrong with a setting, and what would be right.

/// A setting that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {fault}; {remedy}")]
pub struct ConfigError {
    pub(super) name: String,
    fault: String,
    remedy: String,
}

impl ConfigError {
    /// Which variable is wrong, and how.
    pub fn what(&self) -> String {
        format!("{} {}", self.name, self.fault)
    }

    /// What would be right.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

pub(super) fn wrong(
    name: &str,
    fault: impl Into<String>,
    remedy: impl Into<String>,
) -> ConfigError {
    ConfigError {
        name: name.into(),
        fault: fault.into(),
        remedy: remedy.into(),
    }
}
