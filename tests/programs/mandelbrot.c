// SPDX-License-Identifier: Apache-2.0
/* The Mandelbrot set in fixed-point numbers, so that CPU and device agree to the last bit. */
#include "common.h"

#define WIDTH 320
#define HEIGHT 240
#define LIMIT 500

static const char source[] =
	"kernel void mandelbrot(global uint *out, uint width, uint height, uint limit)\n"
	"{\n"
	"	uint x = get_global_id(0), y = get_global_id(1);\n"
	"	long cr = ((long)x * 3 << 24) / width - (2l << 24);\n"
	"	long ci = ((long)y * 2 << 24) / height - (1l << 24);\n"
	"	long r = 0, i = 0;\n"
	"	uint n = 0;\n"
	"	while (n < limit && (r * r >> 24) + (i * i >> 24) < (4l << 24)) {\n"
	"		long next = (r * r >> 24) - (i * i >> 24) + cr;\n"
	"		i = (2 * r * i >> 24) + ci;\n"
	"		r = next;\n"
	"		n++;\n"
	"	}\n"
	"	out[y * width + x] = n;\n"
	"}\n";

static uint32_t reference(uint32_t x, uint32_t y)
{
	int64_t cr = (int64_t)x * 3 * (1 << 24) / WIDTH - (2ll << 24);
	int64_t ci = (int64_t)y * 2 * (1 << 24) / HEIGHT - (1ll << 24);
	int64_t r = 0, i = 0;
	uint32_t n = 0;

	while (n < LIMIT && (r * r >> 24) + (i * i >> 24) < (4ll << 24)) {
		int64_t next = (r * r >> 24) - (i * i >> 24) + cr;

		i = (2 * r * i >> 24) + ci;
		r = next;
		n++;
	}
	return n;
}

int main(void)
{
	static uint32_t image[WIDTH * HEIGHT];
	size_t global[2] = { WIDTH, HEIGHT };
	cl_uint width = WIDTH, height = HEIGHT, limit = LIMIT;

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, "-cl-std=CL1.2");
	cl_kernel kernel = make_kernel(program, "mandelbrot");
	cl_mem out = make_buffer(CL_MEM_WRITE_ONLY, sizeof(image), NULL);

	CL(clSetKernelArg(kernel, 0, sizeof(out), &out));
	CL(clSetKernelArg(kernel, 1, sizeof(width), &width));
	CL(clSetKernelArg(kernel, 2, sizeof(height), &height));
	CL(clSetKernelArg(kernel, 3, sizeof(limit), &limit));
	CL(clEnqueueNDRangeKernel(queue, kernel, 2, NULL, global, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof(image), image, 0, NULL, NULL));
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			if (image[y * WIDTH + x] != reference(x, y))
				FAIL("pixel %u,%u is wrong", x, y);
	printf("mandelbrot %dx%d: %016llx\n", WIDTH, HEIGHT,
	       (unsigned long long)fnv(image, sizeof(image)));

	CL(clReleaseMemObject(out));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
