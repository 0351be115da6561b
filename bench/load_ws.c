/* Loads a WebSocket server on 127.0.0.1 from one thread and counts what comes back. Linux (epoll), nothing but libc.
 *
 *     load_ws MODE PORT CONNECTIONS WARM_UP_S SECONDS ANSWER_TIMEOUT_S PLAN
 *
 * PLAN is written by bench/ws_scenarios.py: the request of the handshake and the frames to send, masked and compressed
 * beforehand, so that this program only copies bytes out and counts frames in. Nothing that arrives is inflated.
 *
 *     echo     every connection sends a message when the one before it has come back
 *     fanout   the first connection sends a message when all others have received the one before it
 *     idle     every connection is opened, has one message echoed, and is then left alone
 *     connect  every connection is opened, has one message echoed, is closed by both sides, and opened again
 *
 * The course: open all connections; load for WARM_UP_S; wait until nothing is under way; print figures; wait for a byte
 * on standard input; load for SECONDS; wait until nothing is under way; print figures; wait for the end of standard
 * input. Between the two lines the server works for what is counted and for nothing else, so the caller can look at its
 * CPU time when the first line comes and when the second does. Exit status: 0, or 1 with a reason on standard error.
 *
 * Every wait has an end: OPEN_LIMIT_S for opening, ANSWER_TIMEOUT_S for each answer, and an alarm for everything.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load_figures.h"

enum mode { ECHO, FANOUT, IDLE, CONNECT };
static const char *const MODES[] = {"echo", "fanout", "idle", "connect"};

/* What can go wrong with a connection; it is closed and counts once. */
enum error { E_CONNECT, E_HANDSHAKE, E_READ, E_WRITE, E_CLOSE, E_FRAME, E_TIMEOUT, ERRORS };
static const char *const ERROR_NAMES[] = {"connect", "handshake", "read", "write", "close", "frame", "timeout"};

/* CLOSING: our close frame is sent. ENDING: the server's has come too, and the server is to close the TCP connection
 * first (RFC 6455, 7.1.1). Only `connect` goes there. */
enum state { CLOSED, CONNECTING, HANDSHAKING, OPEN, CLOSING, ENDING };

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define OPEN_LIMIT_S 60
#define GO_LIMIT_S 60
#define TICK_MS 100
#define OPENING_AT_ONCE 32 /* below the shortest backlog among the peers, Twisted's 50 */
#define MAX_HEAD 1024 /* of the answer to a handshake; the peers' are 130 to 300 bytes */
#define MAX_BACKLOG (1u << 24)
#define EVENTS 256

struct connection {
    int fd;
    enum state state;
    uint32_t next_frame;
    bool in_flight;   /* an answer is outstanding */
    uint64_t sent_at; /* when what is in flight was begun */

    uint8_t header[10]; /* of the frame that is arriving; 10 is the longest that carries no mask */
    uint8_t header_length;
    bool in_message;       /* a message has begun whose last frame is not here yet */
    uint64_t frame_left;   /* bytes of the frame's payload that are still to come */
    uint64_t message_size; /* payload of the message so far */
    uint8_t control[125];  /* payload of a control frame */

    char head[MAX_HEAD];
    size_t head_length;
    uint8_t *backlog; /* what the socket did not take; freed once it is sent */
    size_t backlog_length;
};

struct span {
    const uint8_t *data;
    uint32_t length;
};

static enum mode mode;
static struct sockaddr_in server;
static struct connection *connections;
static uint32_t connection_count;

static struct span request;
static uint32_t expected_size; /* of a message's payload; 0 where messages are compressed */
static struct span *frames;
static uint32_t frame_count;

static int poller;
static uint64_t answer_timeout_us;
static bool sending;         /* whether an answer is to be followed by the next message */
static uint32_t outstanding; /* connections with something in flight */
static uint32_t alive;       /* connections that are not CLOSED */

/* ---- one connection: what leaves it ---- */

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}

static void no_longer_in_flight(struct connection *c) {
    if (c->in_flight) {
        c->in_flight = false;
        outstanding--;
    }
}

static void end_connection(struct connection *c) {
    close(c->fd);
    free(c->backlog);
    c->backlog = NULL;
    c->backlog_length = 0;
    c->state = CLOSED;
    alive--;
}

static void fail(struct connection *c, enum error kind) {
    errors[kind]++;
    no_longer_in_flight(c);
    end_connection(c);
}

