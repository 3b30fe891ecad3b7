import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { EngineError } from "./errors";
import {
  isObject,
  isSecret,
  makeSecret,
  type PropertyMap,
  SECRET_SIGNATURE,
  SIGNATURE_KEY,
  type Value,
} from "./values";

/** Pulumi's passphrase provider: PBKDF2-HMAC-SHA256, then AES-256-GCM (sdk/go/common/resource/config/crypt.go). */
const ITERATIONS = 1_000_000;
const KEY_BYTES = 32;
const SALT_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PROBE = "pulumi";

const derive = promisify(pbkdf2);
/** Derived keys of this process: the derivation takes the better part of a second. */
const keys = new Map<string, Promise<Buffer>>();

function keyOf(passphrase: string, salt: Buffer): Promise<Buffer> {
  const name = `${salt.toString("base64")}:${passphrase}`;
  let key = keys.get(name);
  if (key === undefined) {
    key = derive(passphrase, salt, ITERATIONS, KEY_BYTES, "sha256");
    keys.set(name, key);
  }
  return key;
}

/** Encrypts and decrypts the secrets of one stack. */
export class Crypter {
  readonly #key: Buffer;
  /** `v1:<base64 salt>:<encrypted probe>`: Pulumi's `salt`, kept in state and in Pulumi.<stack>.yaml. */
  readonly salt: string;

  private constructor(key: Buffer, salt: string) {
    this.#key = key;
    this.salt = salt;
  }

  /** A crypter with a new salt. */
  static async create(passphrase: string): Promise<Crypter> {
    const salt = randomBytes(SALT_BYTES);
    const key = await keyOf(passphrase, salt);
    return new Crypter(key, `v1:${salt.toString("base64")}:${new Crypter(key, "").encrypt(PROBE)}`);
  }

  /**
   * The crypter of an existing salt.
   * @throws EngineError ENGINE_PASSPHRASE when the passphrase is another, ENGINE_STATE when the salt is malformed.
   */
  static async open(passphrase: string, salt: string): Promise<Crypter> {
    const [version, bytes, ...probe] = salt.split(":");
    if (version !== "v1" || bytes === undefined || probe.length === 0) {
      throw new EngineError("ENGINE_STATE", "The stack's encryption salt is not in Pulumi's format v1.");
    }
    const crypter = new Crypter(await keyOf(passphrase, Buffer.from(bytes, "base64")), salt);
    if (crypter.decrypt(probe.join(":")) !== PROBE) throw wrongPassphrase();
    return crypter;
  }

  /** `v1:<base64 nonce>:<base64 ciphertext and tag>` */
  encrypt(plaintext: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce);
    const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return `v1:${nonce.toString("base64")}:${sealed.toString("base64")}`;
  }

  /** @throws EngineError ENGINE_PASSPHRASE when the text was encrypted with another key or is damaged. */
  decrypt(ciphertext: string): string {
    const [version, nonce, sealed] = ciphertext.split(":");
    if (version !== "v1" || nonce === undefined || sealed === undefined) throw wrongPassphrase();
    const bytes = Buffer.from(sealed, "base64");
    try {
      // Else Node takes a tag of 4 bytes too, and a text cut down to that would pass as genuine.
      const whole = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv("aes-256-gcm", this.#key, Buffer.from(nonce, "base64"), whole);
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      const text = Buffer.concat([decipher.update(bytes.subarray(0, bytes.length - TAG_BYTES)), decipher.final()]);
      return text.toString("utf8");
    } catch (cause) {
      throw wrongPassphrase(cause);
    }
  }
}

function wrongPassphrase(cause?: unknown): EngineError {
  return new EngineError(
    "ENGINE_PASSPHRASE",
    "The passphrase does not fit the stack's secrets: set PULUMI_CONFIG_PASSPHRASE to the one they were encrypted with.",
    { cause },
  );
}

/**
 * Turns secrets in property values into ciphertext and back. An unchanged secret keeps its ciphertext, so that a state
 * that did not change is the same text.
 */
export class SecretCodec {
  readonly #crypter: Crypter;
  readonly #known = new Map<string, string>();

  constructor(crypter: Crypter) {
    this.#crypter = crypter;
  }

  get salt(): string {
    return this.#crypter.salt;
  }

  /** `place` tells equal secrets at different places apart, so that equality does not show in the file. */
  encryptMap(map: PropertyMap, place: string): PropertyMap {
    return this.#encrypt(map, place) as PropertyMap;
  }

  decryptMap(map: PropertyMap, place: string): PropertyMap {
    return this.#decrypt(map, place) as PropertyMap;
  }

  #encrypt(value: Value, place: string): Value {
    if (Array.isArray(value)) return value.map((item, i) => this.#encrypt(item, `${place}/${i}`));
    if (!isObject(value)) return value;
    if (isSecret(value)) {
      const plaintext = JSON.stringify(value.value);
      const name = `${place}\n${plaintext}`;
      const ciphertext = this.#known.get(name) ?? this.#crypter.encrypt(plaintext);
      this.#known.set(name, ciphertext);
      return { [SIGNATURE_KEY]: SECRET_SIGNATURE, ciphertext };
    }
    const result: PropertyMap = {};
    for (const [key, child] of Object.entries(value)) result[key] = this.#encrypt(child, `${place}/${key}`);
    return result;
  }

  #decrypt(value: Value, place: string): Value {
    if (Array.isArray(value)) return value.map((item, i) => this.#decrypt(item, `${place}/${i}`));
    if (!isObject(value)) return value;
    if (isSecret(value)) {
      if (typeof value.plaintext === "string") return makeSecret(JSON.parse(value.plaintext) as Value);
      const ciphertext = String(value.ciphertext);
      const plaintext = this.#crypter.decrypt(ciphertext);
      this.#known.set(`${place}\n${plaintext}`, ciphertext);
      return makeSecret(JSON.parse(plaintext) as Value);
    }
    const result: PropertyMap = {};
    for (const [key, child] of Object.entries(value)) result[key] = this.#decrypt(child, `${place}/${key}`);
    return result;
  }
}
