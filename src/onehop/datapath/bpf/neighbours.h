/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage NEIGHBOURS: which MAC has an address. Answers questions, finds next hops, tells what it hears. */
#pragma once
#include "ingress_port.h"

inline_ struct neighbour *neighbour_at(__u32 segment, const struct in6_addr *address)
{
	struct neighbour_key key = { .segment = segment, .address = *address };

	return bpf_map_lookup_elem(&neighbours, &key);
}

/* --- answering ---------------------------------------------------------------------------------------- */

inline_ int answer_for(struct walk *w, __u32 segment, const struct in6_addr *address, __u8 answer)
{
	struct neighbour *owner = neighbour_at(segment, address);

	if (!owner || owner->flags & (NEIGHBOUR_FLAG_SUBNET | NEIGHBOUR_FLAG_DOWN) || owner->port == w->in_key)
		return GO;
	__builtin_memcpy(w->answer_mac, owner->mac, 6);
	w->answer_flags = owner->flags;
	w->answer = answer;
	w->stage = STAGE_NEIGHBOURS;
	return ANSWERED;
}

/* Answer a question for an address that is known on a segment; anything else goes on. */
stage_ int answer_on(struct walk *w, __u32 segment)
{
	struct in6_addr address;
	struct packet *p;

	if (!w)
		return DROPPED;
	p = &w->packet;
	if (p->knows & IS_ARP) {
		if (w->arp.operation != bpf_htons(1) || w->arp.sender_ip == w->arp.target_ip)
			return GO;
		map_v4(&address, w->arp.target_ip);
		return answer_for(w, segment, &address, ANSWER_ARP);
	}
	if (!is_discovery(p) || p->icmp_type != SOLICITATION || p->icmp_code)
		return GO;
	if (!w->nd.valid)
		return drop(w, STAGE_NEIGHBOURS, DROP_MALFORMED);
	if (same_address(&p->src, &w->nd.target))
		return GO;
	return answer_for(w, segment, &w->nd.target, ANSWER_ND);
}

/* --- hearing ------------------------------------------------------------------------------------------ */

/* Which address a message says to be at which MAC. */
inline_ bool claim_of(const struct walk *w, struct news *news)
{
	const struct discovery *nd = &w->nd;

	if (w->packet.knows & IS_ARP) {
		map_v4(&news->address, w->arp.sender_ip);
		__builtin_memcpy(news->mac, w->arp.sender_mac, 6);
		return w->arp.sender_ip != 0;
	}
	if (!is_discovery(&w->packet) || !nd->valid)
		return false;
	if (nd->type == SOLICITATION) {
		news->address = w->packet.src;
		__builtin_memcpy(news->mac, nd->source_mac, 6);
		return nd->has_source && !is_any(&w->packet.src);
	}
	news->address = nd->target;
	__builtin_memcpy(news->mac, nd->target_mac, 6);
	return nd->has_target;
}

/* A router's interface, or all on a network, hear a message: the agent knows what to make of news. */
stage_ int heard(struct __sk_buff *skb, struct walk *w, __u32 segment, __u32 network)
{
	struct news news = { .kind = EVENT_KIND_LEARNED_NEIGHBOUR, .segment = segment };
	struct neighbour_key key = { .segment = segment };
	struct learned_neighbour *known;

	if (!w || !claim_of(w, &news) || neighbour_at(network, &news.address))
		return 0;
	key.address = news.address;
	known = bpf_map_lookup_elem(&learned_neighbours, &key);
	if (known && same_mac(known->mac, news.mac) && now() - known->seen < NEIGHBOUR_LIFE / 4)
		return 0;
	if (may_spend(w->origin, BUDGET_SLOW_PATH))
		tell_agent(skb, w, &news);
	return 0;
}

