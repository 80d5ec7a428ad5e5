// SPDX-License-Identifier: Apache-2.0
/*
 * Parts of a device, their references, the timers, and queues on the device. Where
 * the device cannot do a thing, its error is printed.
 */
#include "common.h"

#define MOST 64

/* OpenCL 2.1, which this program's headers need not have. */
extern cl_int clGetDeviceAndHostTimer(cl_device_id, cl_ulong *, cl_ulong *);
extern cl_int clGetHostTimer(cl_device_id, cl_ulong *);
extern cl_int clSetDefaultDeviceCommandQueue(cl_context, cl_device_id, cl_command_queue);

static cl_uint number(cl_device_id of, cl_device_info what)
{
	cl_uint value = 0;

	CL(clGetDeviceInfo(of, what, sizeof(value), &value, NULL));
	return value;
}

static void add_one(cl_device_id part)
{
	const char *source = "kernel void add(global int *x) { x[get_global_id(0)] += 1; }";
	int data[100];
	size_t global = 100;
	cl_context inside = clCreateContext(NULL, 1, &part, NULL, NULL, &err);

	CL(err);
	for (int i = 0; i < 100; i++)
		data[i] = i;
	cl_command_queue queue = clCreateCommandQueue(inside, part, 0, &err);
	CL(err);
	cl_program program = clCreateProgramWithSource(inside, 1, &source, NULL, &err);
	CL(err);
	CL(clBuildProgram(program, 1, &part, "", NULL, NULL));
	cl_kernel kernel = clCreateKernel(program, "add", &err);
	CL(err);
	cl_mem buffer = clCreateBuffer(inside, CL_MEM_COPY_HOST_PTR, sizeof(data), data, &err);
	CL(err);
	CL(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL));
	for (int i = 0; i < 100; i++)
		CHECK(data[i] == i + 1);

	cl_device_id found = NULL;
	/* (PoCL 3.1 names the whole device here.) */
	CL(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(found), &found, NULL));
	printf("    the queue's device is %s", found == part ? "it" : found == device ? "the whole" : "?");
	CL(clGetContextInfo(inside, CL_CONTEXT_DEVICES, sizeof(found), &found, NULL));
	printf(", the context's %s\n", found == part ? "it" : found == device ? "the whole" : "?");
	CL(clReleaseMemObject(buffer));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	CL(clReleaseContext(inside));
}

static void partition(const char *name, const cl_device_partition_property *how)
{
	cl_device_id parts[MOST], parent;
	cl_device_partition_property told[8];
	cl_uint count = 0;
	size_t size;

	err = clCreateSubDevices(device, how, 0, NULL, &count);
	printf("%s: %d", name, err);
	if (err != CL_SUCCESS || count > MOST) {
		printf("\n");
		return;
	}
	printf(", %u parts\n", count);
	if (count > 1)
		printf("  in too little room: %d\n",
		       clCreateSubDevices(device, how, 1, parts, NULL));
	CL(clCreateSubDevices(device, how, count, parts, NULL));
	for (cl_uint i = 0; i < count; i++) {
		CL(clGetDeviceInfo(parts[i], CL_DEVICE_PARENT_DEVICE, sizeof(parent), &parent, NULL));
		CHECK(parent == device);
		CL(clGetDeviceInfo(parts[i], CL_DEVICE_PARTITION_TYPE, sizeof(told), told, &size));
		printf("  part %u: %u units, %zu bytes of type, %u references", i,
		       number(parts[i], CL_DEVICE_MAX_COMPUTE_UNITS), size,
		       number(parts[i], CL_DEVICE_REFERENCE_COUNT));
		CL(clRetainDevice(parts[i]));
		printf(", then %u", number(parts[i], CL_DEVICE_REFERENCE_COUNT));
		CL(clReleaseDevice(parts[i]));
		printf(", then %u\n", number(parts[i], CL_DEVICE_REFERENCE_COUNT));
		add_one(parts[i]);
		CL(clReleaseDevice(parts[i]));
	}
}

static void timers(void)
{
	cl_ulong on_device[2], on_host[2], host;
	cl_int both = clGetDeviceAndHostTimer(device, &on_device[0], &on_host[0]);

	printf("both timers: %d, the host's: %d\n", both, clGetHostTimer(device, &host));
	if (both != CL_SUCCESS)
		return;
	CL(clGetHostTimer(device, &host));
	CHECK(host >= on_host[0]);
	CL(clGetDeviceAndHostTimer(device, &on_device[1], &on_host[1]));
	CHECK(on_host[1] >= host && on_device[1] >= on_device[0]);
}

int main(void)
{
	cl_device_partition_property kinds[8];
	size_t size;

	setup();
	printf("%u parts at most\n", number(device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES));
	CL(clGetDeviceInfo(device, CL_DEVICE_PARTITION_PROPERTIES, sizeof(kinds), kinds, &size));
	for (size_t i = 0; i < size / sizeof(kinds[0]); i++)
		printf("can be parted by %#lx\n", (unsigned long)kinds[i]);

	partition("equally", (cl_device_partition_property[]){ CL_DEVICE_PARTITION_EQUALLY, 1, 0 });
	partition("by one count", (cl_device_partition_property[]){
			CL_DEVICE_PARTITION_BY_COUNTS, 1, 0, 0 });
	partition("by two counts", (cl_device_partition_property[]){
			CL_DEVICE_PARTITION_BY_COUNTS, 1, 1, 0, 0 });
	partition("by too many", (cl_device_partition_property[]){
			CL_DEVICE_PARTITION_BY_COUNTS, 1, 100000, 0, 0 });
	partition("by what there is not", (cl_device_partition_property[]){ 0x1234, 1, 0 });
	cl_device_id none;
	printf("without properties: %d\n", clCreateSubDevices(device, NULL, 1, &none, NULL));

	/* A device that is no part is not counted. */
	CL(clRetainDevice(device));
	for (int i = 0; i < 3; i++)
		CL(clReleaseDevice(device));
	printf("%u references of the whole\n", number(device, CL_DEVICE_REFERENCE_COUNT));
	add_one(device);
	timers();

	cl_command_queue queue = make_queue(0);
	printf("a queue of the host as the device's own: %d\n",
	       clSetDefaultDeviceCommandQueue(context, device, queue));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
