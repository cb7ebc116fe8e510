//! Answers that are streamed, message by message: as far as they can be long, a page at a time.
//!
//! A hundred thousand SAs are no more at once than a page of them: what a client has not read yet is not made yet.

use std::vec;

use ike::{ChildSaId, ChildSaStatus, IkeSaId, IkeSaStatus};
use vici::Tree;
use wire::isakmp::IkeSpi;

use super::arguments::{flag, number};
use super::sas::{self, Keys};
use crate::daemon::handle::Engine;
use crate::daemon::limits::SAS_OF_A_PAGE;

/// The messages of a streamed answer.
#[derive(Debug)]
pub(crate) enum Messages {
    /// All of them.
    Ready(vec::IntoIter<Tree>),
    /// A message for each IKE SA.
    Sas(SaList),
}

impl Messages {
    /// Gives the next one.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn next(&mut self) -> Result<Option<Tree>, String> {
        match self {
            Messages::Ready(messages) => Ok(messages.next()),
            Messages::Sas(list) => list.next().await,
        }
    }
}

/// A list of SAs that is on its way to a client.
#[derive(Debug)]
pub(crate) struct SaList {
    engine: Engine,
    wanted: Wanted,
    keys: Keys,
    /// The IKE SAs that are still to be described.
    spis: vec::IntoIter<IkeSpi>,
    page: vec::IntoIter<Tree>,
}

/// Which SAs a client wants to see.
#[derive(Debug)]
struct Wanted {
    ike: Option<String>,
    ike_id: Option<IkeSaId>,
    child: Option<String>,
    child_id: Option<ChildSaId>,
}

impl SaList {
    /// Begins to answer `list-sas`.
    ///
    /// # Errors
    /// An argument is no number, or the daemon is shutting down.
    pub(crate) async fn begin(engine: &Engine, arguments: &Tree) -> Result<SaList, String> {
        let wanted = Wanted {
            ike: arguments.text("ike").map(str::to_owned),
            ike_id: number(arguments, "ike-id")?.map(IkeSaId),
            child: arguments.text("child").map(str::to_owned),
            child_id: number(arguments, "child-id")?.map(ChildSaId),
        };
        // Nothing here ever waits for an IKE SA.
        flag(arguments, "noblock")?;
        let keys = Keys::of(arguments)?;
        let spis = engine.ike_spis().await?.into_iter();
        Ok(SaList { engine: engine.clone(), wanted, keys, spis, page: Vec::new().into_iter() })
    }

    async fn next(&mut self) -> Result<Option<Tree>, String> {
        loop {
            if let Some(message) = self.page.next() {
                return Ok(Some(message));
            }
            let spis: Vec<_> = self.spis.by_ref().take(SAS_OF_A_PAGE).collect();
            if spis.is_empty() {
                return Ok(None);
            }
            let page = self.engine.describe_sas(spis).await?;
            let messages = page.ike_sas.iter().filter(|ike| self.wanted.includes(ike)).map(|ike| {
                let children = ike.children.iter().filter(|child| self.wanted.includes_child(child));
                sas::list_sa(page.now, ike, children, &page.sas, self.keys)
            });
            self.page = messages.collect::<Vec<_>>().into_iter();
        }
    }
}

impl Wanted {
    fn includes(&self, ike: &IkeSaStatus) -> bool {
        // As in charon, one without a Child SA that is wanted is listed without any.
        self.ike.as_ref().is_none_or(|name| ike.connection == *name)
            && self.ike_id.is_none_or(|id| ike.id == id)
    }

    fn includes_child(&self, child: &ChildSaStatus) -> bool {
        self.child.as_ref().is_none_or(|name| child.name == *name)
            && self.child_id.is_none_or(|id| child.id == id)
    }
}
