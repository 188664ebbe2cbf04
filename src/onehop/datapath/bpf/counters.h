/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops by port and reason; budgets of ports; what is told to the agent. */
#pragma once
#include "walk.h"

inline_ void count(__u32 port, __u32 reason, __u32 bytes)
{
	struct counter_key key = { .port = port, .drop = reason };
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	} else {
		struct counter first = { .packets = 1, .bytes = bytes };

		bpf_map_update_elem(&counters, &key, &first, BPF_NOEXIST);
	}
}

/* Take a token. Two CPUs may now and then take the same one. */
stage_ int may_spend(__u32 port, __u32 what)
{
	struct budget_key key = { .port = port, .budget = what };
	struct bucket *bucket;
	__u64 time = now(), most, tokens;

	if (what > 4)
		return 0;
	most = budget_burst[what] * 1000ULL;
	bucket = bpf_map_lookup_elem(&budgets, &key);
	if (!bucket) {
		struct bucket full = { .tokens = most - 1000, .filled = time };

		bpf_map_update_elem(&budgets, &key, &full, BPF_ANY);
		return 1;
	}
	tokens = bucket->tokens;
	if (time > bucket->filled) {
		__u64 passed = time - bucket->filled;

		if (passed > 100 * SECOND)
			passed = 100 * SECOND;
		tokens += passed / 1000000 * budget_rate[what];
		bucket->filled = time;
	}
	if (tokens > most)
		tokens = most;
	if (tokens < 1000) {
		bucket->tokens = tokens;
		return 0;
	}
	bucket->tokens = tokens - 1000;
	return 1;
}

/* What an event says besides the packet. */
struct news {
	struct in6_addr address;
	__u32 kind, segment, id;
	__u8 mac[6], action, with_packet;
};

/* Tell the agent. An event that finds no room is lost: whoever sent the packet will send again. */
stage_ int tell_agent(struct __sk_buff *skb, struct walk *w, struct news *news)
{
	__u32 size = 0;
	struct event *event;

	if (!w || !news)
		return 0;
	if (news->with_packet)
		size = skb->len < MAX_CAPTURE ? skb->len : MAX_CAPTURE;
	event = bpf_ringbuf_reserve(&events, sizeof(*event) + MAX_CAPTURE, 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->kind = news->kind;
	event->port = w->origin;
	event->segment = news->segment;
	event->length = skb->len;
	event->id = news->id;
	event->address = news->address;
	__builtin_memcpy(event->mac, news->mac, 6);
	event->action = news->action;
	event->time = now();
	if (size > 0 && size <= MAX_CAPTURE && !bpf_skb_load_bytes(skb, 0, event + 1, size))
		event->captured = size;
	bpf_ringbuf_submit(event, 0);
	return 1;
}
