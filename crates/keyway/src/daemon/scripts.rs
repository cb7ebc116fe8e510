//! Scripts of the administrator's that are run when a Child SA comes up and when it goes down.
//!
//! ```text
//!   ChildUp ───► /bin/sh -c COMMAND   PLUTO_VERB=up-client    once for each pair of selectors, up to a bound
//!   ChildRekeyed    nothing: the traffic is the same
//!   ChildDown ─► /bin/sh -c COMMAND   PLUTO_VERB=down-client
//! ```
//!
//! The engine waits for none of them. Those of one child run one after the other, in the order of what happened; one that takes
//! too long is killed with all that it started. The shell is given the administrator's words alone: what a peer says reaches the
//! script in [variables](environment), which no shell reads as a command. Everything that is not for it (the daemon's own
//! environment, its open files) stays away from it.

mod environment;

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::Script;
use ike::{ChildSaId, ChildSaStatus, IkeSaStatus};
use rustix::process::{Pid, Signal, kill_process_group};
use sa::SelectorPair;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use self::environment::{Around, Verb};
use self::environment::{Environment, pairs};
use super::limits;

/// The scripts that run, and those that will when their Child SAs go down.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// What was run for a Child SA when it came up, and is to be run again when it goes down.
    up: BTreeMap<ChildSaId, Arc<Script>>,
    /// The last script of each child, which the next one of that child waits for.
    last: BTreeMap<(String, String), JoinHandle<()>>,
    slots: Arc<Semaphore>,
    /// How many runs have not ended.
    pending: Arc<AtomicUsize>,
}

impl Default for Scripts {
    fn default() -> Scripts {
        let slots = Arc::new(Semaphore::new(limits::SCRIPTS_AT_ONCE));
        Scripts { up: BTreeMap::new(), last: BTreeMap::new(), slots, pending: Arc::default() }
    }
}

impl Scripts {
    /// A Child SA came up, whose child has this script.
    pub(crate) fn came_up(
        &mut self,
        ike: &IkeSaStatus,
        child: &ChildSaStatus,
        script: &Script,
        around: &Around,
    ) {
        // Without its beginning there is no end to be told, either: what waits has a bound then.
        let (pending, runs) = (self.pending.load(Ordering::Relaxed), runs(child).count());
        if pending.saturating_add(runs) > limits::SCRIPTS_PENDING {
            return tracing::error!(
                target: CHILD,
                connection = ike.connection,
                child = child.name,
                "updown: `{}` is not run: with {pending} runs that have not ended, its {runs} are more than {}",
                script.command,
                limits::SCRIPTS_PENDING
            );
        }
        if pairs(child).nth(runs).is_some() {
            tracing::warn!(
                target: CHILD,
                connection = ike.connection,
                child = child.name,
                "updown: `{}` is run for the first {runs} pairs of traffic selectors alone, and there are more",
                script.command
            );
        }
        let script = Arc::new(script.clone());
        self.up.insert(child.id, Arc::clone(&script));
        self.begin(Verb::Up, ike, child, &script, around);
    }

    /// A Child SA took the place of another.
    pub(crate) fn took_over(&mut self, old: ChildSaId, new: ChildSaId) {
        if let Some(script) = self.up.remove(&old) {
            self.up.insert(new, script);
        }
    }

    /// Tells whether a script is to be run when a Child SA goes down.
    pub(crate) fn is_awaited(&self, child: ChildSaId) -> bool {
        self.up.contains_key(&child)
    }

    /// A Child SA went down.
    pub(crate) fn went_down(&mut self, ike: &IkeSaStatus, child: &ChildSaStatus, around: &Around) {
        if let Some(script) = self.up.remove(&child.id) {
            self.begin(Verb::Down, ike, child, &script, around);
        }
    }

    /// Waits for what still runs, as long as the daemon's end may take.
    pub(crate) async fn finish(self) {
        let all = async {
            for script in self.last.into_values() {
                // A task that panicked has nothing more to do.
                let _ = script.await;
            }
        };
        if timeout(limits::LAST_SCRIPTS, all).await.is_err() {
            tracing::warn!(target: CHILD, "updown scripts still run, and are left to end by themselves");
        }
    }

