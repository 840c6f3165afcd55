/**
 * What is pinned, told from the directory alone: the answer when no agent can be asked.
 *
 * @module
 */

/** What a directory of pins holds. */
export interface PinnedSummary {
  readonly directory: string;
  /** links into cgroups and pods; 0: nothing is enforced */
  readonly links: number;
  readonly maps: number;
  readonly sentences: readonly string[];
}

/** Looks at the pins. */
export function pinnedSummary(directory: string): PinnedSummary {
  const names = list(directory);
  if (names === "forbidden") {
    const sentence = `"${directory}" cannot be read: run this as root to see what is pinned`;
    return { directory, links: 0, maps: 0, sentences: [sentence] };
  }
  const links = names.filter((path) => path.startsWith("links/")).length;
  const maps = names.filter((path) => path.startsWith("maps/")).length;
  if (links === 0) {
    const sentence = `nothing is pinned in "${directory}": nothing is enforced on this node`;
    return { directory, links, maps, sentences: [sentence] };
  }
  return {
    directory,
    links,
    maps,
    sentences: [
      `the agent is not running; what it pinned in "${directory}" (${links} links, ${maps} maps)` +
      " still enforces the last policies",
      "STRICT pods refuse new connections but those of their own node; PERMISSIVE pods are reached" +
      " in plaintext; changes of pods and policies are not seen",
    ],
  };
}

/** Paths of all files below a directory. */
function list(directory: string, prefix = ""): string[] | "forbidden" {
  try {
    return [...Deno.readDirSync(directory)].flatMap((entry) => {
      const path = `${prefix}${entry.name}`;
      if (!entry.isDirectory) return [path];
      const below = list(`${directory}/${entry.name}`, `${path}/`);
      return below === "forbidden" ? [] : below;
    });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    if (error instanceof Deno.errors.PermissionDenied) return "forbidden";
    throw error;
  }
}
