// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Datagrams that no flow has, of either address family. */
#ifndef IKECONSOLE_FASTPATH_STRANGER_H
#define IKECONSOLE_FASTPATH_STRANGER_H

#include "cookie.h"
#include "ike.h"

/* A datagram that no flow has. */
struct stranger {
    struct service_end service;
    struct claim claim;      /* the client's address and, in the first message of an IKE SA, its SPI */
    __be16 port;             /* the client's */
    __u16 network_bytes;     /* of the IP header */
    __u32 payload_bytes;
};

static __always_inline void map_v4(__be32 mapped[4], __be32 address)
{
    mapped[0] = mapped[1] = 0;
    mapped[2] = bpf_htonl(0xffff);
    mapped[3] = address;
}

/* Reads the headers, which `forward_v4` and `forward_v6` have found to be those of UDP in plain IP; where the payload
 * begins, or null where the kernel will not take the datagram. */
static __always_inline void *read_stranger(struct stranger *stranger, void *network, void *end)
{
    struct iphdr *v4 = network;
    struct ipv6hdr *v6 = network;
    struct udphdr *udp;
    __u32 room;
    if ((void *)(v4 + 1) > end)
        return 0;
    if (v4->version == 4) {
        udp = (void *)(v4 + 1);
        map_v4(stranger->claim.client, v4->saddr);
        map_v4(stranger->service.address, v4->daddr);
        room = bpf_ntohs(v4->tot_len) - sizeof(*v4);
        stranger->network_bytes = sizeof(*v4);
    } else {
        udp = (void *)(v6 + 1);
        if ((void *)udp > end)
            return 0;
        __builtin_memcpy(stranger->claim.client, &v6->saddr, sizeof(v6->saddr));
        __builtin_memcpy(stranger->service.address, &v6->daddr, sizeof(v6->daddr));
        room = bpf_ntohs(v6->payload_len);
        stranger->network_bytes = sizeof(*v6);
    }
    if ((void *)(udp + 1) > end)
        return 0;
    stranger->service.port = udp->dest;
    stranger->port = udp->source;
    __u32 udp_bytes = bpf_ntohs(udp->len);
    if (udp_bytes < sizeof(*udp) || udp_bytes > room || (void *)udp + room > end)
        return 0;
    if (v4->version != 4 && !udp->check)
        return 0;
    stranger->payload_bytes = udp_bytes - sizeof(*udp);
    return udp + 1;
}

#endif
