/**
 * Puts the run-time closure together: the pinned deno and, from a newer Debian release, the
 * libraries that it and weft load (libbpf with TCX, OpenSSL with fast AES-GCM, their libc).
 *
 * In: `toolchain.lock`, a staging directory that already holds `deno`, the final directory.
 * Out: the final directory, made by one rename, after everything in it was opened once.
 *
 * Invariant: nothing is installed and nothing outside the two directories is written; apt runs
 * with lists, cache and status of its own, and the mirror is the one that the machine uses.
 *
 * Why patched ELF headers and not `ld.so --library-path`: the interpreter and RUNPATH make
 * `Deno.execPath()` the deno itself, so that workers, child processes and `Deno.dlopen` by soname
 * work without a wrapper. RUNPATH is not inherited, hence every library gets its own.
 *
 * @module
 */

import { run, type RunOptions } from "./lib/command.ts";

interface Pin {
  readonly kind: string;
  readonly name: string;
  readonly version: string;
  readonly hash: string;
}

/** The loader; also the interpreter that is written into `deno`. */
const LOADER = "ld-linux-x86-64.so.2";

/** Sonames in the closure, each found in one of the pinned packages. */
const LIBRARIES = [
  "libbpf.so.1",
  "libc.so.6",
  "libcrypto.so.3",
  "libdl.so.2",
  "libelf.so.1",
  "libgcc_s.so.1",
  "libm.so.6",
  "libpthread.so.0",
  "librt.so.1",
  "libssl.so.3",
  "libz.so.1",
  "libzstd.so.1",
] as const;

/** What `dist/weft` unpacks itself with, in a folder of its own; see scripts/build.ts. */
const UNPACKER = ["libxxhash.so.0", "liblz4.so.1", "liblzma.so.5"] as const;

const LIBRARY_DIR = "usr/lib/x86_64-linux-gnu";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

async function main(lockPath: string, stage: string, target: string): Promise<void> {
  const pins = parseLock(await Deno.readTextFile(lockPath));
  const suite = pins.find((pin) => pin.kind === "suite");
  if (suite === undefined) throw new Error(`No "suite" row in "${lockPath}"`);
  const debs = pins.filter((pin) => pin.kind === "deb");

  await Deno.mkdir(`${stage}/apt/debs`, { recursive: true });
  await Deno.mkdir(`${stage}/runtime`);
  await configureApt(`${stage}/apt`, suite);
  await downloadDebs(`${stage}/apt`, debs);
  await unpackDebs(`${stage}/apt`);
  await collectRuntime(stage, target);
  await checkRuntime(`${stage}/runtime`);
  await Deno.rename(`${stage}/runtime`, target);
}

function parseLock(text: string): Pin[] {
  const pins: Pin[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [kind, name, version, hash] = line.split(/\s+/);
    if (!kind || !name || !version || !hash) {
      throw new Error(`Malformed row in the lock file: "${line}"`);
    }
    pins.push({ kind, name, version, hash });
  }
  return pins;
}

async function configureApt(apt: string, suite: Pin): Promise<void> {
  await Deno.mkdir(`${apt}/lists/partial`, { recursive: true });
  await Deno.mkdir(`${apt}/cache/archives/partial`, { recursive: true });
  const signed = `[arch=${suite.version} signed-by=${KEYRING}]`;
  const sources = await mirrors();
  await Deno.writeTextFile(
    `${apt}/sources.list`,
    sources.map(({ uri, suffix }) => `deb ${signed} ${uri} ${suite.name}${suffix} main\n`).join(""),
  );
  await Deno.writeTextFile(
    `${apt}/apt.conf`,
    [
      `#clear APT::Update;`,
      `#clear DPkg;`,
      `Dir::Etc::sourcelist "${apt}/sources.list";`,
      `Dir::Etc::sourceparts "/dev/null";`,
      `Dir::Etc::preferences "/dev/null";`,
      `Dir::Etc::preferencesparts "/dev/null";`,
      `Dir::State::lists "${apt}/lists";`,
      `Dir::State::status "/dev/null";`,
      `Dir::Cache "${apt}/cache";`,
      `APT::Architecture "${suite.version}";`,
      `APT::Architectures { "${suite.version}"; };`,
      `APT::Sandbox::User "root";`,
      `Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";`,
      `Acquire::Languages "none";`,
      `Acquire::Retries "3";`,
      "",
    ].join("\n"),
  );
}

/** Where this machine gets Debian from: its main archive and, if it has one, the security one. */
async function mirrors(): Promise<{ uri: string; suffix: string }[]> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
  const rows = await run(["apt-get", "indextargets", "--format", format]);
  const codename = /^VERSION_CODENAME=(\w+)/m.exec(await Deno.readTextFile("/etc/os-release"))?.[1];
  const found = new Map<string, string>();
  for (const row of rows.split("\n")) {
    const [uri, release, component] = row.split(" ");
    if (uri === undefined || component !== "main") continue;
    if (release === codename || release === "stable") found.set("", uri);
    if (release === `${codename}-security`) found.set("-security", uri);
  }
  if (!found.has("")) {
    throw new Error(`apt has no source for "${codename} main": add the Debian archive to it`);
  }
  return [...found].map(([suffix, uri]) => ({ uri, suffix }));
}

