/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage NAT: what a router makes of destinations and sources.
 *
 * The packet in the walk changes at once, so that whatever comes later judges it as it is there; the packet itself is
 * changed at the end, by `translate`. Each visit notes what the packet was before, for replies that are judged.
 */
#pragma once
#include "connections.h"

inline_ struct visit *visit_of(struct walk *w)
{
	return &w->visits[(w->depth - 1) & (MAX_DEVICES - 1)];
}

/* Some bits of one address, the others of the other. */
inline_ void merge(struct in6_addr *to, const struct in6_addr *from, __u32 bits)
{
	for (int i = 0; i < 4; i++) {
		__u32 mask = bits >= 32 ? 0xffffffff : bits ? bpf_htonl(0xffffffff << (32 - bits)) : 0;

		to->s6_addr32[i] = (from->s6_addr32[i] & mask) | (to->s6_addr32[i] & ~mask);
		bits -= bits < 32 ? bits : 32;
	}
}

/* --- destinations ------------------------------------------------------------------------------------- */

inline_ struct nat_forward *forward_at(__u32 router, const struct in6_addr *address, __be16 port, __u8 protocol)
{
	struct nat_forward_key key = { .router = router, .address = *address, .port = port, .protocol = protocol };

	return bpf_map_lookup_elem(&nat_forwards, &key);
}

/* The port that has a block belongs to one machine's port, to which the packet goes as it came. */
inline_ int hand_over(struct walk *w, __u32 port)
{
	int end;

	if (!w->chooses) {
		end = refuse(w, STAGE_NAT, DROP_UNSOLICITED);
		if (end)
			return end;
	}
	w->target = port;
	return REACHED;
}

inline_ int to_block(struct walk *w, __be16 port)
{
	struct nat_block_key at = { .router = w->in.device, .address = w->packet.dst };
	__u32 *has;

	at.block = bpf_ntohs(port) / BLOCK_PORTS;
	has = bpf_map_lookup_elem(&nat_blocks, &at);
	return has ? hand_over(w, *has) : GO;
}

stage_ int destination_nat(struct walk *w)
{
	struct prefix_key key = { .prefix = 32 + 128 };
	struct nat_destination *found;
	struct nat_forward *f = 0;
	struct ends ends;

	if (!w)
		return DROPPED;
	key.of = w->in.device | (w->packet.version == 6 ? OF_IPV6 : 0);
	key.address = w->packet.dst;
	found = bpf_map_lookup_elem(&nat_destinations, &key);
	if (!found)
		return GO;
	here(&ends, w);
	if (found->flags & NAT_DESTINATION_FLAG_FORWARDS)
		f = forward_at(w->in.device, &w->packet.dst, ends.dst_port,
			       is_about(w) ? w->quoted.protocol : w->packet.protocol);
	if (f) {
		ends.dst = f->to;
		ends.dst_port = f->port;
		w->stateful = 1;
	} else if (found->flags & NAT_DESTINATION_FLAG_STATIC) {
		merge(&ends.dst, &found->to, found->bits);
		if (found->flags & NAT_DESTINATION_FLAG_ADDRESS)
			w->stateful = 1;
	} else {
		return found->flags & NAT_DESTINATION_FLAG_BLOCKS && can_answer(w) ? to_block(w, ends.dst_port) : GO;
	}
	here(&visit_of(w)->before_dst, w);
	visit_of(w)->changed |= CHANGED_DST;
	become(w, &ends);
	return GO;
}

/* --- sources ------------------------------------------------------------------------------------------ */

#define CANDIDATES 64
#define STRIDE (BLOCK_PORTS + 1) /* from one to the next: another block, for one may be full */
#define ENOUGH 7 /* a later candidate than this: the agent is to ask for more blocks */

/* From another address and port: an echo has its id in both. */
inline_ void become_from(struct walk *w, const struct in6_addr *address, __be16 port)
{
	struct ends ends;
	__u8 protocol = is_about(w) ? w->quoted.protocol : w->packet.protocol;

	here(&ends, w);
	ends.src = *address;
	ends.src_port = port;
	if (protocol != TCP && protocol != UDP)
		ends.dst_port = port;
	become(w, &ends);
}

inline_ bool shares_prefix(const struct in6_addr *a, const struct in6_addr *b, __u32 bits)
{
	struct in6_addr merged = *a;

	merge(&merged, b, bits);
	return same_address(&merged, a);
}

/* An error that belongs to no record comes from its own address, whatever it is about. */
inline_ int from_static(struct walk *w, const struct nat_source *found)
{
	struct in6_addr outer = w->packet.src;
	struct ends ends;

	here(&ends, w);
	if (shares_prefix(&ends.src, &w->packet.src, found->bits) || w->related)
		merge(&ends.src, &found->to, found->bits);
	become(w, &ends);
	if (w->related || !is_about(w))
		return GO;
	merge(&outer, &found->to, found->bits);
	w->packet.src = outer;
	return GO;
}

/* Looking for a block with a port, among those that the origin has. */
struct search {
	struct in6_addr address;
	__u32 base;
	__u16 first, found;
};

