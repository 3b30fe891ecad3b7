import * as fs from "node:fs";
import { describeNeeding } from "../../test/support/needs";
import { inetAddress, libc, POLLIN, unixAddress } from "./libc";

describe("socket addresses", () => {
  it("have the shape of the kernel's structures", () => {
    expect(inetAddress("10.1.2.4", 8080).toString("hex")).toBe("02001f900a0102040000000000000000");
    expect(inetAddress("fd00::4", 80).toString("hex")).toBe("0a00005000000000fd00000000000000000000000000000400000000");
    expect(unixAddress("/x").toString("hex")).toBe("01002f7800");
    expect(() => unixAddress("/".repeat(108))).toThrow(RangeError);
  });
});

describeNeeding(["linux"], "libc", () => {
  it("names the error of a call that fails", () => {
    expect(() => libc().open("/no/such/file", 0)).toThrow(
      expect.objectContaining({ code: "ENOENT", syscall: "open", message: "ENOENT: open /no/such/file" }),
    );
    expect(() => libc().openTun("a-name-that-is-too-long", false)).toThrow(RangeError);
  });

  it("sends descriptors that reach the same file, and nothing where there is none", () => {
    const c = libc();
    const [a, b] = c.socketpair();
    const [readEnd, writeEnd] = c.pipe();
    try {
      expect(() => c.receiveDescriptors(b, 16, false)).toThrow(expect.objectContaining({ code: "EAGAIN" }));
      c.sendDescriptors(a, Buffer.from("two"), [writeEnd, readEnd]);
      const { data, descriptors } = c.receiveDescriptors(b, 16, false);
      expect(data.toString()).toBe("two");
      expect(descriptors).toHaveLength(2);
      fs.writeSync(descriptors[0], "through");
      for (const descriptor of descriptors) c.close(descriptor);
      expect(c.poll(readEnd, POLLIN, 0)).toBe(POLLIN);
      const space = Buffer.alloc(16);
      expect(space.toString("utf8", 0, fs.readSync(readEnd, space))).toBe("through");
      expect(() => c.sendDescriptors(a, Buffer.alloc(0), [a])).toThrow(RangeError);
    } finally {
      for (const fd of [a, b, readEnd, writeEnd]) c.close(fd);
    }
  });

  it("locks a file once among its openings", () => {
    const c = libc();
    const first = c.open("/dev/null", 0);
    const file = `/tmp/warren-lock-${process.pid}`;
    const [a, b] = [fs.openSync(file, "a"), fs.openSync(file, "a")];
    try {
      expect(c.tryLock(a)).toBe(true);
      expect(c.tryLock(b)).toBe(false);
    } finally {
      for (const fd of [first, a, b]) c.close(fd);
      fs.rmSync(file);
    }
  });
});
