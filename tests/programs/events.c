// SPDX-License-Identifier: Apache-2.0
/* Events: wait lists in a queue out of order, profiling, user events, markers and barriers. */
#include "common.h"

#define COUNT 1024
#define CHAIN 16

static const char source[] =
	"kernel void advance(global uint *data, uint n)\n"
	"{\n"
	"	data[get_global_id(0)] = data[get_global_id(0)] * 5 + n;\n"
	"}\n";

static cl_int status_of(cl_event event)
{
	cl_int status;

	CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status, NULL));
	return status;
}

static cl_uint type_of(cl_event event)
{
	cl_uint type;

	CL(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof(type), &type, NULL));
	return type;
}

static void check_times(cl_event event)
{
	cl_ulong times[4];

	for (int i = 0; i < 4; i++)
		CL(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED + i, sizeof(times[i]),
					   &times[i], NULL));
	CHECK(times[0] <= times[1] && times[1] <= times[2] && times[2] <= times[3]);
	CHECK(times[3] > 0);
}

int main(void)
{
	static uint32_t data[COUNT], expected[COUNT];
	size_t global = COUNT;
	cl_event chain[CHAIN], user, marker, event;
	cl_command_queue found;
	cl_context of_event;

	setup();
	cl_command_queue queue = make_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE |
					    CL_QUEUE_PROFILING_ENABLE);
	cl_program program = build(source, "");
	cl_kernel kernel = make_kernel(program, "advance");
	cl_mem buffer;

	for (int i = 0; i < COUNT; i++)
		data[i] = expected[i] = i * i;
	buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));

	/* A chain in a queue out of order: only its wait lists order it. */
	for (cl_uint n = 0; n < CHAIN; n++) {
		CL(clSetKernelArg(kernel, 1, sizeof(n), &n));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, n > 0,
					  n > 0 ? &chain[n - 1] : NULL, &chain[n]));
		for (int i = 0; i < COUNT; i++)
			expected[i] = expected[i] * 5 + n;
	}
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 1, &chain[CHAIN - 1],
			       NULL));
	CHECK(memcmp(data, expected, sizeof(data)) == 0);
	for (int n = 0; n < CHAIN; n++) {
		CHECK(status_of(chain[n]) == CL_COMPLETE);
		CHECK(type_of(chain[n]) == CL_COMMAND_NDRANGE_KERNEL);
		check_times(chain[n]);
	}
	CL(clGetEventInfo(chain[0], CL_EVENT_COMMAND_QUEUE, sizeof(found), &found, NULL));
	CL(clGetEventInfo(chain[0], CL_EVENT_CONTEXT, sizeof(of_event), &of_event, NULL));
	CHECK(found == queue && of_event == context);
	for (int n = 0; n < CHAIN; n++)
		CL(clReleaseEvent(chain[n]));
	printf("chain of %d: %016llx\n", CHAIN, (unsigned long long)fnv(data, sizeof(data)));

	/* Nothing that waits for a user event runs before its time. */
	cl_uint n = 1000;

	CLE(user = clCreateUserEvent(context, &err));
	CL(clSetKernelArg(kernel, 1, sizeof(n), &n));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 1, &user, &event));
	CL(clFlush(queue));
	CHECK(status_of(event) > CL_COMPLETE && status_of(user) == CL_SUBMITTED);
	CHECK(type_of(user) == CL_COMMAND_USER);
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	CL(clWaitForEvents(1, &event));
	CHECK(status_of(event) == CL_COMPLETE && status_of(user) == CL_COMPLETE);
	CL(clReleaseEvent(user));
	CL(clReleaseEvent(event));

	CL(clEnqueueMarkerWithWaitList(queue, 0, NULL, &marker));
	CL(clEnqueueBarrierWithWaitList(queue, 1, &marker, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof(data), data, 1, &marker, &event));
	CL(clWaitForEvents(1, &event));
	CHECK(type_of(event) == CL_COMMAND_READ_BUFFER);
	for (int i = 0; i < COUNT; i++)
		CHECK(data[i] == expected[i] * 5 + n);
	CL(clReleaseEvent(event));
	CL(clReleaseEvent(marker));
	CL(clFinish(queue));
	printf("user event: %016llx\n", (unsigned long long)fnv(data, sizeof(data)));

	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
