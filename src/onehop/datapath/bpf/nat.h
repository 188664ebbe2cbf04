/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage NAT: its places in the order. Nothing is translated yet. */
#pragma once
#include "walk.h"

inline_ int destination_nat(struct walk *w)
{
	return GO;
}

inline_ int source_nat(struct walk *w)
{
	return GO;
}
