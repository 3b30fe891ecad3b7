import { EngineError } from "./errors";

/** `urn:pulumi:<stack>::<project>::<qualified type>::<name>`, where the qualified type is `parentType$type`. */
export interface UrnParts {
  stack: string;
  project: string;
  qualifiedType: string;
  type: string;
  name: string;
}

export const STACK_TYPE = "pulumi:pulumi:Stack";
const PREFIX = "urn:pulumi:";

/** The URN of a resource. The stack is no part of its children's types. `parent` is a URN or empty. */
export function buildUrn(stack: string, project: string, parent: string, type: string, name: string): string {
  const parentType = parent === "" ? "" : parseUrn(parent).qualifiedType;
  const qualified = parentType === "" || parentType === STACK_TYPE ? type : `${parentType}$${type}`;
  return `${PREFIX}${stack}::${project}::${qualified}::${name}`;
}

/** @throws EngineError ENGINE_STATE when `urn` is none. */
export function parseUrn(urn: string): UrnParts {
  const parts = urn.startsWith(PREFIX) ? urn.slice(PREFIX.length).split("::") : [];
  if (parts.length < 4) throw new EngineError("ENGINE_STATE", `"${urn}" is not a resource URN.`);
  const [stack, project, qualifiedType, ...name] = parts;
  return {
    stack,
    project,
    qualifiedType,
    type: qualifiedType.slice(qualifiedType.lastIndexOf("$") + 1),
    name: name.join("::"),
  };
}

export function nameOf(urn: string): string {
  return parseUrn(urn).name;
}

/** An alias as a program states it: a whole URN, or the parts that were different. */
export type Alias =
  | { urn: string }
  | { name?: string; type?: string; stack?: string; project?: string; parent?: string; noParent?: boolean };

export interface AliasContext {
  stack: string;
  project: string;
  name: string;
  type: string;
  /** URN or empty. */
  parent: string;
  /** For a resource that was found under an alias: its former URN. */
  formerUrn(urn: string): string | undefined;
}

function expand(alias: Alias, context: AliasContext): string {
  if ("urn" in alias) return alias.urn;
  let parent = context.parent;
  if (alias.noParent === true) parent = "";
  else if (alias.parent) parent = context.formerUrn(alias.parent) ?? alias.parent;
  return buildUrn(
    alias.stack || context.stack,
    alias.project || context.project,
    parent,
    alias.type || context.type,
    alias.name || context.name,
  );
}

/** A child's former URN, when its parent had the URN `parentAlias`; names that start with the parent's follow it. */
function inherited(context: AliasContext, parentAlias: string, type: string, name: string): string {
  const parentName = nameOf(context.parent);
  const formerName = name.startsWith(parentName) ? nameOf(parentAlias) + name.slice(parentName.length) : name;
  const { stack, project } = context;
  return buildUrn(stack, project, parentAlias, type, formerName);
}

/** Every URN under which the resource may be found in state besides its own (Pulumi's generateAliases). */
export function expandAliases(aliases: readonly Alias[], context: AliasContext): string[] {
  const urns = new Set(aliases.map((alias) => expand(alias, context)));
  const parentAlias = context.parent === "" ? undefined : context.formerUrn(context.parent);
  if (parentAlias !== undefined) {
    urns.add(inherited(context, parentAlias, context.type, context.name));
    for (const alias of aliases) {
      const own = parseUrn(expand(alias, context));
      urns.add(inherited(context, parentAlias, own.type, own.name));
    }
  }
  return [...urns];
}
