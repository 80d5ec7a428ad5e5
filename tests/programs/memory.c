// SPDX-License-Identifier: Apache-2.0
/* Maps, parts of buffers, rectangles, fills and copies. */
#include "common.h"

#define SIZE 65536

static unsigned char model[SIZE], got[SIZE];
static cl_command_queue queue;

static void compare(cl_mem buffer, const char *what)
{
	memset(got, 0xee, sizeof(got));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, SIZE, got, 0, NULL, NULL));
	for (int i = 0; i < SIZE; i++)
		if (got[i] != model[i])
			FAIL("%s: byte %d is %d, not %d", what, i, got[i], model[i]);
	printf("%s: %016llx\n", what, (unsigned long long)fnv(got, SIZE));
}

static void fills_and_copies(cl_mem buffer)
{
	cl_uint pattern = 0xdeadbeef;
	cl_uchar byte = 0x5a;

	CL(clEnqueueFillBuffer(queue, buffer, &pattern, sizeof(pattern), 4096, 8192, 0, NULL, NULL));
	for (int i = 4096; i < 4096 + 8192; i += 4)
		memcpy(model + i, &pattern, 4);
	CL(clEnqueueFillBuffer(queue, buffer, &byte, 1, 3, 5, 0, NULL, NULL));
	memset(model + 3, byte, 5);
	compare(buffer, "fill");

	CL(clEnqueueCopyBuffer(queue, buffer, buffer, 4090, 40001, 777, 0, NULL, NULL));
	memcpy(model + 40001, model + 4090, 777);
	compare(buffer, "copy");
}

static void maps(cl_mem buffer)
{
	cl_uint count;
	cl_event event;
	unsigned char *map, *other;

	CLE(map = clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_READ, 100, 5000, 0, NULL, NULL,
				     &err));
	CHECK(memcmp(map, model + 100, 5000) == 0);
	CL(clGetMemObjectInfo(buffer, CL_MEM_MAP_COUNT, sizeof(count), &count, NULL));
	CHECK(count == 1);
	CL(clEnqueueUnmapMemObject(queue, buffer, map, 0, NULL, NULL));

	CLE(map = clEnqueueMapBuffer(queue, buffer, CL_FALSE, CL_MAP_READ | CL_MAP_WRITE, 10000,
				     20000, 0, NULL, &event, &err));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	CLE(other = clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 50000,
				       3, 0, NULL, NULL, &err));
	for (int i = 0; i < 20000; i++) {
		CHECK(map[i] == model[10000 + i]);
		map[i] ^= 0x33;
		model[10000 + i] ^= 0x33;
	}
	memcpy(other, "abc", 3);
	memcpy(model + 50000, "abc", 3);
	CL(clEnqueueUnmapMemObject(queue, buffer, other, 0, NULL, NULL));
	CL(clEnqueueUnmapMemObject(queue, buffer, map, 0, NULL, &event));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	CL(clGetMemObjectInfo(buffer, CL_MEM_MAP_COUNT, sizeof(count), &count, NULL));
	CHECK(count == 0);
	compare(buffer, "map");
}

static void parts(cl_mem buffer)
{
	cl_buffer_region region = { 8192, 4096 };
	cl_mem part, whole;
	size_t offset, size;
	unsigned char *map;
	cl_uint pattern = 7;

	CLE(part = clCreateSubBuffer(buffer, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
				     &region, &err));
	CL(clGetMemObjectInfo(part, CL_MEM_OFFSET, sizeof(offset), &offset, NULL));
	CL(clGetMemObjectInfo(part, CL_MEM_SIZE, sizeof(size), &size, NULL));
	CL(clGetMemObjectInfo(part, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(whole), &whole, NULL));
	CHECK(offset == 8192 && size == 4096 && whole == buffer);
	CL(clEnqueueFillBuffer(queue, part, &pattern, 4, 0, 128, 0, NULL, NULL));
	for (int i = 0; i < 128; i += 4)
		memcpy(model + 8192 + i, &pattern, 4);
	CLE(map = clEnqueueMapBuffer(queue, part, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 64, 256, 0,
				     NULL, NULL, &err));
	CHECK(memcmp(map, model + 8192 + 64, 256) == 0);
	map[200] = model[8192 + 64 + 200] = 0x99;
	CL(clEnqueueUnmapMemObject(queue, part, map, 0, NULL, NULL));
	CL(clFinish(queue));
	CL(clReleaseMemObject(part));
	compare(buffer, "part");
}

