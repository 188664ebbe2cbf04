// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the verifier must refuse: it reads behind the end of the packet. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc") int unchecked(struct __sk_buff *skb)
{
	return *(__u8 *)(long)skb->data;
}

char _license[] SEC("license") = "Dual BSD/GPL";
