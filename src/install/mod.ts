/**
 * What an installation needs beside the executable: a unit, an image, CustomResourceDefinitions.
 * Out goes text; nothing is written. The door of the folder.
 *
 * @module
 */

export { crdFiles } from "./crds.ts";
export { containerfile } from "./image.ts";
export { type SystemdOptions, systemdUnit } from "./systemd.ts";
