/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow cache: what has been decided, for the plainest packets.
 *
 * Only packets that can be read at fixed offsets are looked up: IPv4 without options, IPv6 without extension
 * headers, no fragments, no tags. Everything that the walk would refuse for its form is left to the walk.
 * An entry holds for FLOW_LIFE, while the epochs of its zones last, for its MACs, and for packets that fit.
 */
#pragma once
#include "connections.h"
#include "underlay.h"

/* What is checked against the entry, besides the key. */
struct glance {
	__u32 macs[3];
	__u16 length; /* of the largest segment's IP packet */
	__u8 ttl, tcp_flags;
	__u8 is_tcp, dscp;
};

inline_ bool glance_transport(struct __sk_buff *skb, struct flow_key *key, struct glance *g, void *l4, void *end,
			      __u16 length, __u16 header)
{
	__u16 size = length - header;

	if (key->protocol == TCP) {
		__u8 *tcp = l4;
		__u16 own;

		if (l4 + 20 > end)
			return false;
		own = (tcp[12] >> 4) * 4;
		if (own < 20 || own > size)
			return false;
		__builtin_memcpy(&key->src_port, l4, 4);
		g->tcp_flags = tcp[13];
		g->is_tcp = 1;
		g->length = segment_length(skb, length, header + own);
		return true;
	}
	if (key->protocol == UDP) {
		__be16 *udp = l4;

		if (size < 8 || l4 + 8 > end || bpf_ntohs(udp[2]) < 8 || bpf_ntohs(udp[2]) > size)
			return false;
		__builtin_memcpy(&key->src_port, l4, 4);
		g->length = segment_length(skb, length, header + 8);
		return true;
	}
	if (key->protocol == (key->version == 4 ? ICMP : ICMP6)) {
		__u8 *icmp = l4, request = key->version == 4 ? 8 : 128, answer = key->version == 4 ? 0 : 129;

		if (size < 8 || l4 + 8 > end || icmp[1] || (icmp[0] != request && icmp[0] != answer))
			return false;
		__builtin_memcpy(&key->src_port, l4 + 4, 2);
		key->dst_port = key->src_port;
		key->icmp_type = icmp[0];
	}
	return key->protocol != SCTP;
}

inline_ bool glance_ipv4(struct __sk_buff *skb, struct flow_key *key, struct glance *g, void *data, void *end)
{
	struct ipv4 *ip = data + ETH;
	__u16 length;

	if ((void *)(ip + 1) > end || ip->version != 0x45 || ip->fragment & bpf_htons(0x3fff))
		return false;
	length = bpf_ntohs(ip->length);
	if (length < 20 || length > skb->len - ETH || ipv4_checksum(ip))
		return false;
	map_v4(&key->src, ip->src);
	map_v4(&key->dst, ip->dst);
	key->version = 4;
	key->protocol = ip->protocol;
	g->dscp = ip->tos >> 2;
	g->ttl = ip->ttl;
	g->length = length;
	return glance_transport(skb, key, g, ip + 1, end, length, 20);
}

inline_ bool is_extension(__u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT_HEADER ||
	       protocol == DESTINATION_OPTIONS;
}

inline_ bool glance_ipv6(struct __sk_buff *skb, struct flow_key *key, struct glance *g, void *data, void *end)
{
	struct ipv6 *ip = data + ETH;
	__u32 word, length;

	if ((void *)(ip + 1) > end)
		return false;
	word = bpf_ntohl(ip->word);
	length = bpf_ntohs(ip->length) + 40;
	if (word >> 28 != 6 || length > skb->len - ETH || length > 0xffff || is_extension(ip->protocol))
		return false;
	key->src = ip->src;
	key->dst = ip->dst;
	key->version = 6;
	key->protocol = ip->protocol;
	g->dscp = (__u8)(word >> 20) >> 2;
	g->ttl = ip->ttl;
	g->length = length;
	return glance_transport(skb, key, g, ip + 1, end, length, 40);
}

#define HEADERS4 (ETH + 20 + 20)
#define HEADERS6 (ETH + 40 + 20)

inline_ int pull_headers(struct __sk_buff *skb, __u32 size)
{
	__u64 linear = end_of(skb) - data_of(skb);

	if (linear >= size || linear >= skb->len)
		return 0;
	return bpf_skb_pull_data(skb, skb->len < size ? skb->len : size);
}

/* Read what can be looked up; false for all else. `key` is all zeros but for its place.
 * No more is pulled than is read: behind a TCP header a machine's frame is not linear, and pulling would copy it. */
inline_ bool glance(struct __sk_buff *skb, struct flow_key *key, struct glance *g)
{
	void *data, *end;
	struct ethhdr *eth;

	if (skb->vlan_present || pull_headers(skb, HEADERS4) ||
	    (skb->protocol == bpf_htons(P_IPV6) && pull_headers(skb, HEADERS6)))
		return false;
	data = data_of(skb);
	end = end_of(skb);
	eth = data;
	if (data + ETH > end)
		return false;
	__builtin_memcpy(g->macs, data, 12);
	if (eth->h_proto == bpf_htons(P_IP))
		return glance_ipv4(skb, key, g, data, end);
	if (eth->h_proto == bpf_htons(P_IPV6))
		return glance_ipv6(skb, key, g, data, end);
	return false;
}

