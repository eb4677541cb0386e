// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The cookie by which a client shows that it receives what is sent to its address (RFC 7296 section 2.6).
 *
 * `engine/wire/cookie.py` makes the same ones: either path honours those of the other. */
#ifndef IKECONSOLE_FASTPATH_COOKIE_H
#define IKECONSOLE_FASTPATH_COOKIE_H

struct cookie {
    __u8 key_number;
    __u64 mac;               /* SipHash-2-4 of `struct claim` */
} __attribute__((packed));

/* What a cookie vouches for. */
struct claim {
    __be32 client[4];        /* IPv4 mapped into IPv6 */
    __u64 spi_i;
};

static __always_inline void sip_round(__u64 v[4])
{
#define ROTATED(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))
    v[0] += v[1];
    v[1] = ROTATED(v[1], 13) ^ v[0];
    v[0] = ROTATED(v[0], 32);
    v[2] += v[3];
    v[3] = ROTATED(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTATED(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTATED(v[1], 17) ^ v[2];
    v[2] = ROTATED(v[2], 32);
#undef ROTATED
}

static __always_inline void sip_take(__u64 v[4], __u64 word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

/* A function of its own: the verifier walks its twelve rounds once for each call, the stack holds them once. */
static __noinline __u64 mac_of(const struct cookie_key *key, const struct claim *claim)
{
    const __u64 *words = (const void *)claim;
    __u64 v[4] = {key->words[0] ^ 0x736f6d6570736575, key->words[1] ^ 0x646f72616e646f6d,
                  key->words[0] ^ 0x6c7967656e657261, key->words[1] ^ 0x7465646279746573};
    sip_take(v, words[0]);
    sip_take(v, words[1]);
    sip_take(v, words[2]);
    sip_take(v, (__u64)sizeof(*claim) << 56);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
