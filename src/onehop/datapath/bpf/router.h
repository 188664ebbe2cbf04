/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage ROUTER: where a packet goes from a virtual router. Load balancing has its place here. */
#pragma once
#include "load_balancing.h"
#include "nat.h"
#include "switch.h"

inline_ bool is_own(struct walk *w, __u32 router)
{
	struct router_address_key key = { .router = router, .address = w->packet.dst };
	struct in6_addr local;

	if (bpf_map_lookup_elem(&router_addresses, &key))
		return true;
	link_local(&local, w->in.mac);
	return w->packet.version == 6 && same_address(&local, &w->packet.dst);
}

inline_ int is_for_me(struct walk *w, bool mine)
{
	struct packet *p = &w->packet;

	if (!same_mac(p->dst_mac, w->in.mac))
		return drop(w, STAGE_ROUTER, DROP_NOT_FOR_ROUTER);
	if (!p->version)
		return drop(w, STAGE_ROUTER, DROP_NOT_IP);
	if (is_multicast(&p->dst, p->version) || is_limited_broadcast(&p->dst, p->version) || is_any(&p->src))
		return drop(w, STAGE_ROUTER, DROP_BAD_ADDRESS);
	if (p->version == 6 && (is_link_local(&p->src) || is_link_local(&p->dst)) && !mine)
		return drop(w, STAGE_ROUTER, DROP_BAD_ADDRESS);
	return GO;
}

inline_ int own_address(struct walk *w)
{
	struct packet *p = &w->packet;

	if (is_echo_request(p) && !p->fragment && !w->probe) {
		w->answer = ANSWER_ECHO;
		w->stage = STAGE_ROUTER;
		return ANSWERED;
	}
	if (!is_icmp(p))
		tell(w, ERROR_NO_SUCH_PORT, 0);
	return drop(w, STAGE_ROUTER, DROP_NO_SUCH_SERVICE);
}

/* --- the way ------------------------------------------------------------------------------------------ */

struct pick {
	__u32 at, point, found;
};

static int pick_one(__u32 i, struct pick *pick)
{
	__u32 at = pick->at + i;
	struct hop *hop = bpf_map_lookup_elem(&hops, &at);

	if (hop && pick->point >= hop->upto)
		return 0;
	pick->found = at;
	return 1;
}

/* Of several next hops the connection's hash takes one, by weight. */
inline_ struct hop *pick_hop(struct walk *w, __u32 group)
{
	struct span *span = bpf_map_lookup_elem(&hop_spans, &group);
	struct pick pick = {};
	struct hop *last;
	__u32 end;

	if (!span || !span->count)
		return 0;
	pick.at = pick.found = span->base;
	end = span->base + span->count - 1;
	last = bpf_map_lookup_elem(&hops, &end);
	if (!last || span->count == 1)
		return last;
	pick.point = (__u64)connection_hash(&w->packet, w->depth) * last->upto >> 32;
	bpf_loop(span->count, pick_one, &pick, 0);
	return bpf_map_lookup_elem(&hops, &pick.found);
}

inline_ struct route *find_route(struct walk *w, __u32 router)
{
	__u32 family = w->packet.version == 6 ? OF_IPV6 : 0;
	struct prefix_key key = { .prefix = 32 + 128, .of = router | family, .address = w->packet.dst };
	struct route *route = bpf_map_lookup_elem(&routes, &key);

	if (!route || !route->sources)
		return route;
	key.prefix = 32 + 128;
	key.of = route->sources | family;
	key.address = w->packet.src;
	return bpf_map_lookup_elem(&source_routes, &key);
}

stage_ int choose_way(struct walk *w)
{
	struct route *route;
	struct hop *hop = 0;
	__u8 action = 0;

	if (!w)
		return DROPPED;
	route = find_route(w, w->in.device);
	if (route) {
		action = route->action;
		w->rule = route->id;
		w->connected = !!(route->flags & ROUTE_FLAG_CONNECTED);
		if (action == ROUTE_ACTION_FORWARD)
			hop = pick_hop(w, route->hops);
	}
	if (action == ROUTE_ACTION_BLACKHOLE)
		return drop(w, STAGE_ROUTER, DROP_BLACKHOLE);
	if (action == ROUTE_ACTION_REJECT) {
		tell(w, ERROR_NO_ROUTE, 0);
		return drop(w, STAGE_ROUTER, DROP_REJECT_ROUTE);
	}
	if (!hop) {
		tell(w, ERROR_NO_ROUTE, 0);
		return drop(w, STAGE_ROUTER, DROP_NO_ROUTE);
	}
	w->has_next_hop = !!(hop->address.s6_addr32[2] | hop->address.s6_addr32[3] | hop->address.s6_addr32[0]);
	w->next_hop = w->has_next_hop ? hop->address : w->packet.dst;
	if (w->connected)
		w->has_next_hop = 1;
	return leave_by(w, hop->port);
}

inline_ int lower_ttl(struct walk *w)
{
	if (w->chooses)
		return GO;
	if (w->packet.ttl <= 1) {
		tell(w, ERROR_TTL_EXPIRED, 0);
		return drop(w, STAGE_ROUTER, DROP_TTL_EXPIRED);
	}
	w->packet.ttl--;
	return GO;
}

inline_ int fits_out(struct walk *w)
{
	if (w->chooses)
		return GO;
	note_mtu(w, w->out.mtu);
	if (!w->out.mtu || w->packet.segment <= w->out.mtu)
		return GO;
	tell(w, ERROR_TOO_BIG, w->out.mtu);
	return drop(w, STAGE_ROUTER, DROP_TOO_BIG);
}

inline_ int forward(struct __sk_buff *skb, struct walk *w, __u32 acls_forward, __u32 acls_out)
{
	struct visit *v;
	int end = choose_way(w);

	if (!end)
		end = lower_ttl(w);
	if (!end)
		end = judge_at(skb, w, acls_forward, w->in_key, w->out_key);
	if (!end && w->out.flags & PORT_FLAG_NAT)
		end = source_nat(skb, w);
	if (!end)
		end = fits_out(w);
	if (!end)
		end = resolve(skb, w);
	v = &w->visits[(w->depth - 1) & (MAX_DEVICES - 1)];
	copy_macs(v->macs_out, w->packet.macs);
	if (!end)
		end = judge_at(skb, w, acls_out, w->in_key, w->out_key);
	return end;
}

stage_ int through_router(struct __sk_buff *skb, struct walk *w)
{
	struct router *router;
	struct visit *v;
	bool mine;
	int end;

	if (!w)
		return DROPPED;
	router = bpf_map_lookup_elem(&routers, &w->in.device);
	if (!router || !(router->flags & ROUTER_FLAG_UP))
		return drop(w, STAGE_ROUTER, DROP_ROUTER_DOWN);
	v = &w->visits[(w->depth - 1) & (MAX_DEVICES - 1)];
	v->device_in = router->acls_in;
	v->device_forward = router->acls_forward;
	v->device_out = router->acls_out;
	if (router->acls_in | router->acls_forward | router->acls_out)
		w->has_lists = 1;
	end = ends_here(skb, w);
	mine = is_own(w, w->in.device);
	if (!end)
		end = is_for_me(w, mine);
	if (!end)
		end = balance(w);
	if (!end && router->flags & ROUTER_FLAG_NAT) {
		end = destination_nat(w);
		mine = is_own(w, w->in.device); /* it may have been, and stand for somebody else */
	}
	if (!end)
		end = judge_at(skb, w, router->acls_in, w->in_key, 0);
	if (end)
		return end;
	return mine ? own_address(w) : forward(skb, w, router->acls_forward, router->acls_out);
}
