/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Going through a list of rules. What a packet does not have never holds; what `invert` names must not hold. */
#pragma once
#include "counters.h"
#include "parse.h"

#define MAX_RULES_TRIED 32768 /* on one way through a list */

inline_ bool in_set(__u32 set, const struct in6_addr *address, __u8 version)
{
	struct prefix_key key = { .prefix = 32 + 128, .of = set | (version == 6 ? OF_IPV6 : 0), .address = *address };
	__u8 *found = bpf_map_lookup_elem(&address_sets, &key);

	return found && *found;
}

inline_ bool in_prefix(const struct in6_addr *a, const struct in6_addr *prefix, const struct in6_addr *mask,
		       __u8 version)
{
	if (version != 6 && mask->s6_addr32[2] != 0xffffffff)
		return false; /* IPv6 shorter than 96 bits, which would hold mapped addresses */
	return (a->s6_addr32[0] & mask->s6_addr32[0]) == prefix->s6_addr32[0] &&
	       (a->s6_addr32[1] & mask->s6_addr32[1]) == prefix->s6_addr32[1] &&
	       (a->s6_addr32[2] & mask->s6_addr32[2]) == prefix->s6_addr32[2] &&
	       (a->s6_addr32[3] & mask->s6_addr32[3]) == prefix->s6_addr32[3];
}

inline_ bool in_mac(const __u8 *mac, const __u8 *wanted, const __u8 *mask)
{
	__u32 differ = 0;

	for (int i = 0; i < 6; i++)
		differ |= (mac[i] ^ wanted[i]) & mask[i];
	return !differ;
}

struct scan {
	struct __sk_buff *skb;
	struct walk *w;
	struct packet *p;
	__u32 at, end, depth, state, result;
};

