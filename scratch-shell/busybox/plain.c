/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 */
//kbuild:lib-y += plain.o
#include "libbb.h"

char *kdiag_plain(char *text);

/*
 * Replaces control characters in a name with "?", also C1's in UTF-8, so that the container's
 * names cannot move the cursor.
 */
char *kdiag_plain(char *text)
{
	unsigned char *at = (unsigned char *)text;

	for (; *at; at++) {
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
		if (*at < ' ' || *at == 0x7f)
			*at = '?';
	}
	return text;
}
