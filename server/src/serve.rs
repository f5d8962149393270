//! `wattline serve`: from settings to `ready`, and to the end.
//!
//! Owns: the order of start and stop, listeners, start-up lines. Does not own: what a listener says.
//!
//! *settings → log → sockets → lock, registry, store → listeners → ready → signal → drain → close.* Sockets are bound
//! first, so that a taken port is known before a log is replayed; connections wait in their queue meanwhile.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wattline_ingest::mqtt::{self, MqttListener};
use wattline_query::Watch;

use crate::audit::Auditor;
use crate::commands::Commands;
use crate::config::sources::Gathered;
use crate::config::{Settings, SettingsArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, App};
use crate::journal::Journaling;
use crate::open::{Opened, open};
use crate::policies::{self, Ruling};
use crate::reports::ServerReports;
use crate::tls::{ClientCertificates, server_config};
use crate::{backups, deletions, flight, journal, log, pg, shutdown};

/// Stack of threads that run statements: planning recurses with the depth of a statement, which `query` bounds for
/// 2 MiB without optimisation; this is twice that.
const QUERY_STACK_BYTES: usize = 4 << 20;

/// Connections that wait to be accepted: ten thousand devices may come back at once after an outage.
const BACKLOG: u32 = 4_096;

/// The protocol of the PostgreSQL listener, with TLS or without: clients ask on the same port.
const PG: &str = "postgresql";
const FLIGHT: &str = "flight";

/// Runs the server until it is told to stop.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// A listener that is open.
#[derive(Clone, Debug)]
pub struct Listening {
    /// `http`, `https`, `postgresql`, `flight`, `mqtt` or `mqtts`.
    pub protocol: &'static str,
    /// Where, with the port that was found for port 0.
    pub url: String,
}

struct Bound {
    protocol: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting, or from stopping in good order.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let gathered = args.settings.gather()?;
    let settings = Settings::new(&gathered)?;
    log::start(&settings)?;
    for warning in &gathered.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime("wattline", None)?;
    let queries = runtime_of_queries()?;
    let result = runtime.block_on(serve(&settings, &gathered, queries.handle().clone(), started));
    // Statements still running have nobody left to answer.
    queries.shutdown_background();
    runtime.shutdown_background();
    result
}

fn runtime_of_queries() -> Result<Runtime> {
    runtime("query", Some(QUERY_STACK_BYTES))
}

fn runtime(name: &'static str, stack: Option<usize>) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(name);
    if let Some(bytes) = stack {
        builder.thread_stack_size(bytes);
    }
    builder.build().map_err(|e| Error::failed(format!("threads: {e}")))
}

async fn serve(settings: &Settings, gathered: &Gathered, queries: Handle, started: Instant) -> Result<()> {
    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    let bound = bind_all(settings).await?;
    let opened = {
        let settings = settings.clone();
        let opening = tokio::task::spawn_blocking(move || open(&settings)).await;
        opening.map_err(|panic| Error::failed(format!("opening the data directory: {panic}")))??
    };
    check_reach(&bound, &opened, settings)?;
    let app = Arc::new(app(settings, &opened, queries, started, &stop)?);
    app.engine.watch(Arc::clone(&app.audit) as Arc<dyn Watch>);
    let reports = ServerReports::new(gathered, app.store.shards().get(), Arc::clone(&app.operations));
    app.engine.report(Arc::new(reports));
    let mut tasks = JoinSet::new();
    deletions::fail_interrupted(&app.registry)?;
    let watching = tokio::spawn(deletions::watch(Arc::clone(&app.deletions), stop.clone()));
    let expiring = tokio::spawn(policies::watch(Arc::clone(&app), stop.clone()));
    let backing_up = tokio::spawn(backups::watch(Arc::clone(&app), settings.clone(), stop.clone()));
    app.commands.recover().await?;
    let listening = bound.into_iter().map(|bound| start(bound, settings, &app, &stop, &mut tasks)).collect();
    announce(&app, listening, started);

    let broken = wait(&stop, &mut tasks).await;
    app.stopping.store(true, Ordering::Release);
    stop.cancel();
    app.operations.cancel_all();
    drain(settings, &mut tasks).await;
    // They end with `stop`; what they hold must be let go before the store closes.
    let _ = (watching.await, expiring.await, backing_up.await);
    if let Some(journaling) = &app.journaling {
        journal::finish(Arc::clone(journaling), settings.shutdown_timeout).await;
    }
    let audit = Arc::clone(&app.audit);
    // It may wait for the disk, and nobody notes anything any more.
    let _ = tokio::task::spawn_blocking(move || audit.close()).await;
    let closed = shutdown::close(opened.store.clone(), settings.shutdown_timeout).await;
    tracing::info!("stopped");
    drop(app);
    drop(opened);
    match broken {
        Some(error) => Err(error),
        None => closed,
    }
}

