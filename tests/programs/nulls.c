/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Null where there is said to be something, and something where there is said to be nothing: the
 * error is the vendor's, and the calls after it work. Also more new objects than fit a word's bits.
 */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "common.h"

#define SHOW(call) printf("%s: %d\n", #call, (int)(call))
#define SHOWE(call) do {						\
	err = 1;							\
	printf("%s: %s", #call, (call) ? "made" : "null");		\
	printf(" %d\n", (int)err);					\
} while (0)

#define KERNELS 150

int main(void)
{
	static char source[KERNELS * 64];
	char bytes[64] = { 0 };
	const char *text = "kernel void f(global int *out, int n, local int *l) { *out = n; }", *none = NULL;
	const unsigned char *no_binary = NULL;
	size_t zero[3] = { 0 }, one[3] = { 1, 1, 1 }, length = 4;
	cl_command_queue queue;
	cl_program program, many;
	cl_kernel kernel, kernels[KERNELS];
	cl_mem buffer;
	cl_event event;
	cl_uint count;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setup();
	queue = make_queue(0);
	program = build(text, NULL);
	kernel = make_kernel(program, "f");
	buffer = make_buffer(CL_MEM_READ_WRITE, 64, NULL);

	/* Lists. */
	SHOW(clGetPlatformIDs(1, NULL, NULL));
	SHOW(clGetPlatformIDs(0, &platform, NULL));
	SHOW(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, NULL, NULL));
	SHOW(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, &device, NULL));
	SHOWE(clCreateContext(NULL, 1, NULL, NULL, NULL, &err));
	SHOWE(clCreateContext(NULL, 0, &device, NULL, NULL, &err));
	SHOW(clBuildProgram(program, 1, NULL, NULL, NULL, NULL));
	SHOW(clBuildProgram(program, 0, &device, NULL, NULL, NULL));
	SHOW(clCompileProgram(program, 1, NULL, NULL, 0, NULL, NULL, NULL, NULL));
	SHOW(clCompileProgram(program, 0, NULL, NULL, 1, NULL, NULL, NULL, NULL));
	SHOWE(clLinkProgram(context, 1, NULL, NULL, 1, &program, NULL, NULL, &err));
	SHOWE(clLinkProgram(context, 0, NULL, NULL, 1, NULL, NULL, NULL, &err));
	SHOWE(clLinkProgram(context, 0, NULL, NULL, 0, &program, NULL, NULL, &err));
	SHOW(clWaitForEvents(1, NULL));
	SHOW(clWaitForEvents(0, NULL));
	SHOW(clEnqueueMarkerWithWaitList(queue, 1, NULL, NULL));
	SHOW(clEnqueueBarrierWithWaitList(queue, 1, NULL, NULL));
	CL(clEnqueueMarker(queue, &event));
	SHOW(clEnqueueMarkerWithWaitList(queue, 0, &event, NULL));
	SHOW(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, bytes, 1, NULL, NULL));
	SHOW(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, 4, bytes, 0, &event, NULL));
	SHOW(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, one, NULL, 1, NULL, NULL));
	SHOW(clEnqueueMigrateMemObjects(queue, 1, NULL, 0, 0, NULL, NULL));
	SHOW(clEnqueueMigrateMemObjects(queue, 0, &buffer, 0, 0, NULL, NULL));

	/* Bytes. */
	SHOW(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, NULL, 0, NULL, NULL));
	SHOW(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, 0, 4, NULL, 0, NULL, NULL));
	SHOW(clEnqueueFillBuffer(queue, buffer, NULL, 4, 0, 4, 0, NULL, NULL));
	SHOW(clEnqueueFillBuffer(queue, buffer, bytes, 0, 0, 4, 0, NULL, NULL));
	SHOW(clEnqueueReadBufferRect(queue, buffer, CL_TRUE, zero, zero, one, 0, 0, 0, 0, NULL, 0, NULL,
				     NULL));
	SHOW(clEnqueueReadBufferRect(queue, buffer, CL_TRUE, NULL, zero, one, 0, 0, 0, 0, bytes, 0, NULL,
				     NULL));
	SHOW(clEnqueueCopyBufferRect(queue, buffer, buffer, zero, zero, NULL, 0, 0, 0, 0, 0, NULL, NULL));
	SHOWE(clCreateBuffer(context, CL_MEM_USE_HOST_PTR, 4, NULL, &err));
	SHOWE(clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, 4, NULL, &err));
	SHOWE(clCreateBuffer(context, CL_MEM_READ_WRITE, 4, bytes, &err));
	SHOWE(clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, NULL, &err));
	SHOW(clSetKernelArg(kernel, 0, sizeof(buffer), NULL));
	SHOW(clSetKernelArg(kernel, 1, 4, NULL));
	SHOW(clSetKernelArg(kernel, 1, 0, NULL));
	SHOW(clSetKernelArg(kernel, 2, 0, NULL));
	SHOW(clSetKernelArg(kernel, 2, 16, bytes));

	/* Sizes. */
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clSetKernelArg(kernel, 1, 4, bytes));
	CL(clSetKernelArg(kernel, 2, 16, NULL));
	SHOW(clEnqueueNDRangeKernel(queue, kernel, 0, NULL, one, NULL, 0, NULL, NULL));
	SHOW(clEnqueueNDRangeKernel(queue, kernel, 4, NULL, one, NULL, 0, NULL, NULL));

	/* Texts. */
	SHOWE(clCreateProgramWithSource(context, 0, &text, NULL, &err));
	SHOWE(clCreateProgramWithSource(context, 1, &none, NULL, &err));
	SHOWE(clCreateKernel(program, NULL, &err));
	SHOWE(clCreateProgramWithBinary(context, 1, &device, NULL, NULL, NULL, &err));
	SHOWE(clCreateProgramWithBinary(context, 1, &device, &length, &no_binary, NULL, &err));
	SHOWE(clCreateProgramWithBinary(context, 1, NULL, &length, &no_binary, NULL, &err));

	/* Answers. */
	SHOW(clGetDeviceInfo(device, CL_DEVICE_NAME, 1, bytes, NULL));
	SHOW(clGetDeviceInfo(device, CL_DEVICE_NAME, 64, NULL, NULL));
	SHOW(clGetSupportedImageFormats(context, CL_MEM_READ_ONLY, CL_MEM_OBJECT_IMAGE2D, 1, NULL, NULL));
	SHOW(clCreateKernelsInProgram(program, 1, NULL, NULL));
	SHOW(clCreateKernelsInProgram(program, 0, &kernel, &count));
	SHOW(clFinish(queue));

	/* Many new objects at once. */
	for (int i = 0; i < KERNELS; i++)
		sprintf(source + strlen(source), "kernel void k%d(global int *o) { *o = %d; }\n", i, i);
	many = build(source, NULL);
	CL(clCreateKernelsInProgram(many, 0, NULL, &count));
	CHECK(count == KERNELS);
	SHOW(clCreateKernelsInProgram(many, KERNELS - 1, kernels, NULL));
	CL(clCreateKernelsInProgram(many, KERNELS, kernels, NULL));
	for (int i = 0; i < KERNELS; i++) {
		char name[32], wanted[32];
		int value = -1, number;

		CL(clGetKernelInfo(kernels[i], CL_KERNEL_FUNCTION_NAME, sizeof(name), name, NULL));
		CHECK(sscanf(name, "k%d", &number) == 1);
		sprintf(wanted, "k%d", number);
		CHECK(strcmp(name, wanted) == 0);
		CL(clSetKernelArg(kernels[i], 0, sizeof(buffer), &buffer));
		CL(clEnqueueNDRangeKernel(queue, kernels[i], 1, NULL, one, NULL, 0, NULL, NULL));
		CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL));
		CHECK(value == number);
		CL(clReleaseKernel(kernels[i]));
	}
	printf("%d kernels\n", KERNELS);
	return 0;
}
