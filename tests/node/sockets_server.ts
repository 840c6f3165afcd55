/**
 * An application of a pod that binds in every narrow way: `sockets_server.ts IPV4 IPV6`, its own
 * addresses. It echoes, and writes a line of JSON for each client on standard output, true first.
 *
 * @module
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { BOUND } from "./sockets_ports.ts";

if (import.meta.main) {
  const [v4 = "", v6 = ""] = Deno.args;
  const listens = [
    { port: BOUND.localhost4, host: "127.0.0.1" },
    { port: BOUND.localhost6, host: "::1" },
    { port: BOUND.address4, host: v4 },
    { port: BOUND.address6, host: v6 },
    { port: BOUND.only4, host: "0.0.0.0" },
    // The pod's setting makes this one of IPv6 alone.
    { port: BOUND.only6, host: "::" },
  ];
  await Promise.all(listens.map(listen));
  await Promise.all([
    receive("udp4", v4, BOUND.datagrams),
    receive("udp6", v6, BOUND.datagrams),
  ]);
  say(true);
}

function listen(options: { port: number; host: string }): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const client = `${socket.remoteAddress} ${socket.remotePort}`;
    say({ port: options.port, client, local: `${socket.localAddress} ${socket.localPort}` });
    let size = 0;
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
      size += bytes.length;
      socket.write(bytes);
    });
    socket.on("end", () => socket.end(`end after ${size}`));
  });
  return new Promise((resolve) => server.listen(options, resolve));
}

function receive(type: "udp4" | "udp6", address: string, port: number): Promise<void> {
  const socket = createSocket(type);
  socket.on("message", (bytes, from) => {
    say({
      port,
      client: `${from.address} ${from.port}`,
      datagram: new TextDecoder().decode(bytes),
    });
    socket.send(bytes, from.port, from.address);
  });
  return new Promise((resolve) => socket.bind(port, address, resolve));
}

function say(what: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(what)}\n`));
}
