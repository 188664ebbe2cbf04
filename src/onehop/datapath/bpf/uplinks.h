/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Uplinks: what enters and leaves by a router's own port, and what that is to the port of a machine.
 *
 * A gateway, the host of an uplink, keeps no connections. It only finds out for whom a packet from outside is, and
 * sends it there as it came; there the walk is judged, and the record written. It also finds the next hop of what
 * leaves, because nobody else knows its neighbours.
 */
#pragma once
#include "replies.h"

/* --- the gateway: for whom a packet from outside is ---------------------------------------------------- */

/* The error that tells too big, from the uplink itself. */
inline_ int fits_there(struct walk *w)
{
	struct port *uplink;

	note_mtu(w, w->out.mtu);
	if (!w->packet.version || !w->out.mtu || w->packet.segment <= w->out.mtu)
		return OUTPUT;
	uplink = bpf_map_lookup_elem(&ports, &w->origin);
	if (!uplink)
		return drop(w, STAGE_INGRESS_PORT, DROP_PORT_DOWN);
	w->in = *uplink;
	w->in_key = w->origin;
	tell(w, ERROR_TOO_BIG, w->out.mtu);
	return drop(w, STAGE_ROUTER, DROP_TOO_BIG);
}

/* The choosing walk, from w->in. OUTPUT: to w->target, as it came. SPREAD, REACHED: it has to be judged here. */
stage_ int choose_port(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	w->chooses = 1;
	end = checks(skb, w);
	if (end)
		return end;
	classify(skb, w);
	end = cross(skb, w);
	if (end != REACHED)
		return end;
	restore(w);
	copy_macs(w->packet.macs, w->near_macs);
	w->hops = 0;
	return REACHED;
}

/* --- the gateway: out by an uplink --------------------------------------------------------------------- */

struct hop_search {
	__u32 base, port, found;
};

static int is_hop_by(__u32 i, struct hop_search *s)
{
	__u32 at = s->base + i;
	struct hop *hop = bpf_map_lookup_elem(&hops, &at);

	if (!hop || hop->port != s->port)
		return !hop;
	s->found = at + 1;
	return 1;
}

/* The next hop of a packet that leaves by w->out: of the route that it takes, the first by this port. */
inline_ void hop_outside(struct walk *w)
{
	struct hop_search s = { .port = w->out_key };
	struct route *route = find_route(w, w->out.device);
	struct span *span = 0;
	struct hop *hop = 0;

	w->next_hop = w->packet.dst;
	if (route && route->action == ROUTE_ACTION_FORWARD) {
		__u32 group = route->hops;

		span = bpf_map_lookup_elem(&hop_spans, &group);
	}
	if (!span)
		return;
	s.base = span->base;
	bpf_loop(span->count, is_hop_by, &s, 0);
	if (s.found) {
		s.found--;
		hop = bpf_map_lookup_elem(&hops, &s.found);
	}
	if (hop && !is_any(&hop->address))
		w->next_hop = hop->address;
}

/* What a host sends out by an uplink that is here. */
stage_ int leave_outside(struct __sk_buff *skb, struct walk *w)
{
	struct learned_neighbour *pending;
	const __u8 *mac;

	if (!w)
		return DROPPED;
	if (!w->packet.version || w->packet.dst_mac[0] & 1)
		return OUTPUT; /* the router's own question */
	hop_outside(w);
	mac = learned_mac(w, &pending);
	if (!mac)
		return ask_neighbour(skb, w, pending);
	set_macs(w, mac);
	return OUTPUT;
}

/* --- the owner: what comes from outside ----------------------------------------------------------------- */

inline_ __u32 router_of(const struct record *record)
{
	struct port *far;

	if (record->router)
		return record->router;
	far = bpf_map_lookup_elem(&ports, &record->far_port);
	return far && far->flags & PORT_FLAG_UPLINK ? far->device : 0;
}

