// SPDX-License-Identifier: Apache-2.0
/*
 * Callbacks of events: in the documented order, once each, also while the program is
 * blocked in another call; they may call OpenCL and add further callbacks.
 */
#include "common.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int log_of[16], logged;
static cl_event blocker;

static void note(int what)
{
	pthread_mutex_lock(&lock);
	log_of[logged++] = what;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_for(int count)
{
	pthread_mutex_lock(&lock);
	while (logged < count)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void CL_CALLBACK on(cl_event event, cl_int status, void *data)
{
	(void)event;
	(void)data;
	note(status);
}

/* Calls back into OpenCL, adds a callback, and frees the thread that is blocked. */
static void CL_CALLBACK again(cl_event event, cl_int status, void *data)
{
	cl_uint references;

	(void)data;
	CL(clGetEventInfo(event, CL_EVENT_REFERENCE_COUNT, sizeof(references), &references, NULL));
	CHECK(references > 0);
	note(status);
	CL(clSetEventCallback(event, CL_COMPLETE, on, NULL));
	if (blocker)
		CL(clSetUserEventStatus(blocker, CL_COMPLETE));
}

int main(int argc, char **argv)
{
	cl_command_queue queue;
	cl_event user, marker;

	(void)argv;
	setup();
	queue = make_queue(0);

	/* What fails says so. (Not every library's user events do, natively.) */
	if (argc > 1) {
		CLE(user = clCreateUserEvent(context, &err));
		CL(clSetEventCallback(user, CL_COMPLETE, on, NULL));
		CL(clSetUserEventStatus(user, -7));
		wait_for(1);
		CHECK(log_of[0] == -7);
		CL(clReleaseEvent(user));
		printf("callback of a failed event\n");
	}

	/* All three, in whatever order they were set. */
	CLE(user = clCreateUserEvent(context, &err));
	CL(clEnqueueMarkerWithWaitList(queue, 1, &user, &marker));
	logged = 0;
	CL(clSetEventCallback(marker, CL_COMPLETE, on, NULL));
	CL(clSetEventCallback(marker, CL_RUNNING, on, NULL));
	CL(clSetEventCallback(marker, CL_SUBMITTED, on, NULL));
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	wait_for(3);
	printf("order: %d %d %d\n", log_of[0], log_of[1], log_of[2]);
	CHECK(log_of[0] == CL_SUBMITTED && log_of[1] == CL_RUNNING && log_of[2] == CL_COMPLETE);
	CL(clReleaseEvent(user));
	CL(clReleaseEvent(marker));

	/* The program is blocked in a finish that only a callback can end. */
	CLE(blocker = clCreateUserEvent(context, &err));
	CLE(user = clCreateUserEvent(context, &err));
	CL(clEnqueueMarkerWithWaitList(queue, 1, &blocker, &marker));
	logged = 0;
	CL(clSetEventCallback(user, CL_COMPLETE, again, NULL));
	CL(clSetUserEventStatus(user, CL_COMPLETE));
	CL(clFinish(queue));
	wait_for(2);
	printf("a callback ended the wait\n");
	CL(clReleaseEvent(user));
	CL(clReleaseEvent(blocker));
	CL(clReleaseEvent(marker));

	/* A callback that never comes keeps nobody from ending. */
	CLE(user = clCreateUserEvent(context, &err));
	CL(clSetEventCallback(user, CL_COMPLETE, on, NULL));
	CL(clReleaseCommandQueue(queue));
	return 0;
}
