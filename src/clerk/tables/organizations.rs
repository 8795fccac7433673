//! The table `organizations`: every column, and where it is in Clerk's object.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, and its Backend API of 2026-05-12. An organization
//! that is nested in a membership lacks fields, so it fills no row.

use crate::clerk::list::{List, One, Paging};
use crate::clerk::table::{EventKind, Table, View, boolean, integer, json, text, time};

/// Clerk's organizations.
#[rustfmt::skip]
pub static TABLE: Table = Table {
    name: "organizations",
    singular: "organization",
    plural: "organizations",
    id_prefix: "org",
    events: &[
        EventKind::profile("organization.created"),
        EventKind::profile("organization.updated"),
        EventKind::delete("organization.deleted"),
    ],
    columns: &[
        text("name", "Name.").indexed().folded().searched().compared(),
        text("slug", "Short name in URLs; null unless slugs are turned on at Clerk. Not unique over time.").indexed().filtered().searched().compared(),
        text("image_url", "Picture."),
        integer("members_count", "How many members there were at the event: a snapshot. Count the rows of active_organization_memberships for today's number."),
        integer("pending_invitations_count", "How many invitations were pending at the event: a snapshot."),
        integer("max_allowed_memberships", "Most members; 0 for no limit.").compared(),
        boolean("admin_delete_enabled", "Whether an admin of the organization may delete it.").compared(),
        text("created_by", "Clerk's ID of the user who created it.").id_of("users"),
        text("role_set_key", "The set of roles that its members can have."),
        json("public_metadata", "Metadata that the front end can read."),
        json("private_metadata", "Metadata for back ends alone."),
        time("last_active_at", "Last activity, as of the newest event."),
        time("created_at", "When the organization was created at Clerk."),
    ],
    fields: &[
        "private_metadata", "public_metadata", "name", "slug", "image_url", "logo_url", "has_image",
        "members_count", "pending_invitations_count", "max_allowed_memberships", "admin_delete_enabled",
        "created_by", "role_set_key", "missing_member_with_elevated_permissions", "last_active_at",
        "created_at", "updated_at", "object", "id",
    ],
    synonyms: &[],
    never_stored: &[],
    erased_with: &[],
    sample: include_str!("organizations.json"),
    views: &[View {
        name: "active_organizations",
        shows: "Organizations that are not deleted.",
    }],
    list: List {
        path: "organizations",
        // Without it `members_count` is missing.
        parameters: &[("include_members_count", "true")],
        paging: Paging::Offset,
        one: One::Object("organizations/{clerk_id}"),
        is_whole: true,
    },
};
