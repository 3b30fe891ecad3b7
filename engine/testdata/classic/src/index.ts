import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";

const folder = process.env.CLOUD as string;

/** Serialized by value, as most dynamic providers are. */
class FileProvider implements pulumi.dynamic.ResourceProvider {
  async create(inputs: { name: string; text: string }) {
    const file = path.join(folder, inputs.name);
    fs.writeFileSync(file, inputs.text);
    return { id: file, outs: { ...inputs, length: inputs.text.length } };
  }
  async update(id: string, _olds: unknown, news: { name: string; text: string }) {
    fs.writeFileSync(id, news.text);
    return { outs: { ...news, length: news.text.length } };
  }
  async delete(id: string) {
    fs.rmSync(id);
  }
}

class File extends pulumi.dynamic.Resource {
  declare readonly length: pulumi.Output<number>;
  constructor(name: string, args: { text: pulumi.Input<string> }) {
    super(new FileProvider(), name, { name, ...args, length: undefined });
  }
}

const greeting: string = new pulumi.Config().get("greeting") ?? "hello";
const first = new File("first.txt", { text: greeting });
const second = new File("second.txt", { text: pulumi.interpolate`${first.length} letters` });
export const length = second.length;
