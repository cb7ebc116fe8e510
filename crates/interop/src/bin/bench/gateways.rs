//! Two gateways with fixed keys, each on a processor of its own.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interop::{End, Failure, Family, Lab, Process, Result};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// Both running gateways; they end when this is dropped.
pub(crate) struct Gateways {
    running: [Gateway; 2],
}

struct Gateway {
    process: Process,
    /// The program ends when its standard input does.
    input: UnixStream,
}

impl Gateways {
    /// Starts both with `suite`, a carrier and algorithms as `static_tunnel` takes them.
    pub(crate) fn start(lab: &Lab, suite: &str) -> Result<Gateways> {
        let program = program()?;
        let mut running = [start(lab, End::A, suite, &program)?, start(lab, End::B, suite, &program)?];
        for gateway in &mut running {
            gateway.process.wait_for_text("ready", START)?;
        }
        Ok(Gateways { running })
    }

    /// Gives the processor time that both have taken so far, all their threads together.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut nanos = 0;
        for gateway in &self.running {
            for task in fs::read_dir(format!("/proc/{}/task", gateway.process.id()))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                let on_processor = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
                nanos += on_processor.ok_or_else(|| Failure::new(format!("{text:?} is no schedstat")))?;
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Ends both.
    pub(crate) fn stop(self) -> Result<()> {
        for Gateway { mut process, input } in self.running {
            drop(input);
            let status = process.wait(STOP)?;
            if !status.success() {
                return Err(Failure::new(format!("a gateway ended with {status}: {}", process.log())));
            }
        }
        Ok(())
    }
}

fn start(lab: &Lab, end: End, suite: &str, program: &Path) -> Result<Gateway> {
    let (site, other) = (lab.site(end), lab.site(end.other()));
    let (letter, processor) = match end {
        End::A => ("a", "0"),
        End::B => ("b", "1"),
    };
    let (ours, theirs) = UnixStream::pair()?;
    let journal = lab.directory().join(format!("{letter}.journal"));
    let log = lab.directory().join(format!("{letter}.{}.log", suite.replace('/', "-")));
    // "ready" is waited for in the log: that of an earlier run must not be there.
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let mut command = site.gateway.command("taskset");
    command
        .args(["-c", processor])
        .arg(program)
        .args([letter, suite])
        .args([site.outside(Family::V4).to_string(), other.outside(Family::V4).to_string()])
        .args([site.network(Family::V4), other.network(Family::V4)])
        .arg(journal);
    let process = Process::start_with_input(
        &format!("gateway {letter}"),
        &mut command,
        OwnedFd::from(theirs).into(),
        &log,
    )?;
    Ok(Gateway { process, input: ours })
}

/// Finds the example that cargo has built beside this program.
fn program() -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let program = ours.parent().map(|directory| directory.join("examples/static_tunnel"));
    program
        .filter(|path| path.is_file())
        .ok_or_else(|| Failure::new("static_tunnel is not built; ./bench builds it"))
}
