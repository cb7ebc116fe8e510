//! The numbers that IANA gives out for IKE, as open newtypes.
//!
//! A value without a name here is not an error: it survives a decode and an encode, and prints as
//! `unknown (40961)`. The names are those of IANA's registries "Internet Key Exchange Version 2
//! (IKEv2) Parameters" and, where the ISAKMP header shares a field with IKEv1, "Internet Key
//! Exchange (IKE) Attributes".

mod authentication;
mod message;
mod notify;
mod selector;
mod transform;
pub mod v1;

pub use authentication::{AuthMethod, CertificateEncoding, HashAlgorithm, IdType};
pub use message::{ExchangeType, PayloadType, ProtocolId};
pub use notify::NotifyType;
pub use selector::{ConfigurationAttributeType, ConfigurationType, TrafficSelectorType};
pub use transform::{
    EncryptionId, EsnId, IntegrityId, KeyExchangeId, PrfId, TransformAttributeType, TransformType,
};

/// Makes one open newtype: `CONSTANT = value, "IANA's name", "the document that gives it its meaning";`.
macro_rules! registry {
    (
        $(#[$doc:meta])*
        $name:ident($integer:ty) {
            $($constant:ident = $value:literal, $text:literal, $source:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(
            /// The number as it is on the wire.
            pub $integer,
        );

        impl $name {
            $(
                #[doc = concat!("`", $text, "` (", $source, ").")]
                pub const $constant: $name = $name($value);
            )*

            /// Every value that has a name here, in ascending order.
            pub const KNOWN: &'static [$name] = &[$($name::$constant),*];

            /// The registered name, if the value has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{} ({})", self.name().unwrap_or("unknown"), self.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}
use registry;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn known_and_unknown_values_print() {
        assert_eq!(NotifyType::NO_PROPOSAL_CHOSEN.to_string(), "NO_PROPOSAL_CHOSEN (14)");
        assert_eq!(NotifyType(40962).to_string(), "unknown (40962)");
        assert_eq!(alloc::format!("{:?}", EncryptionId(20)), "ENCR_AES_GCM_16 (20)");
    }

    #[test]
    fn known_values_ascend() {
        fn ascends<T: Ord>(values: &[T]) -> bool {
            values.is_sorted_by(|a, b| a < b)
        }
        assert!(ascends(PayloadType::KNOWN) && ascends(ExchangeType::KNOWN) && ascends(ProtocolId::KNOWN));
        assert!(ascends(NotifyType::KNOWN) && ascends(TransformType::KNOWN) && ascends(EncryptionId::KNOWN));
        assert!(ascends(PrfId::KNOWN) && ascends(IntegrityId::KNOWN) && ascends(KeyExchangeId::KNOWN));
        assert!(ascends(EsnId::KNOWN) && ascends(IdType::KNOWN) && ascends(AuthMethod::KNOWN));
        assert!(ascends(CertificateEncoding::KNOWN) && ascends(HashAlgorithm::KNOWN));
        assert!(ascends(TrafficSelectorType::KNOWN) && ascends(ConfigurationType::KNOWN));
        assert!(ascends(ConfigurationAttributeType::KNOWN));
    }
}
