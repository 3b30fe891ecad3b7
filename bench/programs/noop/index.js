const pulumi = require("@pulumi/pulumi");

const provider = {
  check: async (_olds, news) => ({ inputs: news, failures: [] }),
  diff: async () => ({ changes: false }),
  create: async (inputs) => ({ id: inputs.name, outs: { ...inputs, address: "10.1.2.4" } }),
  update: async (_id, _olds, news) => ({ outs: { ...news, address: "10.1.2.4" } }),
  delete: async () => {},
};

class Nothing extends pulumi.dynamic.Resource {
  constructor(name, inputs = {}) {
    super(provider, name, { address: undefined, ...inputs, name });
  }
}

const network = new Nothing("my-private-network", { cidr: "10.1.2.0/24" });
const inputs = { network: network.id };
const laptop = new Nothing("laptop", inputs);
const east = new Nothing("api-service-east", { ...inputs, region: "ord" });
const west = new Nothing("api-service-west", { ...inputs, region: "iad" });

exports.eastIp = east.address;
exports.westIp = west.address;
exports.config = laptop.address;
