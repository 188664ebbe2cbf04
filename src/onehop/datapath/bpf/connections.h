/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage CONNECTIONS: which connection a packet belongs to, and what is kept of it.
 *
 * A record lives at its owner's host, keyed by the owner and the tuple of what it sends as the other side sees it
 * (away). Where the owner itself sends another tuple (home), `translated` leads from that to the key. A hint lives at
 * the far port's host, keyed by that port and the tuple of its replies. All are plain hashes: a port that fills its
 * share harms itself alone.
 */
#pragma once
#include "counters.h"
#include "hashing.h"

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

/* Whether there could be a connection that it is a reply of. */
inline_ bool can_answer(const struct walk *w)
{
	if (is_echo_request(&w->packet) || opens_tcp(&w->packet))
		return false;
	return is_icmp_error(&w->packet) ? w->quoted.port : w->has_tuple;
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

/* --- addresses and ports ------------------------------------------------------------------------------ */

inline_ void ends_of(struct ends *to, const struct packet *p)
{
	to->src = p->src;
	to->dst = p->dst;
	to->src_port = p->src_port;
	to->dst_port = p->dst_port;
}

inline_ void set_ends(struct packet *p, const struct ends *from)
{
	p->src = from->src;
	p->dst = from->dst;
	p->src_port = from->src_port;
	p->dst_port = from->dst_port;
}

/* Before the packet is translated. */
inline_ void touch(struct walk *w)
{
	if (!w->translated)
		ends_of(&w->original, &w->packet);
	w->translated = 1;
}

inline_ void key_of(struct tuple_key *key, __u32 port, const struct ends *ends, __u8 protocol)
{
	key->port = port;
	key->src = ends->src;
	key->dst = ends->dst;
	key->src_port = ends->src_port;
	key->dst_port = ends->dst_port;
	key->protocol = protocol;
	key->_1[0] = key->_1[1] = key->_1[2] = 0;
}

inline_ void turn(struct ends *ends)
{
	struct in6_addr src = ends->src;
	__be16 port = ends->src_port;

	ends->src = ends->dst;
	ends->dst = src;
	ends->src_port = ends->dst_port;
	ends->dst_port = port;
}

inline_ bool is_about(const struct walk *w)
{
	return w->quoted.port && is_icmp_error(&w->packet);
}

/* Of the connection's packets, as they are here; of an error, those are what it is about, turned round. */
inline_ void here(struct ends *ends, const struct walk *w)
{
	if (!is_about(w)) {
		ends_of(ends, &w->packet);
		return;
	}
	ends->src = w->quoted.dst;
	ends->dst = w->quoted.src;
	ends->src_port = w->quoted.dst_port;
	ends->dst_port = w->quoted.src_port;
}

/* Turn the packet into one of other ends. An error is translated with what it quotes; it comes from another address if
 * its source is the one that is translated. */
stage_ int become(struct walk *w, const struct ends *after)
{
	struct ends before;
	struct packet *p;

	if (!w || !after)
		return 0;
	here(&before, w);
	p = &w->packet;
	touch(w);
	if (!is_about(w)) {
		set_ends(p, after);
		return 0;
	}
	if (same_address(&p->src, &before.src))
		p->src = after->src;
	p->dst = after->dst;
	if (w->related)
		set_ends(&w->judged, after);
	before = *after;
	turn(&before);
	key_of(&w->quoted, 1, &before, w->quoted.protocol);
	return 0;
}

/* As it came. */
inline_ void restore(struct walk *w)
{
	if (w->translated)
		set_ends(&w->packet, &w->original);
	w->translated = 0;
}

inline_ bool same_ports(__be16 src, __be16 dst, const struct ends *other)
{
	return src == other->src_port && dst == other->dst_port;
}

inline_ bool has_ends(const struct tuple_key *key, const struct ends *ends)
{
	return same_address(&key->src, &ends->src) && same_address(&key->dst, &ends->dst) &&
	       same_ports(key->src_port, key->dst_port, ends);
}

inline_ bool same_key(const struct tuple_key *a, const struct tuple_key *b)
{
	return a->port == b->port && a->protocol == b->protocol && same_address(&a->src, &b->src) &&
	       same_address(&a->dst, &b->dst) && a->src_port == b->src_port && a->dst_port == b->dst_port;
}

/* --- looking up --------------------------------------------------------------------------------------- */

/* Whether there has been any record that is not found by what its owner sends, or that is inbound. */
inline_ __u32 *special(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&uses, &zero);
}

