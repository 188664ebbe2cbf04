/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage INGRESS_PORT: what a port lets in at all, before anybody asks where the packet goes. */
#pragma once
#include "fragments.h"
#include "security_groups.h"

/* Go into the device of a port. */
stage_ int enter(struct walk *w, __u32 key)
{
	struct port *port = bpf_map_lookup_elem(&ports, &key);
	struct visit *v;

	if (!w)
		return DROPPED;
	if (!port || !port->device) {
		w->missing = w->depth ? key : 0;
		return drop(w, STAGE_INGRESS_PORT, w->depth ? DROP_NOT_FOLLOWED : DROP_PORT_DOWN);
	}
	if (w->depth >= MAX_DEVICES)
		return drop(w, STAGE_INGRESS_PORT, DROP_TOO_MANY_DEVICES);
	w->in = *port;
	w->in_key = key;
	cross_zone(w, w->in.zone);
	v = &w->visits[w->depth & (MAX_DEVICES - 1)];
	v->in_port = key;
	v->in_acls = w->in.acls_out;
	v->is_router = !!(w->in.flags & PORT_FLAG_ON_ROUTER);
	v->left = v->changed = 0;
	v->mtu = w->in.mtu;
	copy_macs(v->macs_in, w->packet.macs);
	if (w->in.acls_in | w->in.acls_out)
		w->has_lists = 1;
	if (v->is_router)
		w->router_at[w->hops++ & (MAX_DEVICES - 1)] = w->depth;
	w->depth++;
	return GO;
}

inline_ int is_up(struct walk *w)
{
	return w->in.flags & PORT_FLAG_UP ? GO : drop(w, STAGE_INGRESS_PORT, DROP_PORT_DOWN);
}

/* --- addresses that can be on a packet ---------------------------------------------------------------- */

inline_ bool is_dhcp_question(const struct packet *p)
{
	return p->version == 4 && p->protocol == UDP && p->src_port == bpf_htons(68) && p->dst_port == bpf_htons(67) &&
	       is_limited_broadcast(&p->dst, 4);
}

inline_ int makes_sense(struct walk *w)
{
	const struct packet *p = &w->packet;
	const __u8 *mac = p->src_mac;

	if (mac[0] & 1 || !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]))
		return drop(w, STAGE_INGRESS_PORT, DROP_BAD_ADDRESS);
	if (p->knows & WRONG_CHECKSUM)
		return drop(w, STAGE_INGRESS_PORT, DROP_BAD_CHECKSUM);
	if (p->knows & IS_ARP && w->arp.sender_ip && !is_unicast_v4(w->arp.sender_ip))
		return drop(w, STAGE_INGRESS_PORT, DROP_BAD_ADDRESS);
	if (!p->version)
		return GO;
	if (!is_unicast(&p->src, p->version) &&
	    !((p->version == 4 ? !p->src.s6_addr32[3] : is_any(&p->src) && !is_mapped(&p->src)) &&
	      (is_discovery(p) || is_dhcp_question(p))))
		return drop(w, STAGE_INGRESS_PORT, DROP_BAD_ADDRESS);
	if (!is_unicast(&p->dst, p->version) && !is_multicast(&p->dst, p->version) &&
	    !is_limited_broadcast(&p->dst, p->version))
		return drop(w, STAGE_INGRESS_PORT, DROP_BAD_ADDRESS);
	return GO;
}

/* --- spoofing ----------------------------------------------------------------------------------------- */

/* SourceFlags of an address with the frame's MAC; negative if the port may not use the MAC. */
inline_ int may_claim(struct walk *w, const struct in6_addr *address, __u16 version)
{
	struct source_key key = { .prefix = SOURCE_BITS + 128, .port = w->in_key, .version = bpf_htons(version) };
	__u8 *found;

	__builtin_memcpy(key.mac, w->packet.src_mac, 6);
	key.address = *address;
	found = bpf_map_lookup_elem(&sources, &key);
	return found ? *found : -1;
}

inline_ int check_arp(struct walk *w)
{
	const struct arp *arp = &w->arp;
	struct in6_addr sender;
	bool probe = arp->operation == bpf_htons(1) && !arp->sender_ip;
	int claim;

	map_v4(&sender, arp->sender_ip);
	claim = may_claim(w, &sender, 4);
	w->unpaired = claim >= 0 && !(claim & SOURCE_FLAG_PAIRED);
	if (claim < 0)
		return drop(w, STAGE_INGRESS_PORT, DROP_SPOOFED_MAC);
	if (!same_mac(arp->sender_mac, w->packet.src_mac) || !(probe || claim & SOURCE_FLAG_ADDRESS))
		return drop(w, STAGE_INGRESS_PORT, DROP_SPOOFED_ARP);
	return GO;
}

inline_ bool claims_other(struct walk *w)
{
	struct discovery *nd = &w->nd;

	if (nd->has_source && !same_mac(nd->source_mac, w->packet.src_mac))
		return true;
	if (nd->has_target && !same_mac(nd->target_mac, w->packet.src_mac))
		return true;
	return nd->type == ADVERTISEMENT && !(may_claim(w, &nd->target, 6) & SOURCE_FLAG_ADDRESS);
}

