//! What we make of OpenSSL's certificates and keys, and OpenSSL of ours.

mod authority;
mod chain;
mod corpus;
mod identities;
mod issuing;
mod keys;
mod openssl;
mod paths;
mod revocation;