inline_ bool has_special(void)
{
	__u32 *used = special();

	return used && *used;
}

/* Whether an owner can send such a packet: as the opener no reply, else nothing but replies. All goes if w is 0. */
inline_ bool suits(const struct walk *w, const struct record *record)
{
	return !w || (record->flags & RECORD_FLAG_INBOUND ? can_answer(w) : !is_echo_reply(&w->packet));
}

/* The live record of what an owner sends; its key then stands in *key. */
inline_ struct record *find_home(const struct walk *w, struct tuple_key *key)
{
	struct record *record = bpf_map_lookup_elem(&records, key);
	struct tuple_key *away;
	__u64 time = now();

	if (record && !(record->flags & RECORD_FLAG_TRANSLATED) && is_live(record, key->protocol, time) &&
	    suits(w, record))
		return record;
	if (!has_special())
		return 0;
	away = bpf_map_lookup_elem(&translated, key);
	if (!away)
		return 0;
	*key = *away;
	record = bpf_map_lookup_elem(&records, key);
	if (!record || !(record->flags & RECORD_FLAG_TRANSLATED) || !is_live(record, key->protocol, time))
		return 0;
	return suits(w, record) ? record : 0;
}

/* Whether a key is that of another live record than the one of this home. */
inline_ bool is_taken(const struct tuple_key *key, const struct ends *home)
{
	struct record *record = bpf_map_lookup_elem(&records, key);

	if (!record || !is_live(record, key->protocol, now()))
		return false;
	if (!(record->flags & RECORD_FLAG_TRANSLATED))
		return !has_ends(key, home);
	return !same_address(&record->home.src, &home->src) || !same_address(&record->home.dst, &home->dst) ||
	       !same_ports(home->src_port, home->dst_port, &record->home);
}

/* The connection's packets, as its opener sends them. */
inline_ void set_near(struct packet *p, const struct walk *w)
{
	const struct record *record = &w->record;

	if (record->flags & RECORD_FLAG_INBOUND) {
		p->src = w->key.dst;
		p->dst = w->key.src;
		p->src_port = w->key.dst_port;
		p->dst_port = w->key.src_port;
	} else if (record->flags & RECORD_FLAG_TRANSLATED) {
		set_ends(p, &record->home);
	} else {
		p->src = w->key.src;
		p->dst = w->key.dst;
		p->src_port = w->key.src_port;
		p->dst_port = w->key.dst_port;
	}
}

/* What rules judge instead of an error: the connection's own packets. */
inline_ void judge_as_own(struct walk *w)
{
	struct packet *j = &w->judged;

	*j = w->packet;
	set_near(j, w);
	j->protocol = w->key.protocol;
	j->tos = w->record.tos;
	j->fragment = 0;
	j->knows &= ~(KNOWS_ICMP | KNOWS_TCP);
	if (is_icmp(j)) {
		j->icmp_type = j->version == 4 ? 8 : 128;
		j->icmp_code = 0;
		j->knows |= KNOWS_ICMP;
	}
}

/* Home counts only where it is another tuple: most copies are short. */
inline_ void copy_record(struct record *to, const struct record *from)
{
	__builtin_memcpy(to, from, __builtin_offsetof(struct record, home));
	if (from->flags & RECORD_FLAG_TRANSLATED)
		to->home = from->home;
}

