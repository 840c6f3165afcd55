/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Service addresses: one ready backend is chosen when a socket connects or sends. */
#ifndef WEFT_SERVICE_H
#define WEFT_SERVICE_H

#include "decide.h"

enum translation { NOT_A_SERVICE, TRANSLATED, NO_BACKEND, NO_ROOM };

/* Replaces addr and port by a backend's if they are a Service's. `choice` picks the backend. */
static __always_inline enum translation translate(struct weft_addr *addr, __be16 *port, __u8 proto,
						  __u32 choice)
{
	struct weft_port_key key = { .addr = *addr, .port = *port, .proto = proto };
	const struct weft_service_row *service = bpf_map_lookup_elem(&services, &key);
	struct weft_backend_key at = {};
	const struct weft_backend_row *backend;

	if (!service)
		return NOT_A_SERVICE;
	if (!service->count)
		return service->id ? NO_BACKEND : NO_ROOM;
	at.service = service->id;
	at.index = choice % service->count;
	backend = bpf_map_lookup_elem(&backends, &at);
	if (!backend)
		return NO_BACKEND;
	*addr = backend->addr;
	*port = backend->port;
	return TRANSLATED;
}

static __always_inline __u16 refusal_of(enum translation translation)
{
	return translation == NO_ROOM ? WEFT_REASON_MAP_FULL : WEFT_REASON_NO_BACKEND;
}

#endif
