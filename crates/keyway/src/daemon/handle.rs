//! How the rest of the daemon talks to the task that owns the engine: orders in, answers out, nothing shared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use credentials::Credentials;
use dataplane::{Blocks, Drops, Usage};
use ike::{Command, Counters, IkeSaStatus, PoolStatus, Tally, TallyScope, Ticket};
use sa::SaId;
use tokio::sync::{mpsc, oneshot};
use wire::isakmp::IkeSpi;

use super::interfaces::DeviceStatus;
use super::keyring::{Keyring, KeyringChange};
use super::limits;
use super::loaded::{Loaded, LoadedConnection, LoadedPool, LoadedSecret, Wanted};
use super::manual_keying::ManualSas;
use super::shunts::Shunts;

/// What became of an order: nothing to say, or one sentence on why it failed.
pub(crate) type Outcome = Result<(), String>;

/// What the engine task can be asked to do. Each order carries the sender of its answer.
pub(crate) enum Order {
    /// Show that the engine task answers.
    Pulse(oneshot::Sender<()>),
    /// Describe everything at this moment.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Say which IKE SAs there are, by our SPIs.
    IkeSpis(oneshot::Sender<Vec<IkeSpi>>),
    /// Describe some of them; those that are gone by now are left out.
    DescribeSas(Vec<IkeSpi>, oneshot::Sender<SaPage>),
    /// Say how many messages of each kind there were.
    Tally(oneshot::Sender<Tally>),
    /// Count them anew.
    ResetTally(TallyScope, oneshot::Sender<Outcome>),
    /// Carry out a command of the IKE engine that ends with this ticket.
    Perform {
        /// The command, which holds the same ticket.
        command: Command,
        /// Comes back from the engine.
        ticket: Ticket,
        /// Is told how it ended.
        done: oneshot::Sender<Outcome>,
    },
    /// Load a connection, in place of one of the same name.
    LoadConnection(Box<LoadedConnection>, oneshot::Sender<Outcome>),
    /// Forget a connection.
    UnloadConnection(String, oneshot::Sender<Outcome>),
    /// Load a secret, in place of one of the same name.
    LoadSecret(Box<LoadedSecret>, oneshot::Sender<Outcome>),
    /// Forget a secret.
    UnloadSecret(String, oneshot::Sender<Outcome>),
    /// Describe the pools of virtual addresses and their leases.
    Pools(oneshot::Sender<Vec<PoolStatus>>),
    /// Load a pool, in place of one of the same name.
    LoadPool(Box<LoadedPool>, oneshot::Sender<Outcome>),
    /// Forget a pool.
    UnloadPool(String, oneshot::Sender<Outcome>),
    /// Forget all secrets, certificates and keys, wherever they came from.
    ClearSecrets(oneshot::Sender<Outcome>),
    /// Change what clients have brought of certificates and keys.
    ChangeKeyring(Box<KeyringChange>, oneshot::Sender<Outcome>),
    /// Replace what came from the configuration file by this.
    Configure {
        /// All that the file says.
        wanted: Box<Wanted>,
        /// Is told what changed.
        done: oneshot::Sender<Changes>,
    },
    /// Take away what an earlier run left blocked.
    UnblockLeft(oneshot::Sender<Outcome>),
    /// Write the keys of SAs that come up.
    DiscloseKeys(KeysWanted),
    /// Write them no more: whoever wanted them has gone.
    ConcealKeys,
    /// End the task.
    Stop,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The moment.
    pub(crate) now: Instant,
    /// The IKE SAs and their Child SAs.
    pub(crate) ike_sas: Vec<IkeSaStatus>,
    /// What the data plane tells of each SA.
    pub(crate) sas: BTreeMap<SaId, PlaneStatus>,
    /// What is loaded.
    pub(crate) loaded: Loaded,
    /// Where certificates and keys came from.
    pub(crate) keyring: Keyring,
    /// All of them together.
    pub(crate) credentials: Arc<Credentials>,
    /// The trap policies that are installed: connection and child.
    pub(crate) traps: Vec<(String, String)>,
    /// The children whose traffic is dropped while they are not up: connection and child.
    pub(crate) blocks: Vec<(String, String)>,
    /// What this host refuses to let pass unprotected.
    pub(crate) host_blocks: Blocks,
    /// The policies without SAs that are installed.
    pub(crate) shunts: Shunts,
    /// The SAs without IKE that are installed.
    pub(crate) manual: ManualSas,
    /// What the IKE engine has counted.
    pub(crate) counters: Counters,
    /// Packets that the data plane dropped.
    pub(crate) drops: Drops,
}

