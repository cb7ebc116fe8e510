//! The data plane on a real kernel: two gateways in network namespaces of their own, joined by a veth pair.
//!
//! The tests are in a module named `root_`: they need root (or a user namespace's), `ip` and `ping`. A runner that has no
//! such rights leaves them out by that name; they fail without, they do not skip. Names of namespaces begin with `kwdp`.

mod laboratory;

mod root_ {
    mod blocks;
    mod devices;
    mod path_mtu;
    mod tunnels;
}
