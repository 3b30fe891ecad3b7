import { acknowledgement, address, linkUp, route } from "./rtnetlink";

describe("an rtnetlink request", () => {
  // By hand after rtnetlink(7): header, ifaddrmsg, attributes. That the kernel agrees is tested in runtime/keeper/sandbox.test.ts.
  it("adds an IPv4 address with its full prefix", () => {
    expect(address("add", 2, "10.1.2.4")(7).toString("hex")).toBe(
      "28000000" +
        "1400" +
        "0505" +
        "07000000" +
        "00000000" +
        "02200000" +
        "02000000" +
        "08000200" +
        "0a010204" +
        "08000100" +
        "0a010204",
    );
  });

  it("adds an IPv6 address without duplicate address detection", () => {
    const bytes = address("add", 2, "fd00::4")(1);
    expect(bytes.length).toBe(16 + 8 + 20 + 20);
    expect(bytes.subarray(16, 20).toString("hex")).toBe("0a800200");
  });

  it("adds a route with the bits beyond the prefix cleared", () => {
    const bytes = route("add", 2, "10.1.2.77/24", "10.1.2.4")(1);
    expect(bytes.subarray(16, 28).toString("hex")).toBe("02180000fe04fd0100000000");
    expect(bytes.subarray(28).toString("hex")).toBe("080001000a010200" + "0800040002000000" + "080007000a010204");
  });

  it("sets the MTU only where one is given", () => {
    expect(linkUp(1)(1).length).toBe(32);
    expect(linkUp(2, 1380)(1).subarray(32).toString("hex")).toBe("0800040064050000");
  });

  it("is answered by the acknowledgement of its own number", () => {
    const ack = Buffer.alloc(36);
    ack.writeUInt32LE(36, 0);
    ack.writeUInt16LE(2, 4);
    ack.writeUInt32LE(9, 8);
    ack.writeInt32LE(-17, 16);
    expect(acknowledgement(ack, 9)).toBe(17);
    expect(acknowledgement(ack, 8)).toBeUndefined();
    expect(acknowledgement(ack.subarray(0, 20), 9)).toBeUndefined();
    expect(acknowledgement(Buffer.alloc(0), 9)).toBeUndefined();
  });
});
