// SPDX-License-Identifier: Apache-2.0
/*
 * What OpenCL 2.0 to 3.0 added. Not every device has all of it: what one lacks, it must
 * lack in the same way on both sides, so errors are printed.
 */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include "common.h"
#include <CL/cl_ext.h>

#define WORD(operation, words) ((uint32_t)(words) << 16 | (operation))

/* kernel void run(global int *data) { *data = C; }, C being the constant 7, which is 42. */
static const uint32_t il[] = {
	0x07230203, 0x00010000, 0, 9, 0,
	WORD(17, 2), 4,				/* capability Addresses */
	WORD(17, 2), 6,				/* capability Kernel */
	WORD(14, 3), 2, 2,			/* memory model: Physical64, OpenCL */
	WORD(15, 4), 6, 1, 0x006e7572,		/* entry point 1, "run" */
	WORD(71, 4), 2, 1, 7,			/* 2 is the specialization constant 7 */
	WORD(19, 2), 3,				/* 3: void */
	WORD(21, 4), 4, 32, 0,			/* 4: int */
	WORD(32, 4), 5, 5, 4,			/* 5: global int * */
	WORD(33, 4), 6, 3, 5,			/* 6: void (global int *) */
	WORD(50, 4), 4, 2, 42,			/* 2: 42, or what it is specialized to */
	WORD(54, 5), 3, 1, 0, 6,		/* function 1 */
	WORD(55, 3), 5, 7,			/* parameter 7 */
	WORD(248, 2), 8,
	WORD(62, 5), 7, 2, 2, 4,		/* *7 = 2, aligned to 4 bytes */
	WORD(253, 1),
	WORD(56, 1),
};

static const char source[] =
	"kernel void add(global int *data, const int by, local float *part)\n"
	"{ part[0] = by; data[get_global_id(0)] += by; }\n";

static cl_command_queue queue;

static void queues(void)
{
	cl_queue_properties properties[] = { CL_QUEUE_PROPERTIES, CL_QUEUE_PROFILING_ENABLE, 0 };
	cl_queue_properties wrong[] = { 0x7777, 1, 0 }, found[8];
	size_t size;

	clCreateCommandQueueWithProperties(context, device, wrong, &err);
	printf("a queue with a property that is none: %d\n", err);
	CLE(queue = clCreateCommandQueueWithProperties(context, device, properties, &err));
	err = clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES_ARRAY, sizeof(found), found, &size);
	printf("properties of a queue: %d", err);
	if (err == CL_SUCCESS)
		printf(", %zu bytes, the same %d", size, !memcmp(found, properties, size));
	printf("\n");
}

/* What devices may have of extensions to queues, each found by its name. */
static void queues_of_extensions(void)
{
	cl_queue_properties_khr times[] = { CL_QUEUE_PROPERTIES, CL_QUEUE_PROFILING_ENABLE, 0 };
	cl_queue_properties low[] = { CL_QUEUE_PRIORITY_KHR, CL_QUEUE_PRIORITY_LOW_KHR, 0 };
	cl_queue_properties wrong[] = { CL_QUEUE_PRIORITY_KHR, 0x7777, 0 };
	clCreateCommandQueueWithPropertiesKHR_fn create;
	char extensions[8192] = "";
	cl_command_queue made;

	CL(clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof(extensions), extensions, NULL));
	printf("a queue of cl_khr_create_command_queue: ");
	if (strstr(extensions, "cl_khr_create_command_queue") != NULL) {
		create = (clCreateCommandQueueWithPropertiesKHR_fn)
			clGetExtensionFunctionAddressForPlatform(platform,
				"clCreateCommandQueueWithPropertiesKHR");
		made = create != NULL ? create(context, device, times, &err) : NULL;
		printf("found %d, made %d\n", create != NULL, made != NULL);
		if (made != NULL)
			CL(clReleaseCommandQueue(made));
	} else {
		printf("none\n");
	}
	printf("a queue of cl_khr_priority_hints: ");
	if (strstr(extensions, "cl_khr_priority_hints") != NULL) {
		made = clCreateCommandQueueWithProperties(context, device, low, &err);
		printf("made %d (%d), ", made != NULL, err);
		if (made != NULL)
			CL(clReleaseCommandQueue(made));
		made = clCreateCommandQueueWithProperties(context, device, wrong, &err);
		printf("a wrong one %d (%d)\n", made != NULL, err);
		if (made != NULL)
			CL(clReleaseCommandQueue(made));
	} else {
		printf("none\n");
	}
}

