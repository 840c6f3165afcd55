/**
 * A root file system with nothing in it but a static busybox and weft, to start the executable in.
 * In: the executable. Out: a directory to change root into, removed on disposal.
 *
 * Every start happens in a mount namespace of its own and ends with unmounting, so that what is
 * mounted for it, also by weft itself, is gone afterwards; the machine's own /run is never touched.
 *
 * @module
 */

import { rootPropagation } from "@/scripts/lib/mounts.ts";

export interface StartOptions {
  /** Whether /proc is mounted; default true. */
  readonly proc?: boolean;
  /** Shell commands that run before, outside, with the root's path in `$ROOT`. */
  readonly setup?: string;
  /** What to run inside, by the root's shell; default `weft --version`. */
  readonly script?: string;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class BareRoot implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the root; with `applets`, with links for busybox's tools, else for `sh` alone. */
  static async make(weft: string, applets = true): Promise<BareRoot> {
    const path = await Deno.makeTempDir({ prefix: "weft-root." });
    await Deno.chmod(path, 0o755);
    for (const dir of ["bin", "run", "dev", "proc", "tmp"]) Deno.mkdirSync(`${path}/${dir}`);
    await Deno.chmod(`${path}/tmp`, 0o1777);
    await Deno.copyFile("/bin/busybox", `${path}/bin/busybox`);
    await Deno.copyFile(weft, `${path}/bin/weft`);
    await Deno.symlink("busybox", `${path}/bin/sh`);
    const root = new BareRoot(path);
    if (applets) await root.start({ script: "/bin/busybox --install -s /bin" });
    return root;
  }

  /** Runs a script with this root as its whole file system. */
  async start(options: StartOptions = {}): Promise<Outcome> {
    const { setup = ":", script = "weft --version", proc = true } = options;
    const mountProc = proc ? 'mount -t proc proc "$ROOT/proc"' : "";
    const outer = `set -e
      mount --bind "$ROOT" "$ROOT"
      trap 'umount -R -l "$ROOT"' EXIT
      ${setup}
      ${mountProc}
      chroot "$ROOT" /bin/sh -c "$SCRIPT"`;
    const output = await new Deno.Command("unshare", {
      args: ["--mount", "--propagation", rootPropagation("private"), "--", "sh", "-c", outer],
      clearEnv: true,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ROOT: this.path, SCRIPT: script },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return {
      code: output.code,
      stdout: decoder.decode(output.stdout),
      stderr: decoder.decode(output.stderr),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