static void rectangles(cl_mem buffer)
{
	static unsigned char host[32 * 1024], expected[32 * 1024];
	size_t in_buffer[3] = { 5, 3, 1 }, in_host[3] = { 2, 1, 2 }, region[3] = { 17, 6, 4 };
	size_t to[3] = { 40, 20, 0 };
	size_t row = 64, slice = 64 * 32, host_row = 50, host_slice = 50 * 20;
	cl_event event;

	for (int i = 0; i < (int)sizeof(host); i++)
		host[i] = expected[i] = i * 7;
	for (size_t z = 0; z < region[2]; z++)
		for (size_t y = 0; y < region[1]; y++)
			for (size_t x = 0; x < region[0]; x++)
				model[(z + 1) * slice + (y + 3) * row + x + 5] =
					host[(z + 2) * host_slice + (y + 1) * host_row + x + 2];
	CL(clEnqueueWriteBufferRect(queue, buffer, CL_FALSE, in_buffer, in_host, region, row, slice,
				    host_row, host_slice, host, 0, NULL, NULL));
	compare(buffer, "write rectangle");

	in_host[0] = 9;
	for (size_t z = 0; z < region[2]; z++)
		for (size_t y = 0; y < region[1]; y++)
			for (size_t x = 0; x < region[0]; x++)
				expected[(z + 2) * host_slice + (y + 1) * host_row + x + 9] =
					model[(z + 1) * slice + (y + 3) * row + x + 5];
	CL(clEnqueueReadBufferRect(queue, buffer, CL_FALSE, in_buffer, in_host, region, row, slice,
				   host_row, host_slice, host, 0, NULL, &event));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	CHECK(memcmp(host, expected, sizeof(host)) == 0);

	CL(clEnqueueCopyBufferRect(queue, buffer, buffer, in_buffer, to, region, row, slice, row,
				   slice, 0, NULL, NULL));
	for (size_t z = 0; z < region[2]; z++)
		for (size_t y = 0; y < region[1]; y++)
			for (size_t x = 0; x < region[0]; x++)
				model[z * slice + (y + 20) * row + x + 40] =
					model[(z + 1) * slice + (y + 3) * row + x + 5];
	compare(buffer, "copy rectangle");
}

static void host_memory(void)
{
	static unsigned char mine[8192] __attribute__((aligned(4096)));
	cl_mem buffer;
	cl_mem_flags flags;
	void *host;
	unsigned char *map;
	cl_uint pattern = 0x01020304;

	memset(mine, 3, sizeof(mine));
	CLE(buffer = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, sizeof(mine),
				    mine, &err));
	CL(clGetMemObjectInfo(buffer, CL_MEM_HOST_PTR, sizeof(host), &host, NULL));
	CL(clGetMemObjectInfo(buffer, CL_MEM_FLAGS, sizeof(flags), &flags, NULL));
	CHECK(host == mine && flags == (CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR));
	CL(clEnqueueFillBuffer(queue, buffer, &pattern, 4, 0, 4096, 0, NULL, NULL));
	CLE(map = clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 4, 8000, 0,
				     NULL, NULL, &err));
	CHECK(map == mine + 4 && memcmp(map, &pattern, 4) == 0 && map[5000] == 3);
	map[5000] = 77;
	CL(clEnqueueUnmapMemObject(queue, buffer, map, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 5004, 1, got, 0, NULL, NULL));
	CHECK(got[0] == 77);
	CL(clReleaseMemObject(buffer));

	CLE(buffer = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, sizeof(mine),
				    NULL, &err));
	CLE(map = clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_WRITE, 0, sizeof(mine), 0, NULL,
				     NULL, &err));
	memcpy(map, mine, sizeof(mine));
	CL(clEnqueueUnmapMemObject(queue, buffer, map, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(mine), got, 0, NULL, NULL));
	CHECK(memcmp(got, mine, sizeof(mine)) == 0);
	CL(clReleaseMemObject(buffer));
	/* Only what was mapped need be there. */
	printf("host memory: %016llx\n", (unsigned long long)fnv(mine + 4, 8000));
}

int main(void)
{
	uint32_t state = 99;

	for (int i = 0; i < SIZE; i++)
		model[i] = next_random(&state);
	setup();
	queue = make_queue(0);
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, SIZE, model);

	compare(buffer, "created");
	fills_and_copies(buffer);
	maps(buffer);
	parts(buffer);
	rectangles(buffer);
	host_memory();
	CL(clReleaseMemObject(buffer));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
