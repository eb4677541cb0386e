// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Forwards ESP-in-UDP and NAT keepalives of known flows; whatever else comes is passed up untouched. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

#define AF_INET 2
#define AF_INET6 10
#define IP_FRAGMENTED bpf_htons(0x3fff) /* more fragments, or an offset */
#define IP_DONT_FRAGMENT bpf_htons(0x4000)
#define SMALLEST_ESP_BYTES 8

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct flow_v4);
} flows_v4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct flow_v6);
} flows_v6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, MAX_PORTS);
    __type(key, __u32);
    __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_EGRESSES);
    __type(key, __u32);
    __type(value, struct egress);
} egresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct control);
} controls SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, REASONS);
    __type(key, __u32);
    __type(value, __u64);
} reasons SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MAX_TOTALS);
    __type(key, __u32);
    __type(value, struct total);
} totals SEC(".maps");

struct vlan_tag {
    __be16 identifier, encapsulated;
};

static __always_inline int count(enum reason reason, int verdict)
{
    __u32 key = reason;
    __u64 *counter = bpf_map_lookup_elem(&reasons, &key);
    if (counter)
        ++*counter;
    return verdict;
}

static __always_inline int pass(enum reason reason)
{
    return count(reason, XDP_PASS);
}

/* ---- tables of flows: open addressing, a flow within PROBES slots from where its hash points ---- */

