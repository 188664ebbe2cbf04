/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage ACLS. The list of a place has a JUMP for each ACL there, flagged as stateful or not. */
#pragma once
#include "icmp_errors.h"
#include "rules.h"

#define MAX_ACLS 16 /* at one place */

/* As rules judge it: a packet of the connection, where this is an error about it. */
inline_ __u32 judged_light(struct walk *w)
{
	if (!w->related || !w->has_record)
		return 0;
	copy_macs(w->judged.macs, w->packet.macs);
	return LIGHT_JUDGED;
}

/* A stateful list is asked about a new packet, and if it refuses, about one of a connection. */
inline_ int judge_stateful(struct __sk_buff *skb, struct walk *w, __u32 list)
{
	__u32 light = judged_light(w);
	int said;

	if (!w->has_tuple && !light)
		return go_through(skb, w, list, CONNECTION_STATE_UNTRACKED);
	w->stateful = 1;
	said = go_through(skb, w, list, light | CONNECTION_STATE_NEW);
	if (!said || said == RULE_ACTION_ALLOW)
		return said;
	if (light)
		return go_through(skb, w, list, CONNECTION_STATE_RELATED);
	return w->has_record ? go_through(skb, w, list, CONNECTION_STATE_ESTABLISHED) : said;
}

/* At a place: w->place_in and w->place_out say by which ports. */
stage_ int judge(struct __sk_buff *skb, struct walk *w, __u32 place)
{
	struct span *span = bpf_map_lookup_elem(&rule_spans, &place);
	__u32 base, count;

	if (!w || !span)
		return GO;
	base = span->base;
	count = span->count;
	for (__u32 i = 0; i < MAX_ACLS; i++) {
		__u32 at = base + i;
		struct rule *r;
		int said;

		if (i >= count)
			break;
		r = bpf_map_lookup_elem(&rules, &at);
		if (!r)
			break;
		said = r->flags & RULE_FLAG_STATEFUL ? judge_stateful(skb, w, r->jump) :
						       go_through(skb, w, r->jump, LIGHT_NONE);
		if (said == RULE_ACTION_ALLOW)
			return GO;
		if (said == RULE_ACTION_DROP)
			return refuse(w, STAGE_ACLS, DROP_ACL_DROP);
		if (said == RULE_ACTION_REJECT) {
			tell(w, ERROR_REJECTED, 0);
			return refuse(w, STAGE_ACLS, DROP_ACL_REJECT);
		}
	}
	return GO;
}

inline_ int judge_at(struct __sk_buff *skb, struct walk *w, __u32 place, __u32 in_port, __u32 out_port)
{
	if (!place || w->chooses)
		return GO;
	w->place_in = in_port;
	w->place_out = out_port;
	return judge(skb, w, place);
}

/* --- the reply: what stateless lists on the way say to it -------------------------------------------- */

stage_ int judge_back(struct __sk_buff *skb, struct walk *w, __u32 place)
{
	struct span *span = bpf_map_lookup_elem(&rule_spans, &place);
	__u32 base, count;

	if (!w || !span)
		return GO;
	base = span->base;
	count = span->count;
	for (__u32 i = 0; i < MAX_ACLS; i++) {
		__u32 at = base + i;
		struct rule *r;
		int said;

		if (i >= count)
			break;
		r = bpf_map_lookup_elem(&rules, &at);
		if (!r)
			break;
		if (r->flags & RULE_FLAG_STATEFUL)
			continue;
		said = go_through(skb, w, r->jump, LIGHT_JUDGED | LIGHT_NONE);
		if (said == RULE_ACTION_ALLOW)
			return GO;
		if (said)
			return drop(w, STAGE_ACLS, said == RULE_ACTION_REJECT ? DROP_ACL_REJECT : DROP_ACL_DROP);
	}
	return GO;
}

inline_ int back_at(struct __sk_buff *skb, struct walk *w, __u32 place, __u32 in_port, __u32 out_port,
		    const __u8 *macs)
{
	if (!place)
		return GO;
	w->place_in = in_port;
	w->place_out = out_port;
	__builtin_memcpy(w->judged.dst_mac, macs + 6, 6);
	__builtin_memcpy(w->judged.src_mac, macs, 6);
	return judge_back(skb, w, place);
}

/* The reply to what a packet was. */
inline_ void turn_to(struct packet *j, const struct ends *was)
{
	j->src = was->dst;
	j->dst = was->src;
	j->src_port = was->dst_port;
	j->dst_port = was->src_port;
}

/* One device on the way back, which the reply enters where the opener's packet left. */
stage_ int judge_reply_at(struct __sk_buff *skb, struct walk *w, __u32 index)
{
	struct visit *v;
	__u32 came, went;
	int end;

	if (!w || index >= MAX_DEVICES)
		return GO;
	v = &w->visits[index];
	if (!v->left)
		return GO;
	came = v->out_port;
	went = v->in_port;
	end = back_at(skb, w, v->out_acls, came, 0, v->macs_out);
	if (!end)
		end = back_at(skb, w, v->device_in, came, 0, v->macs_out);
	if (v->changed & CHANGED_SRC)
		turn_to(&w->judged, &v->before_src);
	if (!end && v->is_router)
		end = back_at(skb, w, v->device_forward, came, went, v->macs_out);
	if (!end)
		end = back_at(skb, w, v->device_out, came, went, v->macs_in);
	if (v->changed & CHANGED_DST)
		turn_to(&w->judged, &v->before_dst);
	if (!end)
		end = back_at(skb, w, v->in_acls, came, went, v->macs_in);
	return end;
}

inline_ int judge_reply(struct __sk_buff *skb, struct walk *w)
{
	struct packet *j = &w->judged, *p = &w->packet;

	if (!w->has_lists)
		return GO;
	*j = *p;
	j->src = p->dst;
	j->dst = p->src;
	j->src_port = p->dst_port;
	j->dst_port = p->src_port;
	j->fragment = 0;
	if (is_echo_request(p))
		j->icmp_type = p->version == 4 ? 0 : 129;
	for (int i = MAX_DEVICES - 1; i >= 0; i--) {
		int end = i < w->depth ? judge_reply_at(skb, w, i) : GO;

		if (end)
			return end;
	}
	return GO;
}
