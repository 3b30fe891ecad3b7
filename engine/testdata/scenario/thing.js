const pulumi = require("@pulumi/pulumi");

/** A dynamic resource whose provider is a one-liner that loads a module. */
class Thing extends pulumi.CustomResource {
  constructor(name, args = {}, opts = {}) {
    const props = {
      name,
      ...args,
      serial: undefined,
      token: undefined,
      address: args.address,
      __provider: 'exports.handler=()=>require("./provider.cjs")',
    };
    super("pulumi-nodejs:dynamic/test:Thing", name, props, { additionalSecretOutputs: ["token"], ...opts });
  }
  static get(name, id) {
    return new Thing(name, {}, { id });
  }
}

module.exports = { Thing };
