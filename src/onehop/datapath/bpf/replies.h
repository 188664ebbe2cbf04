/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Of stage CONNECTIONS: what arrives at a port from elsewhere, and what its owner does with a reply. */
#pragma once
#include "egress_port.h"

/* A packet such as the opener sends. */
inline_ void as_opener(struct walk *q, const struct walk *w, __u32 opener)
{
	const struct record *record = &w->record;
	struct packet *p = &q->packet;

	q->origin = opener;
	q->owner = w->key.port;
	q->probe = q->has_record = q->has_tuple = 1;
	q->record = *record;
	q->key = w->key;
	copy_macs(q->near_macs, record->near_dst);
	copy_macs(p->macs, record->near_dst);
	set_near(p, q);
	p->protocol = w->key.protocol;
	p->tos = record->tos;
	p->ttl = 64;
	p->version = record->flags & RECORD_FLAG_VERSION6 ? 6 : 4;
	p->ethertype = p->version == 6 ? P_IPV6 : P_IP;
	if (p->protocol == TCP) {
		p->tcp_flags = TCP_ACK;
		p->knows = KNOWS_TCP;
	} else if (is_icmp(p)) {
		p->icmp_type = p->version == 6 ? 128 : 8;
		p->knows = KNOWS_ICMP;
	}
}

/* Whether the walk of the opener's packets has come where those of the record went. */
inline_ bool reaches_far(const struct walk *q, const struct record *record)
{
	if (record->flags & RECORD_FLAG_INBOUND)
		return q->target == q->owner;
	return q->target == record->far_port ||
	       (record->router && q->out.flags & PORT_FLAG_UPLINK && q->out.device == record->router);
}

/* Ask whether the connection would still pass, and what lists say to the reply; walk q is the opener's. */
stage_ int probe(struct __sk_buff *skb, struct walk *w, struct walk *q, __u32 opener)
{
	int end;

	if (!w || !q)
		return DROPPED;
	reset(q);
	as_opener(q, w, opener);
	end = enter(q, opener);
	if (!end && w->record.flags & RECORD_FLAG_INBOUND) { /* which may be another uplink than it came by */
		__builtin_memcpy(q->near_macs, q->in.mac, 6);
		__builtin_memcpy(q->packet.dst_mac, q->in.mac, 6);
	}
	if (!end)
		end = checks(skb, q);
	if (!end)
		end = admit(skb, q);
	if (end == REACHED && reaches_far(q, &w->record)) {
		end = judge_reply(skb, q);
		if (!end)
			return GO;
	} else if (end != DROPPED) {
		return drop(w, STAGE_CONNECTIONS, DROP_CONNECTION_ENDED);
	}
	w->drop = q->drop;
	w->stage = q->stage;
	w->rule = q->rule;
	return DROPPED;
}

/* The nth router that a reply meets, from 1, or the last; 0 if there is none. */
inline_ struct visit *router_back(struct walk *q, __u32 n)
{
	if (!q->hops)
		return 0;
	n = n > q->hops ? 0 : q->hops - n;
	return &q->visits[q->router_at[n & (MAX_DEVICES - 1)] & (MAX_DEVICES - 1)];
}

inline_ void face(struct walk *w, struct visit *router)
{
	if (!router || !address_of(router->out_port, w->packet.version, &w->answer_src))
		first_dst(&w->answer_src, w);
}

/* What the routers and the network on the way back would do to a reply: TTL, and size. */
stage_ int last_hops(struct walk *w, struct walk *q)
{
	struct packet *p;
	__u16 mtu;

	if (!w || !q)
		return DROPPED;
	p = &w->packet;
	mtu = q->visits[0].is_router ? 0 : q->visits[0].mtu;
	if (q->hops && p->ttl <= q->hops) {
		face(w, router_back(q, p->ttl ? p->ttl : 1));
		tell_from(w, ERROR_TTL_EXPIRED, 0);
		return drop(w, STAGE_ROUTER, DROP_TTL_EXPIRED);
	}
	if (mtu && p->segment > mtu) {
		face(w, router_back(q, MAX_DEVICES));
		tell_from(w, ERROR_TOO_BIG, mtu);
		return drop(w, STAGE_ROUTER, DROP_TOO_BIG);
	}
	return GO;
}

