/**
 * An application with a habit per port, for tests of what a connection through the mesh must keep.
 *
 * Run as a pod's command: `talker.ts`. It listens on all addresses of both families, and writes
 * one JSON line per accepted connection on standard output. Invariant: it never speaks before it
 * should, for who speaks first is part of what is looked at.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { HABITS } from "./habits.ts";

if (import.meta.main) {
  const habits: Record<keyof typeof HABITS, (socket: Socket) => void> = {
    echo,
    greet,
    sink,
    source,
    reset,
    stubborn,
    who,
    plain: who,
  };
  for (const [name, port] of Object.entries(HABITS)) {
    const serve = habits[name as keyof typeof HABITS];
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const client = `${address(socket)} ${socket.remotePort}`;
      Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify({ port, client })}\n`));
      socket.on("error", () => socket.destroy());
      serve(socket);
    });
    server.listen({ port, host: "::", backlog: 1024 });
  }
}

/** Gives back what it gets; after the end of it says how much it was, and ends. */
function echo(socket: Socket): void {
  let size = 0;
  socket.on("data", (bytes) => {
    size += bytes.length;
    if (!socket.write(bytes)) socket.pause();
  });
  socket.on("drain", () => socket.resume());
  socket.on("end", () => socket.end(`end after ${size}`));
}

/** Speaks first. */
function greet(socket: Socket): void {
  socket.write("220 ready\n");
  echo(socket);
}

/** Takes everything, then says what it was. */
function sink(socket: Socket): void {
  const hash = createHash("sha256");
  let size = 0;
  socket.on("data", (bytes) => {
    size += bytes.length;
    hash.update(bytes);
  });
  socket.on("end", () => socket.end(`${size} ${hash.digest("hex")}`));
}

/** Sends as many bytes as the first line asks for, and ends. */
function source(socket: Socket): void {
  socket.once("data", (bytes) => {
    const block = new Uint8Array(65_536).map((_, index) => (index * 31) & 255);
    let left = Number(new TextDecoder().decode(bytes));
    const more = () => {
      while (left > 0) {
        const size = Math.min(left, block.length);
        left -= size;
        if (!socket.write(block.subarray(0, size))) return void socket.once("drain", more);
      }
      socket.end();
    };
    more();
  });
}

/** Breaks the connection at the first byte. */
function reset(socket: Socket): void {
  socket.once("data", () => socket.resetAndDestroy());
}

/** Accepts and reads nothing at all. */
function stubborn(socket: Socket): void {
  socket.pause();
}

/** Says at once who it takes its client for, and ends. */
function who(socket: Socket): void {
  socket.end(JSON.stringify({
    client: address(socket),
    port: socket.remotePort,
    local: socket.localAddress?.replace(/^::ffff:/, ""),
  }));
}

function address(socket: Socket): string {
  return (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
}
