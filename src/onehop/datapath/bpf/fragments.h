/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage FRAGMENTS: later fragments follow their first, which is remembered by the port that sent it. */
#pragma once
#include "counters.h"
#include "parse.h"

inline_ int follow_first(struct walk *w, const struct first_fragment *known)
{
	struct packet *p = &w->packet;

	if (!known)
		return drop(w, STAGE_FRAGMENTS, DROP_FRAGMENT_FIRST_MISSING);
	if (p->fragment_at < known->end)
		return drop(w, STAGE_FRAGMENTS, DROP_FRAGMENT_OVERLAP);
	p->src_port = known->src_port;
	p->dst_port = known->dst_port;
	if (is_icmp(p)) {
		p->icmp_type = known->icmp_type;
		p->icmp_code = known->icmp_code;
		p->knows |= KNOWS_ICMP;
	}
	return GO;
}

stage_ int follow(struct walk *w)
{
	struct fragment_key key = {};
	struct first_fragment first = {}, *known;
	struct packet *p;

	if (!w || !w->packet.fragment)
		return GO;
	p = &w->packet;
	key.port = w->origin;
	key.src = p->src;
	key.dst = p->dst;
	key.id = p->fragment_id;
	key.protocol = p->protocol;
	known = bpf_map_lookup_elem(&fragments, &key);
	first.seen = now();
	if (known && first.seen - known->seen > FRAGMENT_LIFE)
		known = 0;
	if (p->fragment == FRAGMENT_LATER)
		return follow_first(w, known);
	first.src_port = p->src_port;
	first.dst_port = p->dst_port;
	first.icmp_type = p->icmp_type;
	first.icmp_code = p->icmp_code;
	first.end = p->fragment_size;
	if (known && (known->src_port != first.src_port || known->dst_port != first.dst_port ||
		      known->icmp_type != first.icmp_type || known->icmp_code != first.icmp_code ||
		      known->end != first.end))
		return drop(w, STAGE_FRAGMENTS, DROP_FRAGMENT_OVERLAP);
	bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
	return GO;
}
