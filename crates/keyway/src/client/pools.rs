//! `keyway pools`: the pools of virtual addresses, and who has which.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::json;
use vici::{Client, ClientError, Tree};

use super::units::count;
use super::{Failure, connect};
use crate::cli::Pools;

/// Shows the pools and their leases.
///
/// # Errors
/// The daemon cannot be reached.
pub(crate) fn pools(arguments: &Pools) -> Result<(), Failure> {
    let pools = list(&mut connect(&arguments.daemon)?)?;
    if arguments.json {
        let object = json!(pools.iter().map(Pool::to_json).collect::<Vec<_>>());
        return Ok(writeln!(io::stdout(), "{object:#}")?);
    }
    let text = if pools.is_empty() {
        "No pool is loaded.\n".to_owned()
    } else {
        pools.iter().map(Pool::render_leases).collect()
    };
    Ok(write!(io::stdout(), "{text}")?)
}

/// Describes each pool in a line, for people who want to know of more than pools.
pub(super) fn in_short(client: &mut Client) -> Result<String, Failure> {
    Ok(list(client)?.iter().map(|pool| format!("{}\n", pool.headline())).collect())
}

/// A pool as the daemon tells it.
struct Pool {
    name: String,
    base: String,
    size: u64,
    online: u64,
    offline: u64,
    leases: Vec<Lease>,
}

struct Lease {
    address: String,
    identity: String,
    status: String,
}

/// Asks for the pools; a daemon that does not know the command has none.
fn list(client: &mut Client) -> Result<Vec<Pool>, Failure> {
    match client.request("get-pools", &Tree::new().with_value("leases", "yes")) {
        Ok(answer) => Ok(answer.sections().map(|(name, pool)| Pool::read(name, pool)).collect()),
        Err(ClientError::UnknownCommand(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

impl Pool {
    fn read(name: &str, pool: &Tree) -> Pool {
        let number = |key: &str| pool.text(key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let text = |tree: &Tree, key: &str| tree.text(key).unwrap_or_default().to_owned();
        let leases = pool.section("leases").into_iter().flat_map(Tree::sections).map(|(_, lease)| Lease {
            address: text(lease, "address"),
            identity: text(lease, "identity"),
            status: text(lease, "status"),
        });
        Pool {
            name: name.to_owned(),
            base: text(pool, "base"),
            size: number("size"),
            online: number("online"),
            offline: number("offline"),
            leases: leases.collect(),
        }
    }

    fn headline(&self) -> String {
        let Pool { name, base, size, online, offline, .. } = self;
        let addresses = match size {
            1 => "1 address".to_owned(),
            size => format!("{size} addresses"),
        };
        format!(
            "pool {name}, {addresses} from {base}: {}, {offline} kept for who comes back",
            count(*online, "client")
        )
    }

    fn render_leases(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        let width = self.leases.iter().map(|lease| lease.address.len()).max().unwrap_or(0);
        for Lease { address, identity, status } in &self.leases {
            writeln!(text, "  {address:width$}  {status:7}  {identity}")
                .expect("writing to a String does not fail");
        }
        text
    }

    fn to_json(&self) -> serde_json::Value {
        let leases = self.leases.iter().map(
            |lease| json!({ "address": lease.address, "identity": lease.identity, "status": lease.status }),
        );
        json!({
            "name": self.name, "base": self.base, "size": self.size, "online": self.online,
            "offline": self.offline, "leases": leases.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_shown_with_its_leases() {
        let lease = |address: &str, identity: &str, status: &str| {
            let lease = Tree::new().with_value("address", address);
            lease.with_value("identity", identity).with_value("status", status)
        };
        let leases = Tree::new()
            .with_section("0", lease("10.3.0.1", "a.example", "online"))
            .with_section("1", lease("10.3.0.200", "b.example", "offline"));
        let numbers = [("base", "10.3.0.0"), ("size", "254"), ("online", "1"), ("offline", "1")];
        let pool = numbers.into_iter().fold(Tree::new(), |tree, (key, value)| tree.with_value(key, value));
        let pool = Pool::read("crew", &pool.with_section("leases", leases));
        assert_eq!(
            pool.render_leases(),
            "pool crew, 254 addresses from 10.3.0.0: 1 client, 1 kept for who comes back\n  \
             10.3.0.1    online   a.example\n  10.3.0.200  offline  b.example\n"
        );
        assert_eq!(pool.to_json()["leases"][1]["identity"], "b.example");
    }
}