static __always_inline __u32 mixed(__u64 hash)
{
    hash = (hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9;
    return hash >> 32;
}

static __always_inline __u32 hash_v4(const struct control *control, const struct tuple_v4 *tuple)
{
    __u64 hash = (((__u64)tuple->destination << 32 | tuple->source) ^ control->seeds[0]) * 0x9e3779b97f4a7c15;
    __u32 ports = (__u32)tuple->destination_port << 16 | tuple->source_port;
    return mixed(((hash ^ (hash >> 32)) + ports) * control->seeds[1]);
}

static __always_inline __u32 hash_v6(const struct control *control, const struct tuple_v6 *tuple)
{
    const __be32 *words = (const void *)tuple; /* source, then destination */
    __u64 hash = control->seeds[0];
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        hash = (hash ^ ((__u64)words[i + 1] << 32 | words[i])) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    __u32 ports = (__u32)tuple->destination_port << 16 | tuple->source_port;
    return mixed((hash + ports) * control->seeds[1]);
}

static __always_inline int same_v4(const struct tuple_v4 *one, const struct tuple_v4 *other)
{
    return one->source == other->source && one->destination == other->destination &&
           one->source_port == other->source_port && one->destination_port == other->destination_port;
}

static __always_inline int same_v6(const struct tuple_v6 *one, const struct tuple_v6 *other)
{
    __u32 difference = (one->source_port ^ other->source_port) | (one->destination_port ^ other->destination_port);
#pragma unroll
    for (int i = 0; i < 4; i++)
        difference |= (one->source[i] ^ other->source[i]) | (one->destination[i] ^ other->destination[i]);
    return !difference;
}

static __always_inline struct flow_v4 *find_v4(const struct control *control, const struct tuple_v4 *tuple)
{
    __u32 first = hash_v4(control, tuple) & control->mask_v4;
#pragma unroll
    for (int i = 0; i < PROBES; i++) {
        __u32 slot = first + i;
        struct flow_v4 *flow = bpf_map_lookup_elem(&flows_v4, &slot);
        if (!flow || flow->track.state == STATE_EMPTY)
            return 0;
        if (same_v4(&flow->is, tuple) && flow->track.state == STATE_LIVE)
            return flow;
    }
    return 0;
}

static __always_inline struct flow_v6 *find_v6(const struct control *control, const struct tuple_v6 *tuple)
{
    __u32 first = hash_v6(control, tuple) & control->mask_v6;
#pragma unroll
    for (int i = 0; i < PROBES; i++) {
        __u32 slot = first + i;
        struct flow_v6 *flow = bpf_map_lookup_elem(&flows_v6, &slot);
        if (!flow || flow->track.state == STATE_EMPTY)
            return 0;
        if (same_v6(&flow->is, tuple) && flow->track.state == STATE_LIVE)
            return flow;
    }
    return 0;
}

/* ---- checksums (RFC 1624: HC' = ~(~HC + ~m + m')) ---- */

static __always_inline __u32 fold(__u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* What replacing a word adds to a sum of 16-bit words; two of them never overflow 32 bits when folded in between. */
static __always_inline __u32 replaced(__be32 from, __be32 to)
{
    __u32 gone = ~from;
    return (gone & 0xffff) + (gone >> 16) + (to & 0xffff) + (to >> 16);
}

static __always_inline __u16 adjusted(__u16 checksum, __u32 change)
{
    return ~fold((__u16)~checksum + change);
}

static __always_inline __u16 adjusted_udp(__u16 checksum, __u32 change)
{
    __u16 sum = adjusted(checksum, change);
    return sum ? sum : 0xffff;
}

#include "shield.h"

/* ---- next hops ---- */

/* Generation and time: a hop found in another epoch is not trusted any more. */
static __always_inline __u16 current_epoch(const struct control *control, __u16 now)
{
    return control->generation << 8 | ((now >> HOP_AGE_SHIFT) & 0xff);
}

static __always_inline enum reason why_not_routed(long answer)
{
    switch (answer) {
    case BPF_FIB_LKUP_RET_NO_NEIGH:
        return REASON_NO_NEIGHBOUR;
    case BPF_FIB_LKUP_RET_FWD_DISABLED:
        return REASON_NO_FORWARDING;
    case BPF_FIB_LKUP_RET_FRAG_NEEDED:
        return REASON_OVERSIZE;
    default:
        return REASON_NO_ROUTE;
    }
}

/* Looks a flow's next hop up; REASON_NONE when it has one now. */
static __always_inline enum reason find_hop(struct xdp_md *ctx, struct bpf_fib_lookup *way, struct track *hop,
                                            __u16 epoch)
{
    way->ifindex = ctx->ingress_ifindex;
    way->l4_protocol = IPPROTO_UDP;
    way->tot_len = 1; /* asks for the way's MTU without holding this packet against it */
    long answer = bpf_fib_lookup(ctx, way, sizeof(*way), 0);
    if (answer != BPF_FIB_LKUP_RET_SUCCESS)
        return why_not_routed(answer);
    __u32 device = way->ifindex;
    struct egress *egress = bpf_map_lookup_elem(&egresses, &device);
    if (!egress)
        return REASON_NO_PORT;
    __builtin_memcpy(hop->destination, way->dmac, ETH_ALEN);
    __builtin_memcpy(hop->source, way->smac, ETH_ALEN);
    hop->port = egress->port;
    hop->vlan = egress->vlan;
    hop->mtu_bytes = way->mtu_result;
    hop->epoch = epoch;
    return REASON_NONE;
}

/* ---- the frame ---- */

static __always_inline __u32 link_bytes_of(const struct track *hop)
{
    return hop->vlan == NO_VLAN ? ETH_HLEN : ETH_HLEN + sizeof(struct vlan_tag);
}

/* Makes room for the Ethernet header that a hop wants; whether there is. */
static __always_inline int has_link_of(struct xdp_md *ctx, const struct track *hop, __u32 link_bytes)
{
    int more_bytes = (int)link_bytes_of(hop) - (int)link_bytes;
    return !more_bytes || !bpf_xdp_adjust_head(ctx, -more_bytes);
}

/* Writes the Ethernet header that a hop wants, for which there is room at the beginning of the frame. */
static __always_inline void write_link(struct ethhdr *ethernet, const struct track *hop, __be16 protocol)
{
    struct vlan_tag *tag = (void *)(ethernet + 1);
    __builtin_memcpy(ethernet->h_dest, hop->destination, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, hop->source, ETH_ALEN);
    if (hop->vlan == NO_VLAN) {
        ethernet->h_proto = protocol;
    } else {
        ethernet->h_proto = bpf_htons(ETH_P_8021Q);
        tag->identifier = bpf_htons(hop->vlan);
        tag->encapsulated = protocol;
    }
}

static __always_inline void note(struct track *track, __u32 payload_bytes, __be32 first_word, __u16 now)
{
    track->packets++;
    track->bytes += payload_bytes;
    track->last_used = now;
    if (payload_bytes > 1)
        track->esp_spi = first_word;
    __u32 key = track->total;
    struct total *total = bpf_map_lookup_elem(&totals, &key);
    if (total) {
        total->packets++;
        total->bytes += payload_bytes;
    }
}

/* Sends the frame, and counts what it carried. */
static __always_inline int send(struct track *track, __u32 payload_bytes, __be32 first_word, __u16 now)
{
    int verdict = bpf_redirect_map(&ports, track->port, XDP_DROP);
    if (verdict != XDP_REDIRECT)
        return count(REASON_PORT_GONE, verdict);
    note(track, payload_bytes, first_word, now);
    return verdict;
}

/* REASON_NONE for ESP and NAT keepalives (RFC 3948 section 2), which need no look. */
static __always_inline enum reason why_looked_at(const struct udphdr *udp, __u32 payload_bytes, void *end,
                                                 __be32 *first_word)
{
    const __be32 *payload = (const void *)(udp + 1);
    if (payload_bytes == 1) {
        if ((void *)payload + 1 > end)
            return REASON_MALFORMED;
        return *(const __u8 *)payload == 0xff ? REASON_NONE : REASON_IKE;
    }
    if (payload_bytes < SMALLEST_ESP_BYTES)
        return REASON_IKE;
    if ((void *)(payload + 2) > end)
        return REASON_MALFORMED;
    *first_word = *payload;
    return *first_word ? REASON_NONE : REASON_IKE;
}

/* Clears don't-fragment: the error of a router with a small MTU would name addresses that its addressee does not know,
 * and never reach the end that has to send less. The identification of a fragment must be its own (RFC 6864).
 * Returns what that adds to the header's sum. */
static __always_inline __u32 let_fragment(struct iphdr *ip, __u32 packets)
{
    if (!(ip->frag_off & IP_DONT_FRAGMENT))
        return 0;
    __be16 identification = packets, flags = ip->frag_off & ~IP_DONT_FRAGMENT;
    __u32 change = (__u16)~ip->id + identification + (__u16)~ip->frag_off + flags;
    ip->id = identification;
    ip->frag_off = flags;
    return change;
}

static __always_inline int forward_v4(struct xdp_md *ctx, const struct control *control, __u32 link_bytes)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct iphdr *ip = data + link_bytes;
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(ip + 1) > end)
        return pass(REASON_MALFORMED);
    if (ip->protocol != IPPROTO_UDP)
        return pass(REASON_NOT_UDP);
    if (ip->version != 4 || ip->ihl < sizeof(*ip) / 4)
        return pass(REASON_MALFORMED);
    if (ip->ihl > sizeof(*ip) / 4)
        return pass(REASON_OPTIONS);
    if (ip->frag_off & IP_FRAGMENTED)
        return pass(REASON_FRAGMENT);
    if ((void *)(udp + 1) > end)
        return pass(REASON_MALFORMED);

    struct tuple_v4 key = {ip->saddr, ip->daddr, udp->source, udp->dest};
    struct flow_v4 *flow = find_v4(control, &key);
    if (!flow)
        return meet_stranger(ctx, link_bytes);
    __u32 network_bytes = bpf_ntohs(ip->tot_len), udp_bytes = bpf_ntohs(udp->len);
    if (udp_bytes < sizeof(*udp) || network_bytes != udp_bytes + sizeof(*ip) || (void *)ip + network_bytes > end)
        return pass(REASON_MALFORMED);
    __u32 payload_bytes = udp_bytes - sizeof(*udp);
    __be32 first_word = 0;
    enum reason reason = why_looked_at(udp, payload_bytes, end, &first_word);
    if (reason != REASON_NONE)
        return pass(reason);
    if (ip->ttl <= 1)
        return pass(REASON_TTL);

    __u16 now = bpf_ktime_get_coarse_ns() >> TICK_SHIFT, epoch = current_epoch(control, now);
    struct track *hop = &flow->track;
    if (hop->epoch != epoch) {
        struct bpf_fib_lookup way = {
            .family = AF_INET, .tos = ip->tos, .ipv4_src = flow->becomes.source, .ipv4_dst = flow->becomes.destination};
        reason = find_hop(ctx, &way, hop, epoch);
        if (reason != REASON_NONE)
            return pass(reason);
    }
    if (network_bytes > hop->mtu_bytes)
        return pass(REASON_OVERSIZE);

    if (!has_link_of(ctx, hop, link_bytes))
        return pass(REASON_NO_HEADROOM);
    data = (void *)(long)ctx->data, end = (void *)(long)ctx->data_end;
    ip = data + link_bytes_of(hop);
    udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end)
        return XDP_ABORTED; /* never: the verifier wants it asked again after the frame has moved */
    write_link(data, hop, bpf_htons(ETH_P_IP));

    const struct tuple_v4 *becomes = &flow->becomes;
    __u32 change = replaced(key.source, becomes->source) + replaced(key.destination, becomes->destination);
    ip->saddr = becomes->source;
    ip->daddr = becomes->destination;
    ip->ttl--;
    ip->check = adjusted(ip->check, change + let_fragment(ip, hop->packets) +
                                        bpf_htons(0xfeff)); /* the TTL is the higher byte of its word */
    udp->source = becomes->source_port;
    udp->dest = becomes->destination_port;
    if (udp->check)
        udp->check = adjusted_udp(udp->check, change + (__u16)~key.source_port + becomes->source_port +
                                                  (__u16)~key.destination_port + becomes->destination_port);
    return send(hop, payload_bytes, first_word, now);
}

