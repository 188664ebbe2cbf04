// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The entry points. A packet that the flow cache does not know goes on by tail call, with a stack of its own:
 *
 *    from_port ──────┬─ hit ─► out
 *    inject ─────────┴─ miss ─► simulate ─┬─► out          out: to an interface of this host, or in a tunnel
 *                                         ├─► copies ─► flood
 *    from_underlay ──┬─ hit ─► out        └─► answers ─► back
 *                    └─ miss ─► receive ─► the same
 *
 * What the next program needs to know travels in skb->cb, and in the walk.
 */
#include "beyond.h"
#include "flood.h"
#include "hand_over.h"
#include "moved.h"
#include "sweep.h"

enum step {
	STEP_SIMULATE,
	STEP_RECEIVE,
	STEP_COPIES,
	STEP_ANSWERS,
	STEP_CHOOSE,
	STEP_FROM_OUTSIDE,
};

/* skb->cb */
enum { CB_PORT, CB_PLACE, CB_TUNNEL, CB_HOST, CB_HOW };
#define CB_ASKER CB_HOST /* of what a router sends: the port for which it does */
#define CB_SOURCE CB_PLACE /* from the tunnel, the place is PLACE_TUNNEL | port */
#define CB_UPLINK CB_TUNNEL /* for from_outside */
#define AT_INGRESS 1 /* in CB_HOW: redirect_peer works; from bit 8 on, why a packet waits no longer */
#define IN_FULL 2 /* in CB_HOW: what came by an uplink is judged here */
#define UNCACHED 4 /* in CB_HOW: for from_outside */

int simulate(struct __sk_buff *skb);
int receive(struct __sk_buff *skb);
int copies(struct __sk_buff *skb);
int answers(struct __sk_buff *skb);
int choose_target(struct __sk_buff *skb);
int from_outside(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 6);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} steps SEC(".maps") = {
	.values = {
		[STEP_SIMULATE] = (void *)&simulate,
		[STEP_RECEIVE] = (void *)&receive,
		[STEP_COPIES] = (void *)&copies,
		[STEP_ANSWERS] = (void *)&answers,
		[STEP_CHOOSE] = (void *)&choose_target,
		[STEP_FROM_OUTSIDE] = (void *)&from_outside,
	},
};

/* --- how a packet ends -------------------------------------------------------------------------------- */

inline_ struct verdict *verdict_at(void)
{
	__u32 zero = 0;

	return explain ? bpf_map_lookup_elem(&verdicts, &zero) : 0;
}

inline_ void tell_verdict(const struct walk *w, __u8 action)
{
	struct verdict *v = verdict_at();

	if (!v)
		return;
	v->action = action;
	v->drop = w->drop;
	v->stage = w->drop || w->answer ? w->stage : 0;
	v->refused = w->tunnel & TUNNEL_FLAG_ASK ? w->refused : 0;
	v->tunnel = w->tunnel;
	v->hit = 0;
	v->target = w->target;
	v->source = w->origin;
	v->host = w->host == THIS_HOST ? 0 : w->host;
	v->rule = w->rule;
	if (w->tunnel != TUNNEL_FLAG_FLOOD)
		v->copies = 0;
}

inline_ int refused(__u32 port, __u32 reason, __u32 bytes)
{
	struct verdict *v = verdict_at();

	count(port, reason, bytes);
	if (v) {
		__builtin_memset(v, 0, __builtin_offsetof(struct verdict, copied));
		v->action = ACTION_DROPPED;
		v->drop = reason;
		v->stage = STAGE_UNDERLAY;
		v->source = port;
	}
	return TC_ACT_SHOT;
}

inline_ int left(void)
{
	struct verdict *v = verdict_at();

	if (v) {
		__builtin_memset(v, 0, __builtin_offsetof(struct verdict, copied));
		v->action = ACTION_SLOW_PATH;
	}
	return TC_ACT_SHOT;
}

inline_ int passed(void)
{
	struct verdict *v = verdict_at();

	if (v) {
		__builtin_memset(v, 0, __builtin_offsetof(struct verdict, copied));
		v->action = ACTION_PASSED;
	}
	return NEXT;
}

