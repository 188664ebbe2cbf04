/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bytes to `struct packet`: cursors, each of which reads its own header and knows what it needs.
 *
 * All offsets count from the Ethernet header. Numbers are in host order, ports and addresses as on the wire.
 */
#pragma once
#include "addresses.h"

#define ETH 14
#define P_IP 0x0800
#define P_ARP 0x0806
#define P_IPV6 0x86dd
#define P_VLAN 0x8100
#define P_QINQ 0x88a8

#define ICMP 1
#define TCP 6
#define UDP 17
#define ICMP6 58
#define SCTP 132

#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT_HEADER 44
#define DESTINATION_OPTIONS 60
#define MAX_EXTENSIONS 6

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

inline_ bool is_icmp(const struct packet *p)
{
	return p->protocol == (p->version == 4 ? ICMP : p->version == 6 ? ICMP6 : 256);
}

inline_ bool is_echo_request(const struct packet *p)
{
	return is_icmp(p) && p->knows & KNOWS_ICMP && !p->icmp_code && p->icmp_type == (p->version == 4 ? 8 : 128);
}

inline_ bool is_echo_reply(const struct packet *p)
{
	return is_icmp(p) && p->knows & KNOWS_ICMP && !p->icmp_code && p->icmp_type == (p->version == 4 ? 0 : 129);
}