fn app(
    settings: &Settings,
    opened: &Opened,
    queries: Handle,
    started: Instant,
    stop: &CancellationToken,
) -> Result<App> {
    let audit = Auditor::new(opened.registry.clone());
    let audit = audit.map_err(|e| Error::failed(format!("the audit log's thread: {e}")))?;
    let ruling = Arc::new(Ruling::new(opened.registry.clone(), settings.others_latest_only));
    let (rules, store) = (Arc::clone(&ruling), opened.store.clone());
    opened.ingestor.on_system_model(move || rules.apply(&store));
    Ok(App {
        registry: opened.registry.clone(),
        store: opened.store.clone(),
        ingestor: opened.ingestor.clone(),
        engine: opened.engine.clone(),
        queries,
        operations: Arc::default(),
        ruling,
        deletions: Arc::clone(&opened.deletions),
        backup_dir: settings.backup_dir.clone(),
        journaling: settings
            .backup_dir
            .clone()
            .filter(|_| settings.backup_journal.is_some())
            .map(|dir| Arc::new(Journaling::new(dir, opened.registry.clone()))),
        http: settings.http.clone(),
        statements: 0.into(),
        pg: Arc::default(),
        flight: Arc::default(),
        commands: Arc::new(Commands::new(opened.ingestor.clone(), stop.clone())),
        data: http::dataservice::Api::new(settings, opened),
        audit: Arc::new(audit),
        logins: http::login::Logins::default(),
        metrics: http::metrics::HttpMetrics::default(),
        listening: OnceLock::new(),
        started,
        stopping: false.into(),
    })
}

async fn bind_all(settings: &Settings) -> Result<Vec<Bound>> {
    let mut bound = Vec::new();
    if let Some(address) = &settings.http.listen {
        let tls = settings.http.tls.as_ref();
        let tls = tls
            .map(|files| server_config(files, ClientCertificates::Required, &[b"http/1.1"]))
            .transpose()?;
        let protocol = if tls.is_some() { "https" } else { "http" };
        let http = bind("http.listen", protocol, address, tls).await?;
        let guarded = settings.http.token.is_some() || settings.http.allow_unauthenticated_remote;
        if !http.address.ip().is_loopback() && !guarded {
            return Err(Error::usage(format!(
                "setting http.listen: {address} can be reached from elsewhere, and HTTP has no accounts yet; set \
                 http.token, or http.allow_unauthenticated_remote = true where the network is trusted"
            )));
        }
        bound.push(http);
    }
    if let Some(address) = &settings.pg.listen {
        let tls = settings.pg.tls.as_ref();
        let tls = tls
            .map(|files| server_config(files, ClientCertificates::Required, &[b"postgresql"]))
            .transpose()?;
        bound.push(bind("pg.listen", PG, address, tls).await?);
    }
    if let Some(address) = &settings.flight.listen {
        let tls = settings.flight.tls.as_ref();
        let tls =
            tls.map(|files| server_config(files, ClientCertificates::Required, &[b"h2"])).transpose()?;
        let flight = bind("flight.listen", FLIGHT, address, tls).await?;
        if !flight.address.ip().is_loopback() && settings.flight.tls.is_none() {
            return Err(Error::usage(format!(
                "setting flight.listen: {address} can be reached from elsewhere, where passwords must not travel in the \
                 clear; use a loopback address, or set flight.tls.cert and flight.tls.key"
            )));
        }
        bound.push(flight);
    }
    if let Some(address) = &settings.mqtt.listen {
        bound.push(bind("mqtt.listen", "mqtt", address, None).await?);
    }
    if let Some((address, files)) = &settings.mqtt.tls {
        let tls = server_config(files, ClientCertificates::Accepted, &[])?;
        bound.push(bind("mqtt.tls.listen", "mqtts", address, Some(tls)).await?);
    }
    Ok(bound)
}

