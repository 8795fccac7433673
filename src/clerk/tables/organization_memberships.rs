//! The table `organization_memberships`: every column, and where it is in Clerk's object.
//!
//! A row is one membership, not one pair of organization and user: who leaves and joins again gets a
//! new ID, and the late delete of the old one must not remove the new row.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, its Backend API of 2026-05-12, and bodies that
//! were received: a delete carries the whole object.

use crate::clerk::list::{List, One, Paging};
use crate::clerk::table::{EventKind, NeverStored, Owner, Table, View, json, text, texts, time};

/// Clerk's memberships of organizations.
#[rustfmt::skip]
pub static TABLE: Table = Table {
    name: "organization_memberships",
    singular: "membership",
    plural: "memberships",
    id_prefix: "orgmem",
    events: &[
        EventKind::profile("organizationMembership.created"),
        EventKind::profile("organizationMembership.updated"),
        EventKind::delete_with_profile("organizationMembership.deleted"),
    ],
    columns: &[
        text("organization_id", "Clerk's ID of the organization.").member_of("organization", "id").id_of("organizations").indexed().filtered().compared(),
        text("user_id", "Clerk's ID of the user.").member_of("public_user_data", "user_id").id_of("users").indexed().filtered().compared(),
        text("role", "Role of the user in the organization, as org:admin.").filtered().compared(),
        text("role_name", "Name of the role, for people."),
        texts("permissions", "What the role allows, as org:sys_profile:manage."),
        json("public_metadata", "Metadata that the front end can read.").personal(),
        json("private_metadata", "Metadata for back ends alone.").personal(),
        time("created_at", "When the user joined the organization."),
    ],
    fields: &[
        "private_metadata", "public_metadata", "role", "role_name", "permissions", "organization",
        "public_user_data", "created_at", "updated_at", "object", "id",
    ],
    synonyms: &[],
    // Copies of personal data, which is in `users`.
    never_stored: &[
        NeverStored { field: "public_user_data", except: Some("user_id") },
        NeverStored { field: "organization", except: Some("id") },
    ],
    erased_with: &[Owner::Id("user_id")],
    sample: include_str!("organization_memberships.json"),
    views: &[View {
        name: "active_organization_memberships",
        shows: "Who is a member now: neither the membership nor the organization nor the user is deleted, and of several memberships of one user in one organization it is the newest.",
    }],
    list: List {
        path: "organization_memberships",
        parameters: &[],
        paging: Paging::Offset,
        // A request by path is answered with a membership of this user, of whatever ID.
        one: One::Listed("organizations/{organization_id}/memberships", &[("user_id", "{user_id}")]),
        is_whole: true,
    },
};
