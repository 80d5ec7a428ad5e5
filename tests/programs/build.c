// SPDX-License-Identifier: Apache-2.0
/* Building programs: options, errors and their log, binaries, kernels and what they tell. */
#include "common.h"

static const char good[] =
	"#ifndef FACTOR\n"
	"#error no factor\n"
	"#endif\n"
	"kernel void scale(global int *data) { data[get_global_id(0)] *= FACTOR; }\n"
	"kernel void shift(global int *data, int by) { data[get_global_id(0)] += by; }\n";
static const char bad[] =
	"kernel void broken(global int *data) { data[0] = undeclared_name; }\n";

static cl_build_status status_of(cl_program program)
{
	cl_build_status status;

	CL(clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_STATUS, sizeof(status), &status,
				 NULL));
	return status;
}

static void run(cl_program program, int factor)
{
	int data[64];
	size_t global = 64;
	cl_command_queue queue = make_queue(0);
	cl_kernel scale = make_kernel(program, "scale");
	cl_mem buffer;

	for (int i = 0; i < 64; i++)
		data[i] = i;
	buffer = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	CL(clSetKernelArg(scale, 0, sizeof(buffer), &buffer));
	CL(clEnqueueNDRangeKernel(queue, scale, 1, NULL, &global, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL));
	for (int i = 0; i < 64; i++)
		CHECK(data[i] == i * factor);
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(scale));
	CL(clReleaseCommandQueue(queue));
}

static int called;

static void CL_CALLBACK built(cl_program program, void *data)
{
	CHECK(data == &called && program != NULL);
	called++;
}

int main(void)
{
	static char text[65536];
	const char *pieces[2] = { good, "// the end\n" };
	size_t size, lengths[2] = { 0, 5 };
	cl_program program, again;
	cl_kernel kernels[2];
	cl_uint count;

	setup();

	/* What does not compile says why. */
	CLE(program = clCreateProgramWithSource(context, 1, (const char *[]){ bad }, NULL, &err));
	CHECK(status_of(program) == CL_BUILD_NONE);
	err = clBuildProgram(program, 1, &device, NULL, NULL, NULL);
	CHECK(err == CL_BUILD_PROGRAM_FAILURE);
	CHECK(status_of(program) == CL_BUILD_ERROR);
	CL(clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size));
	CHECK(size > 1 && size <= sizeof(text));
	CL(clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, text, NULL));
	CHECK(strlen(text) + 1 == size && strstr(text, "undeclared_name"));
	printf("the log names what is wrong\n");
	CL(clReleaseProgram(program));

	/* Sources in pieces, with and without lengths; options. */
	CLE(program = clCreateProgramWithSource(context, 2, pieces, lengths, &err));
	CL(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof(text), text, &size));
	printf("source of %zu bytes, %016llx\n", size, (unsigned long long)fnv(text, size));
	CL(clBuildProgram(program, 1, &device, "-DFACTOR=7", built, &called));
	while (status_of(program) == CL_BUILD_IN_PROGRESS)
		;
	CHECK(status_of(program) == CL_BUILD_SUCCESS);
	CL(clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_OPTIONS, sizeof(text), text, NULL));
	printf("options: %s\n", text);
	run(program, 7);

	CL(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof(size), &size, NULL));
	CHECK(size == 2);
	CL(clCreateKernelsInProgram(program, 0, NULL, &count));
	CHECK(count == 2);
	CL(clCreateKernelsInProgram(program, 2, kernels, NULL));
	for (int i = 0; i < 2; i++) {
		cl_program of_kernel;
		size_t group;

		CL(clGetKernelInfo(kernels[i], CL_KERNEL_FUNCTION_NAME, sizeof(text), text, NULL));
		CL(clGetKernelInfo(kernels[i], CL_KERNEL_NUM_ARGS, sizeof(count), &count, NULL));
		CL(clGetKernelInfo(kernels[i], CL_KERNEL_PROGRAM, sizeof(of_kernel), &of_kernel, NULL));
		CL(clGetKernelWorkGroupInfo(kernels[i], device, CL_KERNEL_WORK_GROUP_SIZE,
					    sizeof(group), &group, NULL));
		CHECK(of_kernel == program);
		printf("kernel %s: %u arguments, up to %zu work items\n", text, count, group);
		CL(clReleaseKernel(kernels[i]));
	}

	/* A binary makes the same program again. */
	CL(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL));
	CHECK(size > 0);
	unsigned char *binary = malloc(size);
	cl_int of_binary = 1;

	CL(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL));
	CLE(again = clCreateProgramWithBinary(context, 1, &device, &size,
					      (const unsigned char *[]){ binary }, &of_binary, &err));
	CHECK(of_binary == CL_SUCCESS);
	free(binary);
	CL(clBuildProgram(again, 0, NULL, NULL, NULL, NULL));
	run(again, 7);
	printf("built from a binary\n");
	CL(clReleaseProgram(again));

	CL(clBuildProgram(program, 1, &device, "-D FACTOR=-3", NULL, NULL));
	run(program, -3);
	CHECK(called == 1);
	printf("built again\n");
	CL(clReleaseProgram(program));
	teardown();
	return 0;
}
