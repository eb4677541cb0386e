// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* IKE messages as far as the XDP program reads and writes them (RFC 7296 sections 2.6, 3.1 and 3.10). */
#ifndef IKECONSOLE_FASTPATH_IKE_H
#define IKECONSOLE_FASTPATH_IKE_H

#include "cookie.h"

enum {
    IKE_VERSION_2 = 0x20,
    IKE_SA_INIT = 34,
    IKE_INITIATOR = 0x08,
    IKE_RESPONSE = 0x20,
    IKE_FIRST_PAYLOAD = 33,     /* an SA payload, which no payload in use comes before */
    IKE_NOTIFY = 41,
    IKE_ENCRYPTED_PAYLOAD = 46, /* and those that only come encrypted follow */
    IKE_COOKIE = 16390,
    NON_ESP_MARKER_BYTES = 4,
};

struct ike_header {
    __u64 spi_i, spi_r;
    __u8 next_payload, version, exchange, flags;
    __be32 message_id, length;
} __attribute__((packed));

struct ike_notify {
    __u8 next_payload, critical;
    __be16 length;
    __u8 protocol, spi_bytes;
    __be16 type;
} __attribute__((packed));

/* Demands that an IKE_SA_INIT request be repeated with this cookie. */
struct demand {
    struct ike_header ike;
    struct ike_notify notify;
    struct cookie cookie;
} __attribute__((packed));

#endif
