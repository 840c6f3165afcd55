/**
 * An application that hides nothing: a TCP server that writes down each connection and each byte it
 * is given, a JSON object per line on standard output. With a banner it speaks first, as sshd does.
 *
 * Run as a program, in a pod or on a node: `recorder.ts PORT [BANNER]`. A connection over 127.0.0.1
 * is ended as soon as it has said something: by it a reader knows that all that came before has
 * been written down.
 *
 * @module
 */

/** A line of the record. */
export interface RecordLine {
  readonly what: "listening" | "accepted" | "received" | "ended";
  /** address of the client */
  readonly client?: string;
  readonly text?: string;
}

if (import.meta.main) {
  const [port = "", banner] = Deno.args;
  const listener = Deno.listen({ hostname: "::", port: Number(port) });
  record({ what: "listening" });
  for await (const connection of listener) void serve(connection, banner);
}

async function serve(connection: Deno.TcpConn, banner: string | undefined): Promise<void> {
  const client = connection.remoteAddr.hostname.replace(/^::ffff:/, "");
  record({ what: "accepted", client });
  const decoder = new TextDecoder("latin1");
  try {
    if (banner !== undefined) await send(connection, `${banner}\r\n`);
    for await (const chunk of connection.readable) {
      record({ what: "received", client, text: decoder.decode(chunk) });
      if (banner !== undefined || client === "127.0.0.1") break;
    }
  } catch {
    // Reset: what was received before has been written down.
  }
  record({ what: "ended", client });
  try {
    connection.close();
  } catch {
    // The stream has closed it.
  }
}

async function send(connection: Deno.TcpConn, text: string): Promise<void> {
  await connection.write(new TextEncoder().encode(text));
}

function record(line: RecordLine): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
}
