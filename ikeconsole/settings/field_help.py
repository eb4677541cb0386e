"""What every key of the configuration means, for the forms; the words are those of config.toml."""

HELP: dict[str, str] = {
    "engine": "What concerns the whole process.",
    "engine.control_socket": "Where consoles and commands reach the engine. Empty: control.sock in the runtime "
    "directory of root or of the user. Followed only by an engine that is started anew.",
    "engine.control_group": "Members of this group may watch and change things over the control socket. Empty: only "
    "root and the engine's own user. Followed only by an engine that is started anew.",
    "engine.state_dir": "Where the configuration's history is kept. Empty: /var/lib/ikeconsole for root, else the "
    "user's state directory. Followed only by an engine that is started anew.",
    "engine.fast_path": "Whether the kernel forwards established flows by itself (XDP).",
    "engine.max_sessions": "Sessions kept at once, over all services, 1 to 10000000. When full, the oldest half-open "
    "one goes first, an established one never.",
    "engine.max_open_sockets": "Sockets towards real servers open at once; 0: as many as the limit of open files "
    "allows. Followed only by an engine that is started anew.",
    "engine.log_level": "How much the engine writes to its log.",
    "engine.metrics": "Counters and states of services and real servers for Prometheus, nothing of single clients.",
    "engine.metrics.listen": "Address and TCP port at which /metrics is served, such as 127.0.0.1:9466; empty: none. "
    "Nobody is asked for a password: a loopback address, or one of an inner network behind a firewall.",
    "service": "One address that VPN clients connect to, and how they find a real server behind it.",
    "service.name": 'What the service is called: 1 to 64 letters, digits, ".", "_" or "-". Renaming it ends its '
    "sessions; their clients reconnect.",
    "service.address": "IPv4 or IPv6 address that clients connect to: the address of your VPN's name. Changing it "
    "ends the service's sessions.",
    "service.ike_port": "UDP port of IKE. Real clients know only 500; ports below 1024 need root.",
    "service.nat_t_port": "UDP port of IKE and ESP behind NAT. Real clients know only 4500.",
    "service.source": "What the real servers see as the source of a client's packets. Transparent needs root, and the "
    "servers' answers must be routed through this machine; snat needs neither.",
    "service.snat_addresses": "With source snat, the addresses to use, with commas between: single ones, "
    '"LOWEST-HIGHEST" ranges or CIDR blocks. Empty: the address that the route to the server gives.',
    "service.port_following": "Ports 500 and 4500 of one client reach the same real server. Tunnels need it.",
    "service.scheduler": "How a new session finds its server.",
    "service.persistence": "What returns a client to the server it had.",
    "service.persistence_timeout": 'How long that is remembered, at most "7d"; starts again with every packet.',
    "service.persistence_prefix": "How many leading bits of an address make one client.",
    "service.persistence_prefix.v4": "How many leading bits of an IPv4 address make one client, 0 to 32.",
    "service.persistence_prefix.v6": "How many leading bits of an IPv6 address make one client, 0 to 128.",
    "service.slow_start": 'How long a server that came up is given fewer sessions than its share; "0s": not at all.',
    "service.cookie_challenge": "When new clients are asked for a cookie first, which forged addresses cannot bring. "
    "It costs a client one round trip.",
    "service.cookie_threshold": "Half-open sessions above which auto asks for cookies, at least 1.",
    "service.half_open_per_source": "Half-open sessions of one client address, in IPv6 of its /64, beyond which new "
    "ones are dropped; 0: no limit. Keep it above cookie_threshold.",
    "service.half_open_limit": "Half-open sessions of the service beyond which new ones are dropped; 0: no limit, and "
    "in a full table the oldest gives way.",
    "service.timeouts": "When silence ends what the balancer remembers.",
    "service.timeouts.half_open": "An IKE exchange that does not go on.",
    "service.timeouts.ike_idle": "A flow on the IKE port: clients give up after 165 s.",
    "service.timeouts.nat_t_idle": "A flow on the NAT-T port: the default is 15 keepalives missed.",
    "service.timeouts.spi_binding": "The server of an IKE SA, for clients that roam.",
    "service.health": "How real servers are probed.",
    "service.health.type": "What a probe speaks.",
    "service.health.ike_probe": "For type ike: which question it asks, both of which leave no state on the server.",
    "service.health.port": "Port probed; 0: the server's IKE port. Required for type tcp.",
    "service.health.command": "For type exec: a program and its arguments, with commas between; {address} and {name} "
    "are filled in, and exit code 0 means up.",
    "service.health.interval": "From one probe to the next.",
    "service.health.timeout": "How long an answer is waited for, at most the interval.",
    "service.health.fall": "Failures in a row until a server is down, 1 to 100.",
    "service.health.rise": "Successes in a row until it is up again, 1 to 100.",
    "service.agent": "The load agent on each real server, asked over HTTP by the adaptive scheduler only.",
    "service.agent.port": "TCP port that the agent answers at.",
    "service.agent.path": "Path that is asked for. The answer is 0 (idle) to 100 (full), 101 (down) or 102 (disabled).",
    "service.agent.interval": "From one question to the next.",
    "service.agent.timeout": "How long an answer is waited for, at most the interval.",
    "service.real_server": "The VPN servers behind the service.",
    "service.real_server.name": 'What the server is called, unique within the service: letters, digits, ".", "_" or '
    '"-". Renaming it ends its sessions; their clients reconnect.',
    "service.real_server.address": "The server's own address, of the same family as the service's. Changing it ends "
    "the server's sessions.",
    "service.real_server.ike_port": "UDP port of IKE on the server; 0: the service's.",
    "service.real_server.nat_t_port": "UDP port of NAT-T on the server; 0: the service's.",
    "service.real_server.weight": "Its share of new sessions beside the other servers' weights, 0 to 65535; 0 takes "
    "none.",
    "service.real_server.state": "Whether it takes sessions.",
    "service.real_server.max_sessions": "Sessions on it at once; 0: no limit.",
}
"""By the key in the schema, without names; tables are there too."""

