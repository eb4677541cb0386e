// SPDX-License-Identifier: GPL-2.0
/* Programs that make visible what the binding hands to the kernel and back. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __u64);
} numbers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u32);
} seen SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 3);
    __type(key, __u32);
    __type(value, __u32);
} settings SEC(".maps");

/* The verdict is the index of the device that the packet came in by. */
SEC("xdp") int which_device(struct xdp_md *ctx)
{
    return ctx->ingress_ifindex;
}

SEC("xdp") int grow(struct xdp_md *ctx)
{
    return bpf_xdp_adjust_head(ctx, -4) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp") int count(struct xdp_md *ctx)
{
    (void)ctx;
    __u32 key = 1, *counter = bpf_map_lookup_elem(&seen, &key);
    if (counter)
        ++*counter;
    return XDP_DROP;
}

SEC("xdp") int bounce(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_TX;
}
