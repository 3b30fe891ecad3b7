/** The zone of the DNS bench, the same for both servers. */

export const GATEWAY_IP = "10.1.0.1";
export const DNS_IP = "10.1.0.2";

export const nameOf = (i: number): string => `app-number-${i}`;
export const addressOf = (i: number): string => `10.1.${(i >> 8) + 1}.${i & 255}`;