/* The connection would still pass: its record says so from now on. */
stage_ int refresh(struct walk *w, const struct walk *q)
{
	struct record *record;
	struct tuple_key key;

	if (!w || !q)
		return 0;
	key = w->key;
	record = bpf_map_lookup_elem(&records, &key);
	if (!record)
		return 0;
	keep_up(w, record);
	record->hops = q->hops;
	record->mtu = q->visits[0].is_router ? 0 : q->visits[0].mtu;
	record->zones = q->zones;
	for (int i = 0; i < MAX_ZONES; i++)
		record->crossed[i] = q->crossed[i];
	if (q->no_cache) /* such as what a rule logs: it is judged, and logged, with each reply */
		record->flags &= ~RECORD_FLAG_JUDGED;
	else
		record->flags |= RECORD_FLAG_JUDGED;
	copy_record(&w->record, record);
	w->no_cache |= q->no_cache;
	return 0;
}

inline_ bool needs_probe(const struct walk *w)
{
	const struct record *r = &w->record;

	return !(r->flags & RECORD_FLAG_JUDGED) || !is_current(r) || (r->hops && w->packet.ttl <= r->hops) ||
	       (r->mtu && w->packet.segment > r->mtu);
}

/* A record of which a reply has come: PROBE if the connection has to be judged again first. */
inline_ int claim(struct walk *w, struct record *record, const struct tuple_key *key)
{
	copy_record(&w->record, record);
	w->key = *key;
	if (needs_probe(w))
		return PROBE;
	keep_up(w, record);
	return GO;
}

stage_ int find_claimed(struct walk *w)
{
	struct tuple_key key = {};
	struct record *record;

	if (!w)
		return DROPPED;
	record = claimed(w, &key);
	return record ? claim(w, record, &key) : drop(w, STAGE_CONNECTIONS, DROP_UNSOLICITED);
}

/* A reply has passed: it crosses the zones that its record did, and as many routers. */
inline_ void take_way(struct walk *w)
{
	for (int i = 0; i < MAX_ZONES; i++)
		if (i < w->record.zones)
			cross_zone(w, w->record.crossed[i].zone);
	w->hops += w->record.hops; /* those that a packet has passed that was not known to be a reply */
	w->packet.ttl -= w->record.hops;
	note_mtu(w, w->record.mtu);
}

/* What `refresh` does too: a reply has come. */
stage_ int touch_record(struct walk *w)
{
	struct tuple_key key;
	struct record *record;

	if (!w)
		return 0;
	key = w->key;
	record = bpf_map_lookup_elem(&records, &key);
	if (record)
		keep_up(w, record);
	return 0;
}

/* The reply as the opener expects it. */
stage_ int for_opener(struct walk *w)
{
	if (!w)
		return DROPPED;
	take_way(w);
	to_home(w);
	__builtin_memcpy(w->packet.dst_mac, w->record.near_src, 6);
	__builtin_memcpy(w->packet.src_mac, w->record.near_dst, 6);
	w->kept = FLOW_KIND_REPLY;
	return OUTPUT;
}

/* Ask whether a connection would still pass that `opener` opened, if `end` says so. */
inline_ int judge_again(struct __sk_buff *skb, struct walk *w, __u32 opener, int end)
{
	struct walk *q;

	if (end != PROBE)
		return end;
	q = walk_at(1);
	if (!q)
		return DROPPED;
	end = probe(skb, w, q, opener);
	if (!end)
		end = last_hops(w, q);
	if (!end)
		refresh(w, q);
	return end;
}

/* A reply has come to the owner of its connection: judge it, and make it what the opener expects. */
inline_ int reply(struct __sk_buff *skb, struct walk *w)
{
	int end = judge_again(skb, w, w->target, find_claimed(w));

	return end ? end : for_opener(w);
}

/* The sender's walk has judged everything. What is left is to learn from it; PROBE if it turns out to be a reply that
 * the owner would not know as it is. */
stage_ int arrive(struct walk *w, __u32 place)
{
	struct tuple_key key = {};
	struct record *record;

	if (!w || w->packet.fragment == FRAGMENT_LATER)
		return OUTPUT;
	if (w->tunnel & TUNNEL_FLAG_LEARN)
		note_hint(w, place);
	record = claimed(w, &key);
	if (!record)
		return OUTPUT;
	w->no_cache = 1; /* both sides have opened it: rare */
	if (record->flags & RECORD_FLAG_TRANSLATED)
		return PROBE;
	keep_up(w, record);
	return OUTPUT;
}
