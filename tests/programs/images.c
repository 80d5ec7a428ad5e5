// SPDX-License-Identifier: Apache-2.0
/* Images of every kind: made, written, read, copied, filled, mapped, used by kernels. */
#include "common.h"

#define W 37
#define H 19
#define D 5

static const char source[] =
	"constant sampler_t pick = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;\n"
	"kernel void invert(read_only image2d_t from, write_only image2d_t to) {\n"
	"    int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
	"    write_imageui(to, at, 255 - read_imageui(from, pick, at)); }\n"
	"kernel void sampled(read_only image2d_t from, sampler_t how, global float4 *out) {\n"
	"    out[get_global_id(0)] = read_imagef(from, how, (float2)(get_global_id(0) - 1.5f, 0.5f)); }\n";

static cl_command_queue queue;
static cl_program program;

static const cl_image_format bytes4 = { CL_RGBA, CL_UNSIGNED_INT8 };
static const cl_image_format floats4 = { CL_RGBA, CL_FLOAT };
static const cl_image_format shorts1 = { CL_R, CL_UNSIGNED_INT16 };

static cl_mem make_image(cl_mem_flags flags, const cl_image_format *format, cl_image_desc desc,
			 void *host)
{
	cl_mem image;

	CLE(image = clCreateImage(context, flags, format, &desc, host, &err));
	return image;
}

static void randomize(void *data, size_t size, uint32_t seed)
{
	unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		bytes[i] = next_random(&seed) >> 5;
}

/* A 2D image, by way of parts of it with pitches. */
static void flat(void)
{
	static unsigned char model[H][W][4], got[H][W][4], host[H + 3][256];
	size_t origin[3] = { 3, 2, 0 }, part[3] = { 20, 11, 1 }, zero[3] = { 0 }, all[3] = { W, H, 1 };
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = W,
			       .image_height = H };
	cl_mem image, copy, buffer;
	cl_uint color[4] = { 1, 2, 3, 250 };
	cl_event event;
	size_t number;
	cl_image_format format;

	randomize(model, sizeof(model), 5);
	image = make_image(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &bytes4, desc, model);
	CL(clGetImageInfo(image, CL_IMAGE_WIDTH, sizeof(number), &number, NULL));
	CHECK(number == W);
	CL(clGetImageInfo(image, CL_IMAGE_ELEMENT_SIZE, sizeof(number), &number, NULL));
	CHECK(number == 4);
	CL(clGetImageInfo(image, CL_IMAGE_FORMAT, sizeof(format), &format, NULL));
	CHECK(memcmp(&format, &bytes4, sizeof(format)) == 0);
	CL(clEnqueueReadImage(queue, image, CL_TRUE, zero, all, 0, 0, got, 0, NULL, NULL));
	CHECK(memcmp(got, model, sizeof(model)) == 0);

	randomize(host, sizeof(host), 6);
	CL(clEnqueueWriteImage(queue, image, CL_FALSE, origin, part, 256, 0, host, 0, NULL, &event));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	for (size_t y = 0; y < part[1]; y++)
		memcpy(model[origin[1] + y][origin[0]], host[y], part[0] * 4);
	memset(got, 0, sizeof(got));
	CL(clEnqueueReadImage(queue, image, CL_FALSE, zero, all, W * 4, 0, got, 0, NULL, NULL));
	CL(clFinish(queue));
	CHECK(memcmp(got, model, sizeof(model)) == 0);

	memset(host, 9, sizeof(host));
	CL(clEnqueueReadImage(queue, image, CL_TRUE, origin, part, 256, 0, host, 0, NULL, NULL));
	for (size_t y = 0; y < H + 3; y++)
		for (size_t x = 0; x < 256; x++) {
			int inside = y < part[1] && x < part[0] * 4;

			CHECK(host[y][x] == (inside ? model[origin[1] + y][origin[0] + x / 4][x % 4] : 9));
		}

	/* Fill, then copy to another image and to a buffer and back. */
	CL(clEnqueueFillImage(queue, image, color, origin, part, 0, NULL, NULL));
	for (size_t y = 0; y < part[1]; y++)
		for (size_t x = 0; x < part[0]; x++)
			for (int c = 0; c < 4; c++)
				model[origin[1] + y][origin[0] + x][c] = color[c];
	copy = make_image(CL_MEM_READ_WRITE, &bytes4, desc, NULL);
	CL(clEnqueueCopyImage(queue, image, copy, zero, zero, all, 0, NULL, NULL));
	buffer = make_buffer(CL_MEM_READ_WRITE, sizeof(model), NULL);
	CL(clEnqueueCopyImageToBuffer(queue, copy, buffer, zero, all, 0, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(got), got, 0, NULL, NULL));
	CHECK(memcmp(got, model, sizeof(model)) == 0);
	randomize(model, sizeof(model), 7);
	CL(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, 0, sizeof(model), model, 0, NULL, NULL));
	CL(clEnqueueCopyBufferToImage(queue, buffer, copy, 0, zero, all, 0, NULL, NULL));
	CL(clEnqueueReadImage(queue, copy, CL_TRUE, zero, all, 0, 0, got, 0, NULL, NULL));
	CHECK(memcmp(got, model, sizeof(model)) == 0);

	/* A kernel reads one and writes the other. */
	cl_kernel kernel = make_kernel(program, "invert");

	CL(clSetKernelArg(kernel, 0, sizeof(copy), &copy));
	CL(clSetKernelArg(kernel, 1, sizeof(image), &image));
	CL(clEnqueueNDRangeKernel(queue, kernel, 2, NULL, all, NULL, 0, NULL, NULL));
	CL(clEnqueueReadImage(queue, image, CL_TRUE, zero, all, 0, 0, got, 0, NULL, NULL));
	for (size_t i = 0; i < sizeof(got); i++)
		CHECK((&got[0][0][0])[i] == 255 - (&model[0][0][0])[i]);
	printf("flat: %016llx\n", (unsigned long long)fnv(got, sizeof(got)));
	CL(clReleaseKernel(kernel));
	CL(clReleaseMemObject(buffer));
	CL(clReleaseMemObject(copy));
	CL(clReleaseMemObject(image));
}

