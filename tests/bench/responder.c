/* The real servers of the bench: answers IKE requests, echoes ESP, on every local address.
 *
 * An answer is the request with the responder's header fields set, and INFORMATIONAL without most of its contents: a
 * deletion is answered by less than was asked. The responder SPI names the server that made it, and a later message at
 * another server gets no answer, as from a VPN server that does not know the IKE SA: a balancer that breaks port
 * following establishes no tunnels here. */
#include "datagrams.h"

enum { EMPTY_INFORMATIONAL = 80 };

/* Takes from a request the cookie that it repeats, which is no part of an answer; returns the size of the datagram then. */
static size_t without_cookie(struct ike_header *ike, size_t size, size_t ike_offset)
{
    unsigned char *notify = (unsigned char *)(ike + 1);
    size_t bytes = (size_t)(notify[2] << 8 | notify[3]), before = ike_offset + sizeof *ike + bytes;
    if (ike->next_payload != NOTIFY || size < before)
        return size;
    ike->next_payload = notify[0];
    memmove(notify, notify + bytes, size - before);
    ike->length = htonl((uint32_t)(size - ike_offset - bytes));
    return size - bytes;
}

/* The length of the answer that datagram i becomes; 0: none. */
static size_t make_answer(struct batch *b, int i, size_t ike_offset)
{
    size_t size = b->message[i].msg_len;
    unsigned char *data = b->data[i];
    static const unsigned char marker[NON_ESP_MARKER];
    if (ike_offset && size >= sizeof(struct esp_probe) && memcmp(data, marker, sizeof marker))
        return size;
    if (size < ike_offset + sizeof(struct ike_header))
        return 0;
    struct ike_header *ike = (struct ike_header *)(data + ike_offset);
    uint8_t server = (uint8_t)(ntohl(packet_info(b, i)->ipi_addr.s_addr) & 0xff);
    ike->flags = FLAG_RESPONSE;
    if (ike->exchange == IKE_SA_INIT) {
        size = without_cookie(ike, size, ike_offset);
        ike->spi_r = ike->spi_i;
        *(uint8_t *)&ike->spi_r = server;
        return size;
    }
    if (*(uint8_t *)&ike->spi_r != server)
        return 0;
    if (ike->exchange == INFORMATIONAL && size > ike_offset + EMPTY_INFORMATIONAL) {
        ike->length = htonl(EMPTY_INFORMATIONAL);
        data[ike_offset + sizeof *ike + 2] = 0;
        data[ike_offset + sizeof *ike + 3] = EMPTY_INFORMATIONAL - sizeof *ike;
        return ike_offset + EMPTY_INFORMATIONAL;
    }
    return size;
}

static void answer(int fd, struct batch *b, size_t ike_offset)
{
    int answers = 0;
    receive(fd, b);
    for (int i = 0; i < b->count; i++) {
        size_t size = make_answer(b, i, ike_offset);
        if (!size)
            continue;
        b->io[i].iov_len = size;
        packet_info(b, i)->ipi_ifindex = 0; /* the route decides the interface */
        b->message[answers++] = b->message[i];
    }
    b->count = answers;
    send_all(fd, b);
}

int main(void)
{
    static struct batch batch;
    struct pollfd sockets[] = {
        {.fd = udp_socket(NAT_T_PORT), .events = POLLIN},
        {.fd = udp_socket(IKE_PORT), .events = POLLIN},
    };
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (poll(sockets, 2, -1) < 0)
            die("poll");
        if (sockets[0].revents)
            answer(sockets[0].fd, &batch, NON_ESP_MARKER);
        if (sockets[1].revents)
            answer(sockets[1].fd, &batch, 0);
    }
}
