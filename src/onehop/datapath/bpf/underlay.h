/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage UNDERLAY: the header between hosts, pushed and popped.
 *
 *    Ethernet | IPv4 or IPv6 | UDP | flags  source port's key | VNI  tunnel flags | frame
 *       14         20 / 40      8      1           3             3        1
 *
 * The VNI is the key of the port that it is for, or of a network with FLOOD. The kernel finds the next hop.
 */
#pragma once
#include <linux/if_ether.h>
#include "rewrite.h"

struct tunnel {
	__be16 src, dst, length, check;
	__be32 source; /* 0x08, then the key */
	__be32 target; /* the key, then the flags */
} __attribute__((packed));

struct outer4 {
	__u8 macs[12];
	__be16 ethertype;
	struct ipv4 ip;
	struct tunnel tunnel;
	__u8 inner[ETH];
} __attribute__((packed));

struct outer6 {
	__u8 macs[12];
	__be16 ethertype;
	struct ipv6 ip;
	struct tunnel tunnel;
	__u8 inner[ETH];
} __attribute__((packed));

#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* newer than the headers of Debian 12 */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

#define ROOM4 (sizeof(struct outer4) - ETH)
#define ROOM6 (sizeof(struct outer6) - ETH)

/* --- out ---------------------------------------------------------------------------------------------- */

/* adjust_room and redirect_neigh want skb->protocol to be IP's. For a frame that is something else, or has a
 * VLAN tag in its metadata, make it so: popping a tag in the payload sets it to what stands behind the tag. */
inline_ int disguise(struct __sk_buff *skb)
{
	__be16 ip = bpf_htons(P_IP);

	return bpf_skb_vlan_push(skb, bpf_htons(P_VLAN), 1) || bpf_skb_vlan_push(skb, bpf_htons(P_VLAN), 2) ||
	       bpf_skb_store_bytes(skb, 16, &ip, 2, 0) || bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb);
}

inline_ void fill_tunnel(struct tunnel *t, const struct flow *f, __u32 hash, __u32 length)
{
	t->src = bpf_htons(49152 + (hash & 16383));
	t->dst = bpf_htons(udp_port);
	t->length = bpf_htons(length);
	t->check = 0;
	t->source = bpf_htonl(0x08000000 | f->source);
	t->target = bpf_htonl(f->target << 8 | f->tunnel);
}

#define ENCAP (BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO | \
	       BPF_F_ADJ_ROOM_ENCAP_L2(14)) /* 14: a larger one breaks segmentation */

inline_ int make_room(struct __sk_buff *skb, __u32 room, __u64 l3)
{
	return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, l3 | ENCAP);
}

inline_ int encap4(struct __sk_buff *skb, const struct flow *f, const struct host *host, const __u8 *inner, __u32 hash)
{
	__u32 length = skb->len;
	struct outer4 *o;

	if (make_room(skb, ROOM4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4))
		return -1;
	o = data_of(skb);
	if ((void *)(o + 1) > end_of(skb))
		return -1;
	__builtin_memset(o, 0, 12);
	o->ethertype = bpf_htons(P_IP);
	o->ip.version = 0x45;
	o->ip.tos = 0;
	o->ip.length = bpf_htons(length + ROOM4 - ETH);
	o->ip.id = 0;
	o->ip.fragment = bpf_htons(0x4000);
	o->ip.ttl = 64;
	o->ip.protocol = UDP;
	o->ip.check = 0;
	o->ip.src = host->local.s6_addr32[3];
	o->ip.dst = host->address.s6_addr32[3];
	o->ip.check = ipv4_checksum(&o->ip);
	fill_tunnel(&o->tunnel, f, hash, length + sizeof(struct tunnel));
	__builtin_memcpy(o->inner, inner, ETH);
	return 0;
}

inline_ int encap6(struct __sk_buff *skb, const struct flow *f, const struct host *host, const __u8 *inner, __u32 hash)
{
	__u32 length = skb->len;
	struct outer6 *o;

	if (make_room(skb, ROOM6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6))
		return -1;
	o = data_of(skb);
	if ((void *)(o + 1) > end_of(skb))
		return -1;
	__builtin_memset(o, 0, 12);
	o->ethertype = bpf_htons(P_IPV6);
	o->ip.word = bpf_htonl(0x60000000);
	o->ip.length = bpf_htons(length + sizeof(struct tunnel));
	o->ip.protocol = UDP;
	o->ip.ttl = 64;
	o->ip.src = host->local;
	o->ip.dst = host->address;
	fill_tunnel(&o->tunnel, f, hash, length + sizeof(struct tunnel));
	__builtin_memcpy(o->inner, inner, ETH);
	return 0;
}

