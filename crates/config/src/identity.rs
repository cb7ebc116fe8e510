//! Identities as values of keys. What they are is `sa`'s affair.

use sa::IdentityPattern;

use crate::schema::Shape;
use crate::value::Unreadable;

/// An identity, or whom it stands for.
pub(crate) const PATTERN: Shape<IdentityPattern> = Shape {
    words: "identity",
    read: |text| IdentityPattern::parse(text).map_err(|fault| Unreadable::new(fault.to_string(), "")),
};
