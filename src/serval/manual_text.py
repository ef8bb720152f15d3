"""The parts of the manual that no setting says: signals, exit statuses, examples, prose.

Text only; `manual.py` makes a page of it.
"""

from typing import Final

from serval.errors import ExitStatus
from serval.scoreboard import WorkerState

SUMMARY: Final = "serve an ASGI or WSGI application from supervised worker processes"

DESCRIPTION: Final = (
    "serval opens its listening sockets, starts worker processes that load the application, and "
    "serves HTTP/1.1 and WebSocket from them until a signal stops it. A worker that dies is "
    "replaced. The command server is the same program under a second name, and so is "
    "python3 -m serval.",
    "MODULE:ATTRIBUTE names a module, with dots where it lies in packages, and the application in "
    "it. It is looked for in the current directory first.",
)

APPLICATION: Final = (
    'An application learns of the end by scope["extensions"]["serval"]["draining"], which '
    "requests, WebSockets and the lifespan have: is_set() says whether this worker stops, and "
    "await wait() waits until it does. A stream can end by choice then. After "
    "--shutdown-stream-grace its receive() yields http.disconnect, and after "
    "--timeout-graceful-shutdown it is cancelled. A WebSocket is closed with --ws-shutdown-code "
    "half a second after draining began.",
)

OPTIONS: Final = (
    "TIME is a number of seconds, or numbers with units: 90, 500ms, 6m, 1h30m. SIZE is a number of "
    "bytes or has a unit: k, M, G and KiB, MiB, GiB are powers of 1024, kB, MB, GB of 1000.",
    "The names that other servers have for a flag are understood, and given with it below. They "
    "are names on the command line only.",
)

COMMANDS: Final = (
    "These words in place of MODULE:ATTRIBUTE ask a running server, through its admin endpoint. "
    "They find it as the server does: by --admin-bind, SERVAL_ADMIN_BIND, or admin_bind in the "
    "file that --config or SERVAL_CONFIG names.",
)

ADMIN_ENDPOINT: Final = (
    "With --admin-bind the supervisor answers HTTP requests by itself, from what the workers have "
    "written into shared memory: it does so when all of them are busy, hung or dead. Counters are "
    "sums over all workers, and never fall when one is replaced. What it tells is up to a second "
    "old. A Unix socket is made with mode 0600; a port lets anybody read who can reach it, and "
    "nobody change anything.",
)

ADMIN_PATHS: Final = (
    ("GET /livez", "200 while the supervisor runs."),
    (
        "GET /readyz",
        "200 from when all workers have started, while at least one takes requests; 503 before, "
        "and from the moment in which the server is told to stop.",
    ),
    (
        "GET /metrics",
        "Counters, gauges and histograms, as Prometheus reads them. Counters are sums over all "
        "workers that ever were: requests, their times and bytes, connections, refusals by reason, "
        "how late event loops ran. Gauges tell workers apart: requests in flight, connections, "
        "memory, lag, threads of AnyIO's pool.",
    ),
    ("GET /status", "The same and more as JSON: what serval status shows."),
    ("POST /reload", "What SIGHUP does. Over a Unix socket only."),
    ("POST /scale?workers=N", "N workers, until the next restart. Over a Unix socket only."),
)

PROXIES: Final = (
    "Applications see the client and the scheme that a proxy tells, not the proxy's, where the "
    "proxy is trusted. By default that is what connects from 127.0.0.1, ::1 or over a Unix socket; "
    "--forwarded-allow-ips names others. Whether a peer is trusted is decided by its address, or "
    "by the one that the PROXY protocol gives for it. Of anybody else every such header is left "
    "as it is and believed in nothing.",
    "A header can be trusted only if each proxy sets it or removes it: most pass on what a client "
    "wrote into one that they do not know. Therefore only x-forwarded-for and x-forwarded-proto "
    "are believed until --forwarded-headers names others.",
)

