// SPDX-License-Identifier: Apache-2.0
/*
 * Four threads in one context, each with a queue, a kernel and buffers of its own,
 * and one that waits all the time and holds nobody up.
 */
#include <pthread.h>

#include "common.h"

#define THREADS 4
#define ROUNDS 50
#define COUNT 4096

static const char source[] =
	"kernel void stir(global uint *data, uint key)\n"
	"{\n"
	"	uint v = data[get_global_id(0)] + key;\n"
	"	v ^= v << 7;\n"
	"	v *= 2654435761u;\n"
	"	data[get_global_id(0)] = v ^ v >> 13;\n"
	"}\n";

static cl_program program;
static uint64_t hashes[THREADS];

static void *work(void *argument)
{
	uint32_t me = (uint32_t)(uintptr_t)argument, state = me + 1;
	uint32_t data[COUNT], expected[COUNT];
	size_t global = COUNT;
	cl_int err;

	for (int i = 0; i < COUNT; i++)
		expected[i] = next_random(&state);
	cl_command_queue queue = clCreateCommandQueue(context, device, 0, &err);
	CL(err);
	cl_kernel kernel = clCreateKernel(program, "stir", &err);
	CL(err);
	for (int round = 0; round < ROUNDS; round++) {
		cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(data), NULL, &err);
		cl_uint key = me * 1000 + round;
		cl_event event;

		CL(err);
		CL(clEnqueueWriteBuffer(queue, buffer, round % 2, 0, sizeof(data), expected, 0,
					NULL, NULL));
		CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
		CL(clSetKernelArg(kernel, 1, sizeof(key), &key));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
		if (round % 3 == 0) {
			CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0,
					       NULL, NULL));
		} else {
			CL(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof(data), data, 0,
					       NULL, &event));
			CL(clWaitForEvents(1, &event));
			CL(clReleaseEvent(event));
		}
		for (int i = 0; i < COUNT; i++) {
			uint32_t v = expected[i] + key;

			v ^= v << 7;
			v *= 2654435761u;
			expected[i] = v ^ v >> 13;
			if (data[i] != expected[i])
				FAIL("thread %u, round %d, element %d", me, round, i);
		}
		CL(clReleaseMemObject(buffer));
	}
	hashes[me] = fnv(data, sizeof(data));
	CL(clReleaseKernel(kernel));
	CL(clReleaseCommandQueue(queue));
	return NULL;
}

static cl_event user;
static volatile int waited;

static void *wait_for_user_event(void *unused)
{
	CL(clWaitForEvents(1, &user));
	waited = 1;
	return unused;
}

int main(void)
{
	pthread_t threads[THREADS], waiter;

	setup();
	program = build(source, "");
	CLE(user = clCreateUserEvent(context, &err));
	CHECK(pthread_create(&waiter, NULL, wait_for_user_event, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(!waited);
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	CHECK(pthread_join(waiter, NULL) == 0 && waited);
	CL(clReleaseEvent(user));
	for (int i = 0; i < THREADS; i++)
		printf("thread %d: %016llx\n", i, (unsigned long long)hashes[i]);
	CL(clReleaseProgram(program));
	teardown();
	return 0;
}
