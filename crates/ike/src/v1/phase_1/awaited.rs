//! An answer from outside that phase 1 cannot go on without: our signature, or whose a key of the peer's is.

use std::time::Instant;

use wire::isakmp::IkeSpi;

use crate::context::{Context, Question};
use crate::io::{Query, QueryId};
use crate::limits;

/// An answer that is awaited.
#[derive(Debug)]
pub(crate) struct Awaited {
    query: QueryId,
    /// For how long.
    pub(crate) until: Instant,
}

impl Awaited {
    /// Asks in the name of the ISAKMP SA with this SPI of ours.
    pub(crate) fn begin(cx: &mut Context, our_spi: IkeSpi, query: Query) -> Awaited {
        let query = cx.ask(query);
        cx.questions.insert(query, Question::Credentials(our_spi));
        Awaited { query, until: cx.now + limits::OUTSIDE_WAIT }
    }

    /// Tells whether an answer is to this question.
    pub(crate) fn is(&self, query: QueryId) -> bool {
        self.query == query
    }

    /// Stops waiting if it took too long; tells whether it did.
    pub(crate) fn is_over(&self, cx: &mut Context) -> bool {
        let is_over = cx.now >= self.until;
        if is_over {
            cx.questions.remove(&self.query);
        }
        is_over
    }
}