/// Some of the SAs at one moment.
#[derive(Clone, Debug)]
pub(crate) struct SaPage {
    /// The moment.
    pub(crate) now: Instant,
    /// The IKE SAs and their Child SAs.
    pub(crate) ike_sas: Vec<IkeSaStatus>,
    /// What the data plane tells of each SA.
    pub(crate) sas: BTreeMap<SaId, PlaneStatus>,
}

/// What the data plane tells of an SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaneStatus {
    /// What it has carried.
    pub(crate) usage: Usage,
    /// Those of its packets that went nowhere.
    pub(crate) drops: Drops,
    /// Its device, if it has one of its own.
    pub(crate) device: Option<DeviceStatus>,
}

/// What a new configuration changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Connections, secrets and manually keyed SAs that are new or different; certificates and keys count as one.
    pub(crate) loaded: usize,
    /// Those that are gone.
    pub(crate) unloaded: usize,
    /// Those that are as they were.
    pub(crate) kept: usize,
}

impl Changes {
    /// Counts the certificates and keys, which change as one.
    pub(crate) fn note_ring(&mut self, is_changed: bool) {
        self.loaded += usize::from(is_changed);
    }
}

/// Gives orders to the engine task.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    orders: mpsc::Sender<Order>,
    next_ticket: Arc<AtomicU64>,
}

impl Engine {
    /// Makes a handle and the queue that the engine task is to read.
    pub(crate) fn channel() -> (Engine, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(limits::ORDER_QUEUE);
        (Engine { orders, next_ticket: Arc::new(AtomicU64::new(1)) }, queue)
    }

