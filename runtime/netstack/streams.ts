/** A stack as Node's streams and emitters see it. */
export {
  type ConnectionRequest,
  onConnectionRequest,
  TcpServer,
  type TcpServerOptions,
} from "./tcp-server";
export { type ConnectOptions, TcpStream, type TcpStreamOptions } from "./tcp-stream";
export { UdpSocket } from "./udp-socket";