inline_ int dropped(struct __sk_buff *skb, struct walk *w)
{
	if (w->refused) { /* also where it was asked about here: that only confirmed it */
		w->drop = w->refused;
		w->stage = w->refused_stage;
		w->rule = w->refused_rule;
	}
	count(w->origin, w->drop, skb->len);
	tell_verdict(w, w->answer ? ACTION_ANSWERED : ACTION_DROPPED);
	if (w->answer)
		bpf_tail_call(skb, &steps, STEP_ANSWERS);
	return TC_ACT_SHOT;
}

/* --- out ---------------------------------------------------------------------------------------------- */

/* To w->target here, or on w->host. */
stage_ int put_translated(struct __sk_buff *skb, struct walk *w, __u32 place, __u32 at_ingress)
{
	struct flow flow = {};
	int result;

	if (!w)
		return TC_ACT_SHOT;
	fill_flow(w, &flow);
	keep_flow(w, &flow, place);
	flow.flags &= ~FLOW_FLAG_TRANSLATE; /* that is done */
	if (pull_headers(skb, ETH + 40))
		return TC_ACT_SHOT;
	tell_verdict(w, flow.flags & FLOW_FLAG_LOCAL ? ACTION_DELIVERED : ACTION_SENT);
	if (flow.flags & FLOW_FLAG_LOCAL)
		result = deliver_to(skb, &flow, at_ingress);
	else
		result = send_to(skb, &flow);
	return result;
}

inline_ int put_out(struct __sk_buff *skb, struct walk *w, __u32 place, __u32 at_ingress)
{
	if (w->translated && translate(skb, w))
		return TC_ACT_SHOT;
	return put_translated(skb, w, place, at_ingress);
}

/* Of what comes by an uplink: its router, and what the port that it is for may have open. */
stage_ int know_ends(struct walk *w)
{
	struct port *uplink, *port;

	if (!w)
		return DROPPED;
	uplink = bpf_map_lookup_elem(&ports, &w->origin);
	port = bpf_map_lookup_elem(&ports, &w->owner);
	if (!uplink || !port)
		return drop(w, STAGE_UNDERLAY, DROP_UNKNOWN_KEY);
	if (!port->ifindex)
		return drop(w, STAGE_EGRESS_PORT, DROP_NO_BINDING);
	w->router = uplink->device;
	w->quota = port->quota ? port->quota : quota;
	return GO;
}

/* What was sent to a port of this host, as if it had come through a tunnel. */
inline_ int arrive_here(struct __sk_buff *skb, struct walk *w)
{
	if (!w->out.ifindex)
		return drop(w, STAGE_EGRESS_PORT, DROP_NO_BINDING);
	if (!(w->tunnel & (TUNNEL_FLAG_RETURN | TUNNEL_FLAG_ASK))) {
		int end;

		if (w->out.flags & PORT_FLAG_UPLINK)
			return leave_outside(skb, w);
		end = arrive(w, place_of(w->target, &w->out));
		if (end != PROBE)
			return end;
	}
	__builtin_memset(&w->record, 0, sizeof(w->record));
	return reply(skb, w);
}

/* Where the target is. */
stage_ int locate(struct walk *w)
{
	struct port *port;

	if (!w)
		return DROPPED;
	port = bpf_map_lookup_elem(&ports, &w->target);
	if (!port) {
		w->missing = w->target;
		return drop(w, STAGE_EGRESS_PORT, DROP_NOT_FOLLOWED);
	}
	w->out = *port;
	w->out_key = w->target;
	cross_zone(w, port->zone);
	w->host = port->host;
	return w->host ? OUTPUT : drop(w, STAGE_EGRESS_PORT, DROP_NO_BINDING);
}

/* --- from a port -------------------------------------------------------------------------------------- */

inline_ int ask(struct walk *w)
{
	if (!may_spend(w->origin, BUDGET_ASK))
		return DROPPED;
	w->tunnel = TUNNEL_FLAG_ASK;
	w->no_cache = 1;
	w->hops = 0;
	w->answer = ANSWER_NONE; /* an error about what then turns out to be a reply would be wrong */
	copy_macs(w->packet.macs, w->near_macs); /* it goes as it came */
	restore(w);
	return OUTPUT;
}

/* What has a record of its own is refused: so it is a reply after all. */
stage_ int fall_back(struct walk *w, __u32 hint)
{
	if (!w)
		return DROPPED;
	w->hops = 0;
	w->refused = w->drop = 0;
	copy_macs(w->packet.macs, w->near_macs);
	restore(w);
	use_hint(w, hint);
	return send_back(w, hint);
}

