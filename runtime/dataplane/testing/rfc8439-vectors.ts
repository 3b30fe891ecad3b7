/** Published vectors of RFC 8439, literally. */

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

const SUBMISSION = ascii(
  "Any submission to the IETF intended by the Contributor for publication as all or part of an IETF Internet-Draft or RFC " +
    'and any statement made within the context of an IETF activity is considered an "IETF Contribution". Such statements ' +
    "include oral statements in IETF sessions, as well as written and electronic communications made at any time or place, " +
    "which are addressed to",
);
const JABBERWOCKY = ascii(
  "'Twas brillig, and the slithy toves\nDid gyre and gimble in the wabe:\nAll mimsy were the borogoves,\nAnd the mome raths outgrabe.",
);
const DRAFTS = ascii(
  "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or obsoleted by other " +
    "documents at any time. It is inappropriate to use Internet-Drafts as reference material or to cite them other than as " +
    "/“work in progress./”",
);

const times = (byte: string, count: number): string => byte.repeat(count);
const key = (r: string, s: string): Uint8Array => hex(r.padEnd(32, "0") + s.padEnd(32, "0"));

export interface MacVector {
  readonly name: string;
  readonly key: Uint8Array;
  readonly text: Uint8Array;
  readonly tag: string;
}

/** Section 2.5.2, and all of appendix A.3. */
export const POLY1305: readonly MacVector[] = [
  {
    name: "2.5.2",
    key: hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"),
    text: ascii("Cryptographic Forum Research Group"),
    tag: "a8061dc1305136c6c22b8baf0c0127a9",
  },
  { name: "A.3 #1", key: key("", ""), text: new Uint8Array(64), tag: times("00", 16) },
  {
    name: "A.3 #2",
    key: key("", "36e5f6b5c5e06070f0efca96227a863e"),
    text: SUBMISSION,
    tag: "36e5f6b5c5e06070f0efca96227a863e",
  },
  {
    name: "A.3 #3",
    key: key("36e5f6b5c5e06070f0efca96227a863e", ""),
    text: SUBMISSION,
    tag: "f3477e7cd95417af89a6b8794c310cf0",
  },
  {
    name: "A.3 #4",
    key: key("1c9240a5eb55d38af333888604f6b5f0", "473917c1402b80099dca5cbc207075c0"),
    text: JABBERWOCKY,
    tag: "4541669a7eaaee61e708dc7cbcc5eb62",
  },
  { name: "A.3 #5", key: key("02", ""), text: hex(times("ff", 16)), tag: "03".padEnd(32, "0") },
  { name: "A.3 #6", key: key("02", times("ff", 16)), text: hex("02".padEnd(32, "0")), tag: "03".padEnd(32, "0") },
  {
    name: "A.3 #7",
    key: key("01", ""),
    text: hex(`${times("ff", 16)} f0${times("ff", 15)} ${"11".padEnd(32, "0")}`),
    tag: "05".padEnd(32, "0"),
  },
  {
    name: "A.3 #8",
    key: key("01", ""),
    text: hex(`${times("ff", 16)} fb${times("fe", 15)} ${times("01", 16)}`),
    tag: times("00", 16),
  },
  { name: "A.3 #9", key: key("02", ""), text: hex(`fd${times("ff", 15)}`), tag: `fa${times("ff", 15)}` },
  {
    name: "A.3 #10",
    key: key("01000000000000000400000000000000", ""),
    text: hex(
      `e33594d7505e43b90000000000000000 3394d7505e4379cd0100000000000000 ${times("00", 16)} ${"01".padEnd(32, "0")}`,
    ),
    tag: "14000000000000005500000000000000",
  },
  {
    name: "A.3 #11",
    key: key("01000000000000000400000000000000", ""),
    text: hex(`e33594d7505e43b90000000000000000 3394d7505e4379cd0100000000000000 ${times("00", 16)}`),
    tag: "13".padEnd(32, "0"),
  },
];

export interface AeadVector {
  readonly name: string;
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
  readonly text: Uint8Array;
  readonly ciphertext: string;
  /** Absent: the RFC has the cipher alone. */
  readonly tag?: string;
}

/** Appendix A.2 vector 2, section 2.8.2 and appendix A.5: text from block 1 on. */
export const AEAD: readonly AeadVector[] = [
  {
    name: "A.2 #2",
    key: hex("01".padStart(64, "0")),
    nonce: hex("02".padStart(24, "0")),
    aad: new Uint8Array(0),
    text: SUBMISSION,
    ciphertext:
      "a3fbf07df3fa2fde4f376ca23e82737041605d9f4f4f57bd8cff2c1d4b7955ec2a97948bd3722915c8f3d337f7d370050e9e96d647b7c39f56e031ca5eb6250d" +
      "4042e02785ececfa4b4bb5e8ead0440e20b6e8db09d881a7c6132f420e52795042bdfa7773d8a9051447b3291ce1411c680465552aa6c405b7764d5e87bea85a" +
      "d00f8449ed8f72d0d662ab052691ca66424bc86d2df80ea41f43abf937d3259dc4b2d0dfb48a6c9139ddd7f76966e928e635553ba76c5c879d7b35d49eb2e62b" +
      "0871cdac638939e25e8a1e0ef9d5280fa8ca328b351c3c765989cbcf3daa8b6ccc3aaf9f3979c92b3720fc88dc95ed84a1be059c6499b9fda236e7e818b04b0b" +
      "c39c1e876b193bfe5569753f88128cc08aaa9b63d1a16f80ef2554d7189c411f5869ca52c5b83fa36ff216b9c1d30062bebcfd2dc5bce0911934fda79a86f6e6" +
      "98ced759c3ff9b6477338f3da4f9cd8514ea9982ccafb341b2384dd902f3d1ab7ac61dd29c6f21ba5b862f3730e37cfdc4fd806c22f221",
  },
  {
    name: "2.8.2",
    key: Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i),
    nonce: hex("070000004041424344454647"),
    aad: hex("50515253c0c1c2c3c4c5c6c7"),
    text: ascii(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    ),
    ciphertext:
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36" +
      "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116",
    tag: "1ae10b594f09e26a7e902ecbd0600691",
  },
  {
    name: "A.5",
    key: hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"),
    nonce: hex("000000000102030405060708"),
    aad: hex("f33388860000000000004e91"),
    text: DRAFTS,
    ciphertext:
      "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf" +
      "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4" +
      "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a" +
      "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29" +
      "a6ad5cb4022b02709b",
    tag: "eead9d67890cbb22392336fea1851f38",
  },
];
