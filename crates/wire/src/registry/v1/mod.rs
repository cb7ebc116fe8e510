//! The numbers of IKEv1 that IKEv2 does not share: IANA's registries "IPSEC key exchange (IKE) Attributes" and "Magic
//! Numbers for ISAKMP Protocol", with the private ones that deployed implementations agree on.

mod configuration;
mod ipsec;
mod notify;
mod phase1;

pub use configuration::{ConfigurationAttributeType, ConfigurationType};
pub use ipsec::{
    AhTransformId, AuthenticationAlgorithm, EncapsulationMode, EspTransformId, IpcompTransformId, LifeType,
    ProtocolId, SaAttributeType,
};
pub use notify::NotifyType;
pub use phase1::{AuthenticationMethod, EncryptionAlgorithm, HashAlgorithm, Phase1AttributeType};

use super::registry;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_ascend() {
        fn ascends<T: Ord>(values: &[T]) -> bool {
            values.is_sorted_by(|a, b| a < b)
        }
        assert!(ascends(ConfigurationAttributeType::KNOWN) && ascends(ConfigurationType::KNOWN));
        assert!(ascends(AhTransformId::KNOWN) && ascends(AuthenticationAlgorithm::KNOWN));
        assert!(ascends(EncapsulationMode::KNOWN) && ascends(EspTransformId::KNOWN));
        assert!(ascends(IpcompTransformId::KNOWN) && ascends(LifeType::KNOWN) && ascends(ProtocolId::KNOWN));
        assert!(ascends(SaAttributeType::KNOWN) && ascends(NotifyType::KNOWN));
        assert!(ascends(AuthenticationMethod::KNOWN) && ascends(EncryptionAlgorithm::KNOWN));
        assert!(ascends(HashAlgorithm::KNOWN) && ascends(Phase1AttributeType::KNOWN));
    }
}