/* Returns how much the socket took, 0 if it is full; -1 after the connection has failed. */
static ssize_t send_now(struct connection *c, const uint8_t *data, size_t length) {
    ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EINTR) return 0;
    fail(c, E_WRITE);
    return -1;
}

static void write_bytes(struct connection *c, const uint8_t *data, size_t length) {
    if (!c->backlog) {
        ssize_t sent = send_now(c, data, length);
        if (sent < 0 || (size_t)sent == length) return;
        data += sent;
        length -= (size_t)sent;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    if (c->backlog_length + length > MAX_BACKLOG) { /* a server that pings and does not read */
        fail(c, E_WRITE);
        return;
    }
    uint8_t *grown = realloc(c->backlog, c->backlog_length + length);
    if (!grown) die("out of memory");
    memcpy(grown + c->backlog_length, data, length);
    c->backlog = grown;
    c->backlog_length += length;
}

static void flush(struct connection *c) {
    ssize_t sent = send_now(c, c->backlog, c->backlog_length);
    if (sent < 0) return;
    c->backlog_length -= (size_t)sent;
    memmove(c->backlog, c->backlog + sent, c->backlog_length);
    if (c->backlog_length) return;
    free(c->backlog);
    c->backlog = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void write_control(struct connection *c, enum opcode opcode, const uint8_t *payload, size_t length) {
    static uint32_t random = 2463534242u; /* xorshift32; a mask need not be secret here, only not always the same */
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    uint8_t frame[6 + sizeof c->control] = {(uint8_t)(0x80 | opcode), (uint8_t)(0x80 | length)};
    memcpy(frame + 2, &random, 4);
    for (size_t i = 0; i < length; i++) frame[6 + i] = payload[i] ^ frame[2 + i % 4];
    write_bytes(c, frame, 6 + length);
}

static void write_message(struct connection *c) {
    const struct span *frame = &frames[c->next_frame];
    c->next_frame = (c->next_frame + 1) % frame_count;
    write_bytes(c, frame->data, frame->length);
}

static void begin_operation(struct connection *c) {
    c->in_flight = true;
    c->sent_at = now;
    outstanding++;
}

static void begin_connection(struct connection *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONNECTING;
    c->header_length = 0;
    c->in_message = false;
    c->head_length = 0;
    alive++;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    begin_operation(c);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) fail(c, E_CONNECT);
}

/* ---- one connection: what arrives ---- */

static void operation_done(struct connection *c) {
    count_operation(now - c->sent_at);
    no_longer_in_flight(c);
}

static void opened(struct connection *c) {
    c->state = OPEN;
    if (mode == IDLE || mode == CONNECT)
        write_message(c); /* the opening is part of what is under way */
    else
        no_longer_in_flight(c);
}

static void message_received(struct connection *c) {
    static const uint8_t normal_closure[] = {1000 >> 8, 1000 & 0xff};
    if (!c->in_flight || c->state != OPEN || (expected_size && c->message_size != expected_size)) {
        fail(c, E_FRAME);
        return;
    }
    if (mode == CONNECT) {
        c->state = CLOSING;
        write_control(c, CLOSE, normal_closure, sizeof normal_closure);
        return;
    }
    operation_done(c);
    if (mode == ECHO && sending) {
        begin_operation(c);
        write_message(c);
    }
}

static size_t header_size(const struct connection *c) {
    if (c->header_length < 2) return 2;
    unsigned length = c->header[1] & 0x7f;
    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

/* The header is complete. Returns false after the connection has failed. */
static bool frame_begins(struct connection *c) {
    const uint8_t *header = c->header;
    enum opcode opcode = header[0] & 0x0f;
    bool final = header[0] & 0x80, compressed = header[0] & 0x40;
    uint64_t length = header[1] & 0x7f;
    if (length > 125) {
        length = 0;
        for (size_t i = 2; i < c->header_length; i++) length = length << 8 | header[i];
    }
    bool valid = !(header[0] & 0x30) && !(header[1] & 0x80); /* a server masks nothing (RFC 6455, 5.1) */
    if (opcode == TEXT || opcode == BINARY) {
        valid = valid && !c->in_message && !(compressed && expected_size);
        c->in_message = true;
        c->message_size = 0;
    } else if (opcode == CONTINUATION) {
        valid = valid && c->in_message && !compressed;
    } else {
        valid = valid && opcode >= CLOSE && opcode <= PONG && final && !compressed && length <= sizeof c->control;
    }
    c->frame_left = length;
    if (!valid) fail(c, E_FRAME);
    return valid;
}

static void frame_ends(struct connection *c) {
    switch (c->header[0] & 0x0f) {
    case PING:
        if (c->state == OPEN) write_control(c, PONG, c->control, c->header[1]);
        break;
    case PONG:
        break;
    case CLOSE:
        if (c->state == CLOSING)
            c->state = ENDING;
        else
            fail(c, E_CLOSE);
        break;
    default:
        if (c->header[0] & 0x80) {
            c->in_message = false;
            message_received(c);
        }
    }
}

static void take_frames(struct connection *c, const uint8_t *data, size_t length) {
    bytes_received += length;
    while (c->state != CLOSED) {
        if (c->header_length < header_size(c)) {
            if (!length) return;
            c->header[c->header_length++] = *data++;
            length--;
            if (c->header_length < header_size(c)) continue;
            if (!frame_begins(c)) return;
        }
        size_t taken = length < c->frame_left ? length : c->frame_left;
        if (c->header[0] & 0x08)
            memcpy(c->control + c->header[1] - c->frame_left, data, taken);
        else
            c->message_size += taken;
        data += taken;
        length -= taken;
        c->frame_left -= taken;
        if (c->frame_left) return;
        frame_ends(c);
        c->header_length = 0;
    }
}

static void take_head(struct connection *c, const uint8_t *data, size_t length) {
    size_t before = c->head_length, room = MAX_HEAD - before;
    memcpy(c->head + before, data, length < room ? length : room);
    c->head_length += length < room ? length : room;
    const char *end = memmem(c->head, c->head_length, "\r\n\r\n", 4);
    if (!end && c->head_length < MAX_HEAD) return;
    if (!end || memcmp(c->head, "HTTP/1.1 101", 12)) {
        fail(c, E_HANDSHAKE);
        return;
    }
    size_t taken = (size_t)(end + 4 - c->head) - before; /* what lies behind it in this read are frames */
    opened(c);
    if (c->state != CLOSED) take_frames(c, data + taken, length - taken);
}

static void end_of_stream(struct connection *c) {
    if (c->state == ENDING) {
        operation_done(c);
        end_connection(c);
    } else {
        fail(c, c->state == HANDSHAKING ? E_HANDSHAKE : E_CLOSE);
    }
}

static void readable(struct connection *c) {
    static uint8_t buffer[1 << 18];
    ssize_t length = recv(c->fd, buffer, sizeof buffer, 0);
    now = clock_us();
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR) fail(c, E_READ);
    } else if (length == 0) {
        end_of_stream(c);
    } else if (c->state == HANDSHAKING) {
        take_head(c, buffer, (size_t)length);
    } else {
        take_frames(c, buffer, (size_t)length);
    }
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(c, E_CONNECT);
        return;
    }
    c->state = HANDSHAKING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    write_bytes(c, request.data, request.length);
}

