// SPDX-License-Identifier: Apache-2.0
/*
 * Wrong calls and what they give. OpenCL lets an error of a command appear when
 * the command is finished; where it may, the code of whichever comes first, the
 * call or the finish, is printed.
 */
#include "common.h"

static const char source[] =
	"kernel void two(global int *data, int by) { data[get_global_id(0)] += by; }\n";

static cl_command_queue queue;

static void at_once(const char *what, cl_int code)
{
	printf("%-48s %d\n", what, code);
	CHECK(code != CL_SUCCESS);
}

static void sooner_or_later(const char *what, cl_int code)
{
	cl_int later = clFinish(queue);

	at_once(what, code != CL_SUCCESS ? code : later);
	CL(clFinish(queue));
}

int main(void)
{
	cl_kernel kernel;
	cl_mem buffer, none;
	cl_program program, unbuilt;
	size_t zero = 0, one = 1, huge = 1 << 20, size;
	char byte, many[64];
	cl_int value = 1;
	const char *sources[] = { source };

	setup();
	queue = make_queue(0);
	program = build(source, "");
	kernel = make_kernel(program, "two");
	buffer = make_buffer(CL_MEM_READ_WRITE, 4096, NULL);

	/* Objects that are none of the kind. */
	at_once("queue that is none", clFinish((cl_command_queue)NULL));
	at_once("info of no context", clGetContextInfo(NULL, CL_CONTEXT_DEVICES, 0, NULL, &size));
	at_once("retain no event", clRetainEvent(NULL));

	/* Queries. */
	at_once("unknown device info", clGetDeviceInfo(device, 0xdead, 0, NULL, &size));
	at_once("unknown platform info", clGetPlatformInfo(platform, 0xdead, 0, NULL, &size));
	at_once("no room for an answer",
		clGetDeviceInfo(device, CL_DEVICE_NAME, 1, &byte, NULL));
	at_once("devices without a place", clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, NULL));
	at_once("profile of an event without profiling", ({
		cl_event event;
		cl_ulong time;

		CL(clEnqueueMarkerWithWaitList(queue, 0, NULL, &event));
		CL(clFinish(queue));
		err = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(time), &time,
					      NULL);
		CL(clReleaseEvent(event));
		err;
	}));

	/* Buffers. */
	none = clCreateBuffer(context, CL_MEM_READ_WRITE, 0, NULL, &err);
	CHECK(!none);
	at_once("buffer of no size", err);
	none = clCreateBuffer(context, CL_MEM_READ_WRITE, (size_t)1 << 50, NULL, &err);
	CHECK(!none);
	at_once("buffer larger than there is", err);
	none = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, 16, NULL, &err);
	CHECK(!none);
	at_once("copy of nothing", err);
	none = clCreateBuffer(context, 0, 16, many, &err);
	CHECK(!none);
	at_once("host memory without its flag", err);
	none = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 16, NULL, &err);
	CHECK(!none);
	at_once("both only", err);
	cl_buffer_region outside = { 0, 8192 };

	none = clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &outside, &err);
	CHECK(!none);
	at_once("part beyond the end", err);
	at_once("read beyond the end",
		clEnqueueReadBuffer(queue, buffer, CL_TRUE, 4090, 7, many, 0, NULL, NULL));
	at_once("read to nowhere",
		clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 7, NULL, 0, NULL, NULL));
	at_once("write beyond the end",
		clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 4096, 1, many, 0, NULL, NULL));
	sooner_or_later("copy beyond the end",
			clEnqueueCopyBuffer(queue, buffer, buffer, 0, 4000, 100, 0, NULL, NULL));
	sooner_or_later("copy onto itself",
			clEnqueueCopyBuffer(queue, buffer, buffer, 0, 8, 100, 0, NULL, NULL));
	sooner_or_later("fill with a crooked pattern",
			clEnqueueFillBuffer(queue, buffer, many, 3, 0, 9, 0, NULL, NULL));
	clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_READ, 4000, 1000, 0, NULL, NULL, &err);
	at_once("map beyond the end", err);
	at_once("unmap what is not mapped",
		clEnqueueUnmapMemObject(queue, buffer, many, 0, NULL, NULL));

	/* Programs and kernels. */
	CLE(unbuilt = clCreateProgramWithSource(context, 1, sources, NULL, &err));
	CHECK(!clCreateKernel(unbuilt, "two", &err));
	at_once("kernel of a program not built", err);
	CHECK(!clCreateKernel(program, "three", &err));
	at_once("kernel that is not there", err);
	at_once("build with nonsense", clBuildProgram(unbuilt, 1, &device, "--nonsense", NULL, NULL));
	sooner_or_later("launch without arguments",
			clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
	at_once("argument beyond the last", clSetKernelArg(kernel, 2, sizeof(value), &value));
	at_once("buffer of a wrong size", clSetKernelArg(kernel, 0, 3, many));
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clSetKernelArg(kernel, 1, sizeof(value), &value));
	sooner_or_later("launch in no dimension",
			clEnqueueNDRangeKernel(queue, kernel, 0, NULL, &one, NULL, 0, NULL, NULL));
	sooner_or_later("group larger than the work",
			clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &huge, 0, NULL, NULL));
	at_once("launch in four dimensions, or its finish", ({
		size_t four[4] = { 1, 1, 1, 1 };

		err = clEnqueueNDRangeKernel(queue, kernel, 4, NULL, four, NULL, 0, NULL, NULL);
		err != CL_SUCCESS ? err : clFinish(queue);
	}));
	at_once("wait for no events", clWaitForEvents(0, NULL));
	(void)zero;

	/* After all that, everything works. */
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
	CL(clFinish(queue));
	CL(clReleaseProgram(unbuilt));
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
