//! The Child SA that IKE_AUTH makes on the way (RFC 7296 §1.2), or none, where both ends know how (RFC 6023).

use wire::v2::Payload;

use crate::authentication::v2::{PeerAbilities, Transcript};
use crate::child::{Agreed, ChildSa, Heritage, Installation};
use crate::context::{Context, Initiation};
use crate::error::Error;
use crate::negotiation::Groups;
use crate::v2::channel::Channel;
use crate::v2::child::{self, ChildAnswer, ChildOffer, Keying};
use crate::v2::contents::Contents;
use crate::v2::ike_sa::IkeSa;
use crate::{Childless, Connection, Misbehaviour, Role};

/// Decides which child, if any, is to be made in IKE_AUTH; the others come afterwards.
///
/// # Errors
/// None is to be, and the peer needs one.
pub(super) fn choose(initiation: &mut Initiation, abilities: &PeerAbilities) -> Result<(), Error> {
    let is_without = match initiation.connection.childless {
        Childless::Force => true,
        Childless::Prefer => abilities.takes_childless,
        Childless::Allow | Childless::Never => false,
    };
    if is_without && let Some(child) = initiation.child.take() {
        let tickets = std::mem::take(&mut initiation.tickets);
        initiation.further.insert(0, (child, tickets));
    }
    if initiation.child.is_none() && !abilities.takes_childless {
        let sentence = "the peer takes no IKE SA that begins without a Child SA (RFC 6023)";
        return Err(Error::Unsuitable(sentence.to_owned()));
    }
    Ok(())
}

/// Checks that an initiator wants a Child SA of IKE_AUTH, or wants none, as the connection has it.
///
/// # Errors
/// It does not.
pub(super) fn check(connection: &Connection, request: &Contents) -> Result<(), Error> {
    match (connection.childless, request.optional_security_association()?) {
        // RFC 6023 §3: as one who does not know the extension.
        (Childless::Never, None) => request.security_association().map(|_| ()),
        (Childless::Force, Some(_)) => Err(Misbehaviour::Other(
            "it wants a Child SA in IKE_AUTH, and `childless = force` has them made afterwards",
        )
        .into()),
        (Childless::Allow | Childless::Prefer | Childless::Force, None)
        | (Childless::Allow | Childless::Prefer | Childless::Never, Some(_)) => Ok(()),
    }
}

/// Installs what the responder agreed to of our offer, if we made one.
pub(super) fn accept(
    cx: &mut Context,
    sa: &mut IkeSa,
    transcript: &Transcript,
    offer: Option<ChildOffer>,
    response: &Contents,
) -> Result<(), Error> {
    let Some(offer) = offer else { return Ok(()) };
    let keying = keying(&sa.channel, transcript, Role::Initiator);
    let installed = offer.accept(response, &sa.ends()).and_then(|agreed| {
        let agreed = with_heritage(agreed, &sa.channel, transcript);
        let carriage = sa.carriage();
        child::install(cx, &sa.peer, &offer.config, agreed, &keying, carriage, Installation::New)
    });
    match installed {
        Ok(child) => {
            sa.adopt(cx, child);
            Ok(())
        }
        Err(fault) => {
            if !matches!(fault, Error::Refused(_)) {
                // The peer installed what we do not accept.
                sa.delete_unwanted_child(cx, (offer.protocol(response), offer.our_spi()));
            }
            Err(fault)
        }
    }
}

/// Makes the Child SA that the request asks for, inbound first: it is in place before the response leaves.
pub(super) fn respond(
    cx: &mut Context,
    sa: &IkeSa,
    transcript: &Transcript,
    request: &Contents,
) -> Result<(Option<ChildSa>, Vec<Payload>), Error> {
    if request.optional_security_association()?.is_none() {
        return Ok((None, Vec::new()));
    }
    let answer = ChildAnswer::choose(cx, &sa.connection, &sa.peer, &sa.ends(), request, Groups::Omit)?;
    let mut payloads = vec![answer.security_association()];
    payloads.extend(answer.selectors_and_terms());
    let keying = keying(&sa.channel, transcript, Role::Responder);
    let ChildAnswer { config, agreed, .. } = answer;
    let agreed = with_heritage(agreed, &sa.channel, transcript);
    let child = child::install(cx, &sa.peer, &config, agreed, &keying, sa.carriage(), Installation::New)?;
    Ok((Some(child), payloads))
}

/// In an IKE SA that was had again, the first Child SA counts as one with the key exchanges of the IKE SA
/// (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt §7.2).
fn with_heritage(agreed: Agreed, channel: &Channel, transcript: &Transcript) -> Agreed {
    if transcript.resumed.is_none() {
        return agreed;
    }
    let key_exchange = Some(channel.suite.key_exchange);
    Agreed { heritage: Heritage::Whole { key_exchange, additional: channel.suite.additional }, ..agreed }
}

fn keying<'a>(channel: &'a Channel, transcript: &'a Transcript, role: Role) -> Keying<'a> {
    Keying {
        role,
        prf: channel.suite.prf.prf,
        sk_d: &channel.sk_d,
        shared: None,
        nonces: transcript.nonces(),
    }
}
