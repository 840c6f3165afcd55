/**
 * Everything around an agent fails in turn: its descriptors, its disk, its state, its source, its
 * start. What is in force stays in force, `weft status` says what is wrong, and it recovers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { eventually } from "@/tests/support/waiting.ts";
import {
  addresses,
  agentPid,
  checkInForce,
  checkRefused,
  checkServed,
  DEGRADED,
  FAILED,
  HEALTHY,
  isHealthy,
  mesh,
  NODE,
  node,
  raise,
  shows,
  source,
} from "./faults_stage.ts";
import { carryTraffic, TRAFFIC_S } from "./faults_traffic.ts";
import { CLOSED_PORT, HABITS } from "./support/habits.ts";
import { ENROLLED, pod, policy } from "./support/mesh.ts";

/** Flows beside all else, and is asked for at the end. */
let traffic: Promise<void>;

/** A new agent's own end, with what it said. */
async function failsToStart(pattern: RegExp): Promise<void> {
  const { code, stderr } = await mesh.weft(NODE, "run", "--source", source);
  assert.equal(code, FAILED, stderr);
  assert.match(stderr, pattern);
}

describe("an agent around which things fail", { timeout: 300_000 + TRAFFIC_S * 1000 }, () => {
  before(async () => {
    traffic = isTrafficWanted() ? carryTraffic() : Promise.resolve();
    traffic.catch(() => undefined); // reported by its own test
    await raise();
  });

  after(async () => {
    await mesh[Symbol.asyncDispose]();
    await traffic.catch(() => undefined);
  });

  it("refuses a client that uses its port again while no agent is there", async () => {
    const again = (address: string) =>
      mesh.bed.exec("outside", ["nc", "-w", "5", "-p", "41000", address, String(HABITS.who)], {
        timeoutMs: 4000,
      });
    // The pod remembers these connections for a minute: it was the first to end them.
    await mesh.apply(policy("server", "PERMISSIVE"));
    for (const address of addresses) {
      // deno-lint-ignore no-await-in-loop -- one port, one after the other
      assert.match((await again(address)).stdout, /^{"client"/);
    }
    await mesh.apply(policy("server", "STRICT"));
    await mesh.bed.kill(NODE, "KILL");
    try {
      // A process that has ended is not listed any more a moment before its sockets are closed.
      await eventually("nobody listens", async () => {
        const [address] = addresses;
        const { error } = await mesh.dial("default/client", "read", address, HABITS.who);
        return error === "ConnectionRefused";
      });
      for (const address of addresses) {
        // deno-lint-ignore no-await-in-loop
        assert.equal((await again(address)).code, 1, "it waits");
      }
    } finally {
      await mesh.bed.start(NODE);
    }
    await checkInForce();
  });

  describe("a port on which nobody listens", () => {
    for (const from of [NODE, "default/client", "default/plain", "outside"]) {
      it(`is refused, not accepted and reset, to ${from}`, async () => {
        const answers = await Promise.all(
          addresses.map((address) => mesh.dial(from, "read", address, CLOSED_PORT)),
        );
        // The mesh's own client is connected to its relay first, which then breaks it off.
        const wanted = from === "default/client" ? /^Connection(Refused|Reset)$/ : /Refused$/;
        for (const { error } of answers) assert.match(error ?? "served", wanted);
      });
    }
  });

  describe("the node's probes", () => {
    const netfilter = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];
    const isThere = existsSync(`/proc/sys/net/bridge/${netfilter[0]}`);
    const skip = isThere ? {} : { skip: "this kernel has no br_netfilter" };
    for (const value of ["0", "1"]) {
      it(`are served with bridge netfilter ${value === "1" ? "on" : "off"}`, skip, async () => {
        for (const name of netfilter) {
          const file = `/proc/sys/net/bridge/${name}`;
          const set = ["sh", "-c", `echo ${value} >${file} && cat ${file}`];
          // deno-lint-ignore no-await-in-loop -- two
          assert.equal((await mesh.bed.exec(NODE, set)).stdout, `${value}\n`);
        }
        await checkInForce();
        const closed = await Promise.all(
          addresses.map((address) => mesh.dial(NODE, "read", address, CLOSED_PORT)),
        );
        for (const { error } of closed) assert.equal(error, "ConnectionRefused");
      });
    }
  });

  it("out of descriptors refuses at once, says so, does not spin, and recovers", async () => {
    const pid = await agentPid();
    const { descriptors: { open, max } } = await mesh.status(NODE);
    // Some connections still fit: each takes four in an agent that has both of its ends.
    await limitDescriptors(pid, open + 64 + 40);
    await using crowd = await hold("default/client", 60);
    await shows(
      DEGRADED,
      /out of descriptors: \d+ of \d+ are open, and \d+ new connections have been refused/,
    );
    const [address] = addresses;
    const { served = 0, failed = 0 } = await mesh.dial(
      ...["default/client", "many", address, HABITS.echo, 100] as const,
    );
    assert.ok(failed > 0, `${served} are served, ${failed} refused`);
    await checkRefused("outside", "default/plain");
    await checkServed(NODE);
    const before = cpuTicks(pid);
    await new Promise((resolve) => setTimeout(resolve, 1000)); // what is measured is idleness
    assert.ok(cpuTicks(pid) - before < 50, "it spins");
    await crowd.end();
    await isHealthy();
    await checkInForce();
    await limitDescriptors(pid, max);
  });

  it("with a full disk enforces and issues, says so, and recovers", async () => {
    await using disk = await fullDisk(node.stateDir);
    const file = `${source}/more.yaml`;
    // A new identity needs a certificate; a new policy wants to be remembered.
    await mesh.bed.applyYaml(pod({ name: "late", labels: ENROLLED, serviceAccount: "late" }));
    await Deno.writeTextFile(file, policy("late", "PERMISSIVE"));
    await shows(DEGRADED, /Cannot save the last good policies as ".*": .*[Nn]o space left/);
    await checkInForce();
    await checkServed("default/late");
    // The agent comes back from what is there.
    await mesh.bed.kill(NODE, "KILL");
    const started = await startDegraded();
    await shows(DEGRADED, /Cannot save the last good policies/);
    await checkServed("default/late", "default/client");
    await checkRefused("outside");
    await disk.free();
    await started.ready;
    await isHealthy();
    await mesh.bed.deleteYaml(pod({ name: "late" }));
    await Deno.remove(file);
    await checkInForce();
  });

  describe("a broken file of the state directory", () => {
    const breaks: Readonly<Record<string, (file: string) => void>> = {
      "cut short": (file) => Deno.truncateSync(file, 50),
      "of another user": (file) => Deno.chownSync(file, 65_534, 65_534),
    };
    for (const name of ["issuer.crt", "issuer.key", "bundle.pem"]) {
      for (const [how, act] of Object.entries(breaks)) {
        it(`(${name}, ${how}) is named, what works goes on, and it recovers`, async () => {
          const file = `${node.stateDir}/${name}`;
          const good = await Deno.readFile(file);
          const { mode } = await Deno.stat(file);
          act(file);
          await shows(DEGRADED, new RegExp(`certificates: Cannot use ".*/${name}": `));
          await checkInForce();
          await Deno.writeFile(`${file}.good`, good, { mode: (mode ?? 0) & 0o777 });
          await Deno.rename(`${file}.good`, file);
          await isHealthy();
        });
      }
    }

    it("lets no new agent start, which says what is wrong; all stays closed", async () => {
      const file = `${node.stateDir}/issuer.key`;
      const good = await Deno.readTextFile(file);
      await mesh.bed.kill(NODE, "KILL");
      await Deno.writeTextFile(file, "-----BEGIN PRIVATE KEY-----\n");
      await failsToStart(/cannot use ".*\/issuer\.key": /i);
      await checkRefused("outside", "default/plain", "default/client");
      await checkServed(NODE);
      await Deno.writeTextFile(file, good);
      await mesh.bed.start(NODE);
      await checkInForce();
    });
  });

  describe("a source that", () => {
    const away = () => `${source}.away`;
    const hide = () => Deno.rename(source, away());
    const putBack = async () => {
      await Deno.remove(source, { recursive: true }).catch(() => undefined);
      await Deno.rename(away(), source);
    };
    const huge = () => `${source}/huge.yaml`;
    const faults: readonly {
      readonly is: string;
      readonly make: () => Promise<unknown>;
      readonly status: readonly [number, RegExp];
      readonly mend: () => Promise<unknown>;
    }[] = [
      {
        is: "is removed",
        make: hide,
        status: [DEGRADED, /the source cannot be read: Source directory ".*" does not exist/],
        mend: putBack,
      },
      {
        is: "is emptied",
        make: async () => {
          await hide();
          await Deno.mkdir(source);
        },
        status: [DEGRADED, /has lost all of its \d+ objects at once; everything stays in force/],
        mend: putBack,
      },
      {
        is: "becomes a file",
        make: async () => {
          await hide();
          await Deno.writeTextFile(source, "");
        },
        status: [DEGRADED, /is not a directory; everything stays in force/],
        mend: putBack,
      },
      {
        is: "turns binary",
        make: async () => {
          await hide();
          await Deno.mkdir(source);
          const noise = crypto.getRandomValues(new Uint8Array(5000)).fill(0, 0, 1);
          const names = [...Deno.readDirSync(away())].filter(({ isFile }) => isFile);
          await Promise.all(names.map(({ name }) => Deno.writeFile(`${source}/${name}`, noise)));
        },
        status: [HEALTHY, /rejected .*: .*\(the last good version stays in force\)/],
        mend: putBack,
      },
      {
        is: "gets a document of 100 MB",
        make: async () => {
          await Deno.writeTextFile(huge(), policy("server", "DISABLE"));
          await Deno.truncate(huge(), 100 << 20);
        },
        status: [HEALTHY, /rejected .*huge\.yaml: is larger than \d+ bytes/],
        mend: () => Deno.remove(huge()),
      },
      {
        is: "gets 10,000 documents",
        make: () => {
          const many = Array.from(
            { length: 10_000 },
            (_, index) =>
              JSON.stringify({
                apiVersion: "v1",
                kind: "ServiceAccount",
                metadata: { name: `sa-${index}` },
              }),
          );
          return Deno.writeTextFile(huge(), many.join("\n---\n"));
        },
        status: [HEALTHY, /10000 ServiceAccount/],
        mend: () => Deno.remove(huge()),
      },
      {
        is: "has a document that was valid and no longer is",
        make: async () => {
          await Deno.writeTextFile(huge(), policy("nobody", "STRICT"));
          await shows(HEALTHY, /nobody-mesh/);
          await Deno.writeTextFile(huge(), policy("nobody", "STRICT").replace("mode", "mood"));
        },
        status: [HEALTHY, /\.yaml:1: .*\(the last good version stays in force\)[^]*nobody-mesh/],
        mend: () => Deno.remove(huge()),
      },
    ];
    it("loses its folder of announcements is announced into again", async () => {
      await Deno.remove(`${source}/.nodes`, { recursive: true });
      await eventually("the node is announced", () => existsSync(`${source}/.nodes/${NODE}.yaml`));
      await isHealthy();
    });

    for (const { is, make, status: [code, pattern], mend } of faults) {
      it(`${is} keeps everything in force, is told of, and recovers`, async () => {
        try {
          await make();
          await shows(code, pattern);
          await checkInForce();
        } finally {
          await mend();
        }
        await eventually("all is as before", async () => {
          const { stdout } = await mesh.weft(NODE, "status");
          return /: healthy,/.test(stdout) && !/rejected|sa-|10000|nobody-mesh/.test(stdout);
        });
        await checkInForce();
      });
    }
  });

  it("renews certificates of 20 seconds in time: no connection is lost or refused", async () => {
    await traffic;
  });
});

