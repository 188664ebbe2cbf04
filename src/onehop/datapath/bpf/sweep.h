/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Of stage CONNECTIONS: what is idle goes, by a timer of the kernel's, so that expiry needs no agent.
 *
 * Each round walks over both tables, which costs in proportion to what is in them. That is why rounds are rare;
 * whoever looks something up checks its age anyway.
 */
#pragma once
#include "connections.h"

#define SWEEP_PERIOD (10 * SECOND)
#define CLOCK_MONOTONIC 1

struct sweeper {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweeper);
} sweepers SEC(".maps");

static long sweep_record(void *map, struct tuple_key *key, struct record *record, void *unused)
{
	struct tuple_key gone;

	if (is_live(record, key->protocol, now()))
		return 0;
	gone = *key; /* a function of its own takes no pointer to a map's key */
	remove_record(&gone);
	return 0;
}

static long sweep_hint(void *map, struct tuple_key *key, struct hint *hint, void *unused)
{
	if (!is_fresh(hint, now()))
		bpf_map_delete_elem(&hints, key);
	return 0;
}

static int sweep(void *map, __u32 *key, struct sweeper *sweeper)
{
	bpf_for_each_map_elem(&records, sweep_record, 0, 0);
	bpf_for_each_map_elem(&hints, sweep_hint, 0, 0);
	bpf_timer_start(&sweeper->timer, SWEEP_PERIOD, 0);
	return 0;
}

/* Start, or go on with this object's programs instead of an older one's; `period` in nanoseconds. */
inline_ int start_sweeping(__u64 period)
{
	__u32 zero = 0;
	struct sweeper *sweeper = bpf_map_lookup_elem(&sweepers, &zero);

	if (!sweeper)
		return -1;
	bpf_timer_init(&sweeper->timer, &sweepers, CLOCK_MONOTONIC); /* -EBUSY: it is there already */
	return bpf_timer_set_callback(&sweeper->timer, sweep) || bpf_timer_start(&sweeper->timer, period, 0);
}
