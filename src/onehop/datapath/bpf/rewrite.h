/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Doing to a packet what was decided: new MACs, a lower TTL, delivery to an interface of this host. */
#pragma once
#include "parse.h"

#define NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: not ours, on to whoever is next */

inline_ void lower_ipv4(struct ipv4 *ip, __u8 hops)
{
	__u32 sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->ttl << 8 | ip->protocol);

	ip->ttl -= hops;
	sum += bpf_htons(ip->ttl << 8 | ip->protocol);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

/* The headers have been pulled into the linear part. */
inline_ int lower_ttl_by(struct __sk_buff *skb, __u8 hops)
{
	void *data = data_of(skb), *end = end_of(skb);
	struct ethhdr *eth = data;

	if (data + ETH + sizeof(struct ipv4) > end)
		return -1;
	if (eth->h_proto == bpf_htons(P_IP)) {
		lower_ipv4(data + ETH, hops);
	} else {
		struct ipv6 *ip = data + ETH;

		if (data + ETH + sizeof(*ip) > end)
			return -1;
		ip->ttl -= hops;
	}
	return 0;
}

inline_ int deliver_to(struct __sk_buff *skb, const struct flow *f, bool at_ingress)
{
	void *data = data_of(skb), *end = end_of(skb);

	if (f->flags & FLOW_FLAG_REWRITE) {
		if (data + ETH > end)
			return TC_ACT_SHOT;
		__builtin_memcpy(data, f->new_dst_mac, 12);
		if (f->hops && lower_ttl_by(skb, f->hops))
			return TC_ACT_SHOT;
	}
	if (f->vlan && bpf_skb_vlan_push(skb, bpf_htons(P_VLAN), f->vlan))
		return TC_ACT_SHOT;
	/* redirect_peer keeps skb->protocol, which is right only if nothing was wrapped around the frame. */
	if (at_ingress && f->flags & FLOW_FLAG_REDIRECT_PEER && !f->vlan)
		return bpf_redirect_peer(f->ifindex, 0);
	return bpf_redirect(f->ifindex, 0);
}
