// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One of each thing that the loader handles; it forwards nothing and drops nothing. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "sample_layouts.h"

#define NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: on to whoever is next */

const volatile __u32 verdict = 0;
const volatile __u8 tag[6] = {};
const volatile __s64 offset = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct sample_key);
	__type(value, struct sample_value);
} exact SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sample_key);
	__type(value, struct sample_value);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sample_prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct list {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct list);
} lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __always_inline void count(void)
{
	__u32 zero = 0;
	__u64 *counter = bpf_map_lookup_elem(&counters, &zero);

	if (counter)
		(*counter)++;
}

/* Tells what the configuration holds: mark and priority come back with it. */
SEC("tc") int configured(struct __sk_buff *skb)
{
	skb->mark = tag[0] << 8 | tag[5];
	skb->priority = (__u32)(offset + 100);
	return verdict;
}

/* Looks up {mark, first byte of cb} in the hash and answers with its count. */
SEC("tc") int looked_up(struct __sk_buff *skb)
{
	struct sample_key key = { .port = skb->mark, .service = 0xbb01 }; /* 443 in network order */
	struct sample_value *value = bpf_map_lookup_elem(&exact, &key);

	return value ? (int)value->packets : NEXT;
}

/* The longest prefix of the address in cb[0..3]. */
SEC("tc") int routed(struct __sk_buff *skb)
{
	struct sample_prefix key = { .length = 128 };
	__u32 *found;

#pragma unroll
	for (int i = 0; i < 4; i++)
		key.address.s6_addr32[i] = skb->cb[i];
	found = bpf_map_lookup_elem(&prefixes, &key);
	return found ? (int)*found : NEXT;
}

/* Element `priority` of the list `mark`. */
SEC("tc") int listed(struct __sk_buff *skb)
{
	__u32 outer = skb->mark, inner = skb->priority, *value;
	void *list = bpf_map_lookup_elem(&lists, &outer);

	value = list ? bpf_map_lookup_elem(list, &inner) : 0;
	return value ? (int)*value : NEXT;
}

/* Reports mark, length and segment size of each packet; 9 if the ring is full. */
SEC("tc") int reported(struct __sk_buff *skb)
{
	struct sample_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 9;
	event->mark = skb->mark;
	event->length = skb->len;
	event->ifindex = skb->ifindex;
	event->gso_size = skb->gso_size;
	if (skb->mark == 0xdead)
		bpf_ringbuf_discard(event, 0);
	else
		bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Counts, and lets pass: two of them, so that one can replace the other. */
SEC("tc") int counted(struct __sk_buff *skb)
{
	count();
	return NEXT;
}

SEC("tc") int counted_too(struct __sk_buff *skb)
{
	count();
	return NEXT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