static void memory(void)
{
	cl_mem_properties none[] = { 0 }, wrong[] = { 0x7777, 1, 0 }, found[4];
	cl_image_format format = { CL_RGBA, CL_UNSIGNED_INT8 };
	cl_image_desc desc = {
		.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 8, .image_height = 4,
	};
	size_t size = 77, origin[3] = { 0, 0, 0 }, region[3] = { 8, 4, 1 };
	unsigned char in[8 * 4 * 4], out[8 * 4 * 4];
	cl_mem buffer, image;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = i * 7;
	clCreateBufferWithProperties(context, wrong, CL_MEM_READ_WRITE, 64, NULL, &err);
	printf("a buffer with a property that is none: %d\n", err);
	buffer = clCreateBufferWithProperties(context, none, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
					      sizeof(in), in, &err);
	printf("a buffer with properties: %d\n", err);
	if (buffer != NULL) {
		CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
		CHECK(memcmp(in, out, sizeof(in)) == 0);
		err = clGetMemObjectInfo(buffer, CL_MEM_PROPERTIES, sizeof(found), found, &size);
		printf("its properties: %d, %zu bytes\n", err, size);
		CL(clReleaseMemObject(buffer));
	}
	image = clCreateImageWithProperties(context, none, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
					    &format, &desc, in, &err);
	printf("an image with properties: %d\n", err);
	if (image != NULL) {
		CL(clEnqueueReadImage(queue, image, CL_TRUE, origin, region, 0, 0, out, 0, NULL, NULL));
		CHECK(memcmp(in, out, sizeof(in)) == 0);
		CL(clReleaseMemObject(image));
	}
}

static void samplers(void)
{
	cl_sampler_properties properties[] = {
		CL_SAMPLER_NORMALIZED_COORDS, CL_FALSE,
		CL_SAMPLER_ADDRESSING_MODE, CL_ADDRESS_CLAMP,
		CL_SAMPLER_FILTER_MODE, CL_FILTER_NEAREST, 0,
	};
	cl_addressing_mode mode = 0;
	cl_sampler sampler;

	sampler = clCreateSamplerWithProperties(context, properties, &err);
	printf("a sampler with properties: %d\n", err);
	if (sampler != NULL) {
		CL(clGetSamplerInfo(sampler, CL_SAMPLER_ADDRESSING_MODE, sizeof(mode), &mode, NULL));
		CHECK(mode == CL_ADDRESS_CLAMP);
		CL(clReleaseSampler(sampler));
	}
	properties[3] = 0x7777;
	sampler = clCreateSamplerWithProperties(context, properties, &err);
	printf("one with a mode that is none: %d\n", err);
	if (sampler != NULL)
		CL(clReleaseSampler(sampler));
}

static void pipes(void)
{
	cl_mem pipe = clCreatePipe(context, CL_MEM_READ_WRITE | CL_MEM_HOST_NO_ACCESS, 16, 32, NULL,
				   &err);
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE, 64, NULL);
	cl_uint number = 0;

	printf("a pipe: %d\n", err);
	if (pipe != NULL) {
		CL(clGetPipeInfo(pipe, CL_PIPE_PACKET_SIZE, sizeof(number), &number, NULL));
		printf("packets of %u bytes\n", number);
		CL(clGetPipeInfo(pipe, CL_PIPE_MAX_PACKETS, sizeof(number), &number, NULL));
		printf("up to %u of them\n", number);
		CL(clReleaseMemObject(pipe));
	}
	err = clGetPipeInfo(buffer, CL_PIPE_PACKET_SIZE, sizeof(number), &number, NULL);
	printf("a buffer's packets: %d\n", err);
	CL(clReleaseMemObject(buffer));
}

static void kernels(void)
{
	cl_program program = build(source, "-cl-kernel-arg-info");
	cl_kernel kernel = make_kernel(program, "add"), clone;
	cl_int value[4] = { 1, 2, 3, 4 }, by = 10;
	size_t items = 4, size;
	cl_mem data = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(value), value);
	char text[64];

	for (cl_uint i = 0; i < 4; i++) {
		cl_kernel_arg_address_qualifier where = 0;

		err = clGetKernelArgInfo(kernel, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof(where), &where,
					 NULL);
		printf("argument %u: %d, %#x", i, err, where);
		err = clGetKernelArgInfo(kernel, i, CL_KERNEL_ARG_TYPE_NAME, sizeof(text), text, &size);
		if (err == CL_SUCCESS)
			printf(", %s (%zu)", text, size);
		err = clGetKernelArgInfo(kernel, i, CL_KERNEL_ARG_NAME, sizeof(text), text, &size);
		if (err == CL_SUCCESS)
			printf(" %s (%zu)", text, size);
		printf("\n");
	}

	size_t local[1] = { 4 }, groups = 0;

	err = clGetKernelSubGroupInfo(kernel, device, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE,
				      sizeof(local), local, sizeof(groups), &groups, NULL);
	printf("largest subgroup: %d, %zu\n", err, groups);
	if (has_extension("cl_khr_subgroups") && !is_pocl()) {
		groups = 0;
		err = clGetKernelSubGroupInfoKHR(kernel, device,
						 CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE_KHR, sizeof(local),
						 local, sizeof(groups), &groups, NULL);
		printf("subgroups: %d, %zu\n", err, groups);
	}

	CL(clSetKernelArg(kernel, 0, sizeof(data), &data));
	CL(clSetKernelArg(kernel, 1, sizeof(by), &by));
	CL(clSetKernelArg(kernel, 2, 16, NULL));
	clone = clCloneKernel(kernel, &err);
	printf("a clone: %d\n", err);
	/* The clone keeps what was set when it was made. */
	by = 1000;
	CL(clSetKernelArg(kernel, 1, sizeof(by), &by));
	CL(clEnqueueNDRangeKernel(queue, clone != NULL ? clone : kernel, 1, NULL, &items, NULL, 0, NULL,
				  NULL));
	CL(clEnqueueMigrateMemObjects(queue, 1, &data, 0, 0, NULL, NULL));
	CL(clEnqueueMigrateMemObjects(queue, 1, &data, CL_MIGRATE_MEM_OBJECT_HOST, 0, NULL, NULL));
	err = clEnqueueMigrateMemObjects(queue, 0, NULL, 0, 0, NULL, NULL);
	printf("nothing to migrate: %d\n", err);
	CL(clEnqueueReadBuffer(queue, data, CL_TRUE, 0, sizeof(value), value, 0, NULL, NULL));
	printf("sums %d %d %d %d\n", value[0], value[1], value[2], value[3]);
	if (clone != NULL) {
		CHECK(value[3] == 14);
		CL(clReleaseKernel(clone));
	}
	CL(clReleaseMemObject(data));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
}

