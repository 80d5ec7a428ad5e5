// SPDX-License-Identifier: Apache-2.0
/* What can be asked; the answers that a quota changes are checked, not printed. */
#include "common.h"

static unsigned char value[65536];

static size_t ask(cl_device_info query)
{
	size_t size, wanted;

	CL(clGetDeviceInfo(device, query, 0, NULL, &wanted));
	CHECK(wanted <= sizeof(value));
	memset(value, 0xaa, sizeof(value));
	CL(clGetDeviceInfo(device, query, sizeof(value), value, &size));
	CHECK(size == wanted);
	/* Nothing behind the room that there is is touched. */
	memset(value, 0xaa, sizeof(value));
	CL(clGetDeviceInfo(device, query, size, value, NULL));
	CHECK(value[size] == 0xaa && value[sizeof(value) - 1] == 0xaa);
	if (size > 1) {
		CHECK(clGetDeviceInfo(device, query, size - 1, value, NULL) == CL_INVALID_VALUE);
		CL(clGetDeviceInfo(device, query, size, value, NULL));
	}
	return size;
}

int main(void)
{
	cl_platform_id of_device;
	cl_device_id devices[200];
	cl_uint count;
	cl_ulong total, largest;
	size_t size;
	cl_context_properties properties[3] = { CL_CONTEXT_PLATFORM, 0, 0 }, found[3];
	cl_context by_type, of_queue;

	setup();
	CL(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(value), value, NULL));
	printf("platform %s\n", value);
	CL(clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof(value), value, NULL));
	printf("version %s\n", value);

	for (cl_device_info query = CL_DEVICE_TYPE; query < CL_DEVICE_EXECUTION_CAPABILITIES; query++) {
		size_t size;

		/* Those that have a number but no meaning, or that a quota changes. */
		if (clGetDeviceInfo(device, query, 0, NULL, &size) != CL_SUCCESS ||
		    query == CL_DEVICE_GLOBAL_MEM_SIZE || query == CL_DEVICE_MAX_MEM_ALLOC_SIZE ||
		    query == CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE || query == CL_DEVICE_IMAGE_SUPPORT ||
		    (query >= CL_DEVICE_MAX_READ_IMAGE_ARGS && query <= CL_DEVICE_IMAGE3D_MAX_DEPTH) ||
		    query == CL_DEVICE_MAX_SAMPLERS || query == CL_DEVICE_MAX_CLOCK_FREQUENCY)
			continue;
		size = ask(query);
		printf("%#x: %zu bytes, %016llx\n", query, size, (unsigned long long)fnv(value, size));
	}
	ask(CL_DEVICE_NAME);
	printf("device %s\n", value);
	ask(CL_DEVICE_VERSION);
	printf("version %s\n", value);
	CL(clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof(of_device), &of_device, NULL));
	CHECK(of_device == platform);
	CL(clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(total), &total, NULL));
	CL(clGetDeviceInfo(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(largest), &largest, NULL));
	CHECK(total > 0 && largest > 0 && largest <= total);

	CL(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 200, devices, &count));
	CHECK(count >= 1 && devices[0] == device);
	CL(clGetDeviceIDs(platform, CL_DEVICE_TYPE_DEFAULT, 1, devices, NULL));
	CHECK(devices[0] == device);
	CL(clRetainDevice(device));
	CL(clReleaseDevice(device));

	properties[1] = (cl_context_properties)platform;
	CLE(by_type = clCreateContextFromType(properties, CL_DEVICE_TYPE_ALL, NULL, NULL, &err));
	CL(clGetContextInfo(by_type, CL_CONTEXT_PROPERTIES, sizeof(found), found, &size));
	CHECK(size == sizeof(found) && memcmp(found, properties, size) == 0);
	CL(clGetContextInfo(by_type, CL_CONTEXT_DEVICES, sizeof(devices), devices, &size));
	CHECK(size >= sizeof(devices[0]) && devices[0] == device);
	CL(clGetContextInfo(by_type, CL_CONTEXT_REFERENCE_COUNT, sizeof(count), &count, NULL));
	CHECK(count == 1);
	CL(clRetainContext(by_type));
	CL(clGetContextInfo(by_type, CL_CONTEXT_REFERENCE_COUNT, sizeof(count), &count, NULL));
	CHECK(count == 2);
	CL(clReleaseContext(by_type));
	CL(clReleaseContext(by_type));

	cl_command_queue queue = make_queue(CL_QUEUE_PROFILING_ENABLE);
	cl_command_queue_properties of = 0;
	cl_device_id device_of_queue;

	CL(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(of_queue), &of_queue, NULL));
	CL(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(device_of_queue), &device_of_queue,
				 NULL));
	CL(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof(of), &of, NULL));
	CHECK(of_queue == context && device_of_queue == device && of == CL_QUEUE_PROFILING_ENABLE);
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
