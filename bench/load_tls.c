/* Loads a server on 127.0.0.1 with new TLS connections from one thread and counts those that went well. Linux (epoll)
 * and OpenSSL.
 *
 *     load_tls PORT CONNECTIONS SECONDS ANSWER_TIMEOUT_S CIPHER GROUP BODY_BYTES REQUEST
 *
 * Each of CONNECTIONS is opened, goes through a handshake, sends what is in the file REQUEST, and reads until the server
 * has closed it; then the next begins in its place. What counts is a connection that brought a status of 200 and a body
 * of BODY_BYTES. Every handshake is a full one, TLS 1.3 with CIPHER and GROUP: each connection has an SSL object of its
 * own, so it knows no session. (wrk keeps the object and with it the session, resumes it, and while a handshake goes on
 * asks in a loop whether it is over.) The certificate is not verified, its signature under the handshake is.
 *
 * After SECONDS nothing new is begun; what is under way is waited for and counts. Then one line of figures is printed.
 * Exit status: 0, or 1 with a reason on standard error.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load_figures.h"

/* What can go wrong with a connection; it is closed and counts once. */
enum error { E_CONNECT, E_HANDSHAKE, E_READ, E_WRITE, E_ANSWER, E_TIMEOUT, ERRORS };
static const char *const ERROR_NAMES[] = {"connect", "handshake", "read", "write", "answer", "timeout"};

enum state { CLOSED, CONNECTING, HANDSHAKING, SENDING, RECEIVING };

#define GRACE_S 60
#define TICK_MS 100
#define MAX_ANSWER 65536
#define EVENTS 256

struct connection {
    int fd;
    SSL *ssl;
    enum state state;
    uint32_t watched; /* the events that epoll reports */
    uint64_t begun_at;
    char *answer; /* MAX_ANSWER bytes */
    size_t answer_length;
};

static struct sockaddr_in server;
static struct connection *connections;
static uint32_t connection_count;
static SSL_CTX *context;
static char *request;
static int request_length;
static size_t body_length;
static uint64_t answer_timeout_us;
static int poller;
static uint32_t alive; /* connections that are not CLOSED */

static void watch(struct connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (c->watched == events) return;
    if (epoll_ctl(poller, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
    c->watched = events;
}

static void end_connection(struct connection *c) {
    SSL_free(c->ssl);
    close(c->fd);
    c->state = CLOSED;
    alive--;
}

static void fail(struct connection *c, enum error kind) {
    errors[kind]++;
    end_connection(c);
}

static void begin_connection(struct connection *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->ssl = SSL_new(context);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd)) die("no memory for a connection");
    c->state = CONNECTING;
    c->watched = 0;
    c->answer_length = 0;
    c->begun_at = now;
    alive++;
    watch(c, EPOLLOUT);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) fail(c, E_CONNECT);
}

/* The server has closed the connection: was it all that it should have sent? */
static void judge(struct connection *c) {
    const char *end = memmem(c->answer, c->answer_length, "\r\n\r\n", 4);
    size_t head_length = end ? (size_t)(end + 4 - c->answer) : 0;
    if (!end || memcmp(c->answer, "HTTP/1.1 200", 12) || c->answer_length - head_length != body_length) {
        fail(c, E_ANSWER);
        return;
    }
    SSL_shutdown(c->ssl);
    end_connection(c);
    now = clock_us();
    count_operation(now - c->begun_at);
}

/* Whether a call that returned `result` has only to be made again when the socket is ready. */
static bool again(struct connection *c, int result) {
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        watch(c, EPOLLIN);
        return true;
    case SSL_ERROR_WANT_WRITE:
        watch(c, EPOLLOUT);
        return true;
    default:
        return false;
    }
}

static void receive(struct connection *c) {
    for (;;) {
        size_t room = MAX_ANSWER - c->answer_length;
        if (!room) {
            fail(c, E_ANSWER);
            return;
        }
        int length = SSL_read(c->ssl, c->answer + c->answer_length, (int)room);
        if (length <= 0) {
            if (again(c, length)) return;
            if (SSL_get_error(c->ssl, length) == SSL_ERROR_ZERO_RETURN)
                judge(c);
            else
                fail(c, E_READ);
            return;
        }
        c->answer_length += (size_t)length;
        bytes_received += (uint64_t)length;
    }
}

