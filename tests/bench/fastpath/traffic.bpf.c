// SPDX-License-Identifier: GPL-2.0
/* The traffic of the fast path's bench: makes ESP-in-UDP datagrams, counts those that arrive, and redirects without a look.
 *
 * `generate` is run by bpf_prog_test_run with live frames, which come back to it once dropped: so it writes the
 * headers anew every time. `arrive` is attached where packets must arrive, `redirect` in place of a forwarder. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    HEADER_WORDS = 7,        /* 8-byte words that hold all headers and the first bytes of ESP */
    MAX_FLOWS = 1 << 20,
};

char LICENSE[] SEC("license") = "GPL";

struct tuple {
    __be32 source, destination;
    __be16 source_port, destination_port;
    __be32 spi;
};

/* What `arrive` knows the packets by; below it is which flow it is. */
#define MARK 0xd0d00000u

struct esp {
    __be32 spi;
    __u32 number;            /* in place of a sequence number */
};

struct order {
    __u64 headers[HEADER_WORDS];
    __u32 checksum_part;     /* what the header's sum is without addresses */
    __u32 flows;
    __u32 next;
    __u32 device;
    __u32 learns;            /* whether `arrive` notes the tuples of what it counts */
    __u64 made;
};

struct count {
    __u64 packets, bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct order);
} orders SEC(".maps");

/* The packets to make, one of each flow after the other. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, MAX_FLOWS);
    __type(key, __u32);
    __type(value, struct tuple);
} tuples SEC(".maps");

/* What arrived of each flow: the tuples of the packets that answer. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, MAX_FLOWS);
    __type(key, __u32);
    __type(value, struct tuple);
} answers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct count);
} arrived SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} ways SEC(".maps");

static __always_inline struct order *the_order(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&orders, &key);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct order *order = the_order();
    if (!order || data + sizeof(order->headers) > end)
        return XDP_ABORTED;
    __u32 number = order->next;
    order->made++;
    order->next = number + 1 < order->flows ? number + 1 : 0;
    struct tuple *tuple = bpf_map_lookup_elem(&tuples, &number);
    if (!tuple)
        return XDP_ABORTED;

    __u64 *words = data;
#pragma unroll
    for (int i = 0; i < HEADER_WORDS; i++)
        words[i] = order->headers[i];
    struct iphdr *ip = data + ETH_HLEN;
    struct udphdr *udp = (void *)(ip + 1);
    struct esp *esp = (void *)(udp + 1);
    __u32 sum = order->checksum_part + (tuple->source & 0xffff) + (tuple->source >> 16) +
                (tuple->destination & 0xffff) + (tuple->destination >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = ~((sum & 0xffff) + (sum >> 16));
    ip->saddr = tuple->source;
    ip->daddr = tuple->destination;
    udp->source = tuple->source_port;
    udp->dest = tuple->destination_port;
    esp->spi = tuple->spi;
    esp->number = MARK | number;
    return bpf_redirect(order->device, 0);
}

/* Counts and drops what `generate` made; everything else passes. */
SEC("xdp")
int arrive(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = (void *)(ethernet + 1);
    struct udphdr *udp = (void *)(ip + 1);
    struct esp *esp = (void *)(udp + 1);
    struct order *order = the_order();
    if (!order || (void *)(esp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) ||
        ip->protocol != IPPROTO_UDP || (esp->number & ~(MAX_FLOWS - 1u)) != MARK)
        return XDP_PASS;
    __u32 key = 0, number = esp->number & (MAX_FLOWS - 1u);
    struct count *count = bpf_map_lookup_elem(&arrived, &key);
    if (!count)
        return XDP_ABORTED;
    count->packets++;
    count->bytes += bpf_ntohs(ip->tot_len);
    if (order->learns) {
        struct tuple *answer = bpf_map_lookup_elem(&answers, &number);
        if (answer)
            *answer = (struct tuple){ip->daddr, ip->saddr, udp->dest, udp->source, esp->spi};
    }
    return XDP_DROP;
}

/* The limit of what redirects: sends every packet on as it is. */
SEC("xdp")
int redirect(struct xdp_md *ctx __attribute__((unused)))
{
    return bpf_redirect_map(&ways, 0, XDP_ABORTED);
}