PROXY_HEADERS: Final = (
    (
        "x-forwarded-for",
        "The client is the first address from the right, over all fields, that is not a trusted "
        "proxy's; with --forwarded-allow-ips * it is the leftmost, and with --proxy-hops N the Nth "
        "from the right. The walk ends at what is no address. Without a port the client's is 0.",
    ),
    (
        "x-forwarded-proto",
        "http, https, ws or wss, as the proxy next to the client saw it; anything else is ignored.",
    ),
    ("x-forwarded-host", "Takes the place of the Host header."),
    (
        "x-forwarded-prefix",
        "The path that proxies have removed: the root path, in place of --root-path.",
    ),
    ("forwarded", "for, proto and host of RFC 7239, in place of the first three."),
)

TLS: Final = (
    "With --ssl-certfile every address speaks TLS, and nothing is ever served without it: what "
    "cannot be loaded stops the start with status 3, and plain HTTP is answered with 400. "
    "Certificates and keys are read before the workers take on --user, so that only root need be "
    "able to read them.",
    "Files that have changed are taken up by the first handshake a second later, where the workers "
    "may read them, and by SIGHUP. A pair that cannot be used is told in the log, and the one "
    "before it stays. Connections that are open keep what they began with.",
    "Applications find the extension tls in the scopes of requests and WebSockets, with the "
    "certificate, the version and the cipher, and the certificate of the client where there is "
    "one. A client whose certificate does not hold is refused in the handshake.",
)

SERVICE: Final = (
    "Under systemd, sockets that it passes (LISTEN_FDS) are served in place of the default "
    "address. A service of Type=notify is told of readiness, reloads, the stop and a line of "
    "status; with WatchdogSec= it gets a sign of life for as long as the event loop of at least "
    "one worker turns.",
    "With --user and --group the supervisor stays who it is, so that it can open ports, read keys "
    "and remove its files; each worker becomes that user before it loads the application.",
    "As the first process of a container it needs no init beside it: it handles signals from the "
    "start and collects orphans.",
    "Where PROMETHEUS_MULTIPROC_DIR names a directory for the application's own metrics, the "
    "supervisor makes it, empties it before the first worker starts, and removes the live gauges "
    "of workers that have died, as prometheus_client asks of a server.",
    "Of a connection to a Unix socket, applications find the process at the other end, its user "
    'and its group in scope["extensions"]["serval"]["peer"], as pid, uid and gid, where the kernel '
    "tells them (Linux).",
    "A pid file is not taken from a serval that is alive; one that names a dead process, or "
    "another program, is written over.",
)

CONFIGURATION_FILE: Final = (
    "A TOML file given with --config holds settings at its top level, each under the key that is "
    "given with it above. Where the file's name is pyproject.toml, they stand in the table "
    "[tool.serval]; such a table in ./pyproject.toml is found without --config. Durations and "
    "sizes are numbers, or texts as on the command line. Relative paths begin at the current "
    "directory, not at the file.",
)

CONFIGURATION_EXAMPLE: Final = """\
app = "myapp:app"
bind = ["0.0.0.0:8000", "unix:/run/myapp.sock"]
workers = 4
timeout_keep_alive = "75s"
max_body_size = "10MiB"
access_log = false
"""

ENVIRONMENT: Final = (
    "Each setting is read from the variable that is given with it above. Of a list, commas stand "
    "between the items, and line ends between the items of SERVAL_HEADER and "
    "SERVAL_SSL_SNI. An unknown variable that begins with SERVAL_ is an error.",
    "A flag wins over a variable, a variable over one from an env file, and these over the "
    "configuration file. bind takes the place of host and port: of the sources that say where to "
    "listen, the strongest counts, and one source cannot give both.",
)

VARIABLES: Final = (
    ("SERVAL_CONFIG", "The configuration file, as with --config."),
    (
        "FORWARDED_ALLOW_IPS",
        "The proxies to trust, where nothing else gives them.",
    ),
    ("PORT", "The port, where neither a setting nor a file gives one or gives bind."),
    ("WEB_CONCURRENCY", "The number of workers, where nothing else gives it."),
)

ENV_FILES: Final = (
    "An env file holds lines KEY=value, with or without export before them. A value may stand in "
    'single quotes, which keep it as it is, or in double quotes, which know \\n, \\t, \\r, \\", '
    "\\$ and \\\\; either may go over several lines. Lines that begin with # and, outside quotes, "
    "text from a # behind a blank are comments. The variables are set for the application, and "
    "those that begin with SERVAL_ are settings. A variable that is set already stays as it is.",
)

