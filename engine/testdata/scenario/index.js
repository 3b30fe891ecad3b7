/** Declares what $CLOUD/plan.json says, so that a test can change the program from one run to the next. */
const fs = require("node:fs");
const path = require("node:path");
const pulumi = require("@pulumi/pulumi");
const { Thing } = require("./thing");

class Group extends pulumi.ComponentResource {
  constructor(name, opts) {
    super("test:index:Group", name, {}, opts);
  }
}

const plan = JSON.parse(fs.readFileSync(path.join(process.env.CLOUD, "plan.json"), "utf8"));
const config = new pulumi.Config();
const made = {};

/** `$a.serial` is an output of a; `$secret:x` a secret; `$config:k` and `$configSecret:k` configuration. */
function resolve(value) {
  if (typeof value !== "string" || !value.startsWith("$")) return value;
  if (value.startsWith("$secret:")) return pulumi.secret(value.slice(8));
  if (value.startsWith("$configSecret:")) return config.requireSecret(value.slice(14));
  if (value.startsWith("$config:")) return config.require(value.slice(8));
  const [name, property] = value.slice(1).split(".");
  if (property === undefined) return made[name];
  return made[name] instanceof pulumi.StackReference ? made[name].getOutput(property) : made[name][property];
}

/** With `shuffle` every input arrives late by chance, and with it the registration. */
function late(value) {
  if (!plan.shuffle) return value;
  return pulumi.output(new Promise((done) => setTimeout(() => done(value), Math.random() * 150)));
}

for (const { kind = "thing", name, args = {}, opts = {}, id } of plan.resources) {
  const options = { ...opts };
  for (const key of ["parent", "deletedWith"]) if (opts[key]) options[key] = made[opts[key]];
  if (opts.dependsOn) options.dependsOn = opts.dependsOn.map((other) => made[other]);
  const inputs = Object.fromEntries(Object.entries(args).map(([key, value]) => [key, late(resolve(value))]));
  if (kind === "group") made[name] = new Group(name, options);
  else if (kind === "reference") made[name] = new pulumi.StackReference(id);
  else if (kind === "get") made[name] = Thing.get(name, id);
  else if (kind === "foreign") made[name] = new pulumi.CustomResource("aws:s3/bucket:Bucket", name, inputs, options);
  else made[name] = new Thing(name, inputs, options);
}
for (const line of plan.print ?? []) console.log(line);
if (plan.throws) throw new Error(plan.throws);
for (const [name, value] of Object.entries(plan.outputs ?? {})) exports[name] = resolve(value);
