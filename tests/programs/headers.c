/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources that include files of this program's own file system: through folders that options name,
 * absolute and relative, from the working directory, through one another, and not at all.
 */
#include "common.h"
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/headers-XXXXXX";

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	CHECK(file != NULL);
	CHECK(fputs(text, file) >= 0 && fclose(file) == 0);
}

static char *info(cl_program program, cl_program_build_info what)
{
	static char text[65536];
	size_t size, whole;

	CL(clGetProgramBuildInfo(program, device, what, 0, NULL, &whole));
	CHECK(whole > 0 && whole <= sizeof(text));
	CL(clGetProgramBuildInfo(program, device, what, whole, text, &size));
	CHECK(size == whole && strlen(text) + 1 == size);
	CHECK(whole == 1 || clGetProgramBuildInfo(program, device, what, whole - 1, text, NULL) ==
				    CL_INVALID_VALUE);
	return text;
}

static cl_program source(const char *text)
{
	cl_program program;

	CLE(program = clCreateProgramWithSource(context, 1, &text, NULL, &err));
	return program;
}

/* What the kernel `f` of a built program writes. */
static int result(cl_program program)
{
	int value = -1;
	size_t one = 1;
	cl_command_queue queue = make_queue(0);
	cl_kernel kernel = make_kernel(program, "f");
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE, sizeof(value), NULL);

	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(value), &value, 0, NULL, NULL));
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseCommandQueue(queue));
	return value;
}

static void try(const char *options, const char *text)
{
	cl_program program = source(text);
	cl_int built = clBuildProgram(program, 1, &device, options, NULL, NULL);

	printf("options [%s]: %d", options ? options : "", built);
	if (built == CL_SUCCESS) {
		CHECK(strcmp(info(program, CL_PROGRAM_BUILD_OPTIONS), options ? options : "") == 0);
		printf(" %d", result(program));
	}
	printf("\n");
	CL(clReleaseProgram(program));
}

#define F "\nkernel void f(global int *out) { *out = V; }\n"

/* A header that is in no program goes into compiling as well. */
static void compile(void)
{
	const char *name = "given.h";
	cl_program header = source("#include <flat.h>\n#define GIVEN (V + 100)\n");
	cl_program program = source("#include \"given.h\"\nkernel void f(global int *out) { *out = GIVEN; }\n");
	cl_program linked;

	CL(clCompileProgram(program, 1, &device, "-I include", 1, &header, &name, NULL, NULL));
	CLE(linked = clLinkProgram(context, 1, &device, NULL, 1, &program, NULL, NULL, &err));
	printf("compiled: %d\n", result(linked));
	CL(clReleaseProgram(linked));
	CL(clReleaseProgram(program));
	CL(clReleaseProgram(header));
}

int main(void)
{
	char options[256], log[65536];
	cl_program program;

	CHECK(mkdtemp(root) != NULL && chdir(root) == 0);
	CHECK(mkdir("include", 0700) == 0 && mkdir("include/deep", 0700) == 0);
	CHECK(mkdir("other", 0700) == 0);
	put("include/flat.h", "#define V 1\n");
	put("include/nested.h", "#include \"deep/down.h\"\n");
	put("include/deep/down.h", "#  include \"../back.h\"\n");
	put("include/back.h", "#include <other.h>\n");
	put("include/named.h", "#define V NUMBER\n");
	put("other/other.h", "#define V 2\n");
	put("here.h", "#define V 3\n");
	put("include/warns.h", "#define V 4\n#warning from a header\n");
	setup();

	try("-I include", "#include <flat.h>" F);
	try("-Iinclude -DNUMBER=7", "#include \"named.h\"" F);
	try("-DX -I ./include -I other", "#include \"nested.h\"" F);
	try("-I include", "#define HEADER <flat.h>\n#include HEADER" F);
	try(NULL, "#include \"here.h\"" F);
	try("-DY=1", "#include \"include/flat.h\"" F);
	try("-I include", "#include \"missing.h\"" F);
	try("-I nowhere", "#define V 5" F);
	try("-I include", "#include \"nested.h\"" F); /* other.h is not there */

	/* (The folder's name differs from run to run.) */
	snprintf(options, sizeof(options), "-I %s/include -w", root);
	program = source("#include <flat.h>" F);
	CL(clBuildProgram(program, 1, &device, options, NULL, NULL));
	CHECK(strcmp(info(program, CL_PROGRAM_BUILD_OPTIONS), options) == 0);
	printf("absolute: %d\n", result(program));
	CL(clReleaseProgram(program));

	/* What has changed is looked at anew. */
	put("include/flat.h", "#define V 6\n");
	try("-I include", "#include <flat.h>" F);

	/* The compiler knows files by the program's names. */
	program = source("#include \"warns.h\"" F);
	CL(clBuildProgram(program, 1, &device, "-I include", NULL, NULL));
	strcpy(log, info(program, CL_PROGRAM_BUILD_LOG));
	CHECK(strlen(log) <= 1 || strstr(log, "from a header") != NULL);
	printf("log:\n%s\n", log);
	CL(clReleaseProgram(program));

	compile();
	CHECK(chdir("/") == 0);
	snprintf(options, sizeof(options), "rm -r %s", root);
	CHECK(system(options) == 0);
	return 0;
}
