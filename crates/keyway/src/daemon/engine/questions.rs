//! What the IKE engine asks and only the world outside can tell: ways to peers, signatures, and whom to trust.
//!
//! Whatever may take long is answered from a task of its own, so that the loop goes on meanwhile.

use std::sync::Arc;
use std::time::Instant;

use ike::{Answer, Connection, DecryptRequest, GatewayName, QueryId, SignRequest, TrustRequest};

use super::EngineLoop;
use crate::daemon::proving::{Proven, Proving};
use crate::daemon::resolve;

impl EngineLoop {
    /// Looks for the way to a peer in a task of its own, for names may take long.
    pub(super) fn find_path(&self, id: QueryId, connection: Arc<Connection>) {
        let config = self.loaded.connections.get(&connection.name).map(|loaded| Arc::clone(&loaded.config));
        let own = self.outside.own;
        self.answer_later(id, async move {
            Answer::Path(match config {
                Some(config) => resolve::path_to_peer(&config, own).await,
                None => Err(format!("the connection {} is no longer loaded", connection.name)),
            })
        });
    }

    /// Finds the way to a gateway that a peer sent us to.
    pub(super) fn find_gateway(&self, id: QueryId, connection: Arc<Connection>, gateway: GatewayName) {
        let own = self.outside.own;
        self.answer_later(id, async move {
            let remotes = match &gateway {
                GatewayName::Address(address) => Ok(vec![*address]),
                GatewayName::Fqdn(name) => resolve::addresses_of(name).await,
            };
            let route =
                |remotes: Vec<_>| resolve::path(&connection.local_addresses, &remotes, own.ike_port, own);
            Answer::Path(remotes.and_then(route))
        });
    }

    /// Signs in our name; in a task of its own where a responder is asked about our certificate.
    pub(super) fn find_signature(&mut self, id: QueryId, request: SignRequest) {
        let proving = self.proving();
        match proving.sign(request) {
            Proven::Now(signed) => self.endpoint.handle_answer(Instant::now(), id, Answer::Signed(signed)),
            Proven::Later(later) => self.answer_later(id, async { Answer::Signed(later.await) }),
        }
    }

    /// Decrypts what is encrypted to us; in a task of its own where a token may have to do it.
    pub(super) fn decrypt(&mut self, id: QueryId, request: DecryptRequest) {
        match self.proving().decrypt(request) {
            Proven::Now(found) => self.endpoint.handle_answer(Instant::now(), id, Answer::Decrypted(found)),
            Proven::Later(later) => self.answer_later(id, async { Answer::Decrypted(later.await) }),
        }
    }

    /// Finds a peer's key; in a task of its own where something is fetched for that.
    pub(super) fn find_trust(&mut self, id: QueryId, request: TrustRequest) {
        match self.proving().trust(request) {
            Proven::Now(trusted) => self.endpoint.handle_answer(Instant::now(), id, Answer::Trusted(trusted)),
            Proven::Later(later) => self.answer_later(id, async { Answer::Trusted(later.await) }),
        }
    }

    fn proving(&self) -> Proving {
        let authorities = Arc::clone(&self.authorities);
        let revocation = Arc::clone(&self.outside.revocation);
        let look_up = self.outside.look_up;
        Proving { credentials: Arc::clone(&self.credentials), authorities, revocation, look_up }
    }

    fn answer_later(&self, id: QueryId, answer: impl Future<Output = Answer> + Send + 'static) {
        let answers = self.answers.clone();
        // The loop may have ended meanwhile; then nobody asks any more.
        tokio::spawn(async move { answers.send((id, answer.await)) });
    }
}
