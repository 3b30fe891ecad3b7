const pulumi = require("@pulumi/pulumi");
const { Thing } = require("./thing");
const a = new Thing("a", { size: 1 });
const b = new Thing("b", { link: a.serial });
exports.serial = b.serial;
exports.addr = a.address;
exports.tok = a.token;
