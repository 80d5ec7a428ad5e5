// SPDX-License-Identifier: GPL-2.0
/* An open file becomes a client of the device, and ceases to be one. */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "driver.h"

static struct weir_request *weir_create_request(u64 arena_size)
{
	struct weir_request *request;

	request = weir_request_alloc(WEIR_CTRL_CREATE, sizeof(struct weir_create_request),
				     sizeof(struct weir_create_response));
	if (!request)
		return NULL;
	/* For people who look at the host's list of clients; nothing rests on it. */
	request->out.create.arena_size = cpu_to_le64(arena_size);
	request->out.create.pid = cpu_to_le32(task_tgid_nr(current));
	get_task_comm(request->out.create.comm, current->group_leader);
	return request;
}

/* Takes over what the device answered. Return: 0, or -EPROTO if it is absurd. */
static int weir_client_adopt(struct weir_file *file, const struct weir_create_response *answer)
{
	const struct weir_device *dev = file->dev;
	const struct weir_arena_header *header;
	u32 data_offset;

	file->client = le32_to_cpu(answer->client);
	file->arena_offset = le64_to_cpu(answer->window_offset);
	file->arena_size = le64_to_cpu(answer->arena_size);
	if (!file->arena_size || !PAGE_ALIGNED(file->arena_size) ||
	    !PAGE_ALIGNED(file->arena_offset) ||
	    file->arena_size > dev->info.window_size ||
	    file->arena_offset > dev->info.window_size - file->arena_size ||
	    file->arena_size < sizeof(*header))
		return -EPROTO;

	/* The process cannot write the header yet: the last time it is believed. */
	header = weir_arena(file);
	data_offset = le32_to_cpu(READ_ONCE(header->data_offset));
	if (le32_to_cpu(READ_ONCE(header->magic)) != WEIR_ARENA_MAGIC ||
	    le32_to_cpu(READ_ONCE(header->version)) != WEIR_VERSION ||
	    le64_to_cpu(READ_ONCE(header->arena_size)) != file->arena_size ||
	    data_offset < sizeof(*header) || data_offset > file->arena_size)
		return -EPROTO;
	file->wait_limit = data_offset;
	return 0;
}

/* Ends the client that @file->create made. */
static void weir_client_destroy(struct weir_file *file)
{
	struct weir_device *dev = file->dev;
	struct weir_request *destroy = file->destroy;
	int ret;

	destroy->out.header.client = file->create->in.create.client;
	ret = weir_request_send(dev, destroy);
	if (!ret)
		ret = weir_request_wait(dev, destroy, false);
	/* A device that is gone or needs a reset forgets its clients by itself. */
	if (ret && ret != -ENODEV && ret != -EIO)
		pr_warn("%s: client %u could not be ended: error %d\n", dev->misc_name,
			le32_to_cpu(destroy->out.header.client), ret);
}

static void weir_client_forget(struct weir_file *file)
{
	weir_request_put(file->create);
	weir_request_put(file->destroy);
	file->create = NULL;
	file->destroy = NULL;
}

static int weir_client_make(struct weir_file *file, u64 arena_size)
{
	struct weir_device *dev = file->dev;
	int idx, ret;

	file->create = weir_create_request(arena_size);
	file->destroy = weir_request_alloc(WEIR_CTRL_DESTROY, sizeof(struct weir_control_header),
					   sizeof(struct weir_destroy_response));
	if (!file->create || !file->destroy) {
		ret = -ENOMEM;
		goto forget;
	}
	ret = weir_request_send(dev, file->create);
	if (ret)
		goto forget;
	ret = weir_request_wait(dev, file->create, true);
	/* Not answered yet: weir_client_end() sees to what comes of it. */
	if (!completion_done(&file->create->done))
		return ret;
	if (ret)
		goto forget;

	if (!weir_enter(dev, &idx)) {
		ret = -ENODEV;
		goto forget;
	}
	ret = weir_client_adopt(file, &file->create->in.create);
	weir_exit(idx);
	if (!ret)
		return 0;
	weir_client_destroy(file);
forget:
	weir_client_forget(file);
	return ret;
}

/**
 * weir_client_start() - makes a client
 * @file: the open file
 * @args: in and out, as user space sees it
 *
 * Return: 0 or an error, see struct weir_start.
 */
int weir_client_start(struct weir_file *file, struct weir_start *args)
{
	int ret;

	if (args->flags || args->client)
		return -EINVAL;
	if (args->arena_size &&
	    (args->arena_size < WEIR_ARENA_MIN ||
	     args->arena_size > file->dev->info.arena_max || !PAGE_ALIGNED(args->arena_size)))
		return -EINVAL;

	if (mutex_lock_killable(&file->start_lock))
		return -ERESTARTSYS;
	if (file->create) {
		ret = -EALREADY;
		goto unlock;
	}
	ret = weir_client_make(file, args->arena_size);
	if (ret)
		goto unlock;

	args->arena_size = file->arena_size;
	args->client = file->client;
	mmgrab(current->mm);
	file->mm = current->mm;
	/* Pairs with the load in weir_file_client(). */
	smp_store_release(&file->started, true);
unlock:
	mutex_unlock(&file->start_lock);
	return ret;
}

/**
 * weir_client_end() - ends a client, if there is one
 * @file: the file; nobody else uses it
 *
 * Returns when the device has taken the arena out of the window, or has not
 * answered for long.
 */
void weir_client_end(struct weir_file *file)
{
	int ret;

	if (!file->create)
		return;
	ret = weir_request_wait(file->dev, file->create, false);
	if (!ret)
		weir_client_destroy(file);
	else if (ret == -ETIMEDOUT)
		pr_warn("%s: a client was asked for and may live on\n", file->dev->misc_name);
	weir_client_forget(file);
	if (file->mm)
		mmdrop(file->mm);
}
