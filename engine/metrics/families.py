"""Every metric of the balancer; those of its process have the names that all of Prometheus' libraries give them."""

from __future__ import annotations

from typing import Final

from engine.metrics.exposition import Family


def _counter(name: str, told: str) -> Family:
    return Family(f"ikeconsole_{name}_total", "counter", told)


def _gauge(name: str, told: str) -> Family:
    return Family(f"ikeconsole_{name}", "gauge", told)


# Of the engine.
BUILD_INFO: Final = _gauge("build_info", "The version that runs; always 1.")
CONFIG_INFO: Final = _gauge("config_info", "The configuration in force, by a digest of its text; always 1.")
ALARMS: Final = _gauge("alarms", "Alarms that stand, as `ikeconsole status` explains them; 1 each.")
SESSION_TABLE_ENTRIES: Final = _gauge("session_table_entries", "Sessions of all phases, those that sleep included.")
SESSION_TABLE_LIMIT: Final = _gauge("session_table_limit", "Sessions that fit (max_sessions).")
SESSIONS_EVICTED: Final = _counter("sessions_evicted", "Half-open or sleeping sessions that gave way to new ones.")
FLOWS: Final = _gauge("flows", "UDP flows between clients and services.")
UPSTREAM_SOCKETS: Final = _gauge("upstream_sockets", "Sockets towards real servers.")
UPSTREAM_SOCKETS_LIMIT: Final = _gauge("upstream_sockets_limit", "Sockets towards real servers that may be open.")
UPSTREAM_SOCKETS_TAKEN_BACK: Final = _counter(
    "upstream_sockets_taken_back", "Sockets closed under flows that still had traffic, because no more may be open."
)

# Of the fast path.
FAST_PATH_MODE: Final = _gauge("fast_path_mode", "1 for what the fast path is: native, generic or off.")
FAST_PATH_FLOWS: Final = _gauge("fast_path_flows", "Flows that the kernel forwards by itself.")
FAST_PATH_FLOWS_REFUSED: Final = _gauge("fast_path_flows_refused", "Flows that the kernel cannot take, by reason.")
FAST_PATH_PACKETS: Final = _counter("fast_path_packets", "Packets forwarded by the kernel, both directions.")
FAST_PATH_PACKETS_PASSED_UP: Final = _counter(
    "fast_path_packets_passed_up", "Packets that the fast path left to the kernel's own stack, by reason."
)
FAST_PATH_PACKETS_KEPT_OFF: Final = _counter(
    "fast_path_packets_kept_off", "Packets that ended in the fast path: challenged or shielded from."
)
FAST_PATH_DEVICE: Final = _gauge("fast_path_device", "1 for a network device on which all is as wanted, else 0.")

# Of services.
PERSISTENCE_RECORDS: Final = _gauge("persistence_records", "Clients whose real server is remembered.")
DATAGRAMS_DROPPED: Final = _counter("datagrams_dropped", "Datagrams not forwarded, by reason.")
VIOLATIONS: Final = _counter("violations", "How often what should never happen did, by kind of the alarm that tells.")
CHALLENGING: Final = _gauge("challenging", "1 while new clients are asked for a cookie.")
CHALLENGES_SENT: Final = _counter("challenges_sent", "Demands for a cookie that were sent to new clients.")
COOKIES_RECEIVED: Final = _counter("cookies_received", "Cookies that came back, by whether they were right.")

# Of real servers.
SERVER_UP: Final = _gauge("server_up", "1 up, 0 down, by its health probes; absent before the first verdict.")
SERVER_BUSY: Final = _gauge("server_busy", "1 while the real server demands cookies of its own.")
SERVER_ADMIN_STATE: Final = _gauge("server_admin_state", "1 for what is wanted of it: enabled, drain or disabled.")
SERVER_TAKES_SESSIONS: Final = _gauge("server_takes_sessions", "1 while it may be given new sessions.")
SERVER_WEIGHT: Final = _gauge("server_weight", "Its weight as configured.")
SERVER_SESSIONS_LIMIT: Final = _gauge("server_sessions_limit", "Sessions that it may have; absent without a limit.")
SERVER_PROBE_RTT: Final = _gauge("server_probe_rtt_seconds", "Smoothed round-trip time of health probes.")
SERVER_AGENT_LOAD: Final = _gauge("server_agent_load_ratio", "What its load agent says, 0 idle to 1 overloaded.")
SERVER_HANDSHAKE_MEDIAN: Final = _gauge(
    "server_handshake_median_seconds", "From IKE_SA_INIT to the last IKE_AUTH answer, of its latest handshakes."
)
SERVER_HANDSHAKE_P95: Final = _gauge("server_handshake_p95_seconds", "What 95 of 100 of these take at most.")
SERVER_BUSIEST_SOURCE: Final = _gauge(
    "server_busiest_source_sessions", "Most sessions that it sees from one address (snat): error 809 is near at 30."
)
SERVER_FAST_PATH_FLOWS: Final = _gauge("server_fast_path_flows", "Its flows that the kernel forwards by itself.")
SESSIONS: Final = _gauge("sessions", "Sessions by phase: half-open or established; those that sleep are not counted.")
SESSIONS_OPENED: Final = _counter("sessions_opened", "Sessions that began.")
SESSIONS_ENDED: Final = _counter("sessions_ended", "Sessions that ended, of whatever cause.")
PACKETS: Final = _counter("packets", "Packets forwarded on either path: in, from clients; out, to clients.")
BYTES: Final = _counter("bytes", "UDP payload forwarded on either path, by direction.")
MESSAGES_RETRANSMITTED: Final = _counter(
    "messages_retransmitted", "IKE messages that the client (in) or the real server (out) sent again."
)
