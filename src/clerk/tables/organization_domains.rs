//! The table `organization_domains`: every column, and where it is in Clerk's object.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, and its Backend API of 2026-05-12.

use crate::clerk::list::{List, One, Paging};
use crate::clerk::table::{EventKind, NeverStored, Table, integer, json, text, time};

/// Clerk's domains of organizations.
#[rustfmt::skip]
pub static TABLE: Table = Table {
    name: "organization_domains",
    singular: "domain",
    plural: "domains",
    id_prefix: "orgdmn",
    events: &[
        EventKind::profile("organizationDomain.created"),
        EventKind::profile("organizationDomain.updated"),
        EventKind::delete("organizationDomain.deleted"),
    ],
    columns: &[
        text("organization_id", "Clerk's ID of the organization.").id_of("organizations").indexed().filtered().compared(),
        text("name", "The domain, as example.com.").indexed().folded().filtered().searched().compared(),
        text("enrollment_mode", "How people with an address of the domain join: manual_invitation, automatic_invitation, automatic_suggestion or enterprise_sso.").compared(),
        text("affiliation_email_address", "Address of the domain that proved the affiliation."),
        json("affiliation_verification", "How far the affiliation is proved."),
        json("ownership_verification", "How far the ownership of the domain is proved; null until it is tried."),
        json("verification", "The same as affiliation_verification, under its older name."),
        integer("total_pending_invitations", "How many invitations by the domain were pending at the event: a snapshot."),
        integer("total_pending_suggestions", "How many suggestions by the domain were pending at the event: a snapshot."),
        time("created_at", "When the domain was added to the organization."),
    ],
    fields: &[
        "organization_id", "name", "enrollment_mode", "affiliation_email_address", "affiliation_verification",
        "ownership_verification", "verification", "total_pending_invitations", "total_pending_suggestions",
        "public_organization_data", "created_at", "updated_at", "object", "id",
    ],
    synonyms: &[],
    // A copy of what is in `organizations`.
    never_stored: &[NeverStored { field: "public_organization_data", except: None }],
    erased_with: &[],
    sample: r#"{
  "organizationDomain.created": "$organization_domain",
  "organizationDomain.updated": {
    "$like": "$organization_domain",
    "affiliation_email_address": "postmaster@${organization_slug}.example",
    "affiliation_verification": "$verification_of_domain",
    "ownership_verification": "$verification_of_domain",
    "total_pending_suggestions": "$members_count",
    "verification": "$verification_of_domain"
  },
  "organizationDomain.deleted": { "deleted": true, "id": "$id", "object": "organization_domain" },
  "organization_domain": {
    "affiliation_email_address": null,
    "affiliation_verification": null,
    "created_at": "$created_at",
    "enrollment_mode": "manual_invitation",
    "id": "$id",
    "name": "${organization_slug}.example",
    "object": "organization_domain",
    "organization_id": "$organization_id",
    "ownership_verification": null,
    "public_organization_data": {
      "has_image": false,
      "id": "$organization_id",
      "image_url": "$organization_image_url",
      "name": "$organization_name",
      "slug": "$organization_slug"
    },
    "total_pending_invitations": 0,
    "total_pending_suggestions": 0,
    "updated_at": "$at",
    "verification": null
  },
  "verification_of_domain": { "attempts": 1, "expire_at": "$at+480000", "status": "verified", "strategy": "affiliation_email_code", "verified_at": "$at" }
}"#,
    views: &[],
    list: List {
        path: "organization_domains",
        parameters: &[],
        paging: Paging::Offset,
        one: One::Listed("organization_domains", &[("organization_id", "{organization_id}")]),
        is_whole: true,
    },
};
