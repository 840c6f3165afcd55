/**
 * How a silent peer is found to be gone: TCP's own probes, on every socket that crosses a wire.
 *
 * @module
 */

import { setOption, SocketOption } from "../../../ffi/linux/socket.ts";

/** Seconds of silence before the first probe, between probes, and probes before giving up. */
const IDLE_SECONDS = 60;
const INTERVAL_SECONDS = 10;
const PROBES = 6;

/** Turns the probes on; a listener's sockets inherit them. */
export function keepAlive(fd: number): void {
  setOption(fd, SocketOption.KEEPALIVE, 1);
  setOption(fd, SocketOption.KEEPIDLE, IDLE_SECONDS);
  setOption(fd, SocketOption.KEEPINTVL, INTERVAL_SECONDS);
  setOption(fd, SocketOption.KEEPCNT, PROBES);
}