stage_ int check_discovery(struct walk *w)
{
	if (!w)
		return DROPPED;
	if (w->packet.fragment)
		return drop(w, STAGE_INGRESS_PORT, DROP_MALFORMED);
	if (w->packet.icmp_type == 134 || w->packet.icmp_type == 137)
		return drop(w, STAGE_INGRESS_PORT, DROP_DHCP_SERVER);
	if (w->packet.icmp_type != SOLICITATION && w->packet.icmp_type != ADVERTISEMENT)
		return GO;
	if (!w->nd.valid)
		return drop(w, STAGE_INGRESS_PORT, DROP_MALFORMED);
	return claims_other(w) ? drop(w, STAGE_INGRESS_PORT, DROP_SPOOFED_ARP) : GO;
}

inline_ bool is_server(const struct packet *p)
{
	__u16 src = bpf_ntohs(p->src_port), dst = bpf_ntohs(p->dst_port);

	return p->version && p->protocol == UDP && src == (p->version == 4 ? 67 : 547) &&
	       (dst == 67 || dst == 68 || dst == 546 || dst == 547);
}

stage_ int is_honest(struct walk *w)
{
	const struct packet *p;
	int claim, end = GO;

	if (!w || !(w->in.flags & PORT_FLAG_SECURITY))
		return GO;
	p = &w->packet;
	if (p->knows & IS_ARP)
		return check_arp(w);
	claim = may_claim(w, &p->src, p->version == 6 ? 6 : 4);
	w->unpaired = claim >= 0 && !(claim & SOURCE_FLAG_PAIRED);
	if (claim < 0)
		return drop(w, STAGE_INGRESS_PORT, DROP_SPOOFED_MAC);
	if (!p->version)
		return GO;
	if (!is_any(&p->src) && !(claim & SOURCE_FLAG_ADDRESS))
		return drop(w, STAGE_INGRESS_PORT, DROP_SPOOFED_IP);
	if (is_discovery(p))
		end = check_discovery(w);
	if (!end && is_server(p))
		end = drop(w, STAGE_INGRESS_PORT, DROP_DHCP_SERVER);
	return end;
}

/* --- services and size -------------------------------------------------------------------------------- */

/* Leave the packet to the slow path. */
inline_ int request(struct __sk_buff *skb, struct walk *w, struct news *news)
{
	if (!may_spend(w->origin, BUDGET_SLOW_PATH))
		return drop(w, STAGE_NEIGHBOURS, DROP_BUDGET);
	news->with_packet = 1;
	tell_agent(skb, w, news);
	return LEFT;
}

inline_ bool is_dhcp6_question(const struct packet *p)
{
	return p->version == 6 && p->protocol == UDP && p->src_port == bpf_htons(546) && p->dst_port == bpf_htons(547) &&
	       p->dst.s6_addr32[0] == bpf_htonl(0xff020000) && !p->dst.s6_addr32[1] &&
	       p->dst.s6_addr32[2] == bpf_htonl(0) && p->dst.s6_addr32[3] == bpf_htonl(0x00010002);
}

/* The service that a packet asks for: what its network must have, and the event that asks. */
inline_ __u32 service_of(const struct packet *p, struct news *news)
{
	news->kind = EVENT_KIND_DHCP;
	if (is_dhcp_question(p))
		return NETWORK_FLAG_DHCP4;
	if (is_dhcp6_question(p))
		return NETWORK_FLAG_DHCP6;
	news->kind = EVENT_KIND_ROUTER_SOLICITATION;
	return is_discovery(p) && p->icmp_type == 133 && !p->icmp_code ? NETWORK_FLAG_ADVERTISES6 : 0;
}

stage_ int wants_service(struct __sk_buff *skb, struct walk *w)
{
	struct network *network;
	struct news news = {};
	__u32 service;

	if (!w || w->in.kind != PORT_KIND_VM || w->in.flags & PORT_FLAG_ON_ROUTER || w->probe)
		return GO;
	service = service_of(&w->packet, &news);
	if (!service)
		return GO;
	network = bpf_map_lookup_elem(&networks, &w->in.device);
	if (!network || !(network->flags & service))
		return GO;
	news.segment = w->in.device;
	return request(skb, w, &news);
}

inline_ void note_mtu(struct walk *w, __u16 mtu)
{
	if (mtu && mtu < w->mtu)
		w->mtu = mtu;
}

inline_ int fits(struct walk *w)
{
	__u16 mtu = w->in.mtu;

	if (w->in.flags & PORT_FLAG_ON_ROUTER || !w->packet.version || !mtu)
		return GO;
	note_mtu(w, mtu);
	if (w->packet.segment <= mtu)
		return GO;
	tell(w, ERROR_TOO_BIG, mtu);
	return drop(w, STAGE_INGRESS_PORT, DROP_TOO_BIG);
}

/* All checks of a port at which a machine sends. */
stage_ int checks(struct __sk_buff *skb, struct walk *w)
{
	int end;

	if (!w)
		return DROPPED;
	end = is_up(w);
	if (!end)
		end = makes_sense(w);
	if (!end)
		end = is_honest(w);
	if (!end)
		end = follow(w);
	if (!end)
		end = wants_service(skb, w);
	if (!end)
		end = fits(w);
	return end;
}
