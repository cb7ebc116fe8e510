//! Who the peer is, and the only place that believes it: one file for each version's way to prove it.

pub(crate) mod v1;
pub(crate) mod v2;

use sa::{AddressRange, TrafficSelector};

use crate::error::Error;
use crate::{Identity, limits};

/// The proof that the peer is who it says. Only the `verify` of a version makes one, and without one no Child SA is installed.
#[derive(Clone, Debug)]
pub(crate) struct PeerAuthenticated {
    local: Identity,
    remote: Identity,
    /// Who uses our end, if a name and a password of ours were given besides (XAuth).
    own_user: Option<Identity>,
    /// Who uses the peer's.
    user: Option<Identity>,
    /// The addresses that the peer may speak for, if its certificate limits them (RFC 3779).
    addresses: Option<Vec<AddressRange>>,
}

impl PeerAuthenticated {
    /// Gives who we are to this peer: our user where there is one.
    pub(crate) fn local(&self) -> &Identity {
        self.own_user.as_ref().unwrap_or(&self.local)
    }

    /// Gives who the peer is: its user where there is one, for many may share a device's identity.
    pub(crate) fn remote(&self) -> &Identity {
        self.user.as_ref().unwrap_or(&self.remote)
    }

    /// Joins what it proved in a round to what it proved in those before (RFC 4739): it is who it said first, and speaks for
    /// what every certificate allows.
    pub(crate) fn after(self, before: Option<PeerAuthenticated>) -> PeerAuthenticated {
        let Some(before) = before else { return self };
        let addresses = match (before.addresses, self.addresses) {
            (Some(before), Some(after)) => {
                let common = |range: &AddressRange| {
                    let range = *range;
                    before.iter().filter_map(move |other| other.intersection(&range)).collect::<Vec<_>>()
                };
                Some(after.iter().flat_map(common).collect())
            }
            (before, after) => before.or(after),
        };
        PeerAuthenticated { local: before.local, remote: before.remote, addresses, ..self }
    }

    /// Gives by which identities the two ends proved themselves first: ours and the peer's.
    pub(crate) fn devices(&self) -> (&Identity, &Identity) {
        (&self.local, &self.remote)
    }

    /// Gives who uses the peer, if a name and a password were given besides (XAuth).
    pub(crate) fn user(&self) -> Option<&Identity> {
        self.user.as_ref()
    }

    /// Cuts off from the peer's traffic what its certificate does not let it speak for (RFC 3779).
    pub(crate) fn limit(&self, traffic: Vec<TrafficSelector>) -> Vec<TrafficSelector> {
        let Some(addresses) = &self.addresses else { return traffic };
        let within = |selector: &TrafficSelector| {
            let selector = *selector;
            let meeting = addresses.iter().filter_map(move |range| selector.addresses.intersection(range));
            meeting.map(move |addresses| TrafficSelector { addresses, ..selector })
        };
        traffic.iter().flat_map(within).take(limits::TRAFFIC_SELECTORS).collect()
    }

    /// Checks that all of the peer's traffic is what it may speak for.
    ///
    /// # Errors
    /// Some of it is not.
    pub(crate) fn check(&self, traffic: &[TrafficSelector]) -> Result<(), Error> {
        let Some(addresses) = &self.addresses else { return Ok(()) };
        let may_speak_for =
            |selector: &TrafficSelector| addresses.iter().any(|range| range.covers(&selector.addresses));
        match traffic.iter().find(|selector| !may_speak_for(selector)) {
            None => Ok(()),
            Some(selector) => Err(Error::OutsideCertificate {
                selector: selector.to_string(),
                remote: self.remote.to_string(),
                addresses: addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(text: &str) -> Vec<TrafficSelector> {
        text.split_whitespace().map(|word| word.parse().expect("the test's own text")).collect()
    }

    #[test]
    fn a_peer_speaks_for_the_addresses_of_its_certificate_only() {
        let ranges = ["10.2.0.0/16", "10.4.0.0/24"].map(|text| text.parse().expect("the test's own text"));
        let [local, remote] = ["a.example", "b.example"].map(|name| Identity::Fqdn(name.to_owned()));
        let peer =
            PeerAuthenticated { local, remote, own_user: None, user: None, addresses: Some(ranges.to_vec()) };
        let asked = selectors("10.2.3.0/24[tcp/443] 10.0.0.0/8 192.0.2.0/24 ::/0");
        let allowed = selectors("10.2.3.0/24[tcp/443] 10.2.0.0/16 10.4.0.0/24");
        assert_eq!(peer.limit(asked.clone()), allowed);
        assert_eq!(peer.check(&allowed), Ok(()));
        assert_eq!(
            peer.check(&asked).unwrap_err().to_string(),
            "b.example may not speak for 10.0.0.0/8: its certificate is for the addresses 10.2.0.0/16, 10.4.0.0/24"
        );
        let unlimited = PeerAuthenticated { addresses: None, ..peer };
        assert_eq!(unlimited.check(&asked), Ok(()));
        assert_eq!(unlimited.limit(asked.clone()), asked);
    }
}
