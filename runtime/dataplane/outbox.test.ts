import { randomBytes } from "node:crypto";
import { Errno } from "../native/errno";
import { encodeSockaddr } from "../native/packet-io";
import { Backlog } from "./backlog";
import { OUTBOX_END } from "./buffers";
import { plainKernels } from "./checksum";
import { SocketEndpoint } from "./endpoint-table";
import { Outbox } from "./outbox";

interface Sent {
  readonly to: number;
  readonly segment: number;
  readonly datagrams: Uint8Array[];
}

/** An outbox on a kernel that answers as `answer` says: 0 takes the datagrams, a negative errno refuses them. */
function world(answer: (length: number, segment: number) => number = () => 0) {
  const bytes = new Uint8Array(OUTBOX_END + 1024);
  const sent: Sent[] = [];
  const socket = {
    family: 4 as const,
    open: true,
    backlog: new Backlog(),
    send: (off: number, len: number, { sockaddr }: SocketEndpoint, segment: number) => {
      const result = answer(len, segment);
      if (result < 0) return result;
      const datagrams: Uint8Array[] = [];
      for (let at = off; at < off + len; at += segment)
        datagrams.push(bytes.slice(at, Math.min(at + segment, off + len)));
      sent.push({ to: sockaddr[3], segment, datagrams });
      return len;
    },
  };
  const outbox = new Outbox(bytes, plainKernels(bytes));
  const counts = { queue: 0, error: 0, refused: 0 };
  const endpoint = (port: number) => {
    const address = Uint8Array.from([127, 0, 0, 1]);
    return new SocketEndpoint(address, port, encodeSockaddr(address, port));
  };
  /** As a device does: the packet behind its header, then the whole as a datagram. */
  const send = (to: SocketEndpoint, datagram: Uint8Array) => {
    const at = outbox.place();
    bytes.set(datagram, at - 16);
    outbox.add(socket, to, counts, bytes, at - 16, datagram.length);
  };
  return { outbox, bytes, sent, socket, counts, endpoint, send };
}

const joined = (sent: readonly Sent[]) => Buffer.concat(sent.flatMap((s) => s.datagrams));

const datagrams = (...lengths: number[]) => lengths.map((length) => Uint8Array.from(randomBytes(length)));

test("datagrams of one length leave together; a shorter one ends them, a longer one and another endpoint begin anew", () => {
  const w = world();
  const [a, b] = [w.endpoint(1), w.endpoint(2)];
  const list = datagrams(1000, 1000, 400, 1000, 1200, 1200, 96, 96);
  const to = [a, a, a, a, a, a, a, b];
  list.forEach((datagram, i) => {
    w.send(to[i], datagram);
  });
  w.outbox.flush();
  expect(w.sent.map(({ datagrams: { length } }) => length)).toEqual([3, 1, 3, 1]);
  expect(w.sent.map(({ to: port }) => port)).toEqual([1, 1, 1, 2]);
  expect(w.sent.flatMap((s) => s.datagrams)).toEqual(list);
  expect(w.counts).toEqual({ queue: 0, error: 0, refused: 0 });
});

