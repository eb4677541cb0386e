/* The records in the maps of answers.bpf.c, as `engine/fastpath/answers.py` writes them.
 * Addresses are in network byte order, ports of endpoints as well; IPv4 addresses are followed by zeros. */
#ifndef IKECONSOLE_FASTPATH_ANSWERS_H
#define IKECONSOLE_FASTPATH_ANSWERS_H

enum {
    MAX_SOURCES = 4096,
    MAX_ENDPOINTS = 8192,
    CATCH_ALL_V4 = 0,
    CATCH_ALL_V6,
    CATCH_ALLS,
};

struct address {
    __be32 word[4];
};

struct endpoint {
    struct address address;
    __be16 port;
    __u16 zero;
};

/* The ports of a source address that are snat flows' and no socket's. */
struct port_range {
    __u16 first, last;
};

#endif