/* Send a frame to f->host, rewritten on the way. */
inline_ int send_to(struct __sk_buff *skb, const struct flow *f)
{
	__u32 id = f->host, hash = bpf_get_hash_recalc(skb);
	struct host *host = bpf_map_lookup_elem(&hosts, &id);
	void *data, *end;
	__u8 inner[ETH];

	if (f->flags & FLOW_FLAG_TRANSLATE && translate_flow(skb, f))
		return TC_ACT_SHOT;
	data = data_of(skb);
	end = end_of(skb);
	if (!host || !host->ifindex || data + ETH > end)
		return TC_ACT_SHOT;
	__builtin_memcpy(inner, data, ETH);
	if (f->flags & FLOW_FLAG_REWRITE) {
		__builtin_memcpy(inner, f->new_dst_mac, 12);
		if (f->hops && lower_ttl_by(skb, f->hops))
			return TC_ACT_SHOT;
	}
	if (skb->vlan_present)
		__builtin_memcpy(inner + 12, &(__be16){ skb->vlan_proto }, 2);
	if (skb->vlan_present || (skb->protocol != bpf_htons(P_IP) && skb->protocol != bpf_htons(P_IPV6)))
		if (disguise(skb))
			return TC_ACT_SHOT;
	if (is_mapped(&host->address) ? encap4(skb, f, host, inner, hash) : encap6(skb, f, host, inner, hash))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(host->ifindex, 0, 0, 0);
}

/* --- in ----------------------------------------------------------------------------------------------- */

/* What the outer headers say. */
struct arrival {
	struct in6_addr from, to;
	__u32 target, source;
	__u8 flags, version, bad;
	__u8 to_router, from_outside; /* once they are believed: what target and source are */
};

inline_ bool is_tunnel(const struct tunnel *t)
{
	return t->dst == bpf_htons(udp_port);
}

#define KNOWN_FLAGS (TUNNEL_FLAG_LEARN | TUNNEL_FLAG_RETURN | TUNNEL_FLAG_ASK | TUNNEL_FLAG_FLOOD | \
		     TUNNEL_FLAG_FORWARDED)

inline_ void read_keys(struct arrival *a, const struct tunnel *t)
{
	a->bad = bpf_ntohl(t->source) >> 24 != 0x08 || bpf_ntohl(t->target) & 0xff & ~KNOWN_FLAGS;
	a->source = bpf_ntohl(t->source) & 0xffffff;
	a->target = bpf_ntohl(t->target) >> 8;
	a->flags = bpf_ntohl(t->target) & 0xff;
}

/* Whether a frame from the underlay is one of ours. */
inline_ bool read_outer(struct __sk_buff *skb, struct arrival *a)
{
	void *data = data_of(skb), *end = end_of(skb);
	struct outer4 *o4 = data;
	struct outer6 *o6 = data;

	if (data + sizeof(*o4) > end)
		return false;
	if (o4->ethertype == bpf_htons(P_IP)) {
		if (o4->ip.version != 0x45 || o4->ip.protocol != UDP || o4->ip.fragment & bpf_htons(0x3fff) ||
		    !is_tunnel(&o4->tunnel))
			return false;
		map_v4(&a->from, o4->ip.src);
		map_v4(&a->to, o4->ip.dst);
		read_keys(a, &o4->tunnel);
		a->version = 4;
		return true;
	}
	if (o4->ethertype != bpf_htons(P_IPV6) || data + sizeof(*o6) > end)
		return false;
	if (o6->ip.protocol != UDP || !is_tunnel(&o6->tunnel))
		return false;
	a->from = o6->ip.src;
	a->to = o6->ip.dst;
	read_keys(a, &o6->tunnel);
	a->version = 6;
	return true;
}

/* Take off the outer headers. */
inline_ int decap(struct __sk_buff *skb, const struct arrival *a)
{
	__u32 room = a->version == 4 ? ROOM4 : ROOM6;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	void *data = data_of(skb);
	__u8 inner[ETH];
	__be16 type;

	if (data + room + ETH > end_of(skb))
		return -1;
	__builtin_memcpy(inner, data + room, ETH);
	__builtin_memcpy(&type, inner + 12, 2);
	/* What is not IP passes for IPv4, of which it may be as short as 20 bytes. */
	if (decap_l3)
		flags |= type == bpf_htons(P_IPV6) ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, -(__s32)room, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	data = data_of(skb);
	if (data + ETH > end_of(skb))
		return -1;
	__builtin_memcpy(data, inner, ETH);
	return 0;
}