/* Of a packet that a machine sends: the stages, in the order of the specification. */
stage_ int send(struct __sk_buff *skb, struct walk *w)
{
	__u32 hint;
	int end;

	if (!w)
		return DROPPED;
	w->quota = w->in.quota ? w->in.quota : quota;
	end = checks(skb, w);
	if (end)
		return end;
	classify(skb, w);
	own_record(w);
	hint = hinted(w);
	if (hint && !w->has_record)
		return send_back(w, hint);
	if (w->has_record && w->record.flags & RECORD_FLAG_INBOUND) {
		w->hint = hint;
		return REPLY;
	}
	end = admit(skb, w);
	if (end == REACHED && !w->refused)
		end = conclude_walk(skb, w);
	if (end == DROPPED || (end == REACHED && w->refused)) {
		if (hint)
			return fall_back(w, hint);
		return end == REACHED ? ask(w) : DROPPED;
	}
	return end;
}

/* A frame that a router sends out of one of its ports, such as an ARP request. */
stage_ int emit(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	end = leave_by(w, w->origin);
	w->hops = 0;
	if (end)
		return end;
	classify(skb, w);
	end = leave(skb, w);
	if (!end)
		end = cross(skb, w);
	return end == REACHED ? conclude_walk(skb, w) : end;
}

inline_ int conclude(struct __sk_buff *skb, struct walk *w, int end)
{
	switch (end) {
	case SPREAD:
		bpf_tail_call(skb, &steps, STEP_COPIES);
		return TC_ACT_SHOT;
	case ANSWERED:
		tell_verdict(w, ACTION_ANSWERED);
		bpf_tail_call(skb, &steps, STEP_ANSWERS);
		return TC_ACT_SHOT;
	case LEFT:
		w->drop = 0; /* not yet: it comes again, or is given up */
		tell_verdict(w, ACTION_SLOW_PATH);
		return TC_ACT_SHOT;
	}
	return dropped(skb, w);
}

inline_ int begin(struct __sk_buff *skb, struct walk *w)
{
	int bad = parse(skb, w);

	if (bad)
		return drop(w, STAGE_INGRESS_PORT, bad);
	if (is_discovery(&w->packet) && w->packet.fragment != FRAGMENT_LATER &&
	    (w->packet.icmp_type == SOLICITATION || w->packet.icmp_type == ADVERTISEMENT))
		parse_discovery(skb, w);
	return GO;
}

SEC("tc") int simulate(struct __sk_buff *skb)
{
	struct walk *w = walk_at(0);
	int end;

	if (!w)
		return TC_ACT_SHOT;
	reset(w);
	w->origin = w->owner = skb->cb[CB_PORT];
	w->gives_up = skb->cb[CB_HOW] >> 8;
	end = begin(skb, w);
	if (!end)
		end = enter(w, w->origin);
	if (!end && w->in.flags & PORT_FLAG_UPLINK && !(skb->cb[CB_HOW] & IN_FULL)) {
		bpf_tail_call(skb, &steps, STEP_CHOOSE);
		return TC_ACT_SHOT;
	}
	if (!end)
		end = w->in.flags & PORT_FLAG_ON_ROUTER && w->in.peer ? emit(skb, w) : send(skb, w);
	if (skb->cb[CB_ASKER])
		w->origin = skb->cb[CB_ASKER];
	if (end == REPLY) {
		end = answer_outside(skb, w);
		if (end == DROPPED && w->hint)
			end = fall_back(w, w->hint);
	}
	if (end == OUTPUT)
		end = locate(w);
	if (!skb->cb[CB_ASKER])
		end = missed(skb, w, end);
	if (end == OUTPUT && w->host == THIS_HOST)
		end = arrive_here(skb, w);
	if (end != OUTPUT)
		return conclude(skb, w, end);
	return put_out(skb, w, skb->cb[CB_PLACE], skb->cb[CB_HOW] & AT_INGRESS);
}