inline_ bool is_icmp_error(const struct packet *p)
{
	__u8 type = p->icmp_type;

	if (!is_icmp(p) || !(p->knows & KNOWS_ICMP))
		return false;
	return p->version == 6 ? type >= 1 && type <= 4 :
				 type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Messages between neighbours, which no group or record is about. */
inline_ bool is_discovery(const struct packet *p)
{
	__u8 type = p->icmp_type;

	return p->version == 6 && p->knows & KNOWS_ICMP &&
	       ((type >= 130 && type <= 137) || type == 143);
}

inline_ bool has_ports(const struct packet *p)
{
	return p->version && (p->protocol == TCP || p->protocol == UDP || p->protocol == SCTP);
}

/* Whether there is a connection that it could belong to. */
inline_ bool has_tuple(const struct packet *p)
{
	if (!p->version || is_multicast(&p->dst, p->version) || is_limited_broadcast(&p->dst, p->version))
		return false;
	return !is_icmp(p) || is_echo_request(p) || is_echo_reply(p);
}

inline_ void tuple_of(struct tuple_key *key, __u32 port, const struct packet *p)
{
	key->port = port;
	key->src = p->src;
	key->dst = p->dst;
	key->src_port = p->src_port;
	key->dst_port = p->dst_port;
	key->protocol = p->protocol;
	key->_1[0] = key->_1[1] = key->_1[2] = 0;
}

inline_ void reverse(struct tuple_key *key)
{
	struct in6_addr src = key->src;
	__be16 port = key->src_port;

	key->src = key->dst;
	key->dst = src;
	key->src_port = key->dst_port;
	key->dst_port = port;
}

/* The IP length of the largest packet that a segment to be cut up becomes. */
inline_ __u16 segment_length(struct __sk_buff *skb, __u16 length, __u16 headers)
{
	__u32 size = skb->gso_size;

	return size && headers + size < length ? headers + size : length;
}

#define BAD(reason) return DROP_##reason

/* --- transport ---------------------------------------------------------------------------------------- */

struct l4 {
	__u16 at, end;
	__u8 more;
};

inline_ int parse_tcp(struct __sk_buff *skb, struct packet *p, const struct l4 *l4)
{
	struct {
		__be16 src, dst;
		__be32 seq, ack;
		__u8 offset, flags;
	} tcp;
	__u16 size = l4->end - l4->at, header;

	if (size < 20 || bpf_skb_load_bytes(skb, l4->at, &tcp, 14))
		BAD(MALFORMED);
	header = (tcp.offset >> 4) * 4;
	if (header < 20 || header > size)
		BAD(MALFORMED);
	p->src_port = tcp.src;
	p->dst_port = tcp.dst;
	p->tcp_flags = tcp.flags;
	p->knows |= KNOWS_TCP;
	p->segment = segment_length(skb, p->length, l4->at - ETH + header);
	return 0;
}

inline_ int parse_udp(struct __sk_buff *skb, struct packet *p, const struct l4 *l4)
{
	struct {
		__be16 src, dst, length, check;
	} udp;
	__u16 size = l4->end - l4->at, length;

	if (size < 8 || bpf_skb_load_bytes(skb, l4->at, &udp, 8))
		BAD(MALFORMED);
	length = bpf_ntohs(udp.length);
	if (length < 8 || (!l4->more && length > size))
		BAD(MALFORMED);
	p->src_port = udp.src;
	p->dst_port = udp.dst;
	p->segment = segment_length(skb, p->length, l4->at - ETH + 8);
	return 0;
}

inline_ int parse_icmp(struct __sk_buff *skb, struct packet *p, const struct l4 *l4)
{
	struct {
		__u8 type, code;
		__be16 check, id, sequence;
	} icmp;

	if (l4->end - l4->at < 8 || bpf_skb_load_bytes(skb, l4->at, &icmp, 8))
		BAD(MALFORMED);
	p->icmp_type = icmp.type;
	p->icmp_code = icmp.code;
	p->knows |= KNOWS_ICMP;
	if (is_echo_request(p) || is_echo_reply(p))
		p->src_port = p->dst_port = icmp.id;
	else
		p->knows &= ~CACHEABLE;
	return 0;
}

/* The transport header of a whole packet or first fragment, which must hold all of that header. */
inline_ int parse_transport(struct __sk_buff *skb, struct packet *p, const struct l4 *l4)
{
	__u16 size = l4->end - l4->at;

	p->l4 = l4->at;
	if (l4->more && (!size || size % 8))
		BAD(MALFORMED);
	if (p->fragment_at) {
		if (!size)
			BAD(MALFORMED);
		return 0;
	}
	if (p->protocol == TCP)
		return parse_tcp(skb, p, l4);
	if (p->protocol == UDP)
		return parse_udp(skb, p, l4);
	if (p->protocol == SCTP) {
		__be16 ports[2];

		if (size < 12 || bpf_skb_load_bytes(skb, l4->at, ports, 4))
			BAD(MALFORMED);
		p->src_port = ports[0];
		p->dst_port = ports[1];
		return 0;
	}
	if (is_icmp(p))
		return parse_icmp(skb, p, l4);
	return 0;
}

/* --- network ------------------------------------------------------------------------------------------ */

struct ipv4 {
	__u8 version, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 check;
	__be32 src, dst;
};

struct ipv6 {
	__be32 word;
	__be16 length;
	__u8 protocol, ttl;
	struct in6_addr src, dst;
};

inline_ void set_fragment(struct packet *p, __u16 at, bool more)
{
	p->fragment_at = at;
	if (!at && !more)
		return;
	p->fragment = at ? FRAGMENT_LATER : FRAGMENT_FIRST;
	p->knows &= ~CACHEABLE;
}

/* 0 over a header whose checksum is right; with a checksum of 0 in it, what that has to be. */
inline_ __u16 ipv4_checksum(const void *ip)
{
	const __u16 *word = ip;
	__u32 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

inline_ bool sums_to_ones(struct __sk_buff *skb, struct walk *w, __u32 size)
{
	__s64 sum;

	if (size < 20 || size > 60 || bpf_skb_load_bytes(skb, ETH, w->header, 20))
		return false;
	for (__u32 at = 20; at < 60 && at < size; at += 4)
		if (bpf_skb_load_bytes(skb, ETH + at, w->header + at, 4))
			return false;
	sum = bpf_csum_diff(0, 0, (__be32 *)w->header, size & 0x3c, 0);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

stage_ int parse_ipv4(struct __sk_buff *skb, struct walk *w)
{
	struct packet *p;
	struct l4 l4 = {};
	struct ipv4 ip;
	__u32 room = skb->len - ETH;
	__u16 header, fragment;

	if (!w)
		BAD(INTERNAL);
	p = &w->packet;
	if (skb->len < ETH + 20 || bpf_skb_load_bytes(skb, ETH, &ip, 20))
		BAD(MALFORMED);
	header = (ip.version & 15) * 4;
	p->length = bpf_ntohs(ip.length);
	if (ip.version >> 4 != 4 || header < 20 || p->length < header || p->length > room)
		BAD(MALFORMED);
	fragment = bpf_ntohs(ip.fragment);
	p->fragment_size = p->length - header;
	if ((fragment & 0x1fff) * 8 + p->fragment_size > 0xffff)
		BAD(MALFORMED);
	p->version = 4;
	p->header = header;
	p->protocol = ip.protocol;
	p->tos = ip.tos;
	p->ttl = ip.ttl;
	p->fragment_id = bpf_htonl(bpf_ntohs(ip.id));
	p->segment = p->length;
	map_v4(&p->src, ip.src);
	map_v4(&p->dst, ip.dst);
	p->knows |= header == 20 ? CACHEABLE : 0;
	set_fragment(p, (fragment & 0x1fff) * 8, fragment & 0x2000);
	if (header == 20 ? ipv4_checksum(&ip) : !sums_to_ones(skb, w, header))
		p->knows |= WRONG_CHECKSUM;
	l4.at = ETH + header;
	l4.end = ETH + p->length;
	l4.more = !!(fragment & 0x2000);
	return parse_transport(skb, p, &l4);
}

/* The extension headers: what stands behind them. */
inline_ int parse_extensions(struct __sk_buff *skb, struct packet *p, struct l4 *l4)
{
	__u32 at = ETH + 40, end = l4->end, fragments = 0;

	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		__u8 type = p->protocol, head[8];
		__u32 size;

		if (type != HOP_BY_HOP && type != ROUTING && type != FRAGMENT_HEADER && type != DESTINATION_OPTIONS)
			break;
		if (i == MAX_EXTENSIONS)
			BAD(UNSUPPORTED);
		if ((type == HOP_BY_HOP && i) || end < at + 8 || bpf_skb_load_bytes(skb, at, head, 8))
			BAD(MALFORMED);
		size = type == FRAGMENT_HEADER ? 8 : (head[1] + 1) * 8;
		if (end < at + size)
			BAD(MALFORMED);
		if (type == ROUTING && !head[2])
			BAD(UNSUPPORTED);
		p->knows &= ~CACHEABLE;
		p->protocol = head[0];
		at += size;
		if (type != FRAGMENT_HEADER)
			continue;
		if (fragments++)
			BAD(MALFORMED);
		__builtin_memcpy(&p->fragment_id, head + 4, 4);
		p->fragment_size = end - at;
		l4->more = head[3] & 1;
		set_fragment(p, head[2] << 8 | (head[3] & 0xf8), l4->more);
		if (p->fragment_at)
			break; /* what follows is the middle of a packet */
	}
	l4->at = at;
	return 0;
}

stage_ int parse_ipv6(struct __sk_buff *skb, struct walk *w)
{
	struct packet *p;
	struct l4 l4 = {};
	struct ipv6 ip;
	__u32 word, length;
	int bad;

	if (!w)
		BAD(INTERNAL);
	p = &w->packet;
	if (skb->len < ETH + 40 || bpf_skb_load_bytes(skb, ETH, &ip, 40))
		BAD(MALFORMED);
	word = bpf_ntohl(ip.word);
	length = bpf_ntohs(ip.length);
	if (word >> 28 != 6 || length > skb->len - ETH - 40)
		BAD(MALFORMED);
	p->version = 6;
	p->protocol = ip.protocol;
	p->length = length + 40 > 0xffff ? 0xffff : length + 40;
	p->segment = p->length;
	p->tos = word >> 20;
	p->ttl = ip.ttl;
	p->src = ip.src;
	p->dst = ip.dst;
	p->knows |= CACHEABLE;
	l4.end = ETH + p->length;
	bad = parse_extensions(skb, p, &l4);
	if (bad)
		return bad;
	if (p->fragment_at + l4.end - l4.at > 0xffff)
		BAD(MALFORMED);
	return parse_transport(skb, p, &l4);
}

/* --- Ethernet ----------------------------------------------------------------------------------------- */

inline_ bool is_tag(__u16 ethertype)
{
	return ethertype == P_VLAN || ethertype == P_QINQ;
}

/* At most two tags. What stands behind one is not looked into. */
inline_ int parse_tags(struct __sk_buff *skb, struct packet *p)
{
	int tags = 0, at = ETH;
	__be16 tag[2];

	if (skb->vlan_present) {
		p->vlan = skb->vlan_tci & 0xfff;
		tags = 1;
	}
	for (int i = 0; i < 2; i++) {
		if (tags == 2 || !is_tag(p->ethertype))
			break;
		if (bpf_skb_load_bytes(skb, at, tag, 4))
			BAD(MALFORMED);
		if (!tags++)
			p->vlan = bpf_ntohs(tag[0]) & 0xfff;
		p->ethertype = bpf_ntohs(tag[1]);
		at += 4;
	}
	if (tags)
		p->knows |= IN_TAG;
	return 0;
}

/* Read the frame into an empty w->packet: 0, or why not. */
stage_ int parse(struct __sk_buff *skb, struct walk *w)
{
	struct {
		__u8 macs[12];
		__be16 ethertype;
	} eth;
	struct packet *p;
	int bad;

	if (!w)
		BAD(INTERNAL);
	p = &w->packet;
	if (bpf_skb_load_bytes(skb, 0, &eth, ETH))
		BAD(MALFORMED);
	copy_macs(p->macs, eth.macs);
	copy_macs(w->near_macs, eth.macs);
	p->ethertype = bpf_ntohs(eth.ethertype);
	bad = parse_tags(skb, p);
	if (bad || p->knows & IN_TAG)
		return bad;
	if (p->ethertype == P_IP)
		return parse_ipv4(skb, w);
	if (p->ethertype == P_IPV6)
		return parse_ipv6(skb, w);
	if (p->ethertype != P_ARP)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH, &w->arp, sizeof(w->arp)) || w->arp.hardware != bpf_htons(1) ||
	    w->arp.protocol != bpf_htons(P_IP) || w->arp.sizes[0] != 6 || w->arp.sizes[1] != 4)
		BAD(MALFORMED);
	p->knows |= IS_ARP;
	return 0;
}

