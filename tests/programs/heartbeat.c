// SPDX-License-Identifier: Apache-2.0
//
// Runs a small kernel over and over, and checks each result. At the first error it prints
// "error CODE" and ends with status 7; a wrong result is "error wrong".
//
// usage: heartbeat SECONDS [WORD]	(WORD is printed after the first)
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COUNT 256

static void check(cl_int error)
{
	if (error == CL_SUCCESS)
		return;
	printf("error %d\n", error);
	fflush(stdout);
	_exit(7);
}

int main(int argc, char **argv)
{
	static const char *source =
		"kernel void beat(global uint *out, uint n)"
		"{ size_t i = get_global_id(0); out[i] = n * 2654435761u + (uint)i; }";
	time_t until = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	cl_platform_id platform;
	cl_device_id device;
	cl_uint beats = 0;
	cl_int error;

	check(clGetPlatformIDs(1, &platform, NULL));
	check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));

	cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);

	check(error);

	cl_command_queue queue = clCreateCommandQueue(context, device, 0, &error);

	check(error);

	cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &error);

	check(error);
	check(clBuildProgram(program, 1, &device, "", NULL, NULL));

	cl_kernel kernel = clCreateKernel(program, "beat", &error);

	check(error);

	cl_mem out = clCreateBuffer(context, CL_MEM_READ_WRITE, COUNT * sizeof(cl_uint), NULL, &error);

	check(error);
	check(clSetKernelArg(kernel, 0, sizeof(out), &out));
	do {
		size_t global = COUNT;
		cl_uint result[COUNT];

		beats++;
		check(clSetKernelArg(kernel, 1, sizeof(beats), &beats));
		check(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
		check(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof(result), result, 0, NULL, NULL));
		for (cl_uint i = 0; i < COUNT; i++)
			if (result[i] != beats * 2654435761u + i) {
				printf("error wrong\n");
				return 7;
			}
		if (beats == 1 && argc > 2) {
			printf("%s\n", argv[2]);
			fflush(stdout);
		}
		usleep(20000);
	} while (time(NULL) < until);
	check(clReleaseMemObject(out));
	check(clReleaseKernel(kernel));
	check(clReleaseProgram(program));
	check(clReleaseCommandQueue(queue));
	check(clReleaseContext(context));
	printf("%s\n", beats > 0 ? "alive" : "no beat");
	return 0;
}
