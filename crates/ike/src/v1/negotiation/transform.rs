//! The transforms of ESP and AH in a quick mode: a combination of ours laid out, and the peer's read and compared
//! (RFC 2407 §4.4 and §4.5).

use std::fmt;

use sa::transform::{Encryption, EncryptionKind, Group};
use sa::{
    AdditionalSuite, ChildSuite, Esn, Proposal, ProposalProtocol, Protection, Protocol, transform,
    transform_v1,
};
use wire::registry::KeyExchangeId;
use wire::registry::v1::{
    AhTransformId, AuthenticationAlgorithm, EncapsulationMode, EspTransformId, IpcompTransformId, ProtocolId,
    SaAttributeType,
};
use wire::v1::{Attribute, Transform};

use super::Lack;
use super::phase_2::Phase2Terms;
use crate::v1::expiry::{Expiry, Phase};

/// A combination of ours, and the groups that may go with it.
pub(super) struct Phase2Suite<'a> {
    pub(super) suite: ChildSuite,
    pub(super) groups: &'a [&'static Group],
}

impl Phase2Suite<'_> {
    /// Tells whether it can go with this group, or without any.
    pub(super) fn allows_group(&self, group: Option<&'static Group>) -> bool {
        match group {
            Some(group) => self.groups.contains(&group),
            None => self.groups.is_empty(),
        }
    }
}

/// Gives the combinations that a proposal stands for.
pub(super) fn suites_of(proposal: &Proposal) -> impl Iterator<Item = Phase2Suite<'_>> {
    let mut protections = Vec::new();
    let protocol = match proposal.protocol {
        ProposalProtocol::Ah => Protocol::Ah,
        ProposalProtocol::Esp | ProposalProtocol::Ike => Protocol::Esp,
    };
    if protocol == Protocol::Ah {
        protections.extend(proposal.integrity.iter().copied().map(Protection::Authenticated));
    } else {
        for encryption in &proposal.encryption {
            match encryption.kind {
                EncryptionKind::Aead(_) => protections.push(Protection::Combined(encryption)),
                EncryptionKind::Cipher(_) => {
                    let separate = |integrity| Protection::Separate { encryption, integrity };
                    protections.extend(proposal.integrity.iter().copied().map(separate));
                }
            }
        }
    }
    protections.retain(|_| proposal.serves_version_1());
    // Few peers know the attribute of RFC 4304, and some overlook it: only who wants nothing else asks for it.
    let esn = if proposal.esn.contains(&Esn::No) { Esn::No } else { Esn::Yes };
    protections.into_iter().map(move |protection| Phase2Suite {
        suite: ChildSuite {
            protocol,
            protection,
            key_exchange: None,
            additional: AdditionalSuite::default(),
            esn,
        },
        groups: &proposal.key_exchange,
    })
}

/// Lays out a combination; `None` is one that IKEv1 has no number for.
pub(super) fn transform_of(number: u8, suite: &ChildSuite, terms: Phase2Terms) -> Option<Transform> {
    let encryption = suite.protection.encryption();
    let id = match (encryption, suite.protection.integrity()) {
        (Some(encryption), _) => transform_v1::esp_cipher(encryption)?.0,
        (None, Some(integrity)) => transform_v1::mac(integrity)?.1.0,
        (None, None) => return None,
    };
    let mut attributes = common_attributes(terms);
    if let Some(integrity) = suite.protection.integrity() {
        let (mac, _) = transform_v1::mac(integrity)?;
        attributes.push(attribute(SaAttributeType::AUTHENTICATION_ALGORITHM, mac.0.into()));
    }
    let key_bits = encryption.and_then(|encryption| encryption.key_bits);
    attributes.extend(key_bits.map(|bits| attribute(SaAttributeType::KEY_LENGTH, bits.into())));
    attributes.extend(group_attribute(terms));
    if suite.esn == Esn::Yes {
        attributes.push(attribute(SaAttributeType::EXTENDED_SEQUENCE_NUMBER, 1));
    }
    Some(Transform { number, id, attributes })
}

/// Lays out the only compression that there is here.
pub(super) fn compression_transform(terms: Phase2Terms) -> Transform {
    let mut attributes = common_attributes(terms);
    attributes.extend(group_attribute(terms));
    Transform { number: 1, id: IpcompTransformId::DEFLATE.0, attributes }
}

fn common_attributes(terms: Phase2Terms) -> Vec<Attribute> {
    let mode = attribute(SaAttributeType::ENCAPSULATION_MODE, terms.mode.0.into());
    [mode].into_iter().chain(terms.expiry.attributes(Phase::Two)).collect()
}

fn group_attribute(terms: Phase2Terms) -> Option<Attribute> {
    terms.group.map(|group| attribute(SaAttributeType::GROUP_DESCRIPTION, group.id.0.into()))
}

fn attribute(attribute_type: SaAttributeType, number: u64) -> Attribute {
    Attribute::number(attribute_type.0, number)
}

/// What a transform of ESP, AH or IPComp says.
#[derive(Debug)]
pub(super) struct Phase2Transform {
    protocol: ProtocolId,
    id: u8,
    key_bits: Option<u16>,
    mac: Option<AuthenticationAlgorithm>,
    group: Option<KeyExchangeId>,
    pub(super) mode: Option<EncapsulationMode>,
    pub(super) expiry: Expiry,
    extended_sequence: bool,
    stranger: Option<u16>,
}

