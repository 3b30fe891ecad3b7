/** `warren config PEER`: the wg-quick text, with a placeholder where only Pulumi's state has the key. */
import * as qrcode from "qrcode";
import { peerConfig } from "../../provider/core/peer-config";
import { type Context, findMember, print, printJson, withControl } from "../context";

const PLACEHOLDER = "PRIVATE_KEY_IS_IN_THE_PULUMI_STATE";

export async function config(peerName: string, { json, qr }: Context & { qr?: boolean }): Promise<void> {
  const { text, loopback } = await withControl(async (client) => {
    const peer = findMember(await client.status(), peerName, "peer");
    const network = await client.network(peer.networkId);
    const members = await client.members({ network: peer.networkId, kind: "peer" });
    const routes = members.flatMap((member) => member.peer?.routes ?? []);
    const endpoint = peer.peer?.endpoint ?? peer.gateway?.endpoint ?? "";
    return {
      text: peerConfig({ peer, network, routes, privateKey: PLACEHOLDER }),
      loopback: /^(127\.|localhost|\[::1\])/.test(endpoint),
    };
  });
  if (json) return printJson({ peer: peerName, config: text });
  print(qr ? await qrcode.toString(text, { type: "terminal", small: true }) : text.trimEnd());
  const hint = `Replace ${PLACEHOLDER} by the key from "pulumi stack output --show-secrets" (or "warren output DIR --show-secrets").`;
  process.stderr.write(`${hint}\n`);
  if (loopback)
    process.stderr.write(
      'The endpoint is on loopback, so only this machine can use it: set the peer\'s "endpoint", or "pulumi config set warren:endpoint HOST".\n',
    );
}
