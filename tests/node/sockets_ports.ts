/**
 * The ports of `sockets_server.ts`, by what each is bound to.
 *
 * @module
 */
export const BOUND = {
  localhost4: 7101,
  localhost6: 7102,
  address4: 7103,
  address6: 7104,
  only4: 7105,
  only6: 7106,
  datagrams: 7107,
} as const;
