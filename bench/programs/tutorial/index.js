const warren = require("pulumi-warren");

const server = { source: ".", command: [process.execPath, "server.js"] };
const network = new warren.Network("my-private-network", { cidr: "10.1.2.0/24" });
const laptop = new warren.Peer("laptop", { network });
const east = new warren.App("api-service-east", { network, region: "ord", ...server });
const west = new warren.App("api-service-west", { network, region: "iad", ...server });

exports.eastIp = east.privateIp;
exports.westIp = west.privateIp;
exports.config = laptop.config;
