// SPDX-License-Identifier: Apache-2.0
/*
 * Eight threads in one context, each with its own queue, and a million calls in all: arguments,
 * launches, queries, references and small copies. At the end every thread's numbers are what it
 * computed itself.
 *   storm [CALLS]
 */
#include <pthread.h>

#include "common.h"

#define THREADS 8
#define COUNT 64
#define PER_ROUND 10

static const char source[] =
	"kernel void advance(global uint *data, uint key)\n"
	"{\n"
	"	size_t i = get_global_id(0);\n"
	"	data[i] = (data[i] ^ key) * 2654435761u + (uint)i;\n"
	"}\n";

static cl_program program;
static long rounds = 1000000 / THREADS / PER_ROUND;
static uint64_t hashes[THREADS];
static long calls[THREADS];

static void *work(void *argument)
{
	unsigned me = (unsigned)(uintptr_t)argument;
	cl_uint data[COUNT], expected[COUNT], references;
	size_t global = COUNT;
	cl_int code;
	long made = 0;

#define DO(call) do { CL(call); made++; } while (0)
	cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
	CL(code);
	cl_kernel kernel = clCreateKernel(program, "advance", &code);
	CL(code);
	cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(data), NULL, &code);
	CL(code);
	for (cl_uint i = 0; i < COUNT; i++)
		expected[i] = me * 1000 + i;
	CL(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), expected, 0, NULL, NULL));
	for (long round = 0; round < rounds; round++) {
		cl_uint key = (cl_uint)round * THREADS + me, one = 0;
		cl_uint at = (cl_uint)round % COUNT;

		DO(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
		DO(clSetKernelArg(kernel, 1, sizeof(key), &key));
		DO(clRetainMemObject(buffer));
		DO(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
		DO(clReleaseMemObject(buffer));
		for (cl_uint i = 0; i < COUNT; i++)
			expected[i] = (expected[i] ^ key) * 2654435761u + i;
		DO(clRetainKernel(kernel));
		DO(clGetKernelInfo(kernel, CL_KERNEL_REFERENCE_COUNT, sizeof(references),
				   &references, NULL));
		if (references < 2)	/* what is under way may have more */
			FAIL("thread %u, round %ld: %u references", me, round, references);
		DO(clReleaseKernel(kernel));
		DO(clEnqueueReadBuffer(queue, buffer, CL_TRUE, at * sizeof(one), sizeof(one), &one,
				       0, NULL, NULL));
		if (one != expected[at])
			FAIL("thread %u, round %ld, element %u", me, round, at);
		DO(clFlush(queue));
	}
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL));
	if (memcmp(data, expected, sizeof(data)) != 0)
		FAIL("thread %u ends with other numbers", me);
	hashes[me] = fnv(data, sizeof(data));
	calls[me] = made;
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseCommandQueue(queue));
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	long total = 0;

	if (argc > 1)
		rounds = atol(argv[1]) / THREADS / PER_ROUND;
	setup();
	program = build(source, "");
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		printf("thread %d: %016llx\n", i, (unsigned long long)hashes[i]);
		total += calls[i];
	}
	printf("%ld calls\n", total);
	CL(clReleaseProgram(program));
	teardown();
	return 0;
}
