/**
 * weft: parses the command line, runs one command, maps errors to exit statuses.
 *
 * The file to read next is `src/agent.ts`, which is `weft run`; `src/cli/mod.ts` lists the commands.
 *
 * @module
 */
import { runProgram } from "./src/cli/mod.ts";
import { processEnv } from "./src/cli/env.ts";

if (import.meta.main) Deno.exit(await runProgram(Deno.args, processEnv()));
