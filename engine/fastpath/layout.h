/* What the XDP program and the engine share: sizes, reasons, and the records in the maps.
 *
 * Python reads the same records by `engine/fastpath/layout.py`; a test compares the two.
 * Addresses and ports are in network byte order, everything else in the machine's. */
#ifndef IKECONSOLE_FASTPATH_LAYOUT_H
#define IKECONSOLE_FASTPATH_LAYOUT_H

enum {
    MAX_PORTS = 256,      /* network devices that frames may leave by */
    MAX_EGRESSES = 4352,  /* these, and as many VLAN devices as one of them can have */
    MAX_TOTALS = 8192,    /* two for each real server: to it, from it */
    PROBES = 16,          /* slots from its first one on that a flow may be in */
    TICK_SHIFT = 28,      /* a tick is 2^28 ns, about a quarter of a second; `last_used` counts them */
    HOP_AGE_SHIFT = 5,    /* a next hop is looked up anew after 2^5 ticks, about nine seconds */
    NO_VLAN = 0xffff,
    MAX_SERVICES = 512,   /* that the program can shield */
    UNKNOWN_EVERY_NS = 100 * 1000,         /* to the slow path, for each service and CPU: 10 000 a second */
    FOREIGN_COOKIE_EVERY_NS = 1000 * 1000, /* 1 000 a second */
    BURST_NS = 100 * 1000 * 1000,          /* what comes at once after silence: as many as in this time */
};

/* Why a packet was passed up to the kernel's own stack, or dropped; NONE: it was forwarded. */
enum reason {
    REASON_NONE,
    REASON_NOT_IP,        /* ARP and everything else that is neither IPv4 nor IPv6, or has two VLAN tags */
    REASON_MULTICAST,     /* addressed to more than this host */
    REASON_NOT_UDP,
    REASON_OPTIONS,       /* IPv4 options, IPv6 extension headers */
    REASON_FRAGMENT,
    REASON_MALFORMED,     /* lengths that contradict each other */
    REASON_MISS,          /* no flow of ours */
    REASON_IKE,           /* a message with the non-ESP marker, or too short for ESP */
    REASON_TTL,           /* would expire here */
    REASON_OVERSIZE,      /* does not fit the way it must leave by */
    REASON_NO_ROUTE,
    REASON_NO_NEIGHBOUR,  /* the kernel has yet to find the next hop's MAC address */
    REASON_NO_FORWARDING, /* forwarding is off where the packet came in */
    REASON_NO_PORT,       /* must leave by a device that was not found fit */
    REASON_NO_HEADROOM,   /* no room for the VLAN tag that it needs */
    REASON_PORT_GONE,     /* dropped: the device it must leave by is no more */
    REASON_SHIELDED,      /* dropped: of no use to its service, which counts why */
    REASON_CHALLENGED,    /* answered: a client must show that it is at its address */
    REASONS,
};

/* Why a packet of no flow was kept from its service, or answered in its place: counted for each service. */
enum outcome {
    OUTCOME_RUNT,
    OUTCOME_IKE_V1,
    OUTCOME_IKE_VERSION,
    OUTCOME_ZERO_SPI,
    OUTCOME_BAD_LENGTH,   /* an IKE message that claims less than its header */
    OUTCOME_TRUNCATED,    /* an IKE message that claims more than there is */
    OUTCOME_IMPOSSIBLE_SOURCE,
    OUTCOME_UNKNOWN_SPI_LIMIT, /* ESP and keepalives of no flow, faster than the slow path can look for theirs */
    OUTCOME_IMPLAUSIBLE_INIT,
    OUTCOME_FOREIGN_COOKIE_LIMIT, /* cookies that real servers may have given, faster than any can be used */
    OUTCOME_COOKIE_REFUSED,
    OUTCOME_CHALLENGED,
    OUTCOMES,
    OUTCOME_PASSED = OUTCOMES, /* not counted here: the slow path does */
};

struct tuple_v4 {
    __be32 source, destination;
    __be16 source_port, destination_port;
};

struct tuple_v6 {
    __be32 source[4], destination[4];
    __be16 source_port, destination_port;
};

/* What a slot of a table of flows is. */
enum state {
    STATE_EMPTY,          /* never used: a search ends here */
    STATE_LIVE,
    STATE_GONE,           /* was used: a search goes on */
};

/* Where frames of a flow leave and what passed of it: all that is written for every packet.
 * Written without atomics: a device hands all packets of a 5-tuple to one CPU. */
struct track {
    __u8 destination[6], source[6];
    __u16 epoch;          /* of the next hop, which the program finds by itself */
    __u16 vlan;
    __u16 mtu_bytes;
    __u8 port;
    __u8 state;
    __u16 total;          /* its real server's place in `totals`, for this direction */
    __u16 last_used;      /* ticks */
    __u32 packets;
    __be32 esp_spi;       /* of the last ESP packet */
    __u64 bytes;          /* of UDP payload */
};

/* One direction of a flow: a cache line. */
struct flow_v4 {
    struct tuple_v4 is, becomes;
    struct track track;
};

/* Two cache lines. */
struct flow_v6 {
    struct tuple_v6 is, becomes;
    __u8 reserved[16];
    struct track track;
};

/* What passed to or from one real server, on one CPU. */
struct total {
    __u64 packets, bytes;
};

/* A device that frames may leave by, under the index of the device that the routing table names. */
struct egress {
    __u16 port;           /* its place in the `ports` map: the device itself, or the one below a VLAN device */
    __u16 vlan;           /* identifier, or NO_VLAN */
};

/* One end of a service: its address, IPv4 mapped into IPv6, and its IKE or NAT-T port. */
struct service_end {
    __be32 address[4];
    __be16 port;
    __u16 reserved;
};

struct cookie_key {
    __u64 words[2];
};

enum shield_flag {
    SHIELD_NAT_T = 1,      /* the end has the NAT-T port */
    SHIELD_CHALLENGES = 2, /* an IKE_SA_INIT without cookie does not get through */
    SHIELD_ANSWERS = 4,    /* it is challenged here, not by the slow path */
    SHIELD_LIMITS = 8,     /* the slow path has no tunnels: what is unknown here is most likely unknown there */
};

/* What protects one end of a service. */
struct shield {
    struct cookie_key current, previous;
    __u16 place;           /* of its service in `tallies` */
    __u8 key_number;       /* of the current key; the previous one has the number before */
    __u8 flags;
    __u32 reserved;
};

enum limit {
    LIMIT_UNKNOWN,
    LIMIT_FOREIGN_COOKIE,
    LIMITS,
};

/* What one CPU has done for a service. */
struct tally {
    __u64 due_ns[LIMITS];  /* when the next packet is within the limit, if none comes in a burst */
    __u64 counts[OUTCOMES];
};

struct control {
    __u64 seeds[2];       /* of the hash, secret */
    __u32 mask_v4, mask_v6; /* slots that a hash can point to, less one; the last has PROBES - 1 after it */
    __u32 generation;     /* one more whenever routes, neighbours or devices changed */
};

#endif
