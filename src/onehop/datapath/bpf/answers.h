/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Turning a packet into the answer to it, for the port that sent it. */
#pragma once
#include "flows.h"

#define QUOTED4 548
#define QUOTED6 1232
#define MAX_QUOTE 1280

struct scratch {
	__u8 bytes[MAX_QUOTE + 256];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

inline_ void turn_macs(__u8 *to, const struct walk *w)
{
	__builtin_memcpy(to, w->near_macs + 6, 6);
	__builtin_memcpy(to + 6, w->near_macs, 6);
}

/* --- neighbours --------------------------------------------------------------------------------------- */

/* On the stack, nothing may stand unaligned, so the Ethernet header is written by itself. */
struct ethernet {
	__u8 dst[6], src[6];
	__be16 type;
};

stage_ int answer_arp(struct __sk_buff *skb, struct walk *w)
{
	struct ethernet eth = { .type = bpf_htons(P_ARP) };
	__be16 operation = bpf_htons(2);

	if (!w || (skb->len != ETH + sizeof(struct arp) && bpf_skb_change_tail(skb, ETH + sizeof(struct arp), 0)))
		return -1;
	__builtin_memcpy(eth.dst, w->packet.src_mac, 6);
	__builtin_memcpy(eth.src, w->answer_mac, 6);
	return bpf_skb_store_bytes(skb, 0, &eth, ETH, 0) || bpf_skb_store_bytes(skb, ETH + 6, &operation, 2, 0) ||
	       bpf_skb_store_bytes(skb, ETH + 8, w->answer_mac, 6, 0) ||
	       bpf_skb_store_bytes(skb, ETH + 14, &w->arp.target_ip, 4, 0) ||
	       bpf_skb_store_bytes(skb, ETH + 18, w->arp.sender_mac, 10, 0);
}

struct advertisement {
	__u8 icmp_type, code;
	__u16 check;
	__u8 flags, reserved[3];
	struct in6_addr target;
	__u8 option[2], mac[6];
};

/* The sum of an IPv6 pseudo header, and of what follows the header. */
inline_ __u16 checksum6(const struct ipv6 *ip, __u64 sum, __u32 length)
{
	for (int i = 0; i < 4; i++)
		sum += (__u64)ip->src.s6_addr32[i] + ip->dst.s6_addr32[i];
	sum += bpf_htonl(length) + (__u64)bpf_htonl(ICMP6);
	return ~fold(sum);
}

stage_ int answer_nd(struct __sk_buff *skb, struct walk *w)
{
	static const __u8 all_nodes[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct advertisement a = { .icmp_type = ADVERTISEMENT };
	struct ethernet eth = { .type = bpf_htons(P_IPV6) };
	struct ipv6 ip = { .word = bpf_htonl(0x60000000), .protocol = ICMP6, .ttl = 255 };
	__u32 size = ETH + sizeof(ip) + sizeof(a);
	bool solicited;

	if (!w || (skb->len != size && bpf_skb_change_tail(skb, size, 0)))
		return -1;
	solicited = !is_any(&w->packet.src);
	__builtin_memcpy(eth.dst, solicited ? w->packet.src_mac : all_nodes, 6);
	__builtin_memcpy(eth.src, w->answer_mac, 6);
	ip.length = bpf_htons(sizeof(a));
	ip.src = w->nd.target;
	ip.dst = w->packet.src;
	if (!solicited) {
		ip.dst.s6_addr32[0] = bpf_htonl(0xff020000);
		ip.dst.s6_addr32[3] = bpf_htonl(1);
	}
	a.flags = (w->answer_flags & NEIGHBOUR_FLAG_ROUTER ? 0x80 : 0) | (solicited ? 0x40 : 0) | 0x20;
	a.target = w->nd.target;
	a.option[0] = 2;
	a.option[1] = 1;
	__builtin_memcpy(a.mac, w->answer_mac, 6);
	a.check = checksum6(&ip, bpf_csum_diff(0, 0, (__be32 *)&a, sizeof(a), 0), sizeof(a));
	return bpf_skb_store_bytes(skb, 0, &eth, ETH, 0) || bpf_skb_store_bytes(skb, ETH, &ip, sizeof(ip), 0) ||
	       bpf_skb_store_bytes(skb, ETH + sizeof(ip), &a, sizeof(a), 0);
}

/* --- echo --------------------------------------------------------------------------------------------- */

inline_ __u16 changed(__u16 check, __u16 before, __u16 after)
{
	__u32 sum = (__u16)~check + (__u16)~before + after;

	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

/* The request turned around: addresses changed over, the type changed, TTL 64, and nothing else. */
stage_ int answer_echo(struct __sk_buff *skb, struct walk *w)
{
	__u8 macs[12], type;
	__u16 check;
	__u32 l4;

	if (!w)
		return -1;
	l4 = w->packet.l4;
	turn_macs(macs, w);
	type = w->packet.version == 4 ? 0 : 129;
	if (bpf_skb_store_bytes(skb, 0, macs, 12, 0) || bpf_skb_load_bytes(skb, l4 + 2, &check, 2))
		return -1;
	check = changed(check, bpf_htons(w->packet.icmp_type << 8), bpf_htons(type << 8));
	if (bpf_skb_store_bytes(skb, l4, &type, 1, BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, l4 + 2, &check, 2, BPF_F_RECOMPUTE_CSUM))
		return -1;
	if (w->packet.version == 4) {
		struct ipv4 ip;
		__be32 src;

		if (bpf_skb_load_bytes(skb, ETH, &ip, sizeof(ip)))
			return -1;
		src = ip.src;
		ip.src = ip.dst;
		ip.dst = src;
		ip.check = changed(ip.check, bpf_htons(ip.ttl << 8 | ip.protocol), bpf_htons(64 << 8 | ip.protocol));
		ip.ttl = 64;
		return bpf_skb_store_bytes(skb, ETH, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	} else {
		struct ipv6 ip;
		struct in6_addr src;

		if (bpf_skb_load_bytes(skb, ETH, &ip, sizeof(ip)))
			return -1;
		src = ip.src;
		ip.src = ip.dst;
		ip.dst = src;
		ip.ttl = 64;
		return bpf_skb_store_bytes(skb, ETH, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
}

/* --- ICMP errors -------------------------------------------------------------------------------------- */

struct icmp_error {
	__u8 type, code;
	__u16 check;
	__be32 mtu;
};

struct summed {
	struct scratch *scratch;
	__u64 sum;
	__u32 size;
};

/* 128 bytes at a time; what lies beyond the quote has been zeroed. */
static int sum_piece(__u32 i, struct summed *s)
{
	__u32 at = i * 128;

	if (at >= s->size || at > MAX_QUOTE)
		return 1;
	s->sum += bpf_csum_diff(0, 0, (__be32 *)(s->scratch->bytes + at), 128, 0) & 0xffffffff;
	return 0;
}

/* The sum of the first `size` bytes of the packet's IP part; negative if they are not there. */
stage_ __u64 sum_quote(struct __sk_buff *skb, __u32 size)
{
	struct summed s = { .size = size };
	__u32 zero = 0;

	s.scratch = bpf_map_lookup_elem(&scratches, &zero);
	if (!s.scratch || !size || size > QUOTED6)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH, s.scratch->bytes, size))
		return 0;
	__builtin_memset(s.scratch->bytes + size, 0, 128);
	bpf_loop(MAX_QUOTE / 128, sum_piece, &s, 0);
	return s.sum;
}

inline_ int push_error4(struct __sk_buff *skb, struct walk *w, __u64 quoted, __u32 size)
{
	struct ethernet eth = { .type = bpf_htons(P_IP) };
	struct icmp_error icmp = { .type = w->error_type, .code = w->error_code, .mtu = bpf_htonl(w->error_mtu) };
	struct ipv4 ip = { .version = 0x45, .ttl = 64, .protocol = ICMP };

	if (bpf_skb_adjust_room(skb, 28, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	turn_macs(eth.dst, w);
	ip.length = bpf_htons(28 + size);
	ip.src = w->answer_src.s6_addr32[3];
	ip.dst = w->packet.src.s6_addr32[3];
	ip.check = ipv4_checksum(&ip);
	icmp.check = ~fold(quoted + (*(__u32 *)&icmp & 0xffff) + icmp.mtu);
	return bpf_skb_store_bytes(skb, 0, &eth, ETH, 0) || bpf_skb_store_bytes(skb, ETH, &ip, sizeof(ip), 0) ||
	       bpf_skb_store_bytes(skb, ETH + sizeof(ip), &icmp, sizeof(icmp), 0);
}

inline_ int push_error6(struct __sk_buff *skb, struct walk *w, __u64 quoted, __u32 size)
{
	struct ethernet eth = { .type = bpf_htons(P_IPV6) };
	struct icmp_error icmp = { .type = w->error_type, .code = w->error_code, .mtu = bpf_htonl(w->error_mtu) };
	struct ipv6 ip = { .word = bpf_htonl(0x60000000), .ttl = 64, .protocol = ICMP6 };

	if (bpf_skb_adjust_room(skb, 48, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	turn_macs(eth.dst, w);
	ip.length = bpf_htons(8 + size);
	ip.src = w->answer_src;
	ip.dst = w->packet.src;
	icmp.check = checksum6(&ip, quoted + (*(__u32 *)&icmp & 0xffff) + icmp.mtu, 8 + size);
	return bpf_skb_store_bytes(skb, 0, &eth, ETH, 0) || bpf_skb_store_bytes(skb, ETH, &ip, sizeof(ip), 0) ||
	       bpf_skb_store_bytes(skb, ETH + sizeof(ip), &icmp, sizeof(icmp), 0);
}

stage_ int answer_error(struct __sk_buff *skb, struct walk *w)
{
	__u32 size, most;
	__u64 quoted;

	if (!w)
		return -1;
	most = w->packet.version == 4 ? QUOTED4 : QUOTED6;
	size = w->packet.length < most ? w->packet.length : most;
	if (skb->len != ETH + size && bpf_skb_change_tail(skb, ETH + size, 0))
		return -1;
	quoted = sum_quote(skb, size);
	return w->packet.version == 4 ? push_error4(skb, w, quoted, size) : push_error6(skb, w, quoted, size);
}

stage_ int build_answer(struct __sk_buff *skb, struct walk *w)
{
	if (!w)
		return -1;
	restore(w); /* it is about what was sent */
	switch (w->answer) {
	case ANSWER_ARP:
		return answer_arp(skb, w);
	case ANSWER_ND:
		return answer_nd(skb, w);
	case ANSWER_ECHO:
		return answer_echo(skb, w);
	case ANSWER_ERROR:
		return answer_error(skb, w);
	}
	return -1;
}