/* To which connection of w->owner a packet from outside belongs. GO: the walk is to be judged. */
stage_ int find_owned(struct walk *w)
{
	struct tuple_key key = {};
	struct record *record;

	if (!w)
		return DROPPED;
	if (is_icmp_error(&w->packet)) {
		key = w->quoted;
	} else {
		tuple_of(&key, w->owner, &w->packet);
		reverse(&key);
	}
	key.port = w->owner;
	if (!w->has_tuple && !w->quoted.port)
		return GO;
	record = bpf_map_lookup_elem(&records, &key);
	if (!record || !is_live(record, key.protocol, now()))
		return GO;
	if (!(record->flags & RECORD_FLAG_INBOUND)) {
		if (router_of(record) != w->router || !can_answer(w))
			return GO;
		if (claim(w, record, &key))
			return PROBE;
		return REPLY;
	}
	w->record = *record;
	w->key = key;
	w->has_record = 1;
	if (is_icmp_error(&w->packet)) {
		w->related = 1;
		judge_as_own(w);
	}
	return GO;
}

/* The walk from the uplink: what is refused is refused for good. */
stage_ int come_in(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	w->may_reply = 0;
	end = enter(w, w->origin);
	if (!end)
		end = is_up(w);
	if (!end)
		end = admit(skb, w);
	return end == REACHED ? conclude_walk(skb, w) : end;
}

inline_ int from_uplink(struct __sk_buff *skb, struct walk *w)
{
	int end = follow(w);

	if (end)
		return end;
	classify(skb, w);
	end = find_owned(w);
	if (end == GO)
		return come_in(skb, w);
	end = judge_again(skb, w, w->owner, end == REPLY ? GO : end);
	return end ? end : for_opener(w);
}

/* --- the owner: what answers it ------------------------------------------------------------------------- */

/* Find the way as the router would, for what w is by now. An error about that comes from the uplink `came`. */
inline_ int ask_way(struct walk *w, struct walk *q, const struct port *came)
{
	int end;

	reset(q);
	q->packet = w->packet;
	copy_macs(q->near_macs, w->near_macs);
	q->origin = q->owner = w->origin;
	q->in = *came;
	q->in_key = w->record.far_port;
	q->in.device = router_of(&w->record);
	q->depth = 1;
	end = choose_way(q);
	w->drop = q->drop;
	w->stage = q->stage;
	w->rule = q->rule;
	w->answer = q->answer;
	w->error_type = q->error_type;
	w->error_code = q->error_code;
	w->answer_src = q->answer_src;
	return end;
}

/* The uplink by which an answer leaves: w->target. */
stage_ int way_outside(struct walk *w, struct walk *q)
{
	struct router *router;
	__u32 id, far;
	struct port *came;
	int end;

	if (!w || !q)
		return DROPPED;
	id = router_of(&w->record);
	far = w->record.far_port;
	router = bpf_map_lookup_elem(&routers, &id);
	came = bpf_map_lookup_elem(&ports, &far);
	if (!came || !router || !router->zone)
		return drop(w, STAGE_CONNECTIONS, DROP_CONNECTION_ENDED);
	cross_zone(w, router->zone);
	to_away(w);
	end = ask_way(w, q, came);
	if (end)
		return end;
	if (!(q->out.flags & PORT_FLAG_UPLINK))
		return drop(w, STAGE_ROUTER, DROP_NO_ROUTE);
	w->target = q->out_key;
	__builtin_memset(w->packet.dst_mac, 0, 6);
	__builtin_memcpy(w->packet.src_mac, q->out.mac, 6);
	return w->target != far || needs_probe(w) ? PROBE : GO;
}

/* What a machine sends on a connection that was opened from an uplink. */
inline_ int answer_outside(struct __sk_buff *skb, struct walk *w)
{
	struct walk *q = walk_at(1);
	int end;

	if (!q)
		return DROPPED;
	end = way_outside(w, q);
	if (end == GO)
		touch_record(w);
	end = judge_again(skb, w, w->target, end);
	if (end)
		return end;
	take_way(w);
	w->kept = FLOW_KIND_OWN;
	return OUTPUT;
}
