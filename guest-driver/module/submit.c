// SPDX-License-Identifier: GPL-2.0
/*
 * The submit queue: one small buffer per batch of commands.
 *
 * The device returns a buffer as soon as it has noted it. Nobody needs to
 * know, so its interrupt stays off, and buffers are taken back with the next
 * submission. Only a full queue makes somebody wait.
 */
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "driver.h"

/**
 * weir_submit_init() - prepares the submit queue
 * @dev: the device; its queue was found
 *
 * Return: 0 or -ENOMEM.
 */
int weir_submit_init(struct weir_device *dev)
{
	unsigned int count = virtqueue_get_vring_size(dev->submit);
	unsigned int i;

	dev->slots = kcalloc(count, sizeof(*dev->slots), GFP_KERNEL);
	dev->free = kcalloc(count, sizeof(*dev->free), GFP_KERNEL);
	if (!dev->slots || !dev->free)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		dev->free[i] = &dev->slots[i];
	dev->free_count = count;
	virtqueue_disable_cb(dev->submit);
	return 0;
}

/**
 * weir_submit_free() - frees what weir_submit_init() made, if anything
 * @dev: the device; its queue is gone
 */
void weir_submit_free(struct weir_device *dev)
{
	kfree(dev->free);
	kfree(dev->slots);
}

/**
 * weir_submit_interrupt() - there is room again, and somebody waits for it
 * @queue: the submit queue
 */
void weir_submit_interrupt(struct virtqueue *queue)
{
	struct weir_device *dev = queue->vdev->priv;

	wake_up_all(&dev->room);
}

/* Takes buffers back. Under submit_lock. Return: whether one is free. */
static bool weir_submit_reclaim(struct weir_device *dev)
{
	struct weir_submit_message *slot;
	unsigned int len;

	while ((slot = virtqueue_get_buf(dev->submit, &len)))
		dev->free[dev->free_count++] = slot;
	return dev->free_count;
}

/*
 * Whoever finds the queue full leaves its interrupt on, and says so: the next
 * one to find room may come before the interrupt does, and turns it off.
 *
 * Return: 0; -ENOSPC if the queue is full; -EIO or -ENODEV.
 */
static int weir_submit_try(struct weir_file *file, const struct weir_submit *args)
{
	struct weir_device *dev = file->dev;
	struct weir_submit_message *slot;
	struct scatterlist list;
	bool notify = false, wake;
	int idx, ret;

	if (!weir_enter(dev, &idx))
		return -ENODEV;
	ret = weir_arena_state(file);
	if (ret)
		goto leave;

	spin_lock(&dev->submit_lock);
	if (!weir_submit_reclaim(dev)) {
		/* Once more, with the interrupt on. */
		if (virtqueue_enable_cb(dev->submit) || !weir_submit_reclaim(dev)) {
			dev->full = true;
			spin_unlock(&dev->submit_lock);
			ret = -ENOSPC;
			goto leave;
		}
	}
	virtqueue_disable_cb(dev->submit);
	wake = dev->full;
	dev->full = false;

	slot = dev->free[--dev->free_count];
	slot->client = cpu_to_le32(file->client);
	slot->flags = 0;
	slot->offset = cpu_to_le32(args->offset);
	slot->length = cpu_to_le32(args->length);
	sg_init_one(&list, slot, sizeof(*slot));
	ret = virtqueue_add_outbuf(dev->submit, &list, 1, slot, GFP_ATOMIC);
	if (ret) {
		/* There was room: the queue is broken, or memory could not be mapped. */
		dev->free[dev->free_count++] = slot;
		ret = -EIO;
	} else {
		notify = virtqueue_kick_prepare(dev->submit);
	}
	spin_unlock(&dev->submit_lock);
	if (unlikely(wake))
		wake_up_all(&dev->room);
	/* An exit to the hypervisor: not under the lock. */
	if (notify && !virtqueue_notify(dev->submit)) {
		weir_break(dev, "commands could not be announced");
		ret = -EIO;
	}
leave:
	weir_exit(idx);
	return ret;
}

/**
 * weir_submit() - announces commands to the device
 * @file: a client
 * @args: which commands
 *
 * Return: 0, -EINVAL, -EIO, -ENODEV, or -ERESTARTSYS if a signal came while
 * the queue was full.
 */
int weir_submit(struct weir_file *file, const struct weir_submit *args)
{
	struct weir_device *dev = file->dev;
	int ret, interrupted;

	if (!args->length || (u64)args->offset + args->length > file->arena_size)
		return -EINVAL;

	ret = weir_submit_try(file, args);
	if (likely(ret != -ENOSPC))
		return ret;
	interrupted = wait_event_interruptible(dev->room,
					       (ret = weir_submit_try(file, args)) != -ENOSPC);
	return interrupted ?: ret;
}
