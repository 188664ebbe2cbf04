/* SPDX-License-Identifier: Apache-2.0 */
/* Load for the datapath's bench, IPv4. Each command prints one number per line to stdout.
 *
 *   serve PORT                            TCP: sink, echo, or echo and close, as a connection's first byte says
 *   stream IP PORT SECONDS                bits/s that the server has read
 *   rr IP PORT SECONDS                    1-byte requests and answers per second on one connection
 *   crr IP PORT SECONDS THREADS           connections per second, each with one request and answer
 *   pps FROM TO IP PORT SECONDS           64-byte frames per second that arrived, of one UDP flow
 *   first FROM TO IP PORT COUNT           ns from sending to having received: medians of the first and of the
 *                                         second packet of COUNT flows
 *
 * FROM and TO are paths of network namespaces: one process has a socket in each, and so one core does all the
 * work of a packet without a scheduler in between. The others run where they are started.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT 1400
#define TIMESTAMPS 12
#define CHUNK (128 << 10)
#define BATCH 64
#define SMALL 18 /* a frame of 64 bytes with its check sequence */
#define MAX_THREADS 64
#define FIRST_PORT 20000

enum kind { SINK = 's', ECHO = 'e', ONCE = 'o' };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static struct sockaddr_in address(const char *ip, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
		fprintf(stderr, "%s is no IPv4 address\n", ip);
		exit(1);
	}
	return a;
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		fail("setsockopt");
}

static int tcp_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
		fail("cubic");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return fd;
}

/* --- the server --------------------------------------------------------------------------------------- */

struct served {
	int fd;
	char kind;
	uint64_t bytes;
};

static void watch(int poll, int fd)
{
	struct served *s = calloc(1, sizeof(*s));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };

	if (!s)
		fail("calloc");
	s->fd = fd;
	if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static void hang_up(struct served *s)
{
	close(s->fd);
	free(s);
}

static void answer(struct served *s, char *buffer)
{
	ssize_t got = read(s->fd, buffer, CHUNK);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		if (!got && s->kind == SINK && write(s->fd, &s->bytes, sizeof(s->bytes)) < 0)
			perror("write");
		hang_up(s);
		return;
	}
	if (!s->kind)
		s->kind = buffer[0];
	s->bytes += got;
	if (s->kind == SINK)
		return;
	if (write(s->fd, buffer, got) != got || s->kind == ONCE)
		hang_up(s);
}

static _Noreturn int serve(char **argv)
{
	struct sockaddr_in here = address("0.0.0.0", atoi(argv[0]));
	int listener = tcp_socket(SOCK_NONBLOCK), poll = epoll_create1(0);
	struct epoll_event events[BATCH];
	static char buffer[CHUNK];

	set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(listener, (void *)&here, sizeof(here)) || listen(listener, 4096))
		fail("listen");
	watch(poll, listener);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(poll, events, BATCH, -1);

		for (int i = 0; i < n; i++) {
			struct served *s = events[i].data.ptr;

			if (s->fd != listener) {
				answer(s, buffer);
				continue;
			}
			for (int fd; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;)
				watch(poll, fd);
		}
	}
}

/* --- TCP clients -------------------------------------------------------------------------------------- */

static struct sockaddr_in target;
static double until;

static int dial(void)
{
	struct timeval patience = { .tv_sec = 3 };
	int fd = tcp_socket(0);

	set(fd, IPPROTO_TCP, TCP_MAXSEG, SEGMENT + TIMESTAMPS);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (void *)&target, sizeof(target)))
		fail("connect");
	return fd;
}

static int stream(char **argv)
{
	static char buffer[CHUNK];
	double start;
	uint64_t bytes;
	int fd;

	target = address(argv[0], atoi(argv[1]));
	fd = dial();
	memset(buffer, SINK, sizeof(buffer));
	start = now();
	until = start + atof(argv[2]);
	while (now() < until)
		if (write(fd, buffer, sizeof(buffer)) <= 0)
			fail("write");
	shutdown(fd, SHUT_WR);
	if (read(fd, &bytes, sizeof(bytes)) != sizeof(bytes))
		fail("read");
	printf("%.0f\n", bytes * 8 / (now() - start));
	return 0;
}

static int rr(char **argv)
{
	char byte = ECHO;
	double start;
	long count = 0;
	int fd;

	target = address(argv[0], atoi(argv[1]));
	fd = dial();
	start = now();
	until = start + atof(argv[2]);
	for (; now() < until; count++)
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			fail("request");
	printf("%.1f\n", count / (now() - start));
	return 0;
}

