// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Drops everything: at the ingress of a device that is there for its socket only. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc") int silence(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