test("at most 64 at once and 65,507 bytes, in order, whatever lies in between", () => {
  const w = world();
  const to = w.endpoint(1);
  const list = [
    ...datagrams(...new Array(200).fill(1452)),
    ...datagrams(...new Array(200).fill(96)),
    ...datagrams(65507, 32),
  ];
  list.forEach((datagram, i) => {
    // Some are made elsewhere: in the memory, and outside it.
    if (i % 7 === 0) w.outbox.add(w.socket, to, w.counts, datagram, 0, datagram.length);
    else if (i % 11 === 0 && datagram.length < 2000) {
      w.bytes.set(datagram, 100);
      w.outbox.add(w.socket, to, w.counts, w.bytes, 100, datagram.length);
    } else w.send(to, datagram);
  });
  w.outbox.flush();
  expect(w.sent.flatMap((s) => s.datagrams)).toEqual(list);
  expect(Math.max(...w.sent.map((s) => s.datagrams.length))).toBe(64);
  for (const { datagrams: d } of w.sent)
    expect(d.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(65507);
});

test.each(["EMSGSIZE", "EINVAL"] as const)(
  "%s for segments: sent one by one, and that length stays so for that endpoint",
  (name) => {
    const w = world((length, segment) => (length > segment && segment > 1400 ? -Errno[name] : 0));
    const [a, b] = [w.endpoint(1), w.endpoint(2)];
    const list = datagrams(1452, 1452, 100, 1452, 1452, 1300, 1300, 1300);
    for (const datagram of list) w.send(a, datagram);
    w.outbox.flush();
    expect(w.sent.flatMap((s) => s.datagrams)).toEqual(list);
    expect(w.counts).toEqual({ queue: 0, error: 0, refused: 3 });
    expect(a.maxSegment).toBe(1451);
    expect(w.sent.at(-1)!.datagrams.length).toBe(3);
    expect(b.maxSegment).toBe(Number.POSITIVE_INFINITY);
  },
);

test("EIO: that endpoint gets single datagrams from then on", () => {
  const w = world((length, segment) => (length > segment ? -Errno.EIO : 0));
  const to = w.endpoint(1);
  const list = datagrams(500, 500, 500, 400, 400);
  for (const datagram of list) w.send(to, datagram);
  w.outbox.flush();
  expect(w.sent.flatMap((s) => s.datagrams)).toEqual(list);
  expect(to.maxSegment).toBe(0);
});

test("a path that takes segments again is found out", () => {
  let narrow = true;
  const w = world((length, segment) => (narrow && length > segment ? -Errno.EINVAL : 0));
  const to = w.endpoint(1);
  const send = (count: number) => {
    for (let i = 0; i < count; i++) w.send(to, new Uint8Array(1452));
    w.outbox.flush();
  };
  send(2);
  narrow = false;
  send(9_000);
  expect(to.maxSegment).toBe(1451);
  send(2_000);
  expect(to.maxSegment).toBe(Number.POSITIVE_INFINITY);
  expect(w.sent.flatMap((s) => s.datagrams).length).toBe(11_002);
});

test("what a full socket does not take waits, in order, while other sockets go on; the oldest go when it is too much", () => {
  let full = true;
  const w = world(() => (full ? -Errno.EAGAIN : 0));
  const other = world();
  const list = datagrams(...new Array(1000).fill(1452));
  for (const datagram of list) {
    w.send(w.endpoint(1), datagram);
    w.outbox.flush();
    other.send(other.endpoint(1), datagram);
  }
  other.outbox.flush();
  expect(Buffer.compare(joined(other.sent), Buffer.concat(list))).toBe(0);
  const kept = Math.floor((1 << 20) / 1452);
  expect(w.counts).toEqual({ queue: 1000 - kept, error: 0, refused: 0 });
  full = false;
  const last = datagrams(700)[0];
  w.send(w.endpoint(1), last);
  w.outbox.flush();
  expect(w.sent).toEqual([]);
  w.outbox.resume(w.socket);
  // One more had to go for the last.
  expect(Buffer.compare(joined(w.sent), Buffer.concat([...list.slice(1 - kept), last]))).toBe(0);
  expect(w.counts.queue).toBe(1001 - kept);
  expect(w.socket.backlog.empty).toBe(true);
});

test("a socket that takes a part of what it is given gets the rest later, of what waited too", () => {
  let room = 0;
  const w = world();
  const taken: Uint8Array[] = [];
  w.socket.send = (off, len, _endpoint, segment) => {
    let took = 0;
    for (; took < len && room > 0; room--) {
      taken.push(w.bytes.slice(off + took, off + Math.min(took + segment, len)));
      took = Math.min(took + segment, len);
    }
    return took > 0 ? took : -Errno.EAGAIN;
  };
  const list = datagrams(...new Array(20).fill(1000), 300);
  room = 5;
  for (const datagram of list) w.send(w.endpoint(1), datagram);
  w.outbox.flush();
  for (const more of [0, 7, 100]) {
    room = more;
    w.outbox.resume(w.socket);
  }
  expect(taken).toEqual(list);
  expect(w.counts).toEqual({ queue: 0, error: 0, refused: 0 });
});

test("segments that are refused only after they waited are sent one by one, before what waited behind them", () => {
  let full = true;
  let room = 3;
  const w = world((length, segment) => {
    if (full || room === 0) return -Errno.EAGAIN;
    if (length > segment && segment > 1400) return -Errno.EMSGSIZE;
    room--;
    return 0;
  });
  const [a, b] = [w.endpoint(1), w.endpoint(2)];
  const list = datagrams(1452, 1452, 300, 1452, 1452, 1452, 1000, 1000);
  list.forEach((datagram, i) => {
    w.send(i < 3 ? a : b, datagram);
  });
  w.outbox.flush();
  full = false;
  for (; room === 0 || !w.socket.backlog.empty; room = 3) w.outbox.resume(w.socket);
  expect(w.sent.flatMap((s) => s.datagrams)).toEqual(list);
  expect(w.counts).toEqual({ queue: 0, error: 0, refused: 7 });
});

test("errors and closed sockets are counted", () => {
  const broken = world(() => -Errno.EADDRNOTAVAIL);
  const to = broken.endpoint(1);
  for (const datagram of datagrams(500, 500)) broken.send(to, datagram);
  broken.outbox.flush();
  expect(broken.counts).toEqual({ queue: 0, error: 2, refused: 0 });
  broken.send(to, datagrams(500)[0]);
  broken.socket.open = false;
  broken.outbox.flush();
  expect(broken.counts.error).toBe(3);
});
