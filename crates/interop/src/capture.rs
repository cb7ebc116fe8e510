//! What the wire sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Answer, Process};
use crate::{End, Lab, Namespace, Result};

/// The longest that the kernel gathers packets before it hands them to `dumpcap`, and some more.
const HANDING_ON: Duration = Duration::from_millis(400);

/// `dumpcap` on the wire, writing a `pcapng`.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to write what passes on the wire near one end's gateway.
    ///
    /// # Errors
    ///
    /// When `dumpcap` (Debian package `wireshark-common`) is not there or cannot capture.
    pub fn start(lab: &Lab, near: End, file: &Path) -> Result<Capture> {
        let log = lab.directory().join(format!("dumpcap-{near}.log"));
        Capture::on(&lab.wire, near.wire_link(), file, &log)
    }

    /// Starts to write what a host sends and receives.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn at_host(lab: &Lab, end: End, file: &Path) -> Result<Capture> {
        let log = lab.directory().join(format!("dumpcap-host-{end}.log"));
        Capture::on(&lab.site(end).host, "eth0", file, &log)
    }

    fn on(namespace: &Namespace, interface: &str, file: &Path, log: &Path) -> Result<Capture> {
        let mut command = namespace.command("dumpcap");
        // -P would be the old format; without -q it prints a count for each packet.
        command.args(["-q", "-i", interface, "-w"]).arg(file);
        let mut process = Process::start("dumpcap", &mut command, log)?;
        process.wait_for_text("File:", Duration::from_secs(10))?;
        Ok(Capture { process, file: file.to_path_buf() })
    }

    /// Ends the capture, all of it written.
    ///
    /// # Errors
    ///
    /// When `dumpcap` does not end.
    pub fn finish(mut self) -> Result<Recording> {
        // What came within the last quarter of a second is with the kernel yet, and would be lost.
        thread::sleep(HANDING_ON);
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(10))?;
        Ok(Recording { file: self.file, keys: None })
    }
}

/// A finished capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The `pcapng`.
    pub file: PathBuf,
    /// The directory with the tables of keys that `keyway run --disclose-keys` wrote, if it is to be decrypted.
    pub keys: Option<PathBuf>,
}

impl Recording {
    /// Has it decrypted, IKE and ESP, with what `keyway run --disclose-keys` wrote to a directory.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn decrypted_with(self, keys: &Path) -> Result<Recording> {
        fs::write(keys.join("preferences"), "esp.enable_encryption_decode: TRUE\n")?;
        Ok(Recording { keys: Some(keys.to_owned()), ..self })
    }

    /// Counts the packets that a display filter of Wireshark's lets through.
    ///
    /// # Errors
    ///
    /// When `tshark` is not there or does not understand the filter.
    pub fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.fields(filter, &["frame.number"])?.len())
    }

    /// Gives fields of the packets that a display filter of Wireshark's lets through, a line for each packet.
    ///
    /// # Errors
    ///
    /// When `tshark` is not there or does not understand the filter or a field.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
        let mut tshark = Command::new("tshark");
        // Whoever runs this may have preferences of their own.
        let no_preferences = self.file.with_extension("no-preferences");
        tshark.env("WIRESHARK_CONFIG_DIR", self.keys.as_ref().unwrap_or(&no_preferences));
        tshark.args(["-n", "-r"]).arg(&self.file).args(["-Y", filter, "-T", "fields"]);
        tshark.args(fields.iter().flat_map(|field| ["-e", field]));
        Ok(Answer::of(&mut tshark)?.success()?.lines().map(str::to_owned).collect())
    }

    /// Gives what Wireshark holds against packets, from warnings to what it cannot read: their numbers, and the sentences.
    ///
    /// # Errors
    ///
    /// When `tshark` is not there.
    pub fn complaints(&self) -> Result<Vec<String>> {
        self.fields(
            "_ws.malformed || _ws.expert.severity >= 0x600000",
            &["frame.number", "_ws.expert.message", "_ws.col.Info"],
        )
    }

    /// Counts the packets that crossed the wire in the clear although they belong to the inner networks.
    ///
    /// # Errors
    ///
    /// When `tshark` is not there.
    pub fn leaks(&self) -> Result<usize> {
        self.count("ip.addr == 10.0.0.0/8 || ipv6.addr == fd00::/16")
    }
}