    fn begin(
        &mut self,
        verb: Verb,
        ike: &IkeSaStatus,
        child: &ChildSaStatus,
        script: &Arc<Script>,
        around: &Around,
    ) {
        let environment = Environment::new(verb, ike, child, script, around);
        let runs: Vec<_> = runs(child).map(|pair| (pair, Pending::one_more(&self.pending))).collect();
        let key = (ike.connection.clone(), child.name.clone());
        self.last.retain(|of, last| *of == key || !last.is_finished());
        let (before, slots) = (self.last.remove(&key), Arc::clone(&self.slots));
        let (script, (connection, name)) = (Arc::clone(script), key.clone());
        let task = async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            for (pair, _pending) in runs {
                // Nobody closes the semaphore.
                let _slot = slots.acquire().await;
                let environment = environment.of_run(pair);
                if let Err(sentence) = run(&script.command, environment, &connection, &name).await {
                    tracing::error!(target: CHILD, connection, child = name, "updown: {sentence}");
                }
            }
        };
        self.last.insert(key, tokio::spawn(task));
    }
}

/// Gives the pairs of selectors that a script is run for.
fn runs(child: &ChildSaStatus) -> impl Iterator<Item = SelectorPair> + '_ {
    pairs(child).take(limits::SCRIPT_RUNS)
}

/// One run that has not ended.
struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn one_more(all: &Arc<AtomicUsize>) -> Pending {
        all.fetch_add(1, Ordering::Relaxed);
        Pending(Arc::clone(all))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The part of the program that lines about Child SAs come from.
const CHILD: &str = "ike::child";

/// Runs one script to its end.
async fn run(
    command: &str,
    environment: Vec<(String, String)>,
    connection: &str,
    child: &str,
) -> Result<(), String> {
    let mut process = Command::new("/bin/sh")
        .args(["-c", command])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("`{command}` cannot be run: {error}"))?;
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let say = |line: &str| tracing::info!(target: CHILD, connection, child, "updown: {line}");
    let mut output = pin!(async { tokio::join!(tell(stdout, say), tell(stderr, say)) });
    let mut ended = pin!(ended(&mut process, command));
    tokio::select! {
        status = &mut ended => {
            // What a script left running in the background may hold the output open for ever.
            let _ = timeout(limits::SCRIPT_LAST_WORDS, output).await;
            status
        }
        _ = &mut output => ended.await,
    }
}

