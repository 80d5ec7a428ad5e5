/* SPDX-License-Identifier: GPL-2.0 */
/* The driver's own structures and the functions that its files share. */
#ifndef _WEIR_DRIVER_H
#define _WEIR_DRIVER_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/virtio.h>
#include <linux/wait.h>

#include "protocol.h"
#include "uapi/weir.h"

/**
 * struct weir_device - one accelerator
 * @ref: held by the driver while bound, and by each open file
 * @vdev: the virtio device; valid between weir_enter() and weir_exit() only
 * @misc: the character device
 * @misc_name: its name
 * @index: the number in its name
 * @gone: the device was removed; set once, read under weir_enter()
 * @broken: the device does not follow its protocol any more, or says so itself
 * @info: what WEIR_IOC_INFO answers
 * @window: the kernel's view of all arenas; valid as @vdev
 * @window_phys: where it is
 * @control: the control queue
 * @control_lock: guards @control; taken by its interrupt
 * @submit: the submit queue
 * @submit_lock: guards @submit, @slots, the free list and @full
 * @slots: buffers for @submit
 * @free: those of @slots that the device does not have
 * @free_count: how many those are
 * @full: somebody found @submit full and may wait for @room
 * @room: waits for room in either queue
 * @wakes: everyone who sleeps until something in an arena changes
 * @files_lock: guards @files
 * @files: open files
 */
struct weir_device {
	struct kref ref;
	struct virtio_device *vdev;
	struct miscdevice misc;
	char misc_name[16];
	int index;
	bool gone;
	bool broken;
	struct weir_info info;

	void *window;
	phys_addr_t window_phys;

	struct virtqueue *control;
	spinlock_t control_lock;

	struct virtqueue *submit;
	spinlock_t submit_lock;
	struct weir_submit_message *slots;
	struct weir_submit_message **free;
	unsigned int free_count;
	bool full;

	wait_queue_head_t room;
	wait_queue_head_t wakes;

	struct mutex files_lock;
	struct list_head files;
};

/**
 * struct weir_request - a message on the control queue and its answer
 * @ref: held by the sender, and by the queue while the device has it
 * @done: the answer is there, or never comes
 * @error: 0 or why no answer came; valid once @done
 * @out_size: bytes of @out that the device reads
 * @in_size: bytes of @in that the device writes
 * @out: the message
 * @in: the answer
 */
struct weir_request {
	refcount_t ref;
	struct completion done;
	int error;
	unsigned int out_size;
	unsigned int in_size;
	union {
		struct weir_control_header header;
		struct weir_create_request create;
	} out;
	union {
		__le32 status;
		struct weir_create_response create;
		struct weir_destroy_response destroy;
	} in;
};

/**
 * struct weir_file - an open file: a client, or not yet
 * @dev: the device
 * @node: in the device's list
 * @mapping: where user mappings of this file are found
 * @start_lock: one start at a time
 * @create: the request for a client, if one was made and did not fail
 * @destroy: the request to end it, ready so that ending never lacks memory
 * @started: all below is valid and does not change; acquire and release
 * @mm: the address space that the client belongs to
 * @client: the device's number for it
 * @arena_offset: where the arena is in the window
 * @arena_size: bytes of the arena
 * @wait_limit: words below this offset may be waited for
 * @acked: value of the header's events last acknowledged
 */
struct weir_file {
	struct weir_device *dev;
	struct list_head node;
	struct address_space *mapping;

	struct mutex start_lock;
	struct weir_request *create;
	struct weir_request *destroy;

	bool started;
	struct mm_struct *mm;
	u32 client;
	u64 arena_offset;
	u64 arena_size;
	u32 wait_limit;
	u32 acked;
};

/* main.c */
bool weir_enter(struct weir_device *dev, int *idx);
void weir_exit(int idx);
void weir_break(struct weir_device *dev, const char *why);
void weir_device_put(struct weir_device *dev);

/* control.c */
struct weir_request *weir_request_alloc(u32 type, unsigned int out_size, unsigned int in_size);
void weir_request_put(struct weir_request *request);
int weir_request_send(struct weir_device *dev, struct weir_request *request);
int weir_request_wait(struct weir_device *dev, struct weir_request *request, bool killable);
void weir_control_interrupt(struct virtqueue *queue);
void weir_control_drain(struct weir_device *dev);

/* submit.c */
int weir_submit_init(struct weir_device *dev);
void weir_submit_free(struct weir_device *dev);
void weir_submit_interrupt(struct virtqueue *queue);
int weir_submit(struct weir_file *file, const struct weir_submit *args);

/* client.c */
int weir_client_start(struct weir_file *file, struct weir_start *args);
void weir_client_end(struct weir_file *file);

/* arena.c */
struct weir_arena_header *weir_arena(const struct weir_file *file);
int weir_arena_state(const struct weir_file *file);
int weir_arena_mmap(struct weir_file *file, struct vm_area_struct *vma);

/* wait.c */
int weir_wait(struct weir_file *file, const struct weir_wait *args);
__poll_t weir_poll(struct weir_file *file, struct file *filp, poll_table *table);

/* file.c */
extern const struct file_operations weir_fops;

#endif /* _WEIR_DRIVER_H */
