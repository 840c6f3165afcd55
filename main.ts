/**
 * weft: parses the command line, runs one command, maps errors to exit statuses.
 *
 * The files to read next: `src/agent.ts`, which is `weft run`, and `src/cli/mod.ts`, the commands.
 *
 * @module
 */
import { runProgram } from "./src/cli/mod.ts";
import { processEnv } from "./src/cli/env.ts";

if (import.meta.main) Deno.exit(await runProgram(Deno.args, processEnv()));
