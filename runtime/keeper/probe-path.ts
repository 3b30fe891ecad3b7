/** A path as given may be escaped already; line breaks never reach the request. */
export function escapedPath(given = "/"): string {
  const path = given.startsWith("/") ? given : `/${given}`;
  try {
    return encodeURI(decodeURI(path));
  } catch {
    return encodeURI(path);
  }
}
