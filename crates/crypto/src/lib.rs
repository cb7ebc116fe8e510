//! Ciphers, MACs, PRFs and key exchanges behind small traits; the only crate that names a cryptographic library.

