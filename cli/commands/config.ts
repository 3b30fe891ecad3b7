/** `warren config PEER`: the wg-quick text, with a placeholder where only Pulumi's state has the key. */
import * as qrcode from "qrcode";
import { peerConfig } from "../../provider/core/peer-config";
import { type Context, findMember, print, printJson, withControl } from "../context";

const PRIVATE_KEY = "PRIVATE_KEY_IS_IN_THE_PULUMI_STATE";
const PRESHARED_KEY = "PRESHARED_KEY_IS_IN_THE_PULUMI_STATE";

export async function config(peerName: string, { json, qr }: Context & { qr?: boolean }): Promise<void> {
  const { text, loopback, secrets } = await withControl(async (client) => {
    const peer = findMember(await client.status(), peerName, "peer");
    const network = await client.network(peer.networkId);
    const members = await client.members({ network: peer.networkId, kind: "peer" });
    const { dns, persistentKeepalive, endpoint } = peer.peer ?? {};
    const routes = members.flatMap((member) => member.peer?.routes ?? []);
    const presharedKey = peer.hasPresharedKey ? PRESHARED_KEY : undefined;
    return {
      text: peerConfig({ peer, network, routes, privateKey: PRIVATE_KEY, presharedKey, dns, persistentKeepalive }),
      loopback: /^(127\.|localhost|\[::1\])/.test(endpoint ?? peer.gateway?.endpoint ?? ""),
      secrets: presharedKey === undefined ? PRIVATE_KEY : `${PRIVATE_KEY} and ${PRESHARED_KEY}`,
    };
  });
  if (json) return printJson({ peer: peerName, config: text });
  print(qr ? await qrcode.toString(text, { type: "terminal", small: true }) : text.trimEnd());
  const whole = 'the whole file is the output of the peer\'s "config"';
  process.stderr.write(
    `Replace ${secrets}: ${whole}, by "pulumi stack output --show-secrets" or "warren output DIR --show-secrets".\n`,
  );
  if (loopback)
    process.stderr.write(
      'The endpoint is on loopback, so only this machine can use it: set the peer\'s "endpoint", or "pulumi config set warren:endpoint HOST".\n',
    );
}
