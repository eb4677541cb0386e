/* The clients of the bench: many addresses, one socket per port, as many VPN clients behind no NAT.
 *
 *   generator SERVICE_ADDRESS FIRST_CLIENT_ADDRESS
 *
 * Commands are lines on stdin; each is answered by one line of JSON:
 *   establish CLIENTS WINDOW PORT             IKE_SA_INIT to PORT, IKE_AUTH and one ESP datagram to 4500
 *   flood CLIENTS WINDOW SIZE SECONDS         ESP round robin over the clients, at most WINDOW datagrams under way
 *   latency CLIENTS RATE SIZE SECONDS         one ESP datagram at a time, RATE of them a second */
#include "datagrams.h"

enum { MAX_CLIENTS = 131072, MAX_WINDOW = 4096, MAX_TRIES = 6, CLIENT_OF_NONE = -1 };
enum { COOKIE = 16390, NOTIFY_HEAD = 8, MAX_COOKIE = 64 };
static const uint64_t RETRANSMIT_NS = 500000000, STALLED_NS = 5000000000, LOST_NS = 100000000, SCAN_NS = 20000000;

enum step { IDLE, AWAIT_INIT, AWAIT_AUTH, AWAIT_ESP, DONE };

struct client {
    uint64_t spi_r, deadline_ns;
    uint8_t step, tries, cookie_bytes, cookie[MAX_COOKIE];
};

struct slot {
    uint64_t sent_ns;
    uint32_t generation;
    int busy;
};

static struct client clients[MAX_CLIENTS];
static struct slot slots[MAX_WINDOW];
static struct batch incoming, ike_out, nat_t_out;
static int ike_fd, nat_t_fd;
static uint32_t service, first_client, run_id, generation;

/* ---- datagrams ---- */

static uint32_t client_address(uint32_t client) { return htonl(first_client + client); }

/* Adds an empty datagram from a client to a port of the service; the caller fills in its bytes. */
static unsigned char *add_datagram(struct batch *b, int fd, uint16_t port, uint32_t client, size_t size)
{
    if (b->count == BATCH)
        send_all(fd, b);
    int i = b->count++;
    prepare(b, i, size);
    b->peer[i] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = service};
    b->control[i].header = (struct cmsghdr){
        .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo))};
    *packet_info(b, i) = (struct in_pktinfo){.ipi_spec_dst.s_addr = client_address(client)};
    return b->data[i];
}

static unsigned char *put_payload(unsigned char *at, uint8_t next, uint16_t length, uint32_t head)
{
    memset(at, 0x5a, length);
    at[0] = next;
    at[1] = 0;
    at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
    head = htonl(head);
    memcpy(at + 4, &head, sizeof head);
    return at + length;
}

/* One proposal: AES-CBC-256, HMAC-SHA2-256-128, PRF-HMAC-SHA2-256, MODP-2048. */
static const unsigned char security_association[] = {
    34, 0, 0, 48, 0, 0, 0, 44, 1, 1, 0, 4, 3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0,
    3, 0, 0, 8, 3, 0, 0, 12, 3, 0, 0, 8, 2, 0, 0, 5, 0, 0, 0, 8, 4, 0, 0, 14};

static void put_header(unsigned char *at, uint32_t client, uint8_t first, uint8_t exchange, uint32_t size)
{
    struct ike_header ike = {
        .spi_i = (uint64_t)client << 32 | run_id,
        .spi_r = exchange == IKE_SA_INIT ? 0 : clients[client].spi_r,
        .next_payload = first,
        .version = 0x20,
        .exchange = exchange,
        .flags = FLAG_INITIATOR,
        .message_id = htonl(exchange == IKE_AUTH),
        .length = htonl(size),
    };
    memcpy(at, &ike, sizeof ike);
}

/* SA, KE of MODP-2048, a nonce and the two NAT detection notifies: the message every client starts with. In front of
 * them the cookie that was demanded, if one was (RFC 7296 section 2.6). */