/* A SYN, and what is no TCP segment at all, are for the walk. */
inline_ bool is_for_walk(const struct glance *g)
{
	return g->is_tcp && (g->tcp_flags & TCP_SYN || !(g->tcp_flags & (TCP_ACK | TCP_RST | TCP_FIN)));
}

inline_ bool is_valid(const struct flow *f, const struct glance *g)
{
	const __u32 *macs = (const __u32 *)f->dst_mac;

	if ((macs[0] ^ g->macs[0]) | (macs[1] ^ g->macs[1]) | (macs[2] ^ g->macs[2]))
		return false;
	if (g->dscp != f->dscp || g->length > f->mtu || (f->hops && g->ttl <= f->hops) || now() - f->made > FLOW_LIFE)
		return false;
	for (int i = 0; i < MAX_ZONES; i++) {
		__u32 zone = f->crossed[i].zone, *epoch;

		if (i >= f->zones)
			break;
		epoch = bpf_map_lookup_elem(&epochs, &zone);
		if (!epoch || *epoch != f->crossed[i].epoch)
			return false;
	}
	return true;
}

/* A FIN or RST of a cached flow: its record is closing. */
inline_ void note_end(const struct flow_key *flow, const struct flow *f)
{
	struct tuple_key key = {};
	struct record *record;

	key.src = flow->src;
	key.dst = flow->dst;
	key.src_port = flow->src_port;
	key.dst_port = flow->dst_port;
	key.protocol = flow->protocol;
	key.port = f->source;
	if (f->kind == FLOW_KIND_OWN && f->flags & FLOW_FLAG_TRANSLATE)
		key_of(&key, f->source, &f->new, flow->protocol);
	if (f->kind == FLOW_KIND_REPLY) {
		reverse(&key);
		key.port = f->target;
	} else if (f->kind != FLOW_KIND_OWN) {
		return;
	}
	record = bpf_map_lookup_elem(&records, &key);
	if (record) {
		record->life = LIFE_CLOSING;
		record->used = now();
	}
}

/* The entry of a packet, if it may go by it. */
inline_ struct flow *find_flow(struct __sk_buff *skb, struct flow_key *key, struct glance *g)
{
	struct flow *f;

	if (!glance(skb, key, g) || is_for_walk(g))
		return 0;
	f = bpf_map_lookup_elem(&flows, key);
	if (!f || !is_valid(f, g))
		return 0;
	if (g->is_tcp && g->tcp_flags & (TCP_FIN | TCP_RST))
		note_end(key, f);
	return f;
}

/* --- writing ------------------------------------------------------------------------------------------ */

inline_ void fill_flow(struct walk *w, struct flow *f)
{
	for (int i = 0; i < MAX_ZONES; i++)
		f->crossed[i] = w->crossed[i];
	f->zones = w->zones;
	f->kind = w->kept ? w->kept : FLOW_KIND_FREE;
	f->hops = w->hops;
	f->tunnel = w->tunnel;
	f->mtu = w->mtu;
	f->vlan = w->out.vlan;
	copy_macs(f->dst_mac, w->near_macs);
	copy_macs(f->new_dst_mac, w->packet.macs);
	f->target = w->target;
	f->source = w->origin;
	f->host = w->host;
	f->ifindex = w->out.ifindex;
	f->flags = (w->out.host == THIS_HOST ? FLOW_FLAG_LOCAL : 0) |
		   (w->out.flags & PORT_FLAG_REDIRECT_PEER ? FLOW_FLAG_REDIRECT_PEER : 0) |
		   (w->hops || __builtin_memcmp(w->near_macs, w->packet.macs, 12) ? FLOW_FLAG_REWRITE : 0);
	f->dscp = w->packet.tos >> 2;
	f->made = now();
	if (!w->translated)
		return;
	f->flags |= FLOW_FLAG_REWRITE | FLOW_FLAG_TRANSLATE;
	ends_of(&f->new, &w->packet);
}

inline_ void keep_flow(struct walk *w, const struct flow *f, __u32 place)
{
	struct packet *p = &w->packet;
	struct flow_key key = { .place = place, .protocol = p->protocol, .version = p->version };

	if (w->no_cache || !(p->knows & CACHEABLE) || w->related)
		return;
	if (!w->kept && p->knows & KNOWS_TCP && p->tcp_flags & TCP_SYN)
		return; /* it is nobody's reply, and what follows it may be */
	key.src = p->src;
	key.dst = p->dst;
	key.src_port = p->src_port;
	key.dst_port = p->dst_port;
	if (w->translated) {
		key.src = w->original.src;
		key.dst = w->original.dst;
		key.src_port = w->original.src_port;
		key.dst_port = w->original.dst_port;
	}
	if (is_icmp(p))
		key.icmp_type = p->icmp_type;
	bpf_map_update_elem(&flows, &key, f, BPF_ANY);
}
