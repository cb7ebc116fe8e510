//! AH around the ESP of a Child SA: a bundle, which only IKEv1 agrees on.

use std::sync::Arc;

use crypto::Secret;
use sa::{ChildSuite, Handling, Lifetime, Mode, SaId, SaSpec, Spi};

use super::{DirectionKeys, as_carried};
use crate::ChildConfig;

/// AH around ESP (RFC 4301 §4.1), with keys and SPIs of its own.
#[derive(Clone, Debug)]
pub(crate) struct Wrapper {
    pub suite: ChildSuite,
    pub our_spi: Spi,
    pub peer_spi: Spi,
    pub keys: DirectionKeys,
}

/// The SAs of AH around a Child SA's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrapperIds {
    pub inbound: SaId,
    pub outbound: SaId,
}

/// The SAs of AH around two others.
pub(super) struct WrapperSpecs {
    pub(super) inbound: SaSpec,
    pub(super) outbound: SaSpec,
}

/// Puts AH around two SAs: under the same IP header, in transport mode therefore. What is done to packets before they
/// are sealed is done before that.
pub(super) fn wrap(
    wrapper: &Wrapper,
    config: &ChildConfig,
    inbound: &mut SaSpec,
    outbound: &mut SaSpec,
) -> WrapperSpecs {
    let suite = as_carried(wrapper.suite, config.truncation);
    let around = |inner: &SaSpec, spi, key: &Arc<Secret<Vec<u8>>>| SaSpec {
        protocol: suite.protocol,
        spi,
        mode: Mode::Transport,
        protection: suite.protection,
        key: Arc::clone(key),
        esn: suite.esn,
        lifetime: Lifetime::UNLIMITED,
        handling: Handling { mark: config.handling.mark, ..Handling::default() },
        ..inner.clone()
    };
    let specs = WrapperSpecs {
        inbound: around(inbound, wrapper.our_spi, &wrapper.keys.inbound),
        outbound: around(outbound, wrapper.peer_spi, &wrapper.keys.outbound),
    };
    inbound.handling.wrapped_by = Some(specs.inbound.id());
    outbound.handling.wrapped_by = Some(specs.outbound.id());
    specs
}
