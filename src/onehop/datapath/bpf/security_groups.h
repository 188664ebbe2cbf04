/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage SECURITY_GROUPS: what the machine at a port may send, and what may be sent to it. */
#pragma once
#include "acls.h"

/* Whether groups judge this packet at this port. */
inline_ bool is_guarded(struct walk *w, const struct port *port)
{
	const struct packet *p = &w->packet;

	if (!(port->flags & PORT_FLAG_SECURITY) || w->chooses || is_discovery(p) || (p->ethertype == P_ARP && !p->vlan))
		return false;
	w->stateful = 1;
	return true;
}

inline_ int by_rules(struct __sk_buff *skb, struct walk *w, __u32 list)
{
	if (list && go_through(skb, w, list, judged_light(w) | LIGHT_NONE) == RULE_ACTION_ALLOW)
		return GO;
	return refuse(w, STAGE_SECURITY_GROUPS, DROP_SECURITY_GROUP);
}

inline_ int from_machine(struct __sk_buff *skb, struct walk *w)
{
	if (!is_guarded(w, &w->in) || !w->in.sends)
		return GO;
	return by_rules(skb, w, w->in.sends);
}

inline_ int to_machine(struct __sk_buff *skb, struct walk *w)
{
	return is_guarded(w, &w->out) ? by_rules(skb, w, w->out.receives) : GO;
}