/* A packet from outside: the port that it is for judges it. What is for none, this host judges. */
SEC("tc") int choose_target(struct __sk_buff *skb)
{
	struct walk *w = walk_at(0);
	int end;

	if (!w)
		return TC_ACT_SHOT;
	end = choose_port(skb, w);
	if (end == REACHED)
		end = locate(w);
	if (end == SPREAD || (end == OUTPUT && w->out.flags & PORT_FLAG_ON_ROUTER)) {
		skb->cb[CB_HOW] |= IN_FULL;
		bpf_tail_call(skb, &steps, STEP_SIMULATE);
		return TC_ACT_SHOT;
	}
	if (end == OUTPUT)
		end = fits_there(w);
	end = missed(skb, w, end);
	if (end != OUTPUT)
		return conclude(skb, w, end);
	if (w->host != THIS_HOST)
		return put_out(skb, w, skb->cb[CB_PLACE], skb->cb[CB_HOW] & AT_INGRESS);
	skb->cb[CB_UPLINK] = w->origin;
	skb->cb[CB_PORT] = w->target;
	skb->cb[CB_HOST] = THIS_HOST;
	bpf_tail_call(skb, &steps, STEP_FROM_OUTSIDE);
	return TC_ACT_SHOT;
}

/* At the host of a machine's port: a packet for it that came by an uplink. */
SEC("tc") int from_outside(struct __sk_buff *skb)
{
	__u32 place = skb->cb[CB_PLACE], host = skb->cb[CB_HOST];
	bool at_ingress = skb->cb[CB_HOW] & AT_INGRESS;
	struct walk *w = walk_at(0);
	int end;

	if (!w)
		return TC_ACT_SHOT;
	reset(w);
	w->origin = skb->cb[CB_UPLINK];
	w->target = w->owner = skb->cb[CB_PORT];
	end = begin(skb, w);
	if (!end)
		end = know_ends(w);
	if (!end)
		end = from_uplink(skb, w);
	w->target = w->owner;
	if (end == OUTPUT)
		end = locate(w);
	if (end != OUTPUT)
		return conclude(skb, w, end);
	w->host = host;
	if (skb->cb[CB_HOW] & UNCACHED)
		w->no_cache = 1;
	return put_out(skb, w, place, at_ingress);
}

/* A frame with a tag belongs to the port of that tag on the interface, or is a tagged frame of the port without. */
inline_ __u32 port_at(struct __sk_buff *skb, __u32 *place)
{
	struct interface_key key = { .ifindex = skb->ifindex };
	__u32 *port;

	if (skb->vlan_present) {
		key.vlan = skb->vlan_tci & 0xfff;
		port = key.vlan ? bpf_map_lookup_elem(&interfaces, &key) : 0;
		if (port) {
			*place = PLACE_PORT | *port;
			return bpf_skb_vlan_pop(skb) ? 0 : *port;
		}
		key.vlan = 0;
	}
	port = bpf_map_lookup_elem(&interfaces, &key);
	return port ? *port : 0;
}

inline_ int out_by(struct __sk_buff *skb, const struct flow *f, bool at_ingress)
{
	struct verdict *v = verdict_at();

	if (v) {
		__builtin_memset(v, 0, __builtin_offsetof(struct verdict, copied));
		v->action = f->flags & FLOW_FLAG_LOCAL ? ACTION_DELIVERED : ACTION_SENT;
		v->tunnel = f->tunnel;
		v->hit = 1;
		v->target = f->target;
		v->source = f->source;
		v->host = f->flags & FLOW_FLAG_LOCAL ? 0 : f->host;
	}
	return f->flags & FLOW_FLAG_LOCAL ? deliver_to(skb, f, at_ingress) : send_to(skb, f);
}

/* What a machine sends: at the ingress of its interface. */
SEC("tc") int from_port(struct __sk_buff *skb)
{
	struct flow_key key = { .place = skb->ifindex };
	struct glance g = {};
	struct flow *f;
	__u32 port;

	if (!skb->vlan_present) {
		f = find_flow(skb, &key, &g);
		if (f)
			return out_by(skb, f, true);
	}
	port = port_at(skb, &key.place);
	if (!port)
		return passed();
	if (key.place & PLACE_PORT) {
		struct flow_key tagged = { .place = key.place };

		f = find_flow(skb, &tagged, &g);
		if (f)
			return out_by(skb, f, true);
	}
	skb->cb[CB_PORT] = port;
	skb->cb[CB_PLACE] = key.place;
	skb->cb[CB_ASKER] = 0;
	skb->cb[CB_HOW] = AT_INGRESS;
	bpf_tail_call(skb, &steps, STEP_SIMULATE);
	return refused(port, DROP_INTERNAL, skb->len);
}

