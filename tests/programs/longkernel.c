// SPDX-License-Identifier: Apache-2.0
/*
 * Keeps the device busy for about so many seconds with one kernel, on one
 * megabyte of device memory: longkernel SECONDS. Says "running" when the kernel
 * has been given to the device; status 1 and a line if the device is lost.
 */
#include <time.h>

#include "common.h"

static const char source[] =
	"kernel void spin(global ulong *out, ulong rounds)\n"
	"{\n"
	"	ulong v = get_global_id(0) + 1;\n"
	"	for (ulong i = 0; i < rounds; i++) {\n"
	"		v ^= v << 13;\n"
	"		v ^= v >> 7;\n"
	"		v ^= v << 17;\n"
	"	}\n"
	"	out[get_global_id(0)] = v;\n"
	"}\n";

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1, began, took;
	size_t one = 1;
	cl_ulong rounds = 1 << 20, v = 1, got;

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, "");
	cl_kernel kernel = make_kernel(program, "spin");
	cl_mem out = make_buffer(CL_MEM_READ_WRITE, 1 << 20, NULL);

	CL(clSetKernelArg(kernel, 0, sizeof(out), &out));
	for (;;) {
		CL(clSetKernelArg(kernel, 1, sizeof(rounds), &rounds));
		began = now();
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
		CL(clFinish(queue));
		took = now() - began;
		if (took > 0.2)
			break;
		rounds *= 2;
	}
	rounds *= seconds / took;
	CL(clSetKernelArg(kernel, 1, sizeof(rounds), &rounds));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
	CL(clFlush(queue));
	printf("running\n");
	fflush(stdout);
	CL(clFinish(queue));
	CL(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof(got), &got, 0, NULL, NULL));
	for (cl_ulong i = 0; i < rounds; i++) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
	}
	CHECK(got == v);
	printf("done\n");
	CL(clReleaseMemObject(out));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