/* What the program in IL stores, with or without the constant. */
static void run_il(cl_program program, const char *what)
{
	cl_mem data = make_buffer(CL_MEM_READ_WRITE, sizeof(cl_int), NULL);
	size_t one = 1;
	cl_int value = 0;
	cl_kernel kernel;

	err = clBuildProgram(program, 1, &device, "", NULL, NULL);
	printf("building IL %s: %d\n", what, err);
	if (err == CL_SUCCESS) {
		kernel = make_kernel(program, "run");
		CL(clSetKernelArg(kernel, 0, sizeof(data), &data));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
		CL(clEnqueueReadBuffer(queue, data, CL_TRUE, 0, sizeof(value), &value, 0, NULL, NULL));
		printf("it stores %d\n", value);
		CL(clReleaseKernel(kernel));
	}
	CL(clReleaseMemObject(data));
}

static void intermediate(void)
{
	static const uint32_t garbage[8] = { 1, 2, 3 };
	cl_uint special = 4711;
	cl_program program;

	program = clCreateProgramWithIL(context, garbage, sizeof(garbage), &err);
	printf("garbage as IL: %d\n", err);
	if (program != NULL)
		CL(clReleaseProgram(program));
	program = clCreateProgramWithIL(context, il, sizeof(il), &err);
	printf("IL: %d\n", err);
	if (program != NULL) {
		run_il(program, "as it is");
		CL(clReleaseProgram(program));
		CLE(program = clCreateProgramWithIL(context, il, sizeof(il), &err));
		err = clSetProgramSpecializationConstant(program, 7, sizeof(special), &special);
		printf("constant 7: %d\n", err);
		err = clSetProgramSpecializationConstant(program, 8, sizeof(special), &special);
		printf("constant 8: %d\n", err);
		run_il(program, "specialized");
		CL(clReleaseProgram(program));
	}
	program = build(source, "");
	err = clSetProgramSpecializationConstant(program, 7, sizeof(special), &special);
	printf("a constant of what is source: %d\n", err);
	CL(clReleaseProgram(program));
}

static char destroyed[8];

static void destroy(cl_context of, void *data)
{
	(void)of;
	strcat(destroyed, data);
}

static char released[8];

static void release(cl_program of, void *data)
{
	(void)of;
	strcat(released, data);
}

/* Deprecated before most libraries had it: what is not there says so, what is there works. */
static void releases(void)
{
	const char *text = "kernel void f() {}";
	cl_program program;

	CLE(program = clCreateProgramWithSource(context, 1, &text, NULL, &err));
	err = clSetProgramReleaseCallback(program, release, "1");
	if (err == CL_SUCCESS) {
		CL(clSetProgramReleaseCallback(program, release, "2"));
		CHECK(clSetProgramReleaseCallback(program, NULL, NULL) == CL_INVALID_VALUE);
		CL(clRetainProgram(program));
		CL(clReleaseProgram(program));
		CHECK(strcmp(released, "") == 0);
		CL(clReleaseProgram(program));
		CHECK(strcmp(released, "21") == 0);
	} else {
		CHECK(err == CL_INVALID_OPERATION);
		CL(clReleaseProgram(program));
	}
}

int main(void)
{
	setup();
	releases();
	queues();
	queues_of_extensions();
	memory();
	samplers();
	pipes();
	kernels();
	intermediate();
	CL(clReleaseCommandQueue(queue));

	int first = clSetContextDestructorCallback(context, destroy, "1");
	int second = clSetContextDestructorCallback(context, destroy, "2");

	printf("what is called when a context goes: %d %d\n", first, second);
	printf("nothing to call: %d\n", clSetContextDestructorCallback(context, NULL, NULL));
	teardown();
	printf("called: %s\n", destroyed);
	return 0;
}
