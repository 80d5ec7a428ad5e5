// SPDX-License-Identifier: Apache-2.0
/*
 * Programs that are compiled with headers, linked from parts and from binaries, and
 * what the notifying functions are given.
 */
#include "common.h"
#include <CL/cl_ext.h>

static const char header[] = "int twice(int x);\n";
static const char inner[] = "#define BY 3\n";
static const char library[] =
	"#include \"twice.h\"\n"
	"#include \"deep/by.h\"\n"
	"int twice(int x) { return 2 * x + BY; }\n";
static const char user[] =
	"#include \"twice.h\"\n"
	"kernel void run(global int *data) { *data = twice(*data); }\n";

static int notified;
static cl_program notified_of;

static void notify(cl_program program, void *data)
{
	notified++;
	notified_of = program;
	CHECK(data == &notified);
}

static cl_program from_source(const char *text)
{
	cl_program program;

	CLE(program = clCreateProgramWithSource(context, 1, &text, NULL, &err));
	return program;
}

int main(void)
{
	cl_program headers[2], parts[2], linked, none;
	const char *names[] = { "twice.h", "deep/by.h" };
	cl_command_queue queue;
	cl_int value = 20, status;
	cl_kernel kernel;
	cl_mem data;
	char text[64];

	setup();
	queue = make_queue(0);
	headers[0] = from_source(header);
	headers[1] = from_source(inner);
	parts[0] = from_source(library);
	parts[1] = from_source(user);

	CL(clCompileProgram(parts[0], 1, &device, "", 2, headers, names, notify, &notified));
	CHECK(notified == 1 && notified_of == parts[0]);
	CL(clCompileProgram(parts[1], 1, &device, "", 1, headers, names, NULL, NULL));

	linked = clLinkProgram(context, 1, &device, "", 0, NULL, NULL, NULL, &err);
	printf("link of nothing: %d\n", err);
	CHECK(linked == NULL);
	CLE(linked = clLinkProgram(context, 1, &device, "", 2, parts, notify, &notified, &err));
	CHECK(notified == 2 && notified_of == linked);
	CL(clGetProgramBuildInfo(linked, device, CL_PROGRAM_BUILD_STATUS, sizeof(status), &status,
				 NULL));
	printf("build status %d\n", status);
	kernel = make_kernel(linked, "run");
	data = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(value), &value);
	CL(clSetKernelArg(kernel, 0, sizeof(data), &data));
	CL(clEnqueueTask(queue, kernel, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, data, CL_TRUE, 0, sizeof(value), &value, 0, NULL, NULL));
	printf("20 twice is %d\n", value);
	CHECK(value == 43);

	/* Intel's makes a program without kernels, and crashes when it goes. */
	if (is_pocl()) {
		none = clCreateProgramWithBuiltInKernels(context, 1, &device, "nobody", &err);
		printf("built-in kernels that are none: %d\n", err);
		CHECK(none == NULL);
	}
	CL(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(text), text, NULL));
	CHECK(clGetExtensionFunctionAddressForPlatform(platform, "clNobodyEXT") == NULL);
	CL(clUnloadPlatformCompiler(platform));

	CL(clReleaseKernel(kernel));
	CL(clReleaseMemObject(data));
	CL(clReleaseProgram(linked));
	for (int i = 0; i < 2; i++) {
		CL(clReleaseProgram(headers[i]));
		CL(clReleaseProgram(parts[i]));
	}
	CL(clReleaseCommandQueue(queue));
	CL(clReleaseContext(context));
	return 0;
}
