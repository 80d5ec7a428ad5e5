// SPDX-License-Identifier: Apache-2.0
/* Objects made and given up many thousand times: names are used again, and nothing is left over. */
#include "common.h"

#define ROUNDS 4000

static const char source[] =
	"kernel void count(global uint *data) { data[get_global_id(0)]++; }\n";

static long resident_pages(void)
{
	long size, resident;
	FILE *file = fopen("/proc/self/statm", "r");

	CHECK(file && fscanf(file, "%ld %ld", &size, &resident) == 2);
	fclose(file);
	return resident;
}

int main(void)
{
	size_t global = 16;
	uint32_t data[16], zero[16] = { 0 };
	long before = 0;

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, "");

	for (int round = 0; round < ROUNDS; round++) {
		cl_event events[8];
		cl_kernel kernel = make_kernel(program, "count");
		cl_mem buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(zero),
					    zero);

		CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
		CL(clReleaseMemObject(make_buffer(CL_MEM_READ_ONLY, 1 << 16, NULL)));
		for (int i = 0; i < 8; i++)
			CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, i > 0,
						  i > 0 ? &events[i - 1] : NULL, &events[i]));
		/* Given up while they are in use. */
		CL(clReleaseKernel(kernel));
		for (int i = 0; i < 7; i++)
			CL(clReleaseEvent(events[i]));
		CL(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof(data), data, 1, &events[7],
				       NULL));
		CL(clReleaseEvent(events[7]));
		CL(clReleaseMemObject(buffer));
		CL(clFinish(queue));
		for (int i = 0; i < 16; i++)
			CHECK(data[i] == 8);
		if (round == ROUNDS / 4)
			before = resident_pages();
	}
	/* Eight megabytes: far less than anything that is left over in each round would be. */
	CHECK(resident_pages() - before < 2048);
	printf("%d rounds\n", ROUNDS);
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
