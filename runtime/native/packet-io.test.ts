import * as dgram from "node:dgram";
import * as os from "node:os";
import { describeNeeding } from "../../test/support/needs";
import { Errno } from "./errno";
import { FIRST_FREE_OFFSET } from "./native-memory";
import { encodeSockaddr, MAX_PIECES, MAX_POLL_FDS, PacketIo, POLLIN, SOCKADDR_BYTES } from "./packet-io";

const AT = FIRST_FREE_OFFSET;
const LOOPBACK = Uint8Array.from([127, 0, 0, 1]);

describeNeeding(["linux"], "system calls on packets", () => {
  const io = new PacketIo(2);
  const end = io.bytes.length;

  test("nothing outside the memory, or in the page of the structures, is read or written", () => {
    const fd = io.openUdp(LOOPBACK, 0);
    const before = io.bytes.slice();
    try {
      for (const [off, len] of [
        [0, 1],
        [AT - 1, 10],
        [AT, end - AT + 1],
        [end, 1],
        [AT, -1],
        [Number.NaN, 1],
        [AT, Number.NaN],
      ]) {
        expect(() => io.read(fd, off, len)).toThrow(RangeError);
        expect(() => io.write(fd, off, len)).toThrow(RangeError);
        expect(() => io.receive(fd, off, len)).toThrow(RangeError);
        expect(() => io.setPiece(0, off, len)).toThrow(RangeError);
        expect(() => io.send(fd, off, len, encodeSockaddr(LOOPBACK, 9))).toThrow(RangeError);
      }
      for (const index of [-1, MAX_PIECES, Number.NaN]) expect(() => io.setPiece(index, AT, 1)).toThrow(RangeError);
      for (const count of [-1, MAX_PIECES + 1, Number.NaN]) expect(() => io.writePieces(fd, count)).toThrow(RangeError);
      for (const index of [-1, MAX_POLL_FDS, Number.NaN])
        expect(() => io.setPoll(index, fd, POLLIN)).toThrow(RangeError);
      for (const count of [-1, MAX_POLL_FDS + 1, Number.NaN]) expect(() => io.poll(count, 0)).toThrow(RangeError);
      for (const length of [0, 4, 15, 17, SOCKADDR_BYTES + 1, 4096])
        expect(() => io.send(fd, AT, 1, new Uint8Array(length))).toThrow(RangeError);
      for (const length of [0, 11, 13, 4096])
        expect(() => io.send(fd, AT, 1, encodeSockaddr(LOOPBACK, 9), 1, new Uint8Array(length))).toThrow(RangeError);
      expect(Buffer.compare(io.bytes.subarray(AT), before.subarray(AT))).toBe(0);
    } finally {
      io.close(fd);
    }
  });

  test("names are counted in bytes, and those that no interface can have are refused", () => {
    for (const name of ["", "a b", "a/b", "a\0b", "sixteen-letters-", "ääääääää"])
      expect(io.openTun(name, undefined, true)).toBe(-os.constants.errno.EINVAL);
  });

  test("datagrams of one length leave in one call and come as they are told apart; a failure is its errno", () => {
    const [a, b] = [io.openUdp(LOOPBACK, 0), io.openUdp(LOOPBACK, 0)];
    try {
      const to = encodeSockaddr(LOOPBACK, io.localPort(b));
      for (let i = 0; i < 2500; i++) io.bytes[AT + i] = i & 0xff;
      expect(io.send(a, AT, 2500, to, 1000)).toBe(2500);
      let got = 0;
      while (got < 2500) {
        const len = io.receive(b, AT + 3000 + got, 5000);
        expect(len).toBeGreaterThan(0);
        // Whether they come together or one by one is the kernel's to say.
        expect([1000, 500].includes(io.segment) && !io.truncated).toBe(true);
        expect((io.bytes[io.sourceOffset + 2] << 8) | io.bytes[io.sourceOffset + 3]).toBe(io.localPort(a));
        got += len;
      }
      expect(Buffer.compare(io.bytes.subarray(AT, AT + 2500), io.bytes.subarray(AT + 3000, AT + 5500))).toBe(0);
      expect(io.receive(b, AT, 100)).toBe(-Errno.EAGAIN);
    } finally {
      io.close(a);
      io.close(b);
    }
    expect(io.write(a, AT, 1)).toBe(-Errno.EBADF);
  });

  test("a datagram longer than its room is told as cut off", async () => {
    const fd = io.openUdp(LOOPBACK, 0);
    const sender = dgram.createSocket("udp4");
    try {
      await new Promise<void>((resolve) =>
        sender.send(new Uint8Array(300), io.localPort(fd), "127.0.0.1", () => resolve()),
      );
      io.bytes.fill(7, AT, AT + 400);
      expect([io.receive(fd, AT, 200), io.truncated, io.bytes[AT + 199], io.bytes[AT + 200]]).toEqual([
        200,
        true,
        0,
        7,
      ]);
    } finally {
      sender.close();
      io.close(fd);
    }
  });

  test("an eventfd wakes a poll and is reset", () => {
    const fd = io.eventfd();
    try {
      io.setPoll(0, fd, POLLIN);
      expect(io.poll(1, 0)).toBe(0);
      expect([io.signal(fd), io.poll(1, 1000), io.polled(0) & POLLIN]).toEqual([8, 1, POLLIN]);
      expect([io.drain(fd), io.poll(1, 0), io.drain(fd)]).toEqual([8, 0, -Errno.EAGAIN]);
    } finally {
      io.close(fd);
    }
  });
});
