/* What the XDP program and the engine share: sizes, reasons, and the records in the maps.
 *
 * Python reads the same records by `engine/fastpath/layout.py`; a test compares the two with the object's BTF.
 * Addresses and ports are in network byte order, everything else in the machine's. */
#ifndef IKECONSOLE_FASTPATH_LAYOUT_H
#define IKECONSOLE_FASTPATH_LAYOUT_H

enum {
    MAX_PORTS = 256,      /* network devices that frames may leave by */
    MAX_TOTALS = 8192,    /* two for each real server: to it, from it */
    TICK_SHIFT = 20,      /* a tick is 2^20 ns, about a millisecond; `last_used` counts them */
    HOP_AGE_SHIFT = 13,   /* a next hop is looked up anew after 2^13 ticks, about nine seconds */
    NO_VLAN = 0xffff,
};

/* Why a packet was passed up to the kernel's own stack, or dropped; NONE: it was forwarded. */
enum reason {
    REASON_NONE,
    REASON_NOT_IP,        /* ARP and everything else that is neither IPv4 nor IPv6, or has two VLAN tags */
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
    REASONS,
};

struct tuple_v4 {
    __be32 source, destination;
    __be16 source_port, destination_port;
};

struct tuple_v6 {
    __be32 source[4], destination[4];
    __be16 source_port, destination_port;
};

/* Where frames of a flow leave; found by the program itself, and trusted while `epoch` is the current one. */
struct hop {
    __u8 destination[6], source[6];
    __u32 epoch;
    __u16 port;
    __u16 vlan;
    __u16 mtu_bytes;
    __u16 reserved;
};

/* What passed one way. Written without atomics: a device hands all packets of a 5-tuple to one CPU. */
struct account {
    __u64 bytes;          /* of UDP payload */
    __u32 packets;
    __u32 last_used;      /* ticks */
    __be32 esp_spi;       /* of the last ESP packet */
    __u32 total;          /* its real server's place in `totals`, for this direction */
};

/* One direction of a flow: one cache line for IPv4; the kernel keeps the key in the line before it. */
struct flow_v4 {
    struct account account;
    struct hop hop;
    struct tuple_v4 becomes;
    __u32 number;         /* the engine's name for it */
};

struct flow_v6 {
    struct account account;
    struct hop hop;
    struct tuple_v6 becomes;
    __u32 number;
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

struct control {
    __u32 generation;     /* one more whenever routes, neighbours or devices changed */
};

#endif
