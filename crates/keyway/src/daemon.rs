//! `keyway run`: the daemon from its start to its end.
//!
//! ```text
//!   read the configuration ─► start the data plane ─► listen for clients ─► run the engine ─► load the configuration
//!                                                                              │
//!   SIGHUP: read it again                                SIGTERM, SIGINT: unload, say farewell, stop, undo
//! ```
//!
//! Whatever cannot be had is said in one sentence before anything was changed on the host.

mod announce;
mod charon;
pub(crate) mod configuration;
mod crash_secret;
mod engine;
pub(crate) mod expiry;
mod fetch;
pub(crate) mod handle;
mod hardening;
pub(crate) mod interfaces;
pub(crate) mod keyring;
mod lease_store;
mod leases;
pub(crate) mod limits;
pub(crate) mod loaded;
mod logging;
mod lookup;
pub(crate) mod lower;
pub(crate) mod manual_keying;
mod names;
pub(crate) mod notices;
mod proving;
mod resolve;
pub(crate) mod revocation;
mod scripts;
mod service;
pub(crate) mod shunts;
mod throttle;
pub(crate) mod token;
mod trace_file;
mod wireshark;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use config::Charon;
use dataplane::{Dataplane, Listen, NameServices};
use ike::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use self::announce::Announcer;
use self::charon::ForClients;
use self::engine::{EngineLoop, Inputs, Outside, PlaneInputs};
use self::handle::Engine;
use self::leases::Leases;
use self::notices::Notices;
use self::proving::LookUp;
use self::resolve::OwnSockets;
use self::revocation::Revocation;
use self::scripts::Scripts;
use self::token::Modules;
use self::trace_file::TraceFile;
use self::wireshark::KeyTables;
use crate::cli::{DEFAULT_LEASES, Run};
use crate::management::{self, Constants, Management};

