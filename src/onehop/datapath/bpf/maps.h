/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tables, and what is configured when the programs are loaded. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "generated/tables.h"
#include "generated/vocabulary.h"

#define inline_ static __always_inline
#define stage_ __noinline /* a function of its own to the verifier, which checks it once */

const volatile __u32 udp_port = 4789;
const volatile __u32 inject_ifindex = 0; /* the device whose egress runs `inject` */
const volatile __u8 explain = 0; /* write `verdicts` */
const volatile __u8 decap_l3 = 1; /* adjust_room knows BPF_F_ADJ_ROOM_DECAP_L3_*: Linux 6.3 */
const volatile __u32 quota = 65536; /* connections of a port that says nothing else */

/* Tokens per second, and at most, by enum budget. */
const volatile __u32 budget_rate[5] = { 0, 10, 100, 200, 50 };
const volatile __u32 budget_burst[5] = { 0, 50, 200, 400, 200 };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#define SECOND 1000000000ULL
#define FLOW_LIFE SECOND
#define HINT_LIFE (300 * SECOND)
#define FRAGMENT_LIFE (30 * SECOND)
#define NEIGHBOUR_LIFE (300 * SECOND)
#define PENDING_LIFE SECOND

inline_ __u64 now(void)
{
	return bpf_ktime_get_coarse_ns();
}

/* The linear part of a packet. To the compiler the pointers have 64 bits, or it would compare halves of them. */
inline_ void *data_of(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;

	asm volatile("" : "+r"(data));
	return data;
}

inline_ void *end_of(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;

	asm volatile("" : "+r"(end));
	return end;
}
