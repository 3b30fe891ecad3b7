import { containsSecret, type PropertyMap } from "./values";

/** What a StackReference says of the stack `name`. */
export function referenceOutputs(name: string, outputs: PropertyMap): PropertyMap {
  const secretNames = Object.keys(outputs).filter((key) => containsSecret(outputs[key]));
  return { name, outputs, secretOutputNames: secretNames.sort() };
}
