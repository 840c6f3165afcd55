/**
 * `scripts/bench`: measures weft on this machine: `relay`, a connection through two of them, and
 * `policy`, verdicts and their compilation.
 *
 * Exit status 0 when everything could be measured, 1 when something failed, 2 for wrong arguments.
 * No figure decides about it: how fast is fast enough depends on the machine and its company.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { benchPolicy } from "./policy.ts";
import { benchRelay, type RelayBenchOptions } from "./relay.ts";

const USAGE = `Usage: scripts/bench relay [--quick] [--rounds N] [--only LOAD,…] [--json FILE]

Compares a connection through two weft relays (mutual TLS, two nodes) with nginx, haproxy and no
mesh, and weft's attested path on one node with no mesh. Takes turns between all of them in every round;
figures are medians of the rounds, ratios are taken within a round: "median (lowest-highest)".

  --quick       one round (about a minute); five rounds otherwise (about seven)
  --rounds N    that many
  --threads N   relay threads of each node and threads of each peer's hop (default: half of the
                processors, which the two nodes share)
  --only LOAD   of up1 down1 up4 down4 keep1 keep32 new16 idle
  --json FILE   write every sample there, too

This one wants root, nginx with its stream module, haproxy, wrk, iperf3 and openssl. WEFT_BIN names
the weft executable (default: dist/weft).

       scripts/bench policy [--rounds N]

Measures what a verdict costs at 1 to 10,000 rules, nftables with the same rules beside it, and what
compiling costs at 10 to 10,000 policies. Wants root, nft and iperf3.
`;

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs a benchmark and returns the exit status. */
async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "policy") return await mainPolicy(args.slice(1));
  const options = parse(args);
  if (options === undefined) {
    write(Deno.stderr, USAGE);
    return args.includes("--help") ? 0 : 2;
  }
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => interrupt.abort());
  }
  try {
    const faults = await benchRelay({
      ...options,
      signal: interrupt.signal,
      print: (text) => write(Deno.stdout, text),
      progress: (text) => write(Deno.stderr, text),
    });
    return faults === 0 ? 0 : 1;
  } catch (error) {
    write(Deno.stderr, `bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

async function mainPolicy(args: readonly string[]): Promise<number> {
  const [option, value, ...rest] = args;
  const rounds = option === undefined ? 3 : Number(value);
  if (!isCount(rounds) || (option !== undefined && option !== "--rounds") || rest.length > 0) {
    write(Deno.stderr, USAGE);
    return args.includes("--help") ? 0 : 2;
  }
  try {
    await benchPolicy({
      rounds,
      print: (text) => write(Deno.stdout, text),
      progress: (text) => write(Deno.stderr, text),
    });
    return 0;
  } catch (error) {
    write(Deno.stderr, `bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

function parse(
  args: readonly string[],
): Pick<RelayBenchOptions, "rounds" | "threads" | "only" | "json"> | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        quick: { type: "boolean" },
        rounds: { type: "string" },
        threads: { type: "string" },
        only: { type: "string" },
        json: { type: "string" },
      },
    });
    const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
    const threads = Number(values.threads ?? Math.max(1, navigator.hardwareConcurrency >> 1));
    if (positionals.join(" ") !== "relay" || !isCount(rounds) || !isCount(threads)) {
      return undefined;
    }
    return {
      rounds,
      threads,
      ...(values.only !== undefined && { only: values.only.split(",") }),
      ...(values.json !== undefined && { json: values.json }),
    };
  } catch {
    return undefined;
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}

function write(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
}
