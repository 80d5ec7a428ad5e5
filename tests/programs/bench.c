// SPDX-License-Identifier: Apache-2.0
//
// What single calls, batches of calls and bulk copies cost. Prints one line a measurement:
//
//     NAME UNIT MEDIAN P10 P90 SAMPLES
//
// Each measurement is repeated SAMPLES times after a warm-up; a sample is the mean over many calls.
// Run natively and through Weir, the lines are compared; absolute times mean little.
//
// usage: bench [WHAT [ROUNDS]], WHAT one of all, sync, status, async, launch, bulk, channel
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 15
#define CHECK(call)                                                        \
	do {                                                               \
		cl_int check_error = (call);                               \
		if (check_error != CL_SUCCESS) {                           \
			fprintf(stderr, "%s: error %d\n", #call, check_error); \
			exit(1);                                           \
		}                                                          \
	} while (0)

static cl_context context;
static cl_command_queue queue;
static cl_kernel kernel;
static cl_mem buffer;
static cl_event event;
static char *memory, *other;
static size_t bulk_size;
static int channel = -1;
static void *sector;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Measures `f`, which makes `rounds` calls; `scale` turns seconds a call into the unit. */
static void measure(const char *name, const char *unit, void (*f)(int), int rounds, double scale)
{
	double samples[SAMPLES];

	f(rounds);
	for (int i = 0; i < SAMPLES; i++) {
		double began = now();

		f(rounds);
		samples[i] = (now() - began) / rounds * scale;
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), by_value);
	printf("%s %s %.3f %.3f %.3f %d\n", name, unit, samples[SAMPLES / 2], samples[SAMPLES / 10],
	       samples[SAMPLES - 1 - SAMPLES / 10], SAMPLES);
	fflush(stdout);
}

/* A call that waits for the device, which has nothing to do. */
static void finish(int rounds)
{
	for (int i = 0; i < rounds; i++)
		CHECK(clFinish(queue));
}

/* A call whose answer can change, so that only the vendor's library knows it. */
static void status(int rounds)
{
	cl_int state;

	for (int i = 0; i < rounds; i++)
		CHECK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL));
}

/* Calls that nobody waits for, and one at the end that waits. */
static void arguments(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		cl_int value = i;

		CHECK(clSetKernelArg(kernel, 1, sizeof(value), &value));
	}
	CHECK(clFinish(queue));
}

static void launches(int rounds)
{
	size_t global = 1;

	for (int i = 0; i < rounds; i++)
		CHECK(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &global, 0, NULL, NULL));
	CHECK(clFinish(queue));
}

static void copies(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		memcpy(other, memory, bulk_size);
		__asm__ volatile("" ::: "memory");
	}
}

static void writes(int rounds)
{
	for (int i = 0; i < rounds; i++)
		CHECK(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, bulk_size, memory, 0, NULL, NULL));
}

static void reads(int rounds)
{
	for (int i = 0; i < rounds; i++)
		CHECK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, bulk_size, memory, 0, NULL, NULL));
}

/* There and back to another process over a socket. */
static void socket_trips(int rounds)
{
	char byte = 0;

	for (int i = 0; i < rounds; i++)
		if (write(channel, &byte, 1) != 1 || read(channel, &byte, 1) != 1)
			abort();
}

/* There and back to the hypervisor over an ordinary virtio device: one sector, past all caches. */
static void disk_trips(int rounds)
{
	for (int i = 0; i < rounds; i++)
		if (pread(channel, sector, 512, 0) != 512)
			abort();
}

static void bench_channel(int rounds)
{
	int ends[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		exit(1);
	child = fork();
	if (child == 0) {
		char byte;

		close(ends[0]);
		while (read(ends[1], &byte, 1) == 1 && write(ends[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	close(ends[1]);
	channel = ends[0];
	measure("socket", "us", socket_trips, rounds, 1e6);
	close(channel);
	waitpid(child, NULL, 0);
	channel = open("/dev/vda", O_RDONLY | O_DIRECT);
	if (channel >= 0 && !posix_memalign(&sector, 4096, 4096))
		measure("virtio-blk", "us", disk_trips, rounds, 1e6);
}

static void bench_bulk(int rounds)
{
	static const size_t sizes[] = { 64 << 10, 1 << 20, 16 << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char name[64];
		int n = (int)((16 << 20) / sizes[i]) * rounds;
		double scale;
		cl_int error;

		bulk_size = sizes[i];
		scale = 1e6 / (bulk_size / 1048576.0);
		memory = malloc(bulk_size);
		other = malloc(bulk_size);
		memset(memory, 1, bulk_size);
		buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, bulk_size, NULL, &error);
		CHECK(error);
		snprintf(name, sizeof(name), "memcpy-%zuK", bulk_size >> 10);
		measure(name, "us/MiB", copies, n, scale);
		snprintf(name, sizeof(name), "write-%zuK", bulk_size >> 10);
		measure(name, "us/MiB", writes, n, scale);
		snprintf(name, sizeof(name), "read-%zuK", bulk_size >> 10);
		measure(name, "us/MiB", reads, n, scale);
		CHECK(clReleaseMemObject(buffer));
		free(memory);
		free(other);
	}
}

int main(int argc, char **argv)
{
	static const char *source =
		"kernel void put(global int *out, int value) { out[0] = value; }";
	const char *what = argc > 1 ? argv[1] : "all";
	int all = !strcmp(what, "all");
	int rounds = argc > 2 ? atoi(argv[2]) : 1000;
	cl_platform_id platform;
	cl_device_id device;
	cl_program program;
	cl_mem out;
	cl_int value = 1;
	cl_int error;

	if (rounds < 1)
		return 2;
	if (all || !strcmp(what, "channel"))
		bench_channel(rounds);
	if (!strcmp(what, "channel"))
		return 0;
	CHECK(clGetPlatformIDs(1, &platform, NULL));
	CHECK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
	context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
	CHECK(error);
	queue = clCreateCommandQueue(context, device, 0, &error);
	CHECK(error);
	program = clCreateProgramWithSource(context, 1, &source, NULL, &error);
	CHECK(error);
	CHECK(clBuildProgram(program, 1, &device, "", NULL, NULL));
	kernel = clCreateKernel(program, "put", &error);
	CHECK(error);
	out = clCreateBuffer(context, CL_MEM_READ_WRITE, 4096, NULL, &error);
	CHECK(error);
	CHECK(clSetKernelArg(kernel, 0, sizeof(out), &out));
	CHECK(clSetKernelArg(kernel, 1, sizeof(value), &value));
	CHECK(clEnqueueFillBuffer(queue, out, &value, sizeof(value), 0, 4096, 0, NULL, &event));
	CHECK(clWaitForEvents(1, &event));
	if (all || !strcmp(what, "sync"))
		measure("finish", "us", finish, rounds, 1e6);
	if (all || !strcmp(what, "status"))
		measure("status", "us", status, rounds, 1e6);
	if (all || !strcmp(what, "async"))
		measure("set-argument", "us", arguments, 10 * rounds, 1e6);
	if (all || !strcmp(what, "launch"))
		measure("launch", "us", launches, rounds, 1e6);
	if (all || !strcmp(what, "bulk"))
		bench_bulk(rounds < 250 ? 1 : rounds / 250);
	CHECK(clReleaseEvent(event));
	CHECK(clReleaseMemObject(out));
	CHECK(clReleaseKernel(kernel));
	CHECK(clReleaseProgram(program));
	CHECK(clReleaseCommandQueue(queue));
	CHECK(clReleaseContext(context));
	return 0;
}