/// Whoever can reach a listener from elsewhere must prove who they are, and without accounts nobody can.
fn check_reach(bound: &[Bound], opened: &Opened, settings: &Settings) -> Result<()> {
    let certified = settings.flight.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let needs_accounts = |one: &&Bound| match one.protocol {
        PG => true,
        FLIGHT => !certified,
        _ => false,
    };
    let reachable = bound.iter().find(|one| needs_accounts(one) && !one.address.ip().is_loopback());
    match reachable {
        Some(one) if opened.registry.accounts().is_empty() => {
            let setting = if one.protocol == PG { "pg.listen" } else { "flight.listen" };
            Err(Error::usage(format!(
                "setting {setting}: {} can be reached from elsewhere, and there are no accounts; start with a loopback \
                 address and create one with `wattline account create`",
                one.address
            )))
        }
        _ => Ok(()),
    }
}

async fn bind(
    setting: &str,
    protocol: &'static str,
    address: &str,
    tls: Option<Arc<ServerConfig>>,
) -> Result<Bound> {
    let failed =
        |e: std::io::Error| Error::new(ErrorKind::Unreachable, format!("setting {setting}: {address}: {e}"));
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for candidate in tokio::net::lookup_host(address).await.map_err(failed)? {
        match listen(candidate) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(failed)?;
                return Ok(Bound { protocol, socket, address, tls });
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restart must not wait for the connections of the one before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn start(
    bound: Bound,
    settings: &Settings,
    app: &Arc<App>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<Result<()>>,
) -> Listening {
    let Bound { protocol, socket, address, tls } = bound;
    let stop = stop.clone();
    if protocol == PG {
        let (app, settings) = (Arc::clone(app), settings.pg.clone());
        let tls = tls.map(TlsAcceptor::from);
        tasks.spawn(async move {
            pg::serve(socket, tls, app, settings, stop).await;
            Ok(())
        });
    } else if protocol.starts_with("http") {
        let router = http::router(Arc::clone(app));
        let (settings, tls) = (settings.http.clone(), tls.map(TlsAcceptor::from));
        tasks.spawn(async move {
            http::connection::serve(socket, tls, router, settings, stop).await;
            Ok(())
        });
    } else if protocol == FLIGHT {
        let scheme = if tls.is_some() { "grpc+tls" } else { "grpc" };
        let (app, settings) = (Arc::clone(app), settings.flight.clone());
        tasks.spawn(flight::serve(socket, tls.map(TlsAcceptor::from), app, settings, stop));
        return Listening { protocol, url: format!("{scheme}://{address}") };
    } else {
        let listener = match tls {
            None => MqttListener::plain(socket),
            Some(config) => MqttListener::tls(socket, config),
        };
        let mqtt_settings = mqtt::MqttSettings {
            connections_max: settings.mqtt.connections_max,
            login_limits: settings.mqtt.login_limits,
            shutdown_timeout: settings.shutdown_timeout,
            ..mqtt::MqttSettings::default()
        };
        let ingestor = app.ingestor.clone();
        tasks.spawn(async move {
            let served = mqtt::serve(listener, ingestor, mqtt_settings, stop).await;
            served.map_err(|e| Error::failed(format!("{protocol} listener: {e}")))
        });
    }
    Listening { protocol, url: format!("{protocol}://{address}") }
}

/// The start-up lines, which scripts read: one a listener, then `ready`.
fn announce(app: &App, listening: Vec<Listening>, started: Instant) {
    let mut out = String::new();
    for one in &listening {
        out.push_str(&format!("listening {} {}\n", one.protocol, one.url));
    }
    let ms = started.elapsed().as_secs_f64() * 1e3;
    out.push_str(&format!("ready in {ms:.0} ms\n"));
    let known = app.listening.set(listening);
    debug_assert!(known.is_ok(), "announced once");
    let mut stdout = std::io::stdout().lock();
    // Nobody may be reading; that is no reason not to serve.
    let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        shards = app.store.shards().get(),
        devices = app.registry.device_count(),
        "ready"
    );
}

/// Until told to stop, or until a listener ends by itself, which is an error.
async fn wait(stop: &CancellationToken, tasks: &mut JoinSet<Result<()>>) -> Option<Error> {
    tokio::select! {
        // Told to stop, listeners end too: that must not look like an accident.
        biased;
        () = stop.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(match ended {
            Ok(Ok(())) => Error::failed("a listener ended by itself"),
            Ok(Err(error)) => error,
            Err(panic) => Error::failed(format!("a listener ended: {panic}")),
        }),
    }
}

async fn drain(settings: &Settings, tasks: &mut JoinSet<Result<()>>) {
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(settings.shutdown_timeout, drained).await.is_err() {
        tracing::warn!("some connections did not end within shutdown_timeout and are cut");
        tasks.abort_all();
    }
}
