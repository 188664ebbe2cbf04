/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage LOAD_BALANCING: its place in the order. Nothing is balanced yet. */
#pragma once
#include "walk.h"

inline_ int balance(struct walk *w)
{
	return GO;
}
