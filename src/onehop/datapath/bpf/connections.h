/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage CONNECTIONS: which connection a packet belongs to, and what is kept of it.
 *
 * A record lives at its opener's host, keyed by opener and tuple. A hint lives at the far port's host, keyed by
 * that port and the tuple of its replies. Both are plain hashes: a port that fills its share harms itself alone.
 */
#pragma once
#include "counters.h"
#include "parse.h"

/* How long a record lasts without a packet, TCP's in seconds by enum life. It has to outlive its hint. */
inline_ bool is_live(const struct record *record, __u8 protocol, __u64 time)
{
	static const __u16 tcp[] = { 0, 60, 7200, 60 };
	__u64 lasts = protocol == TCP ? tcp[record->life & 3] * SECOND : HINT_LIFE + 30 * SECOND;

	return time < record->used || time - record->used <= lasts;
}

inline_ bool is_fresh(const struct hint *hint, __u64 time)
{
	return time < hint->used || time - hint->used <= HINT_LIFE;
}

inline_ bool opens_tcp(const struct packet *p)
{
	return p->knows & KNOWS_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Once the ports are known: what it can belong to. */
inline_ void classify(struct __sk_buff *skb, struct walk *w)
{
	struct packet *p = &w->packet;

	w->has_tuple = has_tuple(p);
	if (is_icmp_error(p))
		parse_quote(skb, w);
	w->may_reply = !w->probe && p->version &&
		       (is_icmp_error(p) || (w->has_tuple && !is_echo_request(p) && !opens_tcp(p)));
}

/* The tuple of the replies that a packet is one of; false if it is none. */
inline_ bool reply_tuple(const struct walk *w, __u32 port, struct tuple_key *key)
{
	if (is_echo_request(&w->packet) || opens_tcp(&w->packet))
		return false;
	if (is_icmp_error(&w->packet)) {
		*key = w->quoted;
		reverse(key);
		key->port = port;
		return w->quoted.port;
	}
	tuple_of(key, port, &w->packet);
	return w->has_tuple;
}

/* --- looking up --------------------------------------------------------------------------------------- */

/* What rules judge instead of an error: the connection's own packets. */
inline_ void judge_as_own(struct walk *w, const struct tuple_key *near)
{
	struct packet *j = &w->judged;

	*j = w->packet;
	j->src = near->src;
	j->dst = near->dst;
	j->src_port = near->src_port;
	j->dst_port = near->dst_port;
	j->protocol = near->protocol;
	j->tos = w->record.tos;
	j->fragment = 0;
	j->knows &= ~(KNOWS_ICMP | KNOWS_TCP);
	if (is_icmp(j)) {
		j->icmp_type = j->version == 4 ? 8 : 128;
		j->icmp_code = 0;
		j->knows |= KNOWS_ICMP;
	}
}

/* Find the connection of which this port is the opener. */
stage_ int own_record(struct walk *w)
{
	struct tuple_key near = {};
	struct record *record;

	if (!w || is_echo_reply(&w->packet))
		return 0;
	tuple_of(&near, w->origin, &w->packet);
	if (is_icmp_error(&w->packet)) {
		if (!w->quoted.port)
			return 0;
		near = w->quoted;
		near.port = w->origin;
		reverse(&near);
	} else if (!w->has_tuple) {
		return 0;
	}
	record = bpf_map_lookup_elem(&records, &near);
	if (!record || !is_live(record, near.protocol, now()))
		return 0;
	w->record = *record;
	w->has_record = 1;
	if (is_icmp_error(&w->packet)) {
		w->related = 1;
		judge_as_own(w, &near);
	}
	return 1;
}

/* Who opened the connection that this packet may be a reply of: a port, or 0. Unless it can belong to another
 * connection as well, the hint is thereby used. */
stage_ int hinted(struct walk *w)
{
	struct tuple_key key = {};
	struct hint *hint;
	__u64 time;

	if (!w || !reply_tuple(w, w->origin, &key))
		return 0;
	hint = bpf_map_lookup_elem(&hints, &key);
	time = now();
	if (!hint || !is_fresh(hint, time))
		return 0;
	if (!w->has_record)
		hint->used = time;
	return hint->opener;
}

/* --- the opener's side -------------------------------------------------------------------------------- */

inline_ bool is_nonsense(__u8 flags)
{
	return (flags & TCP_SYN && flags & (TCP_FIN | TCP_RST)) || !(flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN));
}

