/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs share. Each prints the same on every run and ends with
 * status 0 only if it has verified what it computed.
 */
#ifndef COMMON_H
#define COMMON_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <CL/cl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAIL(...) do {							\
	fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);			\
	fprintf(stderr, __VA_ARGS__);					\
	fprintf(stderr, "\n");						\
	exit(1);							\
} while (0)

/* A call that returns its error. */
#define CL(call) do {							\
	cl_int code_ = (call);						\
	if (code_ != CL_SUCCESS)					\
		FAIL("%s gives %d", #call, code_);			\
} while (0)

/* A call that stores its error in `err`. */
#define CLE(call) do {							\
	call;								\
	if (err != CL_SUCCESS)						\
		FAIL("%s gives %d", #call, err);			\
} while (0)

#define CHECK(condition) do {						\
	if (!(condition))						\
		FAIL("%s does not hold", #condition);			\
} while (0)

static cl_platform_id platform;
static cl_device_id device;
static cl_context context;
static cl_int err;

/* The first device of the first platform. */
static inline void setup(void)
{
	CL(clGetPlatformIDs(1, &platform, NULL));
	CL(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
	CLE(context = clCreateContext(NULL, 1, &device, NULL, NULL, &err));
}

static inline cl_command_queue make_queue(cl_command_queue_properties properties)
{
	cl_command_queue queue;

	CLE(queue = clCreateCommandQueue(context, device, properties, &err));
	return queue;
}

static inline cl_program build(const char *source, const char *options)
{
	cl_program program;

	CLE(program = clCreateProgramWithSource(context, 1, &source, NULL, &err));
	err = clBuildProgram(program, 1, &device, options, NULL, NULL);
	if (err != CL_SUCCESS) {
		static char log[65536];

		clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof(log), log, NULL);
		FAIL("building gives %d:\n%s", err, log);
	}
	return program;
}

static inline cl_kernel make_kernel(cl_program program, const char *name)
{
	cl_kernel kernel;

	CLE(kernel = clCreateKernel(program, name, &err));
	return kernel;
}

static inline cl_mem make_buffer(cl_mem_flags flags, size_t size, void *host)
{
	cl_mem buffer;

	CLE(buffer = clCreateBuffer(context, flags, size, host, &err));
	return buffer;
}

/* FNV-1a over bytes. */
static inline uint64_t fnv(const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

/* The same numbers on every run. */
static inline uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Whether the device reports the extension. */
static inline int has_extension(const char *name)
{
	static char names[16384];
	size_t length = strlen(name);

	CL(clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof(names), names, NULL));
	for (char *at = names; (at = strstr(at, name)) != NULL; at += length)
		if ((at == names || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
			return 1;
	return 0;
}

/* PoCL crashes or gives up where a program calls some functions of old versions. */
static inline int is_pocl(void)
{
	char name[64] = "";

	CL(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name), name, NULL));
	return strcmp(name, "Portable Computing Language") == 0;
}

static inline void teardown(void)
{
	CL(clReleaseContext(context));
}

#endif
