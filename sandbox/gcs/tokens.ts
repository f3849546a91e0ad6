import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  verify,
} from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { GcsError } from "./error.ts";

/** A service account's key file, as downloaded from the cloud console. */
export interface ServiceAccountKey {
  readonly type: "service_account";
  readonly project_id: string;
  readonly private_key_id: string;
  readonly private_key: string;
  readonly client_email: string;
  readonly client_id: string;
  readonly token_uri: string;
}

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPES = /\/auth\/(cloud-platform|devstorage\.(full_control|read_write))(\s|$)/;
const CLOCK_SKEW_S = 60;

/** An error of the token endpoint (OAuth 2.0, RFC 6749 §5.2). */
export class TokenError extends Error {
  override readonly name = "TokenError";
  readonly error: "invalid_grant" | "unsupported_grant_type" | "invalid_scope" | "invalid_request";

  constructor(error: TokenError["error"], message: string) {
    super(message);
    this.error = error;
  }
}

/**
 * The key of the service account that a server on this directory accepts; created if there is none, also before the server
 * starts. `tokenUri`: the URL of the server's `/token`, as the client reaches it.
 */
export function serviceAccountIn(directory: string, tokenUri: string): ServiceAccountKey {
  const file = path.join(directory, "service-account.json");
  const key = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : makeKey(file);
  return { ...key, token_uri: tokenUri };
}

/** One service account and the tokens granted to it. Tokens are lost when the server stops. */
export class Tokens {
  readonly #email: string;
  readonly #publicKey: KeyObject;
  readonly #lifeSeconds: number;
  readonly #expiryMs = new Map<string, number>();

  constructor(directory: string, lifeSeconds: number) {
    const key = serviceAccountIn(directory, "");
    this.#email = key.client_email;
    this.#publicKey = createPublicKey(createPrivateKey(key.private_key));
    this.#lifeSeconds = lifeSeconds;
  }

  /** `tokenUri` must be the assertion's audience. @throws TokenError */
  grant(form: URLSearchParams, tokenUri: string): { access_token: string; expires_in: number; token_type: "Bearer" } {
    if (form.get("grant_type") !== GRANT) throw new TokenError("unsupported_grant_type", "Invalid grant_type");
    const claims = this.#verify(form.get("assertion") ?? "");
    if (claims.iss !== this.#email) throw new TokenError("invalid_grant", "Invalid grant: account not found");
    if (claims.aud !== tokenUri) throw new TokenError("invalid_grant", "Invalid JWT: the audience is another endpoint");
    const nowS = Date.now() / 1000;
    const dated = typeof claims.iat === "number" && typeof claims.exp === "number";
    if (!dated || claims.iat! > nowS + CLOCK_SKEW_S || claims.exp! <= nowS || claims.exp! - claims.iat! > 3600) {
      throw new TokenError("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)");
    }
    if (!SCOPES.test(claims.scope ?? "")) throw new TokenError("invalid_scope", "Invalid OAuth scope for storage");
    const token = `ya29.${randomUUID()}`;
    this.#expiryMs.set(token, Date.now() + this.#lifeSeconds * 1000);
    return { access_token: token, expires_in: this.#lifeSeconds, token_type: "Bearer" };
  }

  /** @throws GcsError 401 for a request without a valid token. */
  check(authorization: string | undefined): void {
    const token = /^Bearer (.+)$/.exec(authorization ?? "")?.[1];
    if (token === undefined) throw new GcsError(401, "required", "Anonymous caller does not have storage access.");
    const expiryMs = this.#expiryMs.get(token);
    if (expiryMs !== undefined && expiryMs > Date.now()) return;
    this.#expiryMs.delete(token);
    throw new GcsError(401, "authError", "Invalid Credentials");
  }

  #verify(assertion: string): { iss?: string; aud?: string; scope?: string; iat?: number; exp?: number } {
    const [head, body, signature] = assertion.split(".");
    if (signature === undefined) throw new TokenError("invalid_request", "The assertion is not a JWT");
    const signed = Buffer.from(`${head}.${body}`);
    const header = JSON.parse(Buffer.from(head!, "base64url").toString()) as { alg?: string };
    const valid =
      header.alg === "RS256" && verify("RSA-SHA256", signed, this.#publicKey, Buffer.from(signature, "base64url"));
    if (!valid) throw new TokenError("invalid_grant", "Invalid JWT Signature.");
    return JSON.parse(Buffer.from(body!, "base64url").toString());
  }
}

function makeKey(file: string): Omit<ServiceAccountKey, "token_uri"> {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = {
    type: "service_account" as const,
    project_id: "mirrorfs-sandbox",
    private_key_id: randomUUID().replaceAll("-", ""),
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    client_email: "mirrorfs@mirrorfs-sandbox.iam.gserviceaccount.com",
    client_id: "100000000000000000000",
  };
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, JSON.stringify(key), { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return key;
}