SIGNALS: Final = (
    (
        "TERM, INT",
        "Stop: no new connections, running requests may finish within --timeout-graceful-shutdown. "
        "TERM lets everything be served on for --drain-delay before. "
        "A second one shortens the wait, a third ends it.",
    ),
    ("QUIT", "Stop at once, without waiting for running requests."),
    (
        "HUP",
        "Read the configuration, the certificates and the application anew: new workers start, and "
        "the old ones end once those are ready. Where something is wrong with one of them, the old "
        "ones stay. Flags and environment are those of the start; where to listen changes only "
        "with a restart, and so "
        "does an application that was loaded with --preload.",
    ),
    ("TTIN, TTOU", "One worker more, one worker less."),
    ("USR1", "Open the log files anew, after they were renamed; for logrotate."),
    (
        "USR2",
        "Every worker writes to the log where its threads and tasks stand, and its connections.",
    ),
)

SIGNALS_NOTE: Final = (
    "They go to the supervisor, the first process. With --workers 0 there is none, and only TERM, "
    "INT, QUIT, USR1 and USR2 have these meanings.",
)

WORKER_STATES_NOTE: Final = (
    "What a worker is doing, as serval status, GET /status and the metric serval_workers tell it.",
)

WORKER_STATES: Final = (
    (WorkerState.BOOTING, "It loads the application and runs its lifespan startup."),
    (WorkerState.READY, "It takes connections and serves."),
    (
        WorkerState.RETIRING,
        "It has served long enough (--limit-max-requests, --workers-max-rss, --workers-lifetime) "
        "and serves on until its replacement is ready.",
    ),
    (WorkerState.DRAINING, "It takes nothing new and finishes what runs."),
    (WorkerState.CLOSING, "Every connection is gone; the lifespan shutdown runs."),
    (WorkerState.STOPPED, "It has ended, or is about to."),
)

EXIT_STATUSES: Final = (
    (ExitStatus.OK, "It was stopped by a signal and ended in order."),
    (ExitStatus.USAGE, "A flag, a variable or a file is wrong; nothing was started."),
    (
        ExitStatus.BOOT,
        "The application or a certificate could not be loaded, or the lifespan startup failed.",
    ),
    (ExitStatus.CRASH_LOOP, "Workers died faster than it makes sense to replace them."),
    (ExitStatus.SHUTDOWN, "The application failed in its lifespan shutdown."),
    (ExitStatus.BIND, "A listening socket could not be opened."),
    (
        ExitStatus.UNANSWERED,
        "No running server answered serval status, top, reload or scale, or it refused.",
    ),
)

EXAMPLES: Final = (
    ("Serve on http://127.0.0.1:8000, with one worker:", "serval myapp:app"),
    (
        "Four workers, behind a proxy on the same machine:",
        "serval myapp:app --workers 4 --bind unix:/run/myapp.sock",
    ),
    (
        "In a container, on the port that the platform gives:",
        "PORT=8080 serval myapp:app --host 0.0.0.0",
    ),
    (
        "See what would be in force, and where each value comes from:",
        "serval myapp:app --config serval.toml --print-config",
    ),
    (
        "With an admin endpoint, and then asked how it does:",
        "serval myapp:app --admin-bind unix:/run/myapp-admin.sock\n"
        "serval status --admin-bind unix:/run/myapp-admin.sock",
    ),
    (
        "In a debugger, without worker processes:",
        "python3 -m pdb -m serval myapp:app --workers 0",
    ),
)

COMPLETION: Final = (
    "The command completes its flags, the values that can be listed, and paths. One line in the "
    "start-up file of a shell turns it on; for the name server, write server and "
    "_SERVER_COMPLETE.",
)

COMPLETION_LINES: Final = (
    ("~/.bashrc", 'eval "$(_SERVAL_COMPLETE=bash_source serval)"'),
    ("~/.zshrc", 'eval "$(_SERVAL_COMPLETE=zsh_source serval)"'),
    ("~/.config/fish/completions/serval.fish", "_SERVAL_COMPLETE=fish_source serval | source"),
)
