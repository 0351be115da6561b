/* What the load generators count, and the line of JSON that they print it in: times, bytes, and what went wrong. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND_US 1000000ull
#define MAX_ANSWER_TIMEOUT_US (5 * SECOND_US) /* as wrk is given */
#define MAX_ERRORS 8

static uint64_t now; /* microseconds, read again after every call that may have waited */

/* Counted since `reset`. */
static uint64_t operations, bytes_received, begun_at, errors[MAX_ERRORS];
static double cpu_begun_us;
static uint32_t latencies[MAX_ANSWER_TIMEOUT_US + SECOND_US]; /* how often each number of microseconds was seen */

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND_US + (uint64_t)time.tv_nsec / 1000;
}

static double cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void reset(void) {
    operations = bytes_received = 0;
    memset(errors, 0, sizeof errors);
    memset(latencies, 0, sizeof latencies);
    cpu_begun_us = cpu_us();
    begun_at = now = clock_us();
}

static void count_operation(uint64_t latency) {
    uint64_t last = sizeof latencies / sizeof *latencies - 1;
    latencies[latency < last ? latency : last]++;
    operations++;
}

static unsigned percentile(double part) {
    uint64_t wanted = (uint64_t)(part * (double)operations), seen = 0;
    for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++)
        if ((seen += latencies[i]) > wanted) return (unsigned)i;
    return 0;
}

static void print_figures(const char *const *error_names, int error_count) {
    printf("{\"requests\": %llu, \"duration_us\": %llu, \"bytes\": %llu, \"p50_us\": %u, \"p99_us\": %u, \"cpu_us\": %.0f, "
           "\"errors\": {",
           (unsigned long long)operations, (unsigned long long)(now - begun_at), (unsigned long long)bytes_received,
           percentile(0.5), percentile(0.99), cpu_us() - cpu_begun_us);
    for (int i = 0; i < error_count; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", error_names[i], (unsigned long long)errors[i]);
    puts("}}");
    fflush(stdout);
}

/* A number of seconds as it stands on the command line, "3" or "0.25". */
static uint64_t seconds_us(const char *text) {
    return (uint64_t)(strtod(text, NULL) * (double)SECOND_US);
}