/* What a port sends: `mark` is its key. What a router's port sends, which is on no host, goes out in the name of a
 * machine's port; `priority` is that one's key, and why a packet that waited waits no longer. */
inline_ int inject_from_port(struct __sk_buff *skb, __u32 port, __u32 priority)
{
	skb->cb[CB_PORT] = port;
	skb->cb[CB_PLACE] = PLACE_PORT | port;
	skb->cb[CB_ASKER] = priority & 0xffffff;
	skb->cb[CB_HOW] = priority >> 24 << 8;
	bpf_tail_call(skb, &steps, STEP_SIMULATE);
	return TC_ACT_SHOT;
}

/* What has come from a stranger: `mark` is the key of the port that it is for, `priority` the source port's key and
 * the flags that it came with. The agent has seen that the source is where it should be. */
inline_ int inject_from_tunnel(struct __sk_buff *skb, __u32 target, __u32 priority)
{
	__u32 source = priority & 0xffffff, how = priority >> 24, id;
	struct port *port = bpf_map_lookup_elem(&ports, &source);
	struct host *host;

	if (how & GIVES_UP)
		return how & STRANGE_PEER ? refused(0, DROP_UNKNOWN_PEER, skb->len) :
					    refused(source, DROP_FORGED_SOURCE, skb->len);
	id = port ? port->host : 0;
	host = bpf_map_lookup_elem(&hosts, &id);
	if (!id || id == THIS_HOST || !host)
		return refused(source, DROP_FORGED_SOURCE, skb->len);
	if (host->flags & HOST_FLAG_FENCED)
		return refused(source, DROP_FENCED, skb->len);
	skb->cb[CB_PORT] = target;
	skb->cb[CB_SOURCE] = source;
	skb->cb[CB_TUNNEL] = how & KNOWN_FLAGS;
	skb->cb[CB_HOST] = id;
	skb->cb[CB_HOW] = 0;
	bpf_tail_call(skb, &steps, STEP_RECEIVE);
	return TC_ACT_SHOT;
}

/* At the egress of the injection device: clones to send on, and what the agent sends. Anything else that may find its
 * way there lacks the mark. */
SEC("tc") int inject(struct __sk_buff *skb)
{
	__u32 zero = 0, mark, priority;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);

	if (job && job->active) {
		struct flow flow = { .host = job->host, .source = job->source, .target = job->target };

		job->active = 0;
		flow.tunnel = job->tunnel;
		if (pull_headers(skb, ETH + 40))
			return TC_ACT_SHOT;
		return send_to(skb, &flow);
	}
	mark = skb->mark;
	priority = skb->priority;
	skb->mark = skb->priority = 0;
	switch (mark >> 24) {
	case INJECTION_FROM_PORT:
		return inject_from_port(skb, mark & 0xffffff, priority);
	case INJECTION_FROM_TUNNEL:
		return inject_from_tunnel(skb, mark & 0xffffff, priority);
	}
	return TC_ACT_SHOT;
}

/* --- from the underlay -------------------------------------------------------------------------------- */

inline_ bool is_ours(const struct in6_addr *to)
{
	__u32 this = THIS_HOST, *id;
	struct host *host = bpf_map_lookup_elem(&hosts, &this);

	if (host && same_address(&host->address, to))
		return true;
	id = bpf_map_lookup_elem(&peers, to);
	return id && *id == THIS_HOST;
}

/* Whether a cached flow comes from where it has to. */
inline_ bool comes_from(const struct flow *f, const struct arrival *a)
{
	__u32 id = f->host;
	struct host *host = bpf_map_lookup_elem(&hosts, &id);

	return host && !(host->flags & HOST_FLAG_FENCED) && same_address(&host->address, &a->from) &&
	       f->source == a->source && !((f->tunnel ^ a->flags) & (TUNNEL_FLAG_RETURN | TUNNEL_FLAG_ASK)) &&
	       (f->tunnel & TUNNEL_FLAG_LEARN || !(a->flags & TUNNEL_FLAG_LEARN));
}

inline_ bool is_here(struct arrival *a)
{
	struct network *network;
	struct port *port;

	if (a->flags & TUNNEL_FLAG_FLOOD) {
		network = bpf_map_lookup_elem(&networks, &a->target);
		return network && network->members;
	}
	port = bpf_map_lookup_elem(&ports, &a->target);
	a->to_router = port && port->flags & PORT_FLAG_ON_ROUTER;
	return port && port->host == THIS_HOST;
}

