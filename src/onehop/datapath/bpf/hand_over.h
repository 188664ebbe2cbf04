/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Of stage CONNECTIONS: records that the agent puts and removes.
 *
 * It has programs run that do so, rather than write the table: a record counts in `openers`, and that is kept here.
 * What they are about comes as the packet: LEAD bytes of nothing, the key, and the record.
 */
#pragma once
#include "connections.h"

#define LEAD 16 /* a frame's header, so that the kernel takes it for one */

inline_ __u32 quota_of(__u32 key)
{
	struct port *port = bpf_map_lookup_elem(&ports, &key);

	return port && port->quota ? port->quota : quota;
}

/* Remove a record: 1 if there was one. */
inline_ int forget_given(struct __sk_buff *skb)
{
	struct tuple_key key;

	if (bpf_skb_load_bytes(skb, LEAD, &key, sizeof(key)))
		return -1;
	return remove_record(&key);
}

/* Whether what a record's owner sends leads to another connection by now. */
inline_ bool is_superseded(const struct tuple_key *key, const struct record *given)
{
	struct tuple_key home, *at;

	if (!(given->flags & RECORD_FLAG_TRANSLATED))
		return false;
	key_of(&home, key->port, &given->home, key->protocol);
	at = bpf_map_lookup_elem(&translated, &home);
	return at && !same_key(at, key) && bpf_map_lookup_elem(&records, at);
}

/* Put a record, unless there is one that was used later: 1 if it was put, -1 if there is no room for it. */
inline_ int put_given(struct __sk_buff *skb)
{
	struct record given, *known;
	struct tuple_key key;

	if (bpf_skb_load_bytes(skb, LEAD, &key, sizeof(key)) ||
	    bpf_skb_load_bytes(skb, LEAD + sizeof(key), &given, sizeof(given)))
		return -1;
	known = bpf_map_lookup_elem(&records, &key);
	if ((known && known->used >= given.used) || is_superseded(&key, &given))
		return 0;
	if (known && !((known->flags | given.flags) & RECORD_FLAG_TRANSLATED))
		return bpf_map_update_elem(&records, &key, &given, BPF_EXIST) ? 0 : 1;
	if (known)
		remove_record(&key);
	if (!may_open(key.port, quota_of(key.port)))
		return -1;
	if (bpf_map_update_elem(&records, &key, &given, BPF_NOEXIST)) {
		closed(key.port);
		return -1;
	}
	if (!(given.flags & (RECORD_FLAG_TRANSLATED | RECORD_FLAG_INBOUND)) || !index_record(&key, &given))
		return 1;
	remove_record(&key);
	return -1;
}