/** Downloads every pinned package, a newer one where the archive no longer has the pinned. */
async function downloadDebs(apt: string, debs: readonly Pin[]): Promise<void> {
  const options = { cwd: `${apt}/debs`, env: { APT_CONFIG: `${apt}/apt.conf` } };
  say("fetching the run-time closure");
  await run(["apt-get", "-qq", "update"], options);
  const wanted = debs.map((pin) => `${pin.name}=${pin.version}`);
  if (await succeeds(["apt-get", "-qq", "download", ...wanted], options)) {
    await Promise.all(debs.map((pin) => verifyDeb(`${apt}/debs`, pin)));
    return;
  }
  for (const pin of debs) {
    // One after the other: apt locks its cache.
    // deno-lint-ignore no-await-in-loop
    await downloadDeb(apt, pin, options);
  }
}

async function downloadDeb(apt: string, pin: Pin, options: RunOptions): Promise<void> {
  if (await succeeds(["apt-get", "-qq", "download", `${pin.name}=${pin.version}`], options)) {
    await verifyDeb(`${apt}/debs`, pin);
    return;
  }
  await run(["apt-get", "-qq", "download", pin.name], options);
  const file = await findDeb(`${apt}/debs`, pin.name);
  say(`WARNING: ${pin.name} ${pin.version} is gone from the archive; took "${file}" instead,`);
  say(`WARNING: known by Debian's signature alone. Update scripts/toolchain.lock.`);
}

async function verifyDeb(dir: string, pin: Pin): Promise<void> {
  const bytes = await Deno.readFile(`${dir}/${await findDeb(dir, pin.name)}`);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  if (hash !== pin.hash) {
    throw new Error(`The hash of ${pin.name} ${pin.version} is ${hash}, want ${pin.hash}`);
  }
}

async function findDeb(dir: string, name: string): Promise<string> {
  for await (const entry of Deno.readDir(dir)) {
    if (entry.name.startsWith(`${name}_`)) return entry.name;
  }
  throw new Error(`apt downloaded no package "${name}"`);
}

async function unpackDebs(apt: string): Promise<void> {
  const unpacked: Promise<string>[] = [];
  for await (const entry of Deno.readDir(`${apt}/debs`)) {
    unpacked.push(run(["dpkg-deb", "-x", `${apt}/debs/${entry.name}`, `${apt}/root`]));
  }
  await Promise.all(unpacked);
}

async function collectRuntime(stage: string, target: string): Promise<void> {
  const runtime = `${stage}/runtime`;
  const source = `${stage}/apt/root/${LIBRARY_DIR}`;
  await Deno.mkdir(`${runtime}/unpack`);
  await Deno.copyFile(`${stage}/deno`, `${runtime}/deno`); // the original is running this
  for (const name of [LOADER, ...LIBRARIES]) {
    // Few and small; a clear first failure is worth more than overlap.
    // deno-lint-ignore no-await-in-loop
    await Deno.copyFile(await Deno.realPath(`${source}/${name}`), `${runtime}/${name}`);
  }
  for (const name of UNPACKER) {
    // deno-lint-ignore no-await-in-loop
    await Deno.copyFile(await Deno.realPath(`${source}/${name}`), `${runtime}/unpack/${name}`);
  }
  await Deno.copyFile(`${stage}/apt/root/usr/bin/zstd`, `${runtime}/unpack/zstd`);
  const patchelf = ["patchelf", "--set-rpath", "$ORIGIN"];
  const patched = LIBRARIES.filter((name) => name !== "libc.so.6");
  await run([...patchelf, ...patched.map((name) => `${runtime}/${name}`)]);
  await run([...patchelf, "--set-interpreter", `${target}/${LOADER}`, `${runtime}/deno`]);
  await Deno.chmod(`${runtime}/${LOADER}`, 0o755);
}

/** Opens every library from the new deno; through the loader, for the target is not there yet. */
async function checkRuntime(runtime: string): Promise<void> {
  const names = JSON.stringify(LIBRARIES);
  const script = `for (const name of ${names}) Deno.dlopen(name, {}); Deno.stdout.writeSync(
    new TextEncoder().encode(await Deno.readTextFile("/proc/self/maps")));`;
  const loader = [`${runtime}/${LOADER}`, "--library-path", runtime, `${runtime}/deno`];
  const maps = await run([...loader, "eval", "--no-config", script]);
  const strangers = maps.match(/\S+\/lib(?:bpf|c|crypto|elf|ssl)\.so\.\d+$/gm)
    ?.filter((path) => !path.startsWith(runtime));
  if (strangers === undefined || strangers.length > 0) {
    throw new Error(`The runtime loads libraries of the host: "${strangers?.join(", ")}"`);
  }
}

async function succeeds(command: string[], options: RunOptions): Promise<boolean> {
  return await run(command, options).then(() => true, () => false);
}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`toolchain: ${text}\n`));
}

if (import.meta.main) {
  const [lockPath, stage, target] = Deno.args;
  if (!lockPath || !stage || !target) throw new Error("Usage: toolchain.ts LOCK STAGE TARGET");
  await main(lockPath, stage, target);
}