inline_ __u8 first_life(const struct packet *p)
{
	return !(p->knows & KNOWS_TCP) || p->tcp_flags & TCP_SYN ? LIFE_OPENING : LIFE_OPEN;
}

inline_ __u8 next_life(__u8 life, const struct packet *p, bool reply)
{
	__u8 flags = p->knows & KNOWS_TCP ? p->tcp_flags : 0;

	if (flags & (TCP_FIN | TCP_RST))
		return LIFE_CLOSING;
	if (life == LIFE_CLOSING && !reply && flags & TCP_SYN)
		return LIFE_OPENING;
	return reply && life == LIFE_OPENING ? LIFE_OPEN : life;
}

inline_ void fill_record(struct walk *w, struct record *record, __u8 life)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->far_port = w->target;
	copy_macs(record->near_dst, w->near_macs);
	copy_macs(record->far_dst, w->packet.macs);
	record->hops = w->hops;
	record->tos = w->packet.tos;
	record->life = life;
	record->flags = (w->packet.version == 6 ? RECORD_FLAG_VERSION6 : 0) |
			(w->has_lists || w->no_cache ? 0 : RECORD_FLAG_JUDGED);
	record->mtu = w->visits[0].is_router ? 0 : w->visits[0].mtu;
	record->zones = w->zones;
	record->used = now();
	for (int i = 0; i < MAX_ZONES; i++)
		record->crossed[i] = w->crossed[i];
}

inline_ bool may_open(__u32 port, __u32 most)
{
	__u32 *open = bpf_map_lookup_elem(&openers, &port);
	__u32 one = 0;

	if (!open) {
		bpf_map_update_elem(&openers, &port, &one, BPF_NOEXIST);
		open = bpf_map_lookup_elem(&openers, &port);
	}
	if (!open || *open >= most)
		return false;
	__sync_fetch_and_add(open, 1);
	return true;
}

inline_ void closed(__u32 port)
{
	__u32 *open = bpf_map_lookup_elem(&openers, &port);

	if (open && *open)
		__sync_fetch_and_add(open, -1);
}

/* Whether there was one. */
inline_ bool remove_record(const struct tuple_key *key)
{
	if (bpf_map_delete_elem(&records, key))
		return false;
	closed(key->port);
	return true;
}

inline_ int add_record(struct __sk_buff *skb, struct walk *w, const struct tuple_key *key, __u32 most)
{
	struct news news = { .kind = EVENT_KIND_TABLE_FULL };

	if (may_open(w->origin, most)) {
		if (!bpf_map_update_elem(&records, key, &w->record, BPF_NOEXIST))
			return GO;
		closed(w->origin);
		if (bpf_map_lookup_elem(&records, key)) /* another CPU was first, or it has expired */
			return bpf_map_update_elem(&records, key, &w->record, BPF_EXIST) ? GO : GO;
	}
	if (may_spend(w->origin, BUDGET_SLOW_PATH))
		tell_agent(skb, w, &news);
	return drop(w, STAGE_CONNECTIONS, DROP_TABLE_FULL);
}

/* Write down the connection of a packet that has passed, on its way to w->target. */
stage_ int keep(struct __sk_buff *skb, struct walk *w, __u32 most)
{
	struct tuple_key key = {};
	struct record *known;
	struct packet *p;

	if (!w || !w->stateful || w->related || !w->has_tuple)
		return GO;
	p = &w->packet;
	if (p->knows & KNOWS_TCP && is_nonsense(p->tcp_flags))
		return drop(w, STAGE_CONNECTIONS, DROP_INVALID_STATE);
	if (!w->has_record && (is_echo_reply(p) || (p->knows & KNOWS_TCP && p->tcp_flags & TCP_RST))) {
		w->no_cache = 1; /* what comes next may open one */
		return GO;
	}
	fill_record(w, &w->record, w->has_record ? next_life(w->record.life, p, false) : first_life(p));
	tuple_of(&key, w->origin, p);
	w->kept = FLOW_KIND_OWN;
	w->tunnel = TUNNEL_FLAG_LEARN;
	known = w->has_record ? bpf_map_lookup_elem(&records, &key) : 0;
	if (!known)
		return add_record(skb, w, &key, most);
	*known = w->record;
	return GO;
}