#define HOLDS(field, condition) \
	if (want & MATCH_FIELD_##field && (condition)) \
		held |= MATCH_FIELD_##field

inline_ __u32 held_cheaply(const struct rule *r, const struct packet *p, const struct walk *w, __u32 state)
{
	__u32 want = r->match, held = 0;
	__u16 src = bpf_ntohs(p->src_port), dst = bpf_ntohs(p->dst_port);
	bool icmp = is_icmp(p) && p->knows & KNOWS_ICMP;

	HOLDS(VERSION, r->version == p->version);
	HOLDS(PROTOCOL, p->version && r->protocol == p->protocol);
	HOLDS(SRC_PORTS, has_ports(p) && src >= r->src_low && src <= r->src_high);
	HOLDS(DST_PORTS, has_ports(p) && dst >= r->dst_low && dst <= r->dst_high);
	HOLDS(ICMP_TYPE, icmp && r->icmp_type == p->icmp_type);
	HOLDS(ICMP_CODE, icmp && r->icmp_code == p->icmp_code);
	HOLDS(IN_PORT, r->in_port == w->place_in);
	HOLDS(OUT_PORT, r->out_port == w->place_out);
	HOLDS(ETHERTYPE, r->ethertype == p->ethertype);
	HOLDS(VLAN, r->vlan == p->vlan);
	HOLDS(DSCP, p->version && r->dscp == p->tos >> 2);
	HOLDS(FRAGMENT, p->fragment && (r->fragment == FRAGMENT_ANY || r->fragment == p->fragment));
	HOLDS(STATE, state < 32 && r->state & (1U << state));
	return held;
}

#define CHEAP \
	(~(__u32)(MATCH_FIELD_SRC | MATCH_FIELD_DST | MATCH_FIELD_SRC_GROUP | MATCH_FIELD_DST_GROUP | \
		  MATCH_FIELD_SRC_MAC | MATCH_FIELD_DST_MAC))

/* Whether what most rules are about rules the packet out: only a short cut, so that long lists cost little. */
inline_ bool differs(const struct rule *r, const struct packet *p, __u32 want)
{
	__u16 dst = bpf_ntohs(p->dst_port);

	return (want & MATCH_FIELD_PROTOCOL && r->protocol != p->protocol) ||
	       (want & MATCH_FIELD_DST_PORTS && (dst < r->dst_low || dst > r->dst_high));
}

inline_ bool matches(const struct rule *r, const struct packet *p, const struct walk *w, __u32 state)
{
	__u32 want = r->match, held;

	if (!want)
		return true;
	if (differs(r, p, want & ~r->invert))
		return false;
	held = held_cheaply(r, p, w, state);
	if (((held ^ r->invert) & want & CHEAP) != (want & CHEAP))
		return false;
	HOLDS(SRC, p->version && in_prefix(&p->src, &r->src, &r->src_mask, p->version));
	HOLDS(DST, p->version && in_prefix(&p->dst, &r->dst, &r->dst_mask, p->version));
	HOLDS(SRC_MAC, in_mac(p->src_mac, r->src_mac, r->src_mac_mask));
	HOLDS(DST_MAC, in_mac(p->dst_mac, r->dst_mac, r->dst_mac_mask));
	HOLDS(SRC_GROUP, p->version && in_set(r->src_set, &p->src, p->version));
	HOLDS(DST_GROUP, p->version && in_set(r->dst_set, &p->dst, p->version));
	return ((held ^ r->invert) & want) == want;
}

inline_ void log_rule(struct scan *s, const struct rule *r)
{
	struct news news = { .kind = EVENT_KIND_LOG, .segment = r->acl, .id = r->id, .action = r->action };

	s->w->no_cache = 1; /* or it would be logged once a second */
	if (may_spend(s->w->origin, BUDGET_SLOW_PATH))
		tell_agent(s->skb, s->w, &news);
}

inline_ bool enter_list(struct scan *s, __u32 list)
{
	struct span *span = bpf_map_lookup_elem(&rule_spans, &list);
	struct span now;

	if (!span)
		return false;
	*(volatile __u64 *)&now = *(volatile __u64 *)span; /* base and count belong together */
	s->at = now.base;
	s->end = now.base + now.count;
	return true;
}

static int scan_one(__u32 i, struct scan *s)
{
	struct walk *w = s->w;
	struct rule *r;
	__u32 at = s->at;

	if (at >= s->end) {
		if (!s->depth)
			return 1;
		s->depth--;
		s->at = w->calls[s->depth & (MAX_JUMPS - 1)].at;
		s->end = w->calls[s->depth & (MAX_JUMPS - 1)].end;
		return 0;
	}
	s->at = at + 1;
	r = bpf_map_lookup_elem(&rules, &at);
	if (!r)
		return 1;
	if (!matches(r, s->p, w, s->state))
		return 0;
	if (r->flags & RULE_FLAG_LOG)
		log_rule(s, r);
	if (r->action == RULE_ACTION_RETURN) {
		s->at = s->end;
		return 0;
	}
	if (r->action == RULE_ACTION_JUMP) {
		__u32 depth = s->depth;

		if (depth >= MAX_JUMPS)
			return 0;
		w->calls[depth & (MAX_JUMPS - 1)].at = s->at;
		w->calls[depth & (MAX_JUMPS - 1)].end = s->end;
		if (enter_list(s, r->jump))
			s->depth = depth + 1;
		return 0;
	}
	s->result = r->action;
	w->rule = r->id;
	return 1;
}

#define LIGHT_JUDGED 0x100 /* judge w->judged rather than w->packet */
#define LIGHT_NONE 0xff

/* What a list says: 0, or a final RuleAction. `light`: what the packet is to its connection. */
stage_ int go_through(struct __sk_buff *skb, struct walk *w, __u32 list, __u32 light)
{
	struct scan s = { .skb = skb, .state = light & 0xff };

	if (!w)
		return 0;
	s.w = w;
	s.p = light & LIGHT_JUDGED ? &w->judged : &w->packet;
	if (!enter_list(&s, list))
		return 0;
	bpf_loop(MAX_RULES_TRIED, scan_one, &s, 0);
	return s.result;
}
