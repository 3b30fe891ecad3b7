/** Answers and their statuses. */
import { type ServerResponse, STATUS_CODES } from "node:http";
import { WarrenError, type WarrenErrorCode } from "../../errors";

const STATUS: Readonly<Record<WarrenErrorCode, number>> = {
  WARREN_INVALID_INPUT: 400,
  WARREN_INVALID_RANGE: 400,
  WARREN_ADDRESS_OUTSIDE: 400,
  WARREN_ADDRESS_RESERVED: 400,
  WARREN_ADDRESS_TAKEN: 409,
  WARREN_RANGE_EXHAUSTED: 409,
  WARREN_RANGE_IN_USE: 409,
  WARREN_NAME_TAKEN: 409,
  WARREN_NOT_FOUND: 404,
  WARREN_NOT_EMPTY: 409,
  WARREN_FOREIGN_REGISTRY: 409,
  WARREN_UNSUPPORTED: 501,
  WARREN_NOT_READY: 504,
  WARREN_APP_FAILED: 422,
  WARREN_LINK_UNAVAILABLE: 503,
  WARREN_UNREACHABLE: 502,
  WARREN_CONTROL_UNREACHABLE: 503,
  WARREN_PERMISSION: 403,
  WARREN_STORAGE: 507,
  WARREN_VERSION: 409,
  WARREN_FAILED: 500,
  WARREN_INTERNAL: 500,
};

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

/** After the head is out, a broken connection is the only way left to tell of an error. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, value } = answerTo(error);
  sendJson(response, status, value);
}

/** The same for a connection that is no HTTP response. */
export function errorAnswer(error: unknown): { status: number; reason: string; body: string } {
  const { status, value } = answerTo(error);
  return { status, reason: STATUS_CODES[status] ?? "Error", body: JSON.stringify(value) };
}

function answerTo(error: unknown) {
  const known = WarrenError.is(error)
    ? error
    : new WarrenError("WARREN_INTERNAL", `Control failed: ${error instanceof Error ? error.message : String(error)}.`);
  const { code, message, path } = known;
  return { status: STATUS[code] ?? 500, value: { error: { code, message, ...(path === undefined ? {} : { path }) } } };
}
