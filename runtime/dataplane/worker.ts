/** Entry of the data plane's thread: never returns to an event loop of its own until it is told to end. */
import { isMainThread, type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";
import { fetchTunDescriptor } from "../keeper/fd-client";
import { errnoName } from "../native/errno";
import { loadKernels } from "../native/kernels";
import { PacketIo } from "../native/packet-io";
import { PAGES } from "./buffers";
import type { LinkConfig } from "./config";
import { Engine } from "./engine";
import { TunLink } from "./link";
import type { FromWorker, ToWorker, WorkerStart } from "./messages";
import { Outbox } from "./outbox";
import { PollLoop } from "./poll-loop";
import { NativePort } from "./port";
import { selectAead } from "./select-aead";

function openLink(io: PacketIo, keeperSocket: string | undefined, source: LinkConfig["source"]): number | string {
  if (source.kind === "open") {
    const fd = io.openTun(source.name, source.netns, source.vnetHeader ?? true);
    if (fd >= 0) return fd;
    return `The TUN device ${source.name} cannot be opened (${errnoName(fd)}): this needs root and /dev/net/tun.`;
  }
  if (source.kind === "descriptor") {
    const fd = io.duplicate(source.fd);
    return fd >= 0 ? fd : `Descriptor ${source.fd} is not open (${errnoName(fd)}).`;
  }
  if (source.kind === "stack") return "A TCP/IP stack has no device.";
  if (keeperSocket === undefined) return `The keeper's socket is not known, so sandbox ${source.sandbox} has no link.`;
  try {
    return fetchTunDescriptor(keeperSocket, source.sandbox);
  } catch (error) {
    return `The keeper did not hand over the device of sandbox ${source.sandbox}: ${(error as Error).message}`;
  }
}

const WAKE: FromWorker = { type: "wake" };

function serve(port: MessagePort, start: WorkerStart): void {
  const post = (message: FromWorker): void => port.postMessage(message);
  const stop = new Int32Array(start.stop);
  let engine: Engine;
  let io: PacketIo;
  try {
    io = new PacketIo(PAGES);
    const native = io;
    const kernels = loadKernels(io.native);
    const notes: string[] = [];
    const aead = selectAead(start.aead, io.native, kernels, (note) => notes.push(note));
    const outbox = new Outbox(io.bytes, kernels);
    engine = new Engine({
      bytes: io.bytes,
      kernels,
      aead,
      outbox,
      newPort: (config) => new NativePort(native, outbox, config),
      openLink: (context, config) =>
        TunLink.open(native, context, config, (source) => openLink(native, start.keeperSocket, source)),
      stacks: {
        bells: start.bells,
        threads: true,
        onOpen: (rings) => post({ type: "pipe", rings }),
        onClose: (link) => post({ type: "pipe-closed", link }),
        wake: () => post(WAKE),
      },
      onEvent: (event) => post({ type: "event", event }),
      onDns: (id, gateway, question) =>
        post({
          type: "dns",
          id,
          gateway,
          from: ipaddr.fromByteArray(Array.from(question.from)).toString(),
          message: question.message,
        }),
      log: (message) => post({ type: "log", message }),
    });
    post({ type: "ready", aead: aead.name, notes });
  } catch (error) {
    const known = WarrenError.is(error);
    post({
      type: "refused",
      code: known ? error.code : "WARREN_INTERNAL",
      message: (error as Error).message,
      ...(known && error.path !== undefined ? { path: error.path } : {}),
    });
    return;
  }
  const handle = (message: ToWorker): void => {
    try {
      if (message.type === "dns-answer") engine.answerDns(message.id, message.message, message.keep);
      else if (message.type === "dns-generation") engine.dnsCache.setGeneration(message.generation);
      else if (message.type === "apply")
        post({ type: "applied", id: message.id, result: engine.apply(message.config) });
      else if (message.type === "peers")
        post({ type: "peers-changed", id: message.id, problems: engine.changePeers(message.changes) });
      else post({ type: "status", id: message.id, status: engine.status() });
    } catch (error) {
      if (message.type === "dns-answer" || message.type === "dns-generation")
        post({ type: "log", message: `A DNS answer: ${(error as Error).message}` });
      else post({ type: "failed", id: message.id, message: (error as Error).message });
    }
  };
  try {
    const loop = new PollLoop(io, engine, start.wakeFd);
    while (Atomics.load(stop, 0) === 0) {
      if (!loop.round()) continue;
      io.drain(start.wakeFd);
      for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port))
        handle(got.message as ToWorker);
    }
  } finally {
    engine.close();
  }
}

if (!isMainThread && parentPort !== null) serve(parentPort, workerData as WorkerStart);