/* ---- all connections ---- */

static void end_those_overdue(void) {
    static uint64_t looked_at;
    if (now - looked_at < answer_timeout_us / 20) return;
    looked_at = now;
    for (struct connection *c = connections; c < connections + connection_count; c++)
        if (c->in_flight && now - c->sent_at > answer_timeout_us) fail(c, E_TIMEOUT);
}

static void turn(void) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, TICK_MS);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    now = clock_us();
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING) {
            connected(c);
            continue;
        }
        if (c->backlog && events[i].events & EPOLLOUT) flush(c);
        if (c->state != CLOSED && events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
    }
    end_those_overdue();
}

static void open_all(void) {
    uint32_t begun = 0;
    while (begun < connection_count || outstanding) {
        while (begun < connection_count && outstanding < OPENING_AT_ONCE) begin_connection(&connections[begun++]);
        turn();
        if (alive < begun) break;
        if (now - begun_at > OPEN_LIMIT_S * SECOND_US) break;
    }
    if (alive == connection_count && !outstanding) return;
    char text[256] = "";
    for (size_t i = 0, at = 0; i < ERRORS; i++)
        if (errors[i]) at += (size_t)snprintf(text + at, sizeof text - at, "; %s errors: %d", ERROR_NAMES[i], (int)errors[i]);
    die("%u of %u connections were begun and %u were left after %.1f s%s", begun, connection_count, alive,
        (double)(now - begun_at) / 1e6, text);
}