/* Maps of a part, read and written. */
static void mapped(void)
{
	static unsigned char model[H][W][4], got[H][W][4];
	size_t origin[3] = { 4, 5, 0 }, part[3] = { 10, 7, 1 }, zero[3] = { 0 }, all[3] = { W, H, 1 };
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = W,
			       .image_height = H };
	size_t pitch = 0, slice = 7;
	unsigned char *map;
	cl_event event;
	cl_mem image;

	randomize(model, sizeof(model), 8);
	image = make_image(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &bytes4, desc, model);
	CLE(map = clEnqueueMapImage(queue, image, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, origin, part,
				    &pitch, &slice, 0, NULL, NULL, &err));
	CHECK(pitch >= part[0] * 4 && slice == 0);
	for (size_t y = 0; y < part[1]; y++) {
		CHECK(memcmp(map + y * pitch, model[5 + y][4], part[0] * 4) == 0);
		for (size_t x = 0; x < part[0] * 4; x++)
			(&model[5 + y][4][0])[x] = map[y * pitch + x] ^= 0x5a;
	}
	CL(clEnqueueUnmapMemObject(queue, image, map, 0, NULL, &event));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	CL(clEnqueueReadImage(queue, image, CL_TRUE, zero, all, 0, 0, got, 0, NULL, NULL));
	CHECK(memcmp(got, model, sizeof(model)) == 0);

	CLE(map = clEnqueueMapImage(queue, image, CL_FALSE, CL_MAP_READ, zero, all, &pitch, NULL, 0,
				    NULL, &event, &err));
	CL(clWaitForEvents(1, &event));
	CL(clReleaseEvent(event));
	for (size_t y = 0; y < H; y++)
		CHECK(memcmp(map + y * pitch, model[y], W * 4) == 0);
	CL(clEnqueueUnmapMemObject(queue, image, map, 0, NULL, NULL));
	CL(clFinish(queue));
	printf("mapped: %016llx\n", (unsigned long long)fnv(got, sizeof(got)));
	CL(clReleaseMemObject(image));
}

