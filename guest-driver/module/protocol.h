/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver and the device say to each other: the configuration space
 * and the messages of both queues, as docs/device.md specifies them.
 */
#ifndef _WEIR_PROTOCOL_H
#define _WEIR_PROTOCOL_H

#include <linux/build_bug.h>
#include <linux/types.h>

/* Not assigned by the virtio standard: one of the ids left to experiments. */
#define WEIR_VIRTIO_ID		63

/* The shared-memory region that holds all arenas. */
#define WEIR_SHM_WINDOW		0

/**
 * struct weir_virtio_config - the device's configuration space
 * @version: version of the interface
 * @max_clients: clients that the device serves at once
 * @window_size: bytes of the window
 * @arena_max: bytes of the largest arena
 * @arena_default: bytes of an arena for which no size is asked
 * @name: the accelerator's name, padded with 0
 * @api: the API that it executes, padded with 0
 */
struct weir_virtio_config {
	__le32 version;
	__le32 max_clients;
	__le64 window_size;
	__le64 arena_max;
	__le64 arena_default;
	char name[32];
	char api[32];
};
static_assert(sizeof(struct weir_virtio_config) == 96);

enum weir_queue {
	WEIR_QUEUE_CONTROL,
	WEIR_QUEUE_SUBMIT,
	WEIR_QUEUES,
};

enum weir_control_type {
	WEIR_CTRL_CREATE = 1,
	WEIR_CTRL_DESTROY = 2,
};

enum weir_control_status {
	WEIR_STATUS_OK = 0,
	WEIR_STATUS_MALFORMED = 1,
	WEIR_STATUS_NO_CLIENT = 2,
	WEIR_STATUS_TOO_MANY = 3,
	WEIR_STATUS_NO_ROOM = 4,
	WEIR_STATUS_NO_WORKER = 5,
};

/* Begins every control request. */
struct weir_control_header {
	__le32 type;
	__le32 client;
};
static_assert(sizeof(struct weir_control_header) == 8);

struct weir_create_request {
	struct weir_control_header header;
	__le64 arena_size;
	__le32 pid;
	__le32 reserved;
	char comm[16];
};
static_assert(sizeof(struct weir_create_request) == 40);

struct weir_create_response {
	__le32 status;
	__le32 client;
	__le64 window_offset;
	__le64 arena_size;
};
static_assert(sizeof(struct weir_create_response) == 24);

struct weir_destroy_response {
	__le32 status;
	__le32 reserved;
};
static_assert(sizeof(struct weir_destroy_response) == 8);

/* The whole of a buffer on the submit queue. */
struct weir_submit_message {
	__le32 client;
	__le32 flags;
	__le32 offset;
	__le32 length;
};
static_assert(sizeof(struct weir_submit_message) == 16);

#endif /* _WEIR_PROTOCOL_H */
