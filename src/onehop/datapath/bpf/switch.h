/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage SWITCH: where a frame goes on a virtual network. */
#pragma once
#include "neighbours.h"

/* Leave the device by a port. */
stage_ int leave_by(struct walk *w, __u32 key)
{
	struct port *port = bpf_map_lookup_elem(&ports, &key);
	struct visit *v;

	if (!w)
		return DROPPED;
	if (!port || !port->device) {
		w->missing = key;
		return drop(w, STAGE_EGRESS_PORT, DROP_NOT_FOLLOWED);
	}
	w->out = *port;
	w->out_key = key;
	v = &w->visits[(w->depth - 1) & (MAX_DEVICES - 1)];
	v->out_port = key;
	v->out_acls = w->out.acls_in;
	v->left = 1;
	copy_macs(v->macs_out, w->packet.macs);
	if (w->out.acls_in | w->out.acls_out)
		w->has_lists = 1;
	return GO;
}

inline_ void mac_key(struct fdb_key *key, __u32 network, const __u8 *mac)
{
	key->network = network;
	__builtin_memcpy(key->mac, mac, 6);
	key->_1[0] = key->_1[1] = 0;
}

/* Remember a source MAC that is no port's own, and tell the agent, which tells the other hosts. */
stage_ int learn(struct __sk_buff *skb, struct walk *w, __u32 learning)
{
	struct news news = { .kind = EVENT_KIND_LEARNED_MAC };
	struct learned_mac fresh = {}, *known;
	struct in6_addr any = {};
	struct fdb_key key;
	int claim;

	if (!w)
		return 0;
	mac_key(&key, w->in.device, w->packet.src_mac);
	if (bpf_map_lookup_elem(&fdb, &key))
		return 0;
	claim = learning ? 0 : may_claim(w, &any, 4);
	if (!learning && (claim < 0 || !(claim & SOURCE_FLAG_PAIRED)))
		return 0;
	known = bpf_map_lookup_elem(&learned_macs, &key);
	fresh.port = w->in_key;
	fresh.seen = now();
	if (known && known->port == w->in_key && fresh.seen - known->seen < 30 * SECOND)
		return 0;
	if (!known || known->port != w->in_key) {
		__u32 *epoch = bpf_map_lookup_elem(&epochs, &w->in.zone);

		news.segment = w->in.device;
		__builtin_memcpy(news.mac, w->packet.src_mac, 6);
		tell_agent(skb, w, &news);
		if (epoch)
			__sync_fetch_and_add(epoch, 1); /* flows to where it was end */
	}
	bpf_map_update_elem(&learned_macs, &key, &fresh, BPF_ANY);
	return 0;
}

inline_ __u32 port_of(struct walk *w, const struct fdb_key *key)
{
	struct learned_mac *learned;
	__u32 *port = bpf_map_lookup_elem(&fdb, key);

	if (port)
		return *port;
	learned = bpf_map_lookup_elem(&learned_macs, key);
	if (learned)
		return learned->port;
	return w->probe && w->has_record && same_mac(w->record.far_dst, key->mac) ? w->record.far_port : 0;
}

inline_ int spread(struct __sk_buff *skb, struct walk *w)
{
	if (w->refused)
		return DROPPED;
	if (w->probe)
		return LEFT;
	if (w->chooses)
		return SPREAD;
	if (is_inbound(w))
		return drop(w, STAGE_FLOOD, DROP_CONNECTION_ENDED);
	if (!may_spend(w->origin, BUDGET_FLOOD))
		return drop(w, STAGE_FLOOD, DROP_BUDGET);
	heard(skb, w, w->in.device, w->in.device);
	w->target = w->in.device;
	w->tunnel = TUNNEL_FLAG_FLOOD;
	w->no_cache = 1;
	return SPREAD;
}

inline_ int choose(struct __sk_buff *skb, struct walk *w, bool floods)
{
	struct fdb_key key;
	__u32 port;

	if (w->packet.dst_mac[0] & 1)
		return spread(skb, w);
	mac_key(&key, w->in.device, w->packet.dst_mac);
	port = port_of(w, &key);
	if (!port && floods)
		return spread(skb, w);
	if (!port)
		return drop(w, STAGE_SWITCH, DROP_UNKNOWN_MAC);
	if (port == w->in_key)
		return drop(w, STAGE_SWITCH, DROP_OWN_PORT);
	return leave_by(w, port);
}

/* Whether there can be anything to learn: a MAC that is not the model's, or an allowed pair's. */
inline_ bool may_learn(const struct walk *w, __u32 flags)
{
	if (w->probe || w->chooses || (w->depth == 1 && w->unpaired))
		return false;
	return flags & NETWORK_FLAG_LEARNING || w->in.kind != PORT_KIND_ROUTER;
}

stage_ int through_switch(struct __sk_buff *skb, struct walk *w)
{
	struct network *network;
	__u32 flags, acls_out;
	struct visit *v;
	int end;

	if (!w)
		return DROPPED;
	network = bpf_map_lookup_elem(&networks, &w->in.device);
	if (!network)
		return drop(w, STAGE_SWITCH, DROP_NOT_FOLLOWED);
	flags = network->flags;
	acls_out = network->acls_out;
	v = &w->visits[(w->depth - 1) & (MAX_DEVICES - 1)];
	v->device_in = network->acls_in;
	v->device_forward = 0;
	v->device_out = acls_out;
	if (network->acls_in | acls_out)
		w->has_lists = 1;
	end = judge_at(skb, w, network->acls_in, w->in_key, 0);
	if (!end && may_learn(w, flags))
		learn(skb, w, flags & NETWORK_FLAG_LEARNING);
	if (!end)
		end = answer_on(w, w->in.device);
	if (!end)
		end = choose(skb, w, flags & NETWORK_FLAG_FLOOD_UNKNOWN);
	if (!end)
		end = judge_at(skb, w, acls_out, w->in_key, w->out_key);
	return end;
}
