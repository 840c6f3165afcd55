/**
 * nftables with rules of the same meaning: each lets one address to one port, the last one wins.
 *
 * In a network namespace of its own, iperf3 sends small datagrams over lo as fast as it can, with
 * the rules and without any; the difference of the times per datagram is what the rules cost. A
 * chain is read from its first rule to the one that matches; a set is one look-up, whatever its
 * size (it cannot say which rule decided).
 *
 * @module
 */

import { checked } from "./command.ts";

/** How the rules are written, and which of them matches. */
export type NftForm = "first" | "last" | "set";

const CLIENT = "10.77.0.2";
const SERVER = "10.77.0.1";
const PORT = 5201;
/** Seconds of one measurement. */
const SECONDS = 1;

/** A namespace with nftables and iperf3 in it. */
export class NftBench implements Disposable {
  readonly #netns = `weft-bench-${Deno.pid}`;
  #server: Deno.ChildProcess | undefined;
  #emptyNs: number | undefined;

  /** Makes the namespace and starts the receiver. */
  static async open(): Promise<NftBench> {
    const bench = new NftBench();
    try {
      await checked(["ip", "netns", "add", bench.#netns]);
      await bench.#run("ip", "link", "set", "lo", "up");
      await bench.#run("ip", "addr", "add", `${SERVER}/32`, "dev", "lo");
      await bench.#run("ip", "addr", "add", `${CLIENT}/32`, "dev", "lo");
      bench.#server = bench.#command("iperf3", "-s", "-B", SERVER).spawn();
      return bench;
    } catch (error) {
      bench[Symbol.dispose]();
      throw error;
    }
  }

  /** Nanoseconds that `rules` rules add to a datagram: the median of the rounds. */
  async addedNs(form: NftForm, rules: number, rounds: number): Promise<number> {
    this.#emptyNs ??= await this.#medianNs("", rounds);
    return await this.#medianNs(ruleset(form, rules), rounds) - this.#emptyNs;
  }

  [Symbol.dispose](): void {
    try {
      this.#server?.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    new Deno.Command("ip", { args: ["netns", "del", this.#netns], stderr: "null" }).outputSync();
  }

  async #medianNs(rules: string, rounds: number): Promise<number> {
    const file = await Deno.makeTempFile({ prefix: "weft-bench-", suffix: ".nft" });
    try {
      await Deno.writeTextFile(file, `flush ruleset\n${rules}`);
      await this.#run("nft", "-f", file);
    } finally {
      await Deno.remove(file);
    }
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      // deno-lint-ignore no-await-in-loop -- they share the processors
      times.push(await this.#datagramNs());
    }
    return times.sort((a, b) => a - b)[times.length >> 1] ?? 0;
  }

  async #datagramNs(): Promise<number> {
    const args = ["-c", SERVER, "-B", CLIENT, "-u", "-b", "0", "-l", "64", "-t", String(SECONDS)];
    const text = await this.#attempt("iperf3", ...args, "-J");
    const { end } = JSON.parse(text) as { end: { sum: { packets: number; seconds: number } } };
    return end.sum.seconds * 1e9 / end.sum.packets;
  }

  /** The receiver announces nothing when it listens: a second's tries cover its start. */
  async #attempt(program: string, ...args: string[]): Promise<string> {
    for (let tries = 20;; tries--) {
      try {
        // deno-lint-ignore no-await-in-loop
        return await this.#run(program, ...args);
      } catch (error) {
        if (tries === 0) throw error;
        // deno-lint-ignore no-await-in-loop
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #run(...command: string[]): Promise<string> {
    return await checked(["ip", "netns", "exec", this.#netns, ...command]);
  }

  #command(...command: string[]): Deno.Command {
    return new Deno.Command("ip", {
      args: ["netns", "exec", this.#netns, ...command],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
  }
}

/**
 * A table whose rule `form` names lets the datagrams in; whatever else is a datagram is dropped.
 */
function ruleset(form: NftForm, rules: number): string {
  const peer = (index: number) => `10.${78 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
  const others = Array.from({ length: rules - 1 }, (_, index) => ({
    address: peer(index),
    port: 10_000 + index,
  }));
  const own = { address: CLIENT, port: PORT };
  const all = form === "first" ? [own, ...others] : [...others, own];
  const body = form === "set"
    ? "ip saddr . udp dport @allowed accept"
    : all.map(({ address, port }) => `ip saddr ${address} udp dport ${port} accept`).join("\n");
  const elements = all.map(({ address, port }) => `${address} . ${port}`).join(", ");
  const set = form === "set"
    ? `set allowed { type ipv4_addr . inet_service; elements = { ${elements} } }`
    : "";
  return `table ip bench {
${set}
chain input {
type filter hook input priority 0; policy accept;
ip saddr ${SERVER} accept
ip protocol tcp accept
${body}
ip protocol udp drop
}
}
`;
}
