//! A row as Keyway has it: a section of `manual`, and what the daemon tells of it.

use std::path::PathBuf;
use std::time::Duration;

use interop::{End, Failure, Keyway, Lab, Result};
use sa::{Encapsulation, Esn, FlowPadding, Mode, Protocol};
use vici::{Client, Tree};

use crate::associations::{Association, CPI_IN, CPI_OUT, Direction, Ends};
use crate::rows::{Compression, Row};

/// The section's name.
const NAME: &str = "row";
/// What a loaded machine may need for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon, and a client that stays connected.
pub(crate) struct Ours {
    client: Client,
    configuration: PathBuf,
    _daemon: Keyway,
}

/// Packets of the innermost SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) inbound: u64,
    pub(crate) outbound: u64,
}

impl Ours {
    pub(crate) fn start(lab: &Lab) -> Result<Ours> {
        let daemon = Keyway::start_with(lab, End::A, "", &[])?;
        let client = Client::connect(daemon.socket())?;
        client.set_timeout(Some(PATIENCE))?;
        Ok(Ours { client, configuration: daemon.directory().join("swanctl.conf"), _daemon: daemon })
    }

    /// Puts a row in the place of the one before.
    pub(crate) fn install(&mut self, row: &Row, ends: &Ends, associations: &[Association]) -> Result<()> {
        let text = section(row, ends, associations);
        std::fs::write(&self.configuration, &text)?;
        let answer = self.client.request("reload-settings", &Tree::new()).and_then(Client::success);
        answer.map(drop).map_err(|error| Failure::new(format!("Keyway does not take it: {error}\n{text}")))
    }

    /// Asks what the row has carried.
    ///
    /// # Errors
    ///
    /// The row is not installed.
    pub(crate) fn counts(&mut self) -> Result<Counts> {
        let mut listed = Vec::new();
        self.client
            .streamed("list-manual-sas", "list-manual-sa", &Tree::new(), |message| listed.push(message))
            .map_err(Failure::at("list-manual-sas"))?;
        let row = listed.iter().find_map(|message| message.section(NAME));
        let row = row.ok_or_else(|| Failure::new("Keyway has no such SAs"))?;
        if let Some(fault) = row.text("fault") {
            return Err(Failure::new(format!("Keyway: {fault}")));
        }
        let count = |key| row.text(key).and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok(Counts { inbound: count("packets-in"), outbound: count("packets-out") })
    }

    /// Asks how many packets went nowhere, and why.
    pub(crate) fn drops(&mut self) -> Vec<String> {
        let stats =
            self.client.request("stats", &Tree::new().with_value("extras", "yes")).unwrap_or_default();
        let drops = stats.section("drops").map(|drops| {
            let reasons = drops.entries.iter().map(|entry| entry.name.as_str());
            reasons.map(|reason| format!("{reason}: {}", drops.text(reason).unwrap_or("?"))).collect()
        });
        drops.unwrap_or_default()
    }
}

fn section(row: &Row, ends: &Ends, associations: &[Association]) -> String {
    let mode = match row.shape.mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
        Mode::Beet => "beet",
    };
    let encap = match row.shape.carrier {
        Encapsulation::None => "no",
        Encapsulation::Udp => "yes",
    };
    let compression = match row.compression {
        Compression::None => String::new(),
        Compression::Deflate => format!("cpi_in = {CPI_IN:#x}\ncpi_out = {CPI_OUT:#x}\n"),
    };
    let padding = match row.padding {
        FlowPadding::None => String::new(),
        FlowPadding::To(octets) => format!("tfc_padding = {octets}\n"),
        FlowPadding::ToPathMtu => "tfc_padding = mtu\n".to_owned(),
    };
    let [local, remote] = ends.outer;
    let [local_selector, remote_selector] = &ends.selectors;
    let protocols: String = associations.iter().map(|association| protocol(row, association)).collect();
    format!(
        "manual {{
{NAME} {{
local_addr = {local}
remote_addr = {remote}
local_ts = {local_selector}
remote_ts = {remote_selector}
mode = {mode}
encap = {encap}
replay_window = {}
allow_weak = yes
{compression}{padding}{protocols}}}
}}
",
        row.replay_window
    )
}

fn protocol(row: &Row, association: &Association) -> String {
    let name = match association.protocol {
        Protocol::Esp => "esp",
        Protocol::Ah => "ah",
    };
    let esn = match row.esn {
        Esn::Yes => "-esn",
        Esn::No => "",
    };
    let encryption_len = association.protection.encryption_key_len();
    let keys = |suffix: &str, direction: &Direction| {
        let (encryption, integrity) = direction.key.split_at(encryption_len);
        let line = |kind: &str, key: &[u8]| match key {
            [] => String::new(),
            key => format!("{kind}_key_{suffix} = {}\n", hexadecimal(key)),
        };
        format!("spi_{suffix} = {:#x}\n", direction.spi)
            + &line("encryption", encryption)
            + &line("integrity", integrity)
    };
    format!(
        "{name} {{\nproposal = {}{esn}\n{}{}}}\n",
        association.protection,
        keys("in", &association.inbound),
        keys("out", &association.outbound)
    )
}

/// Octets as both ends read them.
pub(crate) fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold("0x".to_owned(), |text, octet| format!("{text}{octet:02x}"))
}