CHOICES: dict[str, dict[str, str]] = {
    "engine.fast_path": {
        "auto": "the best that this machine and user allow",
        "native": "in the network driver",
        "generic": "in any driver, slower",
        "off": "everything is forwarded by the engine itself",
    },
    "engine.log_level": {
        "debug": "everything",
        "info": "what happens",
        "warning": "what is wrong or may become so",
        "error": "what is wrong",
    },
    "service.source": {
        "transparent": "the client's own address and port",
        "snat": "an address of this machine",
    },
    "service.port_following": {"on": "as tunnels need it", "off": "only for servers that share their SAs"},
    "service.scheduler": {
        "round-robin": "in turn",
        "weighted-round-robin": "in turn, as often as the weight says",
        "least-connections": "to the fewest sessions (half-open count 1/4)",
        "weighted-least-connections": "to the fewest sessions for its weight",
        "shortest-expected-delay": "fewest for its weight, the new one counted",
        "two-choices": "fewer sessions of two drawn by weight",
        "fixed": "all to the highest weight, others in reserve",
        "source-hash": "by a keyed hash of the client's address",
        "maglev": "by such a hash; few move as servers change",
        "weighted-response-time": "to the quickest probe answers for its weight",
        "adaptive": "by weight in turn, cut by the agents' load",
    },
    "service.persistence": {
        "source-address": "by its address",
        "ike-spi": "each IKE SA for itself: spreads an office behind one NAT",
        "none": "nothing",
    },
    "service.cookie_challenge": {
        "auto": "during floods of new sessions",
        "always": "every new client",
        "off": "never: real servers must help themselves",
    },
    "service.health.type": {
        "ike": "IKE: whether the VPN itself answers",
        "icmp": "ping: says nothing about the VPN",
        "tcp": "a connection to a port",
        "exec": "a program of yours",
        "none": "servers count as up",
    },
    "service.health.ike_probe": {
        "auto": "whichever of the two is answered",
        "version": "a version that no server speaks",
        "init": "a first message that no server accepts",
    },
    "service.real_server.state": {
        "enabled": "it takes new sessions",
        "drain": "its sessions stay, it takes no new ones",
        "disabled": "its sessions end",
    },
}
"""What each choice of a key means."""