/* --- the far side ------------------------------------------------------------------------------------- */

inline_ __u32 place_of(__u32 key, const struct port *port)
{
	return port->vlan ? PLACE_PORT | key : port->ifindex;
}

/* What was decided about replies before they were known to be such no longer holds. */
inline_ void forget_flow(struct walk *w, __u32 place, const struct tuple_key *replies)
{
	struct flow_key key = {};

	key.place = place;
	key.src = replies->src;
	key.dst = replies->dst;
	key.src_port = replies->src_port;
	key.dst_port = replies->dst_port;
	key.protocol = replies->protocol;
	key.version = w->packet.version;
	key.dscp = w->packet.tos >> 2;
	if (is_icmp(&w->packet))
		key.icmp_type = w->packet.version == 4 ? 0 : 129;
	if (bpf_map_lookup_elem(&flows, &key)) /* which costs less than deleting what is not there */
		bpf_map_delete_elem(&flows, &key);
}

/* Remember, at the far port w->target, where replies go. A live hint is replaced only by its own opener. */
stage_ int note_hint(struct walk *w, __u32 place)
{
	struct tuple_key key = {};
	struct hint fresh = {}, *known;

	if (!w || !w->has_tuple)
		return 0;
	tuple_of(&key, w->target, &w->packet);
	reverse(&key);
	fresh.opener = w->origin;
	fresh.used = now();
	known = bpf_map_lookup_elem(&hints, &key);
	if (known && is_fresh(known, fresh.used)) {
		if (known->opener == w->origin)
			known->used = fresh.used;
		return 0;
	}
	bpf_map_update_elem(&hints, &key, &fresh, BPF_ANY);
	forget_flow(w, place, &key);
	return 0;
}

/* The walk refuses what has a record of its own: so it is a reply after all. */
stage_ int use_hint(struct walk *w, __u32 opener)
{
	struct tuple_key key = {};
	struct hint fresh = {};

	if (!w || !reply_tuple(w, w->origin, &key))
		return 0;
	fresh.opener = opener;
	fresh.used = now();
	bpf_map_update_elem(&hints, &key, &fresh, BPF_ANY);
	return 0;
}

/* Send a reply to its opener's port, as it is. */
inline_ int send_back(struct walk *w, __u32 opener)
{
	w->target = opener;
	w->tunnel = TUNNEL_FLAG_RETURN;
	w->kept = FLOW_KIND_HINTED;
	w->answer = ANSWER_NONE;
	return OUTPUT;
}

/* --- the owner ---------------------------------------------------------------------------------------- */

/* The record of the connection that a packet from elsewhere, for w->target, is a reply of. */
inline_ struct record *claimed(struct walk *w, struct tuple_key *key)
{
	struct record *record;

	if (!reply_tuple(w, w->target, key))
		return 0;
	reverse(key);
	record = bpf_map_lookup_elem(&records, key);
	if (!record || record->far_port != w->origin || !is_live(record, key->protocol, now()))
		return 0;
	return record;
}

/* Note on a record that a reply has come. */
inline_ void keep_up(struct walk *w, struct record *record)
{
	if (is_icmp_error(&w->packet))
		return;
	record->life = next_life(record->life, &w->packet, true);
	record->used = now();
}

inline_ bool is_current(const struct record *record)
{
	bool current = true;

	for (int i = 0; i < MAX_ZONES; i++) {
		__u32 zone = record->crossed[i].zone, *epoch;

		if (i >= record->zones)
			break;
		epoch = bpf_map_lookup_elem(&epochs, &zone);
		current = current && epoch && *epoch == record->crossed[i].epoch;
	}
	return current && record->zones;
}
