// Made-up people and their events, the same in every run.

const NAMES = [
  ["Ada", "Okafor"], ["Bela", "Novak"], ["Chidi", "Lindqvist"], ["Dana", "Moreau"], ["Emre", "Castillo"], ["Freya", "Ishikawa"],
  ["Goran", "Mbeki"], ["Hana", "Schuster"], ["Iris", "Popescu"], ["Jonas", "Adeyemi"], ["Kaya", "Bernard"], ["Lior", "Fontaine"],
  ["Mina", "Kowalski"], ["Noor", "Andersen"], ["Otto", "Haddad"], ["Pia", "Tanaka"], ["Quinn", "Almeida"], ["Rosa", "Virtanen"],
  ["Sami", "Dubois"], ["Tove", "Okonkwo"], ["Uma", "Petrov"], ["Vito", "Larsen"], ["Wren", "Santos"], ["Yara", "Keller"],
];

export const people = NAMES.map(([first, last], n) => ({
  // As long as Clerk's: 27 letters and digits after the prefix.
  id: `user_3A${String(n).padStart(2, "0")}bQx7LmW2kTzR4vNc8YpJd5sH`,
  first,
  last,
  email: `${first}.${last}@example.com`.toLowerCase(),
  phone: `+1415555${String(100 + n).padStart(4, "0")}`,
}));

// A user event as Clerk sends it, as of `at_ms`.
export function event(type, person, at_ms, more = {}) {
  const data =
    type === "user.deleted"
      ? { deleted: true, id: person.id, object: "user" }
      : {
          id: person.id,
          object: "user",
          first_name: person.first,
          last_name: person.last,
          username: null,
          primary_email_address_id: "idn_1",
          email_addresses: [{ id: "idn_1", object: "email_address", email_address: person.email, verification: { status: "verified" } }],
          primary_phone_number_id: "idn_2",
          phone_numbers: [{ id: "idn_2", object: "phone_number", phone_number: person.phone, verification: { status: "unverified" } }],
          image_url: "https://img.clerk.com/made-up",
          has_image: false,
          external_id: null,
          public_metadata: { plan: "pro" },
          private_metadata: {},
          unsafe_metadata: {},
          banned: false,
          locked: false,
          two_factor_enabled: false,
          password_enabled: true,
          created_at: at_ms - 86_400_000,
          updated_at: at_ms,
          last_sign_in_at: at_ms - 60_000,
          ...more,
        };
  return { data, object: "event", type, timestamp: at_ms };
}

// Two organizations, their members and invitations, as of `at_ms`: bodies of events in their order, each with a number of its own.
export const FERN = "org_3B00bQx7LmW2kTzR4vNc8YpJd5sH";
const TERN = "org_3B01bQx7LmW2kTzR4vNc8YpJd5sH";
export const ADA_IN_FERN = "orgmem_3B00bQx7LmW2kTzR4vNc8YpJd5sH";
export const INVITATION = "orginv_3B00bQx7LmW2kTzR4vNc8YpJd5sH";

export function organizationEvents(at_ms) {
  const times = { created_at: at_ms - 86_400_000, updated_at: at_ms };
  const metadata = { public_metadata: { plan: "team" }, private_metadata: {} };
  const organization = (id, name, slug) => ({
    id, object: "organization", name, slug, image_url: "https://img.clerk.com/made-up", created_by: people[0].id, members_count: 2,
    max_allowed_memberships: 5, admin_delete_enabled: true, ...metadata, ...times,
  });
  const membership = (id, organization, person, role) => ({
    id, object: "organization_membership", organization: { id: organization }, public_user_data: { user_id: person.id }, role,
    role_name: role, permissions: ["org:sys_profile:manage", "org:sys_memberships:read"], ...metadata, ...times,
  });
  const invitation = (id, address, status, expires_at) => ({
    id, object: "organization_invitation", organization_id: FERN, email_address: address, role: "org:member", role_name: "Member",
    inviter_id: people[0].id, status, expires_at, url: "https://accounts.example.com/made-up", ...metadata, ...times,
  });
  const left = membership("orgmem_3B02bQx7LmW2kTzR4vNc8YpJd5sH", FERN, people[2], "org:member");
  const bodies = [
    ["organization.created", organization(FERN, "Fern & Co", "fern-co")],
    ["organization.created", organization(TERN, "Tern", null)],
    ["organizationMembership.created", membership(ADA_IN_FERN, FERN, people[0], "org:admin")],
    ["organizationMembership.created", membership("orgmem_3B01bQx7LmW2kTzR4vNc8YpJd5sH", FERN, people[1], "org:member")],
    ["organizationMembership.created", left],
    ["organizationMembership.deleted", left],
    ["organizationMembership.created", membership("orgmem_3B03bQx7LmW2kTzR4vNc8YpJd5sH", TERN, people[0], "org:member")],
    ["organizationInvitation.created", invitation(INVITATION, "nora.lind@example.org", "pending", at_ms + 86_400_000)],
    ["organizationInvitation.created", invitation("orginv_3B01bQx7LmW2kTzR4vNc8YpJd5sH", "late@example.org", "pending", at_ms - 60_000)],
  ];
  return bodies.map(([type, data], n) => ({ data, object: "event", type, timestamp: at_ms + n }));
}

// The n-th ID of an event, as long as Svix's.
export const eventId = (n) => `msg_3A${String(n).padStart(4, "0")}kqLw8YtZb6RmXc2NvPh3J`;

// Numbers that look like chance and are the same in every run.
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
