/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A walk while it is under way: where the packet is, what it is by now, and how it ends.
 *
 * It lives in a per-CPU map, since a stack of 512 bytes would not hold it. A stage returns GO, or how the walk
 * ends. What a security group or ACL *refuses* may go on, if it can be a reply, to find whom to ask.
 */
#pragma once
#include "maps.h"

enum ending {
	GO = 0,
	DROPPED,
	ANSWERED, /* `answer` goes back to the origin */
	LEFT, /* to the slow path */
	SPREAD, /* to all members of `target`, a network */
	REACHED, /* `out` is where it leaves the virtual network */
	OUTPUT, /* to `target`, a port, as it is */
	PROBE, /* nowhere yet: whether the connection would still pass is to be asked first */
	REPLY, /* nowhere yet: it belongs to a connection that the port has opened, or answers one from outside */
};

enum answer {
	ANSWER_NONE = 0,
	ANSWER_ARP,
	ANSWER_ND,
	ANSWER_ECHO,
	ANSWER_ERROR,
};

/* What is known of a packet beyond its fields. */
#define KNOWS_ICMP 1 /* icmp_type and icmp_code */
#define KNOWS_TCP 2 /* tcp_flags */
#define IS_ARP 4
#define CACHEABLE 8 /* the flow cache can hold it */
#define IN_TAG 16 /* a VLAN tag stands before it */
#define WRONG_CHECKSUM 32 /* of the IPv4 header */

/* A packet as rules see it. Echoes have their id in both ports; addresses mean something if version is not 0. */
struct packet {
	struct in6_addr src, dst;
	union {
		struct {
			__u8 dst_mac[6], src_mac[6];
		};
		__u8 macs[12];
	};
	__be16 src_port, dst_port;
	__u16 ethertype, vlan;
	__u16 length; /* of the IP packet */
	__u16 l4; /* where the transport header begins in the frame */
	__u16 fragment_at, fragment_size;
	__be32 fragment_id;
	__u8 version, protocol, icmp_type, icmp_code;
	__u8 tos, ttl, tcp_flags, knows;
	__u8 fragment; /* enum fragment, or 0 for a whole packet */
	__u8 header; /* size of the IPv4 header */
	__u16 segment; /* IP length of the largest segment */
};

/* A device on the way. */
struct visit {
	__u32 in_port, out_port;
	__u32 in_acls, out_acls; /* of the ports: lists back */
	__u32 device_in, device_forward, device_out; /* lists of the device */
	__u8 is_router, left;
	__u8 macs_in[12], macs_out[12]; /* destination, source */
	__u16 mtu;
	__u8 changed; /* CHANGED_*: what the router has translated, */
	struct ends before_dst, before_src; /* and what the packet was before */
};

#define CHANGED_DST 1
#define CHANGED_SRC 2

struct arp {
	__be16 hardware, protocol;
	__u8 sizes[2];
	__be16 operation;
	__u8 sender_mac[6];
	__be32 sender_ip;
	__u8 target_mac[6];
	__be32 target_ip;
} __attribute__((packed));

/* A neighbour solicitation or advertisement. */
struct discovery {
	struct in6_addr target;
	__u8 source_mac[6], target_mac[6];
	__u8 has_source, has_target, type, valid;
};

struct call {
	__u32 at, end;
};

struct walk {
	struct packet packet; /* as it is by now */
	struct packet judged; /* as rules judge it, where that is another */
	struct tuple_key key; /* of the record that it belongs to */
	struct tuple_key quoted; /* of the packet that an ICMP error is about; port 0 if it says too little */
	struct ends original; /* of the packet as it came, where it has been `translated` */
	struct arp arp;
	struct discovery nd;
	__u8 near_macs[12]; /* as sent: destination, source */
	__u32 origin, owner; /* the port that sent it, and the one whose connection it is */
	struct port in, out; /* of the device that it is in */
	__u32 in_key, out_key;
	__u32 depth, hops;
	__u32 target;
	__u32 place_in, place_out; /* for rules */
	__u32 quota; /* of the origin */
	__u32 host; /* that the packet came from, or goes to */
	__u32 missing; /* a port that is in no table */