/* The host that a packet comes from; negative with the reason if it is not to be believed. */
inline_ int believed(struct arrival *a)
{
	__u32 *id = bpf_map_lookup_elem(&peers, &a->from), host;
	struct host *peer;

	if (!id || *id == THIS_HOST)
		return -DROP_UNKNOWN_PEER;
	host = *id;
	peer = bpf_map_lookup_elem(&hosts, &host);
	if (!peer)
		return -DROP_UNKNOWN_PEER;
	if (peer->flags & HOST_FLAG_FENCED)
		return -DROP_FENCED;
	if (a->bad)
		return -DROP_MALFORMED;
	if (!is_here(a) && !left_for(a))
		return -DROP_UNKNOWN_KEY;
	return may_come(a, host) ? (int)host : -DROP_FORGED_SOURCE;
}

/* To the host that the target has left this one for. */
inline_ int pass_on(struct __sk_buff *skb, const struct arrival *a, __u32 host)
{
	struct flow flow = { .host = host, .source = a->source, .target = a->target };

	struct verdict *v = verdict_at();
	int result;

	flow.tunnel = a->flags | TUNNEL_FLAG_FORWARDED;
	if (pull_headers(skb, ETH + 40))
		return TC_ACT_SHOT;
	result = out_by(skb, &flow, true);
	if (v)
		v->hit = 0;
	return result;
}

/* At the ingress of an underlay interface. */
SEC("tc") int from_underlay(struct __sk_buff *skb)
{
	struct flow_key key = {};
	struct arrival a = {};
	struct glance g = {};
	struct flow *f;
	int host;

	if (skb->vlan_present || pull_headers(skb, sizeof(struct outer6)) || !read_outer(skb, &a) || !is_ours(&a.to))
		return passed();
	if (decap(skb, &a))
		return refused(0, DROP_MALFORMED, skb->len);
	key.place = PLACE_TUNNEL | a.target;
	if (!a.bad && !(a.flags & (TUNNEL_FLAG_FLOOD | TUNNEL_FLAG_FORWARDED))) {
		f = find_flow(skb, &key, &g);
		if (f && comes_from(f, &a))
			return out_by(skb, f, true);
	}
	host = believed(&a);
	if (host < 0 && is_here(&a) && is_stranger(&a, -host) && tell_of_stranger(skb, &a, -host))
		return left();
	if (host < 0)
		return refused(0, -host, skb->len); /* whoever it says to come from */
	if (!is_here(&a))
		return pass_on(skb, &a, left_for(&a));
	skb->cb[CB_PORT] = a.target;
	skb->cb[CB_SOURCE] = a.source;
	skb->cb[CB_TUNNEL] = a.flags;
	skb->cb[CB_HOST] = host;
	skb->cb[CB_HOW] = AT_INGRESS;
	if (a.from_outside) {
		skb->cb[CB_UPLINK] = a.source;
		skb->cb[CB_PLACE] = key.place;
		skb->cb[CB_HOW] |= a.flags & TUNNEL_FLAG_FORWARDED ? UNCACHED : 0;
		bpf_tail_call(skb, &steps, STEP_FROM_OUTSIDE);
	}
	bpf_tail_call(skb, &steps, STEP_RECEIVE);
	return refused(a.source, DROP_INTERNAL, skb->len);
}

/* A tunnel packet for a port of this host, or for the members of a network. */
inline_ int take(struct __sk_buff *skb, struct walk *w)
{
	int end = OUTPUT;

	if (!(w->tunnel & TUNNEL_FLAG_FLOOD)) {
		end = locate(w);
		if (w->out.host != THIS_HOST)
			return drop(w, STAGE_UNDERLAY, DROP_UNKNOWN_KEY);
		if (!w->out.ifindex)
			return drop(w, STAGE_EGRESS_PORT, DROP_NO_BINDING);
	}
	if (end == OUTPUT && w->tunnel & (TUNNEL_FLAG_RETURN | TUNNEL_FLAG_ASK | TUNNEL_FLAG_FLOOD) && follow(w))
		return DROPPED; /* all else has been judged by its sender */
	if (end != OUTPUT)
		return end;
	classify(skb, w);
	w->may_reply = 0;
	return w->tunnel & TUNNEL_FLAG_FLOOD ? SPREAD : arrive_here(skb, w);
}

