// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Keeps from the services what no flow has and the slow path would only drop; a flood ends here.
 *
 * Whatever is in doubt goes up: the slow path knows flows and SPIs that the kernel does not. What is counted here is
 * named as the slow path names it, and shown as its service's. */
#ifndef IKECONSOLE_FASTPATH_SHIELD_H
#define IKECONSOLE_FASTPATH_SHIELD_H

#include "challenge.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 2 * MAX_SERVICES);
    __type(key, struct service_end);
    __type(value, struct shield);
} shields SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MAX_SERVICES);
    __type(key, __u32);
    __type(value, struct tally);
} tallies SEC(".maps");

/* Whether one more packet is within a limit (the generic cell rate algorithm of ITU-T I.371). */
static __always_inline int is_within(__u64 *due_ns, __u64 every_ns)
{
    __u64 now_ns = bpf_ktime_get_coarse_ns();
    if (*due_ns > now_ns + BURST_NS)
        return 0;
    *due_ns = (*due_ns > now_ns ? *due_ns : now_ns) + every_ns;
    return 1;
}

/* ESP and keepalives: the client may have moved, or its flow may be on the slow path. */
static __always_inline enum outcome judge_unknown(const struct shield *shield, struct tally *tally)
{
    if (!(shield->flags & SHIELD_LIMITS) || is_within(&tally->due_ns[LIMIT_UNKNOWN], UNKNOWN_EVERY_NS))
        return OUTCOME_PASSED;
    return OUTCOME_UNKNOWN_SPI_LIMIT;
}

static __always_inline int has_cookie(const struct shield *shield, const struct cookie *cookie,
                                      const struct claim *claim)
{
    switch ((__u8)(shield->key_number - cookie->key_number)) {
    case 0:
        return cookie->mac == mac_of(&shield->current, claim);
    case 1:
        return cookie->mac == mac_of(&shield->previous, claim);
    default:
        return 0;
    }
}

/* What comes first on an IKE SA while its service challenges: see `engine/wire/cookie.py`. */
static __always_inline enum outcome judge_init(const struct shield *shield, struct tally *tally,
                                               const struct ike_header *ike, void *end, struct claim *claim)
{
    const struct demand *demand = (const void *)ike; /* a cookie is repeated where it was demanded */
    __u32 ike_bytes = bpf_ntohl(ike->length);
    if (ike->spi_r || ike->message_id || !(ike->flags & IKE_INITIATOR) || ike_bytes <= sizeof(*demand) ||
        ike->next_payload < IKE_FIRST_PAYLOAD || ike->next_payload >= IKE_ENCRYPTED_PAYLOAD)
        return OUTCOME_IMPLAUSIBLE_INIT;
    if ((void *)(demand + 1) > end)
        return OUTCOME_PASSED; /* never: it is longer than that, and the frame than it */
    __u32 first_bytes = bpf_ntohs(demand->notify.length);
    if (first_bytes < 4 || first_bytes > ike_bytes - sizeof(*ike))
        return OUTCOME_IMPLAUSIBLE_INIT;
    claim->spi_i = ike->spi_i;
    if (ike->next_payload != IKE_NOTIFY || demand->notify.type != bpf_htons(IKE_COOKIE) ||
        demand->notify.spi_bytes || first_bytes <= sizeof(demand->notify))
        return OUTCOME_CHALLENGED;
    if (first_bytes == sizeof(demand->notify) + sizeof(demand->cookie))
        return has_cookie(shield, &demand->cookie, claim) ? OUTCOME_PASSED : OUTCOME_COOKIE_REFUSED;
    return is_within(&tally->due_ns[LIMIT_FOREIGN_COOKIE], FOREIGN_COOKIE_EVERY_NS) ? OUTCOME_PASSED
                                                                                   : OUTCOME_FOREIGN_COOKIE_LIMIT;
}

