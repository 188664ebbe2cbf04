/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lies beyond what this host follows: the agent is told what is missing, follows it, and sends the packet
 * again. It spends the slow-path budget of whoever sent the packet. What comes back with `gives_up` is dropped.
 */
#pragma once
#include "icmp_errors.h"
#include "underlay.h"

/* How a walk from a port ends that has met a port that is in no table, or whose next hop has never answered. */
stage_ int missed(struct __sk_buff *skb, struct walk *w, int end)
{
	struct news news = { .kind = EVENT_KIND_NOT_FOLLOWED, .with_packet = 1 };

	if (!w || end != DROPPED)
		return end;
	if (w->gives_up && w->gives_up == w->drop && w->drop == DROP_NO_NEIGHBOUR)
		tell(w, ERROR_NO_NEIGHBOUR, 0);
	if (w->drop != DROP_NOT_FOLLOWED || !w->missing || w->gives_up)
		return end;
	if (!may_spend(w->origin, BUDGET_SLOW_PATH))
		return end;
	news.segment = w->missing;
	news.action = w->kept == FLOW_KIND_HINTED; /* a reply needs to know where that port is, and no more */
	return tell_agent(skb, w, &news) ? LEFT : end;
}

/* Somebody talks to a port here of whom nothing is known here: it may well be true. */
inline_ bool is_stranger(const struct arrival *a, __u32 reason)
{
	return (reason == DROP_UNKNOWN_PEER || reason == DROP_FORGED_SOURCE) && !a->bad && a->source &&
	       !bpf_map_lookup_elem(&ports, &a->source) && may_spend(a->source, BUDGET_SLOW_PATH);
}

stage_ int tell_of_stranger(struct __sk_buff *skb, const struct arrival *a, __u32 reason)
{
	struct news news = { .kind = EVENT_KIND_STRANGER, .with_packet = 1 };
	struct walk *w = walk_at(0);

	if (!a || !w)
		return 0;
	w->origin = a->source;
	news.segment = a->source;
	news.id = a->target;
	news.address = a->from;
	news.action = a->flags | (reason == DROP_UNKNOWN_PEER ? STRANGE_PEER : 0);
	return tell_agent(skb, w, &news);
}