static void add_init(uint32_t client, uint16_t port)
{
    uint8_t cookie_bytes = clients[client].cookie_bytes;
    uint32_t demanded_bytes = cookie_bytes ? NOTIFY_HEAD + cookie_bytes : 0;
    uint32_t size = 28 + demanded_bytes + 48 + 264 + 36 + 28 + 28;
    unsigned char *at;
    if (port == NAT_T_PORT) {
        at = add_datagram(&nat_t_out, nat_t_fd, NAT_T_PORT, client, NON_ESP_MARKER + size);
        memset(at, 0, NON_ESP_MARKER);
        at += NON_ESP_MARKER;
    } else {
        at = add_datagram(&ike_out, ike_fd, IKE_PORT, client, size);
    }
    put_header(at, client, cookie_bytes ? NOTIFY : 33, IKE_SA_INIT, size);
    at += 28;
    if (cookie_bytes) {
        put_payload(at, 33, (uint16_t)demanded_bytes, COOKIE);
        memcpy(at + NOTIFY_HEAD, clients[client].cookie, cookie_bytes);
        at += demanded_bytes;
    }
    memcpy(at, security_association, sizeof security_association);
    at = put_payload(at + 48, 40, 264, 14u << 16);
    at = put_payload(at, 41, 36, client);
    at = put_payload(at, 41, 28, 16388);
    put_payload(at, 0, 28, 16389);
}

/* One encrypted payload, the size of IKE_AUTH with a shared secret or EAP. */
static void add_auth(uint32_t client)
{
    enum { SIZE = 28 + 256 };
    unsigned char *at = add_datagram(&nat_t_out, nat_t_fd, NAT_T_PORT, client, NON_ESP_MARKER + SIZE);
    memset(at, 0, NON_ESP_MARKER);
    put_header(at + NON_ESP_MARKER, client, 46, IKE_AUTH, SIZE);
    put_payload(at + NON_ESP_MARKER + 28, 35, 256, client);
}

static void add_esp(uint32_t client, uint32_t slot, size_t size, uint64_t now)
{
    unsigned char *at = add_datagram(&nat_t_out, nat_t_fd, NAT_T_PORT, client, size);
    struct esp_probe probe = {
        .spi = htonl(0xc0000000u + client),
        .sequence = htonl(generation),
        .client = client,
        .slot = slot,
        .generation = generation++,
        .sent_ns = now,
    };
    memcpy(at, &probe, sizeof probe);
}

static void send_pending(void)
{
    send_all(ike_fd, &ike_out);
    send_all(nat_t_fd, &nat_t_out);
}

/* Waits on the NAT-T socket alone (sockets = 1) or on both (2): late IKE answers must not wake a flood. */
static void wait_for_datagrams(nfds_t sockets)
{
    struct pollfd ready[] = {{.fd = nat_t_fd, .events = POLLIN}, {.fd = ike_fd, .events = POLLIN}};
    if (poll(ready, sockets, SCAN_NS / 1000000) < 0)
        die("poll");
}

/* ---- establish ---- */

static void send_step(uint32_t client, uint16_t first_port, uint64_t now)
{
    clients[client].deadline_ns = now + RETRANSMIT_NS;
    switch (clients[client].step) {
    case AWAIT_INIT: add_init(client, first_port); break;
    case AWAIT_AUTH: add_auth(client); break;
    case AWAIT_ESP: add_esp(client, 0, 200, now); break;
    }
}

/* Whether an answer to a client's IKE_SA_INIT demands a cookie, which the client keeps then. */
static int demands_cookie(struct client *client, const struct ike_header *ike, size_t size)
{
    const unsigned char *notify = (const unsigned char *)(ike + 1);
    if (size < 28 + NOTIFY_HEAD || ike->next_payload != NOTIFY || ike->spi_r)
        return 0;
    size_t bytes = (size_t)(notify[2] << 8 | notify[3]);
    if ((notify[6] << 8 | notify[7]) != COOKIE || bytes <= NOTIFY_HEAD || bytes > NOTIFY_HEAD + MAX_COOKIE ||
        size < 28 + bytes)
        return 0;
    client->cookie_bytes = (uint8_t)(bytes - NOTIFY_HEAD);
    memcpy(client->cookie, notify + NOTIFY_HEAD, client->cookie_bytes);
    return 1;
}

