// SPDX-License-Identifier: GPL-2.0
/*
 * Sleeping until something in an arena changes.
 *
 * A sleeper says in the arena's header that it sleeps, then looks at its word a
 * last time. A worker writes the word, then looks for sleepers. Each does both
 * with a full barrier in between, so one of them sees the other.
 */
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "driver.h"

/**
 * struct weir_waiter - one sleeping thread
 * @entry: in the device's wakes
 * @file: the client
 * @offset: where in the arena its word is
 * @value: it sleeps while the word has this value
 */
struct weir_waiter {
	struct wait_queue_entry entry;
	const struct weir_file *file;
	u32 offset;
	u32 value;
};

/* Inside of a section. Return: -EAGAIN to sleep on; 0 or -EIO to return. */
static int weir_waiter_look(const struct weir_waiter *waiter)
{
	const void *arena = weir_arena(waiter->file);
	const __le32 *word = arena + waiter->offset;

	if (le32_to_cpu(READ_ONCE(*word)) != waiter->value)
		return 0;
	return weir_arena_state(waiter->file) ?: -EAGAIN;
}

static int weir_waiter_check(const struct weir_waiter *waiter)
{
	int idx, ret;

	if (!weir_enter(waiter->file->dev, &idx))
		return -ENODEV;
	ret = weir_waiter_look(waiter);
	weir_exit(idx);
	return ret;
}

/*
 * One interrupt wakes for all clients of the device; only those threads run
 * for which something changed.
 *
 * This looks into the window outside of a section. It may: the interrupt ends
 * before the window is unmapped, weir_break() is called inside of a section,
 * and weir_remove() has said by then that the device is gone.
 */
static int weir_waiter_wake(struct wait_queue_entry *entry, unsigned int mode, int flags,
			    void *key)
{
	const struct weir_waiter *waiter = container_of(entry, struct weir_waiter, entry);

	if (!READ_ONCE(waiter->file->dev->gone) && weir_waiter_look(waiter) == -EAGAIN)
		return 0;
	return default_wake_function(entry, mode, flags, key);
}

static void weir_count_sleeper(const struct weir_file *file, int change)
{
	int idx;

	BUILD_BUG_ON(sizeof(atomic_t) != sizeof(__le32));
	BUILD_BUG_ON(IS_ENABLED(CONFIG_CPU_BIG_ENDIAN));
	if (!weir_enter(file->dev, &idx))
		return;
	atomic_add(change, (__force atomic_t *)&weir_arena(file)->sleepers);
	weir_exit(idx);
}

/* Return: as weir_wait(). */
static int weir_waiter_sleep(struct weir_waiter *waiter, ktime_t *deadline)
{
	int ret;

	for (;;) {
		/* The full barrier in here is the one that the worker's pairs with. */
		set_current_state(TASK_INTERRUPTIBLE);
		ret = weir_waiter_check(waiter);
		if (ret != -EAGAIN)
			break;
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		if (!schedule_hrtimeout_range(deadline, current->timer_slack_ns,
					      HRTIMER_MODE_ABS)) {
			ret = weir_waiter_check(waiter);
			if (ret == -EAGAIN)
				ret = -ETIMEDOUT;
			break;
		}
	}
	__set_current_state(TASK_RUNNING);
	return ret;
}

/**
 * weir_wait() - sleeps while a word of the arena has a value
 * @file: a client
 * @args: which word, which value, until when
 *
 * Return: 0 if the word has another value, else an error, see struct
 * weir_wait; -ERESTARTSYS if a signal came (the deadline is absolute, so the
 * call is restarted as it was).
 */
int weir_wait(struct weir_file *file, const struct weir_wait *args)
{
	struct weir_waiter waiter = { .file = file, .value = args->value };
	bool forever = args->deadline_ns > KTIME_MAX;
	ktime_t deadline = forever ? KTIME_MAX : ns_to_ktime(args->deadline_ns);
	int ret;

	if (args->offset % sizeof(__le32) || args->offset >= file->wait_limit)
		return -EINVAL;
	waiter.offset = array_index_nospec(args->offset, file->wait_limit);

	ret = weir_waiter_check(&waiter);
	if (ret != -EAGAIN)
		return ret;

	init_waitqueue_func_entry(&waiter.entry, weir_waiter_wake);
	waiter.entry.private = current;
	weir_count_sleeper(file, 1);
	add_wait_queue(&file->dev->wakes, &waiter.entry);
	ret = weir_waiter_sleep(&waiter, forever ? NULL : &deadline);
	remove_wait_queue(&file->dev->wakes, &waiter.entry);
	weir_count_sleeper(file, -1);
	return ret;
}

/**
 * weir_poll() - whether there are events that were not acknowledged
 * @file: the open file
 * @filp: the same
 * @table: where to wait
 *
 * Return: EPOLLIN, EPOLLERR | EPOLLHUP, both or neither.
 */
__poll_t weir_poll(struct weir_file *file, struct file *filp, poll_table *table)
{
	__poll_t ready = 0;
	int idx;

	poll_wait(filp, &file->dev->wakes, table);
	if (!weir_enter(file->dev, &idx))
		return EPOLLERR | EPOLLHUP;
	/* Pairs with the store in weir_client_start(). */
	if (smp_load_acquire(&file->started)) {
		u32 events = le32_to_cpu(READ_ONCE(weir_arena(file)->events));

		if (events != READ_ONCE(file->acked))
			ready |= EPOLLIN | EPOLLRDNORM;
		if (weir_arena_state(file))
			ready |= EPOLLERR | EPOLLHUP;
	}
	weir_exit(idx);
	return ready;
}