impl Phase2Transform {
    pub(super) fn read(protocol: ProtocolId, transform: &Transform) -> Phase2Transform {
        let mut terms = Phase2Transform {
            protocol,
            id: transform.id,
            key_bits: None,
            mac: None,
            group: None,
            mode: None,
            expiry: Expiry::read(Phase::Two, &transform.attributes),
            extended_sequence: false,
            stranger: None,
        };
        for attribute in &transform.attributes {
            let number = attribute.as_number();
            let short = number.and_then(|number| u16::try_from(number).ok());
            match SaAttributeType(attribute.attribute_type) {
                SaAttributeType::KEY_LENGTH => terms.key_bits = short,
                SaAttributeType::AUTHENTICATION_ALGORITHM => {
                    terms.mac = short.filter(|number| *number != 0).map(AuthenticationAlgorithm);
                }
                SaAttributeType::GROUP_DESCRIPTION => terms.group = short.map(KeyExchangeId),
                SaAttributeType::ENCAPSULATION_MODE => terms.mode = short.map(EncapsulationMode),
                SaAttributeType::EXTENDED_SEQUENCE_NUMBER => terms.extended_sequence = number == Some(1),
                SaAttributeType::LIFE_TYPE | SaAttributeType::LIFE_DURATION | SaAttributeType::ECN_TUNNEL => {
                }
                SaAttributeType(other) => terms.stranger = Some(other),
            }
        }
        terms
    }

    fn cipher(&self) -> Option<&'static Encryption> {
        match self.protocol {
            ProtocolId::ESP => transform_v1::find_esp_cipher(EspTransformId(self.id), self.key_bits),
            _ => None,
        }
    }

    /// Compares with a combination of ours that is to have one of these modes; gives the group of the key exchange that
    /// goes with it.
    pub(super) fn meets(
        &self,
        ours: &Phase2Suite<'_>,
        modes: &[EncapsulationMode],
    ) -> Result<Option<&'static Group>, Lack> {
        if let Some(stranger) = self.stranger {
            return Err(Lack::Attribute(stranger));
        }
        let protection = ours.suite.protection;
        let cipher = self.cipher();
        if cipher != protection.encryption() || (self.protocol == ProtocolId::ESP && cipher.is_none()) {
            return Err(Lack::Encryption);
        }
        let integrity = match self.mac {
            None => None,
            Some(mac) => Some(transform_v1::find_mac(mac).ok_or(Lack::Integrity)?),
        };
        let of_ah = integrity.and_then(transform_v1::mac).map(|(_, number)| number);
        if integrity != protection.integrity()
            || (self.protocol == ProtocolId::AH && of_ah != Some(AhTransformId(self.id)))
        {
            return Err(Lack::Integrity);
        }
        if self.extended_sequence != (ours.suite.esn == Esn::Yes) {
            return Err(Lack::SequenceNumbers);
        }
        let mode = self.mode.unwrap_or(EncapsulationMode::TUNNEL);
        match modes.first() {
            Some(wanted) if !modes.contains(&mode) => return Err(Lack::Mode { theirs: mode, ours: *wanted }),
            Some(_) | None => {}
        }
        self.meets_group(ours.groups)
    }

    fn meets_group(&self, ours: &[&'static Group]) -> Result<Option<&'static Group>, Lack> {
        match self.group {
            None if ours.is_empty() => Ok(None),
            None => Err(Lack::NoGroupTheirs),
            Some(_) if ours.is_empty() => Err(Lack::NoGroupOurs),
            Some(group) => {
                let same = ours.iter().find(|own| own.id == group);
                same.map(|group| Some(*group)).ok_or(Lack::Group)
            }
        }
    }

    /// Tells whether it is the compression that there is here; some leave the group out, which is no affair of IPComp's.
    pub(super) fn compresses(&self, group: Option<&'static Group>) -> Result<(), Lack> {
        if let Some(stranger) = self.stranger {
            return Err(Lack::Attribute(stranger));
        }
        if self.id != IpcompTransformId::DEFLATE.0 {
            return Err(Lack::CompressionAlgorithm);
        }
        match self.group {
            None => Ok(()),
            Some(_) => self.meets_group(group.as_slice()).map(|_| ()),
        }
    }
}

impl fmt::Display for Phase2Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, self.cipher()) {
            (ProtocolId::ESP, Some(row)) => write!(f, "{row}")?,
            (ProtocolId::ESP, None) => write!(f, "{}", EspTransformId(self.id))?,
            (ProtocolId::AH, _) => f.write_str("ah")?,
            (ProtocolId::IPCOMP, _) => return write!(f, "{}", IpcompTransformId(self.id)),
            (other, _) => return write!(f, "{other} transform {}", self.id),
        }
        match self.mac.map(|mac| (mac, transform_v1::find_mac(mac))) {
            Some((_, Some(row))) => write!(f, "-{row}")?,
            Some((mac, None)) => write!(f, "-{mac}")?,
            None => {}
        }
        match self.group.map(|group| (group, transform::group(group))) {
            Some((_, Some(row))) => write!(f, "-{row}")?,
            Some((group, None)) => write!(f, "-{group}")?,
            None => {}
        }
        if self.extended_sequence { f.write_str("-esn") } else { Ok(()) }
    }
}