/// Runs the daemon until a signal ends it.
pub(crate) fn run(arguments: &Run) -> ExitCode {
    let notices = Notices::new();
    let (charon, faults) = charon::read(arguments);
    let filter = arguments.log.clone().unwrap_or_else(|| charon::log_filter(&charon.log));
    if let Err(sentence) = logging::start(&filter, arguments.log_format, notices.clone()) {
        eprintln!("keyway: {sentence}");
        return ExitCode::FAILURE;
    }
    charon::report(&faults);
    match serve(&charon::settled(arguments, &charon), &charon, notices) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            // The log goes to standard error: this is the sentence for both, unless the filter hides it.
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{sentence}");
            } else {
                eprintln!("keyway: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Run, charon: &Charon, notices: Notices) -> Result<(), String> {
    hardening::forbid_core_dumps().map_err(|error| format!("core dumps cannot be forbidden: {error}"))?;
    let path = configuration::find(arguments);
    let config = match &path {
        Some(path) => configuration::read(path, charon.aggressive_secrets).map_err(|faults| {
            faults.pointed_out().for_each(|fault| eprintln!("{fault}"));
            faults.to_string()
        })?,
        None => config::Config::default(),
    };
    let announcer = announcer(arguments, notices.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let engine_settings = engine_settings(arguments, charon)?;
    runtime.block_on(async {
        let listener = management::listen(&arguments.socket()).map_err(|error| error.to_string())?;
        let settings = plane_settings(arguments, charon);
        let own =
            OwnSockets { ike_port: settings.ike_port, nat_port: settings.nat_port, mark: settings.mark };
        let constants = Constants {
            configuration: path.clone(),
            started: SystemTime::now(),
            workers: settings.workers.map_or_else(default_workers, Into::into),
            tokens: Arc::new(Modules::new(arguments.pkcs11_module.clone())),
            aggressive_secrets: charon.aggressive_secrets,
        };
        let (deliver, plane_inputs) = PlaneInputs::channel();
        let usual_mtu = settings.tun_mtu;
        let plane = Dataplane::start(settings, deliver).map_err(|error| error.to_string())?;
        let plane = Arc::new(plane);

        let leases = Leases::at(lease_file(arguments));
        let (engine, orders) = Engine::channel();
        let revocation = Arc::new(Revocation::new(arguments.cache_crls.clone()));
        let outside = Outside {
            own,
            announcer,
            revocation: Arc::clone(&revocation),
            look_up: look_up(arguments),
            scripts: Scripts::default(),
            for_clients: ForClients { dns: charon.dns.clone(), nbns: charon::version_4(&charon.nbns) },
            virtual_addresses: charon.virtual_addresses,
            tun_name: arguments.tun.clone(),
        };
        let engine_loop = EngineLoop::new(engine_settings, Arc::clone(&plane), usual_mtu, leases, outside);
        let management =
            Management { engine: engine.clone(), notices, daemon: Arc::new(constants), revocation };
        let inputs = Inputs { orders, plane: plane_inputs };
        let lived = tokio::join!(engine_loop.run(inputs), async {
            let lived = live(&engine, path.as_deref(), config, &listener, management).await;
            // That the program ends is nobody's word that the traffic may pass.
            service::stopping();
            plane.wind_down();
            say_farewell(&engine).await;
            engine.stop().await;
            lived
        });
        if let Some(plane) = Arc::into_inner(plane) {
            plane.stop();
        }
        tracing::info!("the daemon has ended");
        lived.1
    })
}

/// Loads the configuration, serves clients and obeys signals until one says that it is time to go.
async fn live(
    engine: &Engine,
    path: Option<&Path>,
    config: config::Config,
    listener: &management::Listener,
    management: Management,
) -> Result<(), String> {
    let signal = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    if let Some(path) = path {
        configuration::warn_of_readers(path, &config);
    }
    let changes = tokio::select! {
        changes = configuration::apply(engine, &management.daemon.tokens, config) => changes?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    match path {
        Some(path) => {
            tracing::info!(path = %path.display(), "the daemon is ready; {changes}");
            service::ready(&changes.to_string());
        }
        None => {
            tracing::info!("the daemon is ready; it has no configuration, and waits for clients to load one");
            service::ready("waiting for clients to load a configuration");
        }
    }
    tokio::select! {
        () = management::serve(listener, management.clone()) => {}
        () = service::keep_alive(engine) => {}
        () = names::keep_fresh(engine) => {}
        () = expiry::watch(engine, &management.notices) => {}
        () = reload_when_asked(&mut hang_up, engine, &management.daemon, path) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Reloads at each signal. It is one of several futures of a task: none waits for another.
async fn reload_when_asked(hang_up: &mut Signal, engine: &Engine, daemon: &Constants, path: Option<&Path>) {
    while hang_up.recv().await.is_some() {
        reload(engine, daemon, path).await;
    }
}

async fn reload(engine: &Engine, daemon: &Constants, path: Option<&Path>) {
    let Some(path) = path else {
        return tracing::warn!("there is no configuration file to read again");
    };
    if let Err(sentence) = configuration::reload(engine, daemon, path).await {
        tracing::error!("{sentence}");
    }
}

/// Takes everything down: no peer should send into the void because we went without a word.
async fn say_farewell(engine: &Engine) {
    tracing::info!("the daemon is ending: deleting all SAs");
    if timeout(limits::FAREWELL, delete_everything(engine)).await.is_err() {
        tracing::warn!("some peers did not confirm that their SAs are deleted");
    }
}

async fn delete_everything(engine: &Engine) {
    let Ok(snapshot) = engine.snapshot().await else { return };
    for name in snapshot.loaded.connections.into_keys() {
        // A client may have unloaded it a moment ago.
        let _ = engine.unload_connection(name).await;
    }
    let mut farewells = Vec::new();
    for ike in snapshot.ike_sas {
        farewells.extend(engine.begin(|ticket| Command::TerminateIke { ike: ike.id, ticket }).await);
    }
    for farewell in farewells {
        if let Ok(Err(sentence)) = farewell.await {
            tracing::warn!("{sentence}");
        }
    }
}

/// Opens the files that the command line asks for.
fn announcer(arguments: &Run, notices: Notices) -> Result<Announcer, String> {
    let cannot =
        |what: &str, path: &Path, error| format!("cannot write the {what} to {}: {error}", path.display());
    let trace = arguments.trace_messages.as_deref();
    let trace =
        trace.map(|path| TraceFile::create(path).map_err(|error| cannot("message trace", path, error)));
    let keys = arguments.disclose_keys.as_deref();
    let keys =
        keys.map(|directory| KeyTables::create(directory).map_err(|error| cannot("keys", directory, error)));
    if let Some(directory) = &arguments.disclose_keys {
        tracing::warn!(
            directory = %directory.display(),
            "THE KEYS OF ALL SAs ARE BEING WRITTEN TO DISK: whoever reads them reads the traffic"
        );
    }
    Ok(Announcer::new(notices, trace.transpose()?, keys.transpose()?))
}

/// What outlives a restart of the host does not belong where sockets are.
fn lease_file(arguments: &Run) -> PathBuf {
    let beside = |socket: &PathBuf| socket.with_file_name("keyway.leases");
    let usual = || arguments.socket.as_ref().map_or_else(|| PathBuf::from(DEFAULT_LEASES), beside);
    arguments.leases.clone().unwrap_or_else(usual)
}

fn plane_settings(arguments: &Run, charon: &Charon) -> dataplane::Settings {
    let defaults = dataplane::Settings::default();
    let beside_socket = || arguments.socket().with_file_name("keyway.journal");
    dataplane::Settings {
        listen: match arguments.listen.as_slice() {
            [] => Listen::Everywhere,
            addresses => Listen::On(addresses.to_vec()),
        },
        tun_name: arguments.tun.clone(),
        tun_mtu: arguments.mtu.unwrap_or(defaults.tun_mtu),
        journal: arguments.journal.clone().unwrap_or_else(beside_socket),
        workers: arguments.workers,
        routing_table: charon.routing_table,
        rule_priority: charon.rule_priority,
        name_servers: match arguments.resolv_conf.as_deref() {
            None => NameServices::Found,
            Some(path) if path == Path::new("none") => NameServices::LeftAlone,
            Some(path) => NameServices::File(path.to_owned()),
        },
        ..defaults
    }
}

fn look_up(arguments: &Run) -> LookUp {
    if arguments.hash_and_url { LookUp::Allowed } else { LookUp::Never }
}

fn engine_settings(arguments: &Run, charon: &Charon) -> Result<ike::Settings, String> {
    let crash_secret = arguments.crash_secret.as_deref().map(crash_secret::read_or_make);
    let (requests, strangers) = (&charon.retransmission, &charon.strangers);
    Ok(ike::Settings {
        retransmission: ike::RetransmissionPolicy {
            initial: Duration::from_secs_f64(
                arguments.retransmit_timeout.unwrap_or(requests.timeout).min(LONGEST_WAIT_SECS),
            ),
            factor: arguments.retransmit_base.unwrap_or(requests.base),
            tries: arguments.retransmit_tries.unwrap_or(requests.tries),
            limit: requests.limit,
            jitter_percent: requests.jitter_percent,
        },
        fragment_size: arguments.fragment_size.unwrap_or(charon.fragment_size).into(),
        half_open_timeout: strangers.timeout,
        strangers: ike::StrangerBounds {
            before_cookies: strangers.before_cookies,
            of_one_before_cookies: strangers.of_one_before_cookies,
            of_one: strangers.of_one,
            in_total: strangers.in_total,
            ike_sas: strangers.ike_sas,
        },
        nat_keepalive: if charon.keep_alive.is_zero() { FOR_EVER } else { charon.keep_alive },
        announced_signatures: credentials::announced_signatures(),
        certificate_lookup: arguments.hash_and_url,
        trace_messages: arguments.trace_messages.is_some(),
        crash_secret: crash_secret.transpose()?,
        disclose_keys: arguments.disclose_keys.is_some(),
    })
}

/// More than this is a mistake in the unit.
const LONGEST_WAIT_SECS: f64 = 300.0;

/// No daemon runs for a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, Into::into).min(dataplane::limits::MOST_WORKERS)
}