/* An image in the program's own memory, with a pitch of its own. */
static void host_memory(void)
{
	static unsigned char mine[H][256] __attribute__((aligned(4096))), before[H][256];
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = W,
			       .image_height = H, .image_row_pitch = 256 };
	size_t origin[3] = { 1, 2, 0 }, part[3] = { 8, 4, 1 };
	cl_uint color[4] = { 11, 22, 33, 44 };
	size_t pitch = 0;
	unsigned char *map;
	void *host;
	cl_mem image;

	randomize(mine, sizeof(mine), 9);
	memcpy(before, mine, sizeof(mine));
	image = make_image(CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, &bytes4, desc, mine);
	CL(clGetMemObjectInfo(image, CL_MEM_HOST_PTR, sizeof(host), &host, NULL));
	CHECK(host == mine);
	CL(clEnqueueFillImage(queue, image, color, origin, part, 0, NULL, NULL));
	CLE(map = clEnqueueMapImage(queue, image, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, origin, part,
				    &pitch, NULL, 0, NULL, NULL, &err));
	CHECK(pitch == 256 && map == &mine[2][4]);
	for (size_t y = 0; y < part[1]; y++)
		for (size_t x = 0; x < part[0] * 4; x++)
			CHECK(map[y * pitch + x] == color[x % 4]);
	map[pitch + 5] = 99;
	CL(clEnqueueUnmapMemObject(queue, image, map, 0, NULL, NULL));
	unsigned char got[8 * 4 * 4];

	CL(clEnqueueReadImage(queue, image, CL_TRUE, origin, part, 0, 0, got, 0, NULL, NULL));
	CHECK(got[8 * 4 + 5] == 99 && got[0] == 11);
	/* What is between the rows is not the image's. */
	for (size_t y = 0; y < H; y++)
		CHECK(memcmp(&mine[y][W * 4], &before[y][W * 4], 256 - W * 4) == 0);
	printf("host memory: %016llx\n", (unsigned long long)fnv(got, sizeof(got)));
	CL(clReleaseMemObject(image));
}

/* Lines, solids and arrays. */
static void other_kinds(void)
{
	static cl_ushort model[D][H][W], got[D][H][W], part_of[3][4][64];
	size_t zero[3] = { 0 };
	struct {
		const char *name;
		cl_image_desc desc;
		size_t all[3];
		size_t count;
	} kinds[] = {
		{ "line", { .image_type = CL_MEM_OBJECT_IMAGE1D, .image_width = W }, { W, 1, 1 }, W },
		{ "lines", { .image_type = CL_MEM_OBJECT_IMAGE1D_ARRAY, .image_width = W,
			     .image_array_size = H }, { W, H, 1 }, W * H },
		{ "solid", { .image_type = CL_MEM_OBJECT_IMAGE3D, .image_width = W,
			     .image_height = H, .image_depth = D }, { W, H, D }, W * H * D },
		{ "planes", { .image_type = CL_MEM_OBJECT_IMAGE2D_ARRAY, .image_width = W,
			      .image_height = H, .image_array_size = D }, { W, H, D }, W * H * D },
	};

	randomize(model, sizeof(model), 10);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		size_t size = kinds[k].count * sizeof(cl_ushort), pitch = 0, slice = 0;
		cl_mem image = make_image(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &shorts1,
					  kinds[k].desc, model);
		unsigned char *map;

		memset(got, 0, sizeof(got));
		CL(clEnqueueReadImage(queue, image, CL_TRUE, zero, kinds[k].all, 0, 0, got, 0, NULL,
				      NULL));
		CHECK(memcmp(got, model, size) == 0);
		randomize(got, size, 11 + k);
		CL(clEnqueueWriteImage(queue, image, CL_TRUE, zero, kinds[k].all, 0, 0, got, 0, NULL,
				       NULL));
		CLE(map = clEnqueueMapImage(queue, image, CL_TRUE, CL_MAP_READ, zero, kinds[k].all,
					    &pitch, &slice, 0, NULL, NULL, &err));
		int is_lines = kinds[k].desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
		for (size_t z = 0; z < kinds[k].all[2]; z++)
			for (size_t y = 0; y < kinds[k].all[1]; y++)
				CHECK(memcmp(map + z * slice + y * (is_lines ? slice : pitch),
					     &got[0][0][0] + (z * kinds[k].all[1] + y) * W,
					     W * sizeof(cl_ushort)) == 0);
		CL(clEnqueueUnmapMemObject(queue, image, map, 0, NULL, NULL));
		CL(clFinish(queue));
		printf("%s: %016llx\n", kinds[k].name, (unsigned long long)fnv(got, size));
		CL(clReleaseMemObject(image));
	}

	/* A part of a solid, with both pitches. */
	size_t origin[3] = { 2, 3, 1 }, part[3] = { 30, 4, 3 };
	cl_mem solid = make_image(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &shorts1, kinds[2].desc,
				  model);

	memset(part_of, 0xee, sizeof(part_of));
	CL(clEnqueueReadImage(queue, solid, CL_TRUE, origin, part, 128, 4 * 128, part_of, 0, NULL,
			      NULL));
	for (size_t z = 0; z < 3; z++)
		for (size_t y = 0; y < 4; y++)
			for (size_t x = 0; x < 64; x++)
				CHECK(part_of[z][y][x] ==
				      (x < 30 ? model[z + 1][y + 3][x + 2] : 0xeeee));
	CL(clReleaseMemObject(solid));
}

