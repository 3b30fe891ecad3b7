#!/usr/bin/env node
/** Writes docs/reference.md from schema.json, the single source of the public interface. A test holds the two to each other. */
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
export const REFERENCE = path.join(root, "docs", "reference.md");

/** The whole page, as text. */
export function reference() {
  const schema = JSON.parse(fs.readFileSync(path.join(root, "schema.json"), "utf8"));
  const types = schema.types ?? {};
  const short = (token) => token.split(":").pop();

  function typeOf(property) {
    if (property.oneOf) return [...new Set(property.oneOf.map(typeOf))].join(" \\| ");
    if (property.$ref) return property.$ref.endsWith("#/Any") ? "any" : short(decodeURIComponent(property.$ref));
    if (property.type === "array")
      return property.items.oneOf ? `(${typeOf(property.items)})[]` : `${typeOf(property.items)}[]`;
    if (property.type === "object") return `map of ${typeOf(property.additionalProperties ?? { type: "any" })}`;
    return property.type ?? "any";
  }

  function rows(properties, required = []) {
    return Object.entries(properties ?? {}).map(([name, property]) => {
      const notes = [
        required.includes(name) && "required",
        property.default !== undefined && `default \`${JSON.stringify(property.default)}\``,
        property.secret && "secret",
      ].filter(Boolean);
      const text = (property.description ?? "").replace(/\s+/g, " ").replaceAll("|", "\\|");
      return `| \`${name}\` | ${typeOf(property)} | ${text}${notes.length > 0 ? ` *(${notes.join(", ")})*` : ""} |`;
    });
  }

  const table = (title, lines) =>
    lines.length === 0 ? [] : ["", `**${title}**`, "", "| name | type | what it is |", "|---|---|---|", ...lines];
  const out = [
    "# Reference",
    "",
    "Made from `schema.json` by `node tools/reference.mjs`; do not edit.",
    "",
    "## Configuration",
  ];
  out.push(
    "",
    "Set with `pulumi config set warren:NAME VALUE`.",
    ...table("Values", rows(schema.config?.variables)).slice(2),
  );
  for (const [token, resource] of Object.entries(schema.resources)) {
    const outputs = Object.fromEntries(
      Object.entries(resource.properties ?? {}).filter(([name]) => !(name in (resource.inputProperties ?? {}))),
    );
    out.push("", `## ${short(token)}`, "", resource.description ?? "");
    out.push(
      ...table("Inputs", rows(resource.inputProperties, resource.requiredInputs)),
      ...table("Outputs", rows(outputs)),
    );
  }
  out.push("", "## Functions");
  for (const [token, fn] of Object.entries(schema.functions ?? {})) {
    out.push(
      "",
      `### ${short(token)}`,
      "",
      fn.description ?? "",
      ...table("Arguments", rows(fn.inputs?.properties, fn.inputs?.required)),
    );
    out.push(...table("Result", rows(fn.outputs?.properties)));
  }
  out.push("", "## Types");
  for (const [token, type] of Object.entries(types)) {
    out.push("", `### ${short(token)}`, "", type.description ?? "");
    if (type.enum)
      out.push(
        "",
        ...type.enum.map(({ value, description }) => `- \`${value}\`${description ? `: ${description}` : ""}`),
      );
    out.push(...table("Properties", rows(type.properties, type.required)));
  }
  return `${out
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trimEnd()}\n`;
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!process.argv.includes("--check")) fs.writeFileSync(REFERENCE, reference());
  else if (fs.readFileSync(REFERENCE, "utf8") !== reference()) {
    console.error("docs/reference.md is not what schema.json says: run node tools/reference.mjs");
    process.exitCode = 1;
  }
}