static __always_inline int forward_v6(struct xdp_md *ctx, const struct control *control, __u32 link_bytes)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ipv6hdr *ip = data + link_bytes;
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(ip + 1) > end)
        return pass(REASON_MALFORMED);
    switch (ip->nexthdr) {
    case IPPROTO_UDP:
        break;
    case IPPROTO_FRAGMENT:
        return pass(REASON_FRAGMENT);
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
        return pass(REASON_OPTIONS);
    default:
        return pass(REASON_NOT_UDP);
    }
    if (ip->version != 6 || (void *)(udp + 1) > end)
        return pass(REASON_MALFORMED);

    struct tuple_v6 key = {.source_port = udp->source, .destination_port = udp->dest};
    __builtin_memcpy(key.source, &ip->saddr, sizeof(key.source));
    __builtin_memcpy(key.destination, &ip->daddr, sizeof(key.destination));
    struct flow_v6 *flow = find_v6(control, &key);
    if (!flow)
        return meet_stranger(ctx, link_bytes);
    if (!udp->check) /* which IPv6 requires (RFC 8200 section 8.1): adjusting none would make one up */
        return pass(REASON_MALFORMED);
    __u32 udp_bytes = bpf_ntohs(udp->len);
    if (udp_bytes < sizeof(*udp) || bpf_ntohs(ip->payload_len) != udp_bytes || (void *)udp + udp_bytes > end)
        return pass(REASON_MALFORMED);
    __u32 payload_bytes = udp_bytes - sizeof(*udp);
    __be32 first_word = 0;
    enum reason reason = why_looked_at(udp, payload_bytes, end, &first_word);
    if (reason != REASON_NONE)
        return pass(reason);
    if (ip->hop_limit <= 1)
        return pass(REASON_TTL);

    __u16 now = bpf_ktime_get_coarse_ns() >> TICK_SHIFT, epoch = current_epoch(control, now);
    struct track *hop = &flow->track;
    if (hop->epoch != epoch) {
        struct bpf_fib_lookup way = {.family = AF_INET6, .flowinfo = *(__be32 *)ip & bpf_htonl(0x0fffffff)};
        __builtin_memcpy(way.ipv6_src, flow->becomes.source, sizeof(way.ipv6_src));
        __builtin_memcpy(way.ipv6_dst, flow->becomes.destination, sizeof(way.ipv6_dst));
        reason = find_hop(ctx, &way, hop, epoch);
        if (reason != REASON_NONE)
            return pass(reason);
    }
    if (udp_bytes + sizeof(*ip) > hop->mtu_bytes)
        return pass(REASON_OVERSIZE);

    if (!has_link_of(ctx, hop, link_bytes))
        return pass(REASON_NO_HEADROOM);
    data = (void *)(long)ctx->data, end = (void *)(long)ctx->data_end;
    ip = data + link_bytes_of(hop);
    udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end)
        return XDP_ABORTED; /* never: the verifier wants it asked again after the frame has moved */
    write_link(data, hop, bpf_htons(ETH_P_IPV6));

    const struct tuple_v6 *becomes = &flow->becomes;
    __u64 change = (__u16)~key.source_port + becomes->source_port + (__u16)~key.destination_port +
                   becomes->destination_port;