/* An image whose memory is a buffer's. */
static void of_a_buffer(void)
{
	static cl_ushort model[W], got[W];
	size_t zero[3] = { 0 }, all[3] = { W, 1, 1 };
	cl_mem buffer, found;
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER, .image_width = W };

	randomize(model, sizeof(model), 20);
	buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(model), model);
	desc.buffer = buffer;
	cl_mem image = make_image(CL_MEM_READ_WRITE, &shorts1, desc, NULL);

	CL(clGetMemObjectInfo(image, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(found), &found, NULL));
	CHECK(found == buffer);
	/* The image keeps the buffer. */
	CL(clReleaseMemObject(buffer));
	CL(clEnqueueReadImage(queue, image, CL_TRUE, zero, all, 0, 0, got, 0, NULL, NULL));
	CHECK(memcmp(got, model, sizeof(model)) == 0);
	printf("of a buffer: %016llx\n", (unsigned long long)fnv(got, sizeof(got)));
	CL(clReleaseMemObject(image));
}

static void samplers(void)
{
	float model[4][4], got[6][4];
	size_t six = 6;
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 4,
			       .image_height = 1 };
	cl_sampler sampler;
	cl_addressing_mode mode;
	cl_context owner;
	cl_kernel kernel = make_kernel(program, "sampled");

	for (int x = 0; x < 4; x++)
		for (int c = 0; c < 4; c++)
			model[x][c] = x + 1 + c * 0.25f;
	cl_mem image = make_image(CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &floats4, desc, model);
	cl_mem out = make_buffer(CL_MEM_WRITE_ONLY, sizeof(got), NULL);

	for (int edge = 0; edge < 2; edge++) {
		CLE(sampler = clCreateSampler(context, CL_FALSE,
					      edge ? CL_ADDRESS_CLAMP_TO_EDGE : CL_ADDRESS_CLAMP,
					      CL_FILTER_NEAREST, &err));
		CL(clGetSamplerInfo(sampler, CL_SAMPLER_ADDRESSING_MODE, sizeof(mode), &mode, NULL));
		CHECK(mode == (cl_addressing_mode)(edge ? CL_ADDRESS_CLAMP_TO_EDGE : CL_ADDRESS_CLAMP));
		CL(clGetSamplerInfo(sampler, CL_SAMPLER_CONTEXT, sizeof(owner), &owner, NULL));
		CHECK(owner == context);
		CL(clSetKernelArg(kernel, 0, sizeof(image), &image));
		CL(clSetKernelArg(kernel, 1, sizeof(sampler), &sampler));
		CL(clSetKernelArg(kernel, 2, sizeof(out), &out));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &six, NULL, 0, NULL, NULL));
		CL(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof(got), got, 0, NULL, NULL));
		for (int c = 0; c < 4; c++) {
			CHECK(got[2][c] == model[0][c] && got[5][c] == model[3][c]);
			CHECK(got[0][c] == (edge ? model[0][c] : 0));
		}
		CL(clRetainSampler(sampler));
		CL(clReleaseSampler(sampler));
		CL(clReleaseSampler(sampler));
	}
	printf("samplers: %016llx\n", (unsigned long long)fnv(got, sizeof(got)));
	CL(clReleaseKernel(kernel));
	CL(clReleaseMemObject(out));
	CL(clReleaseMemObject(image));
}

