/**
 * `weft completion bash|zsh|fish`: shell completion. In comes the shell, out goes a script that
 * asks `weft __complete` for each word. Invariant: candidates are read from the very commands that
 * the program has, so they cannot be out of date; names of pods come from the agent where one
 * answers, and silence is the answer to any error. (Generated static scripts would know no pod.)
 *
 * @module
 */
import { Argument, type Command, type Option } from "@commander-js/extra-typings";
import type { IdentityReport } from "../observe/mod.ts";
import { REFUSAL_REASONS } from "../reasons.ts";
import type { CliEnv } from "./env.ts";
import { DEFAULT_RUN_DIRECTORY, type Program } from "./options.ts";

const HELP = `
Examples:
  weft completion bash > /etc/bash_completion.d/weft
  weft completion zsh > "\${fpath[1]}/_weft"
  weft completion fish > ~/.config/fish/completions/weft.fish
`;

/** Adds `weft completion` and what its scripts ask. */
export function registerCompletion(program: Program, env: CliEnv): void {
  program.command("completion")
    .description("print a script that completes commands, options and names of pods")
    .addArgument(new Argument("<shell>", "whose script").choices(["bash", "zsh", "fish"] as const))
    .addHelpText("after", HELP)
    .action((shell) => env.out(SCRIPTS[shell]));
  program.command("__complete", { hidden: true })
    .argument("[words...]", "the words after `weft`; the last one is being typed")
    .helpOption(false)
    .allowUnknownOption()
    .action(async (words) => {
      const found = await candidates(program, words, env);
      env.out(found.map((candidate) => `${candidate}\n`).join(""));
    });
}

/** What may stand in the place of the last word. */
export async function candidates(
  program: Command,
  words: readonly string[],
  env: CliEnv,
): Promise<string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = commandOf(program, before);
  const option = before.at(-1)?.startsWith("-")
    ? command.options.find(({ long, short }) => [long, short].includes(before.at(-1) ?? ""))
    : undefined;
  const all = option !== undefined && (option.required || option.optional)
    ? await valuesOf(option, env)
    : typed.startsWith("-")
    ? command.options.filter((each) => !each.hidden).map((each) => each.long ?? each.short ?? "")
    : [
      ...namesOf(command),
      ...command.registeredArguments.flatMap((each) => each.argChoices ?? []),
    ];
  return all.filter((candidate) => candidate.startsWith(typed));
}

/** The command that the words lead to; options and their values are skipped. */
function commandOf(program: Command, words: readonly string[]): Command {
  let command: Command = program;
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next !== undefined) command = next as Command;
  }
  return command;
}

function namesOf(command: Command): string[] {
  return command.commands.map((each) => each.name()).filter((name) => !name.startsWith("_"));
}

async function valuesOf(option: Option, env: CliEnv): Promise<readonly string[]> {
  if (option.argChoices !== undefined) return option.argChoices;
  switch (option.long) {
    case "--reason":
      return REFUSAL_REASONS;
    case "--protocol":
      return ["TCP", "UDP", "ICMP"];
    case "--default-mode":
      return ["STRICT", "PERMISSIVE", "DISABLE"];
    case "--from":
      return ["outside", "node", ...await podNames(env)];
    case "--to":
    case "--pod":
      return await podNames(env);
    default:
      return [];
  }
}

/** Pods that have an identity, from the agent; none where it does not answer. */
async function podNames(env: CliEnv): Promise<string[]> {
  const { AgentClient } = await import("./client.ts");
  try {
    const runDirectory = env.getenv("WEFT_RUN_DIR") ?? DEFAULT_RUN_DIRECTORY;
    using client = await AgentClient.open(runDirectory, AbortSignal.timeout(500));
    const rows = await client.get<IdentityReport[]>("/identities");
    return rows.map((row) => row.pod);
  } catch {
    return [];
  }
}

const SCRIPTS = {
  bash: `# weft: completion for bash
_weft() {
  local IFS=$'\\n'
  COMPREPLY=($(weft __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _weft weft
`,
  zsh: `#compdef weft
_weft() {
  local -a found
  found=(\${(f)"$(weft __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( \${#found} )); then compadd -a found; else _files; fi
}
if [ "$funcstack[1]" = "_weft" ]; then _weft "$@"; else compdef _weft weft; fi
`,
  fish: `# weft: completion for fish
complete -c weft -f -a '(weft __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
} as const;