/* Classifies a payload as `engine/wire` does (RFC 7296 section 2.23, RFC 3948), and as strictly. */
static __always_inline enum outcome judge(const struct shield *shield, struct tally *tally, struct stranger *stranger,
                                          void *payload, void *end)
{
    __u32 ike_bytes = stranger->payload_bytes;
    if (shield->flags & SHIELD_NAT_T) {
        const __be32 *marker = payload;
        if (ike_bytes < sizeof(*marker)) {
            if (ike_bytes != 1 || payload + 1 > end || *(const __u8 *)payload != 0xff)
                return OUTCOME_RUNT;
            return stranger->port ? judge_unknown(shield, tally) : OUTCOME_IMPOSSIBLE_SOURCE;
        }
        if ((void *)(marker + 1) > end)
            return OUTCOME_PASSED; /* never */
        if (*marker) {
            if (ike_bytes < SMALLEST_ESP_BYTES)
                return OUTCOME_RUNT;
            return stranger->port ? judge_unknown(shield, tally) : OUTCOME_IMPOSSIBLE_SOURCE;
        }
        payload += sizeof(*marker);
        ike_bytes -= sizeof(*marker);
    }
    const struct ike_header *ike = payload;
    if (ike_bytes < sizeof(*ike))
        return OUTCOME_RUNT;
    if ((void *)(ike + 1) > end)
        return OUTCOME_PASSED; /* never */
    if (ike->version >> 4 != 2)
        return ike->version >> 4 == 1 ? OUTCOME_IKE_V1 : OUTCOME_IKE_VERSION;
    if (!ike->spi_i)
        return OUTCOME_ZERO_SPI;
    if (bpf_ntohl(ike->length) < sizeof(*ike))
        return OUTCOME_BAD_LENGTH;
    if (bpf_ntohl(ike->length) > ike_bytes)
        return OUTCOME_TRUNCATED;
    if (!stranger->port)
        return OUTCOME_IMPOSSIBLE_SOURCE;
    if (shield->flags & SHIELD_CHALLENGES && ike->exchange == IKE_SA_INIT && !(ike->flags & IKE_RESPONSE))
        return judge_init(shield, tally, ike, end, &stranger->claim);
    return OUTCOME_PASSED;
}

/* By redirection where the device can: sent back by XDP_TX, frames pile up at the other end of a veth pair without an XDP
 * program there, which nobody tells of them, until the link takes no more (veth_xdp_flush in drivers/net/veth.c). */
static __always_inline int send_back(struct xdp_md *ctx)
{
    __u32 device = ctx->ingress_ifindex;
    struct egress *egress = bpf_map_lookup_elem(&egresses, &device);
    return egress ? bpf_redirect_map(&ports, egress->port, XDP_TX) : XDP_TX;
}

/* A function of its own, so that packets of known flows are not charged for its registers and its stack. */
static __noinline int meet_stranger(struct xdp_md *ctx, __u32 link_bytes)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct stranger stranger = {};
    void *payload = read_stranger(&stranger, data + link_bytes, end);
    if (!payload)
        return pass(REASON_MISS);
    struct shield *shield = bpf_map_lookup_elem(&shields, &stranger.service);
    if (!shield)
        return pass(REASON_MISS);
    __u32 place = shield->place;
    struct tally *tally = bpf_map_lookup_elem(&tallies, &place);
    if (!tally)
        return pass(REASON_MISS);
    enum outcome outcome = judge(shield, tally, &stranger, payload, end);
    int demands = outcome == OUTCOME_CHALLENGED || outcome == OUTCOME_COOKIE_REFUSED;
    if (outcome == OUTCOME_PASSED || (demands && !demand_cookie(ctx, link_bytes, shield, &stranger)))
        return pass(REASON_MISS);
    if (outcome < OUTCOMES)
        tally->counts[outcome]++;
    return demands ? count(REASON_CHALLENGED, send_back(ctx)) : count(REASON_SHIELDED, XDP_DROP);
}

#endif
