/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Of stage UNDERLAY: ports that were on another host until lately.
 *
 *    who has not heard yet ───► the former host ── FORWARDED ──► the new one, which believes it for that port
 *
 * Once only: two hosts that each think the port is on the other one would send for ever.
 */
#pragma once
#include "underlay.h"

inline_ bool was_on(__u32 port, __u32 host)
{
	struct moved *at = bpf_map_lookup_elem(&moved, &port);

	return at && at->former == host;
}

/* The host that a packet's target has left this one for, or 0. */
inline_ __u32 left_for(const struct arrival *a)
{
	struct moved *at;

	if (a->flags & (TUNNEL_FLAG_FLOOD | TUNNEL_FLAG_FORWARDED))
		return 0;
	at = bpf_map_lookup_elem(&moved, &a->target);
	return at ? at->to : 0;
}

/* Whether the source port's packets may come from this host; notes whether that is an uplink. */
inline_ bool may_come(struct arrival *a, __u32 host)
{
	struct port *source = bpf_map_lookup_elem(&ports, &a->source);

	if (!source)
		return false;
	a->from_outside = source->flags & PORT_FLAG_UPLINK && !a->to_router &&
			  !(a->flags & (TUNNEL_FLAG_RETURN | TUNNEL_FLAG_ASK | TUNNEL_FLAG_FLOOD));
	return source->host == host || was_on(a->source, host) ||
	       (a->flags & TUNNEL_FLAG_FORWARDED && was_on(a->target, host));
}
