/**
 * What a pod's application is given: the packets on the pod's own loopback, over which the relay
 * hands on what it has authenticated. An application that was given nothing shows no packet there.
 *
 * Invariant: `packets` returns all that had passed when it was called: a packet of its own, sent
 * last, is waited for. (tcpdump's counters do not tell: on a loopback it sees each packet twice.)
 *
 * @module
 */
import type { Testbed } from "@/tests/testbed/mod.ts";

/** Where nobody listens; what is sent there is the sign that all before it has been seen. */
const MARK_PORT = 9;

/** A capture inside a pod. */
export class Inside implements AsyncDisposable {
  readonly #bed: Testbed;
  readonly #pod: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string, void>;

  /** Starts one, of a port's packets. */
  static async start(bed: Testbed, pod: string, port: number): Promise<Inside> {
    const child = await bed.spawn(pod, [
      ...["tcpdump", "-n", "-l", "-q", "--immediate-mode", "-Z", "root", "-i", "lo"],
      // Over 127.0.0.1 the pod talks to itself.
      `(tcp port ${port} and not net 127.0.0.0/8) or udp port ${MARK_PORT}`,
    ], { stdin: "null", stdout: "piped", stderr: "piped" });
    for await (const line of readLines(child.stderr)) {
      if (line.includes("listening on")) return new Inside(bed, pod, child);
    }
    throw new Error(`Cannot capture inside ${pod}`);
  }

  private constructor(bed: Testbed, pod: string, child: Deno.ChildProcess) {
    this.#bed = bed;
    this.#pod = pod;
    this.#child = child;
    this.#lines = readLines(child.stdout);
  }

  /** A line for each packet; ends the capture. */
  async packets(): Promise<string[]> {
    const mark = `echo mark >/dev/udp/127.0.0.1/${MARK_PORT}`;
    await this.#bed.exec(this.#pod, ["bash", "-c", mark]);
    const packets: string[] = [];
    for await (const line of this.#lines) {
      if (line.includes(`> 127.0.0.1.${MARK_PORT}: UDP`)) break;
      packets.push(line);
    }
    return packets;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended with its pod.
    }
    await this.#lines.return();
    await this.#child.status;
  }
}

async function* readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>;
  for await (const chunk of stream.pipeThrough(decoder)) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
