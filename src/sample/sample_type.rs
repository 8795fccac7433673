//! The types of event that a sample can have.

/// A type of event that a sample can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleType {
    /// `user.created`
    UserCreated,
    /// `user.updated`
    UserUpdated,
    /// `user.deleted`
    UserDeleted,
    /// `session.created`
    SessionCreated,
    /// `email.created`
    EmailCreated,
    /// `organization.created`
    OrganizationCreated,
    /// `organizationMembership.created`
    OrganizationMembershipCreated,
}

const NAMES: [&str; 7] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.created",
    "email.created",
    "organization.created",
    "organizationMembership.created",
];

impl SampleType {
    /// Every type, in the order of the variants.
    pub const ALL: [Self; 7] = [
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserDeleted,
        Self::SessionCreated,
        Self::EmailCreated,
        Self::OrganizationCreated,
        Self::OrganizationMembershipCreated,
    ];

    /// Clerk's name for the type.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The type of this name. Returns `None` if no sample has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
