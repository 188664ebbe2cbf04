/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which addresses can be on a packet. IPv4 addresses are v4-mapped; words are in network order. */
#pragma once
#include "walk.h"

#define MAPPED bpf_htonl(0xffff)

inline_ bool same_address(const struct in6_addr *a, const struct in6_addr *b)
{
	return a->s6_addr32[0] == b->s6_addr32[0] && a->s6_addr32[1] == b->s6_addr32[1] &&
	       a->s6_addr32[2] == b->s6_addr32[2] && a->s6_addr32[3] == b->s6_addr32[3];
}

inline_ void map_v4(struct in6_addr *to, __be32 ip)
{
	to->s6_addr32[0] = to->s6_addr32[1] = 0;
	to->s6_addr32[2] = MAPPED;
	to->s6_addr32[3] = ip;
}

inline_ bool is_mapped(const struct in6_addr *a)
{
	return !a->s6_addr32[0] && !a->s6_addr32[1] && a->s6_addr32[2] == MAPPED;
}

inline_ bool is_any(const struct in6_addr *a)
{
	return !a->s6_addr32[0] && !a->s6_addr32[1] && !a->s6_addr32[3] &&
	       (!a->s6_addr32[2] || a->s6_addr32[2] == MAPPED);
}

inline_ bool is_multicast(const struct in6_addr *a, __u8 version)
{
	return version == 4 ? (bpf_ntohl(a->s6_addr32[3]) >> 28) == 14 : a->s6_addr[0] == 0xff;
}

inline_ bool is_unicast_v4(__be32 ip)
{
	__u32 host = bpf_ntohl(ip);

	return host && host >> 24 != 127 && host >> 28 < 14;
}

/* Whether an address can be one machine's, beyond that machine itself. */
inline_ bool is_unicast(const struct in6_addr *a, __u8 version)
{
	if (version == 4)
		return is_unicast_v4(a->s6_addr32[3]);
	if (a->s6_addr[0] == 0xff || is_mapped(a))
		return false;
	return a->s6_addr32[0] || a->s6_addr32[1] || a->s6_addr32[2] || (a->s6_addr32[3] & ~bpf_htonl(1));
}

inline_ bool is_limited_broadcast(const struct in6_addr *a, __u8 version)
{
	return version == 4 && a->s6_addr32[3] == 0xffffffff;
}

inline_ bool is_link_local(const struct in6_addr *a)
{
	return (a->s6_addr32[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* What a machine makes of its MAC (RFC 4291, appendix A). */
inline_ void link_local(struct in6_addr *to, const __u8 *mac)
{
	to->s6_addr32[0] = bpf_htonl(0xfe800000);
	to->s6_addr32[1] = 0;
	to->s6_addr[8] = mac[0] ^ 2;
	to->s6_addr[9] = mac[1];
	to->s6_addr[10] = mac[2];
	to->s6_addr[11] = 0xff;
	to->s6_addr[12] = 0xfe;
	to->s6_addr[13] = mac[3];
	to->s6_addr[14] = mac[4];
	to->s6_addr[15] = mac[5];
}
