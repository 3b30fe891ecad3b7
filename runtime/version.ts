import * as fs from "node:fs";
import * as path from "node:path";

/** The package's version, from its package.json (found from the sources and from dist/). */
export const VERSION: string = (() => {
  for (let dir = __dirname; dir !== path.dirname(dir); dir = path.dirname(dir)) {
    const file = path.join(dir, "package.json");
    if (!fs.existsSync(file)) continue;
    const json = JSON.parse(fs.readFileSync(file, "utf8"));
    if (json.name === "pulumi-warren") return json.version;
  }
  return "0.0.0";
})();
