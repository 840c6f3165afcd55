/**
 * `weft install systemd|image|crds`: prints what an installation needs. In come places, out goes
 * text on standard output; nothing on the machine changes, so that the reader sees it first.
 *
 * @module
 */
import { resolve } from "node:path";
import type { CliEnv } from "./env.ts";
import type { Program } from "./options.ts";

const HELP = `
Examples:
  weft install systemd --source /etc/weft > /etc/systemd/system/weft.service
  systemctl enable --now weft
  weft install image > Containerfile
  weft install crds | kubectl apply -f -
`;

/** Adds `weft install`. */
export function registerInstall(program: Program, env: CliEnv): void {
  const install = program.command("install")
    .description("print a systemd unit, an image recipe or the CustomResourceDefinitions")
    .addHelpText("after", HELP);
  install.command("systemd")
    .description("print the unit of an agent")
    .option("--source <dir>", "folder of YAML", "/etc/weft")
    .option("--executable <file>", "the executable", "/usr/local/bin/weft")
    .action(async ({ source, executable }) => {
      const { systemdUnit } = await import("../install/mod.ts");
      env.out(systemdUnit({ source: resolve(source), executable: resolve(executable) }));
    });
  install.command("image")
    .description("print the recipe of a container image")
    .action(async () => {
      const { containerfile } = await import("../install/mod.ts");
      env.out(containerfile());
    });
  install.command("crds")
    .description("print the CustomResourceDefinitions of weft's own kinds")
    .action(async () => {
      const { crdFiles } = await import("../install/mod.ts");
      env.out([...crdFiles().values()].join("---\n"));
    });
}
