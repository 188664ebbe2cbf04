/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage ICMP_ERRORS: telling the sender why a packet did not get through. `answers.h` builds the message. */
#pragma once
#include "counters.h"
#include "parse.h"

enum error {
	ERROR_TTL_EXPIRED,
	ERROR_NO_ROUTE,
	ERROR_REJECTED,
	ERROR_NO_SUCH_PORT,
	ERROR_TOO_BIG,
	ERROR_NO_NEIGHBOUR,
};

/* Where the packet was sent to, before any translation. */
inline_ void first_dst(struct in6_addr *dst, const struct walk *w)
{
	*dst = w->translated ? w->original.dst : w->packet.dst;
}

inline_ bool may_tell(const struct walk *w)
{
	const struct packet *p = &w->packet;

	if (w->refused || w->probe || !p->version || w->near_macs[0] & 1)
		return false;
	if (is_icmp_error(p) || is_discovery(p) || p->fragment == FRAGMENT_LATER)
		return false;
	return is_unicast(&p->src, p->version) && is_unicast(&p->dst, p->version);
}

inline_ void set_error(struct walk *w, __u32 error, __u32 mtu)
{
	static const __u8 v4[][2] = { { 11, 0 }, { 3, 0 }, { 3, 13 }, { 3, 3 }, { 3, 4 }, { 3, 1 } };
	static const __u8 v6[][2] = { { 3, 0 }, { 1, 0 }, { 1, 1 }, { 1, 4 }, { 2, 0 }, { 1, 3 } };

	if (error > ERROR_NO_NEIGHBOUR)
		return;
	w->error_type = w->packet.version == 4 ? v4[error][0] : v6[error][0];
	w->error_code = w->packet.version == 4 ? v4[error][1] : v6[error][1];
	w->error_mtu = mtu;
	w->answer = ANSWER_ERROR;
}

/* Under which address a router's port speaks; false if it has none of this version. */
inline_ bool address_of(__u32 port, __u32 version, struct in6_addr *to)
{
	struct port_address_key key = { .port = port, .version = version };
	struct in6_addr *own = bpf_map_lookup_elem(&port_addresses, &key);

	if (own)
		*to = *own;
	return own != 0;
}

/* The same from a given address. */
stage_ int tell_from(struct walk *w, __u32 error, __u32 mtu)
{
	if (w && may_tell(w) && may_spend(w->origin, BUDGET_ICMP_ERROR))
		set_error(w, error, mtu);
	return 0;
}

/* Answer with an ICMP error, where one may be sent. */
stage_ int tell(struct walk *w, __u32 error, __u32 mtu)
{
	if (!w || !may_tell(w))
		return 0;
	if (!(w->in.flags & PORT_FLAG_ON_ROUTER)) {
		first_dst(&w->answer_src, w); /* a switch has no address of its own */
	} else if (!address_of(w->in_key, w->packet.version, &w->answer_src)) {
		if (w->packet.version != 6)
			return 0;
		link_local(&w->answer_src, w->in.mac);
	}
	if (may_spend(w->origin, BUDGET_ICMP_ERROR))
		set_error(w, error, mtu);
	return 0;
}
