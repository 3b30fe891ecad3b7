/** The life of one `warren-wg` process: what is opened in which order, what it says, and how it ends. */
import { DataPlane } from "../dataplane/dataplane";
import { TunDevice } from "../native/tun-device";
import { VERSION } from "../version";
import { socketPath, UapiSocket } from "./socket";
import { type LogLevel, StandaloneInterface } from "./standalone";

/** Bytes; an IPv6 path of 1500 less the 80 of a tunnel. */
const MTU = 1420;

export interface InterfaceSettings {
  readonly name: string;
  /** LOG_LEVEL: `verbose` or `debug`, `error`, `silent`. @default error */
  readonly logLevel: string | undefined;
  /** An open TUN device, and a listening socket, instead of new ones. */
  readonly tunFd: number | undefined;
  readonly uapiFd: number | undefined;
}

/**
 * Resolves when the interface is there and answers `wg`; it goes on until something ends it, and then the process.
 * @throws WarrenError
 */
export async function runInterface(settings: InterfaceSettings): Promise<void> {
  const device = settings.tunFd === undefined ? TunDevice.create(settings.name) : TunDevice.adopt(settings.tunFd);
  const name = device.name ?? settings.name;
  const log = logger(settings.logLevel, name);
  log("verbose", `Starting warren-wg ${VERSION}`);
  if (device.setMtu(MTU) < 0) log("error", `The MTU ${MTU} cannot be set.`);
  const plane = await DataPlane.start({ log: (message) => log("verbose", message) });
  log("verbose", `Cipher: ${plane.aead}`);

  let socket: UapiSocket | undefined;
  let ending = false;
  const end = async (reason: string, code: number): Promise<void> => {
    if (ending) return;
    ending = true;
    log(code === 0 ? "verbose" : "error", `Shutting down: ${reason}`);
    standalone.stop();
    socket?.close();
    await plane.stop();
    device.close();
    process.exit(code);
  };
  const standalone = new StandaloneInterface({
    device,
    plane,
    log,
    reachable: () => socket === undefined || socket.reachable,
    onEnd: (reason, failed) => void end(reason, failed ? 1 : 0),
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end(signal, 0));
  const crash = (error: unknown): void => {
    log("error", `crash: ${(error as Error)?.stack ?? error}`);
    socket?.close();
    process.exit(1);
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);

  await standalone.start();
  const file = socketPath(name);
  socket =
    settings.uapiFd === undefined
      ? await UapiSocket.open(file, standalone)
      : await UapiSocket.adopt(settings.uapiFd, file, standalone);
  log("verbose", "UAPI listener started");
}

/** One line an event on standard output, as wireguard-go writes it. */
function logger(level: string | undefined, name: string): (level: LogLevel, message: string) => void {
  const verbose = level === "verbose" || level === "debug";
  // A reader that went away must not end the interface.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
  return (of, message) => {
    if (level === "silent" || (of === "verbose" && !verbose)) return;
    const time = new Date().toISOString().slice(0, 19).replace(/-/g, "/").replace("T", " ");
    process.stdout.write(`${of === "error" ? "ERROR" : "DEBUG"}: (${name}) ${time} ${message}\n`);
  };
}