/* Goes on with a connection whose socket is ready, as far as it comes. */
static void proceed(struct connection *c) {
    int result;
    ERR_clear_error(); /* SSL_get_error looks at what an earlier call may have left */
    switch (c->state) {
    case CLOSED:
        return;
    case CONNECTING: {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            fail(c, E_CONNECT);
            return;
        }
        c->state = HANDSHAKING;
    } /* fall through */
    case HANDSHAKING:
        result = SSL_connect(c->ssl);
        if (result <= 0) {
            if (!again(c, result)) fail(c, E_HANDSHAKE);
            return;
        }
        c->state = SENDING;
        /* fall through */
    case SENDING: /* all at once or nothing: partial writes are not enabled */
        result = SSL_write(c->ssl, request, request_length);
        if (result <= 0) {
            if (!again(c, result)) fail(c, E_WRITE);
            return;
        }
        c->state = RECEIVING;
        /* fall through */
    case RECEIVING:
        receive(c);
    }
}

static void end_those_overdue(void) {
    static uint64_t looked_at;
    if (now - looked_at < answer_timeout_us / 20) return;
    looked_at = now;
    for (struct connection *c = connections; c < connections + connection_count; c++)
        if (c->state != CLOSED && now - c->begun_at > answer_timeout_us) fail(c, E_TIMEOUT);
}

static void load(uint64_t duration_us) {
    struct epoll_event events[EVENTS];
    uint64_t end = now + duration_us;
    while (now < end || alive) {
        for (struct connection *c = connections; now < end && c < connections + connection_count; c++)
            if (c->state == CLOSED) begin_connection(c);
        int count = epoll_wait(poller, events, EVENTS, TICK_MS);
        if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
        now = clock_us();
        for (int i = 0; i < count; i++) proceed(events[i].data.ptr);
        now = clock_us();
        end_those_overdue();
    }
}

/* In the place of a look at the certificate's chain, which would only keep the client busy. */
static int certificate_passes(X509_STORE_CTX *chain, void *argument) {
    (void)chain, (void)argument;
    return 1;
}

static void make_context(const char *cipher, const char *group) {
    context = SSL_CTX_new(TLS_client_method());
    if (!context) die("no OpenSSL context");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (!SSL_CTX_set_ciphersuites(context, cipher)) die("OpenSSL has no %s", cipher);
    if (!SSL_CTX_set1_groups_list(context, group)) die("OpenSSL has no %s", group);
    SSL_CTX_set_cert_verify_callback(context, certificate_passes, NULL);
    /* A server that closes without close_notify has said with Content-Length where its answer ends. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    request = malloc(MAX_ANSWER);
    request_length = request ? (int)fread(request, 1, MAX_ANSWER, file) : 0;
    fclose(file);
    if (!request_length) die("%s cannot be read", path);
}

int main(int argc, char **argv) {
    if (argc != 9)
        die("usage: load_tls PORT CONNECTIONS SECONDS ANSWER_TIMEOUT_S CIPHER GROUP BODY_BYTES REQUEST");
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    server = (struct sockaddr_in){AF_INET, htons((uint16_t)atoi(argv[1])), {htonl(INADDR_LOOPBACK)}, {0}};
    connection_count = (uint32_t)atoi(argv[2]);
    uint64_t duration_us = seconds_us(argv[3]);
    answer_timeout_us = seconds_us(argv[4]);
    if (answer_timeout_us > MAX_ANSWER_TIMEOUT_US) die("no answer is waited for as long as %s s", argv[4]);
    make_context(argv[5], argv[6]);
    body_length = (size_t)atoi(argv[7]);
    read_request(argv[8]);

    connections = calloc(connection_count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) die("no connections: %s", strerror(errno));
    for (uint32_t i = 0; i < connection_count; i++)
        if (!(connections[i].answer = malloc(MAX_ANSWER))) die("out of memory");

    alarm((unsigned)(duration_us / SECOND_US) + GRACE_S);
    reset();
    load(duration_us);
    print_figures(ERROR_NAMES, ERRORS);
    return 0;
}