/* --- what ICMP carries -------------------------------------------------------------------------------- */

/* Walk over the extension headers of a quoted packet; gives where its transport begins, or 0. */
inline_ __u32 quoted_transport(struct __sk_buff *skb, __u32 at, __u32 end, __u8 *protocol)
{
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 type = *protocol, head[8];

		if (type != HOP_BY_HOP && type != ROUTING && type != FRAGMENT_HEADER && type != DESTINATION_OPTIONS)
			break;
		if (end < at + 8 || bpf_skb_load_bytes(skb, at, head, 8))
			return 0;
		if (type == FRAGMENT_HEADER && (head[2] || head[3] & 0xf8))
			return 0;
		*protocol = head[0];
		at += type == FRAGMENT_HEADER ? 8 : (head[1] + 1) * 8;
	}
	return at;
}

/* The tuple of the packet that an ICMP error is about, if the error goes to who sent it: into w->quoted. */
stage_ int parse_quote(struct __sk_buff *skb, struct walk *w)
{
	__u32 at, end;
	struct tuple_key *q;
	struct packet *p;
	__u8 first[8];

	if (!w)
		return 0;
	p = &w->packet;
	q = &w->quoted;
	if (p->fragment == FRAGMENT_LATER)
		return 0;
	at = p->l4 + 8;
	end = ETH + p->length;
	if (p->version == 4) {
		struct ipv4 ip;

		if (end < at + 20 || bpf_skb_load_bytes(skb, at, &ip, 20) || ip.version >> 4 != 4 ||
		    (ip.version & 15) < 5 || ip.fragment & bpf_htons(0x1fff))
			return 0;
		map_v4(&q->src, ip.src);
		map_v4(&q->dst, ip.dst);
		q->protocol = ip.protocol;
		at += (ip.version & 15) * 4;
	} else {
		struct ipv6 ip;

		if (end < at + 40 || bpf_skb_load_bytes(skb, at, &ip, 40) || bpf_ntohl(ip.word) >> 28 != 6)
			return 0;
		q->src = ip.src;
		q->dst = ip.dst;
		q->protocol = ip.protocol;
		at = quoted_transport(skb, at + 40, end, &q->protocol);
	}
	if (!at || end < at + 8 || bpf_skb_load_bytes(skb, at, first, 8) || !same_address(&q->src, &p->dst))
		return 0;
	if (q->protocol == TCP || q->protocol == UDP || q->protocol == SCTP) {
		__builtin_memcpy(&q->src_port, first, 4);
	} else if (q->protocol == (p->version == 4 ? ICMP : ICMP6)) {
		__builtin_memcpy(&q->src_port, first + 4, 2);
		q->dst_port = q->src_port;
	}
	w->quoted_l4 = at;
	q->port = 1; /* there is one */
	return 0;
}

