//! The Child SA that IKE_AUTH makes on the way (RFC 7296 §1.2).

use wire::v2::Payload;

use crate::Role;
use crate::authentication::v2::Transcript;
use crate::child::{ChildSa, Installation};
use crate::context::Context;
use crate::error::Error;
use crate::negotiation::Groups;
use crate::v2::channel::Channel;
use crate::v2::child::{self, ChildAnswer, ChildOffer, Keying};
use crate::v2::contents::Contents;
use crate::v2::ike_sa::IkeSa;

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
    let installed = offer.accept(response, sa.channel.ends()).and_then(|agreed| {
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
    let answer = ChildAnswer::choose(cx, &sa.connection, &sa.peer, sa.channel.ends(), request, Groups::Omit)?;
    let mut payloads = vec![answer.security_association()];
    payloads.extend(answer.selectors_and_terms());
    let keying = keying(&sa.channel, transcript, Role::Responder);
    let ChildAnswer { config, agreed, .. } = answer;
    let child = child::install(cx, &sa.peer, &config, agreed, &keying, sa.carriage(), Installation::New)?;
    Ok((Some(child), payloads))
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
