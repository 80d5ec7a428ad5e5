// SPDX-License-Identifier: Apache-2.0
/*
 * Wrong calls give the vendor's own error at once, also where the same function has
 * been called rightly many times before; and what is set wrong spoils nothing.
 */
#include "common.h"

static const char source[] =
	"kernel void add(global int *data, int by, local int *room, ulong word) {"
	"	data[get_global_id(0)] += by + (word == 7);"
	"}\n"
	"kernel void none(void) { }\n";

static cl_command_queue queue;

static void is(const char *what, cl_int code)
{
	printf("%-48s %d\n", what, code);
}

/* Sets all arguments and launches, rightly, until the library knows it can. */
static void warm_up(cl_kernel kernel, cl_mem data, size_t size)
{
	for (int i = 0; i < 4; i++) {
		cl_ulong word = 7 + i;

		CL(clSetKernelArg(kernel, 0, sizeof(data), &data));
		CL(clSetKernelArg(kernel, 1, sizeof(i), &i));
		CL(clSetKernelArg(kernel, 2, 64, NULL));
		CL(clSetKernelArg(kernel, 3, sizeof(word), &word));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &size, NULL, 0, NULL, NULL));
	}
}

static void arguments(cl_kernel kernel, cl_mem data)
{
	cl_mem null = NULL;
	cl_ulong address = (cl_ulong)(uintptr_t)data;
	cl_int value = 1, sum = 0;
	size_t size = 16;

	is("argument of a wrong index", clSetKernelArg(kernel, 4, 4, &value));
	is("buffer of a wrong size", clSetKernelArg(kernel, 0, 4, &value));
	is("number of a wrong size", clSetKernelArg(kernel, 1, 8, &address));
	is("number that is null", clSetKernelArg(kernel, 1, 4, NULL));
	is("local memory of no size", clSetKernelArg(kernel, 2, 0, NULL));
	is("local memory with a value", clSetKernelArg(kernel, 2, 4, &value));
	/* All that was wrong has changed nothing. */
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &size, NULL, 0, NULL, NULL));
	/* A number that happens to be a buffer's address is a number. */
	is("number that is an address", clSetKernelArg(kernel, 3, 8, &address));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &size, NULL, 0, NULL, NULL));
	is("buffer that is null", clSetKernelArg(kernel, 0, 8, &null));
	is("the buffer again", clSetKernelArg(kernel, 0, 8, &data));
	CL(clEnqueueReadBuffer(queue, data, CL_TRUE, 0, 4, &sum, 0, NULL, NULL));
	printf("sum %d\n", sum);
}

static void launches(cl_kernel kernel, cl_kernel unset)
{
	size_t size[3] = { 16, 1, 1 }, five = 5, huge = (size_t)1 << 40;
	cl_event event = NULL;

	is("launch of unset arguments",
		clEnqueueNDRangeKernel(queue, unset, 1, NULL, size, NULL, 0, NULL, NULL));
	is("launch in no dimension",
		clEnqueueNDRangeKernel(queue, kernel, 0, NULL, size, NULL, 0, NULL, NULL));
	is("launch in four dimensions",
		clEnqueueNDRangeKernel(queue, kernel, 4, NULL, size, NULL, 0, NULL, NULL));
	is("groups that do not fit",
		clEnqueueNDRangeKernel(queue, kernel, 1, NULL, size, &five, 0, NULL, NULL));
	is("groups that are huge",
		clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &huge, &huge, 0, NULL, NULL));
	is("wait list without a number",
		clEnqueueNDRangeKernel(queue, kernel, 1, NULL, size, NULL, 0, &event, NULL));
	is("launch on no queue",
		clEnqueueNDRangeKernel(NULL, kernel, 1, NULL, size, NULL, 0, NULL, NULL));
	is("all that is left in the queue", clFinish(queue));
}

/* Objects of a second context, which belong to no command of the first. */
static void strangers(cl_kernel kernel, cl_mem data)
{
	cl_context other;
	cl_event event;
	cl_mem foreign;
	size_t size = 16;

	CLE(other = clCreateContext(NULL, 1, &device, NULL, NULL, &err));
	CLE(event = clCreateUserEvent(other, &err));
	CLE(foreign = clCreateBuffer(other, CL_MEM_READ_WRITE, 64, NULL, &err));
	CL(clSetUserEventStatus(event, CL_COMPLETE));
	is("launch that waits for a strange event",
		clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &size, NULL, 1, &event, NULL));
	is("marker that waits for a strange event",
		clEnqueueMarkerWithWaitList(queue, 1, &event, NULL));
	is("barrier that waits for a strange event",
		clEnqueueBarrierWithWaitList(queue, 1, &event, NULL));
	is("copy to a strange buffer",
		clEnqueueCopyBuffer(queue, data, foreign, 0, 0, 16, 0, NULL, NULL));
	is("all that is left in the queue", clFinish(queue));
	CL(clReleaseMemObject(foreign));
	CL(clReleaseEvent(event));
	CL(clReleaseContext(other));
}

