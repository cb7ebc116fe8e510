//! The table of keys: every name, default and reason, here and nowhere else.
//!
//! Names and meanings are those of strongSwan's swanctl.conf(5). Where a default differs from the one there, its reason
//! says so. Keys of swanctl.conf that Keyway does not honour are in the table too, with what becomes of them: none is
//! swallowed.

pub(crate) mod authentication;
pub(crate) mod child;
pub(crate) mod connection;
pub(crate) mod credentials;

use crate::schema::{Name, Status, section};

section! {
    ROOT = "", Status::Honoured, "The whole configuration.";
    keys {}
    others []
    sections [
        (Name::Exactly("connections"), CONNECTIONS),
        (Name::Exactly("secrets"), credentials::SECRETS),
        (Name::Exactly("pools"), credentials::POOLS),
        (Name::Exactly("authorities"), credentials::AUTHORITIES),
    ]
}

section! {
    CONNECTIONS = "connections", Status::Honoured, "The peers, one section each.";
    keys {}
    others []
    sections [(Name::Any, connection::CONNECTION),]
}
