// SPDX-License-Identifier: Apache-2.0
/* A thousand kernels in a row, each with other arguments, waited for once. */
#include "common.h"

#define COUNT 256
#define KERNELS 1000

static const char source[] =
	"kernel void advance(global uint *data, uint n)\n"
	"{\n"
	"	data[get_global_id(0)] = data[get_global_id(0)] * 3 + n;\n"
	"}\n";

int main(void)
{
	uint32_t data[COUNT], expected[COUNT];
	size_t global = COUNT;

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, "");
	cl_kernel kernel = make_kernel(program, "advance");

	for (int i = 0; i < COUNT; i++)
		data[i] = expected[i] = i;
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	for (cl_uint n = 0; n < KERNELS; n++) {
		CL(clSetKernelArg(kernel, 1, sizeof(n), &n));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
		for (int i = 0; i < COUNT; i++)
			expected[i] = expected[i] * 3 + n;
	}
	CL(clFinish(queue));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL));
	CHECK(memcmp(data, expected, sizeof(data)) == 0);
	printf("%d kernels: %016llx\n", KERNELS, (unsigned long long)fnv(data, sizeof(data)));

	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