static void formats_and_errors(void)
{
	cl_uint count = 0, found = 0;
	size_t zero[3] = { 0 }, all[3] = { W, H, 1 }, outside[3] = { W + 1, H, 1 }, pitch;
	static unsigned char data[W * H * 4];
	cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = W,
			       .image_height = H }, none = desc;
	cl_image_format odd = { 77, 88 };

	CL(clGetSupportedImageFormats(context, CL_MEM_READ_WRITE, CL_MEM_OBJECT_IMAGE2D, 0, NULL,
				      &count));
	cl_image_format *formats = calloc(count + 1, sizeof(*formats));

	CL(clGetSupportedImageFormats(context, CL_MEM_READ_WRITE, CL_MEM_OBJECT_IMAGE2D, count + 1,
				      formats, NULL));
	for (cl_uint i = 0; i < count; i++)
		found += memcmp(&formats[i], &bytes4, sizeof(bytes4)) == 0;
	CHECK(found == 1 && formats[count].image_channel_order == 0);
	printf("%u formats: %016llx\n", count,
	       (unsigned long long)fnv(formats, count * sizeof(*formats)));
	free(formats);

	cl_mem image = make_image(CL_MEM_READ_WRITE, &bytes4, desc, NULL);
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE, 64, NULL);

#define PRINT(what, call) do { call; printf("%s: %d\n", what, err); } while (0)
	PRINT("no format", clCreateImage(context, 0, NULL, &desc, NULL, &err));
	PRINT("odd format", clCreateImage(context, 0, &odd, &desc, NULL, &err));
	PRINT("no description", clCreateImage(context, 0, &bytes4, NULL, NULL, &err));
	PRINT("copy of nothing", clCreateImage(context, CL_MEM_COPY_HOST_PTR, &bytes4, &desc, NULL, &err));
	PRINT("memory without its flag", clCreateImage(context, 0, &bytes4, &desc, data, &err));
	none.image_width = 0;
	PRINT("no width", clCreateImage(context, 0, &bytes4, &none, NULL, &err));
	none.image_width = W;
	none.image_row_pitch = 3;
	PRINT("pitch of nothing", clCreateImage(context, 0, &bytes4, &none, NULL, &err));
	PRINT("read outside", err = clEnqueueReadImage(queue, image, CL_TRUE, zero, outside, 0, 0, data,
						       0, NULL, NULL));
	PRINT("read to nowhere", err = clEnqueueReadImage(queue, image, CL_TRUE, zero, all, 0, 0, NULL,
							  0, NULL, NULL));
	PRINT("a buffer is no image", err = clEnqueueReadImage(queue, buffer, CL_TRUE, zero, all, 0, 0,
							       data, 0, NULL, NULL));
	PRINT("map without a pitch", clEnqueueMapImage(queue, image, CL_TRUE, CL_MAP_READ, zero, all,
						       NULL, NULL, 0, NULL, NULL, &err));
	PRINT("map outside", clEnqueueMapImage(queue, image, CL_TRUE, CL_MAP_READ, zero, outside,
					       &pitch, NULL, 0, NULL, NULL, &err));
	CL(clReleaseMemObject(buffer));
	CL(clReleaseMemObject(image));
}

int main(void)
{
	cl_bool has_images;

	setup();
	CL(clGetDeviceInfo(device, CL_DEVICE_IMAGE_SUPPORT, sizeof(has_images), &has_images, NULL));
	CHECK(has_images);
	queue = make_queue(0);
	program = build(source, "");
	flat();
	mapped();
	host_memory();
	other_kinds();
	of_a_buffer();
	samplers();
	formats_and_errors();
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
