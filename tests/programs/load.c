// SPDX-License-Identifier: Apache-2.0
/*
 * A load for the device: kernels of the same length, one after the other, in one of
 * the ways in which programs do it and in some in which only a greedy one would.
 *
 *   load calibrate                    prints how many rounds take a millisecond
 *   load KEY=VALUE…
 *     seconds=10    how long; 0 is until it is killed
 *     rounds=N      length of each kernel
 *     depth=2       kernels that are given to the device ahead of time, on each queue
 *     threads=1     threads, each with a queue of its own
 *     contexts=1    contexts, among which the threads are divided
 *     pause=0       milliseconds of sleep after each `burst` kernels
 *     burst=1
 *     blind=0       1: never asks for an answer; only flushes
 *
 * At the end it prints one line of JSON: how many kernels, and how long it took from
 * giving one to the device until it was done, in microseconds.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define MAX_DEPTH 64
#define MAX_WAITS (1 << 20)
#define MAX_THREADS 64

static const char source[] =
	"kernel void spin(global ulong *out, ulong rounds)\n"
	"{\n"
	"	ulong v = out[0] | 1;\n"
	"	for (ulong i = 0; i < rounds; i++) {\n"
	"		v ^= v << 13;\n"
	"		v ^= v >> 7;\n"
	"		v ^= v << 17;\n"
	"	}\n"
	"	out[0] = v;\n"
	"}\n";

static double seconds = 10;
static cl_ulong rounds = 1000000;
static int depth = 2, threads = 1, contexts = 1, pause_ms, burst = 1, blind;
static atomic_int stop;
static atomic_ulong done;
static float waits[MAX_WAITS];
static atomic_uint waited;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void on_signal(int signal)
{
	(void)signal;
	atomic_store(&stop, 1);
}

/* What one thread works with. */
struct hand {
	cl_command_queue queue;
	cl_kernel kernel;
};

static struct hand hands[MAX_THREADS];

static struct hand make_hand(cl_context context)
{
	const char *text = source;
	cl_command_queue queue;
	cl_program program;
	cl_kernel kernel;
	cl_ulong one = 1;
	cl_mem out;

	CLE(queue = clCreateCommandQueue(context, device, 0, &err));
	CLE(program = clCreateProgramWithSource(context, 1, &text, NULL, &err));
	CL(clBuildProgram(program, 1, &device, "", NULL, NULL));
	CLE(kernel = clCreateKernel(program, "spin", &err));
	CLE(out = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(one), &one, &err));
	CL(clSetKernelArg(kernel, 0, sizeof(out), &out));
	CL(clSetKernelArg(kernel, 1, sizeof(rounds), &rounds));
	return (struct hand){ queue, kernel };
}

static void launch(struct hand *hand, cl_event *event)
{
	size_t one = 1;

	CL(clEnqueueNDRangeKernel(hand->queue, hand->kernel, 1, NULL, &one, NULL, 0, NULL, event));
	CL(clFlush(hand->queue));
}

static void *work(void *argument)
{
	struct hand *hand = argument;
	cl_event events[MAX_DEPTH] = { 0 };
	double begun[MAX_DEPTH];

	for (unsigned long n = 0; !atomic_load(&stop); n++) {
		if (pause_ms && n % burst == 0) {
			struct timespec time = { pause_ms / 1000, pause_ms % 1000 * 1000000l };

			nanosleep(&time, NULL);
		}
		if (blind) {
			launch(hand, NULL);
			atomic_fetch_add(&done, 1);
			continue;
		}
		int slot = n % depth;

		if (events[slot]) {
			CL(clWaitForEvents(1, &events[slot]));
			CL(clReleaseEvent(events[slot]));
			unsigned int index = atomic_fetch_add(&waited, 1);

			waits[index % MAX_WAITS] = (now() - begun[slot]) * 1e6;
			atomic_fetch_add(&done, 1);
		}
		begun[slot] = now();
		launch(hand, &events[slot]);
		/* One that sleeps knows only afterwards how long its kernel took. */
		if (pause_ms && (n + 1) % burst == 0)
			for (int i = 0; i < depth; i++)
				if (events[i]) {
					CL(clWaitForEvents(1, &events[i]));
					CL(clReleaseEvent(events[i]));
					events[i] = NULL;
					unsigned int index = atomic_fetch_add(&waited, 1);

					waits[index % MAX_WAITS] = (now() - begun[i]) * 1e6;
					atomic_fetch_add(&done, 1);
				}
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void report(double took)
{
	unsigned int count = atomic_load(&waited);

	count = count < MAX_WAITS ? count : MAX_WAITS;
	qsort(waits, count, sizeof(waits[0]), by_size);
	double p50 = count ? waits[count / 2] : 0, p99 = count ? waits[count * 99ul / 100] : 0;

	printf("{\"kernels\":%lu,\"seconds\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
	       atomic_load(&done), took, p50, p99, count ? waits[count - 1] : 0.0);
	fflush(stdout);
}

/* The quickest of several: what else the machine does only makes it slower. */
static void calibrate(void)
{
	double best = 1e9;
	struct hand hand;

	rounds = 1 << 22;
	hand = make_hand(context);
	for (int i = 0; i < 15; i++) {
		double began = now();

		launch(&hand, NULL);
		CL(clFinish(hand.queue));
		double took = now() - began;

		best = took < best ? took : best;
	}
	printf("%.0f\n", rounds / best / 1e3);
}

static void option(const char *text)
{
	static const struct {
		const char *name;
		int *value;
	} options[] = {
		{ "depth=", &depth }, { "threads=", &threads }, { "contexts=", &contexts },
		{ "pause=", &pause_ms }, { "burst=", &burst }, { "blind=", &blind },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!strncmp(text, options[i].name, strlen(options[i].name))) {
			*options[i].value = atoi(text + strlen(options[i].name));
			return;
		}
	if (!strncmp(text, "seconds=", 8))
		seconds = atof(text + 8);
	else if (!strncmp(text, "rounds=", 7))
		rounds = strtoull(text + 7, NULL, 10);
	else
		FAIL("no such option: %s", text);
}

int main(int argc, char **argv)
{
	pthread_t ids[MAX_THREADS];
	cl_context all[MAX_THREADS];

	setup();
	if (argc == 2 && !strcmp(argv[1], "calibrate")) {
		calibrate();
		return 0;
	}
	for (int i = 1; i < argc; i++)
		option(argv[i]);
	CHECK(depth >= 1 && depth <= MAX_DEPTH && threads >= 1 && threads <= MAX_THREADS);
	CHECK(contexts >= 1 && contexts <= threads && burst >= 1 && pause_ms >= 0);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	all[0] = context;
	for (int i = 1; i < contexts; i++)
		CLE(all[i] = clCreateContext(NULL, 1, &device, NULL, NULL, &err));
	for (int i = 0; i < threads; i++)
		hands[i] = make_hand(all[i % contexts]);
	double began = now();

	for (int i = 0; i < threads; i++)
		CHECK(!pthread_create(&ids[i], NULL, work, &hands[i]));
	while (!atomic_load(&stop) && (seconds == 0 || now() - began < seconds)) {
		struct timespec time = { 0, 20000000 };

		nanosleep(&time, NULL);
	}
	atomic_store(&stop, 1);
	/* One that never asks is not waited for either. */
	for (int i = 0; !blind && i < threads; i++)
		pthread_join(ids[i], NULL);
	report(now() - began);
	_exit(0);
}