/* ARP and neighbour messages for a router's interface are heard, and go no further. */
inline_ int ends_here(struct __sk_buff *skb, struct walk *w)
{
	struct port *peer;

	if (!(w->packet.knows & IS_ARP) && !is_discovery(&w->packet))
		return GO;
	if (w->in.flags & PORT_FLAG_UPLINK) {
		heard(skb, w, w->in_key, 0);
		return answer_on(w, w->in_key) ?: LEFT;
	}
	peer = bpf_map_lookup_elem(&ports, &w->in.peer);
	if (peer && !(peer->flags & PORT_FLAG_ON_ROUTER))
		heard(skb, w, w->in_key, peer->device);
	else if (!w->in.peer)
		heard(skb, w, w->in_key, 0);
	return LEFT;
}

/* --- the next hop ------------------------------------------------------------------------------------- */

/* What was learned of an address, or 0. On a probe, what the connection used counts. */
inline_ const __u8 *learned_mac(struct walk *w, struct learned_neighbour **found)
{
	struct neighbour_key key = { .segment = w->out_key, .address = w->next_hop };
	struct learned_neighbour *known = bpf_map_lookup_elem(&learned_neighbours, &key);

	*found = known;
	if (known && (known->mac[0] | known->mac[1] | known->mac[2] | known->mac[3] | known->mac[4] | known->mac[5]) &&
	    now() - known->seen <= NEIGHBOUR_LIFE)
		return known->mac;
	return w->probe && w->has_record ? w->record.far_dst : 0;
}

/* The slow path asks, once a second. */
inline_ int ask_neighbour(struct __sk_buff *skb, struct walk *w, struct learned_neighbour *pending)
{
	struct news news = { .kind = EVENT_KIND_RESOLVE, .segment = w->out_key };
	struct neighbour_key key = { .segment = w->out_key, .address = w->next_hop };
	struct learned_neighbour asked = {};
	int end;

	if (w->probe)
		return LEFT;
	if (w->gives_up)
		return drop(w, STAGE_NEIGHBOURS, w->gives_up);
	if (pending && now() - pending->seen < PENDING_LIFE)
		return LEFT;
	news.address = w->next_hop;
	end = request(skb, w, &news);
	asked.seen = now();
	if (end == LEFT)
		bpf_map_update_elem(&learned_neighbours, &key, &asked, BPF_ANY);
	return end;
}

inline_ void set_macs(struct walk *w, const __u8 *dst)
{
	__builtin_memcpy(w->packet.dst_mac, dst, 6);
	__builtin_memcpy(w->packet.src_mac, w->out.mac, 6);
}

/* Find the MAC of w->next_hop, and write it and the router's own on the frame. */
stage_ int resolve(struct __sk_buff *skb, struct walk *w)
{
	struct learned_neighbour *pending;
	struct neighbour *known;
	struct port *peer = 0;
	const __u8 *mac;

	if (!w)
		return DROPPED;
	if (w->out.peer)
		peer = bpf_map_lookup_elem(&ports, &w->out.peer);
	if (peer && !(peer->flags & PORT_FLAG_ON_ROUTER)) {
		known = neighbour_at(peer->device, &w->next_hop);
		if (known) {
			set_macs(w, known->mac);
			return GO;
		}
	}
	known = neighbour_at(w->out_key, &w->next_hop);
	if (known && known->flags & NEIGHBOUR_FLAG_SUBNET)
		return drop(w, STAGE_NEIGHBOURS, DROP_BAD_ADDRESS);
	if (!w->out.peer && !w->out.host)
		return drop(w, STAGE_NEIGHBOURS, DROP_NO_BINDING);
	if (!w->out.peer) { /* only its gateway knows its neighbours: see uplinks.h */
		static const __u8 nobody[6];

		set_macs(w, nobody);
		return GO;
	}
	if (w->out.peer && !peer) {
		w->missing = w->out.peer;
		return drop(w, STAGE_NEIGHBOURS, DROP_NOT_FOLLOWED);
	}
	if (peer && peer->flags & PORT_FLAG_ON_ROUTER) {
		if (!known && w->has_next_hop)
			return drop(w, STAGE_NEIGHBOURS, DROP_NO_NEIGHBOUR);
		set_macs(w, peer->mac);
		return GO;
	}
	mac = learned_mac(w, &pending);
	if (!mac)
		return ask_neighbour(skb, w, pending);
	set_macs(w, mac);
	return GO;
}
