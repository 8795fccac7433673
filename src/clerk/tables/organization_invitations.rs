//! The table `organization_invitations`: every column, and where it is in Clerk's object.
//!
//! An invitation that expires sends no event: the view `pending_organization_invitations` looks at
//! `expires_at`. None is deleted.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, and its Backend API of 2026-05-12.

use crate::clerk::list::{List, One, Paging};
use crate::clerk::table::{EventKind, NeverStored, Owner, Table, View, json, text, time};

/// Clerk's invitations to organizations.
#[rustfmt::skip]
pub static TABLE: Table = Table {
    name: "organization_invitations",
    singular: "invitation",
    plural: "invitations",
    id_prefix: "orginv",
    events: &[
        EventKind::profile("organizationInvitation.created"),
        EventKind::profile("organizationInvitation.accepted"),
        EventKind::profile("organizationInvitation.revoked"),
    ],
    columns: &[
        text("organization_id", "Clerk's ID of the organization.").id_of("organizations").indexed().filtered().compared(),
        text("email_address", "Who is invited.").indexed().folded().filtered().personal().compared(),
        text("role", "Role that the invited person gets, as org:member.").compared(),
        text("role_name", "Name of the role, for people."),
        text("inviter_id", "Clerk's ID of the user who invited.").id_of("users"),
        text("user_id", "Clerk's ID of the user who accepted.").id_of("users"),
        // Not compared: the list says `expired` of a pending one whose time is over.
        text("status", "pending, accepted or revoked, as of the newest event; expired only if Clerk's list said so.").one_of(&["pending", "accepted", "revoked", "expired"]).filtered(),
        time("expires_at", "When it expires.").expiry(),
        json("public_metadata", "Metadata that the front end can read.").personal(),
        json("private_metadata", "Metadata for back ends alone.").personal(),
        time("created_at", "When the invitation was created."),
    ],
    fields: &[
        "private_metadata", "public_metadata", "email_address", "role", "role_name", "organization_id",
        "inviter_id", "public_inviter_data", "public_organization_data", "status", "user_id", "url",
        "expires_at", "created_at", "updated_at", "object", "id",
    ],
    synonyms: &[],
    never_stored: &[
        // It holds the token that accepts the invitation.
        NeverStored { field: "url", except: None },
        // Copies of what is in `users` and in `organizations`.
        NeverStored { field: "public_inviter_data", except: None },
        NeverStored { field: "public_organization_data", except: None },
    ],
    erased_with: &[Owner::Id("user_id"), Owner::Address("email_address")],
    sample: include_str!("organization_invitations.json"),
    views: &[View {
        name: "pending_organization_invitations",
        shows: "Invitations that can still be accepted: pending, and not expired.",
    }],
    list: List {
        path: "organization_invitations",
        parameters: &[],
        paging: Paging::Offset,
        one: One::Object("organizations/{organization_id}/invitations/{clerk_id}"),
        // Those of a verified domain are not on it.
        is_whole: false,
    },
};
