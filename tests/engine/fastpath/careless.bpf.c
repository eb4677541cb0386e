// SPDX-License-Identifier: GPL-2.0
/* Reads a packet without asking for its end, which the kernel's verifier must reject. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp") int careless(struct xdp_md *ctx)
{
    return *(char *)(long)ctx->data;
}
