/* edit_list.c - see edit_list.h */
#include "proxy/edit_list.h"

#include <stdlib.h>

bool edit_list_init(struct edit_list *l, uint32_t cap)
{
	l->count = 0;
	l->cap = EDIT_LIST_SMALL;
	l->edits = l->small;
	l->rooms = l->small_rooms;
	if (cap <= EDIT_LIST_SMALL)
		return true;
	l->cap = cap;
	l->edits = malloc(cap * sizeof(*l->edits));
	l->rooms = malloc((size_t)cap * EDIT_ROOM);
	if (l->edits && l->rooms)
		return true;
	edit_list_free(l);
	return false;
}

void edit_list_free(struct edit_list *l)
{
	if (l->edits != l->small) {
		free(l->edits);
		free(l->rooms);
	}
	l->edits = l->small;
	l->rooms = l->small_rooms;
}

void edit_list_add_bytes(struct edit_list *l, uint32_t offset, uint32_t drop, const void *with, uint32_t len)
{
	Assert(l->count < l->cap);
	l->edits[l->count++] = (struct frame_edit){ .offset = offset, .drop = drop, .len = len, .with = with };
}

uint8_t *edit_list_add(struct edit_list *l, uint32_t offset, uint32_t drop)
{
	edit_list_add_bytes(l, offset, drop, l->rooms[l->count], 0);
	return l->rooms[l->count - 1];
}

void edit_list_set_length(struct edit_list *l, uint32_t len)
{
	Assert(l->count > 0 && len <= EDIT_ROOM);
	l->edits[l->count - 1].len = len;
}
