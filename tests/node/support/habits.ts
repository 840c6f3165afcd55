/**
 * The ports of `talker.ts`, by what it does there.
 *
 * @module
 */
export const HABITS = {
  /** gives back what it gets, and says so at the end */
  echo: 7000,
  /** speaks first, then is an echo */
  greet: 7001,
  /** says length and hash of all that it got */
  sink: 7002,
  /** sends as much as it is asked for */
  source: 7003,
  /** breaks the connection at the first byte */
  reset: 7004,
  /** accepts and never reads */
  stubborn: 7005,
  /** says who it takes its client for */
  who: 7006,
  /** the same, on a port whose mode differs in some tests */
  plain: 7007,
} as const;

/** Nobody listens there. */
export const CLOSED_PORT = 7999;