    /// Returns as soon as the engine task answers.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn pulse(&self) -> Outcome {
        self.ask(Order::Pulse).await
    }

    /// Describes everything at this moment.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, String> {
        self.ask(Order::Snapshot).await
    }

    /// Says which IKE SAs there are, by our SPIs.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn ike_spis(&self) -> Result<Vec<IkeSpi>, String> {
        self.ask(Order::IkeSpis).await
    }

    /// Describes some of them; those that are gone by now are left out.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn describe_sas(&self, spis: Vec<IkeSpi>) -> Result<SaPage, String> {
        self.ask(|answer| Order::DescribeSas(spis, answer)).await
    }

    /// Says how many messages of each kind there were.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn tally(&self) -> Result<Tally, String> {
        self.ask(Order::Tally).await
    }

    /// Counts them anew.
    ///
    /// # Errors
    /// The connection has no counts, or the daemon is shutting down.
    pub(crate) async fn reset_tally(&self, scope: TallyScope) -> Outcome {
        self.ask(|done| Order::ResetTally(scope, done)).await?
    }

    /// Hands a command to the IKE engine. The command is under way when this returns; the receiver gets its outcome.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn begin(
        &self,
        command: impl FnOnce(Ticket) -> Command,
    ) -> Result<oneshot::Receiver<Outcome>, String> {
        let ticket = Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        let (done, outcome) = oneshot::channel();
        let order = Order::Perform { command: command(ticket), ticket, done };
        self.orders.send(order).await.map_err(|_| shutting_down())?;
        Ok(outcome)
    }

    /// Hands a command to the IKE engine and waits until it has ended.
    ///
    /// # Errors
    /// One sentence on why it failed.
    pub(crate) async fn perform(&self, command: impl FnOnce(Ticket) -> Command) -> Outcome {
        self.begin(command).await?.await.map_err(|_| shutting_down())?
    }

    /// Loads a connection, in place of one of the same name.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn load_connection(&self, connection: LoadedConnection) -> Outcome {
        self.ask(|done| Order::LoadConnection(Box::new(connection), done)).await?
    }

    /// Forgets a connection.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) async fn unload_connection(&self, name: String) -> Outcome {
        self.ask(|done| Order::UnloadConnection(name, done)).await?
    }

    /// Loads a secret, in place of one of the same name.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn load_secret(&self, secret: LoadedSecret) -> Outcome {
        self.ask(|done| Order::LoadSecret(Box::new(secret), done)).await?
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) async fn unload_secret(&self, name: String) -> Outcome {
        self.ask(|done| Order::UnloadSecret(name, done)).await?
    }

    /// Describes the pools of virtual addresses and their leases.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn pools(&self) -> Result<Vec<PoolStatus>, String> {
        self.ask(Order::Pools).await
    }

    /// Loads a pool, in place of one of the same name.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn load_pool(&self, pool: LoadedPool) -> Outcome {
        self.ask(|done| Order::LoadPool(Box::new(pool), done)).await?
    }

    /// Forgets a pool.
    ///
    /// # Errors
    /// There is none of this name, or clients have addresses of it.
    pub(crate) async fn unload_pool(&self, name: String) -> Outcome {
        self.ask(|done| Order::UnloadPool(name, done)).await?
    }

    /// Changes what clients have brought of certificates and keys.
    ///
    /// # Errors
    /// There is nothing of this name to forget, or the daemon is shutting down.
    pub(crate) async fn change_keyring(&self, change: KeyringChange) -> Outcome {
        self.ask(|done| Order::ChangeKeyring(Box::new(change), done)).await?
    }

    /// Forgets all secrets, certificates and keys.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn clear_secrets(&self) -> Outcome {
        self.ask(Order::ClearSecrets).await?
    }

    /// Replaces what came from the configuration file.
    ///
    /// # Errors
    /// The daemon is shutting down.
    pub(crate) async fn configure(&self, wanted: Wanted) -> Result<Changes, String> {
        self.ask(|done| Order::Configure { wanted: Box::new(wanted), done }).await
    }

    /// Takes away what an earlier run left blocked.
    ///
    /// # Errors
    /// The kernel refuses, or the daemon is shutting down.
    pub(crate) async fn unblock_left(&self) -> Outcome {
        self.ask(Order::UnblockLeft).await?
    }

    /// Has the keys of SAs that come up written to a directory, as long as what it gives is kept.
    ///
    /// # Errors
    /// They are written already, they cannot be written there, or the daemon is shutting down.
    pub(crate) async fn disclose_keys(&self, directory: PathBuf) -> Result<Disclosure, String> {
        let engine = self.clone();
        self.ask(|answer| Order::DiscloseKeys(KeysWanted { directory, engine, answer })).await?
    }

    /// Ends the engine task after the orders that it already has.
    pub(crate) async fn stop(&self) {
        // A task that has ended already needs no order to end.
        let _ = self.orders.send(Order::Stop).await;
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, String> {
        let (sender, answer) = oneshot::channel();
        self.orders.send(order(sender)).await.map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())
    }
}

/// An order to write keys, and the way back to whoever gave it.
pub(crate) struct KeysWanted {
    directory: PathBuf,
    engine: Engine,
    answer: oneshot::Sender<Result<Disclosure, String>>,
}

impl KeysWanted {
    /// Where they are to be written.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Says whether they are written from now on. Where nobody is left to take the answer, what it carries ends that.
    pub(crate) fn answer(self, outcome: Outcome) {
        let _ = self.answer.send(outcome.map(|()| Disclosure(self.engine)));
    }
}

/// Keys are written as long as it is there: from the moment when the engine began, whether or not its answer is ever read.
#[derive(Debug)]
pub(crate) struct Disclosure(Engine);

impl Drop for Disclosure {
    fn drop(&mut self) {
        let orders = self.0.orders.clone();
        tokio::spawn(async move {
            // A daemon that is ending writes none, either.
            let _ = orders.send(Order::ConcealKeys).await;
        });
    }
}

fn shutting_down() -> String {
    "the daemon is shutting down".to_owned()
}
