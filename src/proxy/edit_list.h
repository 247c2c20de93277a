/*
 * edit_list.h - a list of edits in a body together with the bytes that they
 * put in, while their number is known only at run time. Short lists live
 * inside, so that the usual request calls no malloc.
 */
#ifndef PROXY_EDIT_LIST_H
#define PROXY_EDIT_LIST_H

#include "cql/frame.h"

/* The most bytes that one edit puts in from its own room: a literal of functions.h. */
#define EDIT_ROOM 64
#define EDIT_LIST_SMALL 12

struct edit_list {
	struct frame_edit *edits;
	uint8_t (*rooms)[EDIT_ROOM];
	uint32_t count;
	uint32_t cap;
	struct frame_edit small[EDIT_LIST_SMALL];
	uint8_t small_rooms[EDIT_LIST_SMALL][EDIT_ROOM];
};

/* Room for `cap` edits; false without memory for it. The list must not be moved. */
MUSTCHECK bool edit_list_init(struct edit_list *l, uint32_t cap);
void edit_list_free(struct edit_list *l);

/* An edit whose bytes the caller writes to what is returned, at most EDIT_ROOM; it sets `len` of the last edit by then. */
uint8_t *edit_list_add(struct edit_list *l, uint32_t offset, uint32_t drop);
/* The edit added last puts in so many bytes. */
void edit_list_set_length(struct edit_list *l, uint32_t len);
/* An edit that puts in bytes which outlive the list. */
void edit_list_add_bytes(struct edit_list *l, uint32_t offset, uint32_t drop, const void *with, uint32_t len);

#endif
