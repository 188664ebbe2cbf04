/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Doing to a packet what was decided: new MACs, a lower TTL, new addresses and ports, delivery to an interface of
 * this host.
 *
 * Transport checksums are changed by the kernel's helpers, which know the partial ones of packets that are still to
 * be finished or cut up: in these stands the sum of the pseudo header alone. Sums are of words as they stand.
 */
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

/* --- addresses and ports ------------------------------------------------------------------------------ */

#define WITH_PORTS 0x100 /* with a protocol: the ports, or the id of an echo, change too */

inline_ __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Where in a transport header its checksum is; 0 if it has none that we know, as SCTP's is about itself alone. */
inline_ __u32 checksum_at(__u32 protocol, __u32 version)
{
	if (protocol == TCP)
		return 16;
	if (protocol == UDP)
		return 6;
	return protocol == (version == 4 ? ICMP : ICMP6) ? 2 : 0;
}

/* What changes the sum of addresses goes to *sum. */
inline_ int change_ipv4(struct __sk_buff *skb, const struct ends *to, __u32 *sum)
{
	__be32 before[2], after[2] = { to->src.s6_addr32[3], to->dst.s6_addr32[3] };

	if (bpf_skb_load_bytes(skb, ETH + 12, before, 8))
		return -1;
	*sum = bpf_csum_diff(before, 8, after, 8, 0);
	return bpf_skb_store_bytes(skb, ETH + 12, after, 8, 0) || bpf_l3_csum_replace(skb, ETH + 10, 0, *sum, 0);
}

inline_ int change_ipv6(struct __sk_buff *skb, const struct ends *to, __u32 *sum)
{
	struct in6_addr before[2], after[2] = { to->src, to->dst };

	if (bpf_skb_load_bytes(skb, ETH + 8, before, 32))
		return -1;
	*sum = bpf_csum_diff((__be32 *)before, 32, (__be32 *)after, 32, 0);
	return bpf_skb_store_bytes(skb, ETH + 8, after, 32, BPF_F_RECOMPUTE_CSUM);
}