static void events(void)
{
	cl_event user, marker, two[2];
	cl_int status;

	CLE(user = clCreateUserEvent(context, &err));
	is("status that is none", clSetUserEventStatus(user, CL_SUBMITTED));
	CL(clEnqueueMarkerWithWaitList(queue, 1, &user, &marker));
	is("status of a marker", clSetUserEventStatus(marker, CL_COMPLETE));
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	is("status once more", clSetUserEventStatus(user, CL_COMPLETE));
	CL(clFinish(queue));
	CL(clGetEventInfo(marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status, NULL));
	is("status of the marker in the end", status);
	two[0] = user;
	two[1] = NULL;
	is("wait for an event that is none", clWaitForEvents(2, two));
	is("wait for no events", clWaitForEvents(0, two));
	is("wait for a null list", clWaitForEvents(1, NULL));
	is("marker that waits for what is none", clEnqueueMarkerWithWaitList(queue, 2, two, NULL));
	/* An error by the standard, though Intel's takes it. */
	if (is_pocl())
		is("old marker without a place", clEnqueueMarker(queue, NULL));
	CL(clReleaseEvent(user));
	CL(clReleaseEvent(marker));
	is("all that is left in the queue", clFinish(queue));
}

static void programs(void)
{
	const char *empty[] = { NULL };
	const char *bad[] = { "kernel void x(" };
	cl_program program;
	cl_kernel kernels[8];
	cl_uint count = 0;

	err = 0;
	program = clCreateProgramWithSource(context, 0, NULL, NULL, &err);
	is("program of no source", err);
	program = clCreateProgramWithSource(context, 1, empty, NULL, &err);
	is("program of a null source", err);
	CLE(program = clCreateProgramWithSource(context, 1, bad, NULL, &err));
	is("kernels of what is not built", clCreateKernelsInProgram(program, 8, kernels, &count));
	is("build with an option that is none",
		clBuildProgram(program, 1, &device, "-no-such-option", NULL, NULL));
	is("build with devices but no list", clBuildProgram(program, 1, NULL, NULL, NULL, NULL));
	is("build of what is wrong", clBuildProgram(program, 1, &device, NULL, NULL, NULL));
	clCreateKernel(program, "x", &err);
	is("kernel of what is wrong", err);
	CL(clReleaseProgram(program));

	program = build(source, "");
	clCreateKernel(program, "nobody", &err);
	is("kernel of no such name", err);
	CL(clCreateKernelsInProgram(program, 0, NULL, &count));
	CHECK(count == 2);
	is("kernels in too little room", clCreateKernelsInProgram(program, 1, kernels, NULL));
	CL(clCreateKernelsInProgram(program, 8, kernels, NULL));
	for (cl_uint i = 0; i < count; i++) {
		char name[32];

		CL(clGetKernelInfo(kernels[i], CL_KERNEL_FUNCTION_NAME, sizeof(name), name, NULL));
		printf("kernel %s\n", name);
		CL(clReleaseKernel(kernels[i]));
	}
	is("kernel that is gone", clReleaseKernel(NULL));
	CL(clReleaseProgram(program));
}

int main(void)
{
	cl_program program;
	cl_kernel kernel, unset;
	cl_mem data;
	cl_int zeros[16] = { 0 };

	setup();
	queue = make_queue(0);
	program = build(source, "");
	kernel = make_kernel(program, "add");
	unset = make_kernel(program, "add");
	data = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(zeros), zeros);
	warm_up(kernel, data, 16);
	arguments(kernel, data);
	launches(kernel, unset);
	strangers(kernel, data);
	events();
	programs();
	CL(clReleaseKernel(kernel));
	CL(clReleaseKernel(unset));
	CL(clReleaseProgram(program));
	CL(clReleaseMemObject(data));
	CL(clReleaseCommandQueue(queue));
	CL(clReleaseContext(context));
	return 0;
}
