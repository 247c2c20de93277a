/* credential.c - see credential.h */
#include "proxy/credential.h"

#include <stdlib.h>
#include <string.h>

void credential_ref(struct credential *c)
{
	c->refs++;
}

void credential_unref(struct credential *c)
{
	Assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	list_remove(&c->node);
	credentials_wipe(&c->token);
	free(c);
}