/** Not when another promise is tried alone: it lasts a minute. */
function isTrafficWanted(): boolean {
  return Deno.env.get("WEFT_CHOSEN_TEST")?.includes("20 seconds") !== false;
}

/** Starts the agent, which answers, but is not healthy: `ready` resolves when it is. */
async function startDegraded(): Promise<{ readonly ready: Promise<void> }> {
  const ready = mesh.bed.start(NODE);
  ready.catch(() => undefined);
  await shows(DEGRADED, /Cannot save the last good policies/);
  return { ready };
}

async function limitDescriptors(pid: number, count: number): Promise<void> {
  const limit = `--nofile=${count}:`; // what is raised again later must stay allowed
  const { code, stderr } = await mesh.bed.exec(NODE, ["prlimit", "--pid", String(pid), limit]);
  assert.equal(code, 0, stderr);
}

/** User and system time of a process, in hundredths of a second. */
function cpuTicks(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Connections of one program that stand until `end`, as many as can. */
async function hold(place: string, count: number) {
  const [address] = addresses;
  const command = ["bash", "-c", HOLDER, "bash", address, String(HABITS.echo), String(count)];
  const child = await mesh.bed.spawn(place, command, { stdin: "piped", stdout: "null" });
  const end = async () => {
    await child.stdin.close().catch(() => undefined);
    await child.status;
  };
  return { end, [Symbol.asyncDispose]: end };
}

/** Opens what it can, and keeps it until its input ends. */
const HOLDER = 'for i in $(seq "$3"); do exec {fd}<>"/dev/tcp/$1/$2" && echo x >&"$fd"; done ' +
  "2>/dev/null; cat >/dev/null";

/** A small file system over a directory, with its files, and not a byte left. */
async function fullDisk(
  directory: string,
): Promise<AsyncDisposable & { free(): Promise<void> }> {
  const aside = `${directory}.aside`;
  const run = async (...command: string[]) => {
    const { code, stderr } = await mesh.bed.exec(NODE, command);
    assert.equal(code, 0, `${command.join(" ")}: ${stderr}`);
  };
  await run("cp", "-a", directory, aside);
  await mesh.bed.kill(NODE, "TERM");
  await run("mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "weft-test", directory);
  await run("cp", "-a", `${aside}/.`, directory);
  await mesh.bed.start(NODE);
  await run("sh", "-c", `cat /dev/zero >"${directory}/filler" 2>/dev/null; true`);
  return {
    free: () => Deno.remove(`${directory}/filler`),
    async [Symbol.asyncDispose]() {
      await mesh.bed.kill(NODE, "KILL").catch(() => undefined);
      await run("umount", "-l", directory);
      await run("rm", "-rf", aside);
      await mesh.bed.start(NODE);
    },
  };
}
