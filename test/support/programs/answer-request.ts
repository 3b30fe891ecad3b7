import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fixedBytes } from "./fixed-bytes";

/** `GET /bytes/N` answers N fixed bytes, `PUT /` the SHA-256 of the body, anything else the caller's address. */
export function answerRequest(request: IncomingMessage, response: ServerResponse): void {
  const size = /^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1];
  if (size !== undefined) {
    response.end(fixedBytes(Number(size)));
  } else if (request.method === "PUT") {
    const hash = createHash("sha256");
    request.on("data", (chunk) => hash.update(chunk));
    request.on("end", () => response.end(hash.digest("hex")));
  } else response.end(request.socket.remoteAddress);
}