/* Find the connection that this port owns, of what it sends. */
stage_ int own_record(struct walk *w)
{
	struct tuple_key key = {};
	struct record *record;

	if (!w || (is_echo_reply(&w->packet) && !has_special()))
		return 0; /* an echo reply is never an opener's, but may answer what came from an uplink */
	tuple_of(&key, w->origin, &w->packet);
	if (is_icmp_error(&w->packet)) {
		if (!w->quoted.port)
			return 0;
		key = w->quoted;
		key.port = w->origin;
		reverse(&key);
	} else if (!w->has_tuple) {
		return 0;
	}
	record = find_home(w, &key);
	if (!record)
		return 0;
	copy_record(&w->record, record);
	w->key = key;
	w->has_record = 1;
	if (is_icmp_error(&w->packet)) {
		w->related = 1;
		judge_as_own(w);
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

/* Whether the connection was opened from an uplink, and is its own no more than the uplink is: the machine's. */
inline_ bool is_inbound(const struct walk *w)
{
	return w->owner != w->origin;
}

/* The packet's addresses and ports as they came. */
inline_ void first_ends(struct ends *to, const struct walk *w)
{
	if (w->translated)
		*to = w->original;
	else
		ends_of(to, &w->packet);
}

/* The key of the record that the packet would have. */
inline_ void away_of(struct tuple_key *key, const struct walk *w)
{
	struct ends near;

	if (!is_inbound(w)) {
		tuple_of(key, w->owner, &w->packet);
		return;
	}
	first_ends(&near, w);
	turn(&near);
	key_of(key, w->owner, &near, w->packet.protocol);
}

inline_ void home_of(struct ends *home, const struct walk *w)
{
	if (!is_inbound(w)) {
		first_ends(home, w);
		return;
	}
	ends_of(home, &w->packet);
	turn(home);
}

inline_ void fill_record(struct walk *w, struct record *record, __u8 life)
{
	__builtin_memset(record, 0, __builtin_offsetof(struct record, home));
	record->far_port = is_inbound(w) ? w->origin : w->target;
	copy_macs(record->near_dst, w->near_macs);
	copy_macs(record->far_dst, w->packet.macs);
	record->hops = w->hops;
	record->tos = w->packet.tos;
	record->life = life;
	record->flags = (w->packet.version == 6 ? RECORD_FLAG_VERSION6 : 0) |
			(w->has_lists || w->no_cache ? 0 : RECORD_FLAG_JUDGED) |
			(w->translated ? RECORD_FLAG_TRANSLATED : 0) | (is_inbound(w) ? RECORD_FLAG_INBOUND : 0);
	record->mtu = w->visits[0].is_router ? 0 : w->visits[0].mtu;
	record->zones = w->zones;
	record->router = is_inbound(w) ? w->router : w->out.flags & PORT_FLAG_UPLINK ? w->out.device : 0;
	record->used = now();
	for (int i = 0; i < MAX_ZONES; i++)
		record->crossed[i] = w->crossed[i];
	if (w->translated)
		home_of(&record->home, w);
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

/* An index to a record goes with it, unless it leads to another by now. */
inline_ void remove_index(const struct tuple_key *key, const struct record *record)
{
	struct tuple_key home, *at;

	key_of(&home, key->port, &record->home, key->protocol);
	at = bpf_map_lookup_elem(&translated, &home);
	if (at && same_key(at, key))
		bpf_map_delete_elem(&translated, &home);
}

/* Whether there was one. */
stage_ int remove_record(const struct tuple_key *given)
{
	struct record *record;
	struct tuple_key key;

	if (!given)
		return 0;
	key = *given;
	record = bpf_map_lookup_elem(&records, &key);
	if (record && record->flags & RECORD_FLAG_TRANSLATED)
		remove_index(&key, record);
	if (bpf_map_delete_elem(&records, &key))
		return 0;
	closed(key.port);
	return 1;
}

/* What the connection was made of is no longer valid. */
stage_ int end_connection(struct walk *w, __u32 stage)
{
	struct tuple_key key;

	if (!w)
		return DROPPED;
	key = w->key;
	if (!w->probe)
		remove_record(&key);
	return drop(w, stage, DROP_CONNECTION_ENDED);
}

inline_ int no_room(struct __sk_buff *skb, struct walk *w)
{
	struct news news = { .kind = EVENT_KIND_TABLE_FULL };

	if (may_spend(w->origin, BUDGET_SLOW_PATH))
		tell_agent(skb, w, &news);
	return drop(w, STAGE_CONNECTIONS, DROP_TABLE_FULL);
}

/* Lead from home to the record. */
stage_ int index_record(const struct tuple_key *given, const struct record *record)
{
	struct tuple_key home, key;
	__u32 *used;

	if (!given || !record)
		return 0;
	used = special();
	if (used)
		*used = 1;
	if (!(record->flags & RECORD_FLAG_TRANSLATED))
		return 0;
	key = *given;
	key_of(&home, key.port, &record->home, key.protocol);
	return bpf_map_update_elem(&translated, &home, &key, BPF_ANY);
}

/* Write a new record; PROBE if another connection has its key. */
stage_ int add_record(struct __sk_buff *skb, struct walk *w, __u32 most)
{
	struct record *known;
	struct tuple_key key;
	struct ends home;

	if (!w)
		return DROPPED;
	key = w->key;
	if (!may_open(w->owner, most))
		return no_room(skb, w);
	if (bpf_map_update_elem(&records, &key, &w->record, BPF_NOEXIST)) {
		closed(w->owner);
		known = bpf_map_lookup_elem(&records, &key);
		if (!known)
			return no_room(skb, w);
		home_of(&home, w);
		if (is_taken(&key, &home))
			return PROBE;
		if (known->flags & RECORD_FLAG_TRANSLATED)
			remove_index(&key, known);
		*known = w->record; /* another CPU was first, or it has expired */
	}
	if (!(w->record.flags & (RECORD_FLAG_TRANSLATED | RECORD_FLAG_INBOUND)) || !index_record(&key, &w->record))
		return GO;
	remove_record(&key);
	return no_room(skb, w);
}

inline_ bool has_source_port(__u8 protocol, __u8 version)
{
	return protocol == TCP || protocol == UDP || protocol == (version == 4 ? ICMP : ICMP6);
}

/* Looking for another source port that makes a tuple its own. */
struct other_port {
	struct tuple_key key; /* of the record; of an inbound one, what its owner would send */
	__u64 hash;
	__u16 inbound, echo, found;
};

inline_ bool home_taken(const struct tuple_key *home)
{
	struct tuple_key key = *home;

	return find_home(0, &key);
}

inline_ bool away_taken(const struct tuple_key *key)
{
	struct record *record = bpf_map_lookup_elem(&records, key);

	return record && is_live(record, key->protocol, now());
}

static int try_other(__u32 i, struct other_port *o)
{
	__be16 port = bpf_htons(1024 + (o->hash + i) % 64512);

	if (o->inbound || o->echo)
		o->key.dst_port = port;
	if (!o->inbound || o->echo)
		o->key.src_port = port;
	o->found = !(o->inbound ? home_taken(&o->key) : away_taken(&o->key));
	return o->found;
}

/* Another connection of the owner has the tuple: give this one another source port. */
stage_ int avoid_clash(struct walk *w)
{
	struct other_port o = {};
	struct packet *p;

	if (!w)
		return DROPPED;
	p = &w->packet;
	o.inbound = is_inbound(w);
	o.echo = is_icmp(p);
	o.hash = connection_hash(p, 0);
	tuple_of(&o.key, w->owner, p);
	if (o.inbound)
		reverse(&o.key);
	if (!w->dynamic && has_source_port(p->protocol, p->version))
		bpf_loop(16, try_other, &o, 0);
	if (!o.found)
		return drop(w, STAGE_CONNECTIONS, DROP_TUPLE_CLASH);
	touch(w);
	p->src_port = o.inbound ? o.key.dst_port : o.key.src_port;
	if (o.echo)
		p->dst_port = p->src_port;
	return GO;
}

/* Inbound: the key is what the outside sees, and cannot be another. Home can. */
stage_ int avoid_clashes_inbound(struct walk *w)
{
	struct tuple_key key;
	struct ends home;

	if (!w)
		return DROPPED;
	away_of(&key, w);
	home_of(&home, w);
	if (away_taken(&key))
		return drop(w, STAGE_CONNECTIONS, DROP_TUPLE_CLASH);
	key_of(&key, w->owner, &home, w->packet.protocol);
	return home_taken(&key) ? avoid_clash(w) : GO;
}

/* The far tuple that a record has, as the packet at w is one of its connection's. */
inline_ void far_of(struct ends *far, const struct walk *w)
{
	if (w->record.flags & RECORD_FLAG_INBOUND && w->record.flags & RECORD_FLAG_TRANSLATED) {
		*far = w->record.home;
		turn(far);
		return;
	}
	far->src = w->key.src;
	far->dst = w->key.dst;
	far->src_port = w->key.src_port;
	far->dst_port = w->key.dst_port;
	if (w->record.flags & RECORD_FLAG_INBOUND)
		turn(far);
}

/* With a record: the far tuple has to be what it was. Its source port is made so. */
stage_ int hold(struct walk *w)
{
	struct ends far, now_far;
	__u8 version;
	bool same;

	if (!w)
		return DROPPED;
	version = w->packet.version;
	far_of(&far, w);
	here(&now_far, w);
	same = same_address(&now_far.src, &far.src) && same_address(&now_far.dst, &far.dst);
	if (same && same_ports(now_far.src_port, now_far.dst_port, &far))
		return GO;
	if (!same || w->dynamic || !has_source_port(w->key.protocol, version) ||
	    (now_far.dst_port != far.dst_port && w->key.protocol != ICMP && w->key.protocol != ICMP6))
		return end_connection(w, STAGE_CONNECTIONS);
	if (!w->probe) /* rules see it as it is before */
		become(w, &far);
	return GO;
}

/* Write down the connection of a packet that has passed, on its way to w->target. */
stage_ int keep(struct __sk_buff *skb, struct walk *w, __u32 most)
{
	struct tuple_key key = {};
	struct record *known;
	struct packet *p;
	int end = GO;

	if (!w)
		return DROPPED;
	if (w->related)
		return w->translated || w->record.flags & RECORD_FLAG_TRANSLATED ? hold(w) : GO;
	if (!w->stateful || !w->has_tuple)
		return GO;
	p = &w->packet;
	if (p->knows & KNOWS_TCP && is_nonsense(p->tcp_flags))
		return drop(w, STAGE_CONNECTIONS, DROP_INVALID_STATE);
	if (!w->has_record && (is_echo_reply(p) || (p->knows & KNOWS_TCP && p->tcp_flags & TCP_RST))) {
		w->no_cache = 1; /* what comes next may open one */
		return GO;
	}
	if (w->has_record && (w->translated || w->record.flags & RECORD_FLAG_TRANSLATED))
		end = hold(w);
	else if (!w->has_record && is_inbound(w))
		end = avoid_clashes_inbound(w);
	if (end)
		return end;
	away_of(&key, w);
	fill_record(w, &w->record, w->has_record ? next_life(w->record.life, p, false) : first_life(p));
	w->kept = is_inbound(w) ? FLOW_KIND_REPLY : FLOW_KIND_OWN;
	w->tunnel = is_inbound(w) || w->out.flags & PORT_FLAG_UPLINK ? 0 : TUNNEL_FLAG_LEARN;
	known = w->has_record ? bpf_map_lookup_elem(&records, &key) : 0;
	if (known) {
		copy_record(known, &w->record);
		return GO;
	}
	w->key = key;
	return add_record(skb, w, most);
}

/* The same, where another connection had the key. */
stage_ int keep_apart(struct __sk_buff *skb, struct walk *w, __u32 most)
{
	int end = avoid_clash(w);

	if (end || !w)
		return DROPPED;
	away_of(&w->key, w);
	fill_record(w, &w->record, w->record.life);
	return add_record(skb, w, most) ? drop(w, STAGE_CONNECTIONS, DROP_TUPLE_CLASH) : GO;
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
	w->no_cache = 1; /* what the walk does not refuse is no reply */
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
	if (!record || record->flags & RECORD_FLAG_INBOUND || record->far_port != w->origin ||
	    !is_live(record, key->protocol, now()))
		return 0;
	return record;
}

/* What comes to the owner as the other side sends it, as the owner expects it. */
stage_ int to_home(struct walk *w)
{
	struct ends home;

	if (!w || !(w->record.flags & RECORD_FLAG_TRANSLATED))
		return 0;
	home = w->record.home;
	turn(&home);
	return become(w, &home);
}

/* What the owner sends, as the other side is to see it. */
stage_ int to_away(struct walk *w)
{
	struct ends away;

	if (!w || !(w->record.flags & RECORD_FLAG_TRANSLATED))
		return 0;
	away.src = w->key.src;
	away.dst = w->key.dst;
	away.src_port = w->key.src_port;
	away.dst_port = w->key.dst_port;
	return become(w, &away);
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
