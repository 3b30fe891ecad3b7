#!/usr/bin/env node
/**
 * Completes package-lock.json after a change of dependencies: npm leaves out the optional packages of other platforms that its
 * registry did not have at that moment, and `npm ci` then refuses the lockfile. They are entered by name and version alone.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

const file = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "package-lock.json");
const systems = ["aix", "android", "darwin", "freebsd", "linux", "openbsd", "openharmony", "sunos", "win32"];
/** How packages of prebuilt programs name a processor, and what Node calls it. */
const processors = {
  x64: "x64",
  arm64: "arm64",
  ia32: "ia32",
  arm: "arm",
  ppc64: "ppc64",
  ppc64le: "ppc64",
  s390x: "s390x",
  riscv64: "riscv64",
  loong64: "loong64",
  mips64: "mips64el",
};

/** @returns the lockfile's text with the missing packages, and their names */
export function complete(text) {
  const lock = JSON.parse(text);
  const added = [];
  for (const [place, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const platform = platformOf(name);
      if (platform === undefined || !/^\d/.test(version) || resolves(lock.packages, place, name)) continue;
      lock.packages[`node_modules/${name}`] = {
        version,
        ...(entry.dev ? { dev: true } : {}),
        optional: true,
        ...platform,
      };
      added.push(`${name}@${version}`);
    }
  }
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  lock.packages = Object.fromEntries(sorted);
  return { text: `${JSON.stringify(lock, null, 2)}\n`, added };
}

/** As Node resolves: from the package's own folder upwards. */
function resolves(packages, place, name) {
  for (let at = place; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/"))))
    if (packages[`${at}/node_modules/${name}`]) return true;
  return packages[`node_modules/${name}`] !== undefined;
}

function platformOf(name) {
  const words = name.split(/[/-]/);
  const os = words.find((word) => systems.includes(word));
  const cpu = words.map((word) => processors[word]).find(Boolean);
  return os && cpu ? { os: [os], cpu: [cpu] } : undefined;
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { text, added } = complete(fs.readFileSync(file, "utf8"));
  if (added.length) fs.writeFileSync(file, text);
  for (const name of added) console.log(`entered ${name}`);
}