	/* what it belongs to */
	struct record record;
	__u8 has_record, related, probe, stateful;
	__u8 may_reply, has_tuple, has_lists, no_cache;
	__u8 kept; /* enum flow_kind */
	__u8 tunnel; /* enum tunnel_flag that it travels with */
	__u8 connected;
	__u8 gives_up; /* enum drop: of a packet that waited for the agent, why it waits no longer */
	__u8 unpaired; /* the origin's MAC is its own, and not to be learned */
	__u8 translated; /* addresses or ports are no longer the original ones */
	__u8 dynamic; /* a shared address has been given on this walk */
	__u8 late; /* it was hard to find */
	__u32 router; /* whose uplink it came by */
	__u32 hint; /* who else could have opened what it may answer */
	__u8 chooses; /* only to know where it goes: nothing is judged */
	__u16 quoted_l4; /* where the transport header of the quoted packet begins */

	/* how it ends */
	__u8 drop, stage, refused, refused_stage;
	__u8 answer, error_type, error_code;
	__u32 rule, refused_rule;
	__u32 error_mtu;
	struct in6_addr answer_src; /* of an ICMP error */
	__u8 answer_mac[6], answer_flags;

	struct in6_addr next_hop;
	__u8 has_next_hop, new_ttl;
	__u16 mtu; /* largest IP packet that fits everywhere */

	__u32 zones;
	struct crossing crossed[MAX_ZONES];

	__u8 kept_from_here[0]; /* what stands below is never reset, and written before it is read */
	__u8 header[64];
	struct call calls[MAX_JUMPS];
	__u8 router_at[MAX_DEVICES]; /* which visit the nth router is */
	struct visit visits[MAX_DEVICES];
};

/* 0: the packet at hand, 1: the question whether a connection would still pass. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct walk);
} walks SEC(".maps");

inline_ struct walk *walk_at(__u32 index)
{
	return bpf_map_lookup_elem(&walks, &index);
}

/* The epoch of a zone is read before anything of the zone is. */
inline_ void cross_zone(struct walk *w, __u32 zone)
{
	__u32 *epoch;

	for (int i = 0; i < MAX_ZONES; i++)
		if (i < w->zones && w->crossed[i].zone == zone)
			return;
	epoch = bpf_map_lookup_elem(&epochs, &zone);
	if (w->zones < MAX_ZONES && epoch) {
		w->crossed[w->zones & (MAX_ZONES - 1)].zone = zone;
		w->crossed[w->zones & (MAX_ZONES - 1)].epoch = *(volatile __u32 *)epoch;
		w->zones++;
	} else {
		w->no_cache = 1;
	}
}

/* A walk that has not begun. */
stage_ int reset(struct walk *w)
{
	if (!w)
		return 0;
	__builtin_memset(w, 0, __builtin_offsetof(struct walk, kept_from_here));
	w->mtu = 0xffff;
	cross_zone(w, 0);
	return 0;
}

inline_ int drop(struct walk *w, __u8 stage, __u8 reason)
{
	w->drop = reason;
	w->stage = stage;
	return DROPPED;
}

/* End the walk, unless the packet can be a reply: then go on, to find whom to ask. */
inline_ int refuse(struct walk *w, __u8 stage, __u8 reason)
{
	if (!w->may_reply)
		return drop(w, stage, reason);
	if (!w->refused) {
		w->refused = reason;
		w->refused_stage = stage;
		w->refused_rule = w->rule;
	}
	return GO;
}

inline_ void copy_macs(__u8 *to, const __u8 *from)
{
	__builtin_memcpy(to, from, 12);
}

inline_ bool same_mac(const __u8 *a, const __u8 *b)
{
	__u32 differ = 0;

	for (int i = 0; i < 6; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}
