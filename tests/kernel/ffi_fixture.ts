/**
 * What the kernel tests of `ffi/` need: a compiled object, throw-away namespaces and cgroups.
 *
 * Everything is named after this process and removed by disposal, so that tests may run side by
 * side and a failure leaves nothing behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openDescriptors } from "@/ffi/fd.ts";
import { mountBpf, unmount } from "@/ffi/linux/filesystem.ts";
import { openNetns } from "@/ffi/linux/netns.ts";
import type { Fd } from "@/ffi/fd.ts";

/** Compiles a C file of tests/kernel/fixtures to an object, once per process. */
export async function compileFixture(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const known = compiled.get(name);
  if (known) return known;
  const source = new URL(`./fixtures/${name}.bpf.c`, import.meta.url).pathname;
  const include = `-I/usr/include/${Deno.build.arch}-linux-gnu`;
  const object = await Deno.makeTempFile({ prefix: "weft-fixture-", suffix: ".o" });
  try {
    await run("clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", object);
    const bytes = await Deno.readFile(object);
    compiled.set(name, bytes);
    return bytes;
  } finally {
    await Deno.remove(object);
  }
}

/** Runs a program to its end; throws with its standard error when it fails. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

/** Standard error of a shell command that is expected to fail or not. */
export async function shellError(script: string, ...prefix: string[]): Promise<string> {
  const [program = "bash", ...args] = [...prefix, "bash", "-c", script];
  const { stderr } = await new Deno.Command(program, { args, stderr: "piped" }).output();
  return new TextDecoder().decode(stderr);
}

/** A network namespace with its loopback up. */
export class TestNetns implements AsyncDisposable {
  readonly name: string;
  readonly fd: Fd;
  #removed = false;

  private constructor(name: string, fd: Fd) {
    this.name = name;
    this.fd = fd;
  }

  static async create(): Promise<TestNetns> {
    const name = uniqueName();
    await run("ip", "netns", "add", name);
    await run("ip", "-n", name, "link", "set", "lo", "up");
    return new TestNetns(name, openNetns(`/run/netns/${name}`));
  }

  /** Deletes it; the kernel takes it apart when nothing refers to it any more. */
  async remove(): Promise<void> {
    if (this.#removed) return;
    this.#removed = true;
    this.fd.close();
    await run("ip", "netns", "del", this.name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

/** An empty cgroup. */
export class TestCgroup implements Disposable {
  readonly path = `${CGROUP_ROOT}/${uniqueName()}`;

  constructor() {
    Deno.mkdirSync(this.path);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}

/** A directory with a bpffs on it. */
export class TestBpffs implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "weft-bpffs-" });

  constructor() {
    mountBpf(this.path);
  }

  [Symbol.dispose](): void {
    unmount(this.path);
    Deno.removeSync(this.path);
  }
}

/** Tries `condition` until it holds: for what the kernel does later and announces to nobody. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain: ${what}`);
    // deno-lint-ignore no-await-in-loop -- polling is the point
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Fails when a test left a descriptor open. */
export function assertNoLeaks(): void {
  assert.deepEqual(openDescriptors().map(({ label, stack }) => stack ?? label), []);
}

const CGROUP_ROOT = "/sys/fs/cgroup/unified";
const compiled = new Map<string, Uint8Array<ArrayBuffer>>();
let serial = 0;

/** Short enough for an interface name. */
export function uniqueName(): string {
  return `wf${Deno.pid}-${++serial}`;
}
