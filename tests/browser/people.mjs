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
