//! `redirect`: sends clients to another gateway (RFC 5685).

use ike::{Command, GatewayName, IdentityPattern, IkeSaId, IkeSaStatus, IkeState};
use sa::AddressRange;
use vici::Tree;

use super::arguments::number;
use super::control::{Begun, answer, patience};
use crate::daemon::handle::Engine;

/// Answers `redirect`, when every client that matches has taken note, or cannot.
pub(crate) async fn redirect(engine: &Engine, arguments: &Tree) -> Tree {
    answer(begin(engine, arguments).await, None, "redirected").await
}

async fn begin(engine: &Engine, arguments: &Tree) -> Begun {
    let gateway = arguments.text("gateway").ok_or("redirect needs the key `gateway`")?;
    let gateway: GatewayName =
        gateway.parse().map_err(|complaint| format!("gateway = {gateway} is {complaint}"))?;
    let wanted = Wanted::read(arguments)?;
    let patience = patience(arguments)?;
    let snapshot = engine.snapshot().await?;
    let mut outcomes = Vec::new();
    for ike in snapshot.ike_sas.iter().filter(|ike| wanted.matches(ike)) {
        let command = |ticket| Command::Redirect { ike: ike.id, gateway: gateway.clone(), ticket };
        outcomes.push(engine.begin(command).await?);
    }
    if outcomes.is_empty() {
        return Err("no IKE SA matches".to_owned());
    }
    Ok((patience, outcomes))
}

/// Whom it is about: who fits all that is said.
pub(super) struct Wanted {
    connection: Option<String>,
    id: Option<IkeSaId>,
    address: Option<AddressRange>,
    identity: Option<IdentityPattern>,
}

impl Wanted {
    pub(super) fn read(arguments: &Tree) -> Result<Wanted, String> {
        let address = arguments.text("peer-ip").map(|text| {
            text.parse().map_err(|_| format!("peer-ip = {text} is no address, network or range"))
        });
        let identity = arguments.text("peer-id").map(|text| {
            IdentityPattern::parse(text).map_err(|complaint| format!("peer-id = {text}: {complaint}"))
        });
        let wanted = Wanted {
            connection: arguments.text("ike").map(str::to_owned),
            id: number(arguments, "ike-id")?.map(IkeSaId),
            address: address.transpose()?,
            identity: identity.transpose()?,
        };
        match wanted {
            Wanted { connection: None, id: None, address: None, identity: None } => {
                Err("name whom it is about: ike, ike-id, peer-ip or peer-id".to_owned())
            }
            wanted => Ok(wanted),
        }
    }

    pub(super) fn matches(&self, ike: &IkeSaStatus) -> bool {
        let is_up = ike.state != IkeState::Rekeyed && ike.remote_identity.is_some();
        is_up
            && self.connection.as_ref().is_none_or(|name| *name == ike.connection)
            && self.id.is_none_or(|id| id == ike.id)
            && self.address.is_none_or(|range| range.contains(ike.path.remote.ip()))
            && (self.identity.as_ref())
                .is_none_or(|pattern| ike.remote_identity.as_ref().is_some_and(|peer| pattern.matches(peer)))
    }
}