static void *connections(void *result)
{
	long *count = result;

	for (; now() < until; ++*count) {
		int fd = dial();
		char byte = ONCE;

		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 0)
			fail("request");
		close(fd);
	}
	return 0;
}

static int crr(char **argv)
{
	int threads = atoi(argv[3]);
	pthread_t thread[MAX_THREADS];
	static long counts[MAX_THREADS];
	double start = now();
	long count = 0;

	if (threads < 1 || threads > MAX_THREADS)
		return 1;
	target = address(argv[0], atoi(argv[1]));
	until = start + atof(argv[2]);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread[i], 0, connections, &counts[i]))
			fail("pthread_create");
	for (int i = 0; i < threads; i++) {
		pthread_join(thread[i], 0);
		count += counts[i];
	}
	printf("%.1f\n", count / (now() - start));
	return 0;
}

/* --- UDP, both ends ----------------------------------------------------------------------------------- */

static int socket_in(const char *namespace)
{
	int file = open(namespace, O_RDONLY | O_CLOEXEC), fd;

	if (file < 0 || setns(file, CLONE_NEWNET))
		fail(namespace);
	close(file);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		fail("socket");
	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20);
	return fd;
}

static int receiver(char **argv)
{
	struct sockaddr_in here = address("0.0.0.0", atoi(argv[3]));
	int fd = socket_in(argv[1]);

	if (bind(fd, (void *)&here, sizeof(here)))
		fail("bind");
	return fd;
}

static int sender(char **argv, int port)
{
	struct sockaddr_in here = address("0.0.0.0", port), there = address(argv[2], atoi(argv[3]));
	int fd = socket_in(argv[0]);

	if (bind(fd, (void *)&here, sizeof(here)) || connect(fd, (void *)&there, sizeof(there)))
		fail("connect");
	return fd;
}

static int pps(char **argv)
{
	static char buffers[BATCH][SMALL];
	struct mmsghdr out[BATCH] = {}, in[BATCH] = {};
	struct iovec parts[BATCH];
	int to = receiver(argv), from = sender(argv, 0);
	double start = now(), end;
	long count = 0;

	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ buffers[i], SMALL };
		in[i].msg_hdr = out[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
	}
	until = start + atof(argv[4]);
	do {
		int got;

		if (sendmmsg(from, out, BATCH, 0) < 0 && errno != EAGAIN)
			fail("sendmmsg");
		got = recvmmsg(to, in, BATCH, MSG_DONTWAIT, 0);
		count += got > 0 ? got : 0;
		end = now();
	} while (end < until);
	printf("%.0f\n", count / (end - start));
	return 0;
}

/* Seconds until one packet is there; at most one second. */
static double once(int from, int to)
{
	char buffer[SMALL] = {};
	double start = now();

	if (send(from, buffer, sizeof(buffer), 0) < 0)
		fail("send");
	while (recv(to, buffer, sizeof(buffer), MSG_DONTWAIT) < 0)
		if (now() - start > 1) {
			fprintf(stderr, "a packet did not arrive\n");
			exit(1);
		}
	return now() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int first(char **argv)
{
	int count = atoi(argv[4]), to = receiver(argv);
	double *times[2] = { calloc(count, sizeof(double)), calloc(count, sizeof(double)) };

	for (int i = 0; i < count; i++) {
		int from = sender(argv, FIRST_PORT + i);

		for (int n = 0; n < 2; n++)
			times[n][i] = once(from, to);
		close(from);
	}
	for (int n = 0; n < 2; n++) {
		qsort(times[n], count, sizeof(double), ascending);
		printf("%.1f\n", times[n][count / 2] * 1e9);
	}
	return 0;
}

/* --- which ------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int arguments;
	int (*run)(char **argv);
} commands[] = {
	{ "serve", 1, serve }, { "stream", 3, stream }, { "rr", 3, rr },
	{ "crr", 4, crr }, { "pps", 5, pps }, { "first", 5, first },
};

int main(int argc, char **argv)
{
	struct sched_param first_of_all = { .sched_priority = 1 };
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sched_setaffinity(0, sizeof(one), &one) || sched_setscheduler(0, SCHED_FIFO, &first_of_all))
		fail("cannot have a core before all others");
	for (unsigned i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name) && argc - 2 == commands[i].arguments)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: see the head of load.c\n");
	return 2;
}
