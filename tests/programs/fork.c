// SPDX-License-Identifier: Apache-2.0
/*
 * Children. One that is forked before the first call uses OpenCL itself; one that executes another
 * program may do as it likes; one of a process that uses OpenCL already either gets right answers or
 * errors, and ends; the parent goes on as if nothing had been.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define COUNT 1000

static void compute(void)
{
	static const char source[] =
		"kernel void square(global int *x) { size_t i = get_global_id(0); x[i] *= x[i]; }";
	static int data[COUNT];
	size_t global = COUNT;
	cl_program program = build(source, "");
	cl_kernel kernel = make_kernel(program, "square");
	cl_command_queue queue = make_queue(0);

	for (int i = 0; i < COUNT; i++)
		data[i] = i;
	cl_mem buffer = make_buffer(CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL));
	for (int i = 0; i < COUNT; i++)
		CHECK(data[i] == i * i);
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
}

/* Whether the child ends by itself, with status 0. */
static void join(const char *name, pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("%s ends with %#x", name, status);
	printf("%s: ends well\n", name);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	pid_t child;

	if (argc > 1) {		/* executed by a child */
		setup();
		compute();
		teardown();
		return 0;
	}
	child = fork();
	if (child == 0) {
		setup();
		compute();
		teardown();
		_exit(0);
	}
	join("a child before the first call", child);

	setup();
	compute();
	cl_command_queue queue = make_queue(0);
	int number = 7;
	cl_mem buffer = make_buffer(CL_MEM_COPY_HOST_PTR, sizeof(number), &number);

	child = fork();
	if (child == 0) {
		char name[200];
		cl_uint count;

		alarm(20);
		/* Each of these answers or fails; none hangs. (Commands would hang natively.) */
		clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof(name), name, NULL);
		clGetPlatformIDs(0, NULL, &count);
		clRetainMemObject(buffer);
		clReleaseMemObject(buffer);
		_exit(0);
	}
	join("a child of a client", child);

	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", argv[0], "again", NULL);
		_exit(1);
	}
	join("a child that executes", child);

	number = 0;
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(number), &number, 0, NULL, NULL));
	CHECK(number == 7);
	CL(clReleaseMemObject(buffer));
	CL(clReleaseCommandQueue(queue));
	compute();
	printf("the parent goes on\n");
	teardown();
	return 0;
}
