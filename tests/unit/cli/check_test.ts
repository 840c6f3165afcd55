/**
 * `weft check`: findings of stand-in probes, and the real ones on this machine.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Errno } from "@/ffi/errno.ts";
import { LibraryError, SyscallError } from "@/ffi/errors.ts";
import { checkText } from "@/src/cli/check.ts";
import { type Feature, findFeatures } from "@/src/cli/features.ts";

const feature = (name: string, required: boolean, probe: Feature["probe"]): Feature => ({
  name,
  purpose: `what ${name} is for`,
  required,
  without: `what to do without ${name}`,
  probe,
});

describe("findFeatures()", () => {
  it("takes a probe that may not be made for unknown, and a missing library for a no", () => {
    const findings = findFeatures([
      feature("forbidden", true, () => {
        throw new SyscallError("bpf", Errno.EPERM);
      }),
      feature("library", true, () => {
        throw new LibraryError("libbpf.so.1");
      }),
    ]);
    assert.deepEqual(findings.map(({ present }) => present), ["unknown", false]);
  });

  it("answers every question about this machine", () => {
    for (const { name, present, purpose, without } of findFeatures()) {
      assert.ok(purpose.length > 10 && without.length > 10, name);
      if (Deno.uid() === 0) assert.notEqual(present, "unknown", name);
    }
  });

  it("does not say that the kernel lacks what only a privileged user can try", async () => {
    const module = new URL("../../../src/cli/features.ts", import.meta.url).href;
    const script = `const { findFeatures } = await import(${JSON.stringify(module)});` +
      "console.log(JSON.stringify(findFeatures()))";
    const program = [Deno.execPath(), "eval", "--no-check", script];
    if (Deno.uid() === 0) program.unshift("setpriv", "--inh-caps=-all", "--bounding-set=-all");
    const [command = "", ...args] = program;
    const { stdout } = await new Deno.Command(command, { args, stderr: "inherit" }).output();
    const findings: { name: string; present: boolean | "unknown" }[] = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    const programs = findings.filter(({ name }) => /programs|map types/.test(name));
    assert.ok(programs.length >= 5);
    for (const { name, present } of programs) assert.notEqual(present, false, name);
  });
});

describe("checkText()", () => {
  it("says what happens without what is missing, and concludes", () => {
    const text = checkText(findFeatures([
      feature("alpha", true, () => ({ present: true, detail: "v1" })),
      feature("beta", true, () => ({ present: false })),
      feature("gamma", false, () => ({ present: false })),
    ]));
    assert.match(text, /^yes {2}alpha {2}what alpha is for \(v1\)$/m);
    assert.match(text, /^! beta: missing: what to do without beta$/m);
    assert.match(text, /^- gamma: without it: what to do without gamma$/m);
    assert.match(text, /This machine cannot run weft: 1 required feature missing\.\n$/);
  });

  it("is content without what is not required", () => {
    const text = checkText(findFeatures([feature("gamma", false, () => ({ present: false }))]));
    assert.match(text, /This machine can run weft\.\n$/);
  });
});
