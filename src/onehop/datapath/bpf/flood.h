/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage FLOOD: a copy for each member of a network on this host, and one for each other host that has some.
 *
 * A clone can be redirected only to an interface, so those for hosts go through the injection device, whose
 * egress program runs at once, on the same CPU: `jobs` tells it what to do with the clone.
 */
#pragma once
#include "answers.h"
#include "uplinks.h"

#define MAX_FLOOD 4096 /* members, and hosts, of one frame */

struct job {
	__u32 active, host, source, target, tunnel;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} jobs SEC(".maps");

/* Send a clone to another host. */
stage_ int send_clone(struct __sk_buff *skb, __u32 host, __u32 source, __u32 target, __u32 tunnel)
{
	__u32 zero = 0;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	int failed;

	if (!job || !inject_ifindex)
		return -1;
	job->host = host;
	job->source = source;
	job->target = target;
	job->tunnel = tunnel;
	job->active = 1;
	failed = bpf_clone_redirect(skb, inject_ifindex, 0);
	job->active = 0;
	return failed;
}

struct flooding {
	struct __sk_buff *skb;
	struct walk *w;
	struct verdict *verdict;
	__u32 network, acls_out, from; /* the origin, if it is a port of this network */
	__u32 delivered;
};

inline_ void note_copy(struct flooding *f, __u32 target, __u16 copy, __u16 reason)
{
	__u32 at;

	if (!f->verdict)
		return;
	at = f->verdict->copies;
	if (at >= MAX_COPIES)
		return;
	f->verdict->copied[at].target = target;
	f->verdict->copied[at].copy = copy;
	f->verdict->copied[at].drop = reason;
	f->verdict->copies = at + 1;
}

/* What the network and the member's port say to a copy. */
stage_ int judge_copy(struct __sk_buff *skb, struct walk *w, __u32 member, __u32 acls_out, __u32 from)
{
	struct port *port = bpf_map_lookup_elem(&ports, &member);
	__u32 in;
	int end;

	if (!w || !port)
		return DROPPED;
	in = from ? from : member;
	w->out = *port;
	w->out_key = member;
	if (!port->ifindex)
		return GO; /* its interface is gone: nobody hears it, and so nobody refuses it */
	end = judge_at(skb, w, acls_out, in, member);
	if (!end && !(w->out.flags & PORT_FLAG_UP))
		end = drop(w, STAGE_EGRESS_PORT, DROP_PORT_DOWN);
	if (!end)
		end = to_machine(skb, w);
	if (!end)
		end = judge_at(skb, w, w->out.acls_out, in, member);
	return end;
}

inline_ int clone_out(struct __sk_buff *skb, const struct port *port)
{
	int failed;

	if (!port->vlan)
		return bpf_clone_redirect(skb, port->ifindex, 0);
	if (bpf_skb_vlan_push(skb, bpf_htons(P_VLAN), port->vlan))
		return -1;
	failed = bpf_clone_redirect(skb, port->ifindex, 0);
	return bpf_skb_vlan_pop(skb) || failed;
}

static int copy_to_member(__u32 i, struct flooding *f)
{
	struct member_key key = { .network = f->network, .index = i };
	__u32 *member = bpf_map_lookup_elem(&members, &key);
	struct walk *w = f->w;

	if (!member)
		return 1;
	if (*member == w->origin)
		return 0;
	if (judge_copy(f->skb, w, *member, f->acls_out, f->from)) {
		note_copy(f, *member, COPY_DROPPED, w->drop);
		return 0;
	}
	if (w->out.ifindex && !clone_out(f->skb, &w->out)) {
		f->delivered++;
		note_copy(f, *member, COPY_DELIVERED, 0);
	} else {
		note_copy(f, *member, COPY_DROPPED, DROP_NO_BINDING);
	}
	return 0;
}

static int copy_to_host(__u32 i, struct flooding *f)
{
	struct member_key key = { .network = f->network, .index = i };
	__u32 *host = bpf_map_lookup_elem(&remotes, &key);

	if (!host)
		return 1;
	f->delivered++;
	note_copy(f, *host, COPY_SENT, 0);
	send_clone(f->skb, *host, f->w->origin, f->network, TUNNEL_FLAG_FLOOD);
	return 0;
}

/* DROPPED if every copy was; `everywhere`: to other hosts, too. */
stage_ int flood(struct __sk_buff *skb, struct walk *w, struct verdict *verdict, __u32 everywhere)
{
	struct flooding f = { .skb = skb };
	__u32 members_here, remote_hosts;
	struct network *network;
	struct port *origin;

	if (!w)
		return DROPPED;
	f.w = w;
	f.verdict = verdict;
	f.network = w->target;
	network = bpf_map_lookup_elem(&networks, &f.network);
	if (!network)
		return drop(w, STAGE_FLOOD, DROP_UNKNOWN_KEY);
	origin = bpf_map_lookup_elem(&ports, &w->origin);
	if (origin && !(origin->flags & PORT_FLAG_ON_ROUTER) && origin->device == f.network)
		f.from = w->origin;
	f.acls_out = network->acls_out;
	members_here = network->members;
	remote_hosts = everywhere ? network->remotes : 0;
	if (!everywhere && !members_here)
		return drop(w, STAGE_UNDERLAY, DROP_UNKNOWN_KEY);
	w->may_reply = 0; /* each copy is judged for good */
	w->has_record = w->related = 0;
	w->drop = 0;
	bpf_loop(members_here < MAX_FLOOD ? members_here : MAX_FLOOD, copy_to_member, &f, 0);
	bpf_loop(remote_hosts < MAX_FLOOD ? remote_hosts : MAX_FLOOD, copy_to_host, &f, 0);
	w->answer = ANSWER_NONE; /* no errors about copies */
	return w->drop && !f.delivered ? DROPPED : SPREAD;
}
