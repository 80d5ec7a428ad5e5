// SPDX-License-Identifier: Apache-2.0
/* Bodies that attract each other: floating-point results must be the same bits everywhere. */
#include <math.h>

#include "common.h"

#define BODIES 512
#define STEPS 20

static const char source[] =
	"kernel void advance(global const float4 *old, global float4 *new, global float4 *speed,\n"
	"		  uint count, local float4 *tile)\n"
	"{\n"
	"	float4 me = old[get_global_id(0)], force = (float4)(0);\n"
	"	uint width = get_local_size(0), lane = get_local_id(0);\n"
	"	for (uint at = 0; at < count; at += width) {\n"
	"		tile[lane] = old[at + lane];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"		for (uint j = 0; j < width; j++) {\n"
	"			float4 d = tile[j] - me;\n"
	"			float r2 = d.x * d.x + d.y * d.y + d.z * d.z + 0.01f;\n"
	"			float inv = 1.0f / sqrt(r2);\n"
	"			force.xyz += d.xyz * (tile[j].w * inv * inv * inv);\n"
	"		}\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	float4 v = speed[get_global_id(0)] + force * 0.001f;\n"
	"	speed[get_global_id(0)] = v;\n"
	"	me.xyz += v.xyz * 0.001f;\n"
	"	new[get_global_id(0)] = me;\n"
	"}\n";

static void reference_step(const cl_float4 *old, cl_float4 *new, cl_float4 *speed)
{
	for (int i = 0; i < BODIES; i++) {
		double force[3] = { 0 };

		for (int j = 0; j < BODIES; j++) {
			double d[3], r2 = 0.01;

			for (int k = 0; k < 3; k++) {
				d[k] = old[j].s[k] - old[i].s[k];
				r2 += d[k] * d[k];
			}
			for (int k = 0; k < 3; k++)
				force[k] += d[k] * old[j].s[3] / (r2 * sqrt(r2));
		}
		new[i] = old[i];
		for (int k = 0; k < 3; k++) {
			speed[i].s[k] += force[k] * 0.001;
			new[i].s[k] += speed[i].s[k] * 0.001;
		}
	}
}

int main(void)
{
	static cl_float4 bodies[BODIES], speed[BODIES], expected[2][BODIES], still[BODIES];
	size_t global = BODIES, local = 64;
	cl_uint count = BODIES;
	uint32_t state = 42;

	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 4; k++)
			bodies[i].s[k] = next_random(&state) % 20001 / 10000.0f - (k < 3);
	memcpy(expected[0], bodies, sizeof(bodies));

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, NULL);
	cl_kernel kernel = make_kernel(program, "advance");
	cl_mem position[2] = {
		make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(bodies), bodies),
		make_buffer(CL_MEM_READ_WRITE, sizeof(bodies), NULL),
	};
	cl_mem speeds = make_buffer(CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(still), still);

	for (int step = 0; step < STEPS; step++) {
		CL(clSetKernelArg(kernel, 0, sizeof(cl_mem), &position[step % 2]));
		CL(clSetKernelArg(kernel, 1, sizeof(cl_mem), &position[(step + 1) % 2]));
		CL(clSetKernelArg(kernel, 2, sizeof(cl_mem), &speeds));
		CL(clSetKernelArg(kernel, 3, sizeof(count), &count));
		CL(clSetKernelArg(kernel, 4, local * sizeof(cl_float4), NULL));
		CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, 0, NULL, NULL));
		reference_step(expected[step % 2], expected[(step + 1) % 2], speed);
	}
	CL(clEnqueueReadBuffer(queue, position[STEPS % 2], CL_TRUE, 0, sizeof(bodies), bodies, 0,
			       NULL, NULL));
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++)
			if (!(fabsf(bodies[i].s[k] - expected[STEPS % 2][i].s[k]) < 1e-3f))
				FAIL("body %d is at %f, not %f", i, bodies[i].s[k],
				     expected[STEPS % 2][i].s[k]);
	printf("%d bodies after %d steps: %016llx\n", BODIES, STEPS,
	       (unsigned long long)fnv(bodies, sizeof(bodies)));

	CL(clReleaseMemObject(position[0]));
	CL(clReleaseMemObject(position[1]));
	CL(clReleaseMemObject(speeds));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