/* The client that received datagram i has what it waited for, and sends what comes next. */
static int advance(int i, size_t ike_offset)
{
    unsigned char *data = incoming.data[i];
    uint32_t client;
    enum step answered;
    if (ike_offset && memcmp(data, (unsigned char[NON_ESP_MARKER]){0}, NON_ESP_MARKER)) {
        client = ((struct esp_probe *)data)->client;
        answered = AWAIT_ESP;
    } else {
        struct ike_header *ike = (struct ike_header *)(data + ike_offset);
        if ((uint32_t)ike->spi_i != run_id || ike->flags != FLAG_RESPONSE)
            return CLIENT_OF_NONE;
        client = (uint32_t)(ike->spi_i >> 32);
        answered = ike->exchange == IKE_SA_INIT ? AWAIT_INIT : AWAIT_AUTH;
        if (client < MAX_CLIENTS && answered == AWAIT_INIT && clients[client].step == AWAIT_INIT) {
            if (demands_cookie(&clients[client], ike, incoming.message[i].msg_len - ike_offset))
                return (int)client;
            clients[client].spi_r = ike->spi_r;
        }
    }
    if (client >= MAX_CLIENTS || clients[client].step != answered ||
        packet_info(&incoming, i)->ipi_addr.s_addr != client_address(client))
        return CLIENT_OF_NONE;
    clients[client].step = answered + 1;
    clients[client].tries = 0;
    return (int)client;
}

static void establish(uint32_t count, uint32_t window, uint16_t first_port)
{
    static uint32_t active[MAX_WINDOW];
    uint32_t next = 0, under_way = 0, established = 0, failed = 0, retransmitted = 0;
    uint64_t start = now_ns(), now = start, progress = start;
    memset(clients, 0, sizeof clients);
    /* A forwarder that is out of files or ports sets no more tunnels up: the rest would only take time. */
    while (established + failed < count && now - progress < STALLED_NS) {
        for (; under_way < window && next < count; next++) {
            clients[next].step = AWAIT_INIT;
            active[under_way++] = next;
            send_step(next, first_port, now);
        }
        send_pending();
        wait_for_datagrams(2);
        now = now_ns();
        for (int port = 0; port < 2; port++) {
            receive(port ? nat_t_fd : ike_fd, &incoming);
            for (int i = 0; i < incoming.count; i++) {
                int client = advance(i, port ? NON_ESP_MARKER : 0);
                if (client != CLIENT_OF_NONE)
                    send_step((uint32_t)client, first_port, now);
            }
        }
        for (uint32_t a = 0; a < under_way;) {
            struct client *client = &clients[active[a]];
            if (client->step != DONE && now > client->deadline_ns && ++client->tries < MAX_TRIES) {
                retransmitted++;
                send_step(active[a], first_port, now);
            }
            if (client->step == DONE || client->tries == MAX_TRIES) {
                if (client->step == DONE) {
                    established++;
                    progress = now;
                } else {
                    failed++;
                    client->step = DONE;
                }
                active[a] = active[--under_way];
            } else {
                a++;
            }
        }
    }
    printf("{\"established\": %u, \"failed\": %u, \"retransmitted\": %u, \"seconds\": %.6f}\n", established,
           count - established, retransmitted, (double)(now_ns() - start) / 1e9);
}

/* ---- flood ---- */

