// SPDX-License-Identifier: Apache-2.0
/*
 * Fills the device's memory to the last byte, asks for one byte more, gives all
 * back and fills it again. Meant for a quota: on a device without one, the
 * memory may be virtual and the byte more be granted.
 */
#include "common.h"

#define PIECES 1024

static cl_mem pieces[PIECES];

static int fill(cl_ulong total, cl_ulong largest)
{
	int count = 0;

	while (total > 0) {
		cl_ulong size = total < largest ? total : largest;

		CHECK(count < PIECES);
		pieces[count] = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, &err);
		if (err != CL_SUCCESS)
			FAIL("piece %d of %llu bytes gives %d", count, (unsigned long long)size, err);
		count++;
		total -= size;
	}
	return count;
}

int main(void)
{
	cl_ulong total, largest;
	uint32_t word = 0x12345678, back = 0;
	int count;
	const char *source = "kernel void f() {}";

	setup();
	cl_command_queue queue = make_queue(0);

	CL(clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(total), &total, NULL));
	CL(clGetDeviceInfo(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(largest), &largest, NULL));
	CHECK(largest > 0 && largest <= total);
	/* A program takes memory as well, and gives it back. */
	CL(clReleaseProgram(build(source, NULL)));
	for (int round = 0; round < 2; round++) {
		cl_mem more;

		count = fill(total, largest);
		more = clCreateBuffer(context, CL_MEM_READ_WRITE, 1, NULL, &err);
		if (err != CL_MEM_OBJECT_ALLOCATION_FAILURE && err != CL_OUT_OF_RESOURCES)
			FAIL("one byte more gives %d", err);
		CHECK(more == NULL);
		CHECK(clCreateProgramWithSource(context, 1, &source, NULL, &err) == NULL);
		if (err != CL_MEM_OBJECT_ALLOCATION_FAILURE && err != CL_OUT_OF_RESOURCES)
			FAIL("a program more gives %d", err);
		/* Nothing else has changed. */
		CL(clEnqueueWriteBuffer(queue, pieces[0], CL_TRUE, 0, sizeof(word), &word, 0, NULL,
					NULL));
		CL(clEnqueueReadBuffer(queue, pieces[0], CL_TRUE, 0, sizeof(back), &back, 0, NULL,
				       NULL));
		CHECK(back == word);
		back = 0;
		for (int i = 0; i < count; i++)
			CL(clReleaseMemObject(pieces[i]));
		CL(clFinish(queue));
	}
	printf("%llu bytes in %d pieces, twice, and not one more\n", (unsigned long long)total,
	       count);
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
