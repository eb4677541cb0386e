/* Batches of UDP datagrams whose local address is chosen (sending) or told (receiving) per datagram,
 * and the few bytes of IKE and ESP that the two ends of the bench must agree on. */
#pragma once
#define _GNU_SOURCE /* recvmmsg, sendmmsg, struct in_pktinfo */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, DATAGRAM = 2048 };
enum { IKE_PORT = 500, NAT_T_PORT = 4500, NON_ESP_MARKER = 4 };
enum { IKE_SA_INIT = 34, IKE_AUTH = 35, INFORMATIONAL = 37, FLAG_INITIATOR = 0x08, FLAG_RESPONSE = 0x20, NOTIFY = 41 };

struct ike_header {
    uint64_t spi_i, spi_r;
    uint8_t next_payload, version, exchange, flags;
    uint32_t message_id, length;
} __attribute__((packed));

/* What the generator hides in an ESP datagram, to know its own echo again. */
struct esp_probe {
    uint32_t spi, sequence;
    uint32_t client, slot, generation;
    uint64_t sent_ns;
} __attribute__((packed));

struct batch {
    int count;
    struct mmsghdr message[BATCH];
    struct iovec io[BATCH];
    struct sockaddr_in peer[BATCH];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control[BATCH];
    unsigned char data[BATCH][DATAGRAM];
};

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int udp_socket(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int on = 1, room = 16 << 20;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) ||
        bind(fd, (struct sockaddr *)&any, sizeof any))
        die("udp socket");
    return fd;
}

/* Points message i at its own buffers, as both directions need it. */
static inline void prepare(struct batch *b, int i, size_t size)
{
    b->io[i] = (struct iovec){.iov_base = b->data[i], .iov_len = size};
    b->message[i].msg_hdr = (struct msghdr){
        .msg_name = &b->peer[i],
        .msg_namelen = sizeof b->peer[i],
        .msg_iov = &b->io[i],
        .msg_iovlen = 1,
        .msg_control = &b->control[i],
        .msg_controllen = sizeof b->control[i],
    };
}

static inline struct in_pktinfo *packet_info(struct batch *b, int i)
{
    return (struct in_pktinfo *)CMSG_DATA(&b->control[i].header);
}

/* Takes what has arrived, without waiting. */
static inline void receive(int fd, struct batch *b)
{
    for (int i = 0; i < BATCH; i++)
        prepare(b, i, DATAGRAM);
    b->count = recvmmsg(fd, b->message, BATCH, MSG_DONTWAIT, NULL);
    if (b->count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            die("recvmmsg");
        b->count = 0;
    }
}

static inline void send_all(int fd, struct batch *b)
{
    for (int sent = 0; sent < b->count;) {
        int n = sendmmsg(fd, b->message + sent, b->count - sent, 0);
        if (n < 0)
            die("sendmmsg");
        sent += n;
    }
    b->count = 0;
}
