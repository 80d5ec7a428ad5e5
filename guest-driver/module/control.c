// SPDX-License-Identifier: GPL-2.0
/* The control queue: clients come and go. */
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "driver.h"

/* Starting a worker takes well under a second; a host that swaps, longer. */
#define WEIR_ANSWER_SECONDS	30

/**
 * weir_request_alloc() - makes a control request
 * @type: WEIR_CTRL_*
 * @out_size: bytes of the message
 * @in_size: bytes of the answer
 *
 * Return: the request, of which the caller holds one reference; or NULL.
 */
struct weir_request *weir_request_alloc(u32 type, unsigned int out_size, unsigned int in_size)
{
	struct weir_request *request = kzalloc(sizeof(*request), GFP_KERNEL);

	if (!request)
		return NULL;
	refcount_set(&request->ref, 1);
	init_completion(&request->done);
	request->out_size = out_size;
	request->in_size = in_size;
	request->out.header.type = cpu_to_le32(type);
	return request;
}

/**
 * weir_request_put() - drops a reference
 * @request: the request, or NULL
 */
void weir_request_put(struct weir_request *request)
{
	if (request && refcount_dec_and_test(&request->ref))
		kfree(request);
}

static void weir_request_finish(struct weir_request *request, int error)
{
	request->error = error;
	complete_all(&request->done);
	weir_request_put(request);
}

/* Return: 0; -ENOSPC while the queue is full; -EIO or -ENODEV. */
static int weir_request_try_send(struct weir_device *dev, struct weir_request *request)
{
	struct scatterlist out, in, *lists[] = { &out, &in };
	unsigned long flags;
	bool notify = false;
	int idx, ret;

	if (!weir_enter(dev, &idx))
		return -ENODEV;
	if (READ_ONCE(dev->broken)) {
		ret = -EIO;
		goto leave;
	}

	sg_init_one(&out, &request->out, request->out_size);
	sg_init_one(&in, &request->in, request->in_size);
	spin_lock_irqsave(&dev->control_lock, flags);
	ret = virtqueue_add_sgs(dev->control, lists, 1, 1, request, GFP_ATOMIC);
	if (!ret) {
		refcount_inc(&request->ref);
		notify = virtqueue_kick_prepare(dev->control);
	}
	spin_unlock_irqrestore(&dev->control_lock, flags);
	if (notify && !virtqueue_notify(dev->control))
		weir_break(dev, "a control request could not be sent");
leave:
	weir_exit(idx);
	return ret;
}

/**
 * weir_request_send() - sends a request
 * @dev: the device
 * @request: the request; not sent before
 *
 * Waits while the queue is full.
 *
 * Return: 0, -EIO, -ENODEV or -ETIMEDOUT.
 */
int weir_request_send(struct weir_device *dev, struct weir_request *request)
{
	int ret;

	if (!wait_event_timeout(dev->room,
				(ret = weir_request_try_send(dev, request)) != -ENOSPC,
				WEIR_ANSWER_SECONDS * HZ))
		return -ETIMEDOUT;
	return ret;
}

/* A device that needs a reset will not answer. */
static void weir_check_health(struct weir_device *dev)
{
	int idx;

	if (!weir_enter(dev, &idx))
		return;
	if (dev->vdev->config->get_status(dev->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)
		weir_break(dev, "the device needs a reset");
	weir_exit(idx);
}

static int weir_status_error(u32 status)
{
	switch (status) {
	case WEIR_STATUS_OK:
		return 0;
	case WEIR_STATUS_NO_CLIENT:
		return -ENOENT;
	case WEIR_STATUS_TOO_MANY:
		return -EUSERS;
	case WEIR_STATUS_NO_ROOM:
		return -ENOSPC;
	case WEIR_STATUS_NO_WORKER:
		return -EREMOTEIO;
	default:
		return -EPROTO;
	}
}

/**
 * weir_request_wait() - waits for the answer to a request
 * @dev: the device
 * @request: the request; sent
 * @killable: whether a fatal signal ends the wait
 *
 * If the wait ends early (with -ERESTARTSYS or -ETIMEDOUT) the request is
 * still the device's, and may be waited for again.
 *
 * Return: 0 or what went wrong, here or on the device.
 */
int weir_request_wait(struct weir_device *dev, struct weir_request *request, bool killable)
{
	int second;
	long left;

	for (second = 0; second < WEIR_ANSWER_SECONDS; second++) {
		if (killable)
			left = wait_for_completion_killable_timeout(&request->done, HZ);
		else
			left = wait_for_completion_timeout(&request->done, HZ);
		if (left < 0)
			return left;
		if (left > 0) {
			if (request->error)
				return request->error;
			return weir_status_error(le32_to_cpu(request->in.status));
		}
		weir_check_health(dev);
		if (READ_ONCE(dev->broken))
			return -EIO;
	}
	return -ETIMEDOUT;
}

/* An answer that is not OK may end after its status. */
static int weir_answer_error(const struct weir_request *request, unsigned int len)
{
	if (len < sizeof(request->in.status))
		return -EPROTO;
	if (request->in.status == cpu_to_le32(WEIR_STATUS_OK) && len < request->in_size)
		return -EPROTO;
	return 0;
}

/**
 * weir_control_interrupt() - takes answers
 * @queue: the control queue
 */
void weir_control_interrupt(struct virtqueue *queue)
{
	struct weir_device *dev = queue->vdev->priv;
	struct weir_request *request;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&dev->control_lock, flags);
	do {
		virtqueue_disable_cb(queue);
		while ((request = virtqueue_get_buf(queue, &len)))
			weir_request_finish(request, weir_answer_error(request, len));
		if (unlikely(virtqueue_is_broken(queue)))
			break;
	} while (!virtqueue_enable_cb(queue));
	spin_unlock_irqrestore(&dev->control_lock, flags);
	wake_up_all(&dev->room);
}

/**
 * weir_control_drain() - ends requests that get no answer any more
 * @dev: the device; it has been reset, and nobody uses its queues
 */
void weir_control_drain(struct weir_device *dev)
{
	struct weir_request *request;

	while ((request = virtqueue_detach_unused_buf(dev->control)))
		weir_request_finish(request, -ENODEV);
}