static void flood(uint32_t count, uint32_t window, size_t size, double seconds)
{
    static uint32_t free_slots[MAX_WINDOW];
    uint32_t free_count = 0, client = 0;
    uint64_t sent = 0, received = 0, lost = 0, misdelivered = 0;
    uint64_t start = now_ns(), now = start, scanned = start, end = start + (uint64_t)(seconds * 1e9);
    for (uint32_t s = 0; s < window; s++) {
        slots[s].busy = 0;
        free_slots[free_count++] = s;
    }
    for (; now < end; now = now_ns()) {
        for (int n = 0; free_count && n < BATCH; n++, sent++) {
            uint32_t s = free_slots[--free_count];
            slots[s] = (struct slot){.sent_ns = now, .generation = generation, .busy = 1};
            add_esp(client, s, size, now);
            client = client + 1 == count ? 0 : client + 1;
        }
        send_all(nat_t_fd, &nat_t_out);
        if (!free_count)
            wait_for_datagrams(1);
        receive(nat_t_fd, &incoming);
        for (int i = 0; i < incoming.count; i++) {
            struct esp_probe *probe = (struct esp_probe *)incoming.data[i];
            struct slot *slot = &slots[probe->slot % MAX_WINDOW];
            if (!slot->busy || slot->generation != probe->generation || incoming.message[i].msg_len != size)
                continue;
            misdelivered += packet_info(&incoming, i)->ipi_addr.s_addr != client_address(probe->client);
            received++;
            slot->busy = 0;
            free_slots[free_count++] = probe->slot;
        }
        if (now - scanned > SCAN_NS) {
            scanned = now;
            for (uint32_t s = 0; s < window; s++) {
                if (slots[s].busy && now - slots[s].sent_ns > LOST_NS) {
                    lost++;
                    slots[s].busy = 0;
                    free_slots[free_count++] = s;
                }
            }
        }
    }
    printf("{\"sent\": %lu, \"received\": %lu, \"lost\": %lu, \"misdelivered\": %lu, \"seconds\": %.6f}\n", sent,
           received, lost, misdelivered, (double)(now - start) / 1e9);
}

/* ---- latency ---- */

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void latency(uint32_t count, uint32_t rate, size_t size, double seconds)
{
    uint32_t sent = (uint32_t)(rate * seconds), received = 0;
    uint64_t *round_trip_ns = calloc(sent + 1, sizeof *round_trip_ns), start = now_ns();
    for (uint32_t n = 0; n < sent; n++) {
        uint64_t due = start + n * (1000000000ull / rate);
        struct timespec at = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        uint32_t expected = generation;
        uint64_t give_up = now_ns() + LOST_NS;
        add_esp(n % count, 0, size, now_ns());
        send_all(nat_t_fd, &nat_t_out);
        for (int answered = 0; !answered && now_ns() < give_up;) {
            wait_for_datagrams(1);
            receive(nat_t_fd, &incoming);
            for (int i = 0; i < incoming.count; i++) {
                struct esp_probe *probe = (struct esp_probe *)incoming.data[i];
                if (probe->generation != expected)
                    continue;
                round_trip_ns[received++] = now_ns() - probe->sent_ns;
                answered = 1;
            }
        }
    }
    qsort(round_trip_ns, received, sizeof *round_trip_ns, ascending);
    printf("{\"sent\": %u, \"received\": %u, \"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}\n", sent,
           received, (double)round_trip_ns[received / 2] / 1e3, (double)round_trip_ns[received * 99ull / 100] / 1e3,
           (double)round_trip_ns[received ? received - 1 : 0] / 1e3);
    free(round_trip_ns);
}

int main(int argc, char **argv)
{
    char line[256];
    struct in_addr to, from;
    if (argc != 3 || !inet_aton(argv[1], &to) || !inet_aton(argv[2], &from)) {
        fputs("usage: generator SERVICE_ADDRESS FIRST_CLIENT_ADDRESS\n", stderr);
        return 2;
    }
    service = to.s_addr;
    first_client = ntohl(from.s_addr);
    run_id = (uint32_t)now_ns() | 1; /* a run's SPIs differ from the last one's */
    ike_fd = udp_socket(IKE_PORT);
    nat_t_fd = udp_socket(NAT_T_PORT);
    while (fgets(line, sizeof line, stdin)) {
        unsigned count, second, third;
        double seconds;
        if (sscanf(line, "establish %u %u %u", &count, &second, &third) == 3 && count <= MAX_CLIENTS &&
            second <= MAX_WINDOW)
            establish(count, second, (uint16_t)third);
        else if (sscanf(line, "flood %u %u %u %lf", &count, &second, &third, &seconds) == 4 &&
                 second <= MAX_WINDOW && third <= DATAGRAM && third >= sizeof(struct esp_probe))
            flood(count, second, third, seconds);
        else if (sscanf(line, "latency %u %u %u %lf", &count, &second, &third, &seconds) == 4 &&
                 third <= DATAGRAM && third >= sizeof(struct esp_probe))
            latency(count, second, third, seconds);
        else {
            fprintf(stderr, "unknown command: %s", line);
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