/// Waits for the end of a script, and brings it about when that takes too long.
async fn ended(process: &mut Child, command: &str) -> Result<(), String> {
    match timeout(limits::SCRIPT, process.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{command}` ended with {status}")),
        Ok(Err(error)) => Err(format!("what became of `{command}` is not known: {error}")),
        Err(_) => {
            let group = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            // It fails only for a group that has ended this moment.
            group.map(|group| kill_process_group(group, Signal::KILL));
            let _ = process.wait().await;
            Err(format!("`{command}` did not end within {} s and was killed", limits::SCRIPT.as_secs()))
        }
    }
}

/// Tells each line that a script prints, up to a bound; what is beyond is read and forgotten, so that the script goes on.
async fn tell(output: Option<impl AsyncRead + Unpin>, mut say: impl FnMut(&str)) {
    let Some(mut output) = output else { return };
    let mut lines = BufReader::new((&mut output).take(limits::SCRIPT_OUTPUT)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        say(&line.replace(char::is_control, "?"));
    }
    // It ends with the script.
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use rustix::process::kill_process;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::daemon::logging::NoticeLayer;
    use crate::daemon::notices::{Notice, Notices};

    #[tokio::test]
    async fn those_of_a_child_run_in_their_order_and_an_end_follows_each_beginning() {
        let directory = directory("order");
        let command = format!(
            "[ $PLUTO_VERB = down-client ] || sleep 0.2; echo $PLUTO_VERB $KEYWAY_DEVICE >> {}/all",
            directory.display()
        );
        let script = Script { command, host_access: config::HostAccess::No, mark_in: None };
        let around = Around { outer_device: None, inner_device: "vpn0".to_owned() };
        let ike = crate::management::tests::ike_sa(std::time::Instant::now());
        let old = ike.children.first().expect("it has one");
        let new = ChildSaStatus { id: ChildSaId(77), ..old.clone() };
        let mut scripts = Scripts::default();
        scripts.came_up(&ike, old, &script, &around);
        scripts.took_over(old.id, new.id);
        assert!(scripts.is_awaited(new.id) && !scripts.is_awaited(old.id));
        // It is gone already.
        scripts.went_down(&ike, old, &around);
        scripts.went_down(&ike, &new, &around);
        assert!(!scripts.is_awaited(new.id));
        let pending = Arc::clone(&scripts.pending);
        assert_eq!(pending.load(Ordering::Relaxed), 2);
        scripts.finish().await;
        assert_eq!(pending.load(Ordering::Relaxed), 0);
        let told = fs::read_to_string(directory.join("all")).expect("they wrote");
        assert_eq!(told, "up-client vpn0\ndown-client vpn0\n");
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[tokio::test]
    async fn no_more_than_the_bound_wait() {
        let script =
            Script { command: "true".to_owned(), host_access: config::HostAccess::No, mark_in: None };
        let ike = crate::management::tests::ike_sa(std::time::Instant::now());
        let child = ike.children.first().expect("it has one");
        let mut scripts = Scripts::default();
        scripts.pending.store(limits::SCRIPTS_PENDING, Ordering::Relaxed);
        scripts.came_up(&ike, child, &script, &Around::default());
        assert!(!scripts.is_awaited(child.id), "what has not begun has no end to be told");
        // Each pair of selectors is a run.
        scripts.pending.store(limits::SCRIPTS_PENDING - 1, Ordering::Relaxed);
        scripts.came_up(&ike, &wide(child, 1, 2), &script, &Around::default());
        assert!(!scripts.is_awaited(child.id));
        scripts.came_up(&ike, child, &script, &Around::default());
        assert!(scripts.is_awaited(child.id));
    }

    /// Makes a Child SA's selectors many.
    fn wide(child: &ChildSaStatus, local: u8, remote: u8) -> ChildSaStatus {
        let many = |network: u8, count| {
            let one = |n: u8| format!("10.{network}.{n}.0/24").parse().expect("the test's own text");
            (0..count).map(one).collect()
        };
        ChildSaStatus { local_selectors: many(1, local), remote_selectors: many(2, remote), ..child.clone() }
    }

    #[tokio::test]
    async fn a_peer_with_many_selectors_has_no_more_runs_than_the_bound_and_the_log_says_so() {
        let script =
            Script { command: "true".to_owned(), host_access: config::HostAccess::No, mark_in: None };
        let ike = crate::management::tests::ike_sa(std::time::Instant::now());
        let child = ike.children.first().expect("it has one");
        let notices = Notices::new();
        let subscriber = tracing_subscriber::registry().with(NoticeLayer(notices.clone()));
        let _listening = tracing::subscriber::set_default(subscriber);
        let warned = || notices.recent_log().iter().filter_map(|notice| told(notice)).collect::<Vec<_>>();
        // None of them begins before the test waits, which it does not.
        let mut scripts = Scripts::default();
        scripts.came_up(&ike, &wide(child, 16, 16), &script, &Around::default());
        assert_eq!(scripts.pending.load(Ordering::Relaxed), 256);
        assert_eq!(warned(), []);
        let mut scripts = Scripts::default();
        let widest = wide(child, 128, 128);
        scripts.came_up(&ike, &widest, &script, &Around::default());
        assert_eq!(scripts.pending.load(Ordering::Relaxed), limits::SCRIPT_RUNS);
        let sentence =
            "updown: `true` is run for the first 256 pairs of traffic selectors alone, and there are more";
        assert_eq!(warned(), [("site".to_owned(), format!("{sentence} connection=\"site\" child=\"net\""))]);
        scripts.went_down(&ike, &widest, &Around::default());
        assert_eq!(scripts.pending.load(Ordering::Relaxed), 2 * limits::SCRIPT_RUNS);
    }

    /// Gives a log line with the connection that it names.
    fn told(notice: &Notice) -> Option<(String, String)> {
        match notice {
            Notice::Log(line) => Some((line.connection.clone()?, line.text.clone())),
            Notice::Sa { .. } => None,
        }
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn directory(name: &str) -> std::path::PathBuf {
        let directory = std::env::temp_dir().join(format!("keyway-scripts-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory can be written");
        directory
    }

    #[tokio::test]
    async fn a_script_gets_its_variables_and_nothing_else() {
        let directory = directory("variables");
        let out = directory.join("out");
        let command = format!("env > {}", out.display());
        let evil = "$(touch evil)`touch evil`; touch evil #";
        run(&command, vec![variable("PLUTO_PEER_ID", evil)], "site", "net").await.expect("it runs");
        let seen = fs::read_to_string(&out).expect("it wrote");
        let lines: Vec<&str> = seen.lines().filter(|line| !line.starts_with("PWD=")).collect();
        assert!(lines.contains(&format!("PLUTO_PEER_ID={evil}").as_str()), "{seen}");
        let of_the_shell = |line: &&str| line.starts_with("PLUTO_") || line.starts_with("OLDPWD=");
        assert!(
            lines
                .iter()
                .all(|line| of_the_shell(line) || line.starts_with("SHLVL=") || line.starts_with("_=")),
            "{seen}"
        );
        assert!(!std::path::Path::new("evil").exists());
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[tokio::test]
    async fn one_that_fails_is_told_of() {
        let failed = run("exit 3", Vec::new(), "site", "net").await.expect_err("it failed");
        assert_eq!(failed, "`exit 3` ended with exit status: 3");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_killed_with_what_it_started() {
        let directory = directory("hangs");
        let pid = directory.join("pid");
        let command = format!("sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait", pid.display());
        // Time stands still for the clock until nothing else is to be done, and the script must have begun by then.
        let begun = async {
            while !pid.exists() {
                tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5)))
                    .await
                    .expect("it sleeps");
            }
        };
        let (killed, ()) = tokio::join!(run(&command, Vec::new(), "site", "net"), begun);
        let sentence = killed.expect_err("it was killed");
        assert!(sentence.contains("did not end within 30 s and was killed"), "{sentence}");
        let sleeper = fs::read_to_string(&pid).expect("it wrote");
        let stat = format!("/proc/{}/stat", sleeper.trim());
        // A process that was killed is a zombie at most, until somebody has asked for how it ended.
        let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        for _ in 0..2000 {
            if is_gone() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(is_gone(), "{stat}");
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[tokio::test]
    async fn what_it_prints_is_bounded_and_it_goes_on() {
        let mut octets = Vec::new();
        let many = "printf '%65536s\\nover\\n' x; exit 0";
        let mut process =
            Command::new("/bin/sh").args(["-c", many]).stdout(Stdio::piped()).spawn().expect("a shell");
        tell(process.stdout.take(), |line| octets.push(line.len())).await;
        assert!(process.wait().await.expect("it ended").success());
        assert_eq!(octets, [65536]);
    }

    #[tokio::test]
    async fn one_that_leaves_something_running_has_ended() {
        let directory = directory("leaves");
        let pid = directory.join("pid");
        // It holds the output open far longer than the test waits.
        let command = format!("sleep 1000 & echo $! > {}", pid.display());
        let ended = timeout(Duration::from_secs(60), run(&command, Vec::new(), "site", "net")).await;
        let left = fs::read_to_string(&pid).expect("it wrote");
        let left = Pid::from_raw(left.trim().parse().expect("a process")).expect("a process");
        // It must not outlive a test that fails, either.
        let still_there = kill_process(left, Signal::KILL);
        ended.expect("nothing waits for what was left running").expect("the script itself has ended");
        still_there.expect("what was left running still ran");
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
