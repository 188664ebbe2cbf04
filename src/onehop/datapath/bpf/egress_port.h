/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage EGRESS_PORT: out of a port, and over its link into the next device. */
#pragma once
#include "connections.h"
#include "router.h"

/* Of a probe: whether the far tuple is still that of the record. */
inline_ int held(struct walk *w)
{
	int end = hold(w);

	return end ? end : REACHED;
}

stage_ int deliver(struct walk *w)
{
	if (!w)
		return DROPPED;
	if (w->out.kind == PORT_KIND_VIP)
		return drop(w, STAGE_EGRESS_PORT, DROP_NO_SUCH_SERVICE);
	if (w->out.kind == PORT_KIND_ROUTER && !w->out.host)
		return drop(w, STAGE_EGRESS_PORT, DROP_NO_BINDING);
	w->target = w->out_key;
	if (is_inbound(w) && w->target != w->owner)
		return drop(w, STAGE_EGRESS_PORT, DROP_CONNECTION_ENDED);
	if (w->refused || w->chooses)
		return REACHED;
	return w->probe && (w->translated || w->record.flags & RECORD_FLAG_TRANSLATED) ? held(w) : REACHED;
}

/* Out of w->out; GO when it has entered the next device. */
stage_ int leave(struct __sk_buff *skb, struct walk *w)
{
	int end = GO;

	if (!w)
		return DROPPED;
	if (!(w->out.flags & PORT_FLAG_UP))
		return drop(w, STAGE_EGRESS_PORT, DROP_PORT_DOWN);
	end = to_machine(skb, w);
	if (!end)
		end = judge_at(skb, w, w->out.acls_out, w->in_key, w->out_key);
	if (end)
		return end;
	if (!w->out.peer)
		return deliver(w);
	end = enter(w, w->out.peer);
	if (!end)
		end = is_up(w);
	if (!end)
		end = judge_at(skb, w, w->in.acls_in, w->in_key, 0);
	return end;
}

/* Through devices, from w->in to where it leaves the last. */
stage_ int cross(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	for (int i = 0; i <= MAX_DEVICES; i++) {
		end = w->in.flags & PORT_FLAG_ON_ROUTER ? through_router(skb, w) : through_switch(skb, w);
		if (!end)
			end = leave(skb, w);
		if (end)
			return end;
	}
	return drop(w, STAGE_INGRESS_PORT, DROP_TOO_MANY_DEVICES);
}

/* From the port by which the packet has entered its first device. */
inline_ int admit(struct __sk_buff *skb, struct walk *w)
{
	int end = from_machine(skb, w);

	if (!end)
		end = judge_at(skb, w, w->in.acls_in, w->in_key, 0);
	return end ? end : cross(skb, w);
}

/* A packet has come where it goes: its connection is written down. */
stage_ int conclude_walk(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	end = keep(skb, w, w->quota);
	if (end == PROBE)
		end = keep_apart(skb, w, w->quota);
	return end ? end : OUTPUT;
}
