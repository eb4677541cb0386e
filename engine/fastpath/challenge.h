// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Answers an IKE_SA_INIT request with the demand for a cookie: the frame is turned round, and nothing is kept. */
#ifndef IKECONSOLE_FASTPATH_CHALLENGE_H
#define IKECONSOLE_FASTPATH_CHALLENGE_H

#include "stranger.h"

#define ANSWER_HOPS 64

/* What bpf_csum_diff can add up: whole words, zeros after the demand. */
struct padded_demand {
    struct demand demand;
    __u8 zeros[3];
} __attribute__((packed));

/* The UDP checksum of an answer. The pseudo-header's addresses are the request's the other way round, and the prefix of
 * those mapped from IPv4, 0xffff, is nothing in a ones' complement sum; nor is the non-ESP marker. */
static __always_inline __u16 checksum_of(struct padded_demand *answer, struct stranger *stranger, __u32 udp_bytes)
{
    __u32 sum = bpf_csum_diff(0, 0, (__be32 *)answer, sizeof(*answer), 0);
    sum = bpf_csum_diff(0, 0, stranger->claim.client, sizeof(stranger->claim.client), sum);
    sum = bpf_csum_diff(0, 0, stranger->service.address, sizeof(stranger->service.address), sum);
    sum = fold(sum) + stranger->service.port + stranger->port + 2 * bpf_htons(udp_bytes) + bpf_htons(IPPROTO_UDP);
    __u16 checksum = ~fold(sum);
    return checksum ? checksum : 0xffff;
}

static __always_inline void turn_round(struct ethhdr *ethernet)
{
    __u8 here[ETH_ALEN];
    __builtin_memcpy(here, ethernet->h_dest, ETH_ALEN);
    __builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, here, ETH_ALEN);
}

static __always_inline void write_v4(struct iphdr *ip, const struct stranger *stranger, __u32 udp_bytes)
{
    /* Never fragmented, so that its identification means nothing (RFC 6864). */
    *ip = (struct iphdr){
        .version = 4,
        .ihl = sizeof(*ip) / 4,
        .tot_len = bpf_htons(sizeof(*ip) + udp_bytes),
        .frag_off = IP_DONT_FRAGMENT,
        .ttl = ANSWER_HOPS,
        .protocol = IPPROTO_UDP,
        .saddr = stranger->service.address[3],
        .daddr = stranger->claim.client[3],
    };
    ip->check = ~fold(bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void write_v6(struct ipv6hdr *ip, const struct stranger *stranger, __u32 udp_bytes)
{
    *ip = (struct ipv6hdr){
        .version = 6,
        .payload_len = bpf_htons(udp_bytes),
        .nexthdr = IPPROTO_UDP,
        .hop_limit = ANSWER_HOPS,
    };
    __builtin_memcpy(&ip->saddr, stranger->service.address, sizeof(ip->saddr));
    __builtin_memcpy(&ip->daddr, stranger->claim.client, sizeof(ip->daddr));
}

/* Whether the kernel would take datagrams from an address, and answers to it could arrive. */
static __always_inline int is_host(const struct stranger *stranger)
{
    const __be32 *address = stranger->claim.client;
    if (!address[0] && !address[1] && address[2] == bpf_htonl(0xffff)) {
        __u8 first = bpf_ntohl(address[3]) >> 24;
        return first && first != 127 && first < 224;
    }
    if (!address[0] && !address[1] && !address[2])
        return 0; /* unspecified, loopback */
    return (bpf_ntohl(address[0]) >> 24) != 0xff;
}

/* Makes an IKE_SA_INIT request the answer to it; whether it has. */
static __always_inline int demand_cookie(struct xdp_md *ctx, __u32 link_bytes, const struct shield *shield,
                                         struct stranger *stranger)
{
    if (!(shield->flags & SHIELD_ANSWERS) || !is_host(stranger))
        return 0;
    __u32 marker_bytes = shield->flags & SHIELD_NAT_T ? NON_ESP_MARKER_BYTES : 0;
    __u32 udp_bytes = sizeof(struct udphdr) + marker_bytes + sizeof(struct demand);
    __u32 frame_bytes = link_bytes + stranger->network_bytes + udp_bytes;
    struct padded_demand answer = {
        .demand = {
            .ike = {
                .spi_i = stranger->claim.spi_i,
                .next_payload = IKE_NOTIFY,
                .version = IKE_VERSION_2,
                .exchange = IKE_SA_INIT,
                .flags = IKE_RESPONSE,
                .length = bpf_htonl(sizeof(struct demand)),
            },
            .notify = {
                .length = bpf_htons(sizeof(struct ike_notify) + sizeof(struct cookie)),
                .type = bpf_htons(IKE_COOKIE),
            },
            .cookie = {
                .key_number = shield->key_number,
                .mac = mac_of(&shield->current, &stranger->claim),
            },
        },
    };
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    long more_bytes = data + frame_bytes - end;
    barrier_var(more_bytes); /* or the compiler subtracts in 32 bits, which the verifier has no pointers for */
    if (bpf_xdp_adjust_tail(ctx, more_bytes))
        return 0;
    data = (void *)(long)ctx->data, end = (void *)(long)ctx->data_end;
    /* There is room now for all of it: below, the verifier alone wants to know. */
    void *network = data + link_bytes;
    struct udphdr *udp;
    if (stranger->network_bytes == sizeof(struct iphdr)) {
        udp = network + sizeof(struct iphdr);
        if ((void *)(udp + 1) > end)
            return 0;
        write_v4(network, stranger, udp_bytes);
    } else {
        udp = network + sizeof(struct ipv6hdr);
        if ((void *)(udp + 1) > end)
            return 0;
        write_v6(network, stranger, udp_bytes);
    }
    turn_round(data);
    *udp = (struct udphdr){
        .source = stranger->service.port,
        .dest = stranger->port,
        .len = bpf_htons(udp_bytes),
        .check = checksum_of(&answer, stranger, udp_bytes),
    };
    void *ike = (void *)(udp + 1) + marker_bytes;
    if (ike + sizeof(answer.demand) > end)
        return 0;
    __builtin_memcpy(ike, &answer.demand, sizeof(answer.demand));
    return 1;
}

#endif
