/**
 * A kernel that does not tell its types (BTF): programs are fitted to the kernel by them, so weft
 * says that it cannot run there, before and when it is tried. The file is hidden in a mount
 * namespace of the child's own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(import.meta.resolve("@/main.ts"));
/** Where libbpf looks: the kernel's own file, and images of it. */
const HIDDEN = ["/sys/kernel/btf", "/boot", "/lib/modules", "/usr/lib/debug"];

describe("a kernel without BTF", { timeout: 60_000 }, () => {
  let directory: string;
  before(async () => void (directory = await Deno.makeTempDir({ prefix: "weft-types-" })));
  after(() => Deno.remove(directory, { recursive: true }));

  /** Runs weft where none of the places is. */
  async function weft(...args: string[]): Promise<{ code: number; text: string }> {
    const script = [
      ...HIDDEN.map((path) => `[ ! -d ${path} ] || mount -t tmpfs none ${path}`),
      `mkdir -p ${directory}/bpf`,
      `mount -t bpf bpf ${directory}/bpf`,
      'exec "$@"',
    ].join("\n");
    const command = ["-m", "sh", "-ec", script, "sh", Deno.execPath(), "run", "-A", "--quiet"];
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: [...command, MAIN, ...args],
    }).output();
    const decoder = new TextDecoder();
    return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
  }

  it("is told of by `weft check`, with what to do", async () => {
    const { code, text } = await weft("check");
    assert.equal(code, 1, text);
    assert.match(text, /^! kernel types \(BTF\): missing: .*CONFIG_DEBUG_INFO_BTF/m);
  });

  it("lets no agent start, which says why", async () => {
    const at = (name: string) => [`--${name}-dir`, `${directory}/${name}`];
    const places = [...at("run"), ...at("state"), ...at("nodes")];
    const { code, text } = await weft(
      ...["run", "--source", directory, "--bpffs", `${directory}/bpf/weft`, ...places],
    );
    assert.equal(code, 4, text);
    assert.match(text, /^weft: cannot load eBPF programs: .*\(BTF\).*CONFIG_DEBUG_INFO_BTF/m);
    assert.match(text, /^weft: hint: `weft check` lists what weft needs of the kernel$/m);
  });
});