#define SOLICITATION 135
#define ADVERTISEMENT 136
#define MAX_OPTIONS 32

/* A neighbour solicitation or advertisement as RFC 4861 (7.1) wants it: into w->nd. */
stage_ int parse_discovery(struct __sk_buff *skb, struct walk *w)
{
	struct discovery *nd;
	__u32 at, end;
	struct packet *p;

	if (!w)
		return 0;
	p = &w->packet;
	nd = &w->nd;
	nd->valid = 0;
	at = p->l4 + 8;
	end = ETH + p->length;
	if (p->ttl != 255 || p->icmp_code || end < at + 16 || bpf_skb_load_bytes(skb, at, &nd->target, 16) ||
	    is_multicast(&nd->target, 6))
		return 0;
	at += 16;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		__u8 option[8];
		__u32 size;

		if (at >= end)
			break;
		if (end < at + 8 || bpf_skb_load_bytes(skb, at, option, 8))
			return 0;
		size = option[1] * 8;
		if (!size || end < at + size)
			return 0;
		if (option[0] == 1) {
			__builtin_memcpy(nd->source_mac, option + 2, 6);
			nd->has_source = 1;
		} else if (option[0] == 2) {
			__builtin_memcpy(nd->target_mac, option + 2, 6);
			nd->has_target = 1;
		}
		at += size;
	}
	nd->type = p->icmp_type;
	nd->valid = at >= end;
	return 0;
}