SEC("tc") int receive(struct __sk_buff *skb)
{
	__u32 host = skb->cb[CB_HOST];
	bool at_ingress = skb->cb[CB_HOW] & AT_INGRESS, forwarded = skb->cb[CB_TUNNEL] & TUNNEL_FLAG_FORWARDED;
	struct walk *w = walk_at(0);
	int end;

	if (!w)
		return TC_ACT_SHOT;
	reset(w);
	w->target = skb->cb[CB_PORT];
	w->origin = w->owner = skb->cb[CB_SOURCE];
	w->tunnel = skb->cb[CB_TUNNEL] & 15;
	w->host = host;
	end = begin(skb, w);
	if (!end)
		end = take(skb, w);
	if (end != OUTPUT)
		return conclude(skb, w, end);
	w->host = host; /* an entry of the cache says whom it must come from */
	if (host == THIS_HOST || forwarded)
		w->no_cache = 1;
	return put_out(skb, w, PLACE_TUNNEL | w->target, at_ingress);
}

/* --- copies and answers ------------------------------------------------------------------------------- */

SEC("tc") int copies(struct __sk_buff *skb)
{
	struct walk *w = walk_at(0);
	__u32 from_here = !w || w->host == 0;
	struct verdict *v = verdict_at();
	int end;

	if (!w)
		return TC_ACT_SHOT;
	if (w->hops && !pull_headers(skb, ETH + 40)) {
		struct flow flow = { .hops = w->hops };

		lower_ttl_by(skb, flow.hops);
	}
	bpf_skb_store_bytes(skb, 0, w->packet.macs, 12, 0);
	if (v)
		v->copies = 0;
	end = flood(skb, w, v, from_here);
	if (end == DROPPED)
		return dropped(skb, w);
	w->drop = 0;
	tell_verdict(w, ACTION_FLOODED);
	return TC_ACT_SHOT;
}

/* What the owner of a connection answers to an uplink of this host: it needs a next hop like all that leaves there. */
stage_ int find_neighbour(struct __sk_buff *skb, struct walk *w, struct walk *q)
{
	struct port *port;
	int end;

	if (!w || !q)
		return DROPPED;
	reset(q);
	q->origin = w->origin;
	port = bpf_map_lookup_elem(&ports, &q->origin);
	if (!port || begin(skb, q))
		return DROPPED;
	q->out = *port;
	q->out_key = q->origin;
	end = leave_outside(skb, q);
	if (end == OUTPUT && bpf_skb_store_bytes(skb, 0, q->packet.macs, 12, 0))
		return DROPPED;
	return end;
}

/* Back to the port that sent the packet, wherever that is. */
SEC("tc") int answers(struct __sk_buff *skb)
{
	struct walk *w = walk_at(0);
	struct flow flow = {};
	struct port *port;
	int end;

	if (!w)
		return TC_ACT_SHOT;
	restore(w); /* what is answered has not been changed */
	port = bpf_map_lookup_elem(&ports, &w->origin);
	if (!port || build_answer(skb, w))
		return TC_ACT_SHOT;
	flow.target = w->origin;
	flow.source = w->target;
	flow.host = port->host;
	flow.ifindex = port->ifindex;
	flow.vlan = port->vlan;
	if (port->host != THIS_HOST)
		return send_to(skb, &flow);
	if (port->flags & PORT_FLAG_UPLINK && is_inbound(w)) {
		end = find_neighbour(skb, w, walk_at(1));
		if (end != OUTPUT) {
			tell_verdict(w, ACTION_SLOW_PATH);
			return TC_ACT_SHOT;
		}
	}
	return flow.ifindex ? deliver_to(skb, &flow, false) : TC_ACT_SHOT;
}

/* Run by the agent: see hand_over.h. */
SEC("tc") int forget_record(struct __sk_buff *skb)
{
	return forget_given(skb);
}

SEC("tc") int put_record(struct __sk_buff *skb)
{
	return put_given(skb);
}

/* Run once by whoever loads the programs: 0 if records and hints are swept from now on. */
SEC("tc") int start(struct __sk_buff *skb)
{
	return start_sweeping(skb->mark ? skb->mark : SWEEP_PERIOD);
}

char _license[] SEC("license") = "Dual BSD/GPL";