static int is_block(__u32 i, struct search *s)
{
	__u32 at = s->base + i;
	struct block *b = bpf_map_lookup_elem(&blocks, &at);

	s->found = b && b->first == s->first && same_address(&b->address, &s->address);
	return !b || s->found;
}

/* What has a record keeps its port while that is the origin's. */
stage_ int keep_binding(struct walk *w, __u32 base, __u32 count)
{
	struct search s = { .base = base };

	if (!w)
		return DROPPED;
	s.address = w->key.src;
	s.first = bpf_ntohs(w->key.src_port) & ~(BLOCK_PORTS - 1);
	bpf_loop(count, is_block, &s, 0);
	if (!s.found)
		return end_connection(w, STAGE_NAT);
	become_from(w, &w->key.src, w->key.src_port);
	return GO;
}

struct candidates {
	struct tuple_key key; /* of the record that would be made, with home in the record that is asked for */
	struct walk *w;
	__u64 hash;
	__u32 base, count, router, tried;
	__u16 echo, found;
};

static int try_port(__u32 i, struct candidates *c)
{
	__u32 x = (c->hash + i * STRIDE) % ((__u64)c->count * BLOCK_PORTS), at = c->base + x / BLOCK_PORTS;
	struct block *b = bpf_map_lookup_elem(&blocks, &at);

	c->tried = i;
	if (!b)
		return 1;
	c->key.src = b->address;
	c->key.src_port = bpf_htons(b->first + x % BLOCK_PORTS);
	if (c->echo)
		c->key.dst_port = c->key.src_port;
	if (is_taken(&c->key, &c->w->original)) /* as most are that are not free */
		return 0;
	if (!c->echo && forward_at(c->router, &c->key.src, c->key.src_port, c->key.protocol))
		return 0;
	c->found = 1;
	return 1;
}

inline_ void tell_low(struct __sk_buff *skb, struct walk *w, __u32 rule)
{
	struct news news = { .kind = EVENT_KIND_NAT_LOW, .segment = w->out_key, .id = rule };

	if (may_spend(w->origin, BUDGET_SLOW_PATH))
		tell_agent(skb, w, &news);
}

stage_ int bind_port(struct walk *w, __u32 base, __u32 count, __u32 router)
{
	struct candidates c = { .base = base, .count = count, .router = router };

	if (!w)
		return DROPPED;
	touch(w);
	tuple_of(&c.key, w->owner, &w->packet);
	c.w = w;
	c.hash = connection_hash(&w->packet, 0);
	c.echo = is_icmp(&w->packet);
	if (count)
		bpf_loop(CANDIDATES, try_port, &c, 0);
	if (!c.found) {
		w->late = 1;
		return drop(w, STAGE_NAT, DROP_NAT_EXHAUSTED);
	}
	w->late = c.tried >= ENOUGH;
	become_from(w, &c.key.src, c.key.src_port);
	return GO;
}

/* Whether a shared address can be had for a packet at all; GO, or how it ends. */
inline_ int can_share(struct walk *w)
{
	struct packet *p = &w->packet;

	if (is_icmp_error(p) && !w->related)
		return drop(w, STAGE_NAT, DROP_UNSOLICITED);
	if (w->related ? has_source_port(w->key.protocol, p->version) : w->has_tuple && has_source_port(p->protocol, p->version))
		return GO;
	return drop(w, STAGE_NAT, DROP_UNSUPPORTED);
}

inline_ int from_shared(struct __sk_buff *skb, struct walk *w, __u32 rule, __u32 router)
{
	struct nat_binding_key key = { .port = w->origin, .rule = rule };
	__u32 *list, base = 0, count = 0;
	struct span *span;
	int end;

	w->stateful = 1;
	end = can_share(w);
	if (end)
		return end;
	list = bpf_map_lookup_elem(&nat_bindings, &key);
	span = list ? bpf_map_lookup_elem(&block_spans, list) : 0;
	if (span) {
		struct span at;

		*(volatile __u64 *)&at = *(volatile __u64 *)span;
		base = at.base;
		count = at.count;
	}
	if (w->has_record) {
		end = keep_binding(w, base, count);
	} else if (can_answer(w) && w->packet.protocol != UDP) {
		return refuse(w, STAGE_NAT, DROP_UNSOLICITED);
	} else {
		end = bind_port(w, base, count, router);
		if (w->late)
			tell_low(skb, w, rule);
	}
	w->dynamic = 1;
	return end;
}

stage_ int source_nat(struct __sk_buff *skb, struct walk *w)
{
	struct prefix_key key = { .prefix = 32 + 128 };
	struct nat_source *found;
	struct visit *v;

	if (!w || w->in_key == w->out_key || w->dynamic)
		return GO;
	key.of = w->out_key | (w->packet.version == 6 ? OF_IPV6 : 0);
	key.address = w->related ? w->quoted.dst : w->packet.src;
	found = bpf_map_lookup_elem(&nat_sources, &key);
	if (!found)
		return GO;
	v = visit_of(w);
	here(&v->before_src, w);
	v->changed |= CHANGED_SRC;
	if (found->action == NAT_ACTION_STATIC)
		return from_static(w, found);
	return w->chooses ? GO : from_shared(skb, w, found->rule, found->router);
}
