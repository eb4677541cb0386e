// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Hands what real servers send to snat flows without sockets of their own to the socket that catches it all. */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "answers.h"

#define AF_INET6 10

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_SOURCES);
    __type(key, struct address);
    __type(value, struct port_range);
} sources SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_ENDPOINTS);
    __type(key, struct endpoint);
    __type(value, __u8);
} servers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SOCKMAP);
    __uint(max_entries, CATCH_ALLS);
    __type(key, __u32);
    __type(value, __u64);
} catch_alls SEC(".maps");

/* Asked only where no connected socket has the packet's addresses and ports. */
SEC("sk_lookup")
int answers(struct bpf_sk_lookup *ctx)
{
    struct endpoint server = {.port = ctx->remote_port};
    struct address source = {};
    __u32 catch_all = CATCH_ALL_V4;
    if (ctx->protocol != IPPROTO_UDP)
        return SK_PASS;
    if (ctx->family == AF_INET6) {
        catch_all = CATCH_ALL_V6;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            source.word[i] = ctx->local_ip6[i];
            server.address.word[i] = ctx->remote_ip6[i];
        }
    } else {
        source.word[0] = ctx->local_ip4;
        server.address.word[0] = ctx->remote_ip4;
    }
    struct port_range *ports = bpf_map_lookup_elem(&sources, &source);
    if (!ports || ctx->local_port < ports->first || ctx->local_port > ports->last)
        return SK_PASS;
    if (!bpf_map_lookup_elem(&servers, &server))
        return SK_PASS;
    struct bpf_sock *socket = bpf_map_lookup_elem(&catch_alls, &catch_all);
    if (!socket)
        return SK_PASS;
    bpf_sk_assign(ctx, socket, 0);
    bpf_sk_release(socket);
    return SK_PASS;
}