/* Begin whatever may begin now. Returns false if nothing ever can again. */
static bool begin_more(bool first) {
    struct connection *end = connections + connection_count;
    switch (mode) {
    case ECHO:
        for (struct connection *c = connections; first && c < end; c++)
            if (c->state == OPEN) begin_operation(c), write_message(c);
        return alive;
    case FANOUT:
        if (outstanding) return true;
        if (connections->state != OPEN || alive < 2) return false;
        for (struct connection *c = connections + 1; c < end; c++)
            if (c->state == OPEN) begin_operation(c);
        write_message(connections);
        return true;
    case IDLE:
        return alive;
    case CONNECT:
        for (struct connection *c = connections; c < end; c++)
            if (c->state == CLOSED) begin_connection(c);
        return true;
    }
    return false;
}

/* Zero seconds: everything is begun once. */
static void load(uint64_t duration_us) {
    uint64_t end = now + duration_us;
    sending = duration_us > 0;
    bool possible = begin_more(true);
    while ((now < end && possible) || outstanding) {
        turn();
        sending = now < end;
        if (sending) possible = begin_more(false);
    }
    sending = false;
}

/* ---- what the caller hands over ---- */

static uint32_t number(const uint8_t *data) {
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static struct span take_span(const uint8_t **at, const uint8_t *end) {
    struct span span = {*at + 4, 0};
    if (end - *at < 4 || (span.length = number(*at)) > (size_t)(end - span.data)) die("the plan is cut short");
    *at = span.data + span.length;
    return span;
}

/* Numbers are 32 bits, little-endian: the expected size, the number of frames; then, each behind its length, the request
 * and the frames. */
static void read_plan(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *plan = malloc((size_t)size + 1);
    if (!plan || size < 8 || fread(plan, 1, (size_t)size, file) != (size_t)size) die("%s cannot be read", path);
    fclose(file);
    expected_size = number(plan);
    frame_count = number(plan + 4);
    const uint8_t *at = plan + 8, *end = plan + size;
    request = take_span(&at, end);
    frames = calloc(frame_count, sizeof *frames);
    if (!frames || !frame_count) die("the plan has no frames");
    for (uint32_t i = 0; i < frame_count; i++) frames[i] = take_span(&at, end);
}

int main(int argc, char **argv) {
    if (argc != 8) die("usage: load_ws MODE PORT CONNECTIONS WARM_UP_S SECONDS ANSWER_TIMEOUT_S PLAN");
    while (mode <= CONNECT && strcmp(argv[1], MODES[mode])) mode++;
    if (mode > CONNECT) die("no such mode: %s", argv[1]);
    server = (struct sockaddr_in){AF_INET, htons((uint16_t)atoi(argv[2])), {htonl(INADDR_LOOPBACK)}, {0}};
    connection_count = (uint32_t)atoi(argv[3]);
    uint64_t warm_up_us = seconds_us(argv[4]), duration_us = seconds_us(argv[5]);
    answer_timeout_us = seconds_us(argv[6]);
    if (answer_timeout_us > MAX_ANSWER_TIMEOUT_US) die("no answer is waited for as long as %s s", argv[6]);
    if (connection_count < 1 + (mode == FANOUT)) die("too few connections");

    read_plan(argv[7]);
    connections = calloc(connection_count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) die("no connections: %s", strerror(errno));
    /* Connections begin at different frames: what one server socket after the other reads is not always the same. */
    for (uint32_t i = 0; i < connection_count; i++) connections[i].next_frame = i % frame_count;

    alarm(OPEN_LIMIT_S + (unsigned)(warm_up_us / SECOND_US) + GO_LIMIT_S);
    reset();
    if (mode != CONNECT) open_all();
    if (mode != IDLE) {
        reset();
        load(warm_up_us);
    }
    print_figures(ERROR_NAMES, ERRORS);

    char byte;
    if (read(STDIN_FILENO, &byte, 1) != 1) return 0;
    alarm((unsigned)(duration_us / SECOND_US) + GO_LIMIT_S);
    reset();
    load(duration_us);
    print_figures(ERROR_NAMES, ERRORS);
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    return 0;
}
