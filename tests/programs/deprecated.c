// SPDX-License-Identifier: Apache-2.0
/* What old programs call: functions that later versions replaced, and references. */
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#include "common.h"
#include <CL/cl_ext.h>

static cl_uint references(cl_int (*info)(void *, cl_uint, size_t, void *, size_t *), void *object,
			  cl_uint query)
{
	cl_uint count = 0;

	CL(info(object, query, sizeof(count), &count, NULL));
	return count;
}

#define REFERENCES(info, object, query) \
	references((cl_int (*)(void *, cl_uint, size_t, void *, size_t *))(info), object, query)

static void images(cl_command_queue queue)
{
	cl_image_format format = { CL_RGBA, CL_FLOAT };
	size_t origin[3] = { 0, 0, 0 }, flat[3] = { 6, 5, 1 }, deep[3] = { 3, 5, 2 }, width = 0, depth = 0;
	static float in[6 * 5 * 4], out[6 * 5 * 4];
	cl_mem image;

	for (int i = 0; i < 6 * 5 * 4; i++)
		in[i] = i + 0.5f;
	CLE(image = clCreateImage2D(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &format, 6, 5, 0, in,
				    &err));
	CL(clGetImageInfo(image, CL_IMAGE_WIDTH, sizeof(width), &width, NULL));
	CHECK(width == 6);
	CL(clEnqueueReadImage(queue, image, CL_TRUE, origin, flat, 0, 0, out, 0, NULL, NULL));
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CL(clReleaseMemObject(image));

	CLE(image = clCreateImage3D(context, CL_MEM_READ_WRITE, &format, 3, 5, 2, 0, 0, NULL, &err));
	CL(clGetImageInfo(image, CL_IMAGE_DEPTH, sizeof(depth), &depth, NULL));
	CHECK(depth == 2);
	memset(out, 0, sizeof(out));
	CL(clEnqueueWriteImage(queue, image, CL_TRUE, origin, deep, 0, 0, in, 0, NULL, NULL));
	CL(clEnqueueReadImage(queue, image, CL_TRUE, origin, deep, 0, 0, out, 0, NULL, NULL));
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CL(clReleaseMemObject(image));

	image = clCreateImage2D(context, CL_MEM_READ_WRITE, &format, 0, 5, 0, NULL, &err);
	printf("an image without width: %d\n", err);
	CHECK(image == NULL);
	image = clCreateImage3D(context, CL_MEM_READ_WRITE, NULL, 3, 5, 2, 0, 0, NULL, &err);
	printf("an image without format: %d\n", err);
	CHECK(image == NULL);
}

static void order(cl_command_queue queue)
{
	cl_mem data = make_buffer(CL_MEM_READ_WRITE, 4096, NULL);
	unsigned char bytes[4096];
	cl_event written, filled;

	memset(bytes, 7, sizeof(bytes));
	CL(clEnqueueWriteBuffer(queue, data, CL_FALSE, 0, sizeof(bytes), bytes, 0, NULL, &written));
	if (!is_pocl()) {
		CL(clEnqueueWaitForEvents(queue, 1, &written));
		printf("waiting for no events: %d\n", clEnqueueWaitForEvents(queue, 0, NULL));
	}
	bytes[0] = 9;
	CL(clEnqueueFillBuffer(queue, data, bytes, 1, 0, 16, 0, NULL, &filled));
	CL(clEnqueueBarrier(queue));
	CL(clEnqueueReadBuffer(queue, data, CL_TRUE, 0, sizeof(bytes), bytes, 0, NULL, NULL));
	CHECK(bytes[0] == 9 && bytes[15] == 9 && bytes[16] == 7);
	CL(clReleaseEvent(written));
	CL(clReleaseEvent(filled));
	CL(clReleaseMemObject(data));
}

static void counts(cl_command_queue queue)
{
	cl_program program = build("kernel void none(void) {}", "");

	CL(clRetainCommandQueue(queue));
	printf("queue: %u", REFERENCES(clGetCommandQueueInfo, queue, CL_QUEUE_REFERENCE_COUNT));
	CL(clReleaseCommandQueue(queue));
	printf(" then %u\n", REFERENCES(clGetCommandQueueInfo, queue, CL_QUEUE_REFERENCE_COUNT));
	CL(clRetainProgram(program));
	printf("program: %u", REFERENCES(clGetProgramInfo, program, CL_PROGRAM_REFERENCE_COUNT));
	CL(clReleaseProgram(program));
	printf(" then %u\n", REFERENCES(clGetProgramInfo, program, CL_PROGRAM_REFERENCE_COUNT));
	CL(clReleaseProgram(program));
}

static void parts(void)
{
	cl_device_partition_property_ext properties[] = {
		CL_DEVICE_PARTITION_EQUALLY_EXT, 1, CL_PROPERTIES_LIST_END_EXT,
	};
	cl_device_id devices[64];
	cl_uint count = 0;

	err = clCreateSubDevicesEXT(device, properties, 64, devices, &count);
	printf("parts of the device: %d, %u\n", err, count);
	for (cl_uint i = 0; err == CL_SUCCESS && i < count; i++) {
		CL(clRetainDeviceEXT(devices[i]));
		CL(clReleaseDeviceEXT(devices[i]));
		CL(clReleaseDeviceEXT(devices[i]));
	}
	printf("references of what is not a part: %d %d\n", clRetainDeviceEXT(device),
	       clReleaseDeviceEXT(device));
}

int main(void)
{
	cl_command_queue queue;

	setup();
	queue = make_queue(0);
	images(queue);
	order(queue);
	counts(queue);
	if (has_extension("cl_ext_device_fission"))
		parts();
	CHECK(clGetExtensionFunctionAddress("clNobodyEXT") == NULL);
	printf("unloading the compiler: %d\n", clUnloadCompiler());
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