/* A UDP checksum of 0 is none, and stays none. */
inline_ __u64 checksum_flags(__u32 protocol)
{
	return protocol == UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

inline_ int change_ports(struct __sk_buff *skb, const struct ends *to, __u32 l4, __u32 protocol)
{
	__be16 ports[2] = { to->src_port, to->dst_port };
	__u32 at = checksum_at(protocol, 4), before, after;

	__builtin_memcpy(&after, ports, 4);
	if (bpf_skb_load_bytes(skb, l4, &before, 4))
		return -1;
	if (before == after)
		return 0;
	return bpf_l4_csum_replace(skb, l4 + at, before, after, 4 | checksum_flags(protocol)) ||
	       bpf_skb_store_bytes(skb, l4, &after, 4, 0);
}

inline_ int change_id(struct __sk_buff *skb, __be16 after, __u32 l4)
{
	__be16 before;

	if (bpf_skb_load_bytes(skb, l4 + 4, &before, 2))
		return -1;
	if (before == after)
		return 0;
	return bpf_l4_csum_replace(skb, l4 + 2, before, after, 2) || bpf_skb_store_bytes(skb, l4 + 4, &after, 2, 0);
}

/* New addresses, and ports if `what` says so besides the protocol. `l4`: where the transport header begins; 0 where
 * there is none, in later fragments. */
stage_ int change_ends(struct __sk_buff *skb, const struct ends *to, __u32 l4, __u32 what, __u32 version)
{
	__u32 protocol = what & 0xff, at, sum;

	if (!to || (version == 4 ? change_ipv4(skb, to, &sum) : change_ipv6(skb, to, &sum)))
		return -1;
	at = checksum_at(protocol, version);
	if (!l4 || !at)
		return 0;
	if ((version != 4 || protocol != ICMP) &&
	    bpf_l4_csum_replace(skb, l4 + at, 0, sum, BPF_F_PSEUDO_HDR | checksum_flags(protocol)))
		return -1;
	if (!(what & WITH_PORTS))
		return 0;
	return protocol == TCP || protocol == UDP ? change_ports(skb, to, l4, protocol) :
						    change_id(skb, to->src_port, l4);
}

/* Of a packet of the flow cache, whose headers have fixed places. */
inline_ int translate_flow(struct __sk_buff *skb, const struct flow *f)
{
	bool v4 = skb->protocol == bpf_htons(P_IP);
	void *data = data_of(skb), *end = end_of(skb);
	__u8 protocol;

	if (data + ETH + 20 > end)
		return -1;
	protocol = ((__u8 *)data)[v4 ? ETH + 9 : ETH + 6];
	return change_ends(skb, &f->new, v4 ? ETH + 20 : ETH + 40, protocol | WITH_PORTS, v4 ? 4 : 6);
}

/* --- the packet that an ICMP error is about ----------------------------------------------------------- */

struct quote {
	__u32 ip, l4, end; /* where it begins, its transport, and the end of the frame's packet */
	__u32 sum; /* what changes ICMP's own checksum */
};

inline_ int change_sum(struct __sk_buff *skb, struct quote *q, __u32 at, __u32 change, bool may_be_none)
{
	__u16 before, after;

	if (bpf_skb_load_bytes(skb, at, &before, 2))
		return -1;
	if (may_be_none && !before)
		return 0;
	after = ~fold((__u64)(__u16)~before + change);
	if (may_be_none && !after)
		after = 0xffff;
	q->sum = fold((__u64)q->sum + (__u16)~before + after);
	return bpf_skb_store_bytes(skb, at, &after, 2, 0);
}

inline_ int change_quoted_addresses(struct __sk_buff *skb, struct quote *q, const struct tuple_key *to, bool v4)
{
	struct in6_addr before[2] = {}, after[2] = {};
	__u32 at = q->ip + (v4 ? 12 : 8);

	if (v4 ? bpf_skb_load_bytes(skb, at, before, 8) : bpf_skb_load_bytes(skb, at, before, 32))
		return -1;
	after[0].s6_addr32[0] = to->src.s6_addr32[3];
	after[0].s6_addr32[1] = to->dst.s6_addr32[3];
	if (!v4) {
		after[0] = to->src;
		after[1] = to->dst;
	}
	q->sum = fold((__u32)bpf_csum_diff((__be32 *)before, 32, (__be32 *)after, 32, 0));
	return v4 ? bpf_skb_store_bytes(skb, at, after, 8, 0) : bpf_skb_store_bytes(skb, at, after, 32, 0);
}

/* Ports, or the id of an echo; gives what changes a checksum over them. */
inline_ int change_quoted_ports(struct __sk_buff *skb, struct quote *q, const struct tuple_key *to, __u32 *change)
{
	bool ports = to->protocol == TCP || to->protocol == UDP;
	__be16 before[2] = {}, after[2] = { to->src_port, to->dst_port };
	__u32 at = ports ? q->l4 : q->l4 + 4;

	if (bpf_skb_load_bytes(skb, at, before, 4))
		return -1;
	if (!ports)
		after[1] = before[1]; /* the number of an echo */
	*change = fold((__u64)(__u16)~before[0] + (__u16)~before[1] + after[0] + after[1]);
	return bpf_skb_store_bytes(skb, at, after, 4, 0);
}

/* Make the quoted packet that of the tuple w->quoted. The outer addresses are left as they are. */
stage_ int change_quote(struct __sk_buff *skb, struct walk *w)
{
	struct quote q = {};
	__u32 at, ports = 0, change;
	struct tuple_key to;
	bool v4;

	if (!w)
		return -1;
	to = w->quoted;
	v4 = w->packet.version == 4;
	q.ip = w->packet.l4 + 8;
	q.l4 = w->quoted_l4;
	q.end = ETH + w->packet.length;
	if (change_quoted_addresses(skb, &q, &to, v4))
		return -1;
	change = q.sum;
	if (v4 && change_sum(skb, &q, q.ip + 10, change, false))
		return -1;
	at = checksum_at(to.protocol, v4 ? 4 : 6);
	if (at) {
		if (change_quoted_ports(skb, &q, &to, &ports))
			return -1;
		q.sum = fold((__u64)q.sum + ports);
		if (v4 && to.protocol == ICMP)
			change = 0; /* no pseudo header */
		change = fold((__u64)change + ports);
		if (q.end >= q.l4 + at + 2 && change_sum(skb, &q, q.l4 + at, change, to.protocol == UDP))
			return -1;
	}
	return bpf_l4_csum_replace(skb, w->packet.l4 + 2, 0, q.sum, 0);
}

/* What a walk has made of addresses and ports, in the packet itself. */
stage_ int translate(struct __sk_buff *skb, struct walk *w)
{
	struct packet *p;
	struct ends to;
	__u32 what;

	if (!w)
		return -1;
	p = &w->packet;
	what = p->protocol;
	if (p->protocol == TCP || p->protocol == UDP || is_echo_request(p) || is_echo_reply(p))
		what |= WITH_PORTS;
	to.src = p->src;
	to.dst = p->dst;
	to.src_port = p->src_port;
	to.dst_port = p->dst_port;
	if (w->quoted.port && is_icmp_error(p) && change_quote(skb, w))
		return -1;
	return change_ends(skb, &to, p->fragment == FRAGMENT_LATER ? 0 : p->l4, what, p->version);
}

/* --- out ---------------------------------------------------------------------------------------------- */

/* Whether skb->protocol is what the frame says: adjust_room cannot see to that where the frame is not IP. */
inline_ bool is_named_right(struct __sk_buff *skb)
{
	struct ethhdr *eth = data_of(skb);

	return (void *)(eth + 1) <= end_of(skb) && eth->h_proto == skb->protocol;
}

inline_ int deliver_to(struct __sk_buff *skb, const struct flow *f, bool at_ingress)
{
	if (f->flags & FLOW_FLAG_REWRITE) {
		void *data, *end;

		if (f->flags & FLOW_FLAG_TRANSLATE && translate_flow(skb, f))
			return TC_ACT_SHOT;
		data = data_of(skb);
		end = end_of(skb);
		if (data + ETH > end)
			return TC_ACT_SHOT;
		__builtin_memcpy(data, f->new_dst_mac, 12);
		if (f->hops && lower_ttl_by(skb, f->hops))
			return TC_ACT_SHOT;
	}
	if (f->vlan && bpf_skb_vlan_push(skb, bpf_htons(P_VLAN), f->vlan))
		return TC_ACT_SHOT;
	/* redirect_peer keeps skb->protocol; a way through the interface finds it out anew. */
	if (at_ingress && f->flags & FLOW_FLAG_REDIRECT_PEER && !f->vlan && is_named_right(skb))
		return bpf_redirect_peer(f->ifindex, 0);
	return bpf_redirect(f->ifindex, 0);
}