#pragma unroll
    for (int i = 0; i < 4; i++)
        change += replaced(key.source[i], becomes->source[i]) + replaced(key.destination[i], becomes->destination[i]);
    __builtin_memcpy(&ip->saddr, becomes->source, sizeof(ip->saddr));
    __builtin_memcpy(&ip->daddr, becomes->destination, sizeof(ip->daddr));
    ip->hop_limit--;
    udp->source = becomes->source_port;
    udp->dest = becomes->destination_port;
    udp->check = adjusted_udp(udp->check, change);
    return send(hop, payload_bytes, first_word, now);
}

SEC("xdp")
int forward(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *ethernet = data;
    struct vlan_tag *tag = (void *)(ethernet + 1);
    if ((void *)(tag + 1) > end)
        return pass(REASON_NOT_IP);
    if (ethernet->h_dest[0] & 1)
        return pass(REASON_MULTICAST);
    __u32 link_bytes = ETH_HLEN;
    __be16 protocol = ethernet->h_proto;
    if (protocol == bpf_htons(ETH_P_8021Q)) {
        link_bytes += sizeof(*tag);
        protocol = tag->encapsulated;
    }
    __u32 key = 0;
    struct control *control = bpf_map_lookup_elem(&controls, &key);
    if (!control)
        return XDP_PASS;
    if (protocol == bpf_htons(ETH_P_IP))
        return forward_v4(ctx, control, link_bytes);
    if (protocol == bpf_htons(ETH_P_IPV6))
        return forward_v6(ctx, control, link_bytes);
    return pass(REASON_NOT_IP);
}
