/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hash that spreads connections over ways, and over the ports of shared addresses. */
#pragma once
#include "parse.h"

inline_ __u32 hash_bytes(__u32 hash, const __u8 *bytes, int count)
{
	for (int i = 0; i < count; i++)
		hash = (hash ^ bytes[i]) * 0x01000193;
	return hash;
}

/* As simulation/hashing.py tells. */
inline_ __u32 connection_hash(const struct packet *p, __u8 depth)
{
	__u8 head[2] = { depth, p->protocol };
	__be16 ports[2] = { has_tuple(p) ? p->src_port : 0, has_tuple(p) ? p->dst_port : 0 };
	__u32 hash = hash_bytes(0x811c9dc5, head, 2);

	if (p->version == 4) {
		hash = hash_bytes(hash, p->src.s6_addr + 12, 4);
		hash = hash_bytes(hash, p->dst.s6_addr + 12, 4);
	} else {
		hash = hash_bytes(hash, p->src.s6_addr, 16);
		hash = hash_bytes(hash, p->dst.s6_addr, 16);
	}
	hash = hash_bytes(hash, (__u8 *)ports, 4);
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}
