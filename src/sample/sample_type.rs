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

impl SampleType {
    /// Every type and Clerk's name for it, in the order of the variants.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::UserCreated, "user.created"),
        (Self::UserUpdated, "user.updated"),
        (Self::UserDeleted, "user.deleted"),
        (Self::SessionCreated, "session.created"),
        (Self::EmailCreated, "email.created"),
        (Self::OrganizationCreated, "organization.created"),
        (
            Self::OrganizationMembershipCreated,
            "organizationMembership.created",
        ),
    ];

    /// Clerk's name for the type.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The type of this name. Returns `None` if no sample has it.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find_map(|(kind, known)| (known == name).then_some(kind))
    }
}
