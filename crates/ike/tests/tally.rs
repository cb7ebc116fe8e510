//! Messages are counted at both ends, for everything together and for the connection that they belong to.

use ike::{Command, Counted, Counts, MessageKind, Part, TallyScope, TraceDirection};
use testkit::{Pair, Scenario, Side};

fn count(counts: &Counts, counted: Counted) -> u64 {
    counts.get(&counted).copied().unwrap_or_default()
}

fn messages(counts: &Counts, kind: MessageKind, direction: TraceDirection) -> [u64; 2] {
    [Part::Request, Part::Response].map(|part| count(counts, Counted::Message(kind, direction, part)))
}

#[test]
fn what_one_end_sends_the_other_counts_as_received() {
    let mut pair = Pair::new(Scenario::site_to_site(1));
    pair.connect();
    pair.rekey_child(Side::Left, "net");
    pair.settle();
    pair.rekey_ike(Side::Right);
    pair.settle();
    let [left, right] = Side::BOTH.map(|side| pair.endpoint(side).tally().clone());
    for kind in
        [MessageKind::IkeSaInit, MessageKind::IkeAuth, MessageKind::CreateChildSa, MessageKind::Informational]
    {
        for (one, other) in [(&left, &right), (&right, &left)] {
            let sent = messages(one.total(), kind, TraceDirection::Sent);
            assert_eq!(sent, messages(other.total(), kind, TraceDirection::Received), "{kind:?}");
        }
    }
    // IKE_SA_INIT, IKE_AUTH: HDR, ... -->
    let (init, auth) = (MessageKind::IkeSaInit, MessageKind::IkeAuth);
    assert_eq!(messages(left.total(), init, TraceDirection::Sent), [1, 0]);
    assert_eq!(messages(left.total(), auth, TraceDirection::Received), [0, 1]);
    // CREATE_CHILD_SA for the child from the left, for the IKE SA from the right.
    assert_eq!(messages(left.total(), MessageKind::CreateChildSa, TraceDirection::Sent), [1, 1]);
    for (tally, ike_rekeyed) in [(&left, Counted::IkeRekeyedByPeer), (&right, Counted::IkeRekeyedByUs)] {
        assert_eq!(count(tally.total(), Counted::ChildRekeyed), 1);
        assert_eq!(count(tally.total(), ike_rekeyed), 1);
        assert_eq!(count(tally.total(), Counted::Invalid), 0);
    }
    // Whose an IKE_SA_INIT is, the responder does not know yet; all else is the connection's.
    let own = |tally: &ike::Tally| tally.connections().values().next().expect("one connection").clone();
    assert_eq!(own(&left), *left.total());
    assert_eq!(messages(&own(&right), init, TraceDirection::Received), [0, 0]);
    assert_eq!(messages(right.total(), init, TraceDirection::Received), [1, 0]);
    assert_eq!(messages(&own(&right), auth, TraceDirection::Received), [1, 0]);
}

#[test]
fn counting_begins_anew_where_it_is_told_to() {
    let mut pair = Pair::new(Scenario::site_to_site(2));
    pair.connect();
    pair.settle();
    let mut tally = pair.endpoint(Side::Left).tally().clone();
    let name = tally.connections().keys().next().expect("one connection").clone();
    assert!(tally.reset(&TallyScope::Connection("nobody".to_owned())).is_err());
    tally.reset(&TallyScope::Connection(name)).expect("it has counts");
    assert!(tally.connections().is_empty() && !tally.total().is_empty());
    tally.reset(&TallyScope::Total).expect("it is always there");
    assert!(tally.total().is_empty());
}

#[test]
fn an_ike_sa_that_outlives_its_connection_is_counted_in_the_total_only() {
    let mut pair = Pair::new(Scenario::site_to_site(3));
    pair.connect();
    pair.settle();
    let connection = pair.scenario().left.connection.clone();
    pair.command(Side::Left, Command::Unload(connection.name.clone()));
    let sent = |pair: &Pair| {
        let tally = pair.endpoint(Side::Left).tally();
        messages(tally.total(), MessageKind::CreateChildSa, TraceDirection::Sent)[0]
    };
    let before = sent(&pair);
    let ticket = pair.rekey_child(Side::Left, "net").expect("it outlives its connection");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle();
    assert_eq!(sent(&pair), before + 1);
    assert!(pair.endpoint(Side::Left).tally().connections().is_empty());
    // Loaded again, it counts from nothing.
    pair.command(Side::Left, Command::Load(connection.clone().into()));
    let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    let own = &pair.endpoint(Side::Left).tally().connections()[&connection.name];
    assert_eq!(messages(own, MessageKind::CreateChildSa, TraceDirection::Sent), [1, 0]);
}
