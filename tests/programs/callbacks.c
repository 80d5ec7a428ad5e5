// SPDX-License-Identifier: Apache-2.0
/* Functions of the program that are called when an event is complete or an object gone. */
#include <unistd.h>

#include "common.h"

static volatile int completed, gone[3], order;
static cl_event user;

static void CL_CALLBACK on_event(cl_event event, cl_int status, void *data)
{
	cl_uint type;

	CL(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof(type), &type, NULL));
	CHECK(status == CL_COMPLETE && data == &completed);
	__sync_fetch_and_add(&completed, 1);
}

/* How far the command has come when it is called, plus one. */
static volatile int way[3];

static void CL_CALLBACK on_way(cl_event event, cl_int status, void *data)
{
	cl_int reached;

	CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(reached), &reached, NULL));
	CHECK(reached <= status);
	*(volatile int *)data = reached + 1;
}

static void CL_CALLBACK on_end(cl_mem buffer, void *data)
{
	(void)buffer;
	gone[(int *)data - gone] = ++order;
}

static void CL_CALLBACK make_another(cl_mem buffer, void *data)
{
	cl_mem another = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &err);

	(void)buffer;
	(void)data;
	CL(err);
	CL(clReleaseMemObject(another));
	order++;
}

static void wait_for(volatile int *value, int wanted)
{
	for (int i = 0; i < 10000 && *value != wanted; i++)
		usleep(1000);
	CHECK(*value == wanted);
}

int main(void)
{
	unsigned char byte = 1;
	cl_event event;

	setup();
	cl_command_queue queue = make_queue(0);
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE, 4096, NULL);

	CLE(user = clCreateUserEvent(context, &err));
	CL(clEnqueueFillBuffer(queue, buffer, &byte, 1, 0, 4096, 1, &user, &event));
	CL(clSetEventCallback(event, CL_COMPLETE, on_event, (void *)&completed));
	CL(clFlush(queue));
	usleep(50000);
	CHECK(completed == 0);
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	wait_for(&completed, 1);
	CL(clSetEventCallback(event, CL_COMPLETE, on_event, (void *)&completed));
	wait_for(&completed, 2);
	CHECK(clSetEventCallback(event, CL_QUEUED + 1, on_event, NULL) == CL_INVALID_VALUE);
	CHECK(clSetEventCallback(event, CL_COMPLETE, NULL, NULL) == CL_INVALID_VALUE);
	CL(clReleaseEvent(event));
	CL(clReleaseEvent(user));
	printf("called when complete\n");

	/* While it runs, not when it has ended. */
	cl_program program = build("kernel void spin(global uint *out, uint rounds) {"
				   " uint x = *out; for (uint i = 0; i < rounds; i++)"
				   " x = x * 1664525u + 1013904223u ^ x >> 3; *out = x; }", NULL);
	cl_kernel kernel = make_kernel(program, "spin");
	cl_uint rounds = 100000000;
	size_t one = 1;

	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clSetKernelArg(kernel, 1, sizeof(rounds), &rounds));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, &event));
	CL(clSetEventCallback(event, CL_COMPLETE, on_way, (void *)&way[0]));
	CL(clSetEventCallback(event, CL_RUNNING, on_way, (void *)&way[1]));
	CL(clSetEventCallback(event, CL_SUBMITTED, on_way, (void *)&way[2]));
	CL(clFinish(queue));
	wait_for(&way[0], CL_COMPLETE + 1);
	CHECK(way[1] == CL_RUNNING + 1 && way[2] >= CL_RUNNING + 1);
	CL(clReleaseEvent(event));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	printf("called on the way\n");

	for (int i = 0; i < 3; i++)
		CL(clSetMemObjectDestructorCallback(buffer, on_end, (void *)&gone[i]));
	CL(clRetainMemObject(buffer));
	CL(clReleaseMemObject(buffer));
	CL(clFinish(queue));
	CHECK(order == 0);
	CL(clReleaseMemObject(buffer));
	wait_for(&order, 3);
	CHECK(gone[2] == 1 && gone[1] == 2 && gone[0] == 3);
	printf("called when gone, the last first\n");

	/* Not before the last command that uses it. */
	order = 0;
	buffer = make_buffer(CL_MEM_READ_WRITE, 4096, NULL);
	CLE(user = clCreateUserEvent(context, &err));
	CL(clSetMemObjectDestructorCallback(buffer, on_end, (void *)&gone[0]));
	CL(clEnqueueFillBuffer(queue, buffer, &byte, 1, 0, 4096, 1, &user, NULL));
	CL(clReleaseMemObject(buffer));
	CL(clFlush(queue));
	usleep(50000);
	CHECK(order == 0);
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	wait_for(&order, 1);
	CL(clFinish(queue));
	CL(clReleaseEvent(user));
	printf("called when not used any more\n");

	/* What is called may use the API. */
	order = 0;
	buffer = make_buffer(CL_MEM_READ_WRITE, 4096, NULL);
	CL(clSetMemObjectDestructorCallback(buffer, make_another, NULL));
	CL(clReleaseMemObject(buffer));
	wait_for(&order, 1);
	printf("made another\n");
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
