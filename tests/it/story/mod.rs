//! What a user does and sees, with the real program.
